//! The contract, with the body that the store in memory passes.

use aggregator::store::{PostgresStore, contract};
use cardquery_tests::stack::Stack;
use plumbing::postgres::PostgresConfig;
use sqlx::PgPool;

use crate::stand;

/// Everything but the tables of days, which are the same for every check.
/// Hardly anything lies in them, and truncating makes a new file for each of the many tables of days.
const EMPTY: &str = "
    DELETE FROM query; DELETE FROM pair; DELETE FROM consent; DELETE FROM nonce; DELETE FROM grant_use;
    DELETE FROM progress; DELETE FROM segment; DELETE FROM coverage; DELETE FROM contact; DELETE FROM outbox;
    DELETE FROM outbox_parked; DELETE FROM audit_leaf; DELETE FROM refusal; DELETE FROM asking; DELETE FROM content_day;
    DELETE FROM audit_log; INSERT INTO audit_log DEFAULT VALUES;
    UPDATE watermark SET erased_through = '1970-01-01'";

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_postgres_passes_the_contract() {
    let database = Stack::get().database().await;
    let pool: PgPool = PostgresConfig::new(database.url()).pool("aggregator.test", 16).expect("a pool");
    let keys = tempfile::tempdir().expect("a folder");
    contract::suite(async |clock| {
        PostgresStore::migrate(&pool).await.expect("tables");
        sqlx::raw_sql(EMPTY).execute(&pool).await.expect("empty");
        stand::store(&pool, keys.path(), clock).await
    })
    .await;
}
