//! What every test here stands on: a broker in this process, a registry, everything that the hub writes, the hub.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aggregator::config::{Config, Secrets};
use aggregator::domain::policy::Policy;
use aggregator::domain::subject::SubjectKey;
use aggregator::store::{MemoryStore, Store as _, SystemClock};
use aggregator::{Running, Stores};
use bytes::Bytes;
use plumbing::exit::Exit;
use plumbing::in_force::InForce;
use plumbing::kafka::{Follower, KafkaConfig, Position, Record, Watermarks, follow, read_to_end};
use plumbing::lifecycle::Lifecycle;
use plumbing::registry::RegistryConfig;
use prost::Message as _;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use schemas::codes::Code;
use schemas::http::{PROBLEM_JSON, Problem, QueryStatus};
use schemas::ids::{MessageId, Reference};
use schemas::keys::SigningKey;
use schemas::registry::{self, HUB, NOTIFIER, Party, Registry, SeenVersions};
use schemas::reply::Word;
use schemas::request::{self, Opened, Request};
use schemas::submission;
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use schemas::wire::{self, KeyUse, PartyKind, PartyState, event_record, query_record};
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::parties::{
    Query, REGION, bank, consent_text, now, opening_key, pinned, reply_at, roots, signing_key, upstream,
};
use crate::published::AuditLog;

/// Nothing here takes nearly as long; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(40);
/// Looks at what cannot be awaited.
const LOOK: Duration = Duration::from_millis(20);
/// Enough for order to matter; the table's twelve only cost time here.
const PARTITIONS_MAX: i32 = 3;

/// Greatest age of a factor when a query is accepted.
pub(crate) const MAX_FACTOR_AGE: Duration = Duration::from_secs(600);

const UPSTREAMS: [&str; 2] = ["wallet", "shop"];
/// `asleep` is suspended, `far` takes part in another region, `omega` has topics and no entry.
const BANKS: [&str; 6] = ["alpha", "beta", "gamma", "asleep", "far", "omega"];

pub(crate) fn party_key(r#use: KeyUse, key: wire::PublicKey) -> wire::PartyKey {
    wire::PartyKey { r#use: r#use.into(), key: Some(key), ..Default::default() }
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

async fn look_until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}

/// A broker and a hub that several tests use, each with queries of its own.
pub(crate) struct Shared {
    pub(crate) stand: Stand,
    pub(crate) hub: Hub,
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static LONG: OnceCell<Shared> = OnceCell::const_new();
static SHORT: OnceCell<Shared> = OnceCell::const_new();

async fn shared(window: Window) -> Shared {
    let cluster = broker();
    let stand = Stand::new(&cluster, window).await;
    // For the rest of the process.
    std::mem::forget(cluster);
    let hub = stand.start().await;
    Shared { stand, hub }
}

/// Runs a test on a hub whose windows are a day: nothing happens because of time.
pub(crate) fn with_long_windows(test: impl AsyncFnOnce(&'static Shared)) {
    RUNTIME.block_on(async { test(LONG.get_or_init(|| shared(DAY)).await).await });
}

/// Runs a test on a hub whose windows are seconds.
pub(crate) fn with_short_windows(test: impl AsyncFnOnce(&'static Shared)) {
    RUNTIME.block_on(async { test(SHORT.get_or_init(|| shared(SECONDS)).await).await });
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) length: Duration,
    pub(crate) grace: Duration,
}

pub(crate) const DAY: Window =
    Window { length: Duration::from_secs(24 * 3_600), grace: Duration::from_secs(5) };
/// Asks again after 100 ms, 300 ms, 700 ms, 1.5 s and from then on every 800 ms.
const SECONDS: Window = Window { length: Duration::from_millis(4_800), grace: Duration::from_millis(300) };

pub(crate) fn broker() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).expect("a broker");
    let (upstreams, banks) = (UPSTREAMS.map(upstream), BANKS.map(bank));
    for (topic, spec) in Topics::default().all(&upstreams, &banks) {
        cluster.create_topic(&topic, spec.partitions.min(PARTITIONS_MAX), 1).expect("created");
    }
    cluster
}

pub(crate) struct Stand {
    pub(crate) window: Window,
    pub(crate) kafka: KafkaConfig,
    pub(crate) topics: Topics,
    http: reqwest::Client,
    writer: FutureProducer,
    registry: Mutex<Registry>,
    tape: Tape,
}

/// Everything that the hub writes, as it comes.
struct Tape {
    topics: Vec<String>,
    records: Arc<Mutex<Vec<Record>>>,
    length: watch::Receiver<usize>,
    watermarks: Watermarks,
    _follower: Follower,
    _stop: DropGuard,
}

/// A record that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) position: Position,
    pub(crate) at: UnixMillis,
}

/// An event as the upstream reads it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) message: event_record::Message,
}

impl Told {
    pub(crate) fn name(&self) -> &'static str {
        use event_record::Message;
        match &self.message {
            Message::Accepted(_) => "accepted",
            Message::Rejected(_) => "rejected",
            Message::Held(_) => "held",
            Message::Cancelled(_) => "cancelled",
            Message::ReportReady(_) => "report-ready",
            Message::Viewed(_) => "viewed",
            Message::Withdrawn(_) => "withdrawn",
            Message::Erased(_) => "erased",
        }
    }
}

impl Stand {
    pub(crate) async fn new(cluster: &MockCluster<'static, DefaultProducerContext>, window: Window) -> Self {
        let servers = cluster.bootstrap_servers();
        let kafka = KafkaConfig::in_process(servers.clone(), "test");
        let topics = Topics::default();
        let writer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "0")
            .create()
            .expect("a producer");
        let stand = Self {
            tape: Tape::start(&kafka, &topics).await,
            http: plumbing::http::client(None).expect("no file can be wrong"),
            registry: Mutex::new(Registry::new(pinned(), SeenVersions::default())),
            window,
            kafka,
            topics,
            writer,
        };
        stand.register(PartyKind::Hub, HUB, PartyState::Active, REGION).await;
        stand.register(PartyKind::Notifier, NOTIFIER, PartyState::Active, REGION).await;
        for id in UPSTREAMS {
            stand.register(PartyKind::Upstream, id, PartyState::Active, REGION).await;
        }
        for id in ["alpha", "beta", "gamma"] {
            stand.register(PartyKind::Bank, id, PartyState::Active, REGION).await;
        }
        stand.register(PartyKind::Bank, "asleep", PartyState::Suspended, REGION).await;
        stand.register(PartyKind::Bank, "far", PartyState::Active, "530000").await;
        stand
    }

    /// Publishes the next version of an entry.
    pub(crate) async fn register(&self, kind: PartyKind, id: &str, state: PartyState, region: &str) {
        let signs = party_key(KeyUse::Sign, signing_key(id).public().to_wire());
        let seals = party_key(KeyUse::Seal, opening_key(id).public().to_wire());
        let mut entry = wire::RegistryEntry {
            kind: kind.into(),
            id: id.to_owned(),
            version: 1,
            state: state.into(),
            keys: match kind {
                PartyKind::Bank => vec![signs, seals],
                PartyKind::Notifier => vec![seals],
                PartyKind::Unspecified | PartyKind::Upstream | PartyKind::Hub => vec![signs],
            },
            regions: vec![region.to_owned()],
            bank_texts: None,
        };
        let name = registry::record_key(&entry).expect("a party").parse().expect("a name");
        entry.version += self.registry().party(&name).map_or(0, Party::version);
        self.publish(&entry, None).await;
    }

    /// The entry of a bank after the one in force, as `change` wants it.
    pub(crate) fn next_entry(
        &self,
        id: &str,
        change: impl FnOnce(&mut wire::RegistryEntry),
    ) -> wire::RegistryEntry {
        let registry = self.registry();
        let record = registry.bank(&bank(id)).expect("registered").record();
        let mut entry = wire::RegistryEntry::decode(record.body.clone()).expect("an entry");
        entry.version += 1;
        change(&mut entry);
        entry
    }

    /// Publishes an entry, whose new keys `signer` agrees to.
    pub(crate) async fn publish(&self, entry: &wire::RegistryEntry, signer: Option<&SigningKey>) -> Sent {
        let key = registry::record_key(entry).expect("a party");
        let record = registry::sign_entry(entry, &roots(), signer).encode_to_vec();
        let applied = self.registry.lock().expect("not poisoned").apply(key.as_bytes(), &record, now());
        applied.expect("a good entry");
        self.send(&self.topics.registry(), &key, record, None, None).await
    }

    pub(crate) fn registry(&self) -> Registry {
        self.registry.lock().expect("not poisoned").clone()
    }

    /// Appends a record. The broker in this process takes the time that the writer says.
    pub(crate) async fn send(
        &self,
        topic: &str,
        key: &str,
        value: Vec<u8>,
        partition: Option<i32>,
        at: Option<UnixMillis>,
    ) -> Sent {
        let at = at.unwrap_or_else(now);
        let mut record = FutureRecord::to(topic).key(key).payload(&value).timestamp(at.0);
        record.partition = partition;
        let sent = soon("an acknowledgement", self.writer.send(record, PATIENCE)).await;
        let sent = sent.map_err(|(error, _)| error).expect("acknowledged");
        let position = Position { topic: topic.into(), partition: sent.partition, offset: sent.offset };
        Sent { position, at }
    }

    pub(crate) async fn submit(&self, query: &Query) -> Sent {
        self.submit_at(query, now()).await
    }

    pub(crate) async fn submit_at(&self, query: &Query, at: UnixMillis) -> Sent {
        let topic = self.topics.query(&query.reference.upstream);
        self.send(&topic, &query.id(), submitted(&query.submitted), None, Some(at)).await
    }

    /// Appends the release of a held query.
    pub(crate) async fn release_at(&self, release: &Query, at: UnixMillis) -> Sent {
        let released = wire::QueryReleased { submission: Some(release.submitted.clone()) };
        let record = wire::QueryRecord { message: Some(query_record::Message::Released(released)) };
        let topic = self.topics.query(&release.reference.upstream);
        self.send(&topic, &release.id(), record.encode_to_vec(), None, Some(at)).await
    }

    pub(crate) async fn revoke(&self, query: &Query) -> Sent {
        let revoked = submission::revoke(&query.reference, now(), &query.signer);
        let record = wire::QueryRecord { message: Some(query_record::Message::Revoked(revoked)) };
        let topic = self.topics.query(&query.reference.upstream);
        self.send(&topic, &query.id(), record.encode_to_vec(), None, None).await
    }

    pub(crate) async fn reply(&self, query: &Query, from: &str, word: Word) -> Sent {
        self.reply_at(query, from, word, now()).await
    }

    pub(crate) async fn reply_at(&self, query: &Query, from: &str, word: Word, at: UnixMillis) -> Sent {
        self.reply_raw(query, from, reply_at(query, from, word, at), Some(at)).await
    }

    pub(crate) async fn reply_raw(
        &self,
        query: &Query,
        from: &str,
        value: Vec<u8>,
        at: Option<UnixMillis>,
    ) -> Sent {
        self.send(&self.topics.reply(&bank(from)), &query.id(), value, None, at).await
    }

    pub(crate) fn events(&self, reference: &Reference) -> Vec<Told> {
        let of_query = self.tape.of(&self.topics.event(&reference.upstream), reference);
        let told = of_query.into_iter().map(|record| {
            let event = wire::EventRecord::decode(record.value.clone()).expect("an event");
            assert_eq!(Reference::try_from(event.reference.as_ref()).as_ref(), Ok(reference));
            assert_eq!(text(&record, "ce_type"), "cardquery.QueryEvent.v1");
            Told { id: text(&record, "ce_id"), message: event.message.expect("a message") }
        });
        told.collect()
    }

    /// Names of the events of a query.
    pub(crate) fn told(&self, query: &Query) -> Vec<&'static str> {
        self.events(&query.reference).iter().map(Told::name).collect()
    }

    pub(crate) async fn until_told(&self, query: &Query, names: &[&str]) -> Vec<Told> {
        let what = format!("{names:?}");
        let enough = || Some(self.events(&query.reference)).filter(|told| told.len() >= names.len());
        let told = self.tape.until(&what, enough).await;
        assert_eq!(told.iter().map(Told::name).collect::<Vec<_>>(), names, "{told:?}");
        told
    }

    /// Name of the first event of a query.
    pub(crate) async fn first_told(&self, query: &Query) -> &'static str {
        self.tape.until("an event", || self.told(query).first().copied()).await
    }

    /// What `to` was asked about `query`, verified as the hub's word, and until when it is of use.
    pub(crate) fn asked(&self, query: &Query, to: &str) -> Vec<Request> {
        self.requests(query, to)
            .into_iter()
            .filter_map(|opened| match opened {
                Opened::Request(request) => Some(request),
                Opened::Cancelled(_) => None,
            })
            .collect()
    }

    /// How often `to` was told that its request is void.
    pub(crate) fn cancelled(&self, query: &Query, to: &str) -> usize {
        self.requests(query, to).iter().filter(|opened| matches!(opened, Opened::Cancelled(_))).count()
    }

    fn requests(&self, query: &Query, to: &str) -> Vec<Opened> {
        let registry = self.registry();
        let hub = registry.hub().expect("registered");
        self.asked_records(query, to)
            .into_iter()
            .map(|record| {
                let at = UnixMillis(record.append_time_ms);
                request::open(&bank(to), record.value, hub, at).expect("the hub's word")
            })
            .collect()
    }

    pub(crate) fn asked_records(&self, query: &Query, to: &str) -> Vec<Record> {
        self.tape.of(&self.topics.request(&bank(to)), &query.reference)
    }

    pub(crate) async fn until_asked(&self, query: &Query, to: &str, times: usize) -> Vec<Request> {
        let enough = || Some(self.asked(query, to)).filter(|asked| asked.len() >= times);
        self.tape.until(&format!("request {times} to {to}"), enough).await
    }

    pub(crate) async fn until_cancelled(&self, query: &Query, to: &str) {
        let enough = || (self.cancelled(query, to) > 0).then_some(());
        self.tape.until(&format!("a cancellation to {to}"), enough).await;
    }

    pub(crate) fn notices(&self, query: &Query) -> Vec<Record> {
        self.tape.of(&self.topics.notice(), &query.reference)
    }

    pub(crate) async fn until_notices(&self, query: &Query, times: usize) -> Vec<Record> {
        let enough = || Some(self.notices(query)).filter(|notices| notices.len() >= times);
        self.tape.until("a notice", enough).await
    }

    /// Codes under which a record was put to the dead letters.
    pub(crate) fn buried(&self, sent: &Sent) -> Vec<String> {
        let topic = self.topics.dead_letter(&sent.position.topic).expect("it has dead letters");
        let of_record = |record: &Record| {
            *record.position.topic == *topic
                && text(record, "__dlq.errors.topic") == *sent.position.topic
                && text(record, "__dlq.errors.partition") == sent.position.partition.to_string()
                && text(record, "__dlq.errors.offset") == sent.position.offset.to_string()
        };
        self.tape.all(of_record).iter().map(|record| text(record, "cardquery-error-code")).collect()
    }

    pub(crate) async fn until_buried(&self, sent: &Sent) -> String {
        let enough = || self.buried(sent).into_iter().next();
        self.tape.until(&format!("the dead letter of {}", sent.position), enough).await
    }

    /// Returns when the hub has handled everything up to `sent`, has written all that it wants to say about it, and
    /// all of that can be seen here.
    pub(crate) async fn handled(&self, hub: &Hub, sent: &Sent) {
        let Position { topic, partition, .. } = &sent.position;
        let marker = self.send(topic, "marker", b"\xff".to_vec(), Some(*partition), None).await;
        assert_eq!(self.until_buried(&marker).await, "MESSAGE_MALFORMED");
        look_until("an empty outbox", async || {
            let (waiting, parked) = hub.store.outbox_depth().await.expect("a store in memory");
            assert_eq!(parked, 0);
            (waiting == 0).then_some(())
        })
        .await;
        self.tape.catch_up().await;
    }

    /// Returns when everything that the hub's topics hold now can be seen here.
    pub(crate) async fn catch_up(&self) {
        self.tape.catch_up().await;
    }

    /// What the audit topic says.
    pub(crate) async fn logged(&self) -> AuditLog {
        let topic = self.topics.audit();
        let (sender, mut records) = mpsc::unbounded_channel();
        let each = move |record: Record| sender.send(record.value).expect("somebody listens");
        let topics = [topic.clone()];
        soon("the audit topic", read_to_end(&self.kafka, &topics, each)).await.expect("readable");
        let mut values = Vec::new();
        while let Some(value) = records.recv().await {
            values.push(value);
        }
        let registry = self.registry();
        let keys = registry.hub().expect("registered").keys();
        AuditLog::of(&topic, values.iter().map(|value| &value[..]), keys)
    }

    pub(crate) async fn until_logged(&self, what: &str, enough: impl Fn(&AuditLog) -> bool) -> AuditLog {
        look_until(what, async || Some(self.logged().await).filter(|log| enough(log))).await
    }

    pub(crate) fn config(&self) -> Config {
        let mut config: Config = Config::load(None).expect("the defaults are settings");
        config.listen = "127.0.0.1:0".parse().expect("an address");
        config.sweep_interval_ms = 50;
        config.audit.checkpoint_seconds = 1;
        config.kafka = self.kafka.clone();
        config.registry = self.registry_config();
        config.policy.open_regions = vec![REGION.to_owned()];
        config.policy.max_factor_age_seconds = MAX_FACTOR_AGE.as_secs();
        config.policy.consent_texts = vec![consent_text().to_string()];
        config.window.length_seconds = self.window.length.as_secs_f64();
        config.window.grace_ms = u64::try_from(self.window.grace.as_millis()).expect("a short time");
        config
    }

    pub(crate) fn registry_config(&self) -> RegistryConfig {
        let roots = pinned().iter().map(|root| hex::encode(root.to_wire().raw)).collect();
        RegistryConfig { roots, ..RegistryConfig::default() }
    }

    pub(crate) async fn start(&self) -> Hub {
        self.start_with(|_| ()).await
    }

    /// Starts a hub with other settings.
    pub(crate) async fn start_with(&self, change: impl FnOnce(&mut Config)) -> Hub {
        let mut config = self.config();
        change(&mut config);
        let mut lifecycle = Lifecycle::new();
        let secrets =
            Secrets { signing_key: signing_key(HUB), subject_key: SubjectKey::ephemeral(), redis: None };
        let store = MemoryStore::new(Arc::new(SystemClock));
        let stores = Stores::shared(store.clone());
        let started = aggregator::start_on(stores, config, secrets, &mut lifecycle);
        let Running { addr, policy } = soon("the start", started).await.expect("started");
        Hub { url: format!("http://{addr}"), store, policy, lifecycle, http: self.http.clone() }
    }
}

impl Tape {
    async fn start(kafka: &KafkaConfig, names: &Topics) -> Self {
        let all = names.all(&UPSTREAMS.map(upstream), &BANKS.map(bank));
        let written = ["cardquery.event.", "cardquery.request.", "cardquery.notice.", "dlq."];
        let by_hub = |name: &String| written.iter().any(|start| name.starts_with(start));
        let topics: Vec<String> = all.into_iter().map(|(name, _)| name).filter(by_hub).collect();
        let records = Arc::new(Mutex::new(Vec::new()));
        let (grown, length) = watch::channel(0);
        let stop = CancellationToken::new();
        let each = {
            let records = Arc::clone(&records);
            move |record| {
                let mut records = records.lock().expect("not poisoned");
                records.push(record);
                grown.send_replace(records.len());
            }
        };
        let follower = follow(kafka, topics.clone(), each, stop.clone()).expect("follows");
        soon("the tape", follower.caught_up()).await.expect("readable");
        let watermarks = Watermarks::new(kafka).expect("a client");
        Self { topics, records, length, watermarks, _follower: follower, _stop: stop.drop_guard() }
    }

    fn all(&self, wanted: impl Fn(&Record) -> bool) -> Vec<Record> {
        self.records.lock().expect("not poisoned").iter().filter(|record| wanted(record)).cloned().collect()
    }

    fn of(&self, topic: &str, reference: &Reference) -> Vec<Record> {
        let key = reference.query.to_string();
        self.all(|record| *record.position.topic == *topic && record.key.as_deref() == Some(key.as_bytes()))
    }

    async fn until<T>(&self, what: &str, enough: impl Fn() -> Option<T>) -> T {
        let mut length = self.length.clone();
        soon(what, async {
            loop {
                length.borrow_and_update();
                if let Some(found) = enough() {
                    return found;
                }
                length.changed().await.expect("the tape runs");
            }
        })
        .await
    }

    async fn catch_up(&self) {
        let ends = self.watermarks.end_offsets(&self.topics).await;
        for ((topic, partition), end) in ends {
            let end = end.expect("readable");
            let read = |record: &Record| {
                *record.position.topic == *topic
                    && record.position.partition == partition
                    && record.position.offset + 1 >= end
            };
            self.until("the end", || (end == 0 || !self.all(read).is_empty()).then_some(())).await;
        }
    }
}

pub(crate) fn submitted(submitted: &wire::QuerySubmitted) -> Vec<u8> {
    let message = Some(query_record::Message::Submitted(submitted.clone()));
    wire::QueryRecord { message }.encode_to_vec()
}

pub(crate) fn text(record: &Record, header: &str) -> String {
    let value = record.header(header).unwrap_or_else(|| panic!("no header {header}"));
    String::from_utf8(value.to_vec()).expect("a text")
}

pub(crate) fn message_id(query: &Query, kind: &str) -> String {
    let id: MessageId = query.reference.message_id(kind);
    id.to_string()
}

/// A hub that runs.
pub(crate) struct Hub {
    url: String,
    pub(crate) store: MemoryStore,
    pub(crate) policy: InForce<Policy>,
    lifecycle: Lifecycle,
    http: reqwest::Client,
}

impl Hub {
    pub(crate) fn path(query: &Query) -> String {
        format!("/v1/upstreams/{}/queries/{}", query.reference.upstream, query.reference.query)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.http.get(format!("{}{path}", self.url))).await
    }

    pub(crate) async fn post(&self, path: &str, body: Bytes) -> Answer {
        Answer::of(self.http.post(format!("{}{path}", self.url)).body(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.http.delete(format!("{}{path}", self.url))).await
    }

    pub(crate) async fn status(&self, query: &Query) -> QueryStatus {
        let answer = self.get(&Self::path(query)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_slice(&answer.body).expect("a status")
    }

    pub(crate) async fn until_state(&self, query: &Query, state: &str) -> QueryStatus {
        look_until(state, async || Some(self.status(query).await).filter(|status| status.state == state))
            .await
    }

    /// The status as soon as there is one.
    pub(crate) async fn until_known(&self, query: &Query) -> QueryStatus {
        look_until("a query", async || {
            let answer = self.get(&Self::path(query)).await;
            (answer.status == 200).then(|| serde_json::from_slice(&answer.body).expect("a status"))
        })
        .await
    }

    pub(crate) async fn until_answered(&self, query: &Query, banks: u32) {
        let what = format!("{banks} answers");
        look_until(&what, async || (self.status(query).await.answered == banks).then_some(())).await;
    }

    pub(crate) async fn view(&self, query: &Query, grant: Bytes) -> Answer {
        self.post(&format!("{}/report", Self::path(query)), grant).await
    }

    /// The report's bytes, shown for a fresh grant.
    pub(crate) async fn report(&self, query: &Query) -> Bytes {
        let answer = self.view(query, query.grant(|_| ())).await;
        assert_eq!((answer.status, answer.media.as_str()), (200, "application/protobuf"), "{answer:?}");
        answer.body
    }

    pub(crate) async fn stop(self) {
        assert_eq!(self.lifecycle.stop(Duration::from_secs(30)).await, Exit::Ok);
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u32>,
    pub(crate) media: String,
    pub(crate) body: Bytes,
}

impl Answer {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = soon("an answer", request.send()).await.expect("an answer");
        let retry_after = response.headers().get("retry-after").map(|seconds| {
            seconds.to_str().ok().and_then(|seconds| seconds.parse().ok()).expect("whole seconds")
        });
        let media = response.headers().get("content-type").map(|media| media.to_str().expect("a text"));
        Self {
            status: response.status().as_u16(),
            retry_after,
            media: media.unwrap_or_default().to_owned(),
            body: soon("the body", response.bytes()).await.expect("a body"),
        }
    }

    /// The code, after checking that this is a whole problem document of the table.
    pub(crate) fn code(&self) -> Code {
        assert_eq!(self.media, PROBLEM_JSON, "{self:?}");
        let problem: Problem = serde_json::from_slice(&self.body).expect("a problem document");
        let code = *Code::ALL.iter().find(|code| code.as_str() == problem.code).expect("a code of the table");
        assert_eq!((problem.status, code.status()), (self.status, self.status));
        assert_eq!(problem, Problem { retry_after_seconds: self.retry_after, ..Problem::of(code) });
        code
    }
}
