//! What every store must do, as one suite with one body. A store that passes it may stand in for any other.

mod asking;
mod erasing;
mod holding;
mod logging;
mod own_writes;
mod racing;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::tz::TimeZone;
use plumbing::kafka::Position;
use schemas::ids::{BankId, Digest, KeyId, Nonce, QueryId, Reference};
use schemas::time::{Calendar, UnixMillis};
use schemas::wire::{self, event_record};

use super::{
    Clock, Content, GrantUse, Kept, NewQuery, OpenQueries, OutboxRow, Outgoing, Plan, Progress, Registered,
    SealedContact, Store, StoreResult, Tx,
};
use crate::domain::query::{Collecting, Final, FinalKind, Pair, Query, State};
use crate::domain::refusals::{Hour, SubjectHour};
use crate::domain::subject::SubjectMac;
use crate::domain::window::Window;

/// A clock that moves only when it is told.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at a fixed day.
    pub fn new() -> Self {
        Self(AtomicI64::new(1_795_420_800_000))
    }

    /// Moves on.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}

/// Runs every check, each on a fresh store that `make` builds on the given clock.
///
/// # Panics
/// When the store breaks the contract: the message says how.
pub async fn suite<S: Store>(make: impl AsyncFn(Arc<dyn Clock>) -> S) {
    let clock = Arc::new(ManualClock::new());
    let fresh = async || make(Arc::clone(&clock) as Arc<dyn Clock>).await;
    let checked: StoreResult<()> = async {
        a_transaction_that_is_dropped_changes_nothing(&fresh().await).await?;
        the_first_record_of_an_id_wins(&fresh().await).await?;
        a_consent_is_used_once(&fresh().await).await?;
        a_withdrawal_may_arrive_first(&fresh().await).await?;
        only_open_queries_are_past_their_deadline(&fresh().await, &clock).await?;
        only_due_pairs_are_asked(&fresh().await).await?;
        asking_is_noted_with_the_next_batch(&fresh().await).await?;
        content_is_gone_when_it_is_dropped(&fresh().await).await?;
        what_is_kept_is_digested(&fresh().await).await?;
        a_query_is_its_own_subjects_alone(&fresh().await).await?;
        a_grant_is_used_once_and_may_be_shown_again(&fresh().await).await?;
        a_refused_grant_counts_once_for_its_person_and_hour(&fresh().await).await?;
        many_grants_refused_at_once_get_a_number_each(Arc::new(fresh().await)).await?;
        progress_only_grows(&fresh().await).await?;
        outbox_rows_are_leased_to_one_and_in_order_within_a_query(&fresh().await, &clock).await?;
        a_parked_row_does_not_stop_the_rows_behind_it(&fresh().await).await?;
        own_writes::are_read_again(&fresh().await, &Plan::default()).await?;
        own_writes::are_read_again_when_they_were_prepared(&fresh().await).await?;
        own_writes::of_every_state_come_back_as_they_were(&fresh().await).await?;
        own_writes::of_leaves_are_kept_once(&fresh().await).await?;
        holding::takes_over_what_a_release_brings(&fresh().await, &clock).await?;
        holding::ends_by_time_while_it_lasts(&fresh().await, &clock).await?;
        open_queries_are_counted_until_they_end(&fresh().await, &clock).await?;
        asking::is_counted_by_person(&fresh().await).await?;
        asking::is_forgotten_when_it_is_over(&fresh().await).await?;
        asking::at_once_takes_one(&fresh().await).await?;
        erasing::refuses_what_comes_behind_the_watermark(&fresh().await).await?;
        erasing::takes_content_then_queries_then_what_is_left_of_them(&fresh().await).await?;
        erasing::forgets_withdrawals_whose_queries_never_came(&fresh().await).await?;
        logging::is_kept_by_one_at_a_time(&fresh().await, &clock).await?;
        logging::gives_each_leaf_one_position(&fresh().await).await?;
        logging::is_whole_when_many_write_and_sequence_at_once(&fresh().await).await?;
        logging::adopts_what_was_published(&fresh().await).await?;
        logging::has_a_receipt_once(&fresh().await).await?;
        logging::finds_the_segments_of_a_report(&fresh().await).await?;
        watching::a_bank_is_paused_once_until_it_is_resumed(&fresh().await).await?;
        watching::remarks_count_each_record_once_and_by_the_hour(&fresh().await).await?;
        watching::figures_are_of_the_newest_reports_that_are_there(&fresh().await).await?;
        racing::two_transactions_never_hold_the_same_query(&fresh().await).await?;
        racing::a_report_has_the_reply_that_was_taken(&fresh().await).await?;
        racing::of_two_last_replies_one_makes_the_report(&fresh().await).await?;
        racing::a_registration_and_a_withdrawal_see_each_other(&fresh().await).await?;
        racing::one_of_two_uses_of_a_consent_fails(&fresh().await).await?;
        Ok(())
    }
    .await;
    checked.expect("the store answers");
}

fn window() -> Window {
    Window {
        length: Duration::from_secs(24 * 3600),
        grace: Duration::from_secs(5),
        calendar: Calendar::Civil(TimeZone::UTC),
    }
}

fn bank(id: &str) -> BankId {
    id.parse().expect("an id")
}

fn reference() -> Reference {
    Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() }
}

fn query(accepted_at: UnixMillis) -> Query {
    let pair = Pair::new(Digest::of(b"statement"), Some(accepted_at));
    Query {
        reference: reference(),
        subject: "subject".into(),
        content_digest: Digest::of(b"content"),
        report_key: KeyId([7; 16]),
        record: Position { topic: "cardquery.query.wallet.v1".into(), partition: 3, offset: 42 },
        times: window().times(accepted_at),
        state: State::Collecting(Collecting { pairs: BTreeMap::from([(bank("alpha"), pair)]) }),
    }
}

fn contact() -> SealedContact {
    SealedContact { statement: wire::Signed::default(), sealed: Bytes::from_static(b"sealed contact") }
}

fn new(query: &Query, nonce: u8) -> NewQuery {
    NewQuery { query: query.clone(), nonce: Some(Nonce([nonce; 16])), contact: Some(contact()) }
}

async fn registered<S: Store>(store: &S, nonce: u8) -> StoreResult<Query> {
    let query = query(store.now().await?);
    let mut tx = store.begin().await?;
    assert_eq!(tx.register(&new(&query, nonce)).await?, Registered::New);
    tx.commit().await?;
    Ok(query)
}

fn event(kind: event_record::Message, reference: &Reference) -> OutboxRow {
    OutboxRow { reference: reference.clone(), message: Outgoing::Event(kind) }
}

fn viewed(reference: &Reference) -> OutboxRow {
    event(event_record::Message::Viewed(wire::ReportViewed { viewed_at_ms: 1 }), reference)
}

async fn a_transaction_that_is_dropped_changes_nothing<S: Store>(store: &S) -> StoreResult<()> {
    let query = query(store.now().await?);
    let mut tx = store.begin().await?;
    tx.register(&new(&query, 1)).await?;
    tx.withdraw(&query.reference, UnixMillis(5)).await?;
    tx.keep_segment(&query.reference, &bank("alpha"), &Bytes::from_static(b"segment")).await?;
    tx.keep_coverage(&query.reference, &wire::Signed::default()).await?;
    tx.use_grant(&query.reference, Nonce([1; 16]), Digest::of(b"grant")).await?;
    tx.refuse(&subject_hour(1, 7), Digest::of(b"grant")).await?;
    tx.enqueue(vec![viewed(&query.reference)]).await?;
    tx.progress("topic", 0, Progress { next_offset: 9, append_time: UnixMillis(9) }).await?;
    drop(tx);
    assert_eq!(store.query(&query.reference).await?, None);
    assert_eq!(store.contact(&query.reference).await?, None);
    assert_eq!(store.report(&query.reference).await?, None);
    assert_eq!(store.outbox_depth().await?, (0, 0));
    assert!(store.progress(&BTreeSet::from(["topic".to_owned()])).await?.is_empty());
    let mut tx = store.begin().await?;
    assert_eq!(tx.withdrawal(&query.reference).await?, None);
    assert_eq!(tx.register(&new(&query, 1)).await?, Registered::New, "the nonce is free as well");
    let used = tx.use_grant(&query.reference, Nonce([1; 16]), Digest::of(b"grant")).await?;
    assert_eq!(used, GrantUse::First);
    assert_eq!(tx.refused(&subject_hour(1, 7)).await?, 0);
    Ok(())
}

async fn the_first_record_of_an_id_wins<S: Store>(store: &S) -> StoreResult<()> {
    let first = registered(store, 1).await?;
    let second = Query { subject: "somebody else".into(), ..first.clone() };
    let mut tx = store.begin().await?;
    let known = Registered::Known { query: Box::new(first.clone()), asked: false };
    assert_eq!(tx.register(&new(&second, 2)).await?, known);
    tx.commit().await?;
    assert_eq!(store.query(&first.reference).await?, Some(first.clone()));
    let mut tx = store.begin().await?;
    let other = query(store.now().await?);
    assert_eq!(tx.register(&new(&other, 2)).await?, Registered::New, "the second took no nonce");
    Ok(())
}

async fn a_consent_is_used_once<S: Store>(store: &S) -> StoreResult<()> {
    registered(store, 1).await?;
    let other = query(store.now().await?);
    let mut tx = store.begin().await?;
    assert_eq!(tx.register(&new(&other, 1)).await?, Registered::NonceUsed);
    let rejected = NewQuery { query: other.clone(), nonce: None, contact: None };
    assert_eq!(tx.register(&rejected).await?, Registered::New, "a rejected query uses no consent");
    tx.commit().await?;
    assert_eq!(store.contact(&other.reference).await?, None);
    Ok(())
}

async fn a_withdrawal_may_arrive_first<S: Store>(store: &S) -> StoreResult<()> {
    let query = query(store.now().await?);
    let mut tx = store.begin().await?;
    assert!(tx.withdraw(&query.reference, UnixMillis(5)).await?);
    assert!(!tx.withdraw(&query.reference, UnixMillis(6)).await?);
    tx.commit().await?;
    let mut tx = store.begin().await?;
    assert_eq!(tx.register(&new(&query, 1)).await?, Registered::New);
    assert_eq!(tx.withdrawal(&query.reference).await?, Some(UnixMillis(5)));
    Ok(())
}

async fn only_open_queries_are_past_their_deadline<S: Store>(
    store: &S,
    clock: &ManualClock,
) -> StoreResult<()> {
    let early = registered(store, 1).await?;
    clock.advance(Duration::from_millis(1));
    let late = registered(store, 2).await?;
    let ended = registered(store, 3).await?;
    let mut tx = store.begin().await?;
    let locked = tx.lock(&BTreeSet::from([ended.reference.clone(), reference()])).await?;
    assert_eq!(locked.keys().collect::<Vec<_>>(), [&ended.reference], "a missing query is missing");
    tx.save(&Query { state: State::Withdrawn { at: UnixMillis(1), banks: 1 }, ..ended }).await?;
    tx.commit().await?;
    let due = async |deadline: UnixMillis, max| -> StoreResult<Vec<Reference>> {
        Ok(store.past_deadline(deadline, max).await?.into_iter().map(|query| query.reference).collect())
    };
    let (first, second) = (early.times.deadline_at, late.times.deadline_at);
    assert_eq!(due(UnixMillis(first.0 - 1), 9).await?, []);
    assert_eq!(due(first, 9).await?, std::slice::from_ref(&early.reference));
    assert_eq!(due(second, 9).await?, [early.reference.clone(), late.reference]);
    assert_eq!(due(second, 1).await?, [early.reference], "the oldest first");
    Ok(())
}

async fn open_queries_are_counted_until_they_end<S: Store>(
    store: &S,
    clock: &ManualClock,
) -> StoreResult<()> {
    assert_eq!(store.open_queries().await?, OpenQueries::default());
    let held = holding::held(store, 1).await?;
    let only_held = OpenQueries { collecting: 0, held: 1, oldest: None };
    assert_eq!(store.open_queries().await?, only_held, "a held query is not the oldest that collects");
    clock.advance(Duration::from_millis(1));
    let first = registered(store, 2).await?;
    clock.advance(Duration::from_millis(1));
    let second = registered(store, 3).await?;
    let open = |collecting, held, oldest: &Query| OpenQueries {
        collecting,
        held,
        oldest: Some(oldest.times.accepted_at),
    };
    assert_eq!(store.open_queries().await?, open(2, 1, &first));
    for ended in [first, held] {
        let mut tx = store.begin().await?;
        tx.lock(&BTreeSet::from([ended.reference.clone()])).await?;
        tx.save(&Query { state: State::Withdrawn { at: UnixMillis(1), banks: 1 }, ..ended }).await?;
        tx.commit().await?;
    }
    assert_eq!(store.open_queries().await?, open(1, 0, &second));
    Ok(())
}

async fn only_due_pairs_are_asked<S: Store>(store: &S) -> StoreResult<()> {
    let now = store.now().await?;
    let mut query = query(now);
    let pair = |ask_again_at| Pair::new(Digest::of(b"statement"), ask_again_at);
    let pairs = [("due", Some(now)), ("later", Some(now + Duration::from_millis(1))), ("never", None)];
    query.state = State::Collecting(Collecting {
        pairs: pairs.into_iter().map(|(id, at)| (bank(id), pair(at))).collect(),
    });
    let mut tx = store.begin().await?;
    tx.register(&new(&query, 1)).await?;
    tx.commit().await?;
    let expected = BTreeMap::from([(query.reference.clone(), BTreeSet::from([bank("due")]))]);
    let nobody = BTreeSet::new();
    assert_eq!(store.due_to_ask(now, &nobody, 9).await?, expected);
    let (paused, other) = (BTreeSet::from([bank("due")]), BTreeSet::from([bank("later")]));
    assert!(store.due_to_ask(now, &paused, 9).await?.is_empty(), "a paused bank's pair stays due");
    assert_eq!(store.due_to_ask(now, &other, 9).await?, expected);
    assert!(store.due_to_ask(UnixMillis(now.0 - 1), &nobody, 9).await?.is_empty());
    let mut tx = store.begin().await?;
    tx.save(&Query { state: State::Withdrawn { at: now, banks: 3 }, ..query }).await?;
    tx.commit().await?;
    assert!(store.due_to_ask(now, &nobody, 9).await?.is_empty(), "an ended query asks nobody");
    Ok(())
}

async fn asking_is_noted_with_the_next_batch<S: Store>(store: &S) -> StoreResult<()> {
    let query = registered(store, 1).await?;
    let mut tx = store.begin().await?;
    tx.mark_asked(&[query.reference.clone(), reference()]).await?;
    tx.commit().await?;
    let mut tx = store.begin().await?;
    tx.save(&query).await?;
    let known = Registered::Known { query: Box::new(query.clone()), asked: true };
    assert_eq!(tx.register(&new(&query, 1)).await?, known, "saving does not forget it");
    Ok(())
}

async fn content_is_gone_when_it_is_dropped<S: Store>(store: &S) -> StoreResult<()> {
    let query = registered(store, 1).await?;
    let segment = Bytes::from_static(b"segment");
    let coverage = wire::Signed { body: Bytes::from_static(b"coverage"), ..Default::default() };
    let mut tx = store.begin().await?;
    tx.keep_segment(&query.reference, &bank("alpha"), &segment).await?;
    tx.keep_segment(&query.reference, &bank("beta"), &segment).await?;
    tx.keep_coverage(&query.reference, &coverage).await?;
    tx.commit().await?;
    let report = store.report(&query.reference).await?.expect("there is a report");
    assert_eq!(report.coverage, coverage);
    assert_eq!(report.segments.keys().collect::<Vec<_>>(), [&bank("alpha"), &bank("beta")]);
    assert_eq!(store.contact(&query.reference).await?, Some(contact()));
    let mut tx = store.begin().await?;
    tx.drop_content(&query.reference).await?;
    tx.commit().await?;
    assert_eq!(store.report(&query.reference).await?, None);
    assert_eq!(store.contact(&query.reference).await?, None);
    assert!(store.query(&query.reference).await?.is_some(), "the row itself stays");
    Ok(())
}

async fn what_is_kept_is_digested<S: Store>(store: &S) -> StoreResult<()> {
    let (query, open) = (registered(store, 1).await?, registered(store, 2).await?);
    let segment = Bytes::from_static(b"segment");
    let coverage = wire::Signed { body: Bytes::from_static(b"coverage"), ..Default::default() };
    let report = Final { kind: FinalKind::Empty, finalised_at: UnixMillis(1), outcomes: BTreeMap::new() };
    let mut tx = store.begin().await?;
    tx.lock(&BTreeSet::from([query.reference.clone()])).await?;
    tx.keep_segment(&query.reference, &bank("alpha"), &segment).await?;
    tx.keep_coverage(&query.reference, &coverage).await?;
    tx.save(&Query { state: State::Final(report.clone()), ..query.clone() }).await?;
    tx.commit().await?;
    let asked = BTreeSet::from([query.reference.clone(), open.reference.clone(), reference()]);
    let expected = BTreeMap::from([
        (
            query.reference.clone(),
            Kept {
                state: Some(State::Final(report)),
                coverage: Some(Content::Sha256(Digest::of(b"coverage"))),
                segments: BTreeMap::from([("alpha".to_owned(), Content::Sha256(Digest::of(b"segment")))]),
            },
        ),
        (open.reference, Kept { state: Some(State::Collecting(Collecting::default())), ..Kept::default() }),
    ]);
    assert_eq!(store.kept(&asked).await?, expected, "a missing query is missing");
    let mut tx = store.begin().await?;
    tx.drop_content(&query.reference).await?;
    tx.commit().await?;
    let kept = store.kept(&asked).await?.remove(&query.reference).expect("the row is there");
    assert_eq!((kept.coverage, kept.segments), (None, BTreeMap::new()));
    Ok(())
}

async fn a_query_is_its_own_subjects_alone<S: Store>(store: &S) -> StoreResult<()> {
    let query = registered(store, 1).await?;
    assert!(store.is_of(&query.reference, &query.subject).await?);
    assert!(!store.is_of(&query.reference, "somebody else").await?);
    assert!(!store.is_of(&reference(), &query.subject).await?, "there is no such query");
    Ok(())
}

async fn a_grant_is_used_once_and_may_be_shown_again<S: Store>(store: &S) -> StoreResult<()> {
    let query = registered(store, 1).await?;
    let (nonce, grant, other) = (Nonce([1; 16]), Digest::of(b"grant"), Digest::of(b"other"));
    for (digest, expected) in
        [(grant, GrantUse::First), (grant, GrantUse::Again), (other, GrantUse::NonceUsed)]
    {
        let mut tx = store.begin().await?;
        assert_eq!(tx.use_grant(&query.reference, nonce, digest).await?, expected);
        tx.commit().await?;
    }
    let mut tx = store.begin().await?;
    let foreign = reference();
    assert_eq!(tx.use_grant(&foreign, nonce, grant).await?, GrantUse::NonceUsed, "not for another query");
    Ok(())
}

fn subject_hour(subject: u8, hour: i64) -> SubjectHour {
    SubjectHour { subject: SubjectMac([subject; 32]), hour: Hour(hour) }
}

async fn a_refused_grant_counts_once_for_its_person_and_hour<S: Store>(store: &S) -> StoreResult<()> {
    let (here, later, other) = (subject_hour(1, 7), subject_hour(1, 8), subject_hour(2, 7));
    for (at, grant, expected) in
        [(here, "one", 1), (here, "two", 2), (here, "one", 2), (later, "one", 1), (other, "three", 1)]
    {
        let mut tx = store.begin().await?;
        assert_eq!(tx.refuse(&at, Digest::of(grant.as_bytes())).await?, expected, "{at:?} {grant}");
        assert_eq!(tx.refused(&at).await?, expected);
        tx.commit().await?;
    }
    store.forget_refusals(Hour(8)).await?;
    let mut tx = store.begin().await?;
    for (at, expected) in [(here, 0), (other, 0), (later, 1)] {
        assert_eq!(tx.refused(&at).await?, expected, "{at:?}");
    }
    Ok(())
}

/// Who counts without a lock tells two grants the same number, and lets both pass a limit.
async fn many_grants_refused_at_once_get_a_number_each<S: Store>(store: Arc<S>) -> StoreResult<()> {
    const GRANTS: u32 = 50;
    let refuse = async |store: Arc<S>, grant: u32| -> StoreResult<u32> {
        let mut tx = store.begin().await?;
        let number = tx.refuse(&subject_hour(1, 7), Digest::of(&grant.to_be_bytes())).await?;
        tokio::task::yield_now().await;
        tx.commit().await?;
        Ok(number)
    };
    let numbers = (0..GRANTS).map(|grant| refuse(Arc::clone(&store), grant));
    let numbers: BTreeSet<u32> = futures::future::try_join_all(numbers).await?.into_iter().collect();
    assert_eq!(numbers, (1..=GRANTS).collect());
    Ok(())
}

async fn progress_only_grows<S: Store>(store: &S) -> StoreResult<()> {
    for (next_offset, expected) in [(5, 5), (3, 5), (8, 8)] {
        let mut tx = store.begin().await?;
        tx.progress("a", 1, Progress { next_offset, append_time: UnixMillis(next_offset) }).await?;
        tx.progress("b", 0, Progress { next_offset: 1, append_time: UnixMillis(1) }).await?;
        tx.commit().await?;
        let progress = store.progress(&BTreeSet::from(["a".to_owned()])).await?;
        let known = Progress { next_offset: expected, append_time: UnixMillis(expected) };
        assert_eq!(progress, BTreeMap::from([(("a".to_owned(), 1), known)]));
    }
    Ok(())
}

async fn outbox_rows_are_leased_to_one_and_in_order_within_a_query<S: Store>(
    store: &S,
    clock: &ManualClock,
) -> StoreResult<()> {
    const LEASE: Duration = Duration::from_secs(60);
    let (one, two) = (registered(store, 1).await?.reference, registered(store, 2).await?.reference);
    let notice =
        |reference: &Reference| OutboxRow { reference: reference.clone(), message: Outgoing::Notice };
    let mut tx = store.begin().await?;
    tx.enqueue(vec![viewed(&one), notice(&one), viewed(&two)]).await?;
    tx.commit().await?;
    let rows = async || -> StoreResult<Vec<(u64, OutboxRow)>> {
        Ok(store.lease_outbox(10, LEASE).await?.into_iter().map(|leased| (leased.id, leased.row)).collect())
    };
    let first = rows().await?;
    let order: Vec<_> = first.iter().map(|(_, row)| row.clone()).collect();
    assert_eq!(order, [viewed(&one), viewed(&two)], "the notice waits for the older row of its query");
    assert_eq!(rows().await?, [], "leased");
    store.outbox_published(&[first[0].0]).await?;
    assert_eq!(rows().await?.into_iter().map(|(_, row)| row).collect::<Vec<_>>(), [notice(&one)]);
    store.outbox_released(&[first[1].0]).await?;
    assert_eq!(rows().await?, [first[1].clone()], "given back");
    clock.advance(LEASE / 2);
    store.outbox_renewed(&[first[1].0, first[0].0], LEASE).await?;
    clock.advance(LEASE / 2);
    let again = rows().await?;
    assert_eq!(again.iter().map(|(_, row)| row.clone()).collect::<Vec<_>>(), [notice(&one)], "not renewed");
    clock.advance(LEASE);
    assert_eq!(rows().await?.len(), 2, "the leases are over");
    assert_eq!(store.outbox_depth().await?, (2, 0));
    Ok(())
}

async fn a_parked_row_does_not_stop_the_rows_behind_it<S: Store>(store: &S) -> StoreResult<()> {
    let one = registered(store, 1).await?.reference;
    let notice = OutboxRow { reference: one.clone(), message: Outgoing::Notice };
    let mut tx = store.begin().await?;
    tx.enqueue(vec![viewed(&one), notice.clone()]).await?;
    tx.commit().await?;
    let first = store.lease_outbox(10, Duration::from_secs(60)).await?;
    store.outbox_parked(first[0].id, "MESSAGE_TOO_LARGE").await?;
    let next = store.lease_outbox(10, Duration::from_secs(60)).await?;
    assert_eq!(next.into_iter().map(|leased| leased.row).collect::<Vec<_>>(), [notice]);
    assert_eq!(store.outbox_depth().await?, (1, 1));
    Ok(())
}
