//! The consent is withdrawn.

use aggregator::store::Store as _;
use schemas::codes::Code;
use schemas::submission;
use schemas::wire::{self, event_record::Message};

use crate::parties::{Query, now, signing_key};
use crate::stand::{message_id, with_long_windows};

#[test]
fn a_withdrawal_that_comes_first_ends_the_query_before_anybody_is_asked() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha", "beta"]);
        let revoked = stand.revoke(&query).await;
        let sent = stand.submit(&query).await;
        assert_eq!(sent.position.partition, revoked.position.partition);
        let told = stand.until_told(&query, &["withdrawn"]).await.remove(0);
        let Message::Withdrawn(withdrawn) = &told.message else { panic!("{told:?}") };
        assert_eq!(withdrawn.withdrawn_at_ms, revoked.at.0);
        stand.handled(hub, &sent).await;
        assert_eq!(stand.told(&query), ["withdrawn"]);
        assert_eq!(["alpha", "beta"].map(|bank| stand.asked_records(&query, bank).len()), [0, 0]);
        assert_eq!(hub.status(&query).await.state, "WITHDRAWN");
        assert!(hub.store.contact(&query.reference).await.expect("stored").is_none());
    });
}

#[test]
fn a_withdrawal_while_collecting_cancels_at_the_asked_banks_and_later_replies_are_not_kept() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha", "beta"]);
        stand.submit(&query).await;
        stand.until_asked(&query, "beta", 1).await;
        stand.reply(&query, "alpha", query.answer("alpha")).await;
        hub.until_answered(&query, 1).await;

        stand.revoke(&query).await;
        stand.until_told(&query, &["accepted", "withdrawn"]).await;
        stand.until_cancelled(&query, "beta").await;
        let again = stand.revoke(&query).await;
        let reply = stand.reply(&query, "beta", query.answer("beta")).await;
        stand.handled(hub, &again).await;
        stand.handled(hub, &reply).await;
        assert_eq!(["alpha", "beta", "gamma"].map(|bank| stand.cancelled(&query, bank)), [1, 1, 0]);
        assert_eq!(stand.told(&query), ["accepted", "withdrawn"]);
        assert_eq!(stand.buried(&reply), [""; 0]);
        assert_eq!(stand.notices(&query).len(), 0);
        let status = hub.status(&query).await;
        assert_eq!((status.state.as_str(), status.banks, status.answered), ("WITHDRAWN", 2, 0));
        assert!(hub.store.report(&query.reference).await.expect("stored").is_none());
        assert!(hub.store.contact(&query.reference).await.expect("stored").is_none());
        assert_eq!(hub.view(&query, query.grant(|_| ())).await.code(), Code::QUERY_WITHDRAWN);
    });
}

#[test]
fn a_withdrawal_after_the_report_takes_it_away_and_tells_no_bank() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha"]);
        stand.submit(&query).await;
        stand.until_asked(&query, "alpha", 1).await;
        stand.reply(&query, "alpha", query.answer("alpha")).await;
        stand.until_told(&query, &["accepted", "report-ready"]).await;
        let grant = query.grant(|_| ());
        assert_eq!(hub.view(&query, grant.clone()).await.status, 200);

        let sent = stand.revoke(&query).await;
        let told = stand.until_told(&query, &["accepted", "report-ready", "viewed", "withdrawn"]).await;
        assert_eq!(told[3].id, message_id(&query, "event/withdrawn"));
        stand.handled(hub, &sent).await;
        assert_eq!(stand.cancelled(&query, "alpha"), 0);
        assert_eq!(hub.view(&query, grant).await.code(), Code::QUERY_WITHDRAWN);
        assert!(hub.store.report(&query.reference).await.expect("stored").is_none());
        assert!(hub.store.contact(&query.reference).await.expect("stored").is_none());
    });
}

#[test]
fn a_withdrawal_that_the_upstream_did_not_sign_is_a_dead_letter_and_changes_nothing() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha"]);
        stand.submit(&query).await;
        stand.until_told(&query, &["accepted"]).await;
        let revoked = submission::revoke(&query.reference, now(), &signing_key("shop"));
        let record = wire::QueryRecord { message: Some(wire::query_record::Message::Revoked(revoked)) };
        let value = prost::Message::encode_to_vec(&record);
        let topic = stand.topics.query(&query.reference.upstream);
        let sent = stand.send(&topic, &query.id(), value, None, None).await;
        assert_eq!(stand.until_buried(&sent).await, Code::KEY_UNKNOWN.as_str());
        assert_eq!(hub.status(&query).await.state, "COLLECTING");
        assert_eq!(stand.told(&query), ["accepted"]);
    });
}
