//! What the operator watches and decides about banks.

use std::collections::{BTreeMap, BTreeSet};

use plumbing::kafka::Position;
use schemas::ids::Nonce;
use schemas::time::UnixMillis;
use schemas::wire::BankOutcome;

use super::{bank, query};
use crate::domain::figures::{Figures, Remark};
use crate::domain::query::{Final, FinalKind, Outcome, Query, State};
use crate::domain::refusals::Hour;
use crate::store::{NewQuery, Pause, Progress, Remarked, Store, StoreResult, Tx};

const HOUR_MS: i64 = 3_600_000;

pub(super) async fn a_bank_is_paused_once_until_it_is_resumed<S: Store>(store: &S) -> StoreResult<()> {
    let pause = |reason: &str| Pause {
        since: UnixMillis(1_795_420_800_123),
        reason: reason.to_owned(),
        by: "operator".to_owned(),
    };
    let (alpha, beta) = (bank("alpha"), bank("beta"));
    assert!(store.pause(&alpha, &pause("maintenance")).await?);
    assert!(!store.pause(&alpha, &pause("another reason")).await?);
    assert!(store.pause(&beta, &pause("they asked for it")).await?);
    let both = BTreeMap::from([(alpha.clone(), pause("maintenance")), (beta, pause("they asked for it"))]);
    assert_eq!(store.pauses().await?, both);
    assert_eq!(store.resume(&alpha).await?, Some(pause("maintenance")));
    assert_eq!(store.resume(&alpha).await?, None);
    assert_eq!(store.pauses().await?.keys().collect::<Vec<_>>(), [&bank("beta")]);
    assert!(store.pause(&alpha, &pause("another reason")).await?);
    Ok(())
}

pub(super) async fn remarks_count_each_record_once_and_by_the_hour<S: Store>(store: &S) -> StoreResult<()> {
    let remarked = |id: &str, remark, offset, hour| Remarked {
        bank: bank(id),
        remark,
        at: Position { topic: format!("reply.{id}").into(), partition: 1, offset },
        appended_at: UnixMillis(hour * HOUR_MS + 1),
    };
    let batch = async |remarks: Vec<Remarked>, next_offset| -> StoreResult<()> {
        let mut tx = store.begin().await?;
        for remarked in remarks {
            tx.remark(remarked).await?;
        }
        tx.progress("reply.alpha", 1, Progress { next_offset, append_time: UnixMillis(1) }).await?;
        tx.commit().await
    };
    let first = || {
        vec![
            remarked("alpha", Remark::Late, 3, 7),
            remarked("alpha", Remark::Late, 4, 7),
            remarked("alpha", Remark::Invalid, 5, 8),
        ]
    };
    batch(first(), 6).await?;
    let again = vec![remarked("alpha", Remark::Duplicate, 6, 8), remarked("beta", Remark::Refused, 0, 8)];
    batch(first().into_iter().chain(again).collect(), 7).await?;
    let mut tx = store.begin().await?;
    tx.remark(remarked("alpha", Remark::Conflict, 9, 8)).await?;
    drop(tx);
    let alpha = |late| {
        let newer = [(Remark::Duplicate, 1), (Remark::Invalid, 1)];
        BTreeMap::from_iter(newer.into_iter().chain((late > 0).then_some((Remark::Late, late))))
    };
    let beta = BTreeMap::from([(Remark::Refused, 1)]);
    let with = |late| BTreeMap::from([(bank("alpha"), alpha(late)), (bank("beta"), beta.clone())]);
    assert_eq!(store.remarks(Hour(7)).await?, with(2), "what is read again counts once");
    assert_eq!(store.remarks(Hour(8)).await?, with(0));
    for _ in 0..2 {
        store.fold_remarks(Hour(7), Hour(9)).await?;
        assert_eq!(store.remarks(Hour(7)).await?, with(2), "putting together changes no number");
    }
    store.fold_remarks(Hour(8), Hour(9)).await?;
    assert_eq!(store.remarks(Hour(7)).await?, with(0));
    Ok(())
}

pub(super) async fn figures_are_of_the_newest_reports_that_are_there<S: Store>(store: &S) -> StoreResult<()> {
    // More than are read at a time, two of each instant.
    let mut queries: Vec<Query> = (0..510).map(|n| finished(UnixMillis(1_795_420_800_000 + n / 2))).collect();
    let mut tx = store.begin().await?;
    for (n, query) in queries.iter().enumerate() {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&n.to_be_bytes());
        tx.register(&NewQuery { query: query.clone(), nonce: Some(Nonce(nonce)), contact: None }).await?;
    }
    tx.commit().await?;
    let of = |queries: &[Query]| {
        let mut figures = Figures::default();
        for query in queries.iter().rev() {
            figures.add(&query.times, query.state.report().expect("a report"));
        }
        figures
    };
    let since = queries[8].times.accepted_at;
    assert_eq!(store.figures(since, usize::MAX).await?, of(&queries[8..]));
    let cut = Figures { cut: true, ..of(&queries[504..]) };
    assert_eq!(store.figures(since, 12).await?, cut, "two banks in each");
    let last = queries.pop().expect("a query");
    let mut tx = store.begin().await?;
    tx.lock(&BTreeSet::from([last.reference.clone()])).await?;
    tx.save(&Query { state: State::Withdrawn { at: UnixMillis(1), banks: 2 }, ..last }).await?;
    tx.commit().await?;
    assert_eq!(store.figures(since, usize::MAX).await?, of(&queries[8..]));
    Ok(())
}

fn finished(at: UnixMillis) -> Query {
    let outcome = |outcome| Outcome { outcome, reply: None, conflict: false };
    let report = Final {
        kind: FinalKind::Empty,
        finalised_at: at,
        outcomes: [
            (bank("alpha"), outcome(BankOutcome::NoReply)),
            (bank("beta"), outcome(BankOutcome::Unavailable)),
        ]
        .into(),
    };
    Query { state: State::Final(report), ..query(at) }
}
