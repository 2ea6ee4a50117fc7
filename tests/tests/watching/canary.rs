//! Whatever an operator or an auditor is shown: nobody's name, phone, document, card or pseudonym.

use std::path::Path;
use std::time::Duration;

use cardquery::sample;
use cardquery_tests::audit_log::AuditLog;
use cardquery_tests::process::ChildProcess;
use cardquery_tests::scan::{Item, Kind, Needles, Scanner};
use cardquery_tests::system::{Setup, System};
use plumbing::kafka::{OutRecord, Producer};

use crate::collector::{Collector, Told};

const PEOPLE: [&str; 2] = ["wang", "li"];
const BANKS: [&str; 2] = ["anhe", "mingyue"];
const HUB: [&str; 3] = ["aggregator", "notifier", "producer"];
const FAMILIES: [&str; 8] = ["query", "event", "request", "reply", "notice", "sms", "registry", "audit"];
const WITHIN: Duration = Duration::from_secs(120);

/// Runs commands on a system and keeps what they say.
struct Shown {
    folder: std::path::PathBuf,
    items: Vec<Item>,
}

impl Shown {
    /// Keeps what `words` say with one of the system's settings, as text and, where there is one, as a document.
    async fn by(&mut self, program: &str, settings: &str, words: &[&str]) {
        for form in [&[][..], &["--json"]] {
            let config = self.folder.join(settings);
            let args = [words, form, &["--config", text(&config)]].concat();
            self.run(program, &args).await;
        }
    }

    async fn run(&mut self, program: &str, args: &[&str]) {
        let mut process = ChildProcess::spawn(program, args, &[]);
        let exit = process.wait(WITHIN).await;
        let (told, beside) = (process.stdout(), process.stderr());
        assert_eq!(exit, 0, "{program} {args:?}: {told}{beside}");
        assert!(!told.is_empty() || !beside.is_empty(), "{program} {args:?} says nothing");
        self.items.push(Item::new(format!("{program} {}", args.join(" ")), told + &beside));
    }

    fn keep_files(&mut self, folder: &Path) {
        for file in std::fs::read_dir(folder).expect("a folder") {
            let path = file.expect("a file").path();
            if path.is_dir() {
                self.keep_files(&path);
            } else {
                self.items.push(Item::new(text(&path), std::fs::read(&path).expect("read")));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_log_metric_or_trace_shows_a_person_or_what_their_banks_said() {
    let collector = Collector::listen().await;
    let endpoint = format!("http://{}/v1/traces", collector.address);
    let env = [
        ("CARDQUERY__TELEMETRY__ENDPOINT".to_owned(), endpoint),
        ("RUST_LOG".to_owned(), "debug".to_owned()),
    ];
    let mut system = System::start(Setup { banks: BANKS.into(), env: env.into(), ..Setup::default() }).await;
    let mut queries = Vec::new();
    for person in PEOPLE {
        let query = system.ask(person).await;
        assert_eq!(system.ended(&query).await.state, "FINAL_ALL_ANSWERED");
        system.open(&query).await;
        queries.push(query.reference);
    }
    dead_letter(&mut system).await;
    let viewed = |log: &AuditLog, query| log.changes(query).iter().any(|change| change.kind() == "viewed");
    system.until_logged("the views", |log| queries.iter().all(|query| viewed(log, query))).await;
    let is_sms = |told: &Told| told.span.name == "send sms";
    let told =
        collector.hears(WITHIN, |told| told.iter().filter(|told| is_sms(told)).count() == PEOPLE.len()).await;

    let mut shown = Shown { folder: system.local.plan.folder.clone(), items: Vec::new() };
    let (operator, auditor, redrive) = ("operator.toml", "auditor.toml", "redrive.toml");
    let made = tempfile::tempdir().expect("a folder");
    let (log, evidence) = (made.path().join("log"), made.path().join("evidence"));
    for words in [
        &["bank", "ls"][..],
        &["bank", "show", BANKS[0]],
        &["bank", "pause", BANKS[0], "--reason", "a rehearsal"],
        &["topics", "plan"],
        &["doctor"],
    ] {
        shown.by("cardquery", operator, words).await;
    }
    shown.run("cardquery", &["top", "--once", "-c", text(&shown.folder.join(operator))]).await;
    shown.run("cardquery", &["top", "--json", "-c", text(&shown.folder.join(operator))]).await;
    for query in &queries {
        shown.by("cardquery", operator, &["query", "show", &query.to_string()]).await;
    }
    for family in FAMILIES {
        shown.by("cardquery", auditor, &["tap", family, "--from", "beginning"]).await;
    }
    for command in ["ls", "show", "redrive"] {
        shown.by("cardquery", redrive, &["dlq", command]).await;
    }
    shown.by("cardquery", auditor, &["audit", "replay", "--from-beginning"]).await;
    let config = shown.folder.join(auditor);
    let replay = ["audit", "replay", "--from-beginning", "--out", text(&evidence), "-c", text(&config)];
    shown.run("cardquery", &replay).await;
    shown.run("cardquery", &["audit", "export", "--out", text(&log), "-c", text(&config)]).await;
    let roots: Vec<String> =
        sample::keys::roots().iter().map(|root| hex::encode(root.to_wire().raw)).collect();
    shown.run("cardquery", &["audit", "verify", "--log", text(&log), "--roots", &roots.join(",")]).await;
    let proof = made.path().join("proof.json");
    let query = queries[0].to_string();
    let prove = ["audit", "prove", "--log", text(&log), "--query", &query, "--out", text(&proof)];
    shown.run("cardquery", &prove).await;
    shown.run("cardquery", &["audit", "check", "--proof", text(&proof), "--roots", &roots.join(",")]).await;
    shown.keep_files(made.path());
    for bank in BANKS {
        let config = shown.folder.join(format!("bank-{bank}.toml"));
        shown.run("bank-connector", &["doctor", "--config", text(&config)]).await;
    }
    for told in told {
        shown.items.push(Item::new(format!("a span of {}", told.service), format!("{:?}", told.span)));
    }
    for name in system.names().collect::<Vec<_>>() {
        shown.items.push(Item::new(format!("metrics of {name}"), system.metrics(&name).await));
        if HUB.contains(&name.as_str()) {
            let process = system.process(&name);
            let said = process.stdout() + &process.stderr();
            shown.items.push(Item::new(format!("log of {name}"), said));
        }
    }
    // At least so many that a command that says nothing any more is missed.
    assert!(shown.items.len() > 60, "{} items", shown.items.len());

    let scanner = Scanner::new(&inside(&system));
    let findings = scanner.scan(&shown.items);
    assert!(findings.is_empty(), "{} findings: {:#?}", findings.len(), &findings[..findings.len().min(20)]);
    let phone = &sample::core::people()[0].phone;
    assert!(!scanner.scan(&[Item::new("what it looks for", phone.clone())]).is_empty());
    system.finish();
}

/// What is inside the seals, and who asked.
fn inside(system: &System) -> Needles {
    let mut people = Needles::of_sample(system.local.plan.seed);
    for person in PEOPLE {
        people = people.with(Kind::Subject, format!("sample-{person}"));
    }
    people.with_sealed_words()
}

/// Half of a person's query, which nobody can read any more: it becomes a dead letter.
async fn dead_letter(system: &mut System) {
    let topic = system.local.topics().query(system.local.plan.upstream());
    let record = system.records(&topic).await.remove(0);
    let producer = Producer::new(&system.admin()).expect("a producer");
    let half = OutRecord {
        topic,
        key: record.key.map(|key| key.to_vec()),
        value: record.value[..record.value.len() / 2].to_vec(),
        headers: Vec::new(),
    };
    system.expect_dead_letters(1);
    producer.send(half).await.expect("the broker takes it");
    system.settle().await;
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
