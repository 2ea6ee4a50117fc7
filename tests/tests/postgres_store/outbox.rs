//! The outbox under several relays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aggregator::store::{Clock as _, LeasedRow, OutboxRow, Outgoing, PostgresStore, Store as _, Tx as _};
use schemas::ids::Reference;

use crate::stand::{Stand, bank, query};

const LEASE: Duration = Duration::from_secs(60);
const QUERIES: usize = 200;
const ROWS: u8 = 3;

fn cancel(reference: &Reference, place: u8) -> OutboxRow {
    OutboxRow { reference: reference.clone(), message: Outgoing::Cancel(bank(&format!("bank{place}"))) }
}

async fn enqueue(store: &PostgresStore, rows: Vec<OutboxRow>) {
    let mut tx = store.begin().await.expect("begun");
    tx.enqueue(rows).await.expect("enqueued");
    tx.commit().await.expect("committed");
}

/// Publishes until nothing is left. Between its lease and its deletion a row is noted in `log`.
async fn relay(store: &PostgresStore, log: &Mutex<Vec<LeasedRow>>) {
    while store.outbox_depth().await.expect("read") != (0, 0) {
        let rows = store.lease_outbox(20, LEASE).await.expect("leased");
        let ids: Vec<u64> = rows.iter().map(|row| row.id).collect();
        // Kafka answers in no order.
        for row in rows.into_iter().rev() {
            log.lock().expect("not poisoned").push(row);
            tokio::task::yield_now().await;
        }
        store.outbox_published(&ids).await.expect("published");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_relays_publish_every_row_once_and_a_querys_rows_in_order() {
    let stand = Stand::new().await;
    let references: Vec<Reference> =
        (0..QUERIES).map(|_| query(stand.clock.now(), &["alpha"]).reference).collect();
    let of_query = |reference| (0..ROWS).map(move |place| cancel(reference, place));
    enqueue(&stand.store, references.iter().flat_map(of_query).collect()).await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let relays = [(); 3].map(|()| {
        let (store, log) = (stand.store.clone(), Arc::clone(&log));
        tokio::spawn(async move { relay(&store, &log).await })
    });
    for relay in relays {
        relay.await.expect("no panic");
    }
    let log = log.lock().expect("not poisoned");
    let mut logged: BTreeMap<&Reference, Vec<&OutboxRow>> = BTreeMap::new();
    for leased in log.iter() {
        logged.entry(&leased.row.reference).or_default().push(&leased.row);
    }
    assert_eq!(logged.len(), QUERIES);
    for (reference, rows) in logged {
        let expected: Vec<OutboxRow> = of_query(reference).collect();
        assert_eq!(rows, expected.iter().collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_transaction_commits_late_is_not_passed_over() {
    let stand = Stand::new().await;
    let (early, late) = (query(stand.clock.now(), &["alpha"]), query(stand.clock.now(), &["alpha"]));
    // An id is drawn before the commit: what an id cursor would pass over.
    let mut slow = stand.pool.begin().await.expect("begun");
    sqlx::query("SELECT nextval(pg_get_serial_sequence('outbox', 'id'))")
        .execute(&mut *slow)
        .await
        .expect("drawn");
    sqlx::query("INSERT INTO outbox (upstream, query_id, kind) VALUES ('wallet', $1, 'notice')")
        .bind(uuid::Uuid::from_bytes(*early.reference.query.as_bytes()))
        .execute(&mut *slow)
        .await
        .expect("written");
    enqueue(&stand.store, vec![cancel(&late.reference, 0)]).await;
    let first = stand.store.lease_outbox(10, LEASE).await.expect("leased");
    assert_eq!(first.len(), 1);
    stand.store.outbox_published(&[first[0].id]).await.expect("published");
    slow.commit().await.expect("committed");
    let second = stand.store.lease_outbox(10, LEASE).await.expect("leased");
    assert_eq!(second.len(), 1);
    assert!(second[0].id < first[0].id, "older by its id, and seen later");
    assert_eq!(second[0].row.reference, early.reference);
}
