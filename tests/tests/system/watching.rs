//! An operator watches a system in which one bank is down, one silent and one paused.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cardquery::local::plan::Part;
use cardquery_tests::process::ChildProcess;
use cardquery_tests::scan::{Item, Needles, Scanner};
use cardquery_tests::system::{Setup, System};
use plumbing::kafka::{KafkaConfig, Watermarks};
use schemas::ids::BankId;
use schemas::wire::BankOutcome;
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

const GOOD: &str = "anhe";
const PAUSED: &str = "beichuan";
/// Paused to the end of its query.
const KEPT: &str = "changning";
/// Its connector does not run.
const SILENT: &str = "taihe";
/// Its connector finds no table.
const DOWN: &str = "yunhe";

const PERSON: &str = "wang";
const REASON: &str = "they asked for it";
/// A command on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);
/// What is in force within seconds.
const SOON: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_happens_pauses_a_bank_and_has_it_asked_again_and_no_command_shows_a_person() {
    let setup = Setup {
        banks: [GOOD, PAUSED, KEPT, SILENT, DOWN].into(),
        without: ["bank-taihe"].into(),
        window: Duration::from_secs(60),
        ..Setup::default()
    };
    let mut system = System::start(setup).await;
    take_down(&system, DOWN).await;
    let mut operator = Operator { folder: system.local.plan.folder.clone(), said: Vec::new() };

    // A plan changes nothing.
    let plan = operator.says(&["bank", "pause", PAUSED, "--reason", REASON]).await;
    assert!(plan.contains("nothing was changed"), "{plan}");
    assert_eq!(operator.bank(PAUSED).await["paused"], Value::Null);
    let paused = operator.json(&["bank", "pause", PAUSED, "--reason", REASON, "--execute"]).await;
    assert_eq!((&paused["executed"], &paused["changes"]), (&true.into(), &true.into()));
    operator.says(&["bank", "pause", KEPT, "--reason", REASON, "--execute"]).await;
    let again = operator.says(&["bank", "pause", PAUSED, "--reason", "another one", "--execute"]).await;
    assert!(again.contains(REASON) && again.contains("nothing was changed"), "{again}");

    // It is a row: another start knows it before it asks anybody.
    assert_eq!(system.terminate("aggregator").await, 0);
    system.spawn("aggregator");
    system.ready("aggregator").await;
    let pause = operator.bank(PAUSED).await["paused"].clone();
    assert_eq!((&pause["reason"], &pause["by"]), (&REASON.into(), &"operator".into()));
    assert!(system.metrics("aggregator").await.contains("cardquery_bank_paused{bank=\"beichuan\"} 1"));

    let first = system.ask_banks(PERSON, &[GOOD, PAUSED, SILENT, DOWN]).await;
    let second = system.ask_banks("li", &[GOOD, KEPT]).await;
    let first_id = first.reference.query.to_string();
    system.answered(&first, 1).await;
    let open = operator.json(&["query", "show", &first_id]).await;
    assert_eq!(open["query"]["state"], "COLLECTING");
    assert_eq!(of(&open["banks"], PAUSED)["attempts"], 0, "{open}");
    assert_eq!(of(&open["banks"], PAUSED)["paused"], true);
    assert_eq!(of(&open["banks"], GOOD)["reply"]["outcome"], "ANSWERED");
    assert!(of(&open["banks"], SILENT)["attempts"].as_u64() > Some(0), "{open}");
    assert_eq!(requests(&system, PAUSED).await, 0, "a paused bank is not asked");
    let top = operator.json(&["top"]).await;
    assert_eq!(top["overview"]["collecting"], 2, "{top}");
    let paused: Vec<&Value> =
        top["overview"]["paused"].as_array().expect("pauses").iter().map(|pause| &pause["bank"]).collect();
    assert_eq!(paused, [PAUSED, KEPT]);

    operator.says(&["bank", "resume", PAUSED]).await;
    assert_eq!(requests(&system, PAUSED).await, 0, "a plan asks nobody");
    operator.says(&["bank", "resume", PAUSED, "--execute"]).await;
    system.answered(&first, 2).await;
    assert!(requests(&system, PAUSED).await > 0);
    assert_eq!(system.ended(&first).await.state, "FINAL_PARTIAL");

    // Of a bank that was paused to the end, the report says that it was not heard.
    assert_eq!(system.ended(&second).await.state, "FINAL_PARTIAL");
    let report = system.open(&second).await;
    let kept: BankId = KEPT.parse().expect("an id");
    assert_eq!(report.coverage.banks.get(&kept).map(|(outcome, _)| *outcome), Some(BankOutcome::NoReply));
    assert_eq!(requests(&system, KEPT).await, 0);
    system.settle().await;

    operator.sees_the_timeline(&first_id).await;
    operator.sees_the_banks().await;
    operator.sees_the_hub_at_rest().await;
    operator.is_told_what_is_not_there().await;
    operator.taps_every_topic(&first_id).await;
    operator.shows_no_person(&system);
    system.finish();
}

/// Whoever runs `cardquery` with the settings of the system, and everything that it said.
struct Operator {
    folder: std::path::PathBuf,
    said: Vec<Item>,
}

/// What a command ended with.
struct Ended {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl Operator {
    async fn run(&mut self, settings: &str, words: &[&str]) -> Ended {
        let settings = self.folder.join(settings);
        let config = settings.to_str().expect("a path in UTF-8");
        let args = [words, &["-c", config]].concat();
        let mut process = ChildProcess::spawn("cardquery", &args, &[]);
        let exit = process.wait(WITHIN).await;
        let ended = Ended { exit, stdout: process.stdout(), stderr: process.stderr() };
        let name = words.join(" ");
        self.said.push(Item::new(name.clone(), ended.stdout.clone()));
        self.said.push(Item::new(name, ended.stderr.clone()));
        ended
    }

    async fn says(&mut self, words: &[&str]) -> String {
        let Ended { exit, stdout, stderr } = self.run("operator.toml", words).await;
        assert_eq!(exit, 0, "{words:?}: {stderr}");
        stdout
    }

    async fn json(&mut self, words: &[&str]) -> Value {
        let text = self.says(&[words, &["--json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?}: {error}: {text}"))
    }

    async fn bank(&mut self, bank: &str) -> Value {
        let facts = self.json(&["bank", "show", bank]).await;
        of(&facts["banks"], bank).clone()
    }

    async fn sees_the_timeline(&mut self, query: &str) {
        let shown = self.json(&["query", "show", &format!("wallet/{query}")]).await;
        let outcomes =
            [(GOOD, "ANSWERED"), (PAUSED, "ANSWERED"), (SILENT, "NO_REPLY"), (DOWN, "UNAVAILABLE")];
        for (bank, outcome) in outcomes {
            assert_eq!(of(&shown["banks"], bank)["outcome"], outcome, "{bank}: {shown}");
        }
        let kinds: Vec<&str> = shown["events"]
            .as_array()
            .expect("events")
            .iter()
            .filter_map(|event| event["kind"].as_str())
            .collect();
        assert_eq!(kinds, ["risk", "registered", "final"], "{shown}");
        let sms: Vec<&str> =
            shown["sms"].as_array().expect("SMS").iter().filter_map(|sms| sms["event"].as_str()).collect();
        assert_eq!(sms.iter().filter(|event| **event == "SmsAccepted").count(), 1, "{sms:?}");
        assert_eq!(sms.first(), Some(&"SmsClaimed"));
        let text = self.says(&["query", "show", query]).await;
        for part in ["FINAL_PARTIAL  2 of 4 answered", "sms SmsAccepted", "NO_REPLY", "UNAVAILABLE"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    async fn sees_the_banks(&mut self) {
        let facts = self.json(&["bank", "ls", "--since", "1h"]).await;
        assert_eq!(facts["reports"], 2, "{facts}");
        for (bank, counts) in [
            (GOOD, [("asked", 2), ("answered", 2), ("no_reply", 0)]),
            (PAUSED, [("asked", 1), ("answered", 1), ("no_reply", 0)]),
            (KEPT, [("asked", 1), ("answered", 0), ("no_reply", 1)]),
            (SILENT, [("asked", 1), ("answered", 0), ("no_reply", 1)]),
            (DOWN, [("asked", 1), ("unavailable", 1), ("no_reply", 0)]),
        ] {
            for (name, count) in counts {
                assert_eq!(of(&facts["banks"], bank)[name], count, "{bank} {name}: {facts}");
            }
        }
        assert_eq!(of(&facts["banks"], GOOD)["answer_rate"], Value::Null, "two are not enough");
        let text = self.says(&["bank", "ls"]).await;
        assert!(text.contains("ACTIVE PAUSED") && text.contains(REASON), "{text}");
        let text = self.says(&["bank", "show", GOOD]).await;
        assert_eq!(text.matches("not enough data").count(), 4, "{text}");
    }

    async fn sees_the_hub_at_rest(&mut self) {
        let deadline = Instant::now() + SOON;
        loop {
            let top = self.json(&["top"]).await;
            let at_rest = ["collecting", "held", "overdue", "outbox_waiting", "outbox_parked", "lag"];
            if at_rest.iter().all(|name| top["overview"][*name] == 0) {
                let partitions = top["overview"]["partitions"].as_array().expect("partitions");
                assert_eq!(partitions.len(), 12 + 5 * 3, "one upstream, five banks");
                break;
            }
            assert!(Instant::now() < deadline, "{top}");
            tokio::time::sleep(POLL).await;
        }
        let text = self.says(&["top", "--once"]).await;
        assert!(text.contains("0 collecting, oldest none") && text.contains("paused   changning"), "{text}");
    }

    async fn is_told_what_is_not_there(&mut self) {
        let unknown =
            self.run("operator.toml", &["query", "show", "0192f0c1-2d3e-7000-8000-000000000001"]).await;
        assert!(unknown.exit == 66 && unknown.stderr.contains("QUERY_NOT_FOUND"), "{}", unknown.stderr);
        let unknown = self.run("operator.toml", &["bank", "show", "nobody"]).await;
        assert!(unknown.exit == 66 && unknown.stderr.contains("BANK_UNKNOWN"), "{}", unknown.stderr);
        let foreign = self.run("auditor.toml", &["bank", "ls"]).await;
        assert!(foreign.exit == 77 && foreign.stderr.contains("ROUTE_UNKNOWN"), "{}", foreign.stderr);
        let denied = self.run("auditor.toml", &["tap", "dlq.reply", "--from", "beginning"]).await;
        assert!(denied.exit == 77 && denied.stderr.contains("may not read"), "{}", denied.stderr);
        let usage = self.run("operator.toml", &["tap", "phone-numbers"]).await;
        assert_eq!(usage.exit, 64, "{}", usage.stderr);
    }

    async fn taps_every_topic(&mut self, query: &str) {
        let tapped = async |operator: &mut Self, words: &[&str]| -> Vec<Value> {
            let words = [&["tap"], words, &["--from", "beginning", "--json"]].concat();
            let ended = operator.run("auditor.toml", &words).await;
            assert_eq!(ended.exit, 0, "{words:?}: {}", ended.stderr);
            ended.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
        };
        for (family, message, records) in [
            ("query", "QuerySubmitted", 1),
            ("event", "QueryAccepted", 1),
            ("event", "ReportReady", 1),
            ("notice", "ReportNotice", 1),
            ("sms", "SmsAccepted", 1),
        ] {
            let lines = tapped(self, &[family, "--query", query, "--type", message]).await;
            assert_eq!(lines.len(), records, "{family} {message}: {lines:?}");
            assert_eq!(lines[0]["query"], query);
        }
        let requests = tapped(self, &["request", "--bank", PAUSED]).await;
        assert!(
            !requests.is_empty() && requests.iter().all(|request| request["query"] == query),
            "{requests:?}"
        );
        let identity = requests[0]["fields"]["identity"].as_str().expect("an identity");
        assert!(identity.starts_with("sealed(528 B"), "512 and the tag: {identity}");
        let answers = tapped(self, &["reply", "--query", query, "--code", "answered"]).await;
        // A bank that is slow to answer is asked again, and answers again.
        let banks: BTreeSet<Option<&str>> =
            answers.iter().map(|answer| answer["fields"]["bank"].as_str()).collect();
        assert_eq!(banks, [Some(GOOD), Some(PAUSED)].into(), "{answers:?}");
        let entries = tapped(self, &["registry"]).await;
        assert!(entries.iter().all(|entry| entry["type"] == "RegistryEntry"), "{entries:?}");
        let one = tapped(self, &["registry", "--max", "1"]).await;
        assert_eq!(one.len(), 1);
        let last = self.run("operator.toml", &["tap", "query", "--from", "-1", "--max", "50"]).await;
        assert_eq!(last.exit, 0, "{}", last.stderr);
        assert!(last.stdout.contains("QuerySubmitted"), "{}", last.stdout);
    }

    fn shows_no_person(&self, system: &System) {
        let people = Needles::of_sample(system.local.plan.seed);
        let findings = Scanner::new(&people.with_sealed_words()).scan(&self.said);
        assert!(findings.is_empty(), "{findings:#?}");
        let subject = format!("sample-{PERSON}");
        let shows = |item: &&Item| String::from_utf8_lossy(&item.bytes).contains(&subject);
        let of_subject: Vec<&String> = self.said.iter().filter(shows).map(|item| &item.name).collect();
        assert!(of_subject.is_empty(), "{of_subject:?}");
    }
}

fn of<'a>(banks: &'a Value, bank: &str) -> &'a Value {
    let banks = banks.as_array().expect("banks");
    banks.iter().find(|of| of["bank"] == bank).unwrap_or_else(|| panic!("no {bank} in {banks:?}"))
}

/// Records in the bank's request topic.
async fn requests(system: &System, bank: &str) -> i64 {
    let stack = &system.local.stack;
    let kafka = KafkaConfig {
        properties: stack.client("admin").expect("the administrator's password"),
        ..KafkaConfig::new(&stack.brokers, "cardquery.test")
    };
    let topic = system.local.topics().request(&bank.parse().expect("an id"));
    let ends = Watermarks::new(&kafka).expect("a client").end_offsets(&[topic]).await;
    ends.into_values().map(|end| end.expect("an end offset")).sum()
}

async fn take_down(system: &System, bank: &str) {
    let part = Part::Connector(bank.parse().expect("an id"));
    let url = system.local.database_url(&part).expect("it has a database");
    let mut session = PgConnection::connect(url.expose_secret()).await.expect("connected");
    sqlx::query("ALTER TABLE customer RENAME TO gone").execute(&mut session).await.expect("renamed");
    session.close().await.expect("closed");
}
