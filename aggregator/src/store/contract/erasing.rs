//! The watermark, and what becomes of the days behind it.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::civil::Date;
use schemas::codes::Code;
use schemas::ids::{Digest, Nonce};
use schemas::time::UnixMillis;
use schemas::wire;

use super::{bank, new, query, reference, registered};
use crate::domain::query::{Query, State};
use crate::store::{ErasedDay, GrantUse, NewQuery, Registered, Store, StoreResult, Tx};

pub(super) async fn refuses_what_comes_behind_the_watermark<S: Store>(store: &S) -> StoreResult<()> {
    let there = registered(store, 1).await?;
    let day = there.times.erase_on;
    let yesterday = day.yesterday().expect("a day before");
    store.erase_through(yesterday).await?;
    let mut late = query(store.now().await?);
    late.times.erase_on = yesterday;
    let mut tx = store.begin().await?;
    assert_eq!(tx.register(&new(&late, 2)).await?, Registered::Erased);
    tx.keep_coverage(&there.reference, &wire::Signed::default()).await?;
    tx.commit().await?;
    assert_eq!(store.query(&late.reference).await?, None, "no row");
    assert!(store.report(&there.reference).await?.is_some(), "its day is not erased yet");

    store.erase_through(day).await?;
    store.erase_through(yesterday).await?;
    let late = query(store.now().await?);
    let mut tx = store.begin().await?;
    assert_eq!(tx.register(&new(&late, 2)).await?, Registered::Erased, "it never goes back");
    tx.drop_content(&there.reference).await?;
    tx.keep_segment(&there.reference, &bank("alpha"), &Bytes::from_static(b"segment")).await?;
    tx.keep_coverage(&there.reference, &wire::Signed::default()).await?;
    tx.commit().await?;
    assert_eq!(store.report(&there.reference).await?, None, "nothing is written into an erased day");

    let mut newer = query(store.now().await?);
    newer.times.erase_on = day.tomorrow().expect("a day after");
    let mut tx = store.begin().await?;
    assert_eq!(tx.register(&new(&newer, 2)).await?, Registered::New, "the refused one used no nonce");
    tx.commit().await
}

pub(super) async fn takes_content_then_queries_then_what_is_left_of_them<S: Store>(
    store: &S,
) -> StoreResult<()> {
    let one = registered(store, 1).await?;
    let day = one.times.erase_on;
    let mut refused = query(store.now().await?);
    refused.state = State::Rejected(Code::REGION_NOT_OPEN);
    let mut newer = query(store.now().await?);
    newer.times.erase_on = day.tomorrow().expect("a day after");
    let mut tx = store.begin().await?;
    for query in [&refused, &newer] {
        let new = NewQuery { query: query.clone(), nonce: None, contact: None };
        assert_eq!(tx.register(&new).await?, Registered::New);
    }
    for query in [&one, &newer] {
        tx.keep_segment(&query.reference, &bank("alpha"), &Bytes::from_static(b"segment")).await?;
        tx.keep_coverage(&query.reference, &wire::Signed::default()).await?;
    }
    assert_eq!(tx.use_grant(&one.reference, Nonce([1; 16]), Digest([1; 32])).await?, GrantUse::First);
    tx.commit().await?;
    store.erase_content().await?;
    assert!(store.to_erase(9).await?.is_empty(), "no day is over");
    assert!(store.report(&one.reference).await?.is_some());

    store.erase_through(day).await?;
    store.erase_content().await?;
    store.erase_content().await?;
    assert_eq!(store.report(&one.reference).await?, None);
    assert_eq!(store.contact(&one.reference).await?, None);
    assert!(store.report(&newer.reference).await?.is_some(), "its day is not over");
    assert_eq!(store.to_erase(9).await?, BTreeSet::from([one.reference.clone()]));
    assert_eq!(erased(store, day).await?, None, "a query of the day has not ended");

    let mut tx = store.begin().await?;
    let state = State::Erased { at: UnixMillis(9), banks: 1, answered: 1 };
    tx.lock(&BTreeSet::from([one.reference.clone()])).await?;
    tx.save(&Query { state, ..one.clone() }).await?;
    tx.commit().await?;
    assert!(store.to_erase(9).await?.is_empty());
    let done = erased(store, day).await?;
    assert_eq!(done.is_some(), S::LASTS);
    if let Some(done) = done {
        assert_eq!(done.queries, 1, "the rejected one had no content");
        assert!(done.closed_at <= done.dropped_at && done.dropped_at <= done.key_destroyed_at);
    }
    let receipt = wire::Signed { body: Bytes::from_static(b"receipt"), ..Default::default() };
    store.keep_receipt(day, &receipt).await?;
    store.keep_receipt(day, &wire::Signed::default()).await?;
    assert_eq!(store.receipt(day).await?, Some(receipt), "the first stays");
    assert_eq!(erased(store, day).await?, None, "it has its receipt");

    assert_eq!(store.forget_queries(day.yesterday().expect("a day before"), 9).await?, 0);
    assert_eq!(store.forget_queries(day, 1).await?, 1, "no more than is asked for");
    assert_eq!(store.forget_queries(day, 9).await?, 1);
    assert_eq!(store.forget_queries(day, 9).await?, 0);
    for gone in [&one, &refused] {
        assert_eq!(store.query(&gone.reference).await?, None);
    }
    assert!(store.query(&newer.reference).await?.is_some());
    let mut tx = store.begin().await?;
    newer.reference = reference();
    assert_eq!(tx.register(&new(&newer, 1)).await?, Registered::New, "the consent is forgotten, too");
    let used = tx.use_grant(&one.reference, Nonce([1; 16]), Digest([1; 32])).await?;
    assert_eq!(used, GrantUse::First, "and the grant");
    tx.commit().await
}

async fn erased<S: Store>(store: &S, day: Date) -> StoreResult<Option<ErasedDay>> {
    Ok(store.erased_days().await?.into_iter().find(|erased| erased.day == day))
}

pub(super) async fn forgets_withdrawals_whose_queries_never_came<S: Store>(store: &S) -> StoreResult<()> {
    let came = registered(store, 1).await?;
    let never = reference();
    let mut tx = store.begin().await?;
    assert!(tx.withdraw(&came.reference, UnixMillis(5)).await?);
    assert!(tx.withdraw(&never, UnixMillis(5)).await?);
    tx.commit().await?;
    assert_eq!(store.forget_withdrawals(UnixMillis(5), 9).await?, 0);
    assert_eq!(store.forget_withdrawals(UnixMillis(6), 9).await?, 1);
    let mut tx = store.begin().await?;
    assert_eq!(tx.withdrawal(&never).await?, None);
    assert_eq!(tx.withdrawal(&came.reference).await?, Some(UnixMillis(5)));
    Ok(())
}
