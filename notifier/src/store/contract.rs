//! What every store must do: one body of checks for all of them.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use schemas::codes::Code;
use schemas::ids::{QueryId, Reference};

use jiff::tz::TimeZone;
use schemas::time::UnixMillis;

use super::{Claim, Due, Ended, NoticeAt, Progress, Standing, Store};
use crate::domain::evidence::{Evidence, Means, Said, Step};
use crate::domain::phone_limit::{PhoneLimit, PhoneMac};
use crate::domain::sms::{self, Claimant, Event, Outcome, State, Terms, Told, UNFINISHED};

const FAILED: Outcome = Outcome::Failed { code: Code::GATEWAY_REFUSED };

/// Claims that race for one row.
const RACERS: usize = 64;
/// Longer than any check takes.
const LEASE: Duration = Duration::from_secs(3_600);
/// Over as soon as it is granted.
const NO_LEASE: Duration = Duration::ZERO;
/// A gateway that can do nothing about an SMS that may have been sent.
const NONE: Means = Means {
    idempotent: false,
    inquiries: false,
    first: Duration::ZERO,
    longest: Duration::ZERO,
    give_up: LEASE,
};
const IDEMPOTENT: Means = Means { idempotent: true, ..NONE };
const ASKED: Means = Means { inquiries: true, ..NONE };
const NOTICE: NoticeAt = NoticeAt { partition: 7, offset: i64::MAX };

/// Checks a store; `new` returns one without rows. They are all gone afterwards.
///
/// # Panics
/// When the store breaks the contract.
pub async fn check<S: Store>(new: impl AsyncFn() -> S) {
    let store = Arc::new(new().await);
    a_claim_is_granted_once(&*store).await;
    of_racing_claims_one_is_granted(&store).await;
    a_claimant_that_asks_again_is_told_the_same(&*store).await;
    a_released_claim_is_granted_again_and_an_outcome_is_not(&*store).await;
    an_earlier_attempt_releases_nothing(&*store).await;
    unknown_is_claimed_again_for_an_idempotent_gateway_only(&*store).await;
    a_claim_whose_lease_is_over_is_unknown_and_its_holder_may_still_tell(&*store).await;
    a_claim_whose_lease_is_over_is_taken_over_for_an_idempotent_gateway(&*store).await;
    a_better_outcome_counts_and_is_to_be_announced(&*store).await;
    an_outcome_without_a_claim_is_kept(&*store).await;
    every_outcome_is_kept_as_it_is(&*store).await;
    an_open_claim_in_the_topic_leaves_a_live_or_released_one_alone(&*store).await;
    an_open_claim_in_the_topic_is_unknown_when_nobody_holds_it(&*store).await;
    an_outcome_in_the_topic_is_announced(&*store).await;
    what_waits_is_looked_after_once_its_time_has_come(&*store).await;
    what_is_held_is_told_to_nobody_else(&store).await;
    what_may_have_been_sent_keeps_its_evidence(&*store).await;
    claims_without_an_outcome_and_outcomes_that_the_topic_lacks_are_looked_after(&*store).await;
    a_receipt_finds_its_sms_and_counts_once(&*store).await;
    a_phone_gets_as_many_as_the_limit_says(&store).await;
    queries_of_two_upstreams_with_one_id_are_two(&*store).await;
    progress_only_grows_and_a_step_back_is_noticed(&*store).await;
    old_rows_are_forgotten_and_young_ones_are_not(&*store).await;
}

fn reference() -> Reference {
    Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() }
}

fn sent() -> Outcome {
    Outcome::Sent { gateway_id: "g-1".into() }
}

fn ended(attempt: u32, outcome: Outcome, announced: bool) -> Ended {
    Ended { attempt, outcome, announced, evidence: Evidence::default() }
}

/// Its times are the store's own; what it says has checks of its own.
fn without_evidence(ended: Ended) -> Ended {
    Ended { evidence: Evidence::default(), ..ended }
}

fn terms(lease: Duration) -> Terms {
    Terms { claimant: Claimant::new(), means: NONE, lease, quiet: None }
}

async fn claim_with(store: &impl Store, reference: &Reference, terms: Terms) -> Claim {
    match store.claim(reference, terms, Some(NOTICE)).await.expect("available") {
        Claim::Ended(ended) => Claim::Ended(without_evidence(ended)),
        claim @ (Claim::Granted { .. } | Claim::InProgress | Claim::Waiting) => claim,
    }
}

async fn claim(store: &impl Store, reference: &Reference) -> Claim {
    claim_with(store, reference, terms(LEASE)).await
}

async fn claim_again(store: &impl Store, reference: &Reference) -> Claim {
    claim_with(store, reference, Terms { means: IDEMPOTENT, ..terms(LEASE) }).await
}

async fn claim_for_no_time(store: &impl Store, reference: &Reference) {
    let claim = claim_with(store, reference, terms(NO_LEASE)).await;
    assert!(matches!(claim, Claim::Granted { .. }), "{claim:?}");
}

async fn record(store: &impl Store, reference: &Reference, attempt: u32, outcome: Outcome) -> Option<Ended> {
    store.record(reference, attempt, outcome).await.expect("available").map(without_evidence)
}

async fn happened(store: &impl Store, reference: &Reference, event: Event) -> Standing {
    store.happened(reference, event, None).await.expect("available")
}

/// Everything that has to be looked after, of this reference.
async fn due(store: &impl Store, reference: &Reference, hold: Duration) -> Option<Due> {
    let due = store.due(u32::MAX, hold).await.expect("available");
    due.into_iter().find(|due| due.reference == *reference)
}

async fn announced(store: &impl Store, reference: &Reference, outcome: &Outcome) {
    store.announced(reference, outcome).await.expect("available");
}

async fn told(
    store: &impl Store,
    reference: &Reference,
    attempt: u32,
    outcome: Option<Outcome>,
) -> Option<Ended> {
    let told = Told { attempt, outcome };
    store.told(reference, told, NONE).await.expect("available").map(without_evidence)
}

async fn a_claim_is_granted_once(store: &impl Store) {
    let reference = reference();
    assert_eq!(claim(store, &reference).await, Claim::Granted { attempt: 1 });
    assert_eq!(claim(store, &reference).await, Claim::InProgress);
    assert_eq!(claim_again(store, &reference).await, Claim::InProgress);
    let over = ended(1, sent(), false);
    assert_eq!(record(store, &reference, 1, sent()).await, Some(over.clone()));
    assert_eq!(claim(store, &reference).await, Claim::Ended(over));
    announced(store, &reference, &sent()).await;
    assert_eq!(claim(store, &reference).await, Claim::Ended(ended(1, sent(), true)));
}

/// Of a row that is not there, and of rows that are there already.
async fn of_racing_claims_one_is_granted<S: Store>(store: &Arc<S>) {
    race(store, reference(), 1).await;
    for _ in 0..10 {
        let released = reference();
        claim(&**store, &released).await;
        store.release(&released, 1).await.expect("available");
        race(store, released, 2).await;
    }
}

async fn race<S: Store>(store: &Arc<S>, reference: Reference, attempt: u32) {
    let racers = (0..RACERS).map(|_| {
        let (store, reference) = (Arc::clone(store), reference.clone());
        tokio::spawn(async move { claim(&*store, &reference).await })
    });
    let claims: Vec<_> = join_all(racers).await.into_iter().map(|claim| claim.expect("no panic")).collect();
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::Granted { attempt }).count(), 1);
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::InProgress).count(), RACERS - 1);
}

async fn a_claimant_that_asks_again_is_told_the_same(store: &impl Store) {
    let reference = reference();
    let terms = terms(LEASE);
    for _ in 0..2 {
        let claim = claim_with(store, &reference, terms.clone()).await;
        assert_eq!(claim, Claim::Granted { attempt: 1 });
    }
}

async fn a_released_claim_is_granted_again_and_an_outcome_is_not(store: &impl Store) {
    let reference = reference();
    claim(store, &reference).await;
    store.release(&reference, 1).await.expect("available");
    assert_eq!(claim(store, &reference).await, Claim::Granted { attempt: 2 });
    record(store, &reference, 2, FAILED).await;
    store.release(&reference, 2).await.expect("available");
    assert_eq!(claim(store, &reference).await, Claim::Ended(ended(2, FAILED, false)));
}

async fn an_earlier_attempt_releases_nothing(store: &impl Store) {
    let reference = reference();
    claim(store, &reference).await;
    store.release(&reference, 1).await.expect("available");
    claim(store, &reference).await;
    store.release(&reference, 1).await.expect("available");
    assert_eq!(claim(store, &reference).await, Claim::InProgress);
}

async fn unknown_is_claimed_again_for_an_idempotent_gateway_only(store: &impl Store) {
    let reference = reference();
    claim(store, &reference).await;
    record(store, &reference, 1, UNFINISHED).await;
    announced(store, &reference, &UNFINISHED).await;
    assert_eq!(claim(store, &reference).await, Claim::Ended(ended(1, UNFINISHED, true)));
    assert_eq!(claim_again(store, &reference).await, Claim::Granted { attempt: 2 });
    assert_eq!(claim(store, &reference).await, Claim::InProgress);
    assert_eq!(record(store, &reference, 1, FAILED).await, None, "of an earlier attempt");
    assert_eq!(record(store, &reference, 2, UNFINISHED).await, Some(ended(2, UNFINISHED, false)));
    for outcome in [sent(), FAILED] {
        let reference = self::reference();
        claim(store, &reference).await;
        record(store, &reference, 1, outcome.clone()).await;
        assert_eq!(claim_again(store, &reference).await, Claim::Ended(ended(1, outcome, false)));
    }
}

async fn a_claim_whose_lease_is_over_is_unknown_and_its_holder_may_still_tell(store: &impl Store) {
    let reference = reference();
    claim_for_no_time(store, &reference).await;
    let unknown = ended(1, UNFINISHED, false);
    assert_eq!(claim(store, &reference).await, Claim::Ended(unknown.clone()));
    store.release(&reference, 1).await.expect("available");
    assert_eq!(claim(store, &reference).await, Claim::Ended(unknown), "it is not sent again");
    announced(store, &reference, &UNFINISHED).await;
    assert_eq!(record(store, &reference, 1, sent()).await, Some(ended(1, sent(), false)));
}

async fn a_claim_whose_lease_is_over_is_taken_over_for_an_idempotent_gateway(store: &impl Store) {
    let reference = reference();
    claim_for_no_time(store, &reference).await;
    assert_eq!(claim_again(store, &reference).await, Claim::Granted { attempt: 2 });
    assert_eq!(claim_again(store, &reference).await, Claim::InProgress);
    store.release(&reference, 1).await.expect("available");
    assert_eq!(claim_again(store, &reference).await, Claim::InProgress);
    assert_eq!(record(store, &reference, 1, UNFINISHED).await, None);
    assert_eq!(record(store, &reference, 1, sent()).await, Some(ended(2, sent(), false)));
}

async fn a_better_outcome_counts_and_is_to_be_announced(store: &impl Store) {
    let reference = reference();
    claim(store, &reference).await;
    record(store, &reference, 1, UNFINISHED).await;
    announced(store, &reference, &UNFINISHED).await;
    let better = Some(ended(1, sent(), false));
    assert_eq!(record(store, &reference, 1, sent()).await, better);
    announced(store, &reference, &UNFINISHED).await;
    assert_eq!(record(store, &reference, 1, FAILED).await, better, "a worse outcome changes nothing");
    announced(store, &reference, &sent()).await;
    assert_eq!(record(store, &reference, 1, UNFINISHED).await, Some(ended(1, sent(), true)));
}

async fn an_outcome_without_a_claim_is_kept(store: &impl Store) {
    let reference = reference();
    record(store, &reference, 1, UNFINISHED).await;
    announced(store, &reference, &UNFINISHED).await;
    assert_eq!(claim(store, &reference).await, Claim::Ended(ended(1, UNFINISHED, true)));
}

async fn every_outcome_is_kept_as_it_is(store: &impl Store) {
    let why = Code::CONTACT_UNREADABLE;
    for outcome in [
        sent(),
        Outcome::Delivered,
        Outcome::Undelivered,
        Outcome::Failed { code: why },
        Outcome::Unknown { code: why },
    ] {
        let reference = reference();
        claim(store, &reference).await;
        record(store, &reference, 1, outcome.clone()).await;
        assert_eq!(claim(store, &reference).await, Claim::Ended(ended(1, outcome, false)));
    }
}

async fn an_open_claim_in_the_topic_leaves_a_live_or_released_one_alone(store: &impl Store) {
    let reference = reference();
    claim(store, &reference).await;
    assert_eq!(told(store, &reference, 1, None).await, None);
    assert_eq!(claim(store, &reference).await, Claim::InProgress);
    store.release(&reference, 1).await.expect("available");
    assert_eq!(told(store, &reference, 1, None).await, None);
    assert_eq!(claim(store, &reference).await, Claim::Granted { attempt: 2 });
    assert_eq!(told(store, &reference, 1, None).await, None);
    record(store, &reference, 2, sent()).await;
    assert_eq!(told(store, &reference, 2, None).await, Some(ended(2, sent(), false)));
}

async fn an_open_claim_in_the_topic_is_unknown_when_nobody_holds_it(store: &impl Store) {
    let lost = reference();
    assert_eq!(told(store, &lost, 1, None).await, Some(ended(1, UNFINISHED, false)));
    let over = reference();
    claim_for_no_time(store, &over).await;
    assert_eq!(told(store, &over, 1, None).await, Some(ended(1, UNFINISHED, false)));
    let restored = reference();
    claim(store, &restored).await;
    store.release(&restored, 1).await.expect("available");
    assert_eq!(told(store, &restored, 2, None).await, Some(ended(2, UNFINISHED, false)));
    for reference in [lost, over, restored] {
        assert!(matches!(claim(store, &reference).await, Claim::Ended(_)));
    }
}

async fn an_outcome_in_the_topic_is_announced(store: &impl Store) {
    for outcome in [sent(), Outcome::Delivered, Outcome::Undelivered, FAILED, UNFINISHED] {
        let lost = reference();
        let over = ended(1, outcome.clone(), true);
        assert_eq!(told(store, &lost, 1, Some(outcome.clone())).await, Some(over.clone()));
        assert_eq!(claim(store, &lost).await, Claim::Ended(over.clone()));
        let behind = reference();
        claim(store, &behind).await;
        assert_eq!(told(store, &behind, 1, Some(outcome)).await, Some(over));
    }
    let known_better = reference();
    claim(store, &known_better).await;
    record(store, &known_better, 1, sent()).await;
    assert_eq!(told(store, &known_better, 1, Some(UNFINISHED)).await, Some(ended(1, sent(), false)));
}

async fn what_waits_is_looked_after_once_its_time_has_come(store: &impl Store) {
    let defer = |wait| Event::Defer { attempt: 1, wait, expires: UnixMillis(i64::MAX), means: NONE };
    let (later, soon) = (reference(), reference());
    claim(store, &later).await;
    claim(store, &soon).await;
    assert_eq!(happened(store, &later, defer(LEASE)).await, Standing::Waiting);
    assert_eq!(claim(store, &later).await, Claim::Waiting);
    assert_eq!(due(store, &later, LEASE).await, None);
    assert_eq!(happened(store, &soon, defer(Duration::ZERO)).await, Standing::Waiting);
    let found = due(store, &soon, LEASE).await.expect("its time has come");
    assert_eq!((found.notice, found.announced, found.sms.attempt), (Some(NOTICE), false, 1));
    assert!(matches!(found.sms.state, State::Waiting { .. }) && !found.sms.evidence.is_doubt());
    // Whoever took it up may send it, however long it is held.
    assert_eq!(claim(store, &soon).await, Claim::Granted { attempt: 2 });
    let expired = Event::Defer { attempt: 2, wait: LEASE, expires: UnixMillis(0), means: NONE };
    let Standing::Ended(over) = happened(store, &soon, expired).await else { panic!("too late") };
    assert_eq!(over.outcome, Outcome::Failed { code: Code::GATEWAY_UNAVAILABLE });
}

async fn what_is_held_is_told_to_nobody_else<S: Store>(store: &Arc<S>) {
    let reference = reference();
    claim_for_no_time(&**store, &reference).await;
    let racers = (0..8).map(|_| {
        let (store, reference) = (Arc::clone(store), reference.clone());
        tokio::spawn(async move { due(&*store, &reference, LEASE).await.is_some() })
    });
    let told = join_all(racers).await.into_iter().filter(|told| *told.as_ref().expect("no panic")).count();
    assert_eq!(told, 1);
    assert_eq!(due(&**store, &reference, LEASE).await, None);
}

async fn what_may_have_been_sent_keeps_its_evidence(store: &impl Store) {
    let reference = reference();
    let unsure = |step, said, means| Event::Unsure { attempt: 1, step, said, means };
    claim(store, &reference).await;
    let doubt = unsure(Step::Send, Said::Timeout, ASKED);
    assert_eq!(happened(store, &reference, doubt).await, Standing::Waiting);
    assert_eq!(claim(store, &reference).await, Claim::Waiting, "it is not sent again");
    let found = due(store, &reference, Duration::ZERO).await.expect("to be asked for");
    assert!(found.sms.evidence.is_doubt());
    let asked = unsure(Step::Inquiry, Said::Status(404), NONE);
    let Standing::Ended(over) = happened(store, &reference, asked).await else { panic!("given up") };
    assert_eq!(over.outcome, UNFINISHED);
    let answers: Vec<_> = over.evidence.answers().iter().map(|answer| (answer.step, answer.said)).collect();
    assert_eq!(answers, [(Step::Send, Said::Timeout), (Step::Inquiry, Said::Status(404))]);
    assert!(over.evidence.answers()[0].at_ms <= over.evidence.answers()[1].at_ms);
}

async fn claims_without_an_outcome_and_outcomes_that_the_topic_lacks_are_looked_after(store: &impl Store) {
    let lapsed = reference();
    claim_for_no_time(store, &lapsed).await;
    assert!(matches!(
        due(store, &lapsed, Duration::ZERO).await.expect("due").sms.state,
        State::Claimed { .. }
    ));
    assert_eq!(happened(store, &lapsed, Event::Lapse(ASKED)).await, Standing::Waiting);
    assert!(due(store, &lapsed, LEASE).await.expect("at once").sms.evidence.is_doubt());
    let live = reference();
    claim(store, &live).await;
    assert_eq!(due(store, &live, LEASE).await, None);
    assert!(matches!(happened(store, &live, Event::Lapse(ASKED)).await, Standing::Claimed { .. }));
}

async fn a_receipt_finds_its_sms_and_counts_once(store: &impl Store) {
    let reference = reference();
    let find = |reference: &Reference| store.find(sms::out_id(reference));
    assert_eq!(find(&reference).await.expect("available"), None);
    claim(store, &reference).await;
    assert_eq!(find(&reference).await.expect("available"), Some(reference.clone()));
    record(store, &reference, 1, sent()).await;
    announced(store, &reference, &sent()).await;
    for (receipt, counts, is_announced) in [
        (Outcome::Undelivered, Outcome::Undelivered, false),
        (Outcome::Delivered, Outcome::Delivered, false),
        (Outcome::Delivered, Outcome::Delivered, true),
        (Outcome::Undelivered, Outcome::Delivered, true),
    ] {
        let standing = happened(store, &reference, Event::Receipt(receipt)).await;
        assert_eq!(standing, Standing::Ended(ended(1, counts.clone(), is_announced)));
        announced(store, &reference, &counts).await;
    }
    assert_eq!(claim_again(store, &reference).await, Claim::Ended(ended(1, Outcome::Delivered, true)));
}

async fn a_phone_gets_as_many_as_the_limit_says<S: Store>(store: &Arc<S>) {
    let (limit, id) = (PhoneLimit { max: 3, zone: TimeZone::UTC }, QueryId::generate());
    let mut mac = [1; 32];
    mac[..16].copy_from_slice(id.as_bytes());
    let (phone, other) = (PhoneMac(mac), PhoneMac(mac.map(|byte| !byte)));
    let racers = (0..RACERS).map(|_| {
        let (store, limit) = (Arc::clone(store), limit.clone());
        tokio::spawn(async move {
            let reference = reference();
            claim(&*store, &reference).await;
            let admitted = store.admit(&reference, phone, &limit).await.expect("available");
            // Asked again, it is told the same and counted once.
            assert_eq!(store.admit(&reference, phone, &limit).await.expect("available"), admitted);
            admitted
        })
    });
    let admitted =
        join_all(racers).await.into_iter().filter(|told| *told.as_ref().expect("no panic")).count();
    assert_eq!(admitted, 3);
    assert!(store.admit(&reference(), other, &limit).await.expect("available"), "another phone");
}

async fn queries_of_two_upstreams_with_one_id_are_two(store: &impl Store) {
    let one = reference();
    let two = Reference { upstream: "other".parse().expect("an id"), query: one.query };
    assert_eq!(claim(store, &one).await, Claim::Granted { attempt: 1 });
    assert_eq!(claim(store, &two).await, Claim::Granted { attempt: 1 });
}

async fn progress_only_grows_and_a_step_back_is_noticed(store: &impl Store) {
    let topic = format!("{}.sms.v1", QueryId::generate());
    let none = Progress::new();
    let of = |entries: &[(i32, i64)]| entries.iter().copied().collect::<Progress>();
    assert_eq!(store.progress(&topic).await.expect("available"), none);
    let first = of(&[(0, 5), (1, 7)]);
    assert!(store.advance(&topic, &none, &first).await.expect("available"));
    assert!(store.advance(&topic, &first, &of(&[(0, 3), (1, 9), (2, 1)])).await.expect("available"));
    let now = of(&[(0, 5), (1, 9), (2, 1)]);
    assert_eq!(store.progress(&topic).await.expect("available"), now);
    for lost in [of(&[(1, 10)]), of(&[(3, 1)])] {
        assert!(!store.advance(&topic, &lost, &of(&[(0, 100)])).await.expect("available"));
    }
    assert_eq!(store.progress(&topic).await.expect("available"), now);
    assert_eq!(store.progress("another.sms.v1").await.expect("available"), none);
}

async fn old_rows_are_forgotten_and_young_ones_are_not(store: &impl Store) {
    let reference = reference();
    claim(store, &reference).await;
    assert_eq!(store.forget(LEASE, u32::MAX).await.expect("available"), 0);
    assert_eq!(claim(store, &reference).await, Claim::InProgress);
    let mut forgotten = 0;
    loop {
        let round = store.forget(Duration::ZERO, 7).await.expect("available");
        forgotten += round;
        if round < 7 {
            break;
        }
        assert_eq!(round, 7);
    }
    assert!(forgotten > 7, "{forgotten}");
    assert_eq!(claim(store, &reference).await, Claim::Granted { attempt: 1 });
}
