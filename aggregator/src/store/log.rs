//! The audit log as a store keeps it.
//!
//! ```text
//!  leaf, written with its change ──sequence──▶ position ──publish──▶ in the topic ──▶ under a checkpoint
//!                                   size ────────┘     published ───────┘
//! ```
//!
//! One keeper at a time changes the log. It keeps it for a while and prolongs that; every function that changes something
//! names the keeper and what it believes of the log, and fails when either is not so any more. A keeper that was held up
//! does no harm.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use schemas::audit::{Frontier, Leaf};
use schemas::ids::Nonce;
use schemas::time::UnixMillis;

use super::StoreResult;

/// What a keeper knows of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// Leaves that have a position.
    pub size: u64,
    /// Leaves that the topic has.
    pub published: Frontier,
    /// Offset up to which the topic was compared with the log.
    pub next_offset: i64,
    /// When the last checkpoint was signed.
    pub checkpoint_at: Option<UnixMillis>,
}

/// How far the log is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLag {
    /// Leaves that the topic does not have yet.
    pub unpublished: u64,
    /// When the last checkpoint was signed.
    pub checkpoint_at: Option<UnixMillis>,
}

/// The log.
pub trait LogStore: Send + Sync + 'static {
    /// Takes the log for `lease`, or prolongs it; `None` when another keeper has it.
    fn keep_log(
        &self,
        keeper: Nonce,
        lease: Duration,
    ) -> impl Future<Output = StoreResult<Option<LogHead>>> + Send;

    /// Gives it back.
    fn leave_log(&self, keeper: Nonce) -> impl Future<Output = StoreResult<()>> + Send;

    /// Gives at most `max` leaves that wait the positions from `size` on, which is what the log has, and returns how many
    /// there were.
    fn sequence_leaves(
        &self,
        keeper: Nonce,
        size: u64,
        max: usize,
    ) -> impl Future<Output = StoreResult<usize>> + Send;

    /// The bytes of leaves from position `from` on, in order, at most `max`.
    fn log_entries(&self, from: u64, max: usize) -> impl Future<Output = StoreResult<Vec<Bytes>>> + Send;

    /// Puts leaves that were published to the positions from `size` on, which is what the log has. One that waits under the
    /// same id is that leaf: what was published stands. `false`, and nothing is changed, when one of them has a position
    /// already.
    fn adopt_leaves(
        &self,
        keeper: Nonce,
        size: u64,
        leaves: &[Leaf],
    ) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Notes what the topic has.
    fn log_published(
        &self,
        keeper: Nonce,
        published: &Frontier,
        next_offset: i64,
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// Keeps a checkpoint over `size` leaves, which is what the topic has, in the place of the one before.
    fn keep_checkpoint(
        &self,
        keeper: Nonce,
        size: u64,
        note: &str,
        signed_at: UnixMillis,
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// The last checkpoint.
    fn checkpoint(&self) -> impl Future<Output = StoreResult<Option<String>>> + Send;

    /// How far it is behind, whoever keeps it.
    fn log_lag(&self) -> impl Future<Output = StoreResult<LogLag>> + Send;
}
