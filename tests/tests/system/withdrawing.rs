//! A person withdraws the consent, at every moment of a query.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aggregator::store::{Clock as _, SystemClock};
use cardquery::local::plan::Part;
use cardquery::sample;
use cardquery_tests::attacker::eventually;
use cardquery_tests::system::{Front, Planned, Setup, System};
use prost::Message as _;
use schemas::acls::User;
use schemas::http::QueryStatus;
use schemas::ids::BankId;
use schemas::wire::{self, event_record, request_record};
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};

use crate::accepted_sms;

/// Long enough that no deadline ends a query here.
const WINDOW: Duration = Duration::from_secs(3_600);
const QUICK: &str = "anhe";
/// Its connector starts when everything is withdrawn.
const LATE: &str = "taihe";

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_before_the_query_and_before_during_and_after_collection_leaves_no_report() {
    let late = "bank-taihe";
    let setup =
        Setup { banks: [QUICK, LATE].into(), window: WINDOW, without: [late].into(), ..Setup::default() };
    let mut system = System::start(setup).await;
    let front = system.front();
    let plan = |person: &str, banks: &[&str]| {
        let people = sample::core::people();
        let person = people.iter().find(|known| known.key == person).expect("a sample person");
        front.plan(&person.into(), banks, SystemClock.now())
    };

    // The withdrawal is in the topic before the query.
    let first = plan("wang", &[QUICK, LATE]);
    front.withdraw(first.reference.query).await;
    front.send(&first).await;
    reaches(&front, &first, |status| status.state == "WITHDRAWN").await;

    // Both are in the topic before anybody reads it.
    assert_eq!(system.terminate("aggregator").await, 0);
    let before = plan("li", &[QUICK, LATE]);
    front.send(&before).await;
    front.withdraw(before.reference.query).await;
    system.spawn("aggregator");
    system.ready("aggregator").await;
    reaches(&front, &before, |status| status.state == "WITHDRAWN").await;

    let during = plan("zhang", &[QUICK, LATE]);
    front.send(&during).await;
    reaches(&front, &during, |status| status.answered == 1).await;
    front.withdraw(during.reference.query).await;
    reaches(&front, &during, |status| status.state == "WITHDRAWN").await;

    let after = plan("chen", &[QUICK]);
    front.send(&after).await;
    reaches(&front, &after, |status| status.state == "FINAL_ALL_ANSWERED").await;
    assert_eq!(front.view_own(&after, SystemClock.now()).await.status, 200);
    system.settle().await;
    front.withdraw(after.reference.query).await;
    reaches(&front, &after, |status| status.state == "WITHDRAWN").await;

    // What was asked of the late bank is there, and so is the word that it is void.
    system.spawn(late);
    system.ready(late).await;
    system.settle().await;

    let queries = [&first, &before, &during, &after];
    for query in queries {
        let view = front.view_own(query, SystemClock.now()).await;
        assert_eq!((view.status, view.code().as_str()), (410, "QUERY_WITHDRAWN"));
    }
    let url = system.local.database_url(&Part::Aggregator).expect("it has a database");
    let mut session = PgConnection::connect(url.expose_secret()).await.expect("connected");
    for table in ["segment", "coverage", "contact", "pair"] {
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
        let rows: i64 = rows.fetch_one(&mut session).await.expect("read");
        assert_eq!(rows, 0, "{table}");
    }
    session.close().await.expect("closed");

    let [first, before, during, after] = queries.map(|query| query.reference.query.to_string());
    let asked = Asked::of(&system, QUICK).await;
    assert_eq!(asked.requests.get(&first), None, "nobody is asked for it");
    assert_eq!(asked.void, asked.requests.keys().filter(|query| **query != after).cloned().collect());
    let asked = Asked::of(&system, LATE).await;
    assert_eq!(asked.requests.get(&first), None, "nobody is asked for it");
    assert!(asked.requests.contains_key(&during));
    assert_eq!(asked.void, asked.requests.keys().cloned().collect(), "each request is taken back");
    let bank: BankId = LATE.parse().expect("an id");
    let replies = system.records(&system.local.topics().reply(&bank)).await;
    assert_eq!(replies.len(), 0, "the late bank says nothing of a query that was withdrawn");

    let sms = system.console(&User::Operator, &system.local.topics().sms());
    assert_eq!(accepted_sms(&sms), BTreeMap::from([(after.clone(), 1)]));
    let told = told(&system).await;
    assert_eq!(told[&first], ["withdrawn"]);
    assert!(told[&before].ends_with(&["withdrawn"]) && !told[&before].contains(&"ready"), "{told:?}");
    assert_eq!(told[&during], ["accepted", "withdrawn"]);
    assert_eq!(told[&after], ["accepted", "ready", "viewed", "withdrawn"]);
    system.finish();
}

async fn reaches(front: &Front, query: &Planned, there: impl Fn(&QueryStatus) -> bool) {
    let id = query.reference.query;
    eventually("a state", async || {
        let answer = front.status(id).await;
        (answer.status == 200 && there(&answer.query_status())).then_some(())
    })
    .await;
}

/// What a bank's request topic holds.
struct Asked {
    /// Requests per query.
    requests: BTreeMap<String, usize>,
    /// Queries whose request was taken back behind it.
    void: BTreeSet<String>,
}

impl Asked {
    async fn of(system: &System, bank: &str) -> Self {
        let topic = system.local.topics().request(&bank.parse().expect("an id"));
        let mut asked = Self { requests: BTreeMap::new(), void: BTreeSet::new() };
        for record in system.records(&topic).await {
            let query = String::from_utf8(record.key.expect("a key").to_vec()).expect("a text");
            let request = wire::RequestRecord::decode(record.value).expect("a request");
            match request.message.expect("a message") {
                request_record::Message::Request(_) => *asked.requests.entry(query).or_default() += 1,
                request_record::Message::Cancelled(_) => {
                    assert!(asked.requests.contains_key(&query), "nothing to be taken back");
                    asked.void.insert(query);
                }
            }
        }
        asked
    }
}

/// What the upstream was told, by query.
async fn told(system: &System) -> BTreeMap<String, Vec<&'static str>> {
    let mut told: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for record in system.records(&system.local.topics().event(system.local.plan.upstream())).await {
        let query = String::from_utf8(record.key.expect("a key").to_vec()).expect("a text");
        let event = wire::EventRecord::decode(record.value).expect("an event");
        told.entry(query).or_default().push(match event.message.expect("a message") {
            event_record::Message::Accepted(_) => "accepted",
            event_record::Message::Rejected(_) => "rejected",
            event_record::Message::Held(_) => "held",
            event_record::Message::Cancelled(_) => "cancelled",
            event_record::Message::ReportReady(_) => "ready",
            event_record::Message::Viewed(_) => "viewed",
            event_record::Message::Withdrawn(_) => "withdrawn",
            event_record::Message::Erased(_) => "erased",
        });
    }
    told
}
