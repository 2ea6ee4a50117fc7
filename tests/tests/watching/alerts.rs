//! The shipped alert rules on a real system: quiet, nothing fires; then each thing that people must hear of is done to it,
//! and its alert fires. Durations of the rules are shortened by one rule, see `cardquery_tests::prometheus::shortened`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use aggregator::store::{Clock as _, SystemClock};
use cardquery::demo::wallet::Submitted;
use cardquery::local::plan::Part;
use cardquery_tests::prometheus::Prometheus;
use cardquery_tests::system::{Setup, System};
use plumbing::kafka::{OutRecord, Producer};
use schemas::ids::{BankId, QueryId};
use schemas::time::UnixMillis;
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection};

use crate::gateway;

const WINDOW: Duration = Duration::from_secs(20);
/// A report that is final so long after its deadline is late.
const LATE: Duration = Duration::from_secs(61);
/// Scrapes in which nothing may fire: more than the shortened rules look at and wait for together.
const QUIET_SCRAPES: f64 = 75.0;
/// Longer than any shortened rule takes to fire.
const WITHIN: Duration = Duration::from_secs(150);
const SILENT: &str = "taihe";
const ANSWERS: [&str; 2] = ["anhe", "changning"];

fn setup() -> Setup {
    Setup {
        window: WINDOW,
        banks: [ANSWERS[0], ANSWERS[1], SILENT].into(),
        without: ["bank-taihe"].into(),
        ..Setup::default()
    }
}

/// Where the processes that run tell their metrics.
fn targets(system: &System) -> Vec<SocketAddr> {
    let running = system.local.services.iter().filter(|service| service.name != "bank-taihe");
    running.map(|service| service.admin).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_fires_in_a_quiet_system_and_what_is_alerted_on_is_there_from_the_start() {
    let system = System::start(setup()).await;
    let prometheus = Prometheus::start(&targets(&system)).await;
    for series in [
        "cardquery_deadline_missed_total",
        "cardquery_query_age_seconds",
        "cardquery_requests_total{bank=\"taihe\"}",
        "cardquery_replies_total{bank=\"taihe\",outcome=\"valid\"}",
        "cardquery_sms_total{outcome=\"unknown\"}",
        "cardquery_outbox_parked_rows",
        "cardquery_outbox_pending_rows",
        "cardquery_outbox_rows_total{outcome=\"published\"}",
        "sum(cardquery_offset_resets_total)",
        "sum(cardquery_commit_errors_total)",
    ] {
        let value = prometheus.value(series, WITHIN, |_| true).await;
        assert_eq!(value, 0.0, "{series}");
    }
    for _ in 0..3 {
        let query = system.ask_banks("wang", &ANSWERS).await;
        assert_eq!(system.ended(&query).await.state, "FINAL_ALL_ANSWERED");
    }
    let seen = "min(count_over_time(up[30m]))";
    prometheus.value(seen, 2 * WITHIN, |seen| seen >= QUIET_SCRAPES).await;
    // Whatever fired at any time.
    let fired = "count(max_over_time(ALERTS{alertstate=\"firing\"}[30m])) or vector(0)";
    let fired = prometheus.value(fired, WITHIN, |_| true).await;
    assert_eq!(fired, 0.0, "{:#?}", prometheus.alerts().await);
    system.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_must_hear_of_is_alerted_on() {
    let mut system = System::start(setup()).await;
    let prometheus = Prometheus::start(&targets(&system)).await;
    gateway::doubtful(&mut system).await;
    let zero = "cardquery_requests_total{bank=\"taihe\"}";
    prometheus.value(zero, WITHIN, |_| true).await;

    let silent = system.ask_banks("wang", &[ANSWERS[0], SILENT]).await;
    poison(&system, ANSWERS[1]).await;
    system.expect_dead_letters(1);
    prometheus.fires("CardqueryDeadLetters", &[], WITHIN).await;
    prometheus.fires("CardquerySilentBank", &[("bank", SILENT)], WITHIN).await;
    assert_eq!(system.ended(&silent).await.state, "FINAL_PARTIAL");
    prometheus.fires("CardquerySmsUnknown", &[], WITHIN).await;

    let late = system.ask_banks("li", &[ANSWERS[0], SILENT]).await;
    let deadline = accepted(&system, &late).await;
    assert_eq!(system.terminate("aggregator").await, 0);
    let down = system.local.services.iter().find(|service| service.name == "aggregator");
    let down = down.expect("it is there").admin.to_string();
    prometheus.fires("CardqueryServiceDown", &[("instance", &down)], WITHIN).await;
    until(deadline + LATE).await;
    system.spawn("aggregator");
    system.ready("aggregator").await;
    prometheus.fires("CardqueryDeadlineMissed", &[], WITHIN).await;
    assert_eq!(system.ended(&late).await.state, "FINAL_PARTIAL");
    system.settle().await;

    let url = system.local.database_url(&Part::Notifier).expect("it has a database");
    let mut session = PgConnection::connect(url.expose_secret()).await.expect("the stack's PostgreSQL");
    let mut stopped = session.begin().await.expect("begun");
    sqlx::query("LOCK TABLE sms IN ACCESS EXCLUSIVE MODE").execute(&mut *stopped).await.expect("locked");
    let waits = system.ask_banks("zhang", &ANSWERS).await;
    assert_eq!(system.ended(&waits).await.state, "FINAL_ALL_ANSWERED");
    let group = system.local.topics().group("notifier");
    prometheus.fires("CardqueryConsumerLag", &[("role", &group)], WITHIN).await;
    stopped.rollback().await.expect("ended");

    let firing: BTreeSet<String> = prometheus.firing().await;
    assert!(!firing.contains("CardqueryServiceDown"), "it is up again: {firing:?}");
    system.finish();
}

/// A record that is nobody's word, in a bank's own reply topic.
async fn poison(system: &System, bank: &str) {
    let bank: BankId = bank.parse().expect("an id");
    let record = OutRecord {
        topic: system.local.topics().reply(&bank),
        key: Some(QueryId::generate().to_string().into_bytes()),
        value: b"no reply".to_vec(),
        headers: Vec::new(),
    };
    Producer::new(&system.admin()).expect("a client").send(record).await.expect("acknowledged");
}

/// Waits until a query is registered, and returns its deadline.
async fn accepted(system: &System, query: &Submitted) -> UnixMillis {
    system.asker().answered(query, 1).await;
    SystemClock.now() + WINDOW
}

/// Waits until `at`: what is tested is that the hub was away at that time.
async fn until(at: UnixMillis) {
    while SystemClock.now() < at {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
