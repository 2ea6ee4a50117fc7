//! PostgreSQL and Redis: passwords, what the role may do, and what a test gets for itself.

use std::sync::Mutex;

use cardquery_tests::redis_server::RedisServer;
use cardquery_tests::stack::{Stack, TestDatabase, fresh_prefix};
use redis::AsyncCommands;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Row};

#[tokio::test]
async fn postgres_is_new_enough_and_keeps_what_it_commits() {
    let mut connection = connect(&admin()).await;

    assert!(
        setting(&mut connection, "server_version_num").await.parse::<u32>().is_ok_and(|it| it >= 150_000)
    );
    assert_eq!(setting(&mut connection, "fsync").await, "on");
    assert_eq!(setting(&mut connection, "max_connections").await, "300");
    assert_eq!(setting(&mut connection, "listen_addresses").await, "127.0.0.1");
}

#[tokio::test]
async fn the_role_creates_databases_and_roles_and_is_no_superuser() {
    let role =
        sqlx::query("SELECT rolcreatedb, rolcreaterole, rolsuper FROM pg_roles WHERE rolname = current_user")
            .fetch_one(&mut connect(&admin()).await)
            .await
            .expect("PostgreSQL answers");

    assert_eq!((role.get(0), role.get(1), role.get(2)), (true, true, false));
}

#[tokio::test]
async fn postgres_refuses_a_wrong_password() {
    let error = PgConnection::connect_with(&admin().password("wrong")).await.expect_err("a wrong password");

    assert!(error.to_string().contains("password authentication failed"), "{error}");
}

#[tokio::test]
async fn a_test_database_is_the_callers_own_and_goes_with_its_value_even_while_it_is_in_use() {
    let database = Stack::get().database().await;
    let mut connection = connect(&database.options()).await;
    sqlx::query("CREATE TABLE kept (id int)").execute(&mut connection).await.expect("the owner may create");
    let by_url: PgConnectOptions = database.url().parse().expect("a URL");
    let current = sqlx::query("SELECT current_database()").fetch_one(&mut connect(&by_url).await).await;
    assert_eq!(current.expect("PostgreSQL answers").get::<&str, _>(0), database.name());
    let name = database.name().to_owned();

    drop(database);

    assert!(!exists(&name).await);
}

#[tokio::test]
async fn a_test_database_goes_when_its_test_panics() {
    let database = Stack::get().database().await;
    let name = database.name().to_owned();
    let shared = Mutex::new(Some(database));

    let panicked = std::panic::catch_unwind(|| {
        let _database: Option<TestDatabase> = shared.lock().ok().and_then(|mut it| it.take());
        panic!("as a failing test does");
    });

    assert!(panicked.is_err());
    assert!(!exists(&name).await);
}

#[tokio::test]
async fn redis_answers_with_its_password_and_evicts_nothing() {
    let client = redis::Client::open(Stack::get().redis_url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
    let key = format!("{}:key", fresh_prefix());

    connection.set_ex::<_, _, ()>(&key, "value", 60).await.expect("Redis takes a key");

    assert_eq!(connection.get::<_, String>(&key).await.expect("Redis answers"), "value");
    let policy: Vec<String> = redis::cmd("CONFIG")
        .arg(&["GET", "maxmemory-policy"])
        .query_async(&mut connection)
        .await
        .expect("Redis answers");
    assert_eq!(policy, ["maxmemory-policy", "noeviction"]);
}

#[tokio::test]
async fn redis_refuses_a_wrong_password() {
    let url = Stack::get().redis_url();
    let (_, address) = url.rsplit_once('@').expect("the URL has a password");
    let client = redis::Client::open(format!("redis://:wrong@{address}")).expect("a URL");

    let error = client.get_multiplexed_async_connection().await.map(drop).expect_err("a wrong password");

    assert_eq!(error.kind(), redis::ErrorKind::AuthenticationFailed, "{error}");
}

#[tokio::test]
async fn a_redis_of_ones_own_loses_every_key_when_it_is_killed_and_comes_back_where_it_was() {
    let mut server = RedisServer::start().await;
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
    connection.set::<_, _, ()>("key", "value").await.expect("Redis takes a key");

    server.kill();
    assert!(client.get_multiplexed_async_connection().await.is_err(), "a killed Redis does not listen");
    server.restart().await;

    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
    assert!(!connection.exists::<_, bool>("key").await.expect("Redis answers"));
}

fn admin() -> PgConnectOptions {
    Stack::get().postgres_url().parse().expect("a URL")
}

async fn connect(options: &PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(options).await.expect("PostgreSQL lets the role in")
}

async fn setting(connection: &mut PgConnection, name: &str) -> String {
    let row = sqlx::query("SELECT current_setting($1)").bind(name).fetch_one(connection).await;
    row.expect("PostgreSQL answers").get(0)
}

async fn exists(database: &str) -> bool {
    sqlx::query("SELECT FROM pg_database WHERE datname = $1")
        .bind(database)
        .fetch_optional(&mut connect(&admin()).await)
        .await
        .expect("PostgreSQL answers")
        .is_some()
}
