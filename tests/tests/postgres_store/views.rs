//! One grant, shown by many at the same time.

use std::sync::Arc;
use std::time::Duration;

use aggregator::store::Store as _;
use aggregator::store::contract::ManualClock;
use cardquery_tests::hub_stage::{Stage, report_key};
use cardquery_tests::stack::Stack;
use plumbing::postgres::PostgresConfig;
use schemas::ids::Nonce;
use schemas::view::{self, Grant};

use crate::stand;

const USES: usize = 1_000;
const CONNECTIONS: u32 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_uses_of_one_grant_at_once_are_one_event_one_leaf_and_the_same_bytes() {
    let stage = Stage::start().await;
    let database = Stack::get().database().await;
    // A caller would not wait for a connection until it is the turn of the last one.
    let config = PostgresConfig { acquire_timeout_ms: 120_000, ..PostgresConfig::new(database.url()) };
    let pool = config.pool("aggregator.test", CONNECTIONS).expect("a pool");
    let clock = Arc::new(ManualClock::new());
    let store = stand::store(&pool, Arc::clone(&clock) as _).await;
    let test_hub = stage.hub_on(store, clock, None, 1);
    let (hub, reference, subject) = (&test_hub.hub, stage.reference(0), "subject");
    test_hub.register(&reference, subject, true).await;
    let now = test_hub.now().await;
    let grant = Grant {
        reference: reference.clone(),
        subject: subject.to_owned(),
        report_key: report_key(),
        issued_at: now,
        expires_at: now + Duration::from_secs(60),
        nonce: Nonce([1; 16]),
    };
    let granted = view::grant(&grant, &stage.upstream_key());
    let uses: Vec<_> = (0..USES)
        .map(|_| {
            let (hub, reference, granted) = (Arc::clone(hub), reference.clone(), granted.clone());
            tokio::spawn(async move { hub.view(&reference, granted).await })
        })
        .collect();
    let mut shown = Vec::new();
    for used in uses {
        shown.push(used.await.expect("no panic").expect("shown"));
    }
    assert!(shown.iter().all(|report| *report == shown[0]), "not the same bytes for all");
    assert_eq!(hub.store.leaves(&reference).await.expect("read").len(), 1, "one leaf: it was viewed");
    assert_eq!(hub.store.outbox_depth().await.expect("read"), (1, 0), "one event: it was viewed");
    stage.stop().await;
}
