//! Everything that the hub sees of a few queries: topics, store, logs, metrics and documents.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aggregator::store::{Clock as _, MemoryStore, ReportContent, SealedContact, Store as _, SystemClock};
use cardquery::demo::wallet::{Submitted, Wallet, WalletError};
use cardquery::demo::world::{Plan, World};
use cardquery::sample::{self, core::Person};
use plumbing::kafka::{OutRecord, Producer, Record, follow, read_to_end};
use plumbing::telemetry::{self, LogStyle, MetricsHandle};
use schemas::http::PROTOBUF;
use schemas::ids::{BankId, QueryId, Reference};
use schemas::keys::OpeningKey;
use schemas::report::OpenedReport;
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Item;

/// Who asks every bank but [`DOWN`], one after the other.
pub const PEOPLE: [&str; 4] = ["wang", "li", "zhang", "chen"];
/// The bank whose core system is down. One more query asks it.
pub const DOWN: &str = "yunhe";
const SEED: u64 = 7;
const REGION: &str = "310000";
const WINDOW: Duration = Duration::from_secs(8);
const WITHIN: Duration = Duration::from_secs(90);

/// What the hub saw, and what only banks and devices know.
pub struct Run {
    /// Names of topics.
    pub topics: Topics,
    /// Every topic of the table.
    pub all_topics: Vec<String>,
    /// Every sample bank.
    pub banks: Vec<BankId>,
    /// Everyone in the sample data.
    pub people: Vec<Person>,
    /// The queries that were answered.
    pub queries: Vec<Asked>,
    /// Every record of every topic.
    pub records: Vec<Record>,
    /// What the store holds of final queries.
    pub stored: BTreeMap<Reference, (ReportContent, SealedContact)>,
    /// The store as text.
    pub dump: String,
    /// All logs, at TRACE.
    pub logs: String,
    /// All metrics.
    pub metrics: String,
    /// Documents and their places: status and problems.
    pub documents: Vec<Item>,
}

/// A query that was answered, with what the device keeps.
pub struct Asked {
    /// Which one.
    pub reference: Reference,
    /// Who asked.
    pub person: String,
    /// The person's pseudonym.
    pub subject: String,
    /// The device's key.
    pub report_key: OpeningKey,
    /// Expiry of the consent.
    pub expires_at: UnixMillis,
    /// What the device opened.
    pub report: OpenedReport,
    /// Text of the SMS.
    pub sms: String,
}

/// The one run of this process: logs and metrics are there once per process.
pub fn shared() -> &'static Run {
    static RUN: LazyLock<Run> = LazyLock::new(|| {
        let capture = || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
            runtime.block_on(capture())
        };
        std::thread::spawn(capture).join().expect("the run is captured")
    });
    &RUN
}

impl Run {
    /// The full card numbers of everyone who has cards anywhere, by bank.
    pub fn card_numbers(&self) -> Vec<(&Person, BTreeMap<BankId, Vec<String>>)> {
        self.people.iter().map(|person| (person, sample::core::card_numbers(person, SEED))).collect()
    }

    /// Every byte that the hub sees, in pieces with names.
    pub fn corpus(&self) -> Vec<Item> {
        let mut items: Vec<Item> = self.records.iter().flat_map(record_items).collect();
        items.push(Item::new("store", self.dump.as_bytes()));
        for (reference, (content, contact)) in &self.stored {
            items.push(Item::new(format!("store {reference} contact"), contact.sealed.to_vec()));
            items.push(Item::new(format!("store {reference} coverage"), content.coverage.body.to_vec()));
            let segments = content.segments.iter();
            items.extend(segments.map(|(bank, segment)| {
                Item::new(format!("store {reference} segment of {bank}"), segment.to_vec())
            }));
        }
        let lines = self.logs.lines().enumerate();
        items.extend(lines.map(|(number, line)| Item::new(format!("log line {}", number + 1), line)));
        items.push(Item::new("metrics", self.metrics.as_bytes()));
        items.extend(self.documents.iter().cloned());
        items.extend(self.queries.iter().map(|query| Item::new("sms", query.sms.as_bytes())));
        items
    }

    /// The records of a topic.
    pub fn of<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter(move |record| &*record.position.topic == topic)
    }
}

/// Every byte of a record, in pieces with names.
pub fn record_items(record: &Record) -> Vec<Item> {
    let at = &record.position;
    let mut items = vec![Item::new(format!("{at} value"), record.value.to_vec())];
    items.extend(record.key.as_ref().map(|key| Item::new(format!("{at} key"), key.to_vec())));
    for (name, value) in &record.headers {
        items.push(Item::new(format!("{at} header name"), name.as_bytes()));
        items.push(Item::new(format!("{at} header {name}"), value.to_vec()));
    }
    items
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn capture() -> Run {
    assert!(std::env::var_os("RUST_LOG").is_none_or(|filter| filter.is_empty()), "RUST_LOG would hide logs");
    let log = Log::default();
    let writer = log.clone();
    telemetry::init_logs_to(move || writer.clone(), LogStyle::Json, "trace")
        .expect("nobody else set up logs");
    let metrics = telemetry::install_metrics().expect("nobody else set up metrics");
    let down: BankId = DOWN.parse().expect("an id");
    let plan = Plan { window: WINDOW, seed: SEED, down: [down].into(), ..Plan::new() };
    let world = World::start(&plan).await.expect("the world starts");
    let mut run = watch(world, &metrics).await;
    // What services say as they stop counts too.
    run.logs = String::from_utf8(log.0.lock().expect("not poisoned").clone()).expect("logs are UTF-8");
    run
}

async fn watch(mut world: World, metrics: &MetricsHandle) -> Run {
    let people = sample::core::people();
    let banks: Vec<BankId> = world.sample.banks.iter().map(|bank| bank.id.clone()).collect();
    let wallet = Wallet::new(world.upstream.clone(), world.producer);
    let mut documents = refusals(&world, &wallet, &people).await;
    let mut queries = Vec::new();
    let up: BTreeSet<String> = banks.iter().map(ToString::to_string).filter(|bank| bank != DOWN).collect();
    let both: BTreeSet<String> = ["anhe".to_owned(), DOWN.to_owned()].into();
    for (person, banks) in PEOPLE.iter().map(|person| (*person, &up)).chain([(PEOPLE[0], &both)]) {
        let person = people.iter().find(|known| known.key == person).expect("a sample person");
        let (asked, submitted) = ask(&mut world, &wallet, person, banks).await;
        documents.extend(hub_documents(&world, &asked.reference).await);
        if let Some(before) = queries.last() {
            documents.push(wrong_grant(&world, before, &submitted).await);
        }
        queries.push(asked);
    }
    let letters = dead_letters(&world, &banks[0]).await;
    assert_eq!(letters, 3, "one per family");

    let table = world.topics.all(std::slice::from_ref(&world.upstream), &banks);
    let all_topics: Vec<String> = table.into_iter().map(|(name, _)| name).collect();
    let records = read(&world, &all_topics).await;
    let store: MemoryStore = world.store.clone().expect("the aggregator runs here");
    let mut stored = BTreeMap::new();
    for query in &queries {
        let content = store.report(&query.reference).await.expect("the store answers").expect("it is final");
        let contact = store.contact(&query.reference).await.expect("the store answers").expect("it is kept");
        stored.insert(query.reference.clone(), (content, contact));
    }
    let (dump, metrics) = (store.dump().await, metrics.render());
    let topics = world.topics.clone();
    world.stop().await;
    Run {
        topics,
        all_topics,
        banks,
        people,
        queries,
        records,
        stored,
        dump,
        metrics,
        documents,
        logs: String::new(),
    }
}

/// Asks, and opens the report when the SMS says that it is there.
async fn ask(
    world: &mut World,
    wallet: &Wallet,
    person: &Person,
    banks: &BTreeSet<String>,
) -> (Asked, Submitted) {
    let submitted = wallet.submit(&person.into(), true, REGION, banks, SystemClock.now()).await;
    let submitted = submitted.unwrap_or_else(|error| panic!("{}: {error}", person.key));
    let sms = tokio::time::timeout(WITHIN, world.inbox.recv()).await.expect("the SMS comes in time");
    let sms = sms.expect("the gateway is open");
    let report = wallet.fetch(&submitted, SystemClock.now()).await.expect("the report is there");
    let report = wallet.open(&submitted, report).expect("the report opens");
    let prepared = submitted.prepared();
    let asked = Asked {
        reference: submitted.reference.clone(),
        person: person.key.clone(),
        subject: prepared.request.subject.clone(),
        report_key: prepared.report_key.clone(),
        expires_at: prepared.request.consent.expires_at,
        report,
        sms: sms.text,
    };
    (asked, submitted)
}

/// Problem documents about what a careless wallet sends: none may repeat it.
async fn refusals(world: &World, wallet: &Wallet, people: &[Person]) -> Vec<Item> {
    let mut documents = Vec::new();
    for person in people {
        let banks = ["anhe".to_owned()].into();
        match wallet.submit(&person.into(), false, REGION, &banks, SystemClock.now()).await {
            Err(WalletError::Refused(problem)) => {
                documents
                    .push(Item::new("problem: self-declared", serde_json::to_vec(&problem).expect("JSON")));
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("a self-declared name was accepted"),
        }
        let bodies = [
            serde_json::json!({ person.name.clone(): person.document_number }).to_string(),
            serde_json::json!({ "subject": person.document_number, "region": person.phone }).to_string(),
            format!("{{\"name\": \"{}\" {}", person.name, person.document_number),
        ];
        for body in bodies {
            let request = http().post(format!("http://{}/v1/queries", world.producer));
            let request = request.header("content-type", "application/json").body(body);
            documents.push(problem("problem: body", request).await);
        }
    }
    let unknown = QueryId::generate();
    let missing = [
        format!("http://{}/v1/queries/{unknown}", world.producer),
        format!("http://{}/v1/upstreams/{}/queries/{unknown}", world.hub, world.upstream),
        format!("http://{}/no/such/route", world.hub),
    ];
    for url in missing {
        documents.push(problem("problem: missing", http().get(url)).await);
    }
    documents
}

/// Status as producer and hub say it.
async fn hub_documents(world: &World, reference: &Reference) -> Vec<Item> {
    let Reference { upstream, query } = reference;
    let urls = [
        format!("http://{}/v1/queries/{query}", world.producer),
        format!("http://{}/v1/upstreams/{upstream}/queries/{query}", world.hub),
    ];
    let mut documents = Vec::new();
    for url in urls {
        let response = http().get(url).send().await.expect("it answers");
        assert!(response.status().is_success(), "{}", response.status());
        let headers = format!("{:?}", response.headers());
        documents.push(Item::new("status", response.bytes().await.expect("a body").to_vec()));
        documents.push(Item::new("status headers", headers));
    }
    documents
}

/// The problem document for a grant that is of another query.
async fn wrong_grant(world: &World, before: &Asked, submitted: &Submitted) -> Item {
    let key = sample::keys::signing(&schemas::registry::PartyName::upstream(&world.upstream));
    let id = before.report_key.id();
    let grant = producer::wallet::grant_view(&before.reference, &before.subject, id, SystemClock.now(), &key);
    let url = format!("http://{}/v1/queries/{}/report", world.producer, submitted.reference.query);
    problem("problem: grant", http().post(url).header("content-type", PROTOBUF).body(grant)).await
}

async fn problem(name: &str, request: reqwest::RequestBuilder) -> Item {
    let response = request.send().await.expect("it answers");
    assert!(response.status().is_client_error(), "{name}: {}", response.status());
    Item::new(name, response.bytes().await.expect("a body").to_vec())
}

fn http() -> reqwest::Client {
    plumbing::http::client(None).expect("no file can be wrong")
}

/// Writes junk where the hub reads, and waits until all of it lies among the dead letters.
async fn dead_letters(world: &World, bank: &BankId) -> usize {
    let sources = [world.topics.query(&world.upstream), world.topics.reply(bank), world.topics.notice()];
    let dead = sources.iter().filter_map(|topic| world.topics.dead_letter(topic)).collect();
    let (sender, mut letters) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let each = move |record: Record| drop(sender.send(record.position.topic));
    let follower = follow(&world.kafka("cardquery.tap"), dead, each, stop.clone()).expect("it is followed");
    let producer = Producer::new(&world.kafka("cardquery.junk")).expect("a producer");
    for topic in sources {
        let record =
            OutRecord { topic, key: Some(b"junk".to_vec()), value: b"junk".to_vec(), headers: Vec::new() };
        producer.send(record).await.expect("it is acknowledged");
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        let letter = tokio::time::timeout(WITHIN, letters.recv()).await.expect("dead letters come in time");
        seen.insert(letter.expect("the follower runs"));
    }
    stop.cancel();
    drop(follower);
    seen.len()
}

async fn read(world: &World, topics: &[String]) -> Vec<Record> {
    let read = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&read);
    let each = move |record| keep.lock().expect("not poisoned").push(record);
    read_to_end(&world.kafka("cardquery.tap"), topics, each).await.expect("the topics are read");
    std::mem::take(&mut *read.lock().expect("not poisoned"))
}
