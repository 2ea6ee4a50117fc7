//! The watermark.

use bytes::Bytes;
use schemas::wire;

use super::{bank, new, query, registered};
use crate::store::{Registered, Store, StoreResult, Tx};

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
