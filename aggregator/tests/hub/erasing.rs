//! The end of a query's day, on days of seconds: the same code, and the same rule of eight.

use aggregator::config::Config;
use aggregator::store::{Clock as _, Store as _, SystemClock};
use schemas::codes::Code;
use schemas::time::UnixMillis;

use crate::parties::Query;
use crate::stand::{DAY, Hub, Stand, broker, message_id};

/// A query is erased 24 to 27 s after it was accepted: long enough for a busy machine to have its report before.
fn short_days(from: UnixMillis) -> impl Fn(&mut Config) {
    move |config| {
        config.window.day_seconds = 3.0;
        config.window.days_from = from.to_string();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_with_its_day_and_when_it_is_read_again_asks_nobody_and_tells_nobody() {
    const TOLD: [&str; 4] = ["accepted", "report-ready", "viewed", "erased"];
    let cluster = broker();
    let stand = Stand::new(&cluster, DAY).await;
    let days = short_days(SystemClock.now());
    let hub = stand.start_with(&days).await;
    let query = Query::of(&["alpha", "beta"]);
    stand.submit(&query).await;
    stand.until_asked(&query, "alpha", 1).await;
    stand.until_asked(&query, "beta", 1).await;
    stand.reply(&query, "alpha", query.answer("alpha")).await;
    stand.reply(&query, "beta", query.answer("beta")).await;
    stand.until_notices(&query, 1).await;
    assert!(query.open(&hub.report(&query).await).complete);
    let gone = Query::of(&["alpha"]);
    stand.submit(&gone).await;
    stand.revoke(&gone).await;

    let told = stand.until_told(&query, &TOLD).await;
    assert_eq!(told[3].id, message_id(&query, "event/erased"));
    let status = hub.until_state(&query, "ERASED").await;
    assert_eq!((status.banks, status.answered, status.finalised_at), (2, 2, None));
    assert_eq!(hub.view(&query, query.grant(|_| ())).await.code(), Code::REPORT_ERASED);
    assert_eq!(hub.store.report(&query.reference).await.expect("a store in memory"), None);
    assert_eq!(hub.store.contact(&query.reference).await.expect("a store in memory"), None);
    hub.until_state(&gone, "ERASED").await;
    let leaves = hub.store.leaves(&query.reference).await.expect("a store in memory");
    assert_eq!(leaves.len(), 6, "judged, registered, final and what was replied, viewed, erased");
    hub.stop().await;

    // A store in memory begins with nothing: the new hub reads the records as a replay would.
    let hub = stand.start_with(&days).await;
    let marker = stand.submit(&Query::of(&["alpha"])).await;
    stand.handled(&hub, &marker).await;
    for replayed in [&query, &gone] {
        assert_eq!(hub.get(&Hub::path(replayed)).await.code(), Code::QUERY_NOT_FOUND);
    }
    assert_eq!(["alpha", "beta"].map(|bank| stand.asked(&query, bank).len()), [1, 1], "nobody is asked");
    assert_eq!(stand.notices(&query).len(), 1, "nobody gets an SMS");
    assert_eq!(stand.told(&query), TOLD, "nobody is told");
    hub.stop().await;
}
