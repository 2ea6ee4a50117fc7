//! The pool of `plumbing::postgres` on a real server.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use cardquery_tests::stack::Stack;
use futures::FutureExt as _;
use futures::future::{join_all, poll_fn};
use plumbing::exit::Exit;
use plumbing::lifecycle::Lifecycle;
use plumbing::postgres::{PostgresConfig, migrate, wait_until_up, watch};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection as _, PgPool, SqlSafeStr as _};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

const LIMIT: Duration = Duration::from_secs(20);

async fn pid(pool: &PgPool) -> i32 {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(pool).await.expect("a connection")
}

#[tokio::test]
async fn a_cancelled_begin_does_not_swallow_the_next_borrowers_write() {
    let database = Stack::get().database().await;
    database.execute("CREATE TABLE note (text TEXT NOT NULL)").await;
    let pool = database.config().pool("test.cancelled", 1).expect("a pool");
    for round in 0..20 {
        let mut connection = pool.acquire().await.expect("a connection");
        let mut begin = Box::pin(connection.begin());
        // Polled once, `BEGIN` is on its way; sqlx counts the transaction only when the answer is read.
        poll_fn(|context| Poll::Ready(begin.poll_unpin(context).is_ready())).await;
        drop(begin);
        drop(connection);
        sqlx::query("INSERT INTO note VALUES ($1)")
            .bind(round.to_string())
            .execute(&pool)
            .await
            .expect("a row");
    }
    let other = database.config().pool("test.other", 1).expect("a pool");
    let notes: i64 =
        sqlx::query_scalar("SELECT count(*) FROM note").fetch_one(&other).await.expect("a count");
    assert_eq!(notes, 20);
    pool.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_connection_in_a_failed_transaction_is_discarded_and_a_clean_one_is_kept() {
    let database = Stack::get().database().await;
    let pool = database.config().pool("test.failed", 1).expect("a pool");
    let first = pid(&pool).await;
    assert_eq!(pid(&pool).await, first);
    let mut connection = pool.acquire().await.expect("a connection");
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await.expect("begun");
    sqlx::query("SELECT 1/0").execute(&mut *connection).await.expect_err("division by zero");
    drop(connection);
    assert_ne!(pid(&pool).await, first);
    pool.close().await;
}

#[tokio::test]
async fn the_server_keeps_the_limits_and_shows_the_role() {
    let database = Stack::get().database().await;
    let config = PostgresConfig { statement_timeout_ms: 100, lock_timeout_ms: 50, ..database.config() };
    let pool = config.pool("notifier.store", 2).expect("a pool");
    let name: String = sqlx::query_scalar("SELECT current_setting('application_name')")
        .fetch_one(&pool)
        .await
        .expect("a name");
    assert_eq!(name, "cardquery.notifier.store");

    let slow = sqlx::query("SELECT pg_sleep(20)").execute(&pool).await.expect_err("too slow");
    assert_eq!(slow.as_database_error().and_then(|error| error.code()).as_deref(), Some("57014"));

    database.execute("CREATE TABLE note (text TEXT NOT NULL)").await;
    let mut holder = pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE note").execute(&mut *holder).await.expect("locked");
    let waits = sqlx::query("SELECT * FROM note").execute(&pool).await.expect_err("locked");
    assert_eq!(Exit::of(&waits), Exit::TryAgain);
    drop(holder);
    pool.close().await;
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_a_missing_database_is_a_wrong_setting() {
    let database = Stack::get().database().await;
    let url = database.url();
    let (start, place) = url.rsplit_once('@').expect("a url with a user");
    let (user, password) = start.rsplit_once(':').expect("a url with a password");
    for (url, expected) in [
        (format!("{user}:not-{password}@{place}"), Exit::Denied),
        (url.replace("/test_", "/no_such_test_"), Exit::Config),
    ] {
        let pool = PostgresConfig::new(url).pool("test.refused", 1).expect("a pool");
        let error = wait_until_up(&pool, LIMIT).await.expect_err("refused");
        assert_eq!(error.exit(), expected, "{error}");
        assert!(!format!("{error:?}").contains(password));
    }
}

#[tokio::test]
async fn a_server_that_comes_up_late_is_waited_for() {
    let database = Stack::get().database().await;
    let url = database.url();
    let (start, place) = url.rsplit_once('@').expect("a url with a user");
    let (server, rest) = place.split_once('/').expect("a url with a database");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let late = format!("{start}@{}/{rest}", listener.local_addr().expect("an address"));
    let server = server.to_owned();
    let proxy = tokio::spawn(async move {
        for _ in 0..3 {
            drop(listener.accept().await.expect("a client"));
        }
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut server = TcpStream::connect(server).await.expect("the server");
        copy_bidirectional(&mut client, &mut server).await.expect("until one end closes")
    });
    let pool = PostgresConfig::new(late).pool("test.late", 1).expect("a pool");
    wait_until_up(&pool, LIMIT).await.expect("up");
    proxy.await.expect("the fourth attempt got through");
}

fn migrations(statements: &[&'static str]) -> Migrator {
    let migration = |(version, sql): (i64, &&'static str)| {
        Migration::new(version, "step".into(), MigrationType::Simple, (*sql).into_sql_str(), false)
    };
    Migrator::with_migrations((1..).zip(statements).map(migration).collect())
}

const TABLE: &str = "CREATE TABLE note (text TEXT NOT NULL)";
const ROW: &str = "INSERT INTO note VALUES ('once')";

#[tokio::test]
async fn instances_that_start_together_migrate_once() {
    let database = Stack::get().database().await;
    let pool = Arc::new(database.config().pool("test.migrate", 2).expect("a pool"));
    let instances = (0..8).map(|_| {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move { migrate(&pool, "test", migrations(&[TABLE, ROW])).await })
    });
    for migrated in join_all(instances).await {
        migrated.expect("no panic").expect("migrated");
    }
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM note").fetch_one(&*pool).await.expect("a count");
    assert_eq!(rows, 1);
    migrate(&pool, "other", migrations(&["CREATE TABLE other ()"])).await.expect("another service's tables");
    migrate(&pool, "test", migrations(&[TABLE])).await.expect("an older version beside a newer one");
    pool.close().await;
}

#[tokio::test]
async fn a_migration_that_fails_changes_nothing_and_holds_up_nobody() {
    let database = Stack::get().database().await;
    let pool = database.config().pool("test.migrate", 1).expect("a pool");
    let broken = migrations(&[TABLE, "INSERT INTO nothing VALUES (1)"]);
    migrate(&pool, "test", broken).await.expect_err("no such table");
    migrate(&pool, "test", migrations(&[TABLE, ROW])).await.expect("mended");
    migrate(&pool, "test", migrations(&["CREATE TABLE changed ()", ROW])).await.expect_err("changed since");
    pool.close().await;
}

#[tokio::test]
async fn readiness_tells_whether_the_server_answers() {
    let database = Stack::get().database().await;
    for (closed, expected) in [(false, true), (true, false)] {
        let pool = database.config().pool("test.watch", 1).expect("a pool");
        if closed {
            pool.close().await;
        }
        let mut lifecycle = Lifecycle::new();
        let health = lifecycle.health();
        watch(pool.clone(), &mut lifecycle);
        let looked = async {
            loop {
                let checks = health.look_ready();
                let postgresql =
                    checks.into_iter().find(|check| check.name == "postgresql").expect("a check");
                if postgresql.detail != "not looked at yet" {
                    return postgresql.ok;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let ok = tokio::time::timeout(LIMIT, looked).await.expect("looked at");
        assert_eq!(ok, expected);
        lifecycle.stop(LIMIT).await;
        pool.close().await;
    }
}
