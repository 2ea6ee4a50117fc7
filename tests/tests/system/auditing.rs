//! An auditor makes every report once more, and finds what was altered.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aggregator::store::{DayKeys, PostgresStore, Store as _, Tx as _};
use bytes::Bytes;
use cardquery::local::plan::Part;
use cardquery_tests::mass::{Mass, Plot};
use cardquery_tests::process::ChildProcess;
use cardquery_tests::system::{Setup, System};
use plumbing::kafka::{KafkaConfig, Position, Watermarks};
use plumbing::postgres::PostgresConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use schemas::ids::Reference;
use schemas::keys::SigningKey;
use schemas::wire;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

const QUERIES: usize = 2_000;
/// A command on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);
const FIRST: &str = "anhe";
const SECOND: &str = "beichuan";

fn plot(n: usize) -> Plot {
    match n % 10 {
        0 => Plot::OneRefuses,
        1 => Plot::OneSilent,
        2 => Plot::OneRepeats,
        _ => Plot::AllAnswer,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_report_is_equal_when_it_is_replayed_nothing_is_written_and_each_alteration_is_named() {
    let setup = Setup {
        banks: [FIRST, SECOND, "changning"].into(),
        without: ["bank-anhe", "bank-beichuan", "bank-changning"].into(),
        window: Duration::from_secs(45),
        ..Setup::default()
    };
    let mut system = System::start(setup).await;
    sign_every(&mut system, 1).await;
    let mut mass = Mass::new(&system);
    let queries = mass.ask(QUERIES, plot).await;
    mass.ended().await;
    system.settle().await;
    let auditor = Auditor::new(&system);
    let told = auditor.signed(QUERIES).await;
    assert_eq!(told["findings"], Value::Array(Vec::new()));
    // Nothing moves by itself any more.
    sign_every(&mut system, 3_600).await;

    let before = ends(&system).await;
    let evidence = auditor.folder.join("evidence");
    let (exit, told) = auditor
        .replay(&["--from-beginning", "--out", text(&evidence), "--sign-key", text(&auditor.key)])
        .await;
    assert_eq!((exit, &told["findings"]), (0, &Value::Array(Vec::new())));
    for (what, count) in [
        ("compared", QUERIES),
        ("equal", QUERIES),
        ("stored", QUERIES),
        ("different", 0),
        ("gone", 0),
        ("written", 0),
    ] {
        assert_eq!(told[what], count, "{what}");
    }
    assert_eq!(told["ends_same"], true, "{}", told["ends"]);
    assert_eq!(ends(&system).await, before, "nobody was told anything, and no SMS was sent");
    auditor.checks(&evidence).await;
    auditor.selects(&queries).await;

    let dropped = skip_a_reply(&mut system, &mut mass).await;
    let expected = alter(&system, &queries, dropped).await;
    let (exit, told) = auditor.replay(&["--from-beginning"]).await;
    assert_eq!(exit, 65);
    assert_eq!(named(&told), expected);
    assert_eq!((&told["different"], &told["equal"]), (&7.into(), &(QUERIES + 1 - 7).into()));

    let removed = remove_records(&system).await;
    let (exit, told) = auditor.replay(&["--from-beginning"]).await;
    let codes: BTreeSet<&str> = told["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter_map(|finding| finding["code"].as_str())
        .collect();
    assert_eq!(exit, 65);
    assert!(codes.contains("REPLAY_RECORD_REMOVED"), "{codes:?}");
    assert!(told["gone"].as_u64() >= Some(removed), "{}", told["gone"]);
    system.finish();
}

/// Starts the hub again, so that it signs its log as often as this.
async fn sign_every(system: &mut System, seconds: u64) {
    assert_eq!(system.terminate("aggregator").await, 0);
    for hub in system.local.services.iter_mut().filter(|service| service.part == Part::Aggregator) {
        hub.env.insert("CARDQUERY_AGGREGATOR__AUDIT__CHECKPOINT_SECONDS".to_owned(), seconds.to_string());
    }
    system.spawn("aggregator");
    system.ready("aggregator").await;
}

struct Auditor {
    folder: PathBuf,
    key: PathBuf,
}

impl Auditor {
    fn new(system: &System) -> Self {
        let folder = system.local.plan.folder.clone();
        let key = folder.join("auditor.key");
        std::fs::write(&key, "5a".repeat(32)).expect("written");
        Self { folder, key }
    }

    async fn run(&self, words: &[&str]) -> (i32, String, String) {
        let mut process = ChildProcess::spawn("cardquery", words, &[]);
        let exit = process.wait(WITHIN).await;
        (exit, process.stdout(), process.stderr())
    }

    async fn replay(&self, words: &[&str]) -> (i32, Value) {
        let config = self.folder.join("auditor.toml");
        let words = [&["audit", "replay", "--json", "-c", text(&config)], words].concat();
        let (exit, stdout, stderr) = self.run(&words).await;
        let told = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
        (exit, told)
    }

    /// Waits until the log tells of so many reports and is signed to its end.
    async fn signed(&self, queries: usize) -> Value {
        let look = async {
            loop {
                let (_, told) = self.replay(&["--from-beginning", "--without-store"]).await;
                if told["compared"] == queries && told["vouched"] == told["leaves"] {
                    return told;
                }
            }
        };
        tokio::time::timeout(WITHIN, look).await.expect("the hub signs its log")
    }

    /// The evidence is what was signed, has every record, and nothing of a person.
    async fn checks(&self, evidence: &Path) {
        let key = hex::encode(SigningKey::from_seed(&[0x5a; 32]).public().to_wire().raw);
        let check = ["audit", "evidence", "check", text(evidence), "--key", &key];
        assert_eq!(self.run(&check).await.0, 0);
        let read = |name: &str| std::fs::read_to_string(evidence.join(name)).expect("there");
        // A query, a reply of each bank, without the silent ones, and two more of those that repeat themselves.
        let records = QUERIES + 3 * QUERIES - QUERIES / 10 + 2 * QUERIES / 10;
        assert_eq!(read("records.ndjson").lines().count(), records);
        assert_eq!(read("digests.ndjson").lines().count(), QUERIES);
        for name in ["records.ndjson", "digests.ndjson", "differences.json", "manifest.json"] {
            let file = read(name);
            for person in ["王小明", "13800000001", "110101199003078718", "mass-"] {
                assert!(!file.contains(person), "{name}: {person}");
            }
        }
        let records = evidence.join("records.ndjson");
        let altered = read("records.ndjson").replacen("ANSWERED", "REFUSED", 1);
        std::fs::write(records, altered).expect("written");
        assert_eq!(self.run(&check).await.0, 65);
    }

    async fn selects(&self, queries: &[Reference]) {
        let (one, two) = (queries[0].to_string(), queries[1].to_string());
        let (exit, told) = self.replay(&["--query", &one, "--query", &two]).await;
        assert_eq!((exit, &told["equal"]), (0, &2.into()));
        let (exit, told) = self.replay(&["--from", "2020-01-01T00:00+08:00", "--to", "+24h"]).await;
        assert_eq!((exit, &told["compared"]), (66, &0.into()));
        let from = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
        let (exit, told) = self.replay(&["--from", &from.to_string(), "--to", "+2h"]).await;
        assert_eq!((exit, &told["equal"]), (0, &QUERIES.into()));
        let (exit, plan) = self.replay(&["--from-beginning", "--plan"]).await;
        assert_eq!((exit, &plan["queries"]), (0, &QUERIES.into()));
        let unknown = format!("wallet/{}", schemas::ids::QueryId::generate());
        let (exit, told) = self.replay(&["--query", &unknown]).await;
        assert_eq!((exit, &told["unknown"][0]), (66, &unknown.as_str().into()));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Code, query and bank of every finding.
fn named(told: &Value) -> BTreeSet<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = told["findings"].as_array().expect("findings").iter();
    findings
        .map(|finding| (text(&finding["code"]), text(&finding["query_id"]), text(&finding["bank"])))
        .collect()
}

fn admin(system: &System) -> KafkaConfig {
    KafkaConfig {
        properties: system.local.stack.client("admin").expect("the administrator's password"),
        ..KafkaConfig::new(&system.local.stack.brokers, "cardquery.test")
    }
}

/// End offsets of every topic, dead letters included.
async fn ends(system: &System) -> BTreeMap<(String, i32), i64> {
    let plan = &system.local.plan;
    let topics = system.local.topics().all(&plan.upstreams(), &plan.banks());
    let topics: Vec<String> = topics.into_iter().map(|(topic, _)| topic).collect();
    let ends = Watermarks::new(&admin(system)).expect("a client").end_offsets(&topics).await;
    ends.into_iter().map(|(partition, end)| (partition, end.expect("a leader"))).collect()
}

/// A hub that passes over a valid reply: it is away when the reply comes, and is then told that it has read it.
async fn skip_a_reply(system: &mut System, mass: &mut Mass) -> Reference {
    let query = mass.ask(1, |_| Plot::OneSilent).await.remove(0);
    system.settle().await;
    assert_eq!(system.terminate("aggregator").await, 0);
    let (bank, at) = mass.break_silence(&query).await;
    assert_eq!(bank.as_str(), FIRST);
    let mut session = session(system).await;
    let skip =
        "UPDATE progress SET next_offset = $3 + 1 WHERE topic = $1 AND partition = $2 AND next_offset = $3";
    let skip = sqlx::query(skip).bind(&*at.topic).bind(at.partition).bind(at.offset);
    assert_eq!(skip.execute(&mut session).await.expect("skipped").rows_affected(), 1);
    commit(system, &at).await;
    system.spawn("aggregator");
    system.ready("aggregator").await;
    mass.ended().await;
    system.settle().await;
    query
}

async fn commit(system: &System, at: &Position) {
    let kafka = admin(system);
    let group = system.local.topics().group("aggregator.reply");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.brokers).set("group.id", group);
    config.extend(kafka.properties.iter().map(|(key, value)| (key.clone(), value.clone())));
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&at.topic, at.partition, Offset::Offset(at.offset + 1)).expect("an offset");
    let committed = tokio::task::spawn_blocking(move || {
        let client: BaseConsumer = config.create().expect("a client");
        client.commit(&offsets, CommitMode::Sync)
    });
    committed.await.expect("it runs").expect("committed");
}

async fn session(system: &System) -> PgConnection {
    let url = system.local.database_url(&Part::Aggregator).expect("it has a database");
    PgConnection::connect(url.expose_secret()).await.expect("connected")
}

/// What somebody does who has the database, and once also the keys of its days. Returns what must be found.
async fn alter(
    system: &System,
    queries: &[Reference],
    dropped: Reference,
) -> BTreeSet<(String, String, String)> {
    let mut session = session(system).await;
    let of = |query: &Reference| uuid::Uuid::from_bytes(*query.query.as_bytes());
    let mut expected = BTreeSet::new();
    let mut expect = |code: &str, query: &Reference, bank: &str| {
        expected.insert((code.to_owned(), query.query.to_string(), bank.to_owned()));
    };
    expect("REPLAY_REPLY_DROPPED", &dropped, FIRST);
    expect("REPLAY_COVERAGE_DIFFERS", &dropped, "");

    // All of the first ten have another plot: 1 has a silent bank.
    let [damaged, silent, missing, rewritten, redated, exchanged] = [3, 1, 4, 5, 6, 7].map(|n| &queries[n]);
    for (statement, query) in [
        ("UPDATE coverage SET signed = set_byte(signed, 40, get_byte(signed, 40) # 1) WHERE query_id = $1", damaged),
        ("DELETE FROM segment WHERE bank = 'beichuan' AND query_id = $1", missing),
        (
            "INSERT INTO segment SELECT (jsonb_populate_record(known, '{\"bank\": \"anhe\"}')).* FROM segment AS known
             WHERE bank = 'beichuan' AND query_id = $1",
            silent,
        ),
        ("DELETE FROM coverage WHERE query_id = $1", rewritten),
        (
            "UPDATE query SET state_data = jsonb_set(state_data, '{finalised_at}', '1') WHERE query_id = $1",
            redated,
        ),
        (
            "UPDATE query SET state_data = jsonb_set(state_data, '{banks,beichuan,outcome}', '\"BANK_OUTCOME_REFUSED\"')
             WHERE query_id = $1",
            exchanged,
        ),
    ] {
        let changed = sqlx::query(statement).bind(of(query)).execute(&mut session).await.expect("changed");
        assert_eq!(changed.rows_affected(), 1, "{statement}");
    }
    expect("STORE_COVERAGE_UNREADABLE", damaged, "");
    expect("STORE_SEGMENT_MISSING", missing, SECOND);
    expect("STORE_SEGMENT_ADDED", silent, FIRST);
    expect("STORE_STATE_DIFFERS", redated, "");
    expect("STORE_STATE_DIFFERS", exchanged, SECOND);

    let url = system.local.database_url(&Part::Aggregator).expect("it has a database");
    let pool = PostgresConfig::new(url.expose_secret()).pool("aggregator.test", 2).expect("a pool");
    let keys = DayKeys::open(&system.local.plan.folder.join("day-keys")).expect("a directory");
    let store = PostgresStore::new(pool, keys);
    let mut tx = store.begin().await.expect("begun");
    tx.lock(&BTreeSet::from([rewritten.clone()])).await.expect("locked");
    let coverage = wire::Signed { body: Bytes::from_static(b"another report"), ..Default::default() };
    tx.keep_coverage(rewritten, &coverage).await.expect("kept");
    tx.commit().await.expect("committed");
    expect("STORE_COVERAGE_DIFFERS", rewritten, "");
    expected
}

/// Removes a bank's replies from one partition, long before their time. Returns how many records that were.
async fn remove_records(system: &System) -> u64 {
    let topic = system.local.topics().reply(&SECOND.parse().expect("an id"));
    let end = ends(system).await[&(topic.clone(), 0)];
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(end)).expect("an offset");
    let client = admin(system).admin().expect("a client");
    let removed = client.delete_records(&offsets, &rdkafka::admin::AdminOptions::new()).await;
    removed.expect("removed");
    u64::try_from(end).expect("an offset")
}
