//! Banks are asked again.

use std::collections::BTreeSet;

use schemas::reply::Word;
use schemas::time::UnixMillis;
use schemas::wire::BankOutcome;

use crate::parties::{Query, bank, opening_key};
use crate::stand::{MAX_FACTOR_AGE, text, with_short_windows};

#[test]
fn a_bank_that_said_later_and_one_never_heard_are_asked_again_with_the_same_request_until_reply_by() {
    with_short_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha", "beta", "gamma"]);
        stand.submit(&query).await;
        stand.until_asked(&query, "alpha", 1).await;
        stand.reply(&query, "alpha", Word::RetryLater).await;
        stand.reply(&query, "gamma", query.answer("gamma")).await;
        hub.until_answered(&query, 1).await;
        stand.catch_up().await;
        let before_its_answer = stand.asked(&query, "gamma").len();
        stand.until_asked(&query, "alpha", 4).await;
        stand.until_asked(&query, "beta", 4).await;
        let told = stand.until_told(&query, &["accepted", "report-ready"]).await;
        assert_eq!(told.len(), 2);
        stand.catch_up().await;

        for id in ["alpha", "beta"] {
            let asked = stand.asked(&query, id);
            let attempts: Vec<u32> = asked.iter().map(|request| request.header.attempt).collect();
            let in_turn: Vec<u32> = (1u32..).take(asked.len()).collect();
            assert_eq!(attempts, in_turn, "{id}");
            let ids: BTreeSet<_> = asked.iter().map(|request| request.header.request_id()).collect();
            assert_eq!(ids, BTreeSet::from([query.reference.request_id(&bank(id))]));
            for request in &asked {
                assert_eq!(request.header.statement_sha256, query.statement_sha256(&bank(id)));
                request.accept(&stand.registry(), &[opening_key(id)], MAX_FACTOR_AGE).expect("acceptable");
            }
            let reply_by = asked[0].header.reply_by;
            for record in stand.asked_records(&query, id) {
                assert!(UnixMillis(record.append_time_ms) <= reply_by + stand.window.length / 48, "{id}");
                assert_eq!(text(&record, "ce_expirytime"), reply_by.to_string());
            }
        }
        assert_eq!(stand.asked(&query, "gamma").len(), before_its_answer);

        // A whole longest interval later nobody was asked any more, and nobody was told that a request is void.
        let counts = || ["alpha", "beta", "gamma"].map(|id| stand.asked_records(&query, id).len());
        let then = counts();
        tokio::time::sleep(stand.window.length / 6).await;
        stand.catch_up().await;
        assert_eq!(counts(), then);

        assert_eq!(hub.status(&query).await.state, "FINAL_PARTIAL");
        let report = query.open(&hub.report(&query).await);
        let outcomes: Vec<BankOutcome> = report.banks.iter().map(|bank| bank.outcome).collect();
        assert_eq!(outcomes, [BankOutcome::Unavailable, BankOutcome::NoReply, BankOutcome::Answered]);
    });
}
