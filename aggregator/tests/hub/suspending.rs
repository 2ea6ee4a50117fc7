//! A bank or an upstream is suspended, comes back, leaves, while the hub runs.

use std::time::Duration;

use schemas::codes::Code;
use schemas::wire::{BankOutcome, PartyKind, PartyState};

use crate::parties::{Query, REGION, signing_key, upstream};
use crate::stand::{DAY, Hub, Stand, Window, broker, soon};

/// Returns when a query like `probe` is rejected with `code`: the hub has read the registry until then.
async fn until_rejected(stand: &Stand, hub: &Hub, code: Code, probe: impl Fn() -> Query) {
    soon(code.as_str(), async {
        loop {
            let probe = probe();
            stand.submit(&probe).await;
            let status = hub.until_known(&probe).await;
            if status.state == "REJECTED" {
                assert_eq!(status.code.as_deref(), Some(code.as_str()));
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_is_suspended_or_left_is_not_asked_and_is_not_called_silent() {
    let cluster = broker();
    let window = Window { length: Duration::from_secs(12), grace: Duration::from_millis(300) };
    let stand = Stand::new(&cluster, window).await;
    let hub = stand.start().await;
    let query = Query::of(&["alpha", "beta", "gamma"]);
    stand.submit(&query).await;
    for bank in ["alpha", "beta", "gamma"] {
        stand.until_asked(&query, bank, 1).await;
    }
    stand.register(PartyKind::Bank, "beta", PartyState::Suspended, REGION).await;
    stand.register(PartyKind::Bank, "gamma", PartyState::Left, REGION).await;
    for bank in ["beta", "gamma"] {
        until_rejected(&stand, &hub, Code::BANK_NOT_ACTIVE, || Query::of(&[bank])).await;
    }
    // All banks of a query are asked together: alpha's next request is behind what was under way.
    let times = stand.asked(&query, "alpha").len() + 1;
    stand.until_asked(&query, "alpha", times).await;
    let before = ["beta", "gamma"].map(|bank| stand.asked(&query, bank).len());
    stand.until_asked(&query, "alpha", times + 1).await;
    stand.catch_up().await;
    assert_eq!(["beta", "gamma"].map(|bank| stand.asked(&query, bank).len()), before);

    stand.register(PartyKind::Bank, "beta", PartyState::Active, REGION).await;
    stand.until_asked(&query, "beta", before[0] + 1).await;
    stand.reply(&query, "alpha", query.answer("alpha")).await;
    hub.until_answered(&query, 1).await;
    stand.register(PartyKind::Bank, "beta", PartyState::Suspended, REGION).await;
    hub.until_state(&query, "FINAL_PARTIAL").await;
    let report = query.open(&hub.report(&query).await);
    let outcomes: Vec<BankOutcome> = report.banks.iter().map(|bank| bank.outcome).collect();
    assert_eq!(outcomes, [BankOutcome::Answered, BankOutcome::Suspended, BankOutcome::Suspended]);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_suspended_or_has_left_starts_nothing_new_and_what_runs_goes_on() {
    let cluster = broker();
    let stand = Stand::new(&cluster, DAY).await;
    let hub = stand.start().await;
    let of_shop = || {
        Query::but(&["alpha"], |query| {
            query.reference.upstream = upstream("shop");
            query.signer = signing_key("shop");
        })
    };
    for state in [PartyState::Suspended, PartyState::Left] {
        let running = of_shop();
        stand.submit(&running).await;
        stand.until_asked(&running, "alpha", 1).await;
        stand.register(PartyKind::Upstream, "shop", state, REGION).await;
        until_rejected(&stand, &hub, Code::UPSTREAM_NOT_ACTIVE, of_shop).await;
        stand.reply(&running, "alpha", running.answer("alpha")).await;
        hub.until_state(&running, "FINAL_ALL_ANSWERED").await;
        // Nobody believes its word that the person has entered a password.
        let refused = hub.view(&running, running.grant(|_| ())).await.code();
        assert_eq!(refused, Code::UPSTREAM_NOT_ACTIVE, "{state:?}");

        stand.register(PartyKind::Upstream, "shop", PartyState::Active, REGION).await;
        // A rejection for the state makes it read the registry to its end.
        let again = of_shop();
        stand.submit(&again).await;
        assert_eq!(hub.until_known(&again).await.state, "COLLECTING", "{state:?}");
        assert!(running.open(&hub.report(&running).await).complete, "{state:?}");
    }
    hub.stop().await;
}
