//! A fresh database per test on the stack's PostgreSQL.

use std::str::FromStr;
use std::thread;

use plumbing::postgres::PostgresConfig;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

/// The address of a role that may create databases.
pub const ADMIN: &str = "CARDQUERY_STACK_POSTGRES";

/// A database of this test alone. It goes when it is dropped.
#[derive(Debug)]
pub struct Database {
    admin: PgConnectOptions,
    name: String,
}

impl Database {
    /// A new database without tables.
    ///
    /// # Panics
    /// When there is no stack.
    pub async fn fresh() -> Self {
        let url = std::env::var(ADMIN).unwrap_or_else(|_| {
            panic!("{ADMIN} is not set: run `make test`, or eval \"$(deploy/stack up && deploy/stack env)\"")
        });
        let admin = PgConnectOptions::from_str(&url).expect("the stack's url");
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        execute(&admin, format!("CREATE DATABASE {name}")).await;
        Self { admin, name }
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.admin.clone().database(&self.name).to_url_lossy().to_string()
    }

    /// Settings for it.
    pub fn config(&self) -> PostgresConfig {
        PostgresConfig::new(self.url())
    }

    /// Runs `sql` as the role that owns everything.
    pub async fn execute(&self, sql: &str) {
        execute(&self.admin.clone().database(&self.name), sql.to_owned()).await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        let dropped = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .expect("a runtime")
                .block_on(execute(&admin, format!("DROP DATABASE {name} WITH (FORCE)")));
        });
        // A second panic would hide the first one.
        assert!(dropped.join().is_ok() || thread::panicking(), "the database {} stays behind", self.name);
    }
}

async fn execute(options: &PgConnectOptions, sql: String) {
    let mut connection = PgConnection::connect_with(options).await.expect("the stack's PostgreSQL");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("executed");
    connection.close().await.expect("closed");
}
