//! What every test here stands on: a broker with a registry, notices as the hub makes them, a gateway that tells.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use notifier::config::{CommitConfig, StoreConfig};
use notifier::gateway::{Gateway, GatewayOutcome, Inquiries, OutgoingSms};
use notifier::{Config, Running, Secrets};
use plumbing::exit::Exit;
use plumbing::kafka::{KafkaConfig, OutRecord, Producer, Record, follow, read_to_end};
use plumbing::lifecycle::Lifecycle;
use prost::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use schemas::ids::{Digest, MessageId, Nonce, QueryId, Reference};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::notice::{self, Header};
use schemas::registry::{NOTIFIER, record_key, sign_entry};
use schemas::seal::{self, Binding, Kind};
use schemas::sign::{self, Tag};
use schemas::submission::Contact;
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use schemas::wire::{self, KeyUse, PartyKind, PartyState, Purpose, QueryState};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Nothing here takes nearly as long; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const ACCEPTED_AT: UnixMillis = UnixMillis(1_700_000_000_000);

/// Waits for `future`, and fails the test when it does not come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// What somebody saw, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A record of the SMS topic: the message's name, and its code or the gateway's id.
    Sms(Reference, &'static str, String),
    /// A record of the dead letters: key and code.
    Dead(String, String),
}

pub(crate) struct Stand {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: Producer,
    topics: Topics,
    pub(crate) roots: [SigningKey; 2],
    pub(crate) hub: SigningKey,
    pub(crate) wallet: SigningKey,
    pub(crate) notifier: OpeningKey,
    seen: mpsc::UnboundedReceiver<Seen>,
    _reader: tokio_util::sync::DropGuard,
}

impl Stand {
    pub(crate) async fn new() -> Self {
        let topics = Topics::default();
        let cluster = MockCluster::new(1).expect("mock cluster");
        let dead = topics.dead_letter(&topics.notice()).expect("notices have dead letters");
        for (topic, partitions) in
            [(topics.notice(), 12), (topics.sms(), 12), (topics.registry(), 1), (dead.clone(), 3)]
        {
            cluster.create_topic(&topic, partitions, 1).expect("topic created");
        }
        let kafka = KafkaConfig::in_process(cluster.bootstrap_servers(), "test");
        let producer = Producer::new(&kafka).expect("producer");
        let (seen_tx, seen) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let each = move |record: Record| {
            // The test is over when nobody listens.
            let _ = seen_tx.send(read(&record));
        };
        let reader = follow(&kafka, vec![topics.sms(), dead], each, stop.clone()).expect("started");
        soon("the reader", reader.caught_up()).await.expect("readable");
        let stand = Self {
            cluster,
            producer,
            topics,
            roots: [1, 2].map(|n| SigningKey::from_seed(&[n; 32])),
            hub: SigningKey::from_seed(&[3; 32]),
            wallet: SigningKey::from_seed(&[4; 32]),
            notifier: OpeningKey::derive(&[5; 32]),
            seen,
            _reader: stop.drop_guard(),
        };
        let hub = sign_key(&stand.hub);
        stand.register(PartyKind::Hub, "hub", 1, vec![hub]).await;
        let wallet = sign_key(&stand.wallet);
        stand.register(PartyKind::Upstream, "wallet", 1, vec![wallet]).await;
        stand
    }

    fn kafka(&self, client_id: &str) -> KafkaConfig {
        KafkaConfig::in_process(self.cluster.bootstrap_servers(), client_id)
    }

    pub(crate) async fn register(&self, kind: PartyKind, id: &str, version: u64, keys: Vec<wire::PartyKey>) {
        let entry = wire::RegistryEntry {
            kind: kind.into(),
            id: id.into(),
            version,
            state: PartyState::Active.into(),
            keys,
            ..Default::default()
        };
        self.enter(&entry, sign_entry(&entry, &self.roots, None).encode_to_vec()).await;
    }

    /// Publishes a record under the key of `entry`.
    pub(crate) async fn enter(&self, entry: &wire::RegistryEntry, record: Vec<u8>) {
        let key = record_key(entry).expect("a party");
        self.produce(self.topics.registry(), key, record).await;
    }

    async fn produce(&self, topic: String, key: String, value: Vec<u8>) {
        let record = OutRecord { topic, key: Some(key.into_bytes()), value, headers: Vec::new() };
        self.producer.send(record).await.expect("acknowledged");
    }

    pub(crate) async fn publish(&self, reference: &Reference, record: &wire::NoticeRecord) {
        self.produce(self.topics.notice(), reference.query.to_string(), record.encode_to_vec()).await;
    }

    /// Writes into the SMS topic as an earlier run of the notifier did.
    pub(crate) async fn wrote_before(&self, record: &wire::SmsRecord) {
        let reference = Reference::try_from(record.reference.as_ref()).expect("a reference");
        self.produce(self.topics.sms(), reference.query.to_string(), record.encode_to_vec()).await;
    }

    pub(crate) async fn next(&mut self) -> Seen {
        soon("a record", self.seen.recv()).await.expect("the reader runs")
    }

    /// What was seen and not asked for yet.
    pub(crate) fn rest(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }

    pub(crate) async fn start(&self, gateway: &Arc<Telling>) -> Service {
        self.start_with(gateway, std::slice::from_ref(&self.notifier)).await
    }

    /// Starts a notifier that has these keys.
    pub(crate) async fn start_with(&self, gateway: &Arc<Telling>, keys: &[OpeningKey]) -> Service {
        let mut config = Config::load(None).expect("the defaults are valid");
        config.kafka = self.kafka("cardquery.notifier");
        config.store = StoreConfig::Memory;
        config.notices.commit = CommitConfig::Never;
        // Within the session timeout of the mock broker.
        config.gateway.timeout_ms = 4_000;
        config.notices.drain_ms = 5_000;
        config.registry.roots =
            self.roots.iter().map(|root| hex::encode(root.public().to_wire().raw)).collect();
        let secrets = Secrets::to_open(keys.to_vec());
        let mut lifecycle = Lifecycle::new();
        let gateway: Arc<dyn Gateway> = gateway.clone();
        let running = soon("the start", notifier::start(config, secrets, gateway, &mut lifecycle))
            .await
            .expect("started");
        Service { running, lifecycle }
    }
}

pub(crate) struct Service {
    pub(crate) running: Running,
    lifecycle: Lifecycle,
}

impl Service {
    pub(crate) async fn stop(self) {
        assert_eq!(self.lifecycle.stop(Duration::from_secs(30)).await, Exit::Ok);
    }
}

pub(crate) fn sign_key(key: &SigningKey) -> wire::PartyKey {
    wire::PartyKey { r#use: KeyUse::Sign.into(), key: Some(key.public().to_wire()), ..Default::default() }
}

fn read(record: &Record) -> Seen {
    if record.position.topic.starts_with("dlq.") {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let code = text(record.header("cardquery-error-code").expect("a code"));
        return Seen::Dead(text(record.key.as_deref().unwrap_or_default()), code);
    }
    let sms = wire::SmsRecord::decode(record.value.clone()).expect("an SMS record");
    let reference = Reference::try_from(sms.reference.as_ref()).expect("a reference");
    let (name, word) = match sms.message.expect("a message") {
        wire::sms_record::Message::Claimed(_) => ("SmsClaimed", String::new()),
        wire::sms_record::Message::Accepted(accepted) => ("SmsAccepted", accepted.gateway_id),
        wire::sms_record::Message::Delivered(_) => ("SmsDelivered", String::new()),
        wire::sms_record::Message::Failed(failed) => ("SmsFailed", failed.code),
        wire::sms_record::Message::Unknown(unknown) => ("SmsUnknown", unknown.code),
    };
    Seen::Sms(reference, name, word)
}

pub(crate) fn seal_key(key: &OpeningKey, revoked: bool) -> wire::PartyKey {
    wire::PartyKey {
        r#use: KeyUse::Seal.into(),
        key: Some(key.public().to_wire()),
        revoked,
        ..Default::default()
    }
}

/// One query's notice and all that went into it, so that a test can take it apart.
pub(crate) struct Forge {
    pub(crate) header: Header,
    pub(crate) statement: wire::NotifierStatement,
    pub(crate) phone: String,
    pub(crate) sealed_to: OpeningKey,
}

impl Forge {
    pub(crate) fn new(stand: &Stand) -> Self {
        let reference = Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
        let statement = wire::NotifierStatement {
            reference: Some((&reference).into()),
            purpose: Purpose::AntiFraudSelfCheck.into(),
            issued_at_ms: ACCEPTED_AT.0,
            expires_at_ms: ACCEPTED_AT.0 + 60_000,
            nonce: Nonce(*reference.query.as_bytes()).to_wire(),
            contact_sha256: Vec::new().into(),
        };
        let state = QueryState::FinalPartial;
        let header = Header { reference, state, banks: 14, answered: 12, accepted_at: ACCEPTED_AT };
        Self { header, statement, phone: "+8613800000001".into(), sealed_to: stand.notifier.clone() }
    }

    pub(crate) fn reference(&self) -> &Reference {
        &self.header.reference
    }

    pub(crate) fn seal(&self) -> bytes::Bytes {
        let binding = Binding {
            reference: self.reference(),
            party: NOTIFIER,
            expires_at: UnixMillis(self.statement.expires_at_ms),
            context: &self.statement.nonce,
        };
        let contact = wire::Contact { phone: self.phone.clone(), language: wire::Language::En.into() };
        seal::seal(Kind::Contact, self.sealed_to.public(), &binding, &contact.encode_to_vec())
            .expect("sealed")
    }

    /// The statement over `sealed`, signed with `key`.
    pub(crate) fn state(&self, sealed: &bytes::Bytes, key: &SigningKey) -> wire::Signed {
        let contact_sha256 = Digest::of(sealed).to_wire();
        sign::sign(
            Tag::NotifierStatement,
            &wire::NotifierStatement { contact_sha256, ..self.statement.clone() },
            key,
        )
    }

    /// The notice as upstream and hub make it.
    pub(crate) fn notice(&self, stand: &Stand) -> wire::NoticeRecord {
        let sealed_contact = self.seal();
        let statement = self.state(&sealed_contact, &stand.wallet);
        notice::notify(&self.header, &Contact { statement, sealed_contact }, &stand.hub)
    }
}

/// A gateway that accepts everything, and reads the SMS topic before it answers.
pub(crate) struct Telling {
    kafka: KafkaConfig,
    topic: String,
    calls: Mutex<Vec<Call>>,
}

/// One call of the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) out_id: MessageId,
    pub(crate) phone: String,
    pub(crate) text: String,
    /// What the SMS topic held at that moment.
    pub(crate) topic: Vec<Seen>,
}

impl Telling {
    pub(crate) fn new(stand: &Stand) -> Arc<Self> {
        let kafka = stand.kafka("test");
        Arc::new(Self { kafka, topic: stand.topics.sms(), calls: Mutex::default() })
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("not poisoned").clone()
    }
}

impl Gateway for Telling {
    fn send<'a>(&'a self, sms: &'a OutgoingSms) -> BoxFuture<'a, GatewayOutcome> {
        async {
            let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
            let sink = Arc::clone(&seen);
            let each = move |record: Record| sink.lock().expect("not poisoned").push(read(&record));
            read_to_end(&self.kafka, std::slice::from_ref(&self.topic), each).await.expect("readable");
            let topic = seen.lock().expect("not poisoned").clone();
            let (out_id, phone, text) = (sms.out_id, sms.to.expose().to_owned(), sms.text());
            self.calls.lock().expect("not poisoned").push(Call { out_id, phone, text, topic });
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
