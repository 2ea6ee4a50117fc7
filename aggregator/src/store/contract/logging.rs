//! The audit log: one order of all leaves, whoever asks for it.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join, join_all};
use schemas::audit::{Frontier, Leaf};
use schemas::ids::{Digest, Nonce};
use schemas::merkle;
use schemas::time::UnixMillis;
use schemas::wire;

use super::{ManualClock, reference};
use crate::domain::audit;
use crate::store::{LogHead, Store, StoreResult, Tx};

const LEASE: Duration = Duration::from_secs(5);
const ME: Nonce = Nonce([1; 16]);
const OTHER: Nonce = Nonce([2; 16]);

async fn write<S: Store>(store: &S, leaves: Vec<Leaf>) -> StoreResult<()> {
    let mut tx = store.begin().await?;
    for leaf in leaves {
        tx.leaf(leaf).await?;
    }
    tx.commit().await
}

fn leaf() -> Leaf {
    audit::withdrawn(&reference(), UnixMillis(5))
}

fn hash(leaves: &[Bytes]) -> Vec<Digest> {
    leaves.iter().map(|leaf| merkle::leaf_hash(leaf)).collect()
}

async fn kept<S: Store>(store: &S, keeper: Nonce) -> StoreResult<LogHead> {
    Ok(store.keep_log(keeper, LEASE).await?.expect("nobody else has it"))
}

pub(super) async fn is_kept_by_one_at_a_time<S: Store>(store: &S, clock: &ManualClock) -> StoreResult<()> {
    let empty = LogHead { size: 0, published: Frontier::default(), next_offset: 0, checkpoint_at: None };
    assert_eq!(store.keep_log(ME, LEASE).await?, Some(empty));
    assert_eq!(store.keep_log(OTHER, LEASE).await?, None);
    clock.advance(LEASE - Duration::from_millis(1));
    assert!(store.keep_log(ME, LEASE).await?.is_some(), "prolonged");
    clock.advance(LEASE - Duration::from_millis(1));
    assert_eq!(store.keep_log(OTHER, LEASE).await?, None);
    clock.advance(Duration::from_millis(1));
    assert!(store.keep_log(OTHER, LEASE).await?.is_some(), "its time was over");

    write(store, vec![leaf()]).await?;
    let frontier = Frontier::default();
    assert!(store.sequence_leaves(ME, 0, 9).await.is_err(), "a keeper that was held up");
    assert!(store.adopt_leaves(ME, 0, &[leaf()]).await.is_err());
    assert!(store.log_published(ME, &frontier, 1).await.is_err());
    assert!(store.keep_checkpoint(ME, 0, "note", UnixMillis(1)).await.is_err());
    store.leave_log(ME).await?;
    assert_eq!(store.keep_log(ME, LEASE).await?, None, "only who has it gives it back");
    store.leave_log(OTHER).await?;
    assert_eq!(kept(store, ME).await?.size, 0);
    Ok(())
}

pub(super) async fn gives_each_leaf_one_position<S: Store>(store: &S) -> StoreResult<()> {
    let leaves: Vec<Leaf> = (0..5).map(|_| leaf()).collect();
    for leaf in &leaves {
        write(store, vec![leaf.clone()]).await?;
    }
    kept(store, ME).await?;
    assert_eq!(store.log_lag().await?.unpublished, 5);
    assert_eq!(store.sequence_leaves(ME, 0, 3).await?, 3);
    assert!(store.sequence_leaves(ME, 0, 3).await.is_err(), "the log is longer than that");
    assert_eq!(store.sequence_leaves(ME, 3, 3).await?, 2);
    assert_eq!(store.sequence_leaves(ME, 5, 3).await?, 0);
    write(store, leaves.clone()).await?;
    assert_eq!(store.sequence_leaves(ME, 5, 3).await?, 0, "a leaf that is written again is the same one");
    let encoded: Vec<Bytes> = leaves.iter().map(Leaf::encode).collect();
    assert_eq!(store.log_entries(0, 9).await?, encoded, "in the order in which they were written");
    assert_eq!(store.log_entries(1, 2).await?, encoded[1..3]);
    assert_eq!(store.log_entries(5, 2).await?, [] as [Bytes; 0]);

    let mut frontier = Frontier::default();
    for (size, hash) in (1..).zip(hash(&encoded)) {
        frontier.push(hash);
        store.log_published(ME, &frontier, size).await?;
        let head = kept(store, ME).await?;
        assert_eq!((head.size, head.next_offset), (5, size));
        assert_eq!(head.published, frontier);
    }
    assert_eq!(frontier.root(), merkle::root(&hash(&encoded)));
    assert!(store.log_published(ME, &Frontier::default(), 9).await.is_err(), "it only grows");
    assert!(store.keep_checkpoint(ME, 4, "note", UnixMillis(7)).await.is_err(), "the topic has more");
    store.keep_checkpoint(ME, 5, "note", UnixMillis(7)).await?;
    assert_eq!(store.checkpoint().await?.as_deref(), Some("note"));
    let lag = store.log_lag().await?;
    assert_eq!((lag.unpublished, lag.checkpoint_at), (0, Some(UnixMillis(7))));
    Ok(())
}

const TASKS: usize = 8;
const ROUNDS: usize = 12;

async fn write_some<S: Store>(store: &S) -> StoreResult<()> {
    for _ in 0..ROUNDS {
        write(store, vec![leaf(), leaf()]).await?;
    }
    Ok(())
}

/// Returns how many leaves got a position.
async fn sequence_some<S: Store>(store: &S) -> StoreResult<usize> {
    let mut given = 0;
    for _ in 0..ROUNDS {
        let head = kept(store, ME).await?;
        // Another task was faster: what this one believes is not so any more.
        given += store.sequence_leaves(ME, head.size, 7).await.unwrap_or(0);
    }
    Ok(given)
}

/// All tasks believe that they are the keeper, as one does that was held up.
pub(super) async fn is_whole_when_many_write_and_sequence_at_once<S: Store>(store: &S) -> StoreResult<()> {
    let writers = join_all((0..TASKS).map(|_| write_some(store)));
    let sequencers = join_all((0..TASKS).map(|_| sequence_some(store)));
    let (written, sequenced) = join(writers, sequencers).await;
    written.into_iter().collect::<StoreResult<Vec<()>>>()?;
    let mut given: usize = sequenced.into_iter().sum::<StoreResult<usize>>()?;
    let size = kept(store, ME).await?.size;
    assert_eq!(given as u64, size, "every position was given by one of them");
    loop {
        match store.sequence_leaves(ME, given as u64, 50).await? {
            0 => break,
            more => given += more,
        }
    }
    let all = TASKS * ROUNDS * 2;
    let entries = store.log_entries(0, 2 * all).await?;
    assert_eq!((given, entries.len()), (all, all), "positions are dense");
    assert_eq!(entries.iter().collect::<BTreeSet<_>>().len(), all, "each leaf is there once");
    Ok(())
}

pub(super) async fn adopts_what_was_published<S: Store>(store: &S) -> StoreResult<()> {
    let (first, waits, also_waits, foreign) = (leaf(), leaf(), leaf(), leaf());
    kept(store, ME).await?;
    write(store, vec![first.clone()]).await?;
    assert_eq!(store.sequence_leaves(ME, 0, 9).await?, 1);
    write(store, vec![waits.clone()]).await?;
    write(store, vec![also_waits.clone()]).await?;

    let twice = [foreign.clone(), first.clone()];
    assert!(!store.adopt_leaves(ME, 1, &twice).await?, "the store has one of them elsewhere");
    assert_eq!(kept(store, ME).await?.size, 1, "nothing is changed");
    assert!(store.adopt_leaves(ME, 0, std::slice::from_ref(&foreign)).await.is_err(), "there is one already");

    let of = waits.reference().expect("of a query").clone();
    let published = audit::withdrawn(&of, UnixMillis(6));
    assert_eq!(published.id(), waits.id());
    let receipt = Leaf::Receipt(jiff::civil::date(2026, 12, 2), wire::Signed::default());
    let adopted = [foreign.clone(), published.clone(), receipt.clone()];
    assert!(store.adopt_leaves(ME, 1, &adopted).await?);
    assert_eq!(store.leaves(&of).await?, std::slice::from_ref(&published), "what was published stands");
    assert_eq!(kept(store, ME).await?.size, 4);
    assert_eq!(store.sequence_leaves(ME, 4, 9).await?, 1, "the one that nobody published");
    let entries: Vec<Bytes> =
        [first, foreign, published, receipt, also_waits].iter().map(Leaf::encode).collect();
    assert_eq!(store.log_entries(0, 9).await?, entries);
    Ok(())
}

pub(super) async fn has_a_receipt_once<S: Store>(store: &S) -> StoreResult<()> {
    let query = super::registered(store, 1).await?;
    let day = query.times.erase_on;
    store.erase_through(day).await?;
    store.erase_content().await?;
    let receipt = wire::Signed { body: Bytes::from_static(b"receipt"), ..Default::default() };
    store.keep_receipt(day, &receipt).await?;
    store.keep_receipt(day, &wire::Signed::default()).await?;
    kept(store, ME).await?;
    let sequenced = store.sequence_leaves(ME, 0, 9).await?;
    let entries = store.log_entries(0, 9).await?;
    assert_eq!((sequenced, entries), (1, vec![Leaf::Receipt(day, receipt).encode()]));
    Ok(())
}

pub(super) async fn finds_the_segments_of_a_report<S: Store>(store: &S) -> StoreResult<()> {
    let query = super::registered(store, 1).await?;
    let of = &query.reference;
    let [alpha, beta, gamma] = ["alpha", "beta", "gamma"].map(super::bank);
    let wanted = [alpha.clone(), beta.clone(), gamma].into();
    let segment = Bytes::from_static;
    let mut tx = store.begin().await?;
    tx.lock(&[of.clone()].into()).await?;
    tx.keep_segment(of, &alpha, &segment(b"alpha's")).await?;
    tx.commit().await?;
    let mut tx = store.begin().await?;
    tx.lock(&[of.clone()].into()).await?;
    tx.keep_segment(of, &beta, &segment(b"beta's")).await?;
    let both = [(alpha.clone(), segment(b"alpha's")), (beta.clone(), segment(b"beta's"))].into();
    assert_eq!(tx.segments(of, &wanted).await?, both);
    assert_eq!(tx.segments(of, &[beta.clone()].into()).await?, [(beta, segment(b"beta's"))].into());
    tx.drop_content(of).await?;
    assert_eq!(tx.segments(of, &wanted).await?, [].into());
    tx.commit().await
}
