//! The whole system as its users run it: services and banks as processes, on secured Kafka, PostgreSQL and Redis.

use std::time::Duration;

use cardquery::local::plan::Part;
use cardquery_tests::console_consumer::ConsoleRecord;
use cardquery_tests::process::ChildProcess;
use cardquery_tests::system::{Setup, System};
use plumbing::kafka::{KafkaConfig, OutRecord, Producer};
use prost::Message;
use schemas::acls::User;
use schemas::ids::{BankId, QueryId};
use schemas::wire::{self, BankOutcome, QueryState, event_record, sms_record};
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

const WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_query_through_real_processes_makes_one_report_and_exactly_one_sms() {
    let mut system = System::start(Setup::default()).await;
    let query = system.ask("wang").await;
    let status = system.ended(&query).await;
    assert_eq!((status.state.as_str(), status.answered, status.banks), ("FINAL_ALL_ANSWERED", 14, 14));

    let report = system.open(&query).await;
    assert_eq!(report.coverage.state, QueryState::FinalAllAnswered);
    assert_eq!(report.coverage.banks.len(), 14);
    for bank in &report.banks {
        assert_eq!((bank.outcome, bank.verified), (BankOutcome::Answered, Some(Ok(()))), "{}", bank.bank);
    }
    system.settle().await;

    let topics = system.local.topics();
    let id = query.reference.query;
    let sms = system.console(&User::Operator, &topics.sms());
    assert_eq!(sms_events(&sms, id), ["SmsClaimed", "SmsAccepted"]);
    assert_eq!(sms.len(), 2, "the only query of this system has the only SMS");
    let upstream = query.reference.upstream.clone();
    let events = system.console(&User::Upstream(upstream.clone()), &topics.event(&upstream));
    let ready = events.iter().filter(|record| is_report_ready(record)).count();
    assert_eq!(
        (ready, events.iter().filter(|record| record.key == id.to_string()).count()),
        (1, events.len())
    );
    system.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_drains_at_sigterm_and_what_it_had_taken_goes_on_when_it_is_back() {
    let mut system = System::start(Setup { banks: ["anhe", "beichuan"].into(), ..Setup::default() }).await;
    let mut queries = Vec::new();
    for name in ["producer", "aggregator", "notifier", "bank-anhe"] {
        for _ in 0..3 {
            queries.push(system.ask("wang").await);
        }
        assert_eq!(system.terminate(name).await, 0, "{name}");
        system.spawn(name);
        system.ready(name).await;
    }
    for query in &queries {
        assert_eq!(system.ended(query).await.state, "FINAL_ALL_ANSWERED");
        assert_eq!(system.open(query).await.coverage.banks.len(), 2);
    }
    system.settle().await;
    let sms = system.console(&User::Operator, &system.local.topics().sms());
    for query in &queries {
        let accepted = sms_events(&sms, query.reference.query);
        assert_eq!(accepted.iter().filter(|event| **event == "SmsAccepted").count(), 1, "{accepted:?}");
    }
    system.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_aggregator_had_taken_is_finished_by_another_one() {
    let mut system = System::start(Setup { banks: ["anhe", "beichuan"].into(), ..Setup::default() }).await;
    let other = system.start_another("aggregator").await;
    let mut queries = Vec::new();
    for _ in 0..6 {
        queries.push(system.ask("wang").await);
    }
    system.kill_9("aggregator");
    // The producer asks the first one for states and reports.
    system.spawn("aggregator");
    system.ready("aggregator").await;
    for query in &queries {
        assert_eq!(system.ended(query).await.state, "FINAL_ALL_ANSWERED");
    }
    assert_eq!(system.terminate(&other).await, 0);
    system.settle().await;
    let sms = system.console(&User::Operator, &system.local.topics().sms());
    let accepted = queries.iter().map(|query| {
        sms_events(&sms, query.reference.query).into_iter().filter(|event| *event == "SmsAccepted").count()
    });
    assert_eq!(accepted.collect::<Vec<_>>(), [1; 6]);
    system.finish();
}

/// The harness itself: a system that leaves something undone fails its test.
#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "1 dead letters")]
async fn a_system_that_leaves_a_dead_letter_behind_fails_its_test() {
    let system = System::start(Setup { banks: ["anhe"].into(), ..Setup::default() }).await;
    let bank: BankId = "anhe".parse().expect("an id");
    put_junk(&system, &User::Bank(bank.clone()), system.local.topics().reply(&bank)).await;
}

/// The harness itself: it sees what nobody works on, and that somebody does again.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_outbox_holds_and_what_a_group_has_not_read_are_left_until_the_services_are_back() {
    let mut system = System::start(Setup { banks: ["anhe"].into(), ..Setup::default() }).await;
    system.settle().await;
    assert_eq!(system.terminate("notifier").await, 0);
    assert_eq!(system.terminate("aggregator").await, 0);
    let url = system.local.database_url(&Part::Aggregator).expect("it has a database");
    let mut session = PgConnection::connect(url.expose_secret()).await.expect("connected");
    let row = "INSERT INTO outbox (upstream, query_id, kind, event) VALUES ('wallet', gen_random_uuid(), 'event', '')";
    sqlx::query(row).execute(&mut session).await.expect("inserted");
    let (notices, notifier) = (system.local.topics().notice(), system.local.topics().group("notifier"));
    put_junk(&system, &User::Aggregator, notices.clone()).await;

    let remains = system.remains().await;
    assert_eq!((remains.outbox, remains.dead_letters), (1, 0));
    let lag: Vec<_> = remains.lag.iter().map(|(group, topic, _, left)| (group, topic, *left)).collect();
    assert_eq!(lag, [(&notifier, &notices, 1)]);

    sqlx::query("DELETE FROM outbox").execute(&mut session).await.expect("deleted");
    session.close().await.expect("closed");
    system.expect_dead_letters(1);
    for name in ["notifier", "aggregator"] {
        system.spawn(name);
        system.ready(name).await;
    }
    system.settle().await;
    system.finish();
}

/// A record that nobody can read, in a topic that `user` may write.
async fn put_junk(system: &System, user: &User, topic: String) {
    let stack = &system.local.stack;
    let kafka = KafkaConfig {
        properties: stack.client(&user.to_string()).expect("its password"),
        ..KafkaConfig::new(&stack.brokers, "cardquery.test")
    };
    let junk = OutRecord { topic, key: None, value: b"junk".to_vec(), headers: Vec::new() };
    Producer::new(&kafka).expect("a producer").send(junk).await.expect("acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_runs_a_system_and_submits_a_query_with_two_commands() {
    let stack = std::env::var("CARDQUERY_STACK").expect("a stack: run `make test`");
    let mut run = ChildProcess::spawn("cardquery", &["run", "--stack", &stack, "--window", "20s"], &[]);
    run.wait_for_line("  ready ", WITHIN).await;

    let submit = async |args: &[&str]| {
        let args: Vec<&str> = ["submit", "--stack", &stack].iter().chain(args).copied().collect();
        let mut submit = ChildProcess::spawn("cardquery", &args, &[]);
        let code = submit.wait(WITHIN).await;
        (code, submit.stdout(), submit.stderr())
    };
    let (code, printed, said) = submit(&["--person", "wang", "--region", "310000", "--json"]).await;
    assert_eq!(code, 0, "{said}");
    let printed: Value = serde_json::from_str(&printed).expect("one document");
    assert_eq!(printed["state"], "FINAL_ALL_ANSWERED");
    assert_eq!(printed["coverage"].as_array().map(Vec::len), Some(14));
    assert_eq!(printed["sms"].as_array().map(Vec::len), Some(1), "the text of the file gateway");
    let events: Vec<&Value> =
        printed["sms_records"].as_array().expect("records").iter().map(|record| &record["event"]).collect();
    assert_eq!(events, ["SmsClaimed", "SmsAccepted"]);

    let (code, _, said) = submit(&["--person", "sun"]).await;
    assert_eq!(code, 65);
    assert!(said.contains("ASSURANCE_TOO_LOW"), "{said}");
    let again = ChildProcess::spawn("cardquery", &["run", "--stack", &stack], &[]).wait(WITHIN).await;
    assert_eq!(again, 75, "one system at a time");

    assert_eq!(run.terminate_and_wait(WITHIN).await, 0, "{}", run.stderr());
}

/// The SMS events of a query, in order.
fn sms_events(records: &[ConsoleRecord], query: QueryId) -> Vec<&'static str> {
    let own = records.iter().filter(|record| record.key == query.to_string());
    own.map(|record| {
        let sms = wire::SmsRecord::decode(record.value.as_slice()).expect("an SMS record");
        match sms.message.expect("a message") {
            sms_record::Message::Claimed(_) => "SmsClaimed",
            sms_record::Message::Accepted(_) => "SmsAccepted",
            sms_record::Message::Delivered(_) => "SmsDelivered",
            sms_record::Message::Failed(_) => "SmsFailed",
            sms_record::Message::Unknown(_) => "SmsUnknown",
        }
    })
    .collect()
}

fn is_report_ready(record: &ConsoleRecord) -> bool {
    let event = wire::EventRecord::decode(record.value.as_slice()).expect("an event");
    matches!(event.message, Some(event_record::Message::ReportReady(_)))
}
