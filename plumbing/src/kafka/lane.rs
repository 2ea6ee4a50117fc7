//! One lane: takes records from its queue in batches, asks the handler, follows the verdicts.
//!
//! In: jobs, bounded. Out: reports, one per job in the end, or the lane's failure. What must never
//! happen here: a job is reported as finished before its effect, or its dead letter, is durable.
//! Records of a paused topic wait here, unfinished, while those of other topics go on.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::join_all;
use metrics::Counter;
use schemas::ids::QueryId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::assignment::Ticket;
use super::breakers::{Breakers, Ruling};
use super::dead_letter::{self, DeadLetters};
use super::error::{ConsumerError, ProduceError};
use super::handler::{ErrorClass, Handler, Verdict};
use super::held::Held;
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
    /// How often it was handed over.
    pub(super) deliveries: u32,
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
    let mut held = Held::default();
    loop {
        tokio::select! {
            // What was held stands before what comes now.
            biased;
            () = held.due(lane.breakers()) => lane.again(&mut held, batch_max).await,
            received = queue.recv_many(&mut batch, batch_max) => {
                if received == 0 {
                    return;
                }
                let fresh = lane.held_back(batch.drain(..), &mut held);
                lane.work(fresh, &mut held).await;
            }
        }
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
        running.spawn(async move {
            let mut held = Held::default();
            let fresh = lane.held_back([job], &mut held);
            lane.work(fresh, &mut held).await;
            while !held.is_empty() {
                held.due(lane.breakers()).await;
                lane.again(&mut held, 1).await;
            }
        });
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
    Held,
    Returned,
    Failed(ConsumerError),
}

/// Records that are to be handed over, and what belongs to each.
#[derive(Default)]
struct Round {
    records: Vec<Record>,
    marks: Vec<Mark>,
}

/// What belongs to a record on its way.
struct Mark {
    ticket: Ticket,
    deliveries: u32,
}

impl Round {
    fn push(&mut self, record: Record, mark: Mark) {
        self.records.push(record);
        self.marks.push(mark);
    }

    fn tickets(self) -> Vec<Ticket> {
        self.marks.into_iter().map(|mark| mark.ticket).collect()
    }
}

impl<H: Handler> Lane<H> {
    fn breakers(&self) -> Option<&Breakers> {
        self.dead_letters.as_ref().map(DeadLetters::breakers)
    }

    /// Keeps back what belongs to a paused topic, or has to wait behind a record that is held.
    fn held_back(&self, jobs: impl IntoIterator<Item = Job>, held: &mut Held) -> Vec<Job> {
        let paused = self.breakers().map(|breakers| breakers.holding(Instant::now())).unwrap_or_default();
        if paused.is_empty() && held.is_empty() {
            return jobs.into_iter().collect();
        }
        let mut fresh = Vec::new();
        for job in jobs {
            let topic = &job.record.position.topic;
            if paused.contains_key(topic) || held.has(topic) { held.push(job) } else { fresh.push(job) }
        }
        fresh
    }

    /// Hands over what was held and need not wait any more.
    async fn again(&self, held: &mut Held, max: usize) {
        let jobs = held.take(self.breakers(), max);
        self.work(jobs, held).await;
    }

    /// Works until every job is finished, returned or held.
    async fn work(&self, jobs: Vec<Job>, held: &mut Held) {
        let mut round = Round::default();
        let mut returned = Vec::new();
        let mut live = None;
        for Job { record, ticket, live: epoch, deliveries } in jobs {
            if epoch.is_cancelled() {
                returned.push(ticket);
            } else {
                // An epoch begins only after the one before was cancelled, so all that is left
                // here is of one epoch.
                live = Some(epoch);
                round.push(record, Mark { ticket, deliveries });
            }
        }
        self.give_back(returned);

        let Some(live) = live else { return };
        while !round.records.is_empty() {
            let wait;
            (round, wait) = self.round(round, &live, held).await;
            if round.records.is_empty() {
                return;
            }
            tokio::select! {
                () = live.cancelled() => return self.give_back(round.tickets()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Hands the records over once. What is to be tried again comes back, with the time to wait.
    async fn round(&self, mut round: Round, live: &CancellationToken, held: &mut Held) -> (Round, Duration) {
        let spans = Consumed::begin(&round.records, &self.group);
        let verdicts = match self.verdicts(&round.records).await {
            Ok(verdicts) => verdicts,
            Err(error) => {
                self.fail(error, live);
                self.give_back(round.tickets());
                return (Round::default(), Duration::ZERO);
            }
        };
        spans.end(&verdicts);
        for mark in &mut round.marks {
            mark.deliveries = mark.deliveries.saturating_add(1);
        }
        let rulings = match self.breakers() {
            Some(breakers) => breakers.rule(&round.records, &verdicts, Instant::now()),
            None => verdicts.into_iter().map(Ruling::Follow).collect(),
        };
        let ruled = round.records.iter().zip(&round.marks).zip(rulings);
        let steps = join_all(
            ruled.map(|((record, mark), ruling)| self.follow(record, ruling, mark.deliveries, live)),
        )
        .await;

        let mut finished = Vec::with_capacity(round.marks.len());
        let mut returned = Vec::new();
        let mut waiting = Vec::new();
        let (mut again, mut wait) = (Round::default(), Duration::ZERO);
        for ((record, mark), step) in round.records.into_iter().zip(round.marks).zip(steps) {
            match step {
                Step::Finished => finished.push(mark.ticket),
                Step::Returned => returned.push(mark.ticket),
                Step::Failed(error) => {
                    self.fail(error, live);
                    returned.push(mark.ticket);
                }
                Step::Held => {
                    let Mark { ticket, deliveries } = mark;
                    waiting.push(Job { record, ticket, live: live.clone(), deliveries });
                }
                Step::Again(after) => {
                    again.push(record, mark);
                    // Nothing is tried sooner than it asked for.
                    wait = wait.max(after);
                }
            }
        }
        held.push_front(waiting);
        self.handled.increment(finished.len() as u64);
        if !finished.is_empty() {
            self.report(Report::Finished(finished));
        }
        self.give_back(returned);
        (again, wait)
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
        ruling: Ruling,
        deliveries: u32,
        live: &CancellationToken,
    ) -> Step {
        let verdict = match ruling {
            Ruling::Follow(verdict) => verdict,
            Ruling::Hold => return Step::Held,
            Ruling::CountOnly(code) => {
                dead_letter::count_only(record, code, "there are too many of them");
                return Step::Finished;
            }
        };
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
