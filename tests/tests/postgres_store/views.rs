//! One grant, shown by many at the same time; and grants of strangers.

use std::sync::Arc;
use std::time::Duration;

use aggregator::store::contract::ManualClock;
use aggregator::store::{PostgresStore, Store as _, Tx as _};
use bytes::Bytes;
use cardquery_tests::hub_stage::{Stage, TestHub, report_key};
use cardquery_tests::stack::{Stack, TestDatabase};
use plumbing::postgres::PostgresConfig;
use schemas::codes::Code;
use schemas::ids::{Nonce, Reference};
use schemas::view::{self, Grant};

use crate::stand;
use tempfile::TempDir;

const USES: usize = 1_000;
const CONNECTIONS: u32 = 8;

/// A hub with one report, and what a test of it needs.
struct Views {
    stage: Stage,
    hub: TestHub<PostgresStore>,
    reference: Reference,
    _database: TestDatabase,
    _keys: TempDir,
}

impl Views {
    async fn start() -> Self {
        let stage = Stage::start().await;
        let database = Stack::get().database().await;
        // A caller would not wait for a connection until it is the turn of the last one.
        let config = PostgresConfig { acquire_timeout_ms: 120_000, ..PostgresConfig::new(database.url()) };
        let pool = config.pool("aggregator.test", CONNECTIONS).expect("a pool");
        let clock = Arc::new(ManualClock::new());
        let keys = tempfile::tempdir().expect("a folder");
        let store = stand::store(&pool, keys.path(), Arc::clone(&clock) as _).await;
        let hub = stage.hub_on(store, clock, None, 1);
        let reference = stage.reference(0);
        hub.register(&reference, "subject", true).await;
        Self { stage, hub, reference, _database: database, _keys: keys }
    }

    async fn grant(&self, subject: &str) -> Bytes {
        let now = self.hub.now().await;
        let grant = Grant {
            reference: self.reference.clone(),
            subject: subject.to_owned(),
            report_key: report_key(),
            issued_at: now,
            expires_at: now + Duration::from_secs(60),
            nonce: Nonce([1; 16]),
        };
        view::grant(&grant, &self.stage.upstream_key())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_uses_of_one_grant_at_once_are_one_event_one_leaf_and_the_same_bytes() {
    let views = Views::start().await;
    let (hub, granted) = (&views.hub.hub, views.grant("subject").await);
    let uses: Vec<_> = (0..USES)
        .map(|_| {
            let (hub, reference, granted) = (Arc::clone(hub), views.reference.clone(), granted.clone());
            tokio::spawn(async move { hub.view(&reference, granted).await })
        })
        .collect();
    let mut shown = Vec::new();
    for used in uses {
        shown.push(used.await.expect("no panic").expect("shown"));
    }
    assert!(shown.iter().all(|report| *report == shown[0]), "not the same bytes for all");
    let leaves = hub.store.leaves(&views.reference).await.expect("read");
    assert_eq!(leaves.len(), 1, "one leaf: it was viewed");
    assert_eq!(hub.store.outbox_depth().await.expect("read"), (1, 0), "one event: it was viewed");
    views.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_does_not_wait_for_the_query_of_another_person() {
    let views = Views::start().await;
    let hub = &views.hub.hub;
    let mut tx = hub.store.begin().await.expect("begun");
    let held = tx.lock(&[views.reference.clone()].into()).await.expect("locked");
    assert_eq!(held.len(), 1);
    // Whoever waits for the lock is told an error after the server's limit.
    let told = hub.view(&views.reference, views.grant("somebody else").await).await;
    assert_eq!(told.expect_err("not theirs").code, Code::QUERY_NOT_FOUND);
    let waits = tokio::spawn({
        let (hub, reference, granted) =
            (Arc::clone(hub), views.reference.clone(), views.grant("subject").await);
        async move { hub.view(&reference, granted).await }
    });
    drop(tx);
    waits.await.expect("no panic").expect("the person sees the report once nobody holds it");
    views.stage.stop().await;
}
