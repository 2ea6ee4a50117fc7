//! Transactions at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{join, join_all};
use schemas::ids::{BankId, Digest, Reference};
use schemas::time::UnixMillis;
use schemas::wire::BankOutcome;

use super::{bank, new, query, registered, window};
use crate::domain::assembly::{Effect, Event, Said, apply};
use crate::domain::query::{Closing, Collecting, FinalKind, Pair, Query, State};
use crate::store::{NewQuery, Plan, Registered, Store, StoreResult, Tx};

const ROUNDS: u8 = 25;

/// Each of many tasks locks the query, reads a counter that it keeps in the pair's attempts, and writes it back: a
/// store that lets two in at once loses some of them.
pub(super) async fn two_transactions_never_hold_the_same_query<S: Store>(store: &S) -> StoreResult<()> {
    const TASKS: u32 = 50;
    let query = registered(store, 1).await?;
    let count_up = async |reference: &Reference| -> StoreResult<()> {
        let mut tx = store.begin().await?;
        let mut query =
            tx.lock(&BTreeSet::from([reference.clone()])).await?.remove(reference).expect("is there");
        let State::Collecting(open) = &mut query.state else { panic!("is open") };
        open.pairs.get_mut(&bank("alpha")).expect("was asked").attempts += 1;
        tokio::task::yield_now().await;
        tx.save(&query).await?;
        tx.commit().await
    };
    for outcome in join_all((0..TASKS).map(|_| count_up(&query.reference))).await {
        outcome?;
    }
    let counted = store.query(&query.reference).await?.expect("is there");
    let State::Collecting(open) = &counted.state else { panic!("is open") };
    assert_eq!(open.pairs[&bank("alpha")].attempts, TASKS);
    Ok(())
}

async fn asked<S: Store>(store: &S, nonce: u8) -> StoreResult<Query> {
    let mut query = query(store.now().await?);
    let pair = Pair::new(Digest::of(b"statement"), None);
    let pairs = BTreeMap::from([(bank("alpha"), pair.clone()), (bank("beta"), pair)]);
    query.state = State::Collecting(Collecting { pairs });
    let mut tx = store.begin().await?;
    assert_eq!(tx.register(&new(&query, nonce)).await?, Registered::New);
    tx.commit().await?;
    Ok(query)
}

fn answer(query: &Query, bank: BankId) -> Event {
    let appended_at = query.times.accepted_at + Duration::from_secs(1);
    let said = Said::Closing(Closing::Answered, Digest::of(bank.as_str().as_bytes()));
    Event::Reply { bank, at: (0, 0), appended_at, said }
}

/// What every handler does: lock, let the rule decide, save.
async fn step<S: Store>(store: &S, reference: &Reference, event: Event) -> StoreResult<Vec<Effect>> {
    let mut tx = store.begin().await?;
    let query = tx.lock(&BTreeSet::from([reference.clone()])).await?.remove(reference).expect("is there");
    let now = query.times.deadline_at;
    let (query, effects) = apply(query, event, now, &window());
    tx.save(&query).await?;
    tx.commit().await?;
    Ok(effects)
}

async fn report<S: Store>(store: &S, reference: &Reference) -> StoreResult<crate::domain::query::Final> {
    let query = store.query(reference).await?.expect("is there");
    Ok(query.state.report().expect("is final").clone())
}

pub(super) async fn a_report_has_the_reply_that_was_taken<S: Store>(store: &S) -> StoreResult<()> {
    for round in 0..ROUNDS {
        let query = asked(store, round).await?;
        let reply = step(store, &query.reference, answer(&query, bank("alpha")));
        let close = step(store, &query.reference, Event::WindowClosed { suspended: BTreeSet::new() });
        let (taken, closed) = if round % 2 == 0 {
            join(reply, close).await
        } else {
            let (closed, taken) = join(close, reply).await;
            (taken, closed)
        };
        assert_eq!(closed?, [Effect::Report]);
        let outcome = report(store, &query.reference).await?.outcomes[&bank("alpha")].outcome;
        let expected =
            if taken?.contains(&Effect::KeepSegment) { BankOutcome::Answered } else { BankOutcome::NoReply };
        assert_eq!(outcome, expected, "round {round}");
    }
    Ok(())
}

pub(super) async fn of_two_last_replies_one_makes_the_report<S: Store>(store: &S) -> StoreResult<()> {
    for round in 0..ROUNDS {
        let query = asked(store, round).await?;
        let (one, two) = join(
            step(store, &query.reference, answer(&query, bank("alpha"))),
            step(store, &query.reference, answer(&query, bank("beta"))),
        )
        .await;
        let reports = [one?, two?].iter().filter(|effects| effects.contains(&Effect::Report)).count();
        assert_eq!(reports, 1, "round {round}");
        assert_eq!(report(store, &query.reference).await?.kind, FinalKind::AllAnswered);
    }
    Ok(())
}

async fn register<S: Store>(store: &S, query: &Query, nonce: u8, plan: &Plan) -> StoreResult<()> {
    let mut tx = store.begin().await?;
    tx.prepare(plan).await?;
    assert_eq!(tx.register(&new(query, nonce)).await?, Registered::New);
    tokio::task::yield_now().await;
    if let Some(at) = tx.withdrawal(&query.reference).await? {
        tx.save(&Query { state: State::Withdrawn { at, banks: 1 }, ..query.clone() }).await?;
    }
    tx.commit().await
}

async fn withdraw<S: Store>(store: &S, reference: &Reference, plan: &Plan) -> StoreResult<()> {
    let at = UnixMillis(5);
    let mut tx = store.begin().await?;
    tx.prepare(plan).await?;
    assert!(tx.withdraw(reference, at).await?);
    let locked = tx.lock(&BTreeSet::from([reference.clone()])).await?;
    if let Some(query) = locked.into_values().next() {
        tx.save(&Query { state: State::Withdrawn { at, banks: 1 }, ..query }).await?;
    }
    tx.commit().await
}

pub(super) async fn a_registration_and_a_withdrawal_see_each_other<S: Store>(store: &S) -> StoreResult<()> {
    for round in 0..ROUNDS {
        let query = query(store.now().await?);
        let mut plan = Plan::default();
        if round % 2 == 0 {
            plan.consents.insert(query.reference.clone());
        }
        let (registered, withdrawn) =
            join(register(store, &query, round, &plan), withdraw(store, &query.reference, &plan)).await;
        registered?;
        withdrawn?;
        let stored = store.query(&query.reference).await?.expect("is there");
        assert!(matches!(stored.state, State::Withdrawn { .. }), "round {round}: {:?}", stored.state);
    }
    Ok(())
}

/// One of them is told at once, or when it commits; then the whole step is done again.
pub(super) async fn one_of_two_uses_of_a_consent_fails<S: Store>(store: &S) -> StoreResult<()> {
    let use_it = async |query: &NewQuery| -> StoreResult<bool> {
        let mut tx = store.begin().await?;
        let used = tx.register(query).await?;
        tokio::task::yield_now().await;
        if used == Registered::NonceUsed {
            return Ok(false);
        }
        Ok(tx.commit().await.is_ok())
    };
    for round in 0..ROUNDS {
        let now = store.now().await?;
        let (one, two) = (new(&query(now), round), new(&query(now), round));
        let (first, second) = join(use_it(&one), use_it(&two)).await;
        assert!(first? ^ second?, "round {round}");
        let (one, two) = join(store.query(&one.query.reference), store.query(&two.query.reference)).await;
        assert!(one?.is_some() ^ two?.is_some(), "round {round}");
    }
    Ok(())
}
