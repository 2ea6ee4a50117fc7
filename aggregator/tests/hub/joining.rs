//! A bank joins while the hub runs.

use schemas::codes::Code;
use schemas::wire::{PartyKind, PartyState, event_record::Message};

use crate::parties::{Query, REGION};
use crate::stand::{DAY, Stand, broker};

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_joins_the_registry_is_asked_and_heard_without_a_restart() {
    let cluster = broker();
    let stand = Stand::new(&cluster, DAY).await;
    let hub = stand.start().await;
    let early = Query::of(&["omega"]);
    stand.submit(&early).await;
    let told = stand.until_told(&early, &["rejected"]).await.remove(0);
    let Message::Rejected(rejected) = &told.message else { panic!("{told:?}") };
    assert_eq!(rejected.code, Code::BANK_UNKNOWN.as_str());
    let running = Query::of(&["alpha"]);
    stand.submit(&running).await;
    stand.until_asked(&running, "alpha", 1).await;

    stand.register(PartyKind::Bank, "omega", PartyState::Active, REGION).await;
    let query = Query::of(&["alpha", "omega"]);
    stand.submit(&query).await;
    stand.until_asked(&query, "omega", 1).await;
    stand.reply(&query, "omega", query.answer("omega")).await;
    stand.reply(&query, "alpha", query.answer("alpha")).await;
    stand.reply(&running, "alpha", running.answer("alpha")).await;
    hub.until_state(&query, "FINAL_ALL_ANSWERED").await;
    hub.until_state(&running, "FINAL_ALL_ANSWERED").await;
    assert!(query.open(&hub.report(&query).await).complete);
    hub.stop().await;
}
