//! The hub starts again on what the topics hold.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;
use schemas::codes::Code;
use schemas::wire;

use crate::parties::Query;
use crate::stand::{DAY, Stand, Told, broker, message_id, text};

fn coverage(report: &Bytes) -> Vec<u8> {
    let report = wire::Report::decode(report.clone()).expect("a report");
    report.coverage.expect("signed").encode_to_vec()
}

fn ids(told: &[Told], name: &str) -> BTreeSet<String> {
    told.iter().filter(|told| told.name() == name).map(|told| told.id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_there_is_one_report_one_notice_and_the_same_bytes() {
    let cluster = broker();
    let stand = Stand::new(&cluster, DAY).await;
    // Submitted before any hub runs: it is read twice by the first one, and asks once.
    let query = Query::of(&["alpha", "beta"]);
    stand.submit(&query).await;
    let hub = stand.start().await;
    stand.until_asked(&query, "alpha", 1).await;
    stand.until_asked(&query, "beta", 1).await;
    stand.reply(&query, "alpha", query.answer("alpha")).await;
    stand.reply(&query, "beta", query.answer("beta")).await;
    stand.until_told(&query, &["accepted", "report-ready"]).await;
    stand.until_notices(&query, 1).await;
    let open = Query::of(&["alpha", "beta"]);
    stand.submit(&open).await;
    stand.until_asked(&open, "beta", 1).await;
    stand.reply(&open, "alpha", open.answer("alpha")).await;
    hub.until_answered(&open, 1).await;
    let gone = Query::of(&["alpha"]);
    stand.submit(&gone).await;
    stand.until_asked(&gone, "alpha", 1).await;
    stand.reply(&gone, "alpha", gone.answer("alpha")).await;
    stand.until_notices(&gone, 1).await;
    stand.revoke(&gone).await;
    hub.until_state(&gone, "WITHDRAWN").await;
    let before = (hub.status(&query).await, coverage(&hub.report(&query).await));
    stand.until_told(&query, &["accepted", "report-ready", "viewed"]).await;
    let first = stand.events(&query.reference);
    hub.stop().await;

    let hub = stand.start().await;
    assert_eq!((hub.status(&query).await, coverage(&hub.report(&query).await)), before);
    assert!(query.open(&hub.report(&query).await).complete);
    let notices = stand.until_notices(&query, 2).await;
    let notice_ids: BTreeSet<String> = notices.iter().map(|record| text(record, "ce_id")).collect();
    assert_eq!(notice_ids, BTreeSet::from([message_id(&query, "notice")]));
    assert_eq!(notices[0].value.len(), notices[1].value.len());
    let again = stand.submit(&Query::of(&["alpha"])).await;
    stand.handled(&hub, &again).await;
    let told = stand.events(&query.reference);
    for name in ["accepted", "report-ready"] {
        assert_eq!(ids(&told, name), BTreeSet::from([message_id(&query, &format!("event/{name}"))]));
        let messages: Vec<_> =
            told.iter().filter(|told| told.name() == name).map(|told| &told.message).collect();
        let same = first.iter().find(|told| told.name() == name).map(|told| &told.message);
        assert!(messages.iter().all(|message| Some(*message) == same), "{name}");
    }
    assert_eq!(["alpha", "beta"].map(|bank| stand.asked(&query, bank).len()), [1, 1], "it was whole");

    // Who had answered is not asked again; the other one may be, and closes the report.
    assert_eq!(hub.status(&open).await.answered, 1);
    assert_eq!(stand.asked(&open, "alpha").len(), 1);
    stand.reply(&open, "beta", open.answer("beta")).await;
    hub.until_state(&open, "FINAL_ALL_ANSWERED").await;

    assert_eq!(hub.status(&gone).await.state, "WITHDRAWN");
    assert_eq!(hub.view(&gone, gone.grant(|_| ())).await.code(), Code::QUERY_WITHDRAWN);
    assert_eq!(stand.notices(&gone).len(), 1, "none after the withdrawal");
    hub.stop().await;
}
