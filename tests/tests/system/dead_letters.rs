//! Records that cannot be taken: what becomes of them, of what stands behind them, and of those that are repaired.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cardquery::local::plan::Part;
use cardquery::sample;
use cardquery_tests::attacker::{Asked, HandBank};
use cardquery_tests::system::{Planned, Setup, System};
use plumbing::kafka::{OutRecord, Position, Record};
use schemas::acls::User;
use schemas::ids::{BankId, QueryId, Reference};
use schemas::keys::SigningKey;
use schemas::registry::{PartyName, Registry, SeenVersions};
use schemas::time::UnixMillis;
use serde_json::Value;

use crate::poison::{self, PERSON, Poison};
use crate::{accepted_sms, one_each, reports_ready};

/// Longer than a test takes: every query ends because its banks answer.
const WINDOW: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(100);
/// Its connector does not run: the test answers in its name.
const BY_HAND: &str = "beichuan";
const PLAIN: &str = "anhe";

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_poison_messages_leave_their_dead_letters_and_the_repaired_ones_take_effect_once() {
    let setup = Setup {
        window: WINDOW,
        banks: [PLAIN, BY_HAND].into(),
        without: ["bank-beichuan"].into(),
        ..Setup::default()
    };
    let mut system = System::start(setup).await;
    // Any number is copied here.
    limit(&mut system, &[("MAX_RATIO", "1.0"), ("MAX_CONSECUTIVE", "0")]).await;
    let (topics, front) = (system.local.topics(), system.front());
    let (wallet, bank) = (system.local.plan.upstream().clone(), id(BY_HAND));
    let (queries, replies) = (topics.query(&wallet), topics.reply(&bank));
    let rotated = Rotated::new();

    // Good ones before, between and behind the poison; the first wait for the bank that is played by hand.
    let mut good = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(system.ask_banks(PERSON, &[PLAIN, BY_HAND]).await.reference);
    }
    let mut asked = Vec::new();
    for query in &waiting {
        asked.push(request(&system, &bank, query).await);
    }

    let plan = || poison::plan(&front, &[PLAIN]);
    let repairable: Vec<Planned> = (0..20).map(|_| plan()).collect();
    let true_key = sample::keys::signing(&PartyName::upstream(&wallet));
    let made_up = SigningKey::from_seed(&rand::random());
    let honest = HandBank::new(&bank);
    let ahead = HandBank::new(&bank).with_key(rotated.bank());
    let mut poison: Vec<Poison> = Vec::new();
    poison.extend((0..300).map(|_| Poison::malformed(&queries)));
    poison.extend((0..175).map(|_| Poison::altered(&queries, &plan(), &true_key)));
    poison.extend((0..5).map(|_| Poison::query(&queries, &plan(), &made_up)));
    poison.extend(repairable.iter().map(|planned| Poison::query(&queries, planned, &rotated.wallet())));
    poison.extend((0..300).map(|_| Poison::malformed(&replies)));
    poison.extend((0..195).map(|_| Poison {
        code: "QUERY_UNKNOWN",
        ..Poison::reply(&replies, &honest, &about_another_query(&asked[0]))
    }));
    poison.extend(asked.iter().map(|asked| Poison::reply(&replies, &ahead, asked)));
    assert_eq!(poison.len(), 1_000);

    let mut places = Vec::new();
    for part in poison.chunks(250) {
        places.extend(poison::poison(&system, part).await);
        good.push(system.ask_banks(PERSON, &[PLAIN]).await);
    }
    for query in &good {
        assert_eq!(system.ended(query).await.state, "FINAL_ALL_ANSWERED", "the partitions go on");
    }
    let dead = dead_letters(&system, 1_000).await;
    check_headers(&dead, &poison, &places, &topics);

    // What is mended: the keys that were used too early are in the registry now.
    rotate(&system, &PartyName::upstream(&wallet), &rotated.wallet).await;
    rotate(&system, &PartyName::bank(&bank), &rotated.bank).await;
    let summary = dlq(&system, &["ls", "--json"]).await;
    assert_eq!(summary["records"], 1_000);
    let shown = dlq_text(&system, &["show", "--code", "KEY_UNKNOWN"]).await;
    assert!(
        shown.contains("because  KEY_UNKNOWN (rejected)") && shown.contains("30 dead letters"),
        "{shown}"
    );

    let file = system.fresh("plan.json").display().to_string();
    let planned = dlq(&system, &["redrive", "--code", "KEY_UNKNOWN", "--out", &file, "--json"]).await;
    assert_eq!(planned["plan"]["steps"].as_array().map(Vec::len), Some(30));
    assert_eq!(planned["published"], 0);
    let before = system.ends().await;
    let redriven = dlq(&system, &["redrive", "--execute", &file, "--json"]).await;
    assert_eq!(redriven["published"], 30);
    let ids = |planned: &[Planned]| planned.iter().map(|planned| planned.reference.query).collect::<Vec<_>>();
    let mut ended: BTreeSet<QueryId> = ids(&repairable).into_iter().collect();
    ended.extend(waiting.iter().map(|query| query.query));
    final_all(&system, &ended).await;
    // Those that nobody repaired are back, and say so.
    let again = dead_letters(&system, 1_005).await;
    let replayed: Vec<&Record> =
        again.iter().filter(|record| record.header("cardquery-replay-count").is_some()).collect();
    assert_eq!(replayed.len(), 5);
    let run = planned["plan"]["run"].as_str().expect("a run");
    for record in replayed {
        assert_eq!(text(record, "cardquery-replay-count"), "1");
        assert_eq!(text(record, "cardquery-replay-id"), run);
        assert!(text(record, "cardquery-replay-of").starts_with("dlq."), "{record:?}");
        assert_eq!(text(record, "cardquery-error-code"), "KEY_UNKNOWN");
    }
    let after = system.ends().await;
    assert_eq!(grown(&before, &after, &queries), 25);
    assert_eq!(grown(&before, &after, &replies), 5);

    // The same plan has nothing left to do, an altered one does nothing, and the loop guard holds back what came again.
    let redriven = dlq(&system, &["redrive", "--execute", &file, "--json"]).await;
    assert_eq!((&redriven["published"], system.ends().await), (&Value::from(30), after.clone()));
    let strict = ["redrive", "--code", "KEY_UNKNOWN", "--max-replays", "1", "--json"];
    let refused = dlq(&system, &strict).await;
    let codes: Vec<&str> = refused["plan"]["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|refused| refused["code"].as_str())
        .collect();
    assert_eq!(codes, ["REPLAYED_TOO_OFTEN"; 5]);

    // A new plan for the same dead letters publishes them again, and nothing happens twice.
    let own = system.fresh("again.json").display().to_string();
    let repeated =
        ["redrive", "--code", "KEY_UNKNOWN", "--max-replays", "1", "--out", &own, "--execute", "--json"];
    assert_eq!(dlq(&system, &repeated).await["published"], 30);
    dead_letters(&system, 1_010).await;

    // Dead letters of others, by their own headers.
    let foreign: Vec<Planned> = (0..4).map(|_| plan()).collect();
    let places = write_foreign(&system, &foreign, &queries, &topics.dead_query(), &rotated.wallet()).await;
    let mut args = vec!["redrive".to_owned(), "--json".to_owned()];
    args.extend(places.iter().flat_map(|place| ["--offset".to_owned(), place.to_string()]));
    let file = system.fresh("foreign.json").display().to_string();
    args.extend(["--out".to_owned(), file, "--execute".to_owned()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert_eq!(dlq(&system, &args).await["published"], 4);
    final_all(&system, &ids(&foreign).into_iter().collect()).await;

    system.expect_dead_letters(1_014);
    system.settle().await;
    let mut all: Vec<QueryId> = good.iter().map(|query| query.reference.query).collect();
    all.extend(ended);
    all.extend(ids(&foreign));
    let sms = system.console(&User::Operator, &topics.sms());
    assert_eq!(accepted_sms(&sms), one_each(all.iter()), "one SMS each");
    let events = system.console(&User::Upstream(wallet.clone()), &topics.event(&wallet));
    assert_eq!(reports_ready(&events), one_each(all.iter()), "one report each");

    // What nobody needs any more is taken out, by the same user.
    let partition = again.iter().filter(|record| record.position.partition == 0);
    let last = partition.filter(|record| *record.position.topic == topics.dead_reply());
    let last = last.map(|record| record.position.offset).max().expect("dead letters in every partition");
    let before = format!("{}:0:{last}", topics.dead_reply());
    let told = dlq(&system, &["drop", &before, "--json"]).await;
    assert_eq!((&told["executed"], &told["cuts"][0]["what"]["records"]), (&false.into(), &last.into()));
    assert_eq!(dlq(&system, &["ls", "--json"]).await["records"], 1_014);
    let told = dlq_text(&system, &["drop", &before, "--execute"]).await;
    assert!(told.ends_with("deleted\n"), "{told}");
    let left = dlq(&system, &["ls", "--json"]).await["records"].as_i64();
    assert_eq!(left, Some(1_014 - last));
    let out = system.fresh("export.jsonl");
    dlq_text(&system, &["export", "--of", "reply", "--out", out.to_str().expect("UTF-8")]).await;
    assert_eq!(std::fs::metadata(&out).expect("there").permissions().mode() & 0o777, 0o600);
    system.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_pauses_its_query_topic_only_counts_in_a_reply_topic_and_ends_by_itself() {
    let mut system = System::start(Setup { window: WINDOW, banks: [PLAIN].into(), ..Setup::default() }).await;
    let limits = [
        ("WINDOW_SECONDS", "5"),
        ("MIN_RECORDS", "40"),
        ("MAX_RATIO", "0.5"),
        ("MAX_CONSECUTIVE", "0"),
        ("PAUSE_SECONDS", "5"),
    ];
    limit(&mut system, &limits).await;
    let topics = system.local.topics();
    let (queries, replies) = (topics.query(system.local.plan.upstream()), topics.reply(&id(PLAIN)));

    // Never paused: what stands behind the flood is answered in the meantime.
    let flood: Vec<Poison> = (0..400).map(|_| Poison::malformed(&replies)).collect();
    poison::poison(&system, &flood).await;
    let query = system.ask_banks(PERSON, &[PLAIN]).await;
    assert_eq!(system.ended(&query).await.state, "FINAL_ALL_ANSWERED");
    assert_eq!(readiness(&system).await, (200, String::new()));
    let counted = until(&system, "the flood of replies is dealt with", async |system| {
        let copied = dead_letter_count(system, &topics.dead_reply()).await;
        let counted = metric(system, "cardquery_dlq_records_total", &["MESSAGE_MALFORMED", "counted"]).await;
        (copied + counted == 400).then_some(counted)
    })
    .await;
    assert!(counted > 0, "no flood of copies");
    assert!(metric(&system, "cardquery_dlq_breaker_trips_total", &["counted"]).await > 0);

    // Paused, and not ready: nothing of it is lost, and at most forty are copied at a time.
    let flood: Vec<Poison> = (0..120).map(|_| Poison::malformed(&queries)).collect();
    poison::poison(&system, &flood).await;
    let (status, detail) = until(&system, "the pause", async |system| {
        let (status, detail) = readiness(system).await;
        detail.contains("is paused").then_some((status, detail))
    })
    .await;
    assert_eq!(status, 503);
    // The query before it may still be in the window.
    let why = "of the last 40 records are dead letters; tried again in ";
    assert!(detail.starts_with(&format!("{queries} is paused, ")) && detail.contains(why), "{detail}");
    assert!(detail.contains("cardquery dlq ls"), "what to do: {detail}");
    let behind = system.ask_banks(PERSON, &[PLAIN]).await;
    until(&system, "every record is a dead letter", async |system| {
        (dead_letter_count(system, &topics.dead_query()).await == 120).then_some(())
    })
    .await;
    let trips = metric(&system, "cardquery_dlq_breaker_trips_total", &["paused"]).await;
    assert!((2..=3).contains(&trips), "forty at a time: {trips}");
    assert_eq!(system.ended(&behind).await.state, "FINAL_ALL_ANSWERED");
    until(&system, "readiness", async |system| (readiness(system).await.0 == 200).then_some(())).await;
    let copied = dead_letter_count(&system, &topics.dead_reply()).await;
    system.expect_dead_letters(120 + copied);
    system.finish();
}

/// Keys that are used before the registry has them.
struct Rotated {
    wallet: [u8; 32],
    bank: [u8; 32],
}

impl Rotated {
    fn new() -> Self {
        Self { wallet: rand::random(), bank: rand::random() }
    }

    fn wallet(&self) -> SigningKey {
        SigningKey::from_seed(&self.wallet)
    }

    fn bank(&self) -> SigningKey {
        SigningKey::from_seed(&self.bank)
    }
}

fn id(bank: &str) -> BankId {
    bank.parse().expect("an id")
}

/// Starts the aggregator again with these settings of its dead letters.
async fn limit(system: &mut System, settings: &[(&str, &str)]) {
    assert_eq!(system.terminate("aggregator").await, 0);
    for service in system.local.services.iter_mut().filter(|service| service.part == Part::Aggregator) {
        for (key, value) in settings {
            let key = format!("CARDQUERY_AGGREGATOR__DEAD_LETTERS__{key}");
            service.env.insert(key, (*value).to_owned());
        }
    }
    system.spawn("aggregator");
    system.ready("aggregator").await;
}

/// Publishes a new signing key of a party.
async fn rotate(system: &System, party: &PartyName, seed: &[u8; 32]) {
    let public = hex::encode(SigningKey::from_seed(seed).public().to_wire().raw);
    let in_force = system.draft(party.as_str()).await;
    let draft = system.fresh("rotated.toml");
    let [from, out] = [&in_force, &draft].map(|path| path.to_str().expect("a name in UTF-8"));
    system.operator(&["registry", "draft", "rotate-key", from, "--sign", &public, "--out", out]).await;
    system.publish(&draft, Some(&sample::keys::signing_seed(party))).await;
}

/// What the hub asks a bank about a query, as the bank accepts it.
async fn request(system: &System, bank: &BankId, query: &Reference) -> Asked {
    let mut registry = Registry::new(sample::keys::roots(), SeenVersions::default());
    for (key, value) in sample::registry::records() {
        registry.apply(key.as_bytes(), &value, UnixMillis(0)).expect("the sample's registry");
    }
    let topic = system.local.topics().request(bank);
    let key = query.query.to_string();
    let record = until(system, "the request", async |system| {
        let records = system.records(&topic).await;
        records.into_iter().find(|record| record.key.as_deref() == Some(key.as_bytes()))
    })
    .await;
    HandBank::new(bank).accept(&record, &registry)
}

fn about_another_query(asked: &Asked) -> Asked {
    let mut other = asked.clone();
    other.header.reference.query = QueryId::generate();
    other
}

/// Waits until there is something.
async fn until<T>(system: &System, what: &str, mut look: impl AsyncFnMut(&System) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look(system).await {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

async fn dead_letter_count(system: &System, topic: &str) -> i64 {
    system.ends().await.into_iter().filter(|((name, _), _)| name == topic).map(|(_, end)| end).sum()
}

/// Waits for so many dead letters of queries and replies, and returns them.
async fn dead_letters(system: &System, count: usize) -> Vec<Record> {
    let topics = system.local.topics();
    let names = [topics.dead_query(), topics.dead_reply()];
    let expected = i64::try_from(count).expect("a few");
    until(system, &format!("{count} dead letters"), async |system| {
        let mut found = 0;
        for name in &names {
            found += dead_letter_count(system, name).await;
        }
        assert!(found <= expected, "{found} dead letters, and {count} are expected");
        (found == expected).then_some(())
    })
    .await;
    let mut records = Vec::new();
    for name in &names {
        records.extend(system.records(name).await);
    }
    assert_eq!(records.len(), count);
    records
}

fn text(record: &Record, name: &str) -> String {
    let value = record.header(name).unwrap_or_else(|| panic!("{record:?} has no {name}"));
    String::from_utf8(value.to_vec()).expect("a text")
}

/// Each poison message has one dead letter, which says all that is to be said of it.
fn check_headers(dead: &[Record], poison: &[Poison], places: &[Position], topics: &schemas::topics::Topics) {
    let mut expected: BTreeMap<String, &Poison> =
        places.iter().map(ToString::to_string).zip(poison).collect();
    for record in dead {
        let of = |name: &str| text(record, &format!("__dlq.errors.{name}"));
        let place = format!("{}:{}:{}", of("topic"), of("partition"), of("offset"));
        let poison = expected.remove(&place).unwrap_or_else(|| panic!("{place} is no poison, or twice"));
        assert_eq!(topics.dead_letter(&poison.topic).as_deref(), Some(&*record.position.topic), "{place}");
        let group = if poison.topic.contains(".query.") { "aggregator.query" } else { "aggregator.reply" };
        assert_eq!(of("group"), topics.group(group), "{place}");
        assert_eq!(of("delivery.count"), "1", "{place}");
        assert_eq!(of("message"), poison.code, "{place}");
        assert_eq!(text(record, "cardquery-error-code"), poison.code, "{place}");
        assert_eq!(text(record, "cardquery-error-class"), poison.class, "{place}");
        assert_eq!(text(record, "ce_id"), "made-up", "{place}");
        assert_eq!(record.key.as_deref(), Some(poison.key.as_bytes()), "{place}");
        assert!(*record.value == *poison.value, "{place} is not as it was");
    }
    assert!(expected.is_empty(), "without a dead letter: {:?}", expected.keys());
}

/// Queries as others would have written them to the dead letters.
async fn write_foreign(
    system: &System,
    planned: &[Planned],
    source: &str,
    topic: &str,
    key: &SigningKey,
) -> Vec<Position> {
    let families: [&[(&str, &[u8])]; 4] = [
        &[
            ("__connect.errors.topic", source.as_bytes()),
            ("__connect.errors.partition", b"3"),
            ("__connect.errors.offset", b"1"),
            ("__connect.errors.stage", b"VALUE_CONVERTER"),
        ],
        &[("__streams.errors.topic", source.as_bytes()), ("__streams.errors.exception", b"java.lang.Error")],
        &[
            ("kafka_dlt-original-topic", source.as_bytes()),
            ("kafka_dlt-original-partition", &3_i32.to_be_bytes()),
            ("kafka_dlt-original-offset", &1_i64.to_be_bytes()),
        ],
        &[("x-original-topic", source.as_bytes()), ("x-exception-message", b"no")],
    ];
    let record = |(planned, headers): (&Planned, &&[(&str, &[u8])])| {
        let poison = Poison::query(topic, planned, key);
        OutRecord {
            topic: poison.topic,
            key: Some(poison.key.into_bytes()),
            value: poison.value,
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect(),
        }
    };
    poison::write(system, planned.iter().zip(&families).map(record).collect()).await
}

async fn final_all(system: &System, queries: &BTreeSet<QueryId>) {
    let front = system.front();
    for query in queries {
        until(system, "a final query", async |_| {
            let answer = front.status(*query).await;
            (answer.status == 200 && answer.query_status().state == "FINAL_ALL_ANSWERED").then_some(())
        })
        .await;
    }
}

fn grown(before: &BTreeMap<(String, i32), i64>, after: &BTreeMap<(String, i32), i64>, topic: &str) -> i64 {
    let sum = |ends: &BTreeMap<(String, i32), i64>| -> i64 {
        ends.iter().filter(|((name, _), _)| name == topic).map(|(_, end)| end).sum()
    };
    sum(after) - sum(before)
}

/// Runs `cardquery dlq` as its own broker user.
async fn dlq_text(system: &System, args: &[&str]) -> String {
    let folder = system.local.plan.folder.display().to_string();
    let (command, rest) = args.split_first().expect("a command");
    system.operator(&[&["dlq", command, "--config", &folder], rest].concat()).await
}

async fn dlq(system: &System, args: &[&str]) -> Value {
    let told = dlq_text(system, args).await;
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// The status of the aggregator's readiness, and what its check of the query consumer says.
async fn readiness(system: &System) -> (u16, String) {
    let hub = system.local.services.iter().find(|service| service.name == "aggregator").expect("it runs");
    let client = plumbing::http::client(None).expect("no file can be wrong");
    let url = format!("http://{}/health/ready", hub.admin);
    let response = client.get(url).send().await.expect("an answer");
    let status = response.status().as_u16();
    let body: Bytes = response.bytes().await.expect("a body");
    let checks: Vec<Value> = serde_json::from_slice(&body).expect("a list of checks");
    let check = checks.iter().find(|check| check["name"] == "query consumer").expect("its check");
    (status, check["detail"].as_str().expect("a text").to_owned())
}

/// The sum of a metric's samples that have all these label values.
async fn metric(system: &System, name: &str, labels: &[&str]) -> i64 {
    let text = system.metrics("aggregator").await;
    text.lines()
        .filter(|line| line.starts_with(&format!("{name}{{")))
        .filter(|line| labels.iter().all(|label| line.contains(&format!("=\"{label}\""))))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<i64>().ok())
        .sum()
}
