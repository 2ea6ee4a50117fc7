//! The notifier's store on a real PostgreSQL: the contract that the one in memory keeps as well, and what several
//! instances on one database may never do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use cardquery_tests::stack::{Stack, TestDatabase};
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all, poll_fn};
use notifier::dispatch::{Contact, Dispatch, Errand, Found, Limits, Manners, NotNow, SmsLog};
use notifier::domain::evidence::Means;
use notifier::domain::ledger::{Entry, Ledger};
use notifier::domain::phone::Phone;
use notifier::domain::sms::{Claimant, Outcome, Terms, UNFINISHED};
use notifier::domain::text::{Language, Message};
use notifier::gateway::{Gateway, GatewayOutcome, Inquiries, OutgoingSms};
use notifier::store::memory::Memory;
use notifier::store::postgres::Postgres;
use notifier::store::{Claim, NoticeAt, Progress, Store, contract};
use plumbing::exit::Exit;
use plumbing::kafka::{KafkaConfig, OutRecord, ProduceError, Producer};
use plumbing::lifecycle::Lifecycle;
use prost::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use schemas::codes::Code;
use schemas::ids::{QueryId, Reference};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::notice::Header;
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use schemas::wire::QueryState;

const NOTICES: usize = 1_000;

/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

async fn instance(database: &TestDatabase) -> Postgres {
    let config = database.config();
    Postgres::open(config.pool("notifier.store", config.connections).expect("a pool")).await.expect("a store")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_postgresql_keeps_the_contract() {
    let database = Stack::get().database().await;
    contract::check(async || instance(&database).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_memory_keeps_the_contract() {
    contract::check(async || Memory::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_instance_wrote_another_reads() {
    let database = Stack::get().database().await;
    let (one, two) = (instance(&database).await, instance(&database).await);
    let reference = reference();
    assert_eq!(one.claim(&reference, terms(), None).await.expect("available"), Claim::Granted { attempt: 1 });
    assert_eq!(two.claim(&reference, terms(), None).await.expect("available"), Claim::InProgress);
    one.record(&reference, 1, sent()).await.expect("available");
    let claim = two.claim(&reference, terms(), None).await.expect("available");
    assert!(matches!(claim, Claim::Ended(ended) if ended.outcome == sent()));
}

fn terms() -> Terms {
    let means = Means {
        idempotent: false,
        inquiries: false,
        first: Duration::from_secs(5),
        longest: Duration::from_secs(120),
        give_up: Duration::from_secs(600),
    };
    Terms { claimant: Claimant::new(), means, lease: Duration::from_secs(60), quiet: None }
}

fn reference() -> Reference {
    Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() }
}

fn sent() -> Outcome {
    Outcome::Sent { gateway_id: "g-1".into() }
}

/// The SMS topic and the phones, which all instances share.
#[derive(Default)]
struct World {
    topic: Mutex<Vec<(Reference, u32, Entry)>>,
    calls: Mutex<HashMap<String, usize>>,
}

impl World {
    fn entries(&self) -> Vec<Entry> {
        self.topic.lock().expect("not poisoned").iter().map(|(.., entry)| entry.clone()).collect()
    }

    fn calls(&self) -> usize {
        self.calls.lock().expect("not poisoned").values().sum()
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for (reference, attempt, entry) in self.topic.lock().expect("not poisoned").iter() {
            ledger.take(&entry.record(reference, *attempt, UnixMillis(0)).encode_to_vec()).expect("readable");
        }
        ledger
    }
}

struct Topic(Arc<World>);

impl SmsLog for Topic {
    async fn append(&self, reference: &Reference, attempt: u32, entry: &Entry) -> Result<(), ProduceError> {
        self.0.topic.lock().expect("not poisoned").push((reference.clone(), attempt, entry.clone()));
        tokio::task::yield_now().await;
        Ok(())
    }
}

struct Phones(Arc<World>);

impl Gateway for Phones {
    fn send<'a>(&'a self, sms: &'a OutgoingSms) -> BoxFuture<'a, GatewayOutcome> {
        async {
            *self.0.calls.lock().expect("not poisoned").entry(sms.out_id.to_string()).or_default() += 1;
            tokio::task::yield_now().await;
            GatewayOutcome::Accepted { gateway_id: "g-1".into() }
        }
        .boxed()
    }

    fn idempotent(&self) -> bool {
        false
    }

    fn inquiries(&self) -> Option<&dyn Inquiries> {
        None
    }
}

/// A gateway that is never called, because its process dies before.
struct Unreachable;

impl Gateway for Unreachable {
    fn send<'a>(&'a self, _: &'a OutgoingSms) -> BoxFuture<'a, GatewayOutcome> {
        unreachable!("nobody may send this")
    }

    fn idempotent(&self) -> bool {
        false
    }

    fn inquiries(&self) -> Option<&dyn Inquiries> {
        None
    }
}

const LIMITS: Limits = Limits {
    gateway_timeout: Duration::from_secs(10),
    lease: Duration::from_secs(60),
    ask_after: Duration::from_secs(5),
    ask_for: Duration::from_secs(600),
};

fn sender<G: Gateway>(
    store: Postgres,
    world: &Arc<World>,
    gateway: G,
    limits: Limits,
) -> Dispatch<Postgres, Topic> {
    Dispatch::new(store, Topic(Arc::clone(world)), Arc::new(gateway), limits, Manners::default())
}

async fn deliver(sender: &Dispatch<Postgres, Topic>, reference: &Reference) -> Result<(), NotNow> {
    let header = Header {
        reference: reference.clone(),
        state: QueryState::FinalPartial,
        banks: 14,
        answered: 12,
        accepted_at: UnixMillis(0),
    };
    let contact = || {
        let to = Phone::parse("+8613800000001".into()).ok_or(Code::CONTACT_UNREADABLE)?;
        Ok(Contact { to, language: Language::En })
    };
    let errand = Errand {
        reference: reference.clone(),
        message: Message::of(&header).expect("final"),
        notice: NoticeAt { partition: 0, offset: 0 },
        appended_at: UnixMillis(0),
    };
    sender.deliver(&errand, contact).await
}

/// Delivers until somebody has ended it.
async fn deliver_to_its_end(sender: &Dispatch<Postgres, Topic>, reference: &Reference) {
    let trying = async {
        while let Err(error) = deliver(sender, reference).await {
            assert!(matches!(error, NotNow::InProgress), "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_that_race_for_a_thousand_notices_claim_and_send_each_once() {
    let database = Stack::get().database().await;
    let world = Arc::new(World::default());
    let senders = join_all((0..2).map(async |_| {
        Arc::new(sender(instance(&database).await, &world, Phones(Arc::clone(&world)), LIMITS))
    }))
    .await;
    let references: Arc<Vec<Reference>> = Arc::new((0..NOTICES).map(|_| reference()).collect());
    let next: Vec<Arc<AtomicUsize>> = senders.iter().map(|_| Arc::default()).collect();
    let workers = senders.iter().zip(&next).flat_map(|(sender, next)| {
        (0..8).map(|_| {
            let (sender, next, references) = (Arc::clone(sender), Arc::clone(next), Arc::clone(&references));
            tokio::spawn(async move {
                while let Some(reference) = references.get(next.fetch_add(1, Ordering::SeqCst)) {
                    deliver_to_its_end(&sender, reference).await;
                }
            })
        })
    });
    for worker in join_all(workers).await {
        worker.expect("no panic");
    }
    assert_eq!(world.calls(), NOTICES);
    assert_eq!(world.calls.lock().expect("not poisoned").len(), NOTICES);
    let entries = world.entries();
    let count = |wanted: &Entry| entries.iter().filter(|entry| *entry == wanted).count();
    assert_eq!(count(&Entry::Claimed), NOTICES);
    assert!(count(&Entry::Ended(sent())) >= NOTICES, "each is announced at least once");
    assert_eq!(entries.len(), NOTICES + count(&Entry::Ended(sent())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_claim_and_call_is_exactly_one_unknown() {
    let database = Stack::get().database().await;
    let world = Arc::new(World::default());
    let reference = reference();
    let limits =
        Limits { gateway_timeout: Duration::from_millis(1), lease: Duration::from_millis(5_500), ..LIMITS };
    {
        let killed = sender(instance(&database).await, &world, Unreachable, limits);
        let mut delivering = Box::pin(deliver(&killed, &reference));
        // Dropped as soon as the claim stands in the topic: the gateway comes next.
        poll_fn(|context| {
            assert!(delivering.poll_unpin(context).is_pending());
            if world.entries().is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
    let next = sender(instance(&database).await, &world, Unreachable, limits);
    assert_eq!(next.recover(world.ledger()).await.expect("recovered"), Found::default());
    let error = deliver(&next, &reference).await.expect_err("the lease runs");
    assert!(matches!(error, NotNow::InProgress), "{error}");
    deliver_to_its_end(&next, &reference).await;
    deliver(&next, &reference).await.expect("over");
    assert_eq!(world.entries(), [Entry::Claimed, Entry::Ended(UNFINISHED)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_restored_backup_lacks_are_restored_from_the_topic_and_nothing_is_sent_again() {
    let (database, restored) = (Stack::get().database().await, Stack::get().database().await);
    let world = Arc::new(World::default());
    let (over, open) = (reference(), reference());
    let before = sender(instance(&database).await, &world, Phones(Arc::clone(&world)), LIMITS);
    deliver(&before, &over).await.expect("sent");
    world.topic.lock().expect("not poisoned").push((open.clone(), 1, Entry::Claimed));

    let after = sender(instance(&restored).await, &world, Unreachable, LIMITS);
    let found = after.recover(world.ledger()).await.expect("recovered");
    assert_eq!(found, Found { ended: 2, unfinished: 1 });
    for reference in [&over, &open] {
        deliver(&after, reference).await.expect("over");
    }
    let unknown = (open, 1, Entry::Ended(UNFINISHED));
    assert_eq!(world.topic.lock().expect("not poisoned").last(), Some(&unknown));
    assert_eq!(world.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_back_in_time_is_noticed() {
    let database = Stack::get().database().await;
    let store = instance(&database).await;
    let known = Progress::from([(0, 10)]);
    assert!(store.advance("sms", &Progress::new(), &known).await.expect("available"));
    database.execute("UPDATE sms_progress SET next_offset = 9").await;
    assert!(!store.advance("sms", &known, &Progress::from([(0, 11)])).await.expect("available"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_version_writes_is_an_error_and_not_a_claim() {
    let database = Stack::get().database().await;
    let store = instance(&database).await;
    let reference = reference();
    store.claim(&reference, terms(), None).await.expect("available");
    database
        .execute("ALTER TABLE sms DROP CONSTRAINT sms_state_check; UPDATE sms SET state = 'new', claimant = NULL, claimed_until = NULL")
        .await;
    store.claim(&reference, terms(), None).await.expect_err("unreadable");
}

/// The service itself, on the broker in this process.
struct Stand {
    cluster: MockCluster<'static, DefaultProducerContext>,
    topics: Topics,
    database: TestDatabase,
}

impl Stand {
    async fn new() -> Self {
        let (cluster, topics) = (MockCluster::new(1).expect("a broker"), Topics::default());
        let dead = topics.dead_letter(&topics.notice()).expect("notices have dead letters");
        for (topic, partitions) in
            [(topics.notice(), 12), (topics.sms(), 12), (topics.registry(), 1), (dead, 3)]
        {
            cluster.create_topic(&topic, partitions, 1).expect("a topic");
        }
        Self { cluster, topics, database: Stack::get().database().await }
    }

    fn kafka(&self) -> KafkaConfig {
        KafkaConfig::in_process(self.cluster.bootstrap_servers(), "cardquery.notifier")
    }

    async fn wrote_before(&self, reference: &Reference, entry: &Entry) {
        let record = OutRecord {
            topic: self.topics.sms(),
            key: Some(reference.query.to_string().into_bytes()),
            value: entry.record(reference, 1, UnixMillis(0)).encode_to_vec(),
            headers: Vec::new(),
        };
        Producer::new(&self.kafka()).expect("a producer").send(record).await.expect("acknowledged");
    }

    /// What a start finds.
    async fn start(&self) -> Found {
        let mut config = notifier::Config::load(None).expect("the defaults are valid");
        config.kafka = self.kafka();
        config.postgres = self.database.config();
        config.gateway.timeout_ms = 2_000;
        config.notices.drain_ms = 4_000;
        config.registry.roots =
            [1, 2].map(|seed| hex::encode(SigningKey::from_seed(&[seed; 32]).public().to_wire().raw)).into();
        let secrets = notifier::Secrets::to_open(vec![OpeningKey::derive(&[5; 32])]);
        let mut lifecycle = Lifecycle::new();
        let start = notifier::start(config, secrets, Arc::new(Unreachable), &mut lifecycle);
        let running = tokio::time::timeout(PATIENCE, start).await.expect("in time").expect("started");
        assert_eq!(lifecycle.stop(PATIENCE).await, Exit::Ok);
        running.found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_reads_what_the_topic_says_once_and_again_after_a_restored_backup() {
    let stand = Stand::new().await;
    let (open, over) = (reference(), reference());
    stand.wrote_before(&open, &Entry::Claimed).await;
    stand.wrote_before(&over, &Entry::Claimed).await;
    stand.wrote_before(&over, &Entry::Ended(sent())).await;
    assert_eq!(stand.start().await, Found { ended: 2, unfinished: 1 });
    // What the start before wrote itself.
    assert_eq!(stand.start().await, Found { ended: 1, unfinished: 0 });
    assert_eq!(stand.start().await, Found::default());
    stand.database.execute("DELETE FROM sms; DELETE FROM sms_progress").await;
    assert_eq!(stand.start().await, Found { ended: 2, unfinished: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_start_together_find_each_claim_once() {
    let stand = Stand::new().await;
    let open: Vec<Reference> = (0..50).map(|_| reference()).collect();
    for reference in &open {
        stand.wrote_before(reference, &Entry::Claimed).await;
    }
    let found = join_all((0..3).map(|_| stand.start())).await;
    assert!(found.iter().map(|found| found.unfinished).sum::<usize>() >= open.len(), "{found:?}");
    let store = instance(&stand.database).await;
    for reference in &open {
        let claim = store.claim(reference, terms(), None).await.expect("available");
        assert!(matches!(&claim, Claim::Ended(ended) if ended.outcome == UNFINISHED && ended.announced));
    }
}
