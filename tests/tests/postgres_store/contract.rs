//! The contract, with the body that the store in memory passes.

use std::sync::Mutex;

use aggregator::store::contract;
use cardquery_tests::stack::Stack;
use plumbing::postgres::PostgresConfig;

use crate::stand;

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_postgres_passes_the_contract() {
    let databases = Mutex::new(Vec::new());
    contract::suite(async |clock| {
        let database = Stack::get().database().await;
        let pool = PostgresConfig::new(database.url()).pool("aggregator.test", 16).expect("a pool");
        databases.lock().expect("not poisoned").push(database);
        stand::store(&pool, clock).await
    })
    .await;
}
