//! How often people ask.

use std::collections::BTreeSet;

use futures::future::join_all;
use schemas::codes::Code;
use schemas::ids::Reference;
use schemas::time::UnixMillis;

use super::{new, query, reference};
use crate::domain::asking::{Asking, AskingLimits};
use crate::domain::subject::SubjectMac;
use crate::store::{NewQuery, Plan, Store, StoreResult, Tx};

const LIMITS: AskingLimits =
    AskingLimits { one_open_query: true, requery_interval: std::time::Duration::from_secs(3600) };

async fn stored<S: Store>(store: &S, subject: SubjectMac) -> StoreResult<Asking> {
    store.begin().await?.asking(subject).await
}

pub(super) async fn is_counted_by_person<S: Store>(store: &S) -> StoreResult<()> {
    let (one, other) = (SubjectMac([1; 32]), SubjectMac([2; 32]));
    let (first, second) = (reference(), reference());
    let open = |reference: &Reference| Asking { open: Some(reference.clone()), reported_at: None };
    let mut tx = store.begin().await?;
    assert_eq!(tx.asking(one).await?, Asking::default());
    tx.save_asking(one, &open(&first)).await?;
    assert_eq!(tx.asking(one).await?, open(&first));
    drop(tx);
    assert_eq!(stored(store, one).await?, Asking::default(), "what is dropped is not counted");

    let mut tx = store.begin().await?;
    tx.prepare(&Plan { subjects: BTreeSet::from([one, other]), ..Plan::default() }).await?;
    tx.asking(one).await?;
    tx.save_asking(one, &open(&first)).await?;
    tx.commit().await?;
    assert_eq!((stored(store, one).await?, stored(store, other).await?), (open(&first), Asking::default()));

    // Ended without being taken, and by a query that is not the open one.
    let mut tx = store.begin().await?;
    tx.end_asking(one, &second, Some(UnixMillis(7))).await?;
    tx.end_asking(SubjectMac([3; 32]), &second, Some(UnixMillis(7))).await?;
    tx.commit().await?;
    assert_eq!(stored(store, one).await?, Asking { reported_at: Some(UnixMillis(7)), ..open(&first) });
    assert_eq!(stored(store, SubjectMac([3; 32])).await?, Asking::default(), "nothing was counted of them");

    // One batch ends a query and registers the next of the same person.
    let mut tx = store.begin().await?;
    tx.end_asking(one, &first, None).await?;
    tx.end_asking(one, &second, Some(UnixMillis(9))).await?;
    let now = tx.asking(one).await?;
    assert_eq!(now, Asking { open: None, reported_at: Some(UnixMillis(9)) });
    tx.save_asking(one, &Asking { open: Some(second.clone()), ..now }).await?;
    tx.end_asking(one, &second, Some(UnixMillis(8))).await?;
    tx.commit().await?;
    assert_eq!(stored(store, one).await?, Asking { open: None, reported_at: Some(UnixMillis(9)) });
    Ok(())
}

pub(super) async fn is_forgotten_when_it_is_over<S: Store>(store: &S) -> StoreResult<()> {
    let subject = |number| SubjectMac([number; 32]);
    let at = |at| Asking { open: None, reported_at: Some(UnixMillis(at)) };
    let askings = [Asking { open: Some(reference()), ..at(1) }, at(9), at(10)];
    let mut tx = store.begin().await?;
    for (number, asking) in (0..).zip(&askings) {
        tx.asking(subject(number)).await?;
        tx.save_asking(subject(number), asking).await?;
    }
    tx.commit().await?;
    store.forget_askings(UnixMillis(10)).await?;
    let kept = [
        stored(store, subject(0)).await?,
        stored(store, subject(1)).await?,
        stored(store, subject(2)).await?,
    ];
    assert_eq!(kept, [askings[0].clone(), Asking::default(), askings[2].clone()]);
    Ok(())
}

/// What the handler does with one record.
async fn ask<S: Store>(
    store: &S,
    new: &NewQuery,
    subject: SubjectMac,
    plan: &Plan,
) -> StoreResult<Result<(), Code>> {
    let (reference, at) = (&new.query.reference, new.query.times.accepted_at);
    let mut tx = store.begin().await?;
    tx.prepare(plan).await?;
    let asking = tx.asking(subject).await?;
    tokio::task::yield_now().await;
    if let Err(code) = asking.check(reference, at, &LIMITS) {
        return Ok(Err(code));
    }
    tx.register(new).await?;
    tx.save_asking(subject, &Asking { open: Some(reference.clone()), ..asking }).await?;
    tx.commit().await?;
    Ok(Ok(()))
}

/// Of many queries of one person at once exactly one is registered.
pub(super) async fn at_once_takes_one<S: Store>(store: &S) -> StoreResult<()> {
    for round in 0..10 {
        let subject = SubjectMac([round; 32]);
        let now = store.now().await?;
        let queries: Vec<NewQuery> = (0..5).map(|number| new(&query(now), round * 5 + number)).collect();
        let asks = queries.iter().enumerate().map(|(number, new)| async move {
            let mut plan =
                Plan { consents: BTreeSet::from([new.query.reference.clone()]), ..Plan::default() };
            if number % 2 == 0 {
                plan.subjects.insert(subject);
            }
            ask(store, new, subject, &plan).await
        });
        let mut taken = Vec::new();
        for (asked, new) in join_all(asks).await.into_iter().zip(&queries) {
            match asked? {
                Ok(()) => taken.push(new.query.reference.clone()),
                Err(code) => assert_eq!(code, Code::QUERY_OPEN, "round {round}"),
            }
        }
        assert_eq!(taken.len(), 1, "round {round}");
        assert_eq!(stored(store, subject).await?.open.as_ref(), taken.first());
        for new in &queries {
            let is_there = store.query(&new.query.reference).await?.is_some();
            assert_eq!(is_there, taken.contains(&new.query.reference), "round {round}");
        }
    }
    Ok(())
}
