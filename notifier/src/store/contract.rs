//! What every store must do: one body of checks for all of them.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use schemas::codes::Code;
use schemas::ids::{QueryId, Reference};

use super::{Claim, Ended, Progress, Store};
use crate::domain::sms::{Claimant, Outcome, Terms, Told, UNFINISHED};

const FAILED: Outcome = Outcome::Failed { code: Code::GATEWAY_REFUSED };

/// Claims that race for one row.
const RACERS: usize = 64;
/// Longer than any check takes.
const LEASE: Duration = Duration::from_secs(3_600);
/// Over as soon as it is granted.
const NO_LEASE: Duration = Duration::ZERO;

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
    queries_of_two_upstreams_with_one_id_are_two(&*store).await;
    progress_only_grows_and_a_step_back_is_noticed(&*store).await;
    old_rows_are_forgotten_and_young_ones_are_not(&*store).await;
}

fn reference() -> Reference {
    Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() }
}

fn sent() -> Outcome {
    Outcome::Sent { gateway_id: Some("g-1".into()) }
}

fn ended(attempt: u32, outcome: Outcome, announced: bool) -> Ended {
    Ended { attempt, outcome, announced }
}

fn terms(lease: Duration) -> Terms {
    Terms { claimant: Claimant::new(), idempotent: false, lease }
}

async fn claim(store: &impl Store, reference: &Reference) -> Claim {
    store.claim(reference, terms(LEASE)).await.expect("available")
}

async fn claim_again(store: &impl Store, reference: &Reference) -> Claim {
    store.claim(reference, Terms { idempotent: true, ..terms(LEASE) }).await.expect("available")
}

async fn claim_for_no_time(store: &impl Store, reference: &Reference) {
    let claim = store.claim(reference, terms(NO_LEASE)).await.expect("available");
    assert!(matches!(claim, Claim::Granted { .. }), "{claim:?}");
}

async fn record(store: &impl Store, reference: &Reference, attempt: u32, outcome: Outcome) -> Option<Ended> {
    store.record(reference, attempt, outcome).await.expect("available")
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
    store.told(reference, Told { attempt, outcome }).await.expect("available")
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
        let claim = store.claim(&reference, terms).await.expect("available");
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
        Outcome::Sent { gateway_id: None },
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
    for outcome in [sent(), Outcome::Sent { gateway_id: None }, FAILED, UNFINISHED] {
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
