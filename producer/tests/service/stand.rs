//! What every test here stands on: a broker in this process, a registry, a hub that says what the test wants, the service.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use plumbing::kafka::{KafkaConfig, OutRecord, Producer, Record, Watermarks, read_to_end};
use plumbing::lifecycle::Lifecycle;
use producer::wallet::{self, Choice, Person};
use producer::{Config, Running, Secrets, StartError, SubmitRequest, consent_texts};
use prost::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use schemas::codes::Code;
use schemas::http::{PROBLEM_JSON, Problem, QueryStatus};
use schemas::ids::{BankId, Reference, UpstreamId};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::registry::{self, HUB, NOTIFIER, Registry};
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use schemas::wire::{self, DocumentType, KeyUse, PartyKind, PartyState};
use serde_json::Value;

/// Nothing here takes nearly as long; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 3;

pub(crate) const SECRETS_OF_A_PERSON: [&str; 3] = ["王小明丁卯", "11010519491231002X", "13800000001"];

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

pub(crate) fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

pub(crate) fn upstream() -> UpstreamId {
    "wallet".parse().expect("an id")
}

pub(crate) fn bank(name: &str) -> BankId {
    name.parse().expect("an id")
}

pub(crate) fn upstream_key() -> SigningKey {
    SigningKey::from_seed(&[3; 32])
}

pub(crate) fn opening_key(party: &str) -> OpeningKey {
    OpeningKey::derive(party.as_bytes())
}

pub(crate) fn roots() -> [SigningKey; 2] {
    [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]))
}

pub(crate) fn person() -> Person {
    let [name, document_number, phone] = SECRETS_OF_A_PERSON;
    Person {
        subject: "subject-1".into(),
        name: name.into(),
        document_type: DocumentType::ResidentId,
        document_number: document_number.into(),
        phone: format!("+86{phone}"),
    }
}

pub(crate) fn request(banks: &[&str]) -> SubmitRequest {
    let banks: BTreeSet<BankId> = banks.iter().map(|name| bank(name)).collect();
    let choice = Choice { region: "310000".into(), banks, text: consent_texts()[0], risk: wallet::no_risk() };
    wallet::prepare(&person(), &choice, now()).expect("prepared").request
}

pub(crate) fn body(request: &SubmitRequest) -> Value {
    wallet::body(request, &person())
}

/// Everything that any test of this process logs, at every level.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<u8>>>);

static LOGS: LazyLock<Logs> = LazyLock::new(|| {
    let logs = Logs::default();
    let writer = logs.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .init();
    logs
});

impl Logs {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("not poisoned")).into_owned()
    }
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the hub of a test knows and does.
#[derive(Default)]
pub(crate) struct HubState {
    pub(crate) queries: BTreeMap<String, QueryStatus>,
    /// Answer of the report interface: status, media type, body.
    pub(crate) report: Option<(u16, &'static str, Vec<u8>)>,
    pub(crate) grants: Vec<Bytes>,
    /// Takes questions and never answers.
    pub(crate) silent: bool,
    pub(crate) asked: usize,
}

#[derive(Clone, Default)]
pub(crate) struct Hub(Arc<Mutex<HubState>>);

impl Hub {
    pub(crate) fn state(&self) -> MutexGuard<'_, HubState> {
        self.0.lock().expect("not poisoned")
    }

    async fn listen(&self) -> String {
        let router = axum::Router::new()
            .route("/v1/upstreams/wallet/queries/{id}", get(hub_status))
            .route("/v1/upstreams/wallet/queries/{id}/report", post(hub_report))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }
}

async fn hub_status(State(hub): State<Hub>, Path(id): Path<String>) -> Response {
    let (silent, known) = {
        let mut state = hub.state();
        state.asked += 1;
        (state.silent, state.queries.get(&id).cloned())
    };
    if silent {
        std::future::pending::<()>().await;
    }
    match known {
        Some(status) => axum::Json(status).into_response(),
        None => problem(&Problem::of(Code::QUERY_NOT_FOUND)),
    }
}

async fn hub_report(State(hub): State<Hub>, Path(_): Path<String>, grant: Bytes) -> Response {
    let mut state = hub.state();
    state.grants.push(grant);
    match state.report.clone() {
        Some((status, media, body)) => {
            (StatusCode::from_u16(status).expect("a status"), [(CONTENT_TYPE, media)], body).into_response()
        }
        None => problem(&Problem::of(Code::QUERY_NOT_FOUND)),
    }
}

fn problem(problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).expect("JSON");
    (StatusCode::from_u16(problem.status).expect("a status"), [(CONTENT_TYPE, PROBLEM_JSON)], body)
        .into_response()
}

pub(crate) fn status(request: &SubmitRequest, state: &str) -> QueryStatus {
    QueryStatus {
        query_id: request.query.to_string(),
        state: state.to_owned(),
        code: None,
        hold: None,
        accepted_at: now().to_string(),
        deadline_at: now().to_string(),
        finalised_at: None,
        erase_on: "2026-12-01".into(),
        banks: 2,
        answered: 0,
        content_digest: request.content_digest().to_string(),
    }
}

pub(crate) struct Stand {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
    pub(crate) hub: Hub,
    pub(crate) logs: Logs,
    pub(crate) http: reqwest::Client,
    pub(crate) config: Config,
    writer: Producer,
    // Removed when the test ends.
    _folder: tempfile::TempDir,
}

impl Stand {
    /// A broker with a registry: `alpha` and `beta` active, `gamma` suspended, `delta` in another region.
    pub(crate) async fn new() -> Self {
        let logs = LOGS.clone();
        let cluster = MockCluster::new(1).expect("mock cluster");
        let topics = Topics::default();
        cluster.create_topic(&topics.registry(), 1, 1).expect("created");
        cluster.create_topic(&topics.query(&upstream()), PARTITIONS, 1).expect("created");
        let kafka = KafkaConfig::in_process(cluster.bootstrap_servers(), "test");
        let writer = Producer::new(&kafka).expect("producer");
        let hub = Hub::default();
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = Config::load(None).expect("the defaults are a configuration");
        config.dev = true;
        config.http.listen = "127.0.0.1:0".parse().expect("an address");
        config.hub.url = hub.listen().await;
        config.kafka = kafka;
        config.registry.roots = roots().map(|root| hex::encode(root.public().to_wire().raw)).to_vec();
        config.registry.seen_file = Some(folder.path().join("seen.json"));
        let http = plumbing::http::client(None).expect("no file can be wrong");
        let stand = Self { cluster, hub, logs, http, config, writer, _folder: folder };
        stand.register(PartyKind::Upstream, "wallet", PartyState::Active, "310000").await;
        stand.register(PartyKind::Notifier, NOTIFIER, PartyState::Active, "310000").await;
        stand.register(PartyKind::Hub, HUB, PartyState::Active, "310000").await;
        stand.register(PartyKind::Bank, "alpha", PartyState::Active, "310000").await;
        stand.register(PartyKind::Bank, "beta", PartyState::Active, "310000").await;
        stand.register(PartyKind::Bank, "gamma", PartyState::Suspended, "310000").await;
        stand.register(PartyKind::Bank, "delta", PartyState::Active, "530000").await;
        stand
    }

    /// Publishes version 1 of an entry.
    pub(crate) async fn register(&self, kind: PartyKind, id: &str, state: PartyState, region: &str) {
        self.publish(&Self::entry(kind, id, state, region)).await;
    }

    /// Publishes an entry as it should be.
    pub(crate) async fn publish(&self, entry: &wire::RegistryEntry) {
        self.publish_record(entry, registry::sign_entry(entry, &roots(), None).encode_to_vec()).await;
    }

    /// Publishes a record under the key of `entry`.
    pub(crate) async fn publish_record(&self, entry: &wire::RegistryEntry, value: Vec<u8>) {
        let record = OutRecord {
            topic: Topics::default().registry(),
            key: Some(registry::record_key(entry).expect("a party").into_bytes()),
            value,
            headers: Vec::new(),
        };
        self.writer.send(record).await.expect("acknowledged");
    }

    /// Version 1 of an entry.
    pub(crate) fn entry(kind: PartyKind, id: &str, state: PartyState, region: &str) -> wire::RegistryEntry {
        let signs = matches!(kind, PartyKind::Upstream | PartyKind::Hub);
        let (r#use, key) = if signs {
            (KeyUse::Sign, upstream_key().public().to_wire())
        } else {
            (KeyUse::Seal, opening_key(id).public().to_wire())
        };
        let name = wire::Text { zh_cn: format!("{id}银行"), en: format!("Bank {id}") };
        wire::RegistryEntry {
            kind: kind.into(),
            id: id.to_owned(),
            version: 1,
            state: state.into(),
            keys: vec![wire::PartyKey { r#use: r#use.into(), key: Some(key), ..Default::default() }],
            regions: vec![region.to_owned()],
            bank_texts: (kind == PartyKind::Bank)
                .then(|| wire::BankTexts { name: Some(name), ..Default::default() }),
        }
    }

    /// The registry as any reader has it.
    pub(crate) async fn registry(&self) -> Registry {
        let (sender, receiver) = std::sync::mpsc::channel();
        let each = move |record: Record| sender.send(record).expect("received");
        read_to_end(&self.config.kafka, &[Topics::default().registry()], each).await.expect("read");
        let mut registry = Registry::new(roots().map(|root| root.public()).to_vec(), Default::default());
        for record in receiver {
            let key = record.key.expect("a key");
            registry.apply(&key, &record.value, UnixMillis(record.append_time_ms)).expect("applied");
        }
        registry
    }

    pub(crate) async fn start(&self) -> Service {
        self.try_start(self.config.clone()).await.expect("started")
    }

    pub(crate) async fn try_start(&self, config: Config) -> Result<Service, StartError> {
        let mut lifecycle = Lifecycle::new();
        let secrets = Secrets { signing_key: upstream_key() };
        let running = soon("the start", producer::start(config, secrets, &mut lifecycle)).await?;
        Ok(Service { running, lifecycle, http: self.http.clone() })
    }

    /// Records in the query topic.
    pub(crate) async fn published(&self) -> i64 {
        let topic = [Topics::default().query(&upstream())];
        let ends = Watermarks::new(&self.config.kafka).expect("client").end_offsets(&topic).await;
        assert_eq!(ends.len(), PARTITIONS as usize);
        ends.into_values().map(|end| end.expect("readable")).sum()
    }

    pub(crate) async fn records(&self) -> Vec<Record> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let each = move |record: Record| sender.send(record).expect("received");
        let topic = [Topics::default().query(&upstream())];
        read_to_end(&self.config.kafka, &topic, each).await.expect("read");
        receiver.into_iter().collect()
    }
}

pub(crate) struct Service {
    pub(crate) running: Running,
    pub(crate) lifecycle: Lifecycle,
    http: reqwest::Client,
}

impl Service {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.addr)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.http.post(self.url(path)).json(body)).await
    }

    pub(crate) async fn post_raw(&self, path: &str, media: &str, body: impl Into<reqwest::Body>) -> Answer {
        Answer::of(self.http.post(self.url(path)).header(CONTENT_TYPE, media).body(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.http.get(self.url(path))).await
    }

    pub(crate) async fn submit(&self, request: &SubmitRequest) -> Answer {
        self.post("/v1/queries", &body(request)).await
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = soon("an answer", request.send()).await.expect("an answer");
        let header = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
            (name.to_string(), value.to_str().expect("a text").to_owned())
        };
        Self {
            status: response.status().as_u16(),
            headers: response.headers().iter().map(header).collect(),
            body: soon("the body", response.bytes()).await.expect("a body"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The code, after checking that this is a whole problem document that says nothing about the person.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.headers.get("content-type").map(String::as_str), Some(PROBLEM_JSON), "{self:?}");
        let problem: Problem = serde_json::from_slice(&self.body).expect("a problem document");
        let known = Code::ALL.iter().find(|code| code.as_str() == problem.code).expect("a code of the table");
        assert_eq!((problem.status, known.status()), (self.status, self.status));
        assert_eq!(problem.r#type, format!("urn:cardquery:problem:{known}"));
        assert_eq!(problem.title, known.help());
        let text = String::from_utf8_lossy(&self.body).into_owned();
        assert!(SECRETS_OF_A_PERSON.iter().all(|secret| !text.contains(secret)), "{text}");
        problem.code
    }
}

pub(crate) fn reference(request: &SubmitRequest) -> Reference {
    Reference { upstream: upstream(), query: request.query }
}
