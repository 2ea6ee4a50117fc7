//! The whole system, and what a test does with it.

use std::collections::BTreeSet;

use bytes::Bytes;
use cardquery::demo::wallet::{Submitted, Wallet};
use cardquery::demo::world::{Plan, World};
use cardquery::sample;
use cardquery_tests::attacker::{Asked, HandBank, Insider, Tap, eventually};
use plumbing::kafka::{Position, Record};
use prost::Message as _;
use schemas::codes::Code;
use schemas::http::{PROBLEM_JSON, Problem, QueryStatus};
use schemas::ids::BankId;
use schemas::keys::SigningKey;
use schemas::registry::{PartyName, Registry, SeenVersions};
use schemas::report::OpenedReport;
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use schemas::wire::{self, request_record};

/// Where both the wallet and every sample bank take part.
pub(crate) const REGION: &str = "310000";

/// A running world with an insider in it.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) wallet: Wallet,
    pub(crate) insider: Insider,
    /// Every topic.
    pub(crate) log: Tap,
    /// As it was at the start.
    pub(crate) registry: Registry,
    client: reqwest::Client,
}

/// What came back over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    media: String,
    pub(crate) body: Bytes,
}

impl Stage {
    pub(crate) async fn start(plan: Plan) -> Self {
        let world = World::start(&plan).await.expect("the world starts");
        let banks: Vec<BankId> = bank_ids().into_iter().collect();
        let topics = world.topics.all(std::slice::from_ref(&world.upstream), &banks);
        let kafka = world.kafka("cardquery.insider");
        let log = Tap::on(&kafka, topics.into_iter().map(|(name, _)| name).collect()).await;
        let mut registry = Registry::new(world.roots(), SeenVersions::default());
        for (key, value) in sample::registry::records() {
            registry.apply(key.as_bytes(), &value, UnixMillis(0)).expect("the sample's registry");
        }
        Self {
            wallet: Wallet::new(world.upstream.clone(), world.producer),
            insider: Insider::new(&kafka),
            log,
            registry,
            client: plumbing::http::client(None).expect("no file can be wrong"),
            world,
        }
    }

    pub(crate) fn topics(&self) -> &Topics {
        &self.world.topics
    }

    /// The sample upstream's key.
    pub(crate) fn upstream_key(&self) -> SigningKey {
        sample::keys::signing(&PartyName::upstream(&self.world.upstream))
    }

    /// Submits a query and waits until the hub has registered it.
    pub(crate) async fn ask(&self, person: &str, banks: BTreeSet<BankId>) -> Submitted {
        let names = banks.iter().map(ToString::to_string).collect();
        let submitted = self.wallet.submit(&self::person(person), true, REGION, &names, now()).await;
        let query = submitted.expect("the query is taken");
        eventually("registered", async || self.wallet.status(&query).await.ok()).await;
        query
    }

    pub(crate) async fn status(&self, query: &Submitted) -> QueryStatus {
        self.wallet.status(query).await.expect("the query is registered")
    }

    pub(crate) async fn answered(&self, query: &Submitted, count: u32) {
        eventually("one more answer", async || (self.status(query).await.answered == count).then_some(()))
            .await;
    }

    /// Waits for the end of a query that every bank answers.
    pub(crate) async fn finalised(&self, query: &Submitted) -> QueryStatus {
        eventually("final", async || {
            let status = self.status(query).await;
            (status.state == "FINAL_ALL_ANSWERED").then_some(status)
        })
        .await
    }

    /// Gets the report with a fresh grant and opens it as the device does.
    pub(crate) async fn open(&self, query: &Submitted) -> OpenedReport {
        let report = self.wallet.fetch(query, now()).await.expect("the report is shown");
        self.wallet.open(query, report).expect("the report opens")
    }

    /// The record in which the hub asks `bank`.
    pub(crate) async fn request(&self, bank: &BankId, query: &Submitted) -> Record {
        let key = query.reference.query.to_string();
        let find = |record: &Record| {
            let is_request = matches!(request_of(record), Some(request_record::Message::Request(_)));
            (is_request && record.key.as_deref() == Some(key.as_bytes())).then(|| record.clone())
        };
        self.log.wait_for(&self.topics().request(bank), find).await
    }

    /// The request, as a bank played by hand accepts it.
    pub(crate) async fn asked(&self, bank: &HandBank, query: &Submitted) -> Asked {
        bank.accept(&self.request(&bank.id, query).await, &self.registry)
    }

    /// The record with which the query was submitted.
    pub(crate) async fn submitted(&self, query: &Submitted) -> wire::QuerySubmitted {
        let key = query.reference.query.to_string();
        let find = |record: &Record| {
            let message = wire::QueryRecord::decode(record.value.clone()).ok()?.message?;
            let wire::query_record::Message::Submitted(submitted) = message else { return None };
            (record.key.as_deref() == Some(key.as_bytes())).then_some(submitted)
        };
        self.log.wait_for(&self.topics().query(&self.world.upstream), find).await
    }

    /// Events about a query that `pick` picks.
    pub(crate) fn events(&self, query: &Submitted, pick: fn(&wire::event_record::Message) -> bool) -> usize {
        let key = query.reference.query.to_string();
        let events = self.log.of(&self.topics().event(&self.world.upstream));
        let of_query = events.iter().filter(|record| record.key.as_deref() == Some(key.as_bytes()));
        of_query
            .filter_map(|record| wire::EventRecord::decode(record.value.clone()).ok()?.message)
            .filter(pick)
            .count()
    }

    /// Waits for the dead letter of the record at `position`, which must be a copy with this one code.
    pub(crate) async fn refused(&self, position: &Position, key: &str, value: &[u8], code: Code, what: &str) {
        let topic = self.topics().dead_letter(&position.topic).expect("a topic with dead letters");
        let text = |record: &Record, name: &str| {
            record.header(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
        };
        let from = |record: &Record| {
            ["topic", "partition", "offset"].map(|name| text(record, &format!("__dlq.errors.{name}")))
        };
        let here = [position.topic.to_string(), position.partition.to_string(), position.offset.to_string()];
        let letter = self.log.wait_for(&topic, |record| (from(record) == here).then(|| record.clone())).await;
        assert_eq!(text(&letter, "cardquery-error-code"), code.as_str(), "{what}");
        assert_eq!(text(&letter, "__dlq.errors.message"), code.as_str(), "{what}: no free text");
        let class = if code == Code::MESSAGE_MALFORMED { "poison" } else { "rejected" };
        assert_eq!(text(&letter, "cardquery-error-class"), class, "{what}");
        assert_eq!(text(&letter, "__dlq.errors.delivery.count"), "1", "{what}: tried once");
        assert!(text(&letter, "__dlq.errors.group").starts_with(self.topics().prefix()), "{what}");
        assert_eq!(letter.key.as_deref(), Some(key.as_bytes()), "{what}: the record as it was");
        assert_eq!(letter.value, value, "{what}: the record as it was");
    }

    /// Writes a record whose dead letter has `code`.
    pub(crate) async fn write_refused(&self, topic: &str, key: &str, value: Vec<u8>, code: Code, what: &str) {
        let position = self.insider.write(topic, key, value.clone()).await;
        self.refused(&position, key, &value, code, what).await;
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.answer(self.client.get(self.url(path))).await
    }

    pub(crate) async fn post(&self, path: &str, media: &str, body: impl Into<Bytes>) -> Answer {
        let request = self.client.post(self.url(path)).header(reqwest::header::CONTENT_TYPE, media);
        self.answer(request.body(body.into())).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.world.producer)
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("the producer answers");
        let media = response.headers().get(reqwest::header::CONTENT_TYPE);
        let media = media.map(|media| media.to_str().expect("text").to_owned()).unwrap_or_default();
        let status = response.status().as_u16();
        Answer { status, media, body: response.bytes().await.expect("a whole body") }
    }
}

impl Answer {
    /// Whether this is the problem document of `code`, and of nothing else.
    pub(crate) fn is(&self, code: Code, what: &str) {
        let problem: Problem = serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{what}: {}, no problem document: {error}", self.status));
        let told = (self.status, problem.status, problem.code.as_str());
        assert_eq!(told, (code.status(), code.status(), code.as_str()), "{what}");
        assert_eq!(problem.r#type, format!("urn:cardquery:problem:{code}"), "{what}");
        assert_eq!(self.media, PROBLEM_JSON, "{what}");
    }
}

/// What a record of a request topic says.
pub(crate) fn request_of(record: &Record) -> Option<request_record::Message> {
    wire::RequestRecord::decode(record.value.clone()).ok()?.message
}

/// The sample's banks.
pub(crate) fn bank_ids() -> BTreeSet<BankId> {
    sample::registry::sample().banks.into_iter().map(|bank| bank.id).collect()
}

/// A person of the sample.
pub(crate) fn person(key: &str) -> producer::wallet::Person {
    (&sample::core::people().into_iter().find(|person| person.key == key).expect("a sample person")).into()
}

pub(crate) fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}
