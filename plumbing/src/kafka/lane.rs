//! One lane: takes records from its queue in batches, asks the handler, follows the verdicts.
//!
//! In: jobs, bounded. Out: reports, one per job in the end, or the lane's failure. What must never
//! happen here: a job is reported as finished before its effect, or its dead letter, is durable.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use metrics::Counter;
use schemas::ids::QueryId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::assignment::Ticket;
use super::dead_letter::{self, DeadLetters};
use super::error::{ConsumerError, ProduceError};
use super::handler::{ErrorClass, Handler, Verdict};
use super::record::{Position, Record};
use crate::metric_names;
use crate::trace::Consumed;

/// How long a dead letter with an unknown outcome waits for its next attempt.
const BURY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A record on its way through a lane.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) record: Record,
    pub(super) ticket: Ticket,
    /// Cancelled when the record's epoch ends.
    pub(super) live: CancellationToken,
}

/// What a lane tells the loop.
#[derive(Debug)]
pub(super) enum Report {
    /// These are finished: their offsets may complete.
    Finished(Vec<Ticket>),
    /// These come back unfinished: their epoch ended, or the lane failed.
    Returned(Vec<Ticket>),
    /// The consumer must end.
    Failed(ConsumerError),
}

/// What all lanes of a consumer share.
pub(super) struct Lane<H> {
    pub(super) handler: Arc<H>,
    pub(super) dead_letters: Option<DeadLetters>,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    pub(super) stall: Duration,
    /// The group, as spans name it.
    pub(super) group: String,
    /// Counts what was finished.
    pub(super) handled: Counter,
}

/// Batches in the order of the queue; a retry holds up the lane.
pub(super) async fn ordered<H: Handler>(
    lane: Arc<Lane<H>>,
    mut queue: mpsc::Receiver<Job>,
    batch_max: usize,
) {
    let mut batch = Vec::with_capacity(batch_max);
    while queue.recv_many(&mut batch, batch_max).await > 0 {
        lane.work(batch.drain(..)).await;
    }
}

/// One record per task, at most `max` tasks.
pub(super) async fn concurrent<H: Handler>(lane: Arc<Lane<H>>, mut queue: mpsc::Receiver<Job>, max: usize) {
    let mut running = JoinSet::new();
    while let Some(job) = queue.recv().await {
        while running.try_join_next().is_some() {}
        if running.len() >= max {
            running.join_next().await;
        }
        let lane = Arc::clone(&lane);
        running.spawn(async move { lane.work([job]).await });
    }
    // A record in the making is never aborted: its transaction would be cut off.
    while running.join_next().await.is_some() {}
}

/// What log lines say of the record that is being handled. A batch of many has no one query.
fn line_fields(records: &[Record]) -> tracing::Span {
    let [record] = records else { return tracing::Span::none() };
    let Ok(query) = QueryId::from_key(record.key.as_deref().unwrap_or_default()) else {
        return tracing::Span::none();
    };
    let Position { topic, partition, offset } = &record.position;
    tracing::info_span!("record", query_id = %query, %topic, partition, offset)
}

/// What became of one record in one round.
enum Step {
    Finished,
    Again(Duration),
    Returned,
    Failed(ConsumerError),
}

impl<H: Handler> Lane<H> {
    /// Works until every job is finished or returned.
    async fn work(&self, jobs: impl IntoIterator<Item = Job>) {
        let mut records = Vec::new();
        let mut tickets = Vec::new();
        let mut returned = Vec::new();
        let mut live = None;
        for job in jobs {
            if job.live.is_cancelled() {
                returned.push(job.ticket);
            } else {
                // An epoch begins only after the one before was cancelled, so all that is left
                // here is of one epoch.
                live = Some(job.live);
                records.push(job.record);
                tickets.push(job.ticket);
            }
        }
        self.give_back(returned);

        let Some(live) = live else { return };
        let mut deliveries = 1;
        while !records.is_empty() {
            let wait;
            (records, tickets, wait) = self.round(records, tickets, deliveries, &live).await;
            if records.is_empty() {
                return;
            }
            tokio::select! {
                () = live.cancelled() => return self.give_back(tickets),
                () = tokio::time::sleep(wait) => deliveries += 1,
            }
        }
    }

    /// Hands the records over once. What is to be tried again comes back, with the time to wait.
    async fn round(
        &self,
        records: Vec<Record>,
        tickets: Vec<Ticket>,
        deliveries: u32,
        live: &CancellationToken,
    ) -> (Vec<Record>, Vec<Ticket>, Duration) {
        let spans = Consumed::begin(&records, &self.group);
        let verdicts = match self.verdicts(&records).await {
            Ok(verdicts) => verdicts,
            Err(error) => {
                self.fail(error, live);
                self.give_back(tickets);
                return (Vec::new(), Vec::new(), Duration::ZERO);
            }
        };
        spans.end(&verdicts);
        let steps = join_all(
            records
                .iter()
                .zip(verdicts)
                .map(|(record, verdict)| self.follow(record, verdict, deliveries, live)),
        )
        .await;

        let mut finished = Vec::with_capacity(tickets.len());
        let mut returned = Vec::new();
        let mut again = (Vec::new(), Vec::new(), Duration::ZERO);
        for ((record, ticket), step) in records.into_iter().zip(tickets).zip(steps) {
            match step {
                Step::Finished => finished.push(ticket),
                Step::Returned => returned.push(ticket),
                Step::Failed(error) => {
                    self.fail(error, live);
                    returned.push(ticket);
                }
                Step::Again(after) => {
                    again.0.push(record);
                    again.1.push(ticket);
                    // Nothing is tried sooner than it asked for.
                    again.2 = again.2.max(after);
                }
            }
        }
        self.handled.increment(finished.len() as u64);
        if !finished.is_empty() {
            self.report(Report::Finished(finished));
        }
        self.give_back(returned);
        again
    }

    /// Asks the handler. It is never cancelled: a stall is reported, and still waited for.
    async fn verdicts(&self, records: &[Record]) -> Result<Vec<Verdict>, ConsumerError> {
        let position = || records[0].position.clone();
        // The block makes a panic before the first await one of the future's, too.
        let handling = async { self.handler.handle(records).await }.instrument(line_fields(records));
        let mut handling = pin!(AssertUnwindSafe(handling).catch_unwind());
        let outcome = match tokio::time::timeout(self.stall, &mut handling).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.report(Report::Failed(ConsumerError::LaneStalled {
                    position: position(),
                    after: self.stall,
                }));
                handling.await
            }
        };
        let verdicts = outcome.map_err(|_| ConsumerError::HandlerPanicked(position()))?;
        if verdicts.len() == records.len() {
            Ok(verdicts)
        } else {
            Err(ConsumerError::WrongVerdictCount { expected: records.len(), got: verdicts.len() })
        }
    }

    async fn follow(
        &self,
        record: &Record,
        verdict: Verdict,
        deliveries: u32,
        live: &CancellationToken,
    ) -> Step {
        match verdict {
            Verdict::Done => Step::Finished,
            Verdict::Retry { after, code } => {
                metrics::counter!(metric_names::RECORDS_RETRIED, "code" => code).increment(1);
                tracing::debug!(position = %record.position, code, deliveries, ?after, "retry");
                Step::Again(after)
            }
            Verdict::DeadLetter { code, class } => self.bury(record, deliveries, code, class, live).await,
        }
    }

    async fn bury(
        &self,
        record: &Record,
        deliveries: u32,
        code: &'static str,
        class: ErrorClass,
        live: &CancellationToken,
    ) -> Step {
        let Some(dead_letters) = &self.dead_letters else {
            dead_letter::count_only(record, code, "this consumer writes no dead letters");
            return Step::Finished;
        };
        loop {
            match dead_letters.bury(record, deliveries, code, class).await {
                Ok(()) => return Step::Finished,
                Err(ProduceError::Ambiguous(text)) => {
                    tracing::warn!(position = %record.position, text, "dead letter not acknowledged");
                    tokio::select! {
                        () = live.cancelled() => return Step::Returned,
                        () = tokio::time::sleep(BURY_AGAIN_AFTER) => {}
                    }
                }
                Err(source @ (ProduceError::Permanent(_) | ProduceError::Fatal(_))) => {
                    return Step::Failed(ConsumerError::DeadLetter {
                        position: record.position.clone(),
                        source,
                    });
                }
            }
        }
    }

    /// Ends the epoch before the loop hears of it: nothing behind the failed batch may be handled.
    fn fail(&self, error: ConsumerError, live: &CancellationToken) {
        live.cancel();
        self.report(Report::Failed(error));
    }

    fn give_back(&self, tickets: Vec<Ticket>) {
        if !tickets.is_empty() {
            self.report(Report::Returned(tickets));
        }
    }

    fn report(&self, report: Report) {
        // Without a loop there is nobody left to be told.
        let _ = self.reports.send(report);
    }
}
