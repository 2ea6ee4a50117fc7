//! Days of content.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aggregator::domain::assembly::Effect;
use aggregator::domain::query::Query;
use aggregator::store::contract::ManualClock;
use aggregator::store::{
    Clock as _, DayKeys, NewQuery, PostgresStore, Registered, SealedContact, Store as _, Tx as _,
};
use bytes::Bytes;
use cardquery_tests::stack::Stack;
use futures::future::join_all;
use plumbing::postgres::PostgresConfig;
use schemas::wire;

use crate::stand::{Stand, answer, bank, calendar, nonce, query};

/// The eight days that may still be written, and fourteen ahead; three tables.
const ALL: usize = (8 + 14) * 3;

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_start_together_make_every_day_once() {
    const INSTANCES: usize = 5;
    let clock = Arc::new(ManualClock::new());
    let database = Stack::get().database().await;
    let pools = [(); INSTANCES]
        .map(|()| PostgresConfig::new(database.url()).pool("aggregator.test", 2).expect("a pool"));
    let folder = tempfile::tempdir().expect("a folder");
    let start = |pool: sqlx::PgPool| {
        let (clock, keys) = (Arc::clone(&clock), DayKeys::open(folder.path()).expect("a directory"));
        tokio::spawn(async move {
            PostgresStore::migrate(&pool).await.expect("tables");
            PostgresStore::on_clock(pool, keys, clock).make_days(&calendar()).await.expect("days")
        })
    };
    let made = join_all(pools.into_iter().map(start)).await;
    let made: usize = made.into_iter().map(|made| made.expect("no panic")).sum();
    assert_eq!(made, ALL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_day_is_made_while_others_read_and_write() {
    let stand = Stand::new().await;
    let one = stand.registered().await;
    let (mut writing, effects) = stand.begun(&one, answer(&one, "alpha")).await;
    assert_eq!(effects, [Effect::KeepSegment]);
    writing
        .keep_segment(&one.reference, &bank("alpha"), &Bytes::from_static(b"segment"))
        .await
        .expect("kept");
    let mut reading = stand.pool.begin().await.expect("begun");
    sqlx::query("SELECT FROM segment, coverage, contact").execute(&mut *reading).await.expect("read");

    stand.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(stand.store.make_days(&calendar()).await.expect("made"), 3);
    assert_eq!(stand.store.make_days(&calendar()).await.expect("nothing to do"), 0);
    writing.commit().await.expect("committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn content_whose_day_was_not_made_is_not_lost() {
    let stand = Stand::new().await;
    let mut query = query(stand.clock.now(), &["alpha"]);
    query.times.erase_on = "2027-06-01".parse().expect("a day that is far");
    let contact = SealedContact { statement: wire::Signed::default(), sealed: Bytes::from_static(b"sealed") };
    let new = NewQuery { query: query.clone(), nonce: Some(nonce()), contact: Some(contact) };
    let mut tx = stand.store.begin().await.expect("begun");
    assert_eq!(tx.register(&new).await.expect("registered"), Registered::New);
    let error = tx.commit().await.expect_err("there is no place for it");
    assert!(error.to_string().contains("2027-06-01"), "{error}");
    assert_eq!(
        stand.store.query(&query.reference).await.expect("read"),
        None,
        "the whole step is done again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watermark_waits_for_whoever_writes_and_keeps_back_whoever_comes() {
    let stand = Stand::new().await;
    let one = stand.registered().await;
    let (mut writing, _) = stand.begun(&one, answer(&one, "alpha")).await;
    let segment = Bytes::from_static(b"segment");
    writing.keep_segment(&one.reference, &bank("alpha"), &segment).await.expect("kept");
    let (store, day) = (stand.store.clone(), one.times.erase_on);
    let erasing = tokio::spawn(async move { store.erase_through(day).await });
    stand.until_blocked(1).await;
    let two = Query { times: one.times, ..query(stand.clock.now(), &["alpha"]) };
    let (store, new) = (stand.store.clone(), NewQuery { query: two, nonce: None, contact: None });
    let coming = tokio::spawn(async move { store.begin().await?.register(&new).await });
    stand.until_blocked(2).await;
    writing.commit().await.expect("committed before the day was erased");
    erasing.await.expect("no panic").expect("moved");
    assert_eq!(coming.await.expect("no panic").expect("answered"), Registered::Erased);
}

#[tokio::test(flavor = "multi_thread")]
async fn days_behind_the_watermark_are_not_made() {
    let clock = Arc::new(ManualClock::new());
    let database = Stack::get().database().await;
    let pool = PostgresConfig::new(database.url()).pool("aggregator.test", 2).expect("a pool");
    PostgresStore::migrate(&pool).await.expect("tables");
    let erased = query(clock.now(), &["alpha"]).times.erase_on;
    let folder = tempfile::tempdir().expect("a folder");
    let keys = DayKeys::open(folder.path()).expect("a directory");
    let store = PostgresStore::on_clock(pool.clone(), keys, clock);
    store.erase_through(erased).await.expect("moved");
    store.make_days(&calendar()).await.expect("days");
    let made: Vec<String> =
        sqlx::query_scalar("SELECT relname::text FROM pg_class WHERE relispartition AND relkind = 'r'")
            .fetch_all(&pool)
            .await
            .expect("tables");
    let days: BTreeSet<&str> = made.iter().filter_map(|name| name.strip_prefix("segment_")).collect();
    assert_eq!(days.len(), 14);
    assert!(days.first() > Some(&&*erased.strftime("%Y%m%d").to_string()), "{days:?}");
}
