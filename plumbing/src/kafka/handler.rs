//! What a service implements and chooses: a handler, its verdicts, its lanes.

use std::future::Future;
use std::time::Duration;

use super::record::Record;

/// Gives records their meaning.
///
/// A record can be handed over more than once, also after it was finished: an effect must be
/// insert-once. A handler that panics ends the consumer with an error, and no record is lost by it.
pub trait Handler: Send + Sync + 'static {
    /// Handles `batch` and returns exactly one verdict per record, in the same order.
    ///
    /// Within a batch, records of one partition stand in their order. The future is never dropped
    /// before it ends, so a transaction inside is never cancelled half-way.
    fn handle(&self, batch: &[Record]) -> impl Future<Output = Vec<Verdict>> + Send;
}

/// What became of one record. The loop, not the handler, decides what that means for the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its effect is durable: the offset may complete.
    Done,
    /// Not now. The record is handed over again after at least `after`.
    Retry {
        /// How long to wait.
        after: Duration,
        /// Why, from a fixed list.
        code: &'static str,
    },
    /// It will never work. A copy goes to the dead letters before the offset completes.
    DeadLetter {
        /// Why, from a fixed list.
        code: &'static str,
        /// What kind of failure it is.
        class: ErrorClass,
    },
}

/// Why a record is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// It cannot be read at all.
    Poison,
    /// It was tried often enough.
    TransientExhausted,
    /// It was read and refused.
    Rejected,
    /// A rule of operation keeps it out.
    Policy,
}

impl ErrorClass {
    /// The word used in headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Poison => "poison",
            Self::TransientExhausted => "transient-exhausted",
            Self::Rejected => "rejected",
            Self::Policy => "policy",
        }
    }
}

/// How records are spread over tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// Partitions are hashed to `count` lanes. The order within a partition is kept; a batch may
    /// hold several partitions of one lane. A retry holds up its whole lane.
    Ordered {
        /// Number of lanes.
        count: usize,
        /// Most records in one batch.
        batch_max: usize,
    },
    /// Records are handled one by one, at most `max` at a time, in any order. A record that waits
    /// for its retry keeps its place among the `max`.
    Concurrent {
        /// Most records at a time.
        max: usize,
    },
}

/// Who remembers how far the group came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The broker: the contiguous frontier is committed.
    Broker,
    /// Nobody: a store in memory rebuilds from the topics. After every rebalance everything is read
    /// again from the beginning.
    Never,
}
