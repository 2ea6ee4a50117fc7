//! The demo as a user runs it: `cardquery demo …`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cardquery::demo::wallet::{Wallet, WalletError};
use cardquery::demo::world::{Plan, World};
use cardquery::sample;
use cardquery_tests::process::ChildProcess;
use jiff::Timestamp;
use plumbing::kafka::read_to_end;
use schemas::time::UnixMillis;
use serde_json::Value;

/// Far more than any run needs: a window of 20 s, and seconds to start and stop.
const WITHIN: Duration = Duration::from_secs(180);
/// A broker that is not there is no reason to wait long.
const UNREACHABLE_WITHIN: Duration = Duration::from_secs(25);

/// What a run left behind.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn demo(args: &[&str]) -> Run {
    demo_within(args, WITHIN).await
}

async fn demo_within(args: &[&str], within: Duration) -> Run {
    let args: Vec<&str> = ["demo"].into_iter().chain(args.iter().copied()).collect();
    let mut process = ChildProcess::spawn("cardquery", &args, &[]);
    let code = process.wait(within).await;
    Run { code, stdout: process.stdout(), stderr: process.stderr() }
}

/// Runs with `--json`: the whole of standard output is one document.
async fn document(args: &[&str]) -> (Value, Run) {
    let args: Vec<&str> = ["--json"].into_iter().chain(args.iter().copied()).collect();
    let run = demo(&args).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let document = serde_json::from_str(&run.stdout);
    (document.unwrap_or_else(|error| panic!("{error}: {}", run.stdout)), run)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("`{name}` is a list in {value}"))
}

fn time(document: &Value, name: &str) -> Timestamp {
    let text = document[name].as_str().unwrap_or_else(|| panic!("`{name}` is a text in {document}"));
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn cards(document: &Value) -> Vec<&Value> {
    list(&document["report"], "banks").iter().flat_map(|bank| list(bank, "cards")).collect()
}

fn longest_digit_run(text: &str) -> usize {
    text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or_default()
}

#[tokio::test]
async fn a_bank_that_is_down_and_a_silent_one_leave_a_partial_report_at_the_deadline() {
    let (document, run) = document(&["--seed", "7"]).await;

    let coverage = list(&document, "coverage");
    assert_eq!(coverage.len(), 14);
    let of = |outcome: &str| -> Vec<&str> {
        let banks = coverage.iter().filter(|bank| bank["outcome"] == outcome);
        banks.filter_map(|bank| bank["bank_id"].as_str()).collect()
    };
    assert_eq!(of("ANSWERED").len(), 12, "{coverage:?}");
    assert_eq!((of("UNAVAILABLE"), of("NO_REPLY")), (vec!["yunhe"], vec!["taihe"]));
    assert_eq!(document["state"], "FINAL_PARTIAL");
    assert_eq!(document["complete"], false);
    assert!(time(&document, "finalised_at") >= time(&document, "deadline_at"), "{document}");
    assert!(time(&document, "deadline_at") > time(&document, "accepted_at"), "{document}");

    let sms = list(&document, "sms");
    assert_eq!(sms.len(), 1, "{sms:?}");
    assert_eq!(sms[0]["to_masked"], "138****0001");
    let text = sms[0]["text"].as_str().expect("a text");
    assert!(text.contains("14") && text.contains("12"), "{text}");

    let banks = list(&document["report"], "banks");
    assert_eq!(banks.len(), 12);
    assert!(banks.iter().all(|bank| bank["signature_valid"] == true), "{banks:?}");
    let counts = banks.iter().map(|bank| (bank["card_count"].as_u64(), list(bank, "cards").len() as u64));
    assert!(counts.into_iter().all(|(said, there)| said == Some(there)), "{banks:?}");

    let cards = cards(&document);
    let of_kinds = |kinds: &[&str]| {
        cards.iter().filter(|card| card["kind"].as_str().is_some_and(|kind| kinds.contains(&kind))).count()
    };
    let summary = &document["summary"];
    assert!(!cards.is_empty());
    assert_eq!(summary["cards"], cards.len());
    assert_eq!(summary["banks"], banks.iter().filter(|bank| !list(bank, "cards").is_empty()).count());
    assert_eq!(summary["debit"], of_kinds(&["DEBIT"]));
    assert_eq!(summary["credit"], of_kinds(&["CREDIT", "QUASI_CREDIT", "DEBIT_CREDIT"]));

    for part in ["report", "sms"] {
        let text = document[part].to_string();
        assert!(longest_digit_run(&text) < 9, "nine digits in {text}");
    }
    // The rule above must be one that bites.
    assert_eq!(longest_digit_run(&format!("{}6299010000000000018", document["report"])), 19);

    assert!(
        run.stderr.starts_with("cardquery ") && run.stderr.contains("in-process, not durable"),
        "{}",
        run.stderr
    );
    for label in ["broker", "query", "banks", "report", "SMS"] {
        assert!(
            run.stderr.lines().any(|line| line.trim_start().starts_with(label)),
            "{label}: {}",
            run.stderr
        );
    }
}

#[tokio::test]
async fn when_everybody_answers_nobody_waits_for_the_deadline_and_the_seed_decides_the_cards() {
    let quick = ["--window", "6s", "--without", "down,silent"];
    let (first, _) = document(&quick).await;
    assert_eq!(first["state"], "FINAL_ALL_ANSWERED");
    assert!(time(&first, "finalised_at") < time(&first, "deadline_at"), "{first}");
    assert!(list(&first, "coverage").iter().all(|bank| bank["outcome"] == "ANSWERED"), "{first}");
    // Not every answer is about cards.
    assert_eq!(first["complete"], false);

    let with_seed = async |seed| document(&[&quick[..], &["--seed", seed]].concat()).await.0;
    let (same, other) = (with_seed("7").await, with_seed("8").await);
    assert_eq!(cards(&first), cards(&same));
    assert_ne!(first["query_id"], same["query_id"]);
    assert_ne!(cards(&first), cards(&other));
    assert_eq!(first["summary"], other["summary"]);
}

#[tokio::test]
async fn a_person_without_cards_gets_fourteen_signed_answers_that_say_so() {
    let (document, _) = document(&["--person", "li", "--without", "down,silent"]).await;
    let banks = list(&document["report"], "banks");
    assert_eq!(banks.len(), 14);
    assert!(
        banks.iter().all(|bank| bank["answer"] == "NO_CARDS" && bank["signature_valid"] == true),
        "{banks:?}"
    );
    assert!(cards(&document).is_empty());
    assert_eq!(document["complete"], true);
    assert_eq!(document["summary"]["cards"], 0);
}

#[tokio::test]
async fn a_plain_run_prints_a_table_for_people() {
    let region = "530000";
    let run = demo(&["--region", region, "--window", "6s"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);

    let banks: Vec<_> = sample::registry::sample()
        .banks
        .into_iter()
        .filter(|bank| bank.regions.iter().any(|r| r == region))
        .collect();
    assert_eq!(banks.len(), 12);
    for bank in &banks {
        let line = run
            .stdout
            .lines()
            .find(|line| line.contains(&bank.name.zh_cn) || line.contains(bank.id.as_str()));
        assert!(line.is_some(), "{} is missing in {}", bank.id, run.stdout);
    }
    assert!(run.stdout.contains("NOT complete"), "{}", run.stdout);
    assert!(
        run.stdout.lines().any(|line| line.contains("云禾样例银行") && line.contains("unavailable")),
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains("太和样例银行"), "taihe is not in this region: {}", run.stdout);
    assert!(
        run.stderr.lines().any(|line| line.contains("SMS") && line.contains("138****0001")),
        "{}",
        run.stderr
    );
    assert!(longest_digit_run(&run.stdout) < 9, "{}", run.stdout);
}

#[tokio::test]
async fn what_is_refused_is_refused_by_code_and_exit_code() {
    for (args, code) in [
        (["--region", "440000"], "REGION_NOT_OPEN"),
        (["--banks", "nosuch"], "BANK_UNKNOWN"),
        (["--person", "sun"], "ASSURANCE_TOO_LOW"),
    ] {
        let run = demo(&args).await;
        assert_eq!(run.code, 65, "{args:?}: {}", run.stderr);
        assert!(
            run.stderr.lines().any(|line| line.starts_with(&format!("cardquery: {code}:"))),
            "{}",
            run.stderr
        );
        assert_eq!(run.stdout, "", "{args:?}");
    }
    let run = demo(&["--person", "nobody"]).await;
    assert_eq!(run.code, 65, "{}", run.stderr);
    assert!(run.stderr.contains("nobody"), "{}", run.stderr);
    assert_eq!(run.stdout, "");
}

#[tokio::test]
async fn a_wrong_command_line_is_64() {
    for args in [["--no-such-flag", "1"], ["--window", "4s"], ["--without", "everybody"], ["--seed", "seven"]]
    {
        let run = demo(&args).await;
        assert_eq!(run.code, 64, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains("error:") && run.stdout.is_empty(), "{args:?}: {}", run.stderr);
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_69_and_soon_said() {
    let run = demo_within(&["--brokers", "127.0.0.1:1"], UNREACHABLE_WITHIN).await;
    assert_eq!(run.code, 69, "{}", run.stderr);
    assert!(run.stderr.contains("127.0.0.1:1 does not answer"), "{}", run.stderr);
    assert_eq!(run.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_of_a_query_that_is_refused() {
    let plan = Plan::new();
    let world = World::start(&plan).await.expect("the world starts");
    let wallet = Wallet::new(world.upstream.clone(), world.producer);
    let people = sample::core::people();
    let person = |key: &str| people.iter().find(|person| person.key == key).expect("a sample person");
    let banks: BTreeSet<String> = ["anhe".to_owned()].into();
    let submit = async |key: &str, region: &str, banks: &BTreeSet<String>| {
        let person = person(key);
        wallet.submit(&person.into(), person.real_name, region, banks, now()).await
    };
    let refused = async |key: &str, region: &str, banks: &BTreeSet<String>| match submit(key, region, banks)
        .await
        .err()
        .expect("it is refused")
    {
        WalletError::Refused(problem) => problem.code,
        other @ (WalletError::Http(_) | WalletError::Person(_) | WalletError::Report(_)) => panic!("{other}"),
    };
    assert_eq!(refused("wang", "440000", &banks).await, "REGION_NOT_OPEN");
    assert_eq!(refused("wang", "310000", &["nosuch".to_owned()].into()).await, "BANK_UNKNOWN");
    assert_eq!(refused("sun", "310000", &banks).await, "ASSURANCE_TOO_LOW");
    assert_eq!(queries(&world).await, 0);

    // The count sees what is published.
    submit("wang", "310000", &banks).await.expect("it is accepted");
    assert_eq!(queries(&world).await, 1);
    world.stop().await;
}

fn now() -> UnixMillis {
    UnixMillis(Timestamp::now().as_millisecond())
}

/// Records in the query topic. The producer answers only after the broker has acknowledged.
async fn queries(world: &World) -> usize {
    let read = Arc::new(Mutex::new(0));
    let count = Arc::clone(&read);
    let each = move |_| *count.lock().expect("not poisoned") += 1;
    let topic = world.topics.query(&world.upstream);
    read_to_end(&world.kafka("cardquery.tap"), &[topic], each).await.expect("the topic is read");
    *read.lock().expect("not poisoned")
}
