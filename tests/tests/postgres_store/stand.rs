//! A store of the test's own.

use std::sync::Arc;

use aggregator::store::contract::ManualClock;
use aggregator::store::{Clock, PostgresStore};
use cardquery_tests::stack::{Stack, TestDatabase};
use jiff::tz::TimeZone;
use plumbing::postgres::PostgresConfig;
use sqlx::PgPool;

/// An empty store, and the database behind it.
pub struct Stand {
    pub store: PostgresStore,
    pub pool: PgPool,
    pub clock: Arc<ManualClock>,
    pub database: TestDatabase,
}

impl Stand {
    /// On the pool that the service has.
    pub async fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let database = Stack::get().database().await;
        let pool = PostgresConfig::new(database.url()).pool("aggregator.test", 16).expect("a pool");
        let store = store(&pool, Arc::clone(&clock) as Arc<dyn Clock>).await;
        Self { store, pool, clock, database }
    }
}

/// A store with its tables and days.
pub async fn store(pool: &PgPool, clock: Arc<dyn Clock>) -> PostgresStore {
    PostgresStore::migrate(pool).await.expect("tables");
    let store = PostgresStore::on_clock(pool.clone(), clock);
    store.make_days(&TimeZone::UTC).await.expect("days");
    store
}
