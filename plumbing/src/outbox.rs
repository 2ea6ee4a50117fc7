//! Relays stored records to Kafka.
//!
//! ```text
//!  store ──lease──▶ relay ──produce──▶ Kafka
//!    ▲                 │
//!    └─ published / parked / released, after the delivery report
//! ```
//!
//! What must never happen here: a row is marked before Kafka has its record. A crash in between
//! sends it again, under the same message id; readers drop the second one. Rows are leased and
//! marked, never read by an id cursor: a cursor skips rows whose transaction commits late.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::kafka::{OutRecord, Position, ProduceError, Producer, Refusal};
use crate::metric_names;

/// Most rows per round. librdkafka's queue holds far more, so it never is the brake.
const LEASE_MAX: usize = 1_000;
/// Longer than the producer's `message.timeout.ms`: no row is leased again while its record can
/// still be written.
const LEASE: Duration = Duration::from_secs(180);
/// Rounds in a row that may fail at the store before the relay gives up.
const STORE_FAILURES_MAX: u32 = 10;

/// A store of records that wait to be produced.
///
/// A row waits for an older unpublished row of its key; the store sees to that. Ids that are not
/// leased any more are ignored by every method.
pub trait Outbox: Send + Sync + 'static {
    /// Leases at most `max` rows that nobody else holds, for `lease`.
    fn lease(
        &self,
        max: usize,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Leased>, OutboxError>> + Send;

    /// Kafka has the records of these rows.
    fn published(&self, ids: &[u64]) -> impl Future<Output = Result<(), OutboxError>> + Send;

    /// The record of this row can never be written. It is set aside for an operator.
    fn park(&self, id: u64, code: &'static str) -> impl Future<Output = Result<(), OutboxError>> + Send;

    /// Ends the lease of these rows; they come again with the same message id.
    fn release(&self, ids: &[u64]) -> impl Future<Output = Result<(), OutboxError>> + Send;
}

/// A row that this relay holds for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// Its id in the store.
    pub id: u64,
    /// What is to be produced.
    pub record: OutRecord,
}

/// The store failed. Whether a call took effect is unknown; every call may be repeated.
#[derive(Debug, thiserror::Error)]
#[error("the outbox store failed")]
pub struct OutboxError(#[source] Box<dyn Error + Send + Sync>);

impl OutboxError {
    /// Wraps the store's own error.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// Why a relay ended by itself. The process should exit; its supervisor restarts it.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The store failed too often in a row.
    #[error("the outbox store fails again and again")]
    Outbox(#[from] OutboxError),
    /// The producer is dead.
    #[error("the relay's producer is dead")]
    Producer(#[source] ProduceError),
}

/// Relays until `shutdown`, and finishes what is in flight then.
///
/// Looks for rows when `wake` is notified and at least every `idle`, because a wake can be lost.
pub async fn relay<O: Outbox>(
    outbox: Arc<O>,
    producer: Producer,
    wake: Arc<Notify>,
    idle: Duration,
    shutdown: CancellationToken,
) -> Result<(), RelayError> {
    relay_into(&*outbox, &producer, &wake, idle, &shutdown).await
}

/// Where records go; a trait so that the relay's rules are tested without Kafka.
trait Sink: Sync {
    fn send(&self, record: OutRecord) -> impl Future<Output = Result<Position, ProduceError>> + Send;
}

impl Sink for Producer {
    async fn send(&self, record: OutRecord) -> Result<Position, ProduceError> {
        Producer::send(self, record).await
    }
}

/// What is worth doing after a round.
enum Round {
    /// Something was published: there may be more, also rows that waited for an older one of their key.
    More,
    /// Nothing to do, or nothing that works now.
    Rest,
}

async fn relay_into<O: Outbox, S: Sink>(
    outbox: &O,
    sink: &S,
    wake: &Notify,
    idle: Duration,
    shutdown: &CancellationToken,
) -> Result<(), RelayError> {
    let mut failures = 0;
    // A round is never dropped half-way: only between two of them is the token looked at.
    while !shutdown.is_cancelled() {
        match round(outbox, sink).await {
            Ok(Round::More) => {
                failures = 0;
                continue;
            }
            Ok(Round::Rest) => failures = 0,
            Err(RelayError::Outbox(error)) => {
                failures += 1;
                metrics::counter!(metric_names::OUTBOX_ERRORS).increment(1);
                if failures >= STORE_FAILURES_MAX {
                    return Err(error.into());
                }
                tracing::warn!(error = %error.0, failures, "outbox round failed");
            }
            Err(error @ RelayError::Producer(_)) => return Err(error),
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = wake.notified(), if failures == 0 => {}
            () = tokio::time::sleep(idle) => {}
        }
    }
    Ok(())
}

async fn round<O: Outbox, S: Sink>(outbox: &O, sink: &S) -> Result<Round, RelayError> {
    let rows = outbox.lease(LEASE_MAX, LEASE).await?;
    let outcomes =
        join_all(rows.into_iter().map(async |Leased { id, record }| (id, sink.send(record).await))).await;

    let mut published = Vec::new();
    let mut released = Vec::new();
    let mut parked = Vec::new();
    let mut dead = None;
    for (id, outcome) in outcomes {
        match outcome {
            Ok(_) => published.push(id),
            // An access list is mended by an operator; a row that was put aside would then be lost.
            Err(ProduceError::Permanent(Refusal::Denied(text))) => {
                tracing::error!(id, text, "outbox row denied");
                released.push(id);
            }
            Err(error @ ProduceError::Permanent(_)) => {
                tracing::error!(id, %error, "outbox row parked");
                parked.push((id, error.kind()));
            }
            Err(ProduceError::Ambiguous(text)) => {
                tracing::warn!(id, text, "outbox row not acknowledged");
                released.push(id);
            }
            Err(error @ ProduceError::Fatal(_)) => {
                released.push(id);
                dead = Some(error);
            }
        }
    }

    // What Kafka has is marked first: a failure behind it costs no duplicate then.
    if !published.is_empty() {
        outbox.published(&published).await?;
    }
    for (id, code) in &parked {
        outbox.park(*id, code).await?;
    }
    if !released.is_empty() {
        outbox.release(&released).await?;
    }
    for (outcome, rows) in
        [("published", published.len()), ("parked", parked.len()), ("released", released.len())]
    {
        metrics::counter!(metric_names::OUTBOX_ROWS, "outcome" => outcome).increment(rows as u64);
    }

    match dead {
        Some(error) => Err(RelayError::Producer(error)),
        None if !published.is_empty() && released.is_empty() => Ok(Round::More),
        None => Ok(Round::Rest),
    }
}

#[cfg(test)]
mod tests;
