//! A bank joins while queries are open.

use std::time::{Duration, Instant};

use cardquery_tests::system::{Setup, System};
use futures::StreamExt;
use schemas::acls::User;
use schemas::ids::BankId;
use schemas::wire::BankOutcome;
use tokio_util::sync::CancellationToken;

use crate::{accepted_sms, one_each};

const OPEN: usize = 500;
const AT_A_TIME: usize = 8;
/// Its connector starts last, so that every query that asks it stays open until then.
const LATE: &str = "taihe";

#[tokio::test(flavor = "multi_thread")]
async fn a_fifteenth_bank_joins_while_five_hundred_queries_are_open_and_nobody_is_restarted() {
    let late = "bank-taihe";
    let setup = Setup { window: Duration::from_secs(900), without: [late].into(), ..Setup::default() };
    let mut system = System::start(setup).await;
    let processes: Vec<u32> = running(&mut system, late);
    let asked = futures::stream::iter(0..OPEN).map(|_| system.ask_banks("wang", &["anhe", LATE]));
    let mut queries: Vec<_> = asked.buffer_unordered(AT_A_TIME).collect().await;

    // What waits in front of the aggregator would look like a pause.
    let answered = futures::stream::iter(&queries).map(|query| system.answered(query, 1));
    answered.buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await;

    let bank: BankId = "qinglan".parse().expect("an id");
    let (wallet, joined) = (system.asker(), CancellationToken::new());
    let traffic = tokio::spawn({
        let joined = joined.clone();
        async move {
            let (mut queries, mut slowest) = (Vec::new(), Duration::ZERO);
            while !joined.is_cancelled() {
                let begun = Instant::now();
                let query = wallet.ask("li", &["anhe", "beichuan"]).await;
                wallet.ended(&query).await;
                slowest = slowest.max(begun.elapsed());
                queries.push(query);
            }
            (queries, slowest)
        }
    });
    system.join(&bank, "anhe").await;
    let first = system.ask_banks("wang", &[bank.as_str(), "beichuan"]).await;
    assert_eq!(system.ended(&first).await.state, "FINAL_ALL_ANSWERED");
    joined.cancel();
    let (others, slowest) = traffic.await.expect("every query in between was answered");
    report_pause(others.len(), slowest);
    queries.push(first);
    queries.extend(others);

    assert_eq!(running(&mut system, late), processes, "nobody was restarted");
    system.spawn(late);
    system.ready(late).await;
    for query in &queries {
        assert_eq!(system.ended(query).await.state, "FINAL_ALL_ANSWERED");
    }
    let report = system.open(&queries[OPEN]).await;
    let said = report.banks.iter().find(|said| said.bank == bank).expect("the new bank is in the report");
    assert_eq!((said.outcome, said.verified), (BankOutcome::Answered, Some(Ok(()))));
    system.settle().await;

    let ids: Vec<_> = queries.iter().map(|query| query.reference.query).collect();
    let sms = system.console(&User::Operator, &system.local.topics().sms());
    assert_eq!(accepted_sms(&sms), one_each(ids.iter()));
    let upstream = system.local.plan.upstream().clone();
    let events = system.console(&User::Upstream(upstream.clone()), &system.local.topics().event(&upstream));
    assert_eq!(crate::reports_ready(&events), one_each(ids.iter()), "one report each");
    system.finish();
}

/// The ids of all processes that ran before the bank joined, but for the late one.
fn running(system: &mut System, late: &str) -> Vec<u32> {
    let names: Vec<String> = system.names().filter(|name| name != late && name != "bank-qinglan").collect();
    names.iter().map(|name| system.process(name).id()).collect()
}

#[expect(clippy::print_stderr, reason = "a figure for people, and no verdict")]
fn report_pause(queries: usize, slowest: Duration) {
    eprintln!("while the bank joined: {queries} queries one after the other, the slowest took {slowest:?}");
}
