//! Held queries and their releases.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use plumbing::kafka::Position;
use schemas::ids::{Digest, Nonce};
use schemas::wire;

use super::{ManualClock, bank, contact, query, window};
use crate::domain::hold::{Held, HoldTimes};
use crate::domain::query::{Collecting, Pair, Query, State};
use crate::store::{Clock as _, NewQuery, Registered, SealedContact, Store, StoreResult, Tx};

const HOLD: HoldTimes = HoldTimes { cooling_off: Duration::from_secs(1), longest: Duration::from_secs(2) };

pub(super) async fn held<S: Store>(store: &S, nonce: u8) -> StoreResult<Query> {
    let mut query = query(store.now().await?);
    query.state = State::Held(Held::new(query.times.accepted_at, &HOLD, 1));
    let new = NewQuery { query: query.clone(), nonce: Some(Nonce([nonce; 16])), contact: None };
    let mut tx = store.begin().await?;
    assert_eq!(tx.register(&new).await?, Registered::New);
    tx.commit().await?;
    Ok(query)
}

/// A released query has its release's record, times, banks, consent and contact, and nothing of the hold.
pub(super) async fn takes_over_what_a_release_brings<S: Store>(
    store: &S,
    clock: &ManualClock,
) -> StoreResult<()> {
    let query = held(store, 1).await?;
    assert_eq!(store.query(&query.reference).await?.as_ref(), Some(&query));
    assert_eq!(store.contact(&query.reference).await?, None);
    clock.advance(Duration::from_secs(30 * 3600));
    let pair = Pair::new(Digest::of(b"statement of the release"), Some(clock.now()));
    let released = Query {
        record: Position { topic: query.record.topic.clone(), partition: 4, offset: 43 },
        times: window().times(clock.now()),
        state: State::Collecting(Collecting { pairs: BTreeMap::from([(bank("beta"), pair)]) }),
        ..query.clone()
    };
    let other = SealedContact { sealed: Bytes::from_static(b"sealed anew"), ..contact() };
    for commits in [false, true] {
        let mut tx = store.begin().await?;
        assert_eq!(tx.withdrawal(&query.reference).await?, None);
        let locked = tx.lock(&BTreeSet::from([query.reference.clone()])).await?;
        assert_eq!(locked.values().collect::<Vec<_>>(), [&query]);
        assert!(tx.is_nonce_used(Nonce([1; 16])).await?, "the held one's");
        assert!(!tx.is_nonce_used(Nonce([2; 16])).await?);
        assert!(!tx.is_asked(&query.reference).await?);
        tx.save(&released).await?;
        tx.keep_release(&query.reference, Nonce([2; 16]), &other).await?;
        assert!(tx.is_nonce_used(Nonce([2; 16])).await?);
        tx.keep_coverage(&query.reference, &wire::Signed::default()).await?;
        if commits {
            tx.commit().await?;
        } else {
            drop(tx);
            assert_eq!(store.query(&query.reference).await?.as_ref(), Some(&query));
            assert_eq!(store.contact(&query.reference).await?, None);
        }
    }
    assert_eq!(store.query(&query.reference).await?.as_ref(), Some(&released));
    assert_eq!(store.contact(&query.reference).await?, Some(other));
    assert!(store.report(&query.reference).await?.is_some(), "content lies in the new day");
    let mut tx = store.begin().await?;
    assert!(tx.is_nonce_used(Nonce([2; 16])).await?);
    tx.mark_asked(std::slice::from_ref(&query.reference)).await?;
    assert!(tx.is_asked(&query.reference).await?);
    tx.commit().await?;
    assert!(store.begin().await?.is_asked(&query.reference).await?);
    let due = store.past_deadline(released.times.deadline_at, 9).await?;
    assert_eq!(due, [released], "it is swept by its new deadline");
    Ok(())
}

pub(super) async fn ends_by_time_while_it_lasts<S: Store>(store: &S, clock: &ManualClock) -> StoreResult<()> {
    let first = held(store, 1).await?;
    clock.advance(Duration::from_millis(1));
    let second = held(store, 2).await?;
    let ended = held(store, 3).await?;
    let open = super::registered(store, 4).await?;
    let mut tx = store.begin().await?;
    tx.save(&Query { state: State::Cancelled { at: store_time(&ended), banks: 1 }, ..ended }).await?;
    tx.commit().await?;
    let until = store_time(&first) + HOLD.longest;
    assert_eq!(store.past_hold(until, 9).await?, [], "a release at this instant is in time");
    let after = until + Duration::from_millis(1);
    assert_eq!(store.past_hold(after, 9).await?, std::slice::from_ref(&first));
    let later = after + Duration::from_millis(1);
    assert_eq!(store.past_hold(later, 9).await?, [first.clone(), second]);
    assert_eq!(store.past_hold(later, 1).await?, [first], "the longest over first");
    assert!(store.past_deadline(open.times.deadline_at, 9).await?.contains(&open));
    Ok(())
}

fn store_time(query: &Query) -> schemas::time::UnixMillis {
    query.times.accepted_at
}
