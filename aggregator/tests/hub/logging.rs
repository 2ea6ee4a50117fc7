//! The audit log of a hub, as somebody reads it who has the topic and the registry alone.

use std::collections::BTreeSet;

use aggregator::store::Store as _;
use schemas::audit::Change;
use schemas::audit::leaf::Word;
use schemas::reply;
use schemas::wire::Refusal;

use crate::parties::{Query, bank};
use crate::stand::{DAY, Stand, broker, with_long_windows};

#[test]
fn every_change_of_a_query_is_published_once_in_its_order_under_a_checkpoint() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha", "beta"]);
        stand.submit(&query).await;
        stand.until_asked(&query, "alpha", 1).await;
        stand.until_asked(&query, "beta", 1).await;
        stand.reply(&query, "alpha", query.answer("alpha")).await;
        let refusal = reply::Word::Refused(Refusal::AssuranceTooLow);
        let refused = stand.reply(&query, "beta", refusal).await;
        stand.until_notices(&query, 1).await;
        hub.report(&query).await;
        stand.revoke(&query).await;
        hub.until_state(&query, "WITHDRAWN").await;

        let is_over = |changes: &[Change]| matches!(changes.last(), Some(Change::Withdrawn { .. }));
        let enough = |log: &crate::published::AuditLog| {
            let index = log
                .decoded()
                .iter()
                .position(|leaf| leaf.kind() == "withdrawn" && leaf.reference() == Some(&query.reference));
            let covered = log.checkpoints.last().map_or(0, |checkpoint| checkpoint.size);
            index.is_some_and(|index| covered > index as u64)
        };
        let log = stand.until_logged("the withdrawal under a checkpoint", enough).await;
        let changes = log.changes(&query.reference);
        assert!(is_over(&changes), "{changes:?}");
        let kinds: Vec<&str> = changes.iter().map(Change::kind).collect();
        // What one transaction writes has no order of its own.
        assert_eq!(kinds.len(), 6);
        assert_eq!(kinds[..2].iter().collect::<BTreeSet<_>>(), ["registered", "risk"].iter().collect());
        assert_eq!(kinds[2..4].iter().collect::<BTreeSet<_>>(), ["final", "replies"].iter().collect());
        assert_eq!(kinds[4..], ["viewed", "withdrawn"]);
        let stored = hub.store.leaves(&query.reference).await.expect("a store in memory");
        assert_eq!(stored.len(), kinds.len());
        for leaf in &stored {
            log.assert_included(leaf);
        }

        // What the banks said is proven by what the log holds, although the report is gone.
        assert_eq!(hub.store.report(&query.reference).await.expect("a store in memory"), None);
        let registry = stand.registry();
        let find = |kind| changes.iter().find(|change| change.kind() == kind).expect("is there");
        let (Change::Registered(accepted), Change::Final(report), Change::Replies(proofs)) =
            (find("registered"), find("final"), find("replies"))
        else {
            panic!("{changes:?}")
        };
        assert_eq!(proofs.keys().collect::<Vec<_>>(), [&bank("alpha"), &bank("beta")]);
        for (bank, proof) in proofs {
            let chosen = report.outcomes[bank].reply.as_ref().expect("it closed its pair");
            let party = registry.bank(bank).expect("registered");
            let proven =
                proof.open(&query.reference, bank, party, chosen.appended_at).expect("the bank's word");
            assert_eq!(proven.word, chosen.word);
            assert_eq!(proven.statement, accepted.statements[bank]);
        }
        let chosen = report.outcomes[&bank("beta")].reply.as_ref().expect("it closed its pair");
        assert_eq!((chosen.word, chosen.offset), (Word::Refused, refused.position.offset));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_starts_again_without_its_store_goes_on_with_the_log_that_is_published() {
    let cluster = broker();
    let stand = Stand::new(&cluster, DAY).await;
    let hub = stand.start().await;
    let query = Query::of(&["alpha"]);
    stand.submit(&query).await;
    stand.until_asked(&query, "alpha", 1).await;
    stand.reply(&query, "alpha", query.answer("alpha")).await;
    stand.until_notices(&query, 1).await;
    hub.report(&query).await;
    let viewed =
        |log: &crate::published::AuditLog| log.changes(&query.reference).len() == 5 && log.is_covered();
    let before = stand.until_logged("the view", viewed).await;
    hub.stop().await;

    let hub = stand.start().await;
    let next = Query::of(&["alpha"]);
    stand.submit(&next).await;
    let registered =
        |log: &crate::published::AuditLog| log.changes(&next.reference).len() == 2 && log.is_covered();
    let after = stand.until_logged("the next query", registered).await;
    assert_eq!(after.leaves[..before.leaves.len()], before.leaves, "one history");
    assert_eq!(after.leaves.len(), before.leaves.len() + 2, "nothing is told twice");
    let leaves = hub.store.leaves(&query.reference).await.expect("a store in memory");
    assert_eq!(leaves.len(), 5, "also the view, of which no record tells");
    hub.stop().await;
}
