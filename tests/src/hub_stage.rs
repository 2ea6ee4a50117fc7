//! Hubs on one broker in this process, each with a store and a clock of its own, called as their HTTP interface calls
//! them.

use std::sync::Arc;
use std::time::Duration;

use aggregator::config::{Config, DEFAULTS};
use aggregator::domain::query::{Collecting, Final, FinalKind, Outcome, Pair, Query, State};
use aggregator::domain::rate::Rate;
use aggregator::domain::subject::SubjectKey;
use aggregator::domain::window::Window;
use aggregator::first_line::{FirstLine, Redis, RedisConfig, RedisUrl};
use aggregator::handler::{Hub, Registrar, Sweeper};
use aggregator::store::contract::ManualClock;
use aggregator::store::{MemoryStore, NewQuery, Store, Tx as _};
use bytes::Bytes;
use cardquery::demo::world::{Plan, World};
use cardquery::sample;
use jiff::tz::TimeZone;
use plumbing::in_force::InForce;
use plumbing::kafka::{Fold, Handler as _, Position, Producer, Record, RecordReader, Verdict, Watermarks};
use plumbing::lifecycle::Lifecycle;
use plumbing::registry::{self, RegistryConfig};
use prost::Message as _;
use schemas::ids::{BankId, Digest, KeyId, QueryId, Reference};
use schemas::keys::SigningKey;
use schemas::registry::{PartyName, Registry};
use schemas::submission;
use schemas::time::{Calendar, UnixMillis};
use schemas::wire::{self, BankOutcome, query_record};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

const HOUR: Duration = Duration::from_secs(3_600);
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker and the sample's registry; no service runs.
pub struct Stage {
    world: World,
    registry: Fold<Registry>,
    lifecycle: Lifecycle,
}

impl Stage {
    /// Starts a broker in this process and follows its registry.
    ///
    /// # Panics
    /// If they do not start.
    pub async fn start() -> Self {
        let mut plan = Plan { aggregator: false, ..Plan::new() };
        plan.silent = sample::registry::sample().banks.iter().map(|bank| bank.id.clone()).collect();
        let world = World::start(&plan).await.expect("the world starts");
        let mut lifecycle = Lifecycle::new();
        let roots = world.roots().iter().map(|root| hex::encode(root.to_wire().raw)).collect();
        let (kafka, config) =
            (world.kafka("test"), RegistryConfig { roots, allow_sample_roots: true, seen_file: None });
        let followed = registry::follow(&kafka, world.topics.registry(), &config, &mut lifecycle).await;
        Self { registry: followed.expect("the registry is followed"), world, lifecycle }
    }

    /// What the sample's upstream signs with.
    #[must_use]
    pub fn upstream_key(&self) -> SigningKey {
        sample::keys::signing(&PartyName::upstream(&self.world.upstream))
    }

    /// Settings of a whole aggregator on this broker.
    ///
    /// # Panics
    /// If they are wrong.
    #[must_use]
    pub fn aggregator_config(&self) -> Config {
        self.world.aggregator_config(&Plan::new()).expect("settings")
    }

    /// A hub with an empty store in memory, whose upstreams may send `burst` requests at once.
    #[must_use]
    pub fn hub(&self, redis: Option<(&str, Patience)>, burst: u32) -> TestHub<MemoryStore> {
        let clock = Arc::new(ManualClock::new());
        self.hub_on(MemoryStore::new(Arc::clone(&clock) as _), clock, redis, burst)
    }

    /// A hub without Redis on the store and clock of another.
    #[must_use]
    pub fn twin(&self, of: &TestHub<MemoryStore>) -> TestHub<MemoryStore> {
        self.hub_on(of.hub.store.clone(), Arc::clone(&of.clock), None, 1)
    }

    /// A hub on any store.
    ///
    /// # Panics
    /// If a client of the broker cannot be made.
    pub fn hub_on<S: Store>(
        &self,
        store: S,
        clock: Arc<ManualClock>,
        redis: Option<(&str, Patience)>,
        burst: u32,
    ) -> TestHub<S> {
        let kafka = self.world.kafka("test");
        let redis = redis.map(|(url, patience)| connect(url, patience));
        let hub = Hub {
            store,
            registry: self.registry.clone(),
            producer: Producer::new(&kafka).expect("a producer"),
            records: RecordReader::new(&kafka).expect("a reader"),
            watermarks: Watermarks::new(&kafka).expect("a client"),
            key: sample::keys::signing(&PartyName::hub()),
            subjects: SubjectKey::new(Zeroizing::new([7; 32])),
            first_line: Arc::new(FirstLine::new(redis, Rate::new(1, burst))),
            topics: self.world.topics.clone(),
            policy: InForce::new(self.aggregator_config().policy.policy().expect("a policy")),
            paused: InForce::new(std::collections::BTreeMap::new()),
            window: window(),
            outbox: Arc::new(Notify::new()),
        };
        TestHub { hub: Arc::new(hub), clock, upstream_key: self.upstream_key() }
    }

    /// Which of its queries a script means.
    ///
    /// # Panics
    /// Never: the id is one.
    #[must_use]
    pub fn reference(&self, number: u8) -> Reference {
        // A UUID of version 7 with a time and a tail of its own.
        let id = format!("01999999-0000-7000-8000-0000000000{number:02x}");
        Reference { upstream: self.world.upstream.clone(), query: id.parse::<QueryId>().expect("an id") }
    }

    /// Stops broker and registry.
    pub async fn stop(self) {
        self.lifecycle.stop(PATIENCE).await;
        self.world.stop().await;
    }
}

/// How long a hub waits for Redis.
#[derive(Clone, Copy)]
pub enum Patience {
    /// Longer than a busy machine takes: a call that is not heard of was not made.
    Long,
    /// For a Redis that is away without a word.
    Short,
    /// As the hub is delivered.
    Default,
}

fn connect(url: &str, patience: Patience) -> Redis {
    let config: Config =
        plumbing::config::load(DEFAULTS, None, "CARDQUERY_TEST").expect("the defaults are settings");
    let default = config.redis;
    let (timeout_ms, breaker_pause_ms) = match patience {
        Patience::Long => (2_000, 200),
        Patience::Short => (200, 1_000),
        Patience::Default => (default.timeout_ms, default.breaker_pause_ms),
    };
    let config = RedisConfig { prefix: "test".to_owned(), timeout_ms, breaker_pause_ms, ..default };
    Redis::new(&RedisUrl::from(url), &config).expect("a URL")
}

/// A window of 24 hours.
#[must_use]
pub fn window() -> Window {
    Window { length: 24 * HOUR, grace: Duration::from_secs(5), calendar: Calendar::Civil(TimeZone::UTC) }
}

/// One hub.
pub struct TestHub<S> {
    /// What its HTTP interface calls.
    pub hub: Arc<Hub<S>>,
    /// Its store's clock.
    pub clock: Arc<ManualClock>,
    upstream_key: SigningKey,
}

impl<S: Store> TestHub<S> {
    /// Its store's time.
    ///
    /// # Panics
    /// If the store does not answer.
    pub async fn now(&self) -> UnixMillis {
        self.hub.store.now().await.expect("a clock")
    }

    /// Registers a query of `subject` with two banks, open or with a report.
    ///
    /// # Panics
    /// If the hub does not do it.
    pub async fn register(&self, reference: &Reference, subject: &str, is_final: bool) {
        let now = self.now().await;
        let banks: Vec<BankId> =
            sample::registry::sample().banks.into_iter().take(2).map(|bank| bank.id).collect();
        let state = if is_final {
            let outcome = Outcome { outcome: BankOutcome::NoReply, reply: None, conflict: false };
            State::Final(Final {
                kind: FinalKind::Empty,
                finalised_at: now,
                outcomes: banks.iter().map(|bank| (bank.clone(), outcome.clone())).collect(),
            })
        } else {
            let pair = || Pair::new(Digest::of(b"statement"), None);
            State::Collecting(Collecting { pairs: banks.iter().map(|bank| (bank.clone(), pair())).collect() })
        };
        let query = Query {
            reference: reference.clone(),
            subject: subject.to_owned(),
            content_digest: Digest::of(b"content"),
            report_key: report_key(),
            record: Position { topic: "cardquery.query.wallet.v1".into(), partition: 0, offset: 0 },
            times: window().times(now),
            state,
        };
        let mut tx = self.hub.store.begin().await.expect("a store");
        tx.register(&NewQuery { query, nonce: None, contact: None }).await.expect("registered");
        if is_final {
            let body = Bytes::from(reference.to_string().into_bytes());
            let coverage = wire::Signed { body, ..Default::default() };
            tx.keep_coverage(reference, &coverage).await.expect("kept");
        }
        tx.commit().await.expect("committed");
    }

    /// Withdraws a query as the upstream does, by a record of its topic.
    ///
    /// # Panics
    /// If the hub does not do it.
    pub async fn withdraw(&self, reference: &Reference) {
        let now = self.now().await;
        let revoked = submission::revoke(reference, now, &self.upstream_key);
        let message = Some(query_record::Message::Revoked(revoked));
        let record = Record {
            position: Position {
                topic: self.hub.topics.query(&reference.upstream).into(),
                partition: 0,
                offset: 1,
            },
            append_time_ms: now.0,
            key: Some(Bytes::from(reference.query.to_string())),
            value: wire::QueryRecord { message }.encode_to_vec().into(),
            headers: Vec::new(),
        };
        let verdicts = Registrar::new(Arc::clone(&self.hub)).handle(&[record]).await;
        assert!(matches!(verdicts[..], [Verdict::Done]), "{verdicts:?}");
    }

    /// Sweeps until no query is open whose deadline has passed, and none stays whose day is over.
    ///
    /// # Panics
    /// If the hub does not do it.
    pub async fn sweep(&self) {
        let token = CancellationToken::new();
        let sweeper = Sweeper::new(Arc::clone(&self.hub)).run(Duration::from_millis(10), token.clone());
        let overdue = async {
            loop {
                let due = self.hub.store.past_deadline(self.now().await.before(Duration::from_secs(5)), 9);
                if due.await.expect("a store").is_empty() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The round that closed the last one is finished before the sweeper ends.
            token.cancel();
        };
        tokio::time::timeout(PATIENCE, async { tokio::join!(sweeper, overdue) }).await.expect("swept");
        self.hub.erase().await.expect("a store");
    }
}

/// The report key of every query that is registered here.
#[must_use]
pub fn report_key() -> KeyId {
    KeyId([7; 16])
}
