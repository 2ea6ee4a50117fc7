//! Forgeries against the whole system: every one is refused with its own code, and what is honest goes on as if
//! nobody had tried.
//!
//! | file | who attacks |
//! |---|---|
//! | `replies.rs` | an insider in the banks' reply topics |
//! | `views.rs` | whoever wants to read a report, or had its consent withdrawn |
//! | `consents.rs` | an insider with a captured consent, up to the hub itself |
//! | `cross_use.rs` | signatures used for what they were not made for |
//! | `input.rs` | bad input over HTTP |

mod consents;
mod cross_use;
mod input;
mod replies;
mod stage;
mod views;

use std::collections::BTreeSet;
use std::time::Duration;

use cardquery::demo::world::Plan;
use cardquery_tests::attacker::Lookups;

use self::stage::{Stage, bank_ids};

/// Long enough that nothing here ends because time is over.
const WINDOW: Duration = Duration::from_secs(120);

/// Every bank is played by hand, so that each honest answer comes after the forgeries of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_replies_and_foreign_grants_change_nothing_that_a_person_sees() {
    let silent = bank_ids();
    let mut stage = Stage::start(Plan { window: WINDOW, silent, ..Plan::new() }).await;
    let other = stage.ask("li", replies::banks()).await;
    let query = replies::forgeries_are_refused_and_the_honest_reply_behind_them_counts(&stage, &other).await;
    views::a_report_is_only_for_its_own_device_person_and_grant(&mut stage, &query).await;
    views::a_withdrawn_query_takes_no_reply_and_sends_no_sms(&mut stage, &other).await;
    // The forger looked once, and the one good grant was shown twice.
    views::a_withdrawn_report_is_gone(&stage, &query, 2).await;
    stage.world.stop().await;
}

/// Two banks answer by themselves, and their lookups are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_captured_consent_a_signature_of_another_kind_and_bad_input_are_refused_each_with_its_code() {
    let live: BTreeSet<_> = bank_ids().into_iter().take(2).collect();
    let silent = bank_ids().difference(&live).cloned().collect();
    let lookups = Lookups::default();
    let plan = Plan { window: WINDOW, silent, wrap: Some(lookups.wrap()), ..Plan::new() };
    let stage = Stage::start(plan).await;
    let query = stage.ask("wang", live.clone()).await;
    let before = stage.finalised(&query).await;
    consents::a_captured_consent_serves_no_other_query(&stage, &query).await;
    consents::a_hostile_hub_gets_no_lookup(&stage, &query, &lookups).await;
    cross_use::a_signature_of_another_kind_is_refused(&stage, &query, &lookups).await;
    input::bad_input_is_refused_and_changes_nothing(&stage, &query, live).await;
    assert_eq!(stage.status(&query).await, before, "the first query is as it was");
    let opened = stage.open(&query).await;
    assert!(opened.complete, "the honest report is whole");
    stage.world.stop().await;
}
