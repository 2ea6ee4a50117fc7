//! A query under pressure, through the whole system: held, thought about, released, answered.

use std::collections::BTreeSet;
use std::time::Duration;

use cardquery::demo::wallet::{Wallet, WalletError};
use cardquery::demo::world::{Plan, World};
use cardquery::sample;
use cardquery_tests::attacker::eventually;
use producer::wallet::no_risk;
use schemas::http::QueryStatus;
use schemas::time::UnixMillis;
use schemas::wire::{Pretext, QueryState, RiskSignals};

const REGION: &str = "310000";

fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

fn code(refused: Result<(), WalletError>) -> String {
    match refused {
        Err(WalletError::Refused(problem)) => problem.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_was_told_to_ask_waits_and_gets_their_report_after_the_release() {
    // The 24 hours are 36 s here, and the two hours to think 3 s.
    let mut world = World::start(&Plan { window: Duration::from_secs(36), ..Plan::new() })
        .await
        .expect("the world starts");
    let wallet = Wallet::new(world.upstream.clone(), world.producer);
    let sample = sample::core::people().into_iter().find(|person| person.real_name).expect("a person");
    let person = (&sample).into();
    let banks: BTreeSet<String> = ["anhe", "beichuan"].map(str::to_owned).into();
    let risk = RiskSignals { pretext: Pretext::SecurityVerification.into(), ..RiskSignals::default() };
    let submitted = wallet.submit_seen(&person, true, REGION, &banks, risk, now()).await;
    let mut query = submitted.expect("the query is taken");
    let reaches = async |query: &_, state: &str| -> QueryStatus {
        eventually(state, async || wallet.status(query).await.ok().filter(|status| status.state == state))
            .await
    };
    let held = reaches(&query, "HELD").await;
    assert_eq!((held.code.as_deref(), held.answered), (Some("HELD_FOR_RISK"), 0));
    let from = held.hold.map(|hold| hold.release_from).expect("a held query says until when");
    let from = UnixMillis::parse(&from).expect("a time");
    assert_eq!(code(wallet.release(&mut query, &person, no_risk(), now()).await), "HOLD_NOT_OVER");

    // The broker's clock is this machine's.
    eventually("the end of the time to think", async || (now() > from).then_some(())).await;
    let shared = RiskSignals { screen_shared: true, ..no_risk() };
    wallet.release(&mut query, &person, shared, now()).await.expect("it is published");
    let still = eventually("the refused release", async || {
        let status = wallet.status(&query).await.ok()?;
        let hold = status.hold.clone()?;
        (UnixMillis::parse(&hold.release_from)? > from).then_some(status)
    });
    let still = still.await;
    assert_eq!((still.state.as_str(), still.code.as_deref()), ("HELD", Some("HELD_FOR_RISK")));
    let from = still.hold.and_then(|hold| UnixMillis::parse(&hold.release_from)).expect("a time");

    eventually("the end of the time to think", async || (now() > from).then_some(())).await;
    wallet.release(&mut query, &person, no_risk(), now()).await.expect("it is published");
    reaches(&query, "FINAL_ALL_ANSWERED").await;
    let report = wallet.fetch(&query, now()).await.expect("the report is shown");
    let report = wallet.open(&query, report).expect("what answers the release opens");
    assert_eq!(report.coverage.state, QueryState::FinalAllAnswered);
    assert!(world.inbox.recv().await.is_some(), "the SMS");
    assert_eq!(code(wallet.release(&mut query, &person, no_risk(), now()).await), "NOT_HELD");
    world.stop().await;
}
