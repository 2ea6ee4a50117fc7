//! Who may send, and what became of it: one row per query.
//!
//! In: claims and outcomes. Out: whether a claim is granted, and what is known. What must never happen here: two
//! claims are granted for one query, except after `unknown` with an idempotent gateway.
//!
//! The SMS topic is the ledger beside it. A row changes before the topic tells of the change, so the topic knows more
//! than the rows only when rows were lost, and then they are restored from it. How far the rows are known to reflect the
//! topic is kept with them: what is lost with the rows is read again, and nothing else.

pub mod contract;
pub mod memory;
pub mod postgres;
mod row;

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use schemas::ids::Reference;

use crate::domain::sms::{Outcome, Terms, Told};

/// What came of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The claimant, and nobody else, may send.
    Granted {
        /// Number of the attempt.
        attempt: u32,
    },
    /// Somebody has it, its lease runs, and there is no outcome yet.
    InProgress,
    /// It is over.
    Ended(Ended),
}

/// An outcome, and whether the SMS topic has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The attempt that it is of.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether a record of it was acknowledged.
    pub announced: bool,
}

/// By partition of the SMS topic, the offset up to which the rows reflect it.
pub type Progress = BTreeMap<i32, i64>;

/// The store cannot be used now. Nothing is known about the effect of the call.
#[derive(Debug, thiserror::Error)]
#[error("the SMS store is unavailable")]
pub struct StoreError(#[source] pub Box<dyn Error + Send + Sync>);

/// Rows by query. Every call is atomic and, when it returns, durable. Every call may be repeated.
pub trait Store: Send + Sync + 'static {
    /// Asks for the right to send. The same claimant may ask again and is told the same, as long as its lease runs.
    fn claim(
        &self,
        reference: &Reference,
        terms: Terms,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Gives a claim back. Only for whoever made `attempt` and has not called the gateway.
    fn release(
        &self,
        reference: &Reference,
        attempt: u32,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records the outcome of `attempt` and returns the one that counts; `None` when a later attempt is under way.
    fn record(
        &self,
        reference: &Reference,
        attempt: u32,
        outcome: Outcome,
    ) -> impl Future<Output = Result<Option<Ended>, StoreError>> + Send;

    /// Notes that the SMS topic has `outcome`, if that is still the one that counts.
    fn announced(
        &self,
        reference: &Reference,
        outcome: &Outcome,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes what the SMS topic says, and returns the outcome that counts; `None` when there is none yet.
    fn told(
        &self,
        reference: &Reference,
        told: Told,
    ) -> impl Future<Output = Result<Option<Ended>, StoreError>> + Send;

    /// How far the rows reflect `topic`. Everything before was told, or was written after its row.
    fn progress(&self, topic: &str) -> impl Future<Output = Result<Progress, StoreError>> + Send;

    /// Moves the progress in `topic` to `next`, never back. `false`, and nothing is moved, when it stands before `known`,
    /// which it reached already: the rows are not those that they were.
    fn advance(
        &self,
        topic: &str,
        known: &Progress,
        next: &Progress,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Deletes at most `max` rows that are at least `age` old, the oldest first; returns how many. `age` must be more than
    /// any topic keeps: a notice whose row is gone is sent.
    fn forget(&self, age: Duration, max: u32) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Several users of one store.
impl<S: Store> Store for Arc<S> {
    fn claim(
        &self,
        reference: &Reference,
        terms: Terms,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send {
        S::claim(self, reference, terms)
    }

    fn release(
        &self,
        reference: &Reference,
        attempt: u32,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::release(self, reference, attempt)
    }

    fn record(
        &self,
        reference: &Reference,
        attempt: u32,
        outcome: Outcome,
    ) -> impl Future<Output = Result<Option<Ended>, StoreError>> + Send {
        S::record(self, reference, attempt, outcome)
    }

    fn announced(
        &self,
        reference: &Reference,
        outcome: &Outcome,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::announced(self, reference, outcome)
    }

    fn told(
        &self,
        reference: &Reference,
        told: Told,
    ) -> impl Future<Output = Result<Option<Ended>, StoreError>> + Send {
        S::told(self, reference, told)
    }

    fn progress(&self, topic: &str) -> impl Future<Output = Result<Progress, StoreError>> + Send {
        S::progress(self, topic)
    }

    fn advance(
        &self,
        topic: &str,
        known: &Progress,
        next: &Progress,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        S::advance(self, topic, known, next)
    }

    fn forget(&self, age: Duration, max: u32) -> impl Future<Output = Result<u64, StoreError>> + Send {
        S::forget(self, age, max)
    }
}
