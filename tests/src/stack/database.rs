//! A database for one test.

use std::thread;

use plumbing::postgres::PostgresConfig;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use super::fresh_prefix;

/// An empty database with a name of its own. It is dropped with this value, also when the test panics and
/// whatever is still connected to it; only a test process that is killed leaves one behind, until
/// `deploy/stack reset`.
pub struct TestDatabase {
    admin: PgConnectOptions,
    name: String,
}

impl TestDatabase {
    pub(super) async fn create(admin_url: &str) -> Self {
        let admin: PgConnectOptions = admin_url.parse().expect("the stack's PostgreSQL has a valid URL");
        let name = format!("test_{}", fresh_prefix());
        if let Err(error) = execute(&admin, format!("CREATE DATABASE {name}")).await {
            panic!("cannot create database {name}: {error}");
        }
        Self { admin, name }
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to connect, as the database's owner.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        self.admin.clone().database(&self.name)
    }

    /// The same as a URL, for a service's settings. It holds the password.
    #[must_use]
    pub fn url(&self) -> String {
        self.options().to_url_lossy().to_string()
    }

    /// A service's settings for it.
    #[must_use]
    pub fn config(&self) -> PostgresConfig {
        PostgresConfig::new(self.url())
    }

    /// Runs one statement as the database's owner.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn execute(&self, sql: &str) {
        execute(&self.options(), sql.to_owned()).await.expect("the statement runs");
    }
}

impl Drop for TestDatabase {
    /// On a thread and a runtime of its own: the test's may be of the kind that cannot wait, or ending.
    #[expect(clippy::print_stderr, reason = "a second panic would hide the first one")]
    fn drop(&mut self) {
        // FORCE ends the connections of pools that are still open.
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let dropped = thread::scope(|scope| {
            scope
                .spawn(|| block_on(execute(&self.admin, statement)))
                .join()
                .unwrap_or_else(|_| Err("the thread that drops it panicked".to_owned()))
        });
        match dropped {
            Ok(()) => {}
            Err(error) if thread::panicking() => eprintln!("cannot drop database {}: {error}", self.name),
            Err(error) => panic!("cannot drop database {}: {error}", self.name),
        }
    }
}

fn block_on<T>(future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("cannot start a runtime: {error}"))?.block_on(future)
}

/// Databases are created and dropped outside a transaction, and their names cannot be parameters. These are made
/// here, of letters and digits.
async fn execute(admin: &PgConnectOptions, statement: String) -> Result<(), String> {
    let mut connection =
        PgConnection::connect_with(admin).await.map_err(|error| format!("cannot connect: {error}"))?;
    connection.execute(AssertSqlSafe(statement)).await.map_err(|error| error.to_string())?;
    connection.close().await.map_err(|error| format!("cannot disconnect: {error}"))
}
