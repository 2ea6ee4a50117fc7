//! Who may send, and what became of it: one row per query.
//!
//! In: claims and outcomes. Out: whether a claim is granted, and what is known. What must never happen here: two
//! claims are granted for one query, except after `unknown` with an idempotent gateway.
//!
//! The SMS topic is the ledger beside it: a row knows whether the topic has its outcome, and after a loss the rows are
//! restored from the topic.

pub mod contract;
pub mod memory;

use std::error::Error;
use std::future::Future;

use schemas::ids::Reference;

use crate::domain::sms::Outcome;

/// What came of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The caller, and nobody else, may send.
    Granted,
    /// Somebody has it and there is no outcome yet.
    InProgress,
    /// It is over.
    Ended(Ended),
}

/// An outcome, and whether the SMS topic has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether a record of it was acknowledged.
    pub announced: bool,
}

/// The store cannot be used now. Nothing is known about the effect of the call.
#[derive(Debug, thiserror::Error)]
#[error("the SMS store is unavailable")]
pub struct StoreError(#[source] pub Box<dyn Error + Send + Sync>);

/// Rows by query. Every call is atomic and, when it returns, durable.
pub trait Store: Send + Sync + 'static {
    /// Asks for the right to send. `idempotent`: whether the gateway sends nothing twice under the same out-id.
    fn claim(
        &self,
        reference: &Reference,
        idempotent: bool,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Gives a claim back. Only for whoever holds it and has not called the gateway.
    fn release(&self, reference: &Reference) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records an outcome and returns the one that counts. A better known one is kept.
    fn record(
        &self,
        reference: &Reference,
        outcome: Outcome,
    ) -> impl Future<Output = Result<Ended, StoreError>> + Send;

    /// Notes that the SMS topic has `outcome`, if that is still the one that counts.
    fn announced(
        &self,
        reference: &Reference,
        outcome: &Outcome,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
