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

use schemas::ids::{MessageId, Reference};

use crate::domain::evidence::{Evidence, Means};
use crate::domain::phone_limit::{PhoneLimit, PhoneMac};
use crate::domain::sms::{Claimant, Event, Outcome, Sms, Terms, Told};

/// How the SMS of a query stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has taken it up.
    Open,
    /// Nothing is done before a time that the row knows.
    Waiting,
    /// Somebody has it.
    Claimed {
        /// Who.
        claimant: Claimant,
        /// With which attempt.
        attempt: u32,
    },
    /// It is over.
    Ended(Ended),
}

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
    /// Its time has not come. It will be looked after.
    Waiting,
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
    /// What left open whether it was sent.
    pub evidence: Evidence,
}

impl Standing {
    /// The outcome that counts, if there is one.
    pub fn ended(self) -> Option<Ended> {
        match self {
            Standing::Ended(ended) => Some(ended),
            Standing::Open | Standing::Waiting | Standing::Claimed { .. } => None,
        }
    }
}

/// Where a notice stands in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoticeAt {
    /// Partition.
    pub partition: i32,
    /// Offset of the notice itself.
    pub offset: i64,
}

/// An SMS that somebody has to look after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Whose.
    pub reference: Reference,
    /// What is known of it.
    pub sms: Sms,
    /// Where its notice stands, if the row knows.
    pub notice: Option<NoticeAt>,
    /// Whether the SMS topic has its outcome.
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
    /// Takes an event, and returns how the SMS stands afterwards. `notice`, if there is one, is kept with it.
    fn happened(
        &self,
        reference: &Reference,
        event: Event,
        notice: Option<NoticeAt>,
    ) -> impl Future<Output = Result<Standing, StoreError>> + Send;

    /// Asks for the right to send. The same claimant may ask again and is told the same, as long as its lease runs.
    fn claim(
        &self,
        reference: &Reference,
        terms: Terms,
        notice: Option<NoticeAt>,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send {
        async move {
            let asking = terms.claimant;
            Ok(match self.happened(reference, Event::Claim(terms), notice).await? {
                Standing::Claimed { claimant, attempt } if claimant == asking => Claim::Granted { attempt },
                Standing::Open | Standing::Claimed { .. } => Claim::InProgress,
                Standing::Waiting => Claim::Waiting,
                Standing::Ended(ended) => Claim::Ended(ended),
            })
        }
    }

    /// Gives a claim back. Only for whoever made `attempt` and has not called the gateway.
    fn release(
        &self,
        reference: &Reference,
        attempt: u32,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { self.happened(reference, Event::Release { attempt }, None).await.map(|_| ()) }
    }

    /// Records the outcome of `attempt` and returns the one that counts; `None` when a later attempt is under way.
    fn record(
        &self,
        reference: &Reference,
        attempt: u32,
        outcome: Outcome,
    ) -> impl Future<Output = Result<Option<Ended>, StoreError>> + Send {
        async move { Ok(self.happened(reference, Event::End { attempt, outcome }, None).await?.ended()) }
    }

    /// Takes what the SMS topic says, and returns the outcome that counts; `None` when there is none yet.
    fn told(
        &self,
        reference: &Reference,
        told: Told,
        means: Means,
    ) -> impl Future<Output = Result<Option<Ended>, StoreError>> + Send {
        async move { Ok(self.happened(reference, Event::Told(told, means), None).await?.ended()) }
    }

    /// At most `max` SMS that have to be looked after. Nobody else is told of them for as long as `hold`.
    fn due(&self, max: u32, hold: Duration) -> impl Future<Output = Result<Vec<Due>, StoreError>> + Send;

    /// Whose SMS the gateway knows by `out_id`.
    fn find(&self, out_id: MessageId) -> impl Future<Output = Result<Option<Reference>, StoreError>> + Send;

    /// Counts the SMS of `reference` among those of its phone and day, once however often it is asked. `false`, and
    /// nothing is counted, when the phone got as many already as `limit` allows.
    fn admit(
        &self,
        reference: &Reference,
        phone: PhoneMac,
        limit: &PhoneLimit,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Notes that the SMS topic has `outcome`, if that is still the one that counts.
    fn announced(
        &self,
        reference: &Reference,
        outcome: &Outcome,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

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

    /// Deletes at most `max` rows that are at least `age` old, the oldest first, and the counts of days as old; returns how
    /// many rows. `age` must be more than any topic keeps: a notice whose row is gone is sent.
    fn forget(&self, age: Duration, max: u32) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Several users of one store.
impl<S: Store> Store for Arc<S> {
    fn happened(
        &self,
        reference: &Reference,
        event: Event,
        notice: Option<NoticeAt>,
    ) -> impl Future<Output = Result<Standing, StoreError>> + Send {
        S::happened(self, reference, event, notice)
    }

    fn due(&self, max: u32, hold: Duration) -> impl Future<Output = Result<Vec<Due>, StoreError>> + Send {
        S::due(self, max, hold)
    }

    fn find(&self, out_id: MessageId) -> impl Future<Output = Result<Option<Reference>, StoreError>> + Send {
        S::find(self, out_id)
    }

    fn admit(
        &self,
        reference: &Reference,
        phone: PhoneMac,
        limit: &PhoneLimit,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        S::admit(self, reference, phone, limit)
    }

    fn announced(
        &self,
        reference: &Reference,
        outcome: &Outcome,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::announced(self, reference, outcome)
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
