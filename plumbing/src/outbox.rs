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
//!
//! Each row is marked when its own answer comes, and more rows are leased meanwhile: a partition without a leader holds
//! up its own rows only.

use std::collections::BTreeSet;
use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::kafka::{OutRecord, Position, ProduceError, Producer, Refusal};
use crate::metric_names;

/// Most rows per lease.
const LEASE_MAX: usize = 1_000;
/// Most rows that wait for their answers. librdkafka's queue holds far more, so it never is the brake; and a partition
/// without a leader takes long to fill this.
const IN_FLIGHT_MAX: usize = 10_000;
/// How soon the rows of a process that was killed come again.
const LEASE: Duration = Duration::from_secs(10);
/// As long as a record may still be written, its row is not leased to others: a broker may take longer than a lease.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// Calls in a row that may fail at the store before the relay gives up.
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

    /// Prolongs the lease of these rows: from now on `lease`.
    fn renew(&self, ids: &[u64], lease: Duration) -> impl Future<Output = Result<(), OutboxError>> + Send;

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

async fn relay_into<O: Outbox, S: Sink>(
    outbox: &O,
    sink: &S,
    wake: &Notify,
    idle: Duration,
    shutdown: &CancellationToken,
) -> Result<(), RelayError> {
    for outcome in ["published", "parked", "released"] {
        metrics::counter!(metric_names::OUTBOX_ROWS, "outcome" => outcome).increment(0);
    }
    metrics::counter!(metric_names::OUTBOX_ERRORS).increment(0);
    let send = async |Leased { id, record }: Leased| (id, sink.send(record).await);
    let mut in_flight = FuturesUnordered::new();
    let mut held = BTreeSet::new();
    let mut renew_at = Instant::now();
    let mut marks = Marks::default();
    let mut failures = 0;
    let (mut due, mut look_at, mut rest_until) = (true, Instant::now(), Instant::now());
    let mut dead = None;
    // A call to the store is never dropped half-way: in `select!` there are only answers of Kafka, and those that are not
    // there yet stay in flight.
    loop {
        let stopping = dead.is_some() || shutdown.is_cancelled();
        let resting = Instant::now() < rest_until;
        let mut called = Ok(());
        if !resting && !marks.is_empty() {
            // Rows that waited for an older one of their key can be leased now. After a refusal the relay rests first.
            let news = !marks.published.is_empty() && marks.released.is_empty();
            called = marks.settle(outbox).await;
            due |= news && called.is_ok();
        }
        if called.is_ok() && !resting && !held.is_empty() && Instant::now() >= renew_at {
            called = outbox.renew(&held.iter().copied().collect::<Vec<_>>(), LEASE).await;
            renew_at = Instant::now() + RENEW_EVERY;
        }
        let room = LEASE_MAX.min(IN_FLIGHT_MAX - in_flight.len());
        if called.is_ok() && !resting && due && !stopping && room > 0 {
            look_at = Instant::now() + idle;
            due = false;
            called = outbox.lease(room, LEASE).await.map(|rows| {
                // A full lease is followed by the next one.
                due = rows.len() == room;
                if held.is_empty() {
                    renew_at = Instant::now() + RENEW_EVERY;
                }
                held.extend(rows.iter().map(|row| row.id));
                in_flight.extend(rows.into_iter().map(&send));
                failures = 0;
            });
        }
        if let Err(error) = called {
            failures += 1;
            metrics::counter!(metric_names::OUTBOX_ERRORS).increment(1);
            if failures >= STORE_FAILURES_MAX {
                return Err(error.into());
            }
            tracing::warn!(error = %error.0, failures, "outbox store failed");
            rest_until = Instant::now() + idle;
            continue;
        }
        if stopping && in_flight.is_empty() && marks.is_empty() {
            break;
        }
        let may_lease = !resting && !stopping && in_flight.len() < IN_FLIGHT_MAX;
        tokio::select! {
            biased;
            Some((id, outcome)) = in_flight.next() => {
                held.remove(&id);
                marks.take(id, outcome, &mut dead);
                while let Some(Some((id, outcome))) = in_flight.next().now_or_never() {
                    held.remove(&id);
                    marks.take(id, outcome, &mut dead);
                }
            }
            () = std::future::ready(()), if may_lease && due => {}
            () = wake.notified(), if may_lease => due = true,
            () = tokio::time::sleep_until(look_at), if may_lease => due = true,
            () = tokio::time::sleep_until(rest_until), if resting => due = true,
            () = tokio::time::sleep_until(renew_at), if !resting && !held.is_empty() => {}
            () = shutdown.cancelled(), if !stopping => {}
        }
    }
    dead.map_or(Ok(()), |error| Err(RelayError::Producer(error)))
}

/// What the store has to be told.
#[derive(Default)]
struct Marks {
    published: Vec<u64>,
    parked: Vec<(u64, &'static str)>,
    released: Vec<u64>,
}

impl Marks {
    fn take(&mut self, id: u64, outcome: Result<Position, ProduceError>, dead: &mut Option<ProduceError>) {
        let word = match outcome {
            Ok(_) => {
                self.published.push(id);
                "published"
            }
            // An access list is mended by an operator; a row that was put aside would then be lost.
            Err(ProduceError::Permanent(Refusal::Denied(text))) => {
                tracing::error!(id, text, "outbox row denied");
                self.released.push(id);
                "released"
            }
            Err(error @ ProduceError::Permanent(_)) => {
                tracing::error!(id, %error, "outbox row parked");
                self.parked.push((id, error.kind()));
                "parked"
            }
            Err(ProduceError::Ambiguous(text)) => {
                tracing::warn!(id, text, "outbox row not acknowledged");
                self.released.push(id);
                "released"
            }
            Err(error @ ProduceError::Fatal(_)) => {
                self.released.push(id);
                *dead = Some(error);
                "released"
            }
        };
        metrics::counter!(metric_names::OUTBOX_ROWS, "outcome" => word).increment(1);
    }

    fn is_empty(&self) -> bool {
        self.published.is_empty() && self.parked.is_empty() && self.released.is_empty()
    }

    /// Tells the store, what Kafka has first: a failure behind it costs no duplicate then. What was told is forgotten.
    async fn settle<O: Outbox>(&mut self, outbox: &O) -> Result<(), OutboxError> {
        if !self.published.is_empty() {
            outbox.published(&self.published).await?;
            self.published.clear();
        }
        while let Some((id, code)) = self.parked.last() {
            outbox.park(*id, code).await?;
            self.parked.pop();
        }
        if !self.released.is_empty() {
            outbox.release(&self.released).await?;
            self.released.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
