//! What every store must do: one body of checks for all of them.

use std::sync::Arc;

use futures::future::join_all;
use schemas::codes::Code;
use schemas::ids::{QueryId, Reference};

use super::{Claim, Ended, Store};
use crate::domain::sms::Outcome;

const UNKNOWN: Outcome = Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN };
const FAILED: Outcome = Outcome::Failed { code: Code::GATEWAY_REFUSED };

/// Claims that race for one row.
const RACERS: usize = 64;

/// Checks a store; `new` returns one without rows, or at least without rows of other callers' queries.
///
/// # Panics
/// When the store breaks the contract.
pub async fn check<S: Store>(new: impl AsyncFn() -> S) {
    let store = Arc::new(new().await);
    a_claim_is_granted_once(&*store).await;
    of_racing_claims_one_is_granted(&store).await;
    a_released_claim_is_granted_again_and_an_outcome_is_not(&*store).await;
    unknown_is_claimed_again_for_an_idempotent_gateway_only(&*store).await;
    a_better_outcome_counts_and_is_to_be_announced(&*store).await;
    an_outcome_without_a_claim_is_kept(&*store).await;
    queries_of_two_upstreams_with_one_id_are_two(&*store).await;
}

fn reference() -> Reference {
    Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() }
}

fn sent() -> Outcome {
    Outcome::Sent { gateway_id: Some("g-1".into()) }
}

async fn claim(store: &impl Store, reference: &Reference) -> Claim {
    store.claim(reference, false).await.expect("available")
}

async fn record(store: &impl Store, reference: &Reference, outcome: Outcome) -> Ended {
    store.record(reference, outcome).await.expect("available")
}

async fn announced(store: &impl Store, reference: &Reference, outcome: &Outcome) {
    store.announced(reference, outcome).await.expect("available");
}

async fn a_claim_is_granted_once(store: &impl Store) {
    let reference = reference();
    assert_eq!(claim(store, &reference).await, Claim::Granted);
    assert_eq!(claim(store, &reference).await, Claim::InProgress);
    let ended = Ended { outcome: sent(), announced: false };
    assert_eq!(record(store, &reference, sent()).await, ended);
    assert_eq!(claim(store, &reference).await, Claim::Ended(ended));
    announced(store, &reference, &sent()).await;
    assert_eq!(claim(store, &reference).await, Claim::Ended(Ended { outcome: sent(), announced: true }));
}

async fn of_racing_claims_one_is_granted<S: Store>(store: &Arc<S>) {
    let reference = reference();
    let racers = (0..RACERS).map(|_| {
        let (store, reference) = (Arc::clone(store), reference.clone());
        tokio::spawn(async move { claim(&*store, &reference).await })
    });
    let claims: Vec<_> = join_all(racers).await.into_iter().map(|claim| claim.expect("no panic")).collect();
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::Granted).count(), 1);
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::InProgress).count(), RACERS - 1);
}

async fn a_released_claim_is_granted_again_and_an_outcome_is_not(store: &impl Store) {
    let reference = reference();
    claim(store, &reference).await;
    store.release(&reference).await.expect("available");
    assert_eq!(claim(store, &reference).await, Claim::Granted);
    record(store, &reference, FAILED).await;
    store.release(&reference).await.expect("available");
    assert_eq!(claim(store, &reference).await, Claim::Ended(Ended { outcome: FAILED, announced: false }));
}

async fn unknown_is_claimed_again_for_an_idempotent_gateway_only(store: &impl Store) {
    let reference = reference();
    claim(store, &reference).await;
    record(store, &reference, UNKNOWN).await;
    assert_eq!(claim(store, &reference).await, Claim::Ended(Ended { outcome: UNKNOWN, announced: false }));
    assert_eq!(store.claim(&reference, true).await.expect("available"), Claim::Granted);
    assert_eq!(claim(store, &reference).await, Claim::InProgress);
    for ended in [sent(), FAILED] {
        let reference = self::reference();
        record(store, &reference, ended.clone()).await;
        let claim = store.claim(&reference, true).await.expect("available");
        assert_eq!(claim, Claim::Ended(Ended { outcome: ended, announced: false }));
    }
}

async fn a_better_outcome_counts_and_is_to_be_announced(store: &impl Store) {
    let reference = reference();
    claim(store, &reference).await;
    record(store, &reference, UNKNOWN).await;
    announced(store, &reference, &UNKNOWN).await;
    let better = Ended { outcome: sent(), announced: false };
    assert_eq!(record(store, &reference, sent()).await, better);
    announced(store, &reference, &UNKNOWN).await;
    assert_eq!(record(store, &reference, FAILED).await, better, "a worse outcome changes nothing");
    announced(store, &reference, &sent()).await;
    assert_eq!(record(store, &reference, UNKNOWN).await, Ended { announced: true, ..better });
}

async fn an_outcome_without_a_claim_is_kept(store: &impl Store) {
    let reference = reference();
    record(store, &reference, UNKNOWN).await;
    announced(store, &reference, &UNKNOWN).await;
    assert_eq!(claim(store, &reference).await, Claim::Ended(Ended { outcome: UNKNOWN, announced: true }));
}

async fn queries_of_two_upstreams_with_one_id_are_two(store: &impl Store) {
    let one = reference();
    let two = Reference { upstream: "other".parse().expect("an id"), query: one.query };
    assert_eq!(claim(store, &one).await, Claim::Granted);
    assert_eq!(claim(store, &two).await, Claim::Granted);
}
