//! A store of the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aggregator::domain::assembly::{Effect, Event, Said, apply};
use aggregator::domain::query::{Closing, Collecting, Final, Pair, Query, State};
use aggregator::domain::window::Window;
use aggregator::store::contract::ManualClock;
use aggregator::store::{
    Clock, DayKeys, NewQuery, PostgresStore, PostgresTx, Registered, Store as _, Tx as _,
};
use cardquery_tests::stack::{Stack, TestDatabase};
use jiff::tz::TimeZone;
use plumbing::kafka::Position;
use plumbing::postgres::PostgresConfig;
use schemas::ids::{BankId, Digest, KeyId, Nonce, QueryId, Reference};
use schemas::time::{Calendar, UnixMillis};
use sqlx::PgPool;
use tempfile::TempDir;

/// How long anything may take that is bound to happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// An empty store, and the database behind it.
pub(crate) struct Stand {
    pub(crate) store: PostgresStore,
    pub(crate) pool: PgPool,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) database: TestDatabase,
    pub(crate) keys: TempDir,
}

impl Stand {
    /// On the pool that the service has.
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let database = Stack::get().database().await;
        let pool = PostgresConfig::new(database.url()).pool("aggregator.test", 16).expect("a pool");
        let keys = tempfile::tempdir().expect("a folder");
        let store = store(&pool, keys.path(), Arc::clone(&clock) as Arc<dyn Clock>).await;
        Self { store, pool, clock, database, keys }
    }

    /// Registers a query to alpha and beta, both of which were asked.
    pub(crate) async fn registered(&self) -> Query {
        let query = query(self.clock.now(), &["alpha", "beta"]);
        let mut tx = self.store.begin().await.expect("begun");
        let new = NewQuery { query: query.clone(), nonce: Some(nonce()), contact: None };
        assert_eq!(tx.register(&new).await.expect("registered"), Registered::New);
        tx.commit().await.expect("committed");
        query
    }

    /// Locks `query` and lets the rule decide; the lock is held until the transaction is committed.
    pub(crate) async fn begun(&self, query: &Query, event: Event) -> (PostgresTx, Vec<Effect>) {
        begun(&self.store, query, event).await
    }

    /// The same as a task that commits.
    pub(crate) fn spawned(&self, query: &Query, event: Event) -> tokio::task::JoinHandle<Vec<Effect>> {
        let (store, query) = (self.store.clone(), query.clone());
        tokio::spawn(async move {
            let (tx, effects) = begun(&store, &query, event).await;
            tx.commit().await.expect("committed");
            effects
        })
    }

    /// The final report of `query`.
    pub(crate) async fn report(&self, query: &Query) -> Final {
        let query = self.store.query(&query.reference).await.expect("read").expect("is there");
        query.state.report().expect("is final").clone()
    }

    /// Returns when `waiting` sessions of this database wait for a lock.
    pub(crate) async fn until_blocked(&self, waiting: i64) {
        const BLOCKED: &str = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        until("sessions that wait for a lock", async || {
            let blocked: i64 = sqlx::query_scalar(BLOCKED).fetch_one(&self.pool).await.expect("a count");
            blocked == waiting
        })
        .await;
    }
}

async fn begun(store: &PostgresStore, query: &Query, event: Event) -> (PostgresTx, Vec<Effect>) {
    let mut tx = store.begin().await.expect("begun");
    let wanted = BTreeSet::from([query.reference.clone()]);
    let locked = tx.lock(&wanted).await.expect("locked").remove(&query.reference).expect("is there");
    let (next, effects) = apply(locked, event, query.times.deadline_at, &window());
    tx.save(&next).await.expect("saved");
    (tx, effects)
}

/// A store with its tables and days.
pub(crate) async fn store(pool: &PgPool, key_dir: &Path, clock: Arc<dyn Clock>) -> PostgresStore {
    PostgresStore::migrate(pool).await.expect("tables");
    let keys = DayKeys::open(key_dir).expect("a directory");
    let store = PostgresStore::on_clock(pool.clone(), keys, clock);
    store.make_days(&calendar()).await.expect("days");
    store
}

pub(crate) fn calendar() -> Calendar {
    Calendar::Civil(TimeZone::UTC)
}

/// Looks until it is so. The server tells nobody about its locks, so there is nothing to wait for.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, looking).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

pub(crate) fn window() -> Window {
    Window { length: Duration::from_secs(24 * 3600), grace: Duration::from_secs(5), calendar: calendar() }
}

pub(crate) fn bank(id: &str) -> BankId {
    id.parse().expect("an id")
}

pub(crate) fn nonce() -> Nonce {
    Nonce(*QueryId::generate().as_bytes())
}

pub(crate) fn query(accepted_at: UnixMillis, banks: &[&str]) -> Query {
    let pair = Pair { attempts: 1, ..Pair::new(Digest::of(b"statement"), None) };
    let pairs: BTreeMap<_, _> = banks.iter().map(|id| (bank(id), pair.clone())).collect();
    Query {
        reference: Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() },
        subject: "subject".into(),
        content_digest: Digest::of(b"content"),
        report_key: KeyId([7; 16]),
        record: Position { topic: "cardquery.query.wallet.v1".into(), partition: 3, offset: 42 },
        times: window().times(accepted_at),
        state: State::Collecting(Collecting { pairs }),
    }
}

pub(crate) fn answer(query: &Query, id: &str) -> Event {
    let said = Said::Closing(Closing::Answered, Digest::of(id.as_bytes()));
    let appended_at = query.times.accepted_at + Duration::from_secs(1);
    Event::Reply { bank: bank(id), at: (0, 0), appended_at, said }
}

pub(crate) fn window_closed() -> Event {
    Event::WindowClosed { suspended: BTreeSet::new() }
}
