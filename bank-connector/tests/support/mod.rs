//! What every test of the whole connector stands on: a broker in this process, a registry with roots, hub, upstream and
//! bank, requests as the hub would make them, and replies read as the hub and the device would read them.

// Each test binary uses its share.
#![allow(dead_code, reason = "shared by several test binaries")]

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bank_connector::domain::card::Card;
use bank_connector::domain::found::{Customer, Found};
use bank_connector::domain::identity::Identity;
use bank_connector::domain::month::Month;
use bank_connector::domain::pan::{Pan, check_digit};
use bank_connector::source::{CardSource, SourceError};
use bank_connector::{Clock, Config, Secrets, system_clock};
use futures::future::BoxFuture;
use plumbing::kafka::{Follower, KafkaConfig, OutRecord, Producer, Record, follow};
use plumbing::lifecycle::Lifecycle;
use plumbing::telemetry::MetricsHandle;
use prost::Message;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use schemas::batch::VerifiedRoots;
use schemas::ids::{BankId, Digest, Nonce, QueryId, Reference};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::registry::{self, Registry, SeenVersions};
use schemas::reply::{self, Expected, Reply};
use schemas::request::{self, Header};
use schemas::seal::{self, Binding, Kind};
use schemas::submission::{self, BankShare, Draft, Terms};
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use schemas::wire::{self, AccountClass, CardKind, CardStatus, DocumentType, KeyUse, PartyKind, PartyState};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Nothing here takes nearly as long; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that announces nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Waits for `future`, and fails the test when it does not come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Waits until `test` holds; for what announces nothing.
pub(crate) async fn until(what: &str, mut test: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !test().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}

/// The metrics of this process.
pub(crate) fn metrics() -> String {
    static HANDLE: OnceLock<MetricsHandle> = OnceLock::new();
    HANDLE.get_or_init(|| plumbing::telemetry::install_metrics().expect("only here")).render()
}

pub(crate) fn signing(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

pub(crate) fn opening(n: u8) -> OpeningKey {
    OpeningKey::derive(&[n; 32])
}

pub(crate) fn roots() -> [SigningKey; 2] {
    [signing(1), signing(2)]
}

pub(crate) fn hub() -> SigningKey {
    signing(10)
}

pub(crate) fn wallet() -> SigningKey {
    signing(20)
}

/// Signs the bank's replies.
pub(crate) fn bank_signing() -> SigningKey {
    signing(30)
}

/// Opens what was sealed to the bank.
pub(crate) fn bank_opening() -> OpeningKey {
    opening(40)
}

/// The bank's key before the last rotation.
pub(crate) fn bank_opening_retired() -> OpeningKey {
    opening(41)
}

pub(crate) fn entry(kind: PartyKind, id: &str, version: u64, keys: &[&SigningKey]) -> wire::RegistryEntry {
    let key = |key: &&SigningKey| wire::PartyKey {
        r#use: KeyUse::Sign.into(),
        key: Some(key.public().to_wire()),
        ..Default::default()
    };
    wire::RegistryEntry {
        kind: kind.into(),
        id: id.into(),
        version,
        state: PartyState::Active.into(),
        keys: keys.iter().map(key).collect(),
        ..Default::default()
    }
}

pub(crate) fn hub_entry() -> wire::RegistryEntry {
    entry(PartyKind::Hub, registry::HUB, 1, &[&hub()])
}

pub(crate) fn wallet_entry() -> wire::RegistryEntry {
    entry(PartyKind::Upstream, "wallet", 1, &[&wallet()])
}

pub(crate) fn bank_entry(bank: &BankId) -> wire::RegistryEntry {
    entry(PartyKind::Bank, bank.as_str(), 1, &[&bank_signing()])
}

pub(crate) fn identity() -> wire::Identity {
    wire::Identity {
        name: "王小明".into(),
        document_type: DocumentType::ResidentId.into(),
        document_number: "11010519491231002X".into(),
        phone: "+8613800000001".into(),
    }
}

/// Somebody else.
pub(crate) fn stranger() -> wire::Identity {
    wire::Identity { name: "李四".into(), document_number: "440524188001010014".into(), ..identity() }
}

/// One query to one bank, with all that its parties hold.
pub(crate) struct Query {
    pub(crate) reference: Reference,
    pub(crate) bank: BankId,
    pub(crate) terms: Terms,
    pub(crate) report_key: OpeningKey,
    pub(crate) share: BankShare,
    pub(crate) accepted_at: UnixMillis,
    pub(crate) reply_by: UnixMillis,
}

impl Query {
    pub(crate) fn new(bank: &BankId) -> Self {
        Self::sealed_to(bank, &bank_opening())
    }

    pub(crate) fn sealed_to(bank: &BankId, key: &OpeningKey) -> Self {
        let now = system_clock()();
        let accepted_at = now.before(Duration::from_secs(1));
        let issued_at = accepted_at.before(Duration::from_secs(30));
        let factor = |kind: wire::FactorKind| wire::Factor { kind: kind.into(), at_ms: issued_at.0 };
        let report_key = OpeningKey::generate();
        let terms = Terms {
            purpose: wire::Purpose::AntiFraudSelfCheck,
            issued_at,
            expires_at: issued_at + Duration::from_secs(3_600),
            nonce: Nonce([7; 16]),
            consent_text: Digest::of("同意书".as_bytes()),
            assurance: wire::Assurance::RealName,
            factors: vec![factor(wire::FactorKind::Password), factor(wire::FactorKind::Face)],
            report_key: report_key.public().clone(),
        };
        let reference = Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
        let notifier = opening(50);
        let draft = Draft {
            reference: reference.clone(),
            terms: terms.clone(),
            scam_warning_acknowledged: true,
            subject: "subject-1".into(),
            region: "310000".into(),
            banks: BTreeMap::from([(bank.clone(), key.public())]),
            notifier: notifier.public(),
            identity: identity(),
            contact: wire::Contact { phone: "+8613800000001".into(), language: wire::Language::ZhCn.into() },
            risk: wire::RiskSignals::default(),
            releases: None,
        };
        let submitted = submission::submit(&draft, &wallet()).expect("seals");
        let part = submitted.banks.into_iter().next().expect("one bank");
        let statement = part.statement.expect("signed");
        let share = BankShare {
            statement_sha256: Digest::of(&statement.body),
            statement,
            sealed_identity: part.sealed_identity,
        };
        let reply_by = now + Duration::from_secs(3_600);
        Self { reference, bank: bank.clone(), terms, report_key, share, accepted_at, reply_by }
    }

    pub(crate) fn header(&self, attempt: u32) -> Header {
        Header {
            reference: self.reference.clone(),
            bank: self.bank.clone(),
            statement_sha256: self.share.statement_sha256,
            accepted_at: self.accepted_at,
            reply_by: self.reply_by,
            attempt,
        }
    }

    pub(crate) fn request(&self, attempt: u32) -> wire::RequestRecord {
        request::ask(&self.header(attempt), &self.share, &hub())
    }

    /// The request of an insider at the hub: another statement or identity, under a header that fits it.
    pub(crate) fn forged(&self, share: &BankShare) -> wire::RequestRecord {
        let header = Header { statement_sha256: share.statement_sha256, ..self.header(1) };
        request::ask(&header, share, &hub())
    }

    /// Seals `identity` exactly as the upstream would.
    pub(crate) fn reseal(&self, identity: &wire::Identity) -> bytes::Bytes {
        let binding = Binding {
            reference: &self.reference,
            party: self.bank.as_str(),
            expires_at: self.terms.expires_at,
            context: &self.terms.nonce.0,
        };
        seal::seal(Kind::Identity, bank_opening().public(), &binding, &identity.encode_to_vec())
            .expect("seals")
    }

    /// What the device reads in an answer.
    pub(crate) fn open(&self, reply: &Reply) -> wire::Answer {
        let segment = wire::Segment::decode(reply.segment.clone()).expect("a segment");
        let binding = Binding {
            reference: &self.reference,
            party: self.bank.as_str(),
            expires_at: self.terms.expires_at,
            context: &self.share.statement_sha256.0,
        };
        let content =
            seal::open(Kind::Answer, &self.report_key, &binding, &segment.sealed_answer).expect("opens");
        wire::Answer::decode(content.as_slice()).expect("an answer")
    }
}

/// A bank's own system that does as it is told.
pub(crate) struct Core {
    calls: AtomicUsize,
    pub(crate) down: AtomicBool,
    gate: Option<Semaphore>,
    pub(crate) called: Notify,
}

impl Core {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            gate: None,
            called: Notify::new(),
        })
    }

    /// Answers only what is let through.
    pub(crate) fn gated() -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            gate: Some(Semaphore::new(0)),
            called: Notify::new(),
        })
    }

    pub(crate) fn let_through(&self, lookups: usize) {
        self.gate.as_ref().expect("a gated core").add_permits(lookups);
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) async fn until_calls(&self, calls: usize) {
        soon("lookups", async {
            loop {
                let called = self.called.notified();
                if self.calls() >= calls {
                    return;
                }
                called.await;
            }
        })
        .await;
    }
}

impl CardSource for Core {
    fn look_up<'a>(&'a self, _: &'a Identity) -> BoxFuture<'a, Result<Found, SourceError>> {
        Box::pin(async {
            self.calls.fetch_add(1, Ordering::SeqCst);
            self.called.notify_waiters();
            if let Some(gate) = &self.gate {
                gate.acquire().await.expect("open").forget();
            }
            if self.down.load(Ordering::SeqCst) {
                return Err(SourceError::Unavailable("down on purpose".into()));
            }
            Ok(Found { customers: vec![customer()], cards: vec![card()], ..Default::default() })
        })
    }
}

fn customer() -> Customer {
    Customer {
        name: Zeroizing::new("王小明".into()),
        phone: Some(Zeroizing::new("13800000001".into())),
        id_valid_until: None,
        cardless_payment: true,
        withheld: false,
    }
}

fn card() -> Card {
    let partial = "629901000000000012";
    Card {
        pan: Pan::parse(Zeroizing::new(format!("{partial}{}", check_digit(partial)))).expect("a number"),
        kind: CardKind::Debit,
        account_class: AccountClass::I,
        product_code: "DC01".into(),
        status: CardStatus::Normal,
        opened: Month::parse("2016-07"),
        last_active: None,
        balance_fen: None,
        features: None,
        dormancy: None,
    }
}

/// A broker with the topics of one bank, a connector on it, and the hub's place beside it.
pub(crate) struct Stand {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
    pub(crate) bank: BankId,
    pub(crate) topics: Topics,
    pub(crate) kafka: KafkaConfig,
    pub(crate) folder: tempfile::TempDir,
    producer: Producer,
    registry: Registry,
    replies: mpsc::UnboundedReceiver<Record>,
    _follower: Follower,
    _stop: tokio_util::sync::DropGuard,
    /// Milliseconds by which the connector's clock is ahead.
    ahead_ms: Arc<AtomicI64>,
    lifecycle: Option<Lifecycle>,
    sent: i64,
}

impl Stand {
    /// A stand for `bank` whose registry topic has these entries, signed by both roots.
    pub(crate) async fn new(bank: &str, entries: &[wire::RegistryEntry]) -> Self {
        // Before the first count.
        metrics();
        let bank: BankId = bank.parse().expect("an id");
        let topics = Topics::default();
        let cluster = MockCluster::new(1).expect("a cluster");
        for (topic, partitions) in
            [(topics.registry(), 1), (topics.request(&bank), 3), (topics.reply(&bank), 3)]
        {
            cluster.create_topic(&topic, partitions, 1).expect("created");
        }
        let kafka = KafkaConfig::in_process(cluster.bootstrap_servers(), "test");
        let (each, replies) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let each = move |record| drop(each.send(record));
        let follower = follow(&kafka, vec![topics.reply(&bank)], each, stop.clone()).expect("follows");
        let pinned = roots().iter().map(SigningKey::public).collect();
        let mut stand = Self {
            producer: Producer::new(&kafka).expect("a producer"),
            registry: Registry::new(pinned, SeenVersions::default()),
            folder: tempfile::tempdir().expect("a folder"),
            ahead_ms: Arc::default(),
            _stop: stop.drop_guard(),
            _follower: follower,
            lifecycle: None,
            sent: 0,
            cluster,
            bank,
            topics,
            kafka,
            replies,
        };
        let own = bank_entry(&stand.bank);
        for entry in entries.iter().chain([&own]) {
            stand.register(entry).await;
        }
        stand
    }

    /// With hub, wallet and bank, and a connector that asks `source`.
    pub(crate) async fn running(bank: &str, source: Arc<dyn CardSource>) -> Self {
        let mut stand = Self::new(bank, &[hub_entry(), wallet_entry()]).await;
        let config = stand.config();
        stand.start(config, source).await;
        stand
    }

    pub(crate) fn seen_file(&self) -> PathBuf {
        self.folder.path().join("seen.json")
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::defaults(&self.bank);
        config.kafka = self.kafka.clone();
        config.registry.roots = roots().iter().map(|root| hex::encode(root.public().to_wire().raw)).collect();
        config.registry.seen_file = Some(self.seen_file());
        config
    }

    pub(crate) async fn start(&mut self, config: Config, source: Arc<dyn CardSource>) {
        let mut lifecycle = Lifecycle::new();
        let secrets = Secrets {
            signing_key: bank_signing(),
            opening_keys: vec![bank_opening(), bank_opening_retired()],
        };
        let ahead_ms = Arc::clone(&self.ahead_ms);
        let system = system_clock();
        let clock: Clock = Arc::new(move || UnixMillis(system().0 + ahead_ms.load(Ordering::SeqCst)));
        bank_connector::start_with_clock(config, secrets, source, clock, &mut lifecycle)
            .await
            .expect("starts");
        self.lifecycle = Some(lifecycle);
    }

    /// Puts the connector's clock ahead.
    pub(crate) fn pass(&self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).expect("a short time");
        self.ahead_ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) async fn register(&mut self, entry: &wire::RegistryEntry) {
        self.rotate(entry, None).await;
    }

    /// Publishes an entry whose new keys `signer` agrees to.
    pub(crate) async fn rotate(&mut self, entry: &wire::RegistryEntry, signer: Option<&SigningKey>) {
        let record = registry::sign_entry(entry, &roots(), signer).encode_to_vec();
        let key = registry::record_key(entry).expect("a party");
        self.registry.apply(key.as_bytes(), &record, UnixMillis(0)).expect("a good entry");
        self.enter(entry, record).await;
    }

    /// Publishes a record under the key of `entry`.
    pub(crate) async fn enter(&self, entry: &wire::RegistryEntry, record: Vec<u8>) {
        let key = registry::record_key(entry).expect("a party");
        self.write(self.topics.registry(), key.into_bytes(), record).await;
    }

    pub(crate) async fn send(&mut self, query: &Query, record: wire::RequestRecord) {
        self.send_raw(query, record.encode_to_vec()).await;
    }

    pub(crate) async fn send_raw(&mut self, query: &Query, value: Vec<u8>) {
        self.sent += 1;
        self.write(self.topics.request(&self.bank), query.reference.query.to_string().into_bytes(), value)
            .await;
    }

    async fn write(&self, topic: String, key: Vec<u8>, value: Vec<u8>) {
        let record = OutRecord { topic, key: Some(key), value, headers: Vec::new() };
        soon("an acknowledgement", self.producer.send(record)).await.expect("acknowledged");
    }

    /// The next record of the reply topic.
    pub(crate) async fn next_record(&mut self) -> Record {
        soon("a reply", self.replies.recv()).await.expect("followed")
    }

    /// The next reply, verified as the hub does.
    pub(crate) async fn next_reply(&mut self) -> Reply {
        let record = self.next_record().await;
        self.verify(&record)
    }

    pub(crate) fn verify(&self, record: &Record) -> Reply {
        let party = self.registry.bank(&self.bank).expect("registered");
        let key = record.key.clone().expect("a key");
        let appended_at = UnixMillis(record.append_time_ms);
        let mut roots = VerifiedRoots::default();
        reply::open(&self.bank, &key, record.value.clone(), party, appended_at, &mut roots).expect("verifies")
    }

    /// Sends a request and waits for its reply.
    pub(crate) async fn ask(&mut self, query: &Query, attempt: u32) -> Reply {
        self.send(query, query.request(attempt)).await;
        let reply = self.next_reply().await;
        let expected = Expected {
            statement_sha256: query.share.statement_sha256,
            report_key: query.report_key.id(),
            accepted_at: query.accepted_at,
        };
        assert_eq!(reply.reference, query.reference);
        reply.check(&expected, system_clock()()).expect("a reply to this request");
        reply
    }

    /// Waits until the offsets of all requests so far are complete.
    pub(crate) async fn settled(&self) {
        let sent = self.sent;
        until("offsets", async || self.completed().await == sent).await;
    }

    /// How many requests are complete.
    pub(crate) async fn completed(&self) -> i64 {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", self.topics.connector_group(&self.bank))
            .create()
            .expect("a client");
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(&self.topics.request(&self.bank), 0, 2);
        tokio::task::spawn_blocking(move || {
            let committed = client.committed_offsets(asked, Duration::from_secs(10)).expect("offsets");
            let next = |offset| if let Offset::Offset(next) = offset { next } else { 0 };
            committed.elements().iter().map(|element| next(element.offset())).sum()
        })
        .await
        .expect("asked")
    }

    /// Fails when there is a reply that nobody took.
    pub(crate) fn no_reply_is_left(&mut self) {
        assert!(self.replies.try_recv().is_err(), "a reply too many");
    }

    /// A count of this bank's connector with this label value.
    pub(crate) fn counted(&self, name: &str, label: &str) -> u64 {
        let bank = format!("bank=\"{}\"", self.bank);
        metrics()
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(&bank) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(lifecycle) = self.lifecycle.take() {
            assert_eq!(lifecycle.stop(Duration::from_secs(20)).await, plumbing::exit::Exit::Ok);
        }
    }
}
