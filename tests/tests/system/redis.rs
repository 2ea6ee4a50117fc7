//! Redis makes things faster and refuses sooner, never righter.

use std::collections::BTreeMap;

use cardquery_tests::redis_server::RedisServer;
use cardquery_tests::system::{Setup, System};
use futures::StreamExt;
use schemas::ids::{BankId, QueryId};
use schemas::wire::{Answer, BankOutcome, QueryState};
use tokio::sync::watch;

use crate::{accepted_sms, one_each};

const QUERIES: usize = 1_000;
const AT_A_TIME: usize = 16;
const PEOPLE: [&str; 4] = ["wang", "li", "zhang", "chen"];

/// What a person is told.
#[derive(Debug, PartialEq)]
struct Told {
    state: QueryState,
    banks: BTreeMap<BankId, (BankOutcome, Option<Answer>)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_flushed_and_then_killed_during_a_thousand_queries_changes_no_report_and_sends_no_second_sms() {
    let mut redis = RedisServer::start().await;
    let setup = Setup {
        banks: ["anhe", "beichuan"].into(),
        redis: Some(redis.url()),
        window: std::time::Duration::from_secs(600),
        ..Setup::default()
    };
    let mut system = System::start(setup).await;
    let mut expected = BTreeMap::new();
    let mut ids = Vec::new();
    for person in PEOPLE {
        let (id, told) = ask(&system, person).await;
        ids.push(id);
        expected.insert(person, told);
    }
    let keys: i64 = redis.ask(&["DBSIZE"]).await;
    assert!(keys > 0, "the aggregator uses this Redis");

    let (finished, mut count) = watch::channel(0);
    let queries = async {
        let people = PEOPLE.iter().cycle().take(QUERIES);
        let asked = futures::stream::iter(people).map(async |person| {
            let (id, told) = ask(&system, person).await;
            finished.send_modify(|count| *count += 1);
            (*person, id, told)
        });
        asked.buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await
    };
    let losses = async {
        for part in 1..=3 {
            count.wait_for(|count| *count >= QUERIES / 5 * part).await.expect("queries run");
            redis.ask::<()>(&["FLUSHALL"]).await;
        }
        count.wait_for(|count| *count >= QUERIES / 5 * 4).await.expect("queries run");
        redis.kill();
    };
    let (told, ()) = tokio::join!(queries, losses);

    for (person, id, told) in told {
        assert_eq!(told, expected[person], "{person}");
        ids.push(id);
    }
    system.settle().await;
    let sms = system.console(&schemas::acls::User::Operator, &system.local.topics().sms());
    assert_eq!(accepted_sms(&sms), one_each(ids.iter()));
    system.finish();
}

async fn ask(system: &System, person: &str) -> (QueryId, Told) {
    let query = system.ask(person).await;
    system.ended(&query).await;
    let report = system.open(&query).await;
    let banks = report.banks.into_iter().map(|bank| (bank.bank, (bank.outcome, bank.answer)));
    (query.reference.query, Told { state: report.coverage.state, banks: banks.collect() })
}
