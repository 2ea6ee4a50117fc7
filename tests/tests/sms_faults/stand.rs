//! A notifier as a process, on the in-process broker and a real PostgreSQL, with notices as upstream and hub sign them.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cardquery::sample;
use cardquery_tests::process::ChildProcess;
use cardquery_tests::stack::{Stack, TestDatabase};
use notifier::domain::sms;
use notifier::gateway::signature::{SIGNATURE, TIMESTAMP};
use plumbing::kafka::{KafkaConfig, OutRecord, Producer, Record, read_to_end};
use prost::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use schemas::ids::{Digest, Nonce, QueryId, Reference, UpstreamId};
use schemas::notice::{Header, notify};
use schemas::registry::{NOTIFIER, PartyName};
use schemas::seal::{self, Binding, Kind};
use schemas::sign::{self, Tag};
use schemas::submission::Contact;
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use schemas::wire::sms_record::Message;
use schemas::wire::{self, Purpose, QueryState};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, Row as _};
use tempfile::TempDir;

use crate::gateway::{FakeGateway, Fault, Listening, PATH, now, secret, secret_text};

/// Nothing here takes nearly as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const CALLBACK: &str = "/v1/callbacks/delivery";

/// How one SMS stands in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) state: String,
    pub(crate) announced: bool,
    /// What was asked and answered, without times.
    pub(crate) evidence: Vec<String>,
}

pub(crate) struct Stand {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: Producer,
    topics: Topics,
    database: TestDatabase,
    folder: TempDir,
    pub(crate) gateway: FakeGateway,
    pub(crate) listening: Option<Listening>,
    pub(crate) address: SocketAddr,
    process: ChildProcess,
    callbacks: SocketAddr,
    client: reqwest::Client,
}

fn upstream() -> UpstreamId {
    sample::registry::sample().upstreams[0].id.clone()
}

impl Stand {
    /// With settings over those of every test here, as `section.key` and JSON.
    pub(crate) async fn new(settings: &[(&str, Value)]) -> Self {
        let (cluster, topics) = (MockCluster::new(1).expect("a broker"), Topics::default());
        let dead = topics.dead_letter(&topics.notice()).expect("notices have dead letters");
        for (topic, partitions) in
            [(topics.notice(), 12), (topics.sms(), 12), (topics.registry(), 1), (dead, 3)]
        {
            cluster.create_topic(&topic, partitions, 1).expect("a topic");
        }
        let kafka = KafkaConfig::in_process(cluster.bootstrap_servers(), "test");
        let producer = Producer::new(&kafka).expect("a producer");
        for (key, value) in sample::registry::records() {
            let key = Some(key.into_bytes());
            let record = OutRecord { topic: topics.registry(), key, value, headers: Vec::new() };
            producer.send(record).await.expect("acknowledged");
        }
        let gateway = FakeGateway::new();
        let listening = gateway.listen(([127, 0, 0, 1], 0).into()).await;
        let address = listening.address;
        let database = Stack::get().database().await;
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let opening = sample::keys::opening(&PartyName::notifier());
        fs::write(path("opening"), hex::encode(*opening.to_raw())).expect("written");
        fs::write(path("gateway"), secret_text()).expect("written");
        fs::write(path("phones"), hex::encode([9; 32])).expect("written");
        fs::write(path("postgres"), database.url()).expect("written");
        let roots: Vec<_> =
            sample::keys::roots().iter().map(|root| hex::encode(root.to_wire().raw)).collect();
        let mut document = json!({
            "kafka": {
                "brokers": cluster.bootstrap_servers(),
                "append_time": "in_process",
                "session_timeout_ms": 6_000,
                "properties": { "fetch.wait.max.ms": 50 },
            },
            "admin": { "listen": "127.0.0.1:0" },
            "registry": { "roots": roots, "allow_sample_roots": true },
            "opening_key_files": [path("opening")],
            "postgres": { "url_file": path("postgres") },
            "notices": { "drain_ms": 4_000, "lease_ms": 12_000, "sweep_ms": 50 },
            "gateway": {
                "timeout_ms": 2_000,
                "ask_after_ms": 200,
                "ask_for_ms": 3_000,
                "http": {
                    "url": format!("http://{address}{PATH}"),
                    "secret_file": path("gateway"),
                    "inquiries": true,
                    "connections": 32,
                },
            },
            "callbacks": { "listen": "127.0.0.1:0" },
            "limits": { "sms_per_phone_and_day": 0, "zone": "Asia/Shanghai", "mac_key_file": path("phones") },
        });
        for (key, value) in settings {
            *document.pointer_mut(key).expect("a setting that is there") = value.clone();
        }
        let text = toml::to_string(&document).expect("settings are tables");
        fs::write(path("notifier.toml"), text).expect("written");
        let (process, callbacks) = start(&folder).await;
        Self {
            cluster,
            producer,
            topics,
            database,
            folder,
            gateway,
            listening: Some(listening),
            address,
            process,
            callbacks,
            client: plumbing::http::client(None).expect("no file can be wrong"),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill_9();
    }

    pub(crate) async fn start_again(&mut self) {
        (self.process, self.callbacks) = start(&self.folder).await;
    }

    /// Publishes the notice of a query whose SMS meets `fault`.
    pub(crate) async fn publish(&self, fault: Fault) -> Reference {
        let reference = Reference { upstream: upstream(), query: QueryId::generate() };
        self.gateway.plan(sms::out_id(&reference).to_string(), fault);
        let value = notice(&reference).encode_to_vec();
        let key = Some(reference.query.to_string().into_bytes());
        let record = OutRecord { topic: self.topics.notice(), key, value, headers: Vec::new() };
        self.producer.send(record).await.expect("acknowledged");
        reference
    }

    pub(crate) async fn row(&self, reference: &Reference) -> Option<Row> {
        let mut connection = PgConnection::connect_with(&self.database.options()).await.expect("connected");
        let found =
            sqlx::query("SELECT state, announced, evidence::text AS evidence FROM sms WHERE query = $1")
                .bind(uuid::Uuid::from_bytes(*reference.query.as_bytes()))
                .fetch_optional(&mut connection)
                .await
                .expect("readable")?;
        let evidence: Vec<Value> = serde_json::from_str(&found.get::<String, _>("evidence")).expect("a list");
        let word = |answer: &Value, name: &str| answer[name].as_str().expect("a text").to_owned();
        Some(Row {
            state: found.get("state"),
            announced: found.get("announced"),
            evidence: evidence
                .iter()
                .map(|answer| format!("{} {}", word(answer, "step"), word(answer, "said")))
                .collect(),
        })
    }

    /// Waits until the row is in `state`, and the SMS topic knows it.
    pub(crate) async fn until(&self, reference: &Reference, state: &str) -> Row {
        self.until_one_of(reference, &[state]).await
    }

    /// The same, for several states.
    pub(crate) async fn until_one_of(&self, reference: &Reference, states: &[&str]) -> Row {
        let mut last = None;
        let waiting = async {
            loop {
                last = self.row(reference).await;
                match &last {
                    Some(row) if states.contains(&row.state.as_str()) && row.announced => return row.clone(),
                    Some(_) | None => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(row) => row,
            Err(_) => panic!("not {states:?} but {:?}\n{}", self.row(reference).await, self.process.stdout()),
        }
    }

    /// The one text that a question to the database has as its answer.
    pub(crate) async fn text(&self, sql: &'static str) -> String {
        let mut connection = PgConnection::connect_with(&self.database.options()).await.expect("connected");
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("one text")
    }

    /// What the gateway tells by itself; returns the status.
    pub(crate) async fn receipt(&self, out_id: &str, state: &str) -> u16 {
        let body = json!({ "out_id": out_id, "state": state, "at": "ignored" }).to_string();
        let at = now();
        let signature = secret().sign(at, "POST", CALLBACK, body.as_bytes());
        self.post(body, at, &signature, "application/json").await.0
    }

    /// A callback as somebody else may send it; returns status and code.
    pub(crate) async fn post(
        &self,
        body: String,
        at: UnixMillis,
        signature: &str,
        media: &str,
    ) -> (u16, String) {
        let answer = self
            .client
            .post(format!("http://{}{CALLBACK}", self.callbacks))
            .header(TIMESTAMP, at.0)
            .header(SIGNATURE, signature)
            .header("content-type", media)
            .body(body)
            .send()
            .await
            .expect("the listener answers");
        let status = answer.status().as_u16();
        let problem: Value = answer.json().await.unwrap_or_default();
        (status, problem["code"].as_str().unwrap_or_default().to_owned())
    }

    /// The names of the records of every SMS, in their order.
    pub(crate) async fn topic(&self) -> BTreeMap<Reference, Vec<&'static str>> {
        let seen: Arc<Mutex<BTreeMap<Reference, Vec<&'static str>>>> = Arc::default();
        let sink = Arc::clone(&seen);
        let each = move |record: Record| {
            let record = wire::SmsRecord::decode(record.value).expect("an SMS record");
            let reference = Reference::try_from(record.reference.as_ref()).expect("a reference");
            let name = match record.message.expect("a message") {
                Message::Claimed(_) => "SmsClaimed",
                Message::Accepted(_) => "SmsAccepted",
                Message::Delivered(_) => "SmsDelivered",
                Message::Failed(_) => "SmsFailed",
                Message::Unknown(_) => "SmsUnknown",
            };
            sink.lock().expect("not poisoned").entry(reference).or_default().push(name);
        };
        let kafka = KafkaConfig::in_process(self.cluster.bootstrap_servers(), "test");
        read_to_end(&kafka, &[self.topics.sms()], each).await.expect("readable");
        std::mem::take(&mut *seen.lock().expect("not poisoned"))
    }
}

async fn start(folder: &TempDir) -> (ChildProcess, SocketAddr) {
    let path = folder.path().join("notifier.toml");
    let mut process = ChildProcess::spawn("notifier", &["-c", path.to_str().expect("UTF-8")], &[]);
    let line = process.wait_for_line("listener for delivery receipts", PATIENCE).await;
    let line: Value = serde_json::from_str(&line).expect("logs off a terminal are JSON");
    let address = line["listen"].as_str().expect("an address").parse().expect("an address");
    process.wait_for_line(r#""msg":"started""#, PATIENCE).await;
    (process, address)
}

fn notice(reference: &Reference) -> wire::NoticeRecord {
    let accepted_at = now();
    let nonce = Nonce(*reference.query.as_bytes());
    let expires_at = UnixMillis(accepted_at.0 + 60_000);
    let binding = Binding { reference, party: NOTIFIER, expires_at, context: &nonce.to_wire() };
    let contact = wire::Contact { phone: "+8613800000001".into(), language: wire::Language::ZhCn.into() };
    let key = sample::keys::opening(&PartyName::notifier());
    let sealed_contact =
        seal::seal(Kind::Contact, key.public(), &binding, &contact.encode_to_vec()).expect("sealed");
    let statement = wire::NotifierStatement {
        reference: Some(reference.into()),
        purpose: Purpose::AntiFraudSelfCheck.into(),
        issued_at_ms: accepted_at.0,
        expires_at_ms: expires_at.0,
        nonce: nonce.to_wire(),
        contact_sha256: Digest::of(&sealed_contact).to_wire(),
    };
    let wallet = sample::keys::signing(&PartyName::upstream(&reference.upstream));
    let statement = sign::sign(Tag::NotifierStatement, &statement, &wallet);
    let state = QueryState::FinalPartial;
    let header = Header { reference: reference.clone(), state, banks: 14, answered: 12, accepted_at };
    let hub = sample::keys::signing(&PartyName::hub());
    notify(&header, &Contact { statement, sealed_contact }, &hub)
}
