//! The contract, with the body that the store in memory passes.

use aggregator::store::contract;
use cardquery_tests::stack::Stack;
use plumbing::postgres::PostgresConfig;
use sqlx::PgPool;

use crate::stand;

/// Everything but the days, which are the same for every check.
const EMPTY: &str = "
    TRUNCATE query, pair, consent, nonce, grant_use, progress, segment, coverage, contact, outbox, outbox_parked, audit_leaf,
        refusal, asking;
    UPDATE watermark SET erased_through = '1970-01-01'";

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_postgres_passes_the_contract() {
    let database = Stack::get().database().await;
    let pool: PgPool = PostgresConfig::new(database.url()).pool("aggregator.test", 16).expect("a pool");
    contract::suite(async |clock| {
        let store = stand::store(&pool, clock).await;
        sqlx::raw_sql(EMPTY).execute(&pool).await.expect("empty");
        store
    })
    .await;
}
