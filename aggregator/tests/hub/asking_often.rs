//! One person asks again.

use schemas::codes::Code;
use schemas::wire::event_record::Message;

use crate::parties::{Query, signing_key, upstream};
use crate::stand::{Hub, Stand, message_id, with_long_windows};
use aggregator::store::Store as _;

/// Another query of the person of `query`.
fn another(query: &Query) -> Query {
    Query::but(&["alpha"], |next| next.subject = query.subject.clone())
}

async fn is_refused(stand: &Stand, hub: &Hub, query: &Query, code: Code) {
    stand.submit(query).await;
    let told = stand.until_told(query, &["rejected"]).await.remove(0);
    let Message::Rejected(rejected) = &told.message else { panic!("{told:?}") };
    assert_eq!(rejected.code, code.as_str());
    let leaves = hub.store.leaves(&query.reference).await.expect("stored");
    assert_eq!(leaves.len(), 1);
    assert_eq!(leaves[0].id().to_string(), message_id(query, "audit/rejected"));
    assert_eq!(stand.asked_records(query, "alpha").len(), 0);
}

#[test]
fn a_person_has_one_open_query_and_its_end_without_a_report_frees_them() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let first = Query::of(&["alpha"]);
        stand.submit(&first).await;
        stand.until_told(&first, &["accepted"]).await;
        let refused = another(&first);
        is_refused(stand, hub, &refused, Code::QUERY_OPEN).await;
        // The same pseudonym within another upstream is somebody else.
        let elsewhere = Query::but(&["alpha"], |other| {
            other.subject = first.subject.clone();
            other.reference.upstream = upstream("shop");
            other.signer = signing_key("shop");
        });
        stand.submit(&elsewhere).await;
        stand.until_told(&elsewhere, &["accepted"]).await;

        stand.revoke(&first).await;
        stand.until_told(&first, &["accepted", "withdrawn"]).await;
        let second = another(&first);
        stand.submit(&second).await;
        stand.until_told(&second, &["accepted"]).await;
        // What was refused stays refused, and takes nothing.
        assert_eq!(hub.status(&refused).await.state, "REJECTED");
    });
}

#[test]
fn after_a_report_a_person_waits_before_they_ask_again() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let first = Query::of(&["alpha"]);
        stand.submit(&first).await;
        stand.until_asked(&first, "alpha", 1).await;
        stand.reply(&first, "alpha", first.answer("alpha")).await;
        hub.until_state(&first, "FINAL_ALL_ANSWERED").await;
        is_refused(stand, hub, &another(&first), Code::ASKED_RECENTLY).await;
        // A withdrawn report was one.
        stand.revoke(&first).await;
        stand.until_told(&first, &["accepted", "report-ready", "withdrawn"]).await;
        is_refused(stand, hub, &another(&first), Code::ASKED_RECENTLY).await;
    });
}

#[test]
fn of_many_queries_of_one_person_at_once_one_is_taken() {
    with_long_windows(async |shared| {
        let stand = &shared.stand;
        let first = Query::of(&["alpha"]);
        let queries: Vec<Query> = (0..8).map(|_| another(&first)).collect();
        let told = futures::future::join_all(queries.iter().map(|query| async move {
            stand.submit(query).await;
            stand.first_told(query).await
        }));
        let told = told.await;
        assert_eq!(told.iter().filter(|name| **name == "accepted").count(), 1, "{told:?}");
        assert_eq!(told.iter().filter(|name| **name == "rejected").count(), 7, "{told:?}");
    });
}
