//! What a transaction wrote, read by itself and by the next one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use schemas::codes::Code;
use schemas::ids::{Digest, Nonce};
use schemas::time::UnixMillis;
use schemas::wire::BankOutcome;

use super::{bank, new, query, reference, registered};
use crate::domain::audit;
use crate::domain::hold::Held;
use crate::domain::query::{Closed, Closing, Collecting, Final, FinalKind, Outcome, Pair, Query, State};
use crate::store::{Plan, Registered, Store, StoreResult, Tx};

/// A batch may bring the same id, the same nonce and a withdrawal of what it registers.
pub(super) async fn are_read_again<S: Store>(store: &S, plan: &Plan) -> StoreResult<()> {
    let now = store.now().await?;
    let first = plan.consents.first().cloned().unwrap_or_else(reference);
    let query = Query { reference: first, ..query(now) };
    let of = BTreeSet::from([query.reference.clone()]);
    let mut tx = store.begin().await?;
    tx.prepare(plan).await?;
    assert_eq!(tx.lock(&of).await?, BTreeMap::new());
    assert_eq!(tx.register(&new(&query, 1)).await?, Registered::New);
    let known = |query: &Query, asked| Registered::Known { query: Box::new(query.clone()), asked };
    assert_eq!(tx.register(&new(&query, 1)).await?, known(&query, false));
    let other = super::query(now);
    assert_eq!(tx.register(&new(&other, 1)).await?, Registered::NonceUsed);
    assert_eq!(tx.register(&new(&other, 2)).await?, Registered::New, "nothing was used up");
    tx.mark_asked(std::slice::from_ref(&query.reference)).await?;
    assert_eq!(tx.register(&new(&query, 1)).await?, known(&query, true));
    assert!(tx.withdraw(&query.reference, UnixMillis(5)).await?);
    assert!(!tx.withdraw(&query.reference, UnixMillis(6)).await?);
    assert_eq!(tx.withdrawal(&query.reference).await?, Some(UnixMillis(5)));
    let ended = Query { state: State::Withdrawn { at: UnixMillis(5), banks: 1 }, ..query.clone() };
    tx.save(&ended).await?;
    tx.keep_segment(&query.reference, &bank("alpha"), &Bytes::from_static(b"segment")).await?;
    tx.drop_content(&query.reference).await?;
    assert_eq!(tx.lock(&of).await?, BTreeMap::from([(query.reference.clone(), ended.clone())]));
    tx.commit().await?;
    assert_eq!(store.query(&query.reference).await?, Some(ended.clone()));
    assert_eq!(store.contact(&query.reference).await?, None);
    assert!(store.contact(&other.reference).await?.is_some());
    let mut tx = store.begin().await?;
    assert_eq!(tx.register(&new(&query, 3)).await?, known(&ended, true));
    Ok(())
}

pub(super) async fn are_read_again_when_they_were_prepared<S: Store>(store: &S) -> StoreResult<()> {
    let there = registered(store, 9).await?;
    let plan = Plan {
        consents: BTreeSet::from([reference()]),
        queries: BTreeSet::from([there.reference.clone(), reference()]),
        nonces: BTreeSet::from([Nonce([1; 16]), Nonce([9; 16])]),
        ..Plan::default()
    };
    let mut tx = store.begin().await?;
    tx.prepare(&plan).await?;
    tx.prepare(&plan).await?;
    let unused = query(store.now().await?);
    assert_eq!(tx.register(&new(&unused, 9)).await?, Registered::NonceUsed);
    assert_eq!(tx.lock(&plan.queries).await?, BTreeMap::from([(there.reference.clone(), there)]));
    drop(tx);
    are_read_again(store, &plan).await
}

fn closed(outcome: Closing) -> Closed {
    Closed {
        outcome,
        segment_sha256: Digest::of(b"segment"),
        appended_at: UnixMillis(1_795_420_800_123),
        at: (2, 1 << 40),
    }
}

pub(super) async fn of_every_state_come_back_as_they_were<S: Store>(store: &S) -> StoreResult<()> {
    let query = registered(store, 1).await?;
    let changed = Pair {
        attempts: 3,
        ask_again_at: Some(UnixMillis(-1)),
        closed: Some(closed(Closing::Refused)),
        unavailable: true,
        invalid: true,
        conflict: true,
        read_to: BTreeMap::from([(0, 7), (11, 1 << 40)]),
        ..Pair::new(Digest::of(b"statement"), None)
    };
    let outcomes = BTreeMap::from([
        (
            bank("alpha"),
            Outcome {
                outcome: BankOutcome::Answered,
                reply: Some(closed(Closing::Answered)),
                conflict: true,
            },
        ),
        (bank("beta"), Outcome { outcome: BankOutcome::Unavailable, reply: None, conflict: false }),
    ]);
    let report = |kind| State::Final(Final { kind, finalised_at: UnixMillis(9), outcomes: outcomes.clone() });
    let unchanged = Pair::new(Digest::of(b"other"), Some(UnixMillis(4)));
    let pairs = BTreeMap::from([(bank("alpha"), changed), (bank("beta"), unchanged)]);
    for state in [
        State::Collecting(Collecting { pairs }),
        report(FinalKind::AllAnswered),
        report(FinalKind::Partial),
        report(FinalKind::Empty),
        State::Withdrawn { at: UnixMillis(5), banks: 14 },
        State::Rejected(Code::REGION_NOT_OPEN),
        State::Cancelled { at: UnixMillis(5), banks: 14 },
        State::Held(Held {
            code: Code::HOLD_NOT_OVER,
            release_from: UnixMillis(5),
            release_until: UnixMillis(6),
            banks: 14,
            read_to: BTreeMap::from([(0, 7), (11, 1 << 40)]),
        }),
        State::Erased { at: UnixMillis(7), banks: 14, answered: 12 },
    ] {
        let changed = Query { state, ..query.clone() };
        let of = BTreeSet::from([query.reference.clone()]);
        let mut tx = store.begin().await?;
        tx.lock(&of).await?;
        tx.save(&changed).await?;
        tx.commit().await?;
        assert_eq!(store.query(&query.reference).await?.as_ref(), Some(&changed));
        let locked = store.begin().await?.lock(&of).await?;
        assert_eq!(locked.values().collect::<Vec<_>>(), [&changed]);
    }
    Ok(())
}

pub(super) async fn of_leaves_are_kept_once<S: Store>(store: &S) -> StoreResult<()> {
    let query = registered(store, 1).await?;
    let leaf = audit::withdrawn(&query.reference, UnixMillis(5));
    let again = audit::withdrawn(&query.reference, UnixMillis(6));
    let mut tx = store.begin().await?;
    tx.leaf(again.clone()).await?;
    drop(tx);
    for leaves in [vec![leaf.clone(), again.clone()], vec![again.clone()]] {
        let mut tx = store.begin().await?;
        for leaf in leaves {
            tx.leaf(leaf).await?;
        }
        tx.commit().await?;
        assert_eq!(store.leaves(&query.reference).await?, std::slice::from_ref(&leaf));
    }
    assert_eq!(store.leaves(&reference()).await?, []);
    Ok(())
}
