//! At start: a server that is not up yet, a schema that is not up to date.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use tokio::time::{Instant, sleep, timeout};

use super::error::{PostgresError, may_come_up, place};

/// How long a service waits at start for a server that comes up beside it.
pub const UP_WITHIN: Duration = Duration::from_secs(30);

const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// How long one instance waits for another that is migrating, and a migration for a lock.
const MIGRATION_LOCK_MS: u64 = 60_000;

/// Returns when the server lets this service in. A server that is not there yet, or is starting, is tried again for at
/// most `limit`; whatever else is wrong is told at once.
///
/// # Errors
/// [`PostgresError::Connect`], with the last failure.
pub async fn wait_until_up(pool: &PgPool, limit: Duration) -> Result<(), PostgresError> {
    let options = pool.connect_options();
    let deadline = Instant::now() + limit;
    let mut told = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Not by the pool, which tells only that time is up.
        let error = match timeout(left, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => {
                // It has said what it was asked; how it goes does not matter.
                let _closed = connection.close().await;
                return Ok(());
            }
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        if !may_come_up(&error) || Instant::now() + AGAIN_AFTER >= deadline {
            return Err(PostgresError::connect(&options, error));
        }
        if !told {
            told = true;
            tracing::warn!(at = place(&options), %error, ?limit, "waiting for PostgreSQL");
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// Brings the tables of `service` up to date. Several instances, and several services in one database, may do this at
/// the same time: one works, the others wait. Migrations that this version does not know are passed over, so that an
/// old instance can start beside a newer one; a migration must therefore leave the tables usable for the version before.
///
/// # Errors
/// When the server cannot be reached, a migration fails, or one that was applied has been changed since.
pub async fn migrate(
    pool: &PgPool,
    service: &'static str,
    mut migrator: Migrator,
) -> Result<(), PostgresError> {
    migrator.dangerous_set_table_name(format!("{service}_migrations"));
    migrator.set_ignore_missing(true);
    let options = for_migrations(&pool.connect_options());
    // A connection of its own: its end frees the migrator's lock, also after an error, when sqlx keeps it.
    let mut connection = PgConnection::connect_with(&options)
        .await
        .map_err(|source| PostgresError::connect(&options, source))?;
    // What `run` does, which on a bare connection gives a future that cannot be spawned.
    let migrated = migrator.run_direct(None, &mut connection, false).await;
    let _closed = connection.close().await;
    migrated.map_err(PostgresError::Migration)
}

fn for_migrations(options: &PgConnectOptions) -> PgConnectOptions {
    options
        .clone()
        .options([("statement_timeout", 0), ("lock_timeout", MIGRATION_LOCK_MS)])
        // That a table is there already is no news.
        .options([("client_min_messages", "warning")])
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::exit::Exit;
    use crate::postgres::PostgresConfig;

    #[tokio::test]
    async fn a_server_that_never_comes_is_unavailable_and_named_without_its_password() {
        let port = {
            let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
            listener.local_addr().expect("an address").port()
        };
        let config = PostgresConfig::new(format!("postgres://alpha:hunter2@127.0.0.1:{port}/cards"));
        let pool = config.pool("test.start", 1).expect("a pool");
        let error = wait_until_up(&pool, Duration::from_millis(600)).await.expect_err("nobody listens");
        assert_eq!(error.exit(), Exit::Unavailable);
        let printed = format!("{error} {error:?}");
        assert!(printed.contains(&format!("127.0.0.1:{port}, database cards, user alpha")), "{printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }

    #[tokio::test]
    async fn a_server_that_takes_the_connection_and_says_nothing_is_unavailable() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let config = PostgresConfig::new(format!("postgres://alpha@127.0.0.1:{port}/cards"));
        let pool = config.pool("test.start", 1).expect("a pool");
        let error = wait_until_up(&pool, Duration::from_millis(300)).await.expect_err("it says nothing");
        assert_eq!(error.exit(), Exit::Unavailable);
    }
}
