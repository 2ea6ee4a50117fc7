//! The poll thread: the only place that touches the consumer.
//!
//! Each turn looks at its inputs in this order, and the order is the argument:
//!
//! 1. **shutdown**: nothing below may delay it.
//! 2. **tick**: the commit clock and the pulse have no other trigger; a flood of records must not
//!    starve them.
//! 3. **rebalance**: which partitions are ours decides what every later step means.
//! 4. **completion**: finish work before taking work; it also makes room in the lanes.
//! 5. **poll**: take at most one record.
//!
//! Polling never stops, whatever happens: a full lane pauses its partitions instead (laminardb#290,
//! quickwit#2083), and a drain drops what it polls (the next owner reads it again).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::assignment::Assignment;
use super::breakers::Breakers;
use super::config::AppendTime;
use super::consumer::ConsumerConfig;
use super::error::{ConsumerError, KafkaError};
use super::handler::Commit;
use super::lane::{Job, Report};
use super::rebalance::{Context, Event};
use super::record::Record;
use super::signs::Pulse;
use crate::metric_names;

/// How long an idle poll waits: the delay with which a shutdown is seen.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// The same while something waits for a lane, which cannot wake this thread.
const BUSY_POLL: Duration = Duration::from_millis(5);
/// The commit clock.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How long the last commit of an epoch may take to be answered.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);

/// Everything that reaches the loop from outside.
pub(super) struct Channels {
    pub(super) events: Receiver<Event>,
    pub(super) reports: mpsc::UnboundedReceiver<Report>,
    pub(super) subscriptions: mpsc::UnboundedReceiver<Vec<String>>,
    pub(super) assigned: watch::Sender<bool>,
    pub(super) shutdown: CancellationToken,
    pub(super) pulse: Pulse,
    /// Says which topics are paused for their dead letters.
    pub(super) breakers: Option<Breakers>,
}

/// The loop's side of one lane.
pub(super) struct Feed {
    queue: mpsc::Sender<Job>,
    /// Refused by the full queue. A pause takes effect later than it is asked for, so more than one
    /// record can gather here; their order is kept.
    aside: VecDeque<Job>,
    paused: bool,
}

/// How far the end of an epoch has come.
enum Drain {
    /// Waiting for the records that lanes are handling.
    InFlight { until: Instant },
    /// Waiting for the answer to the last commit.
    Committing { until: Instant },
}

/// All state of the poll thread.
pub(super) struct Loop {
    channels: Channels,
    feeds: Vec<Feed>,
    topics: BTreeSet<String>,
    /// Topics whose partitions are paused, whatever their lanes have room for.
    held: BTreeSet<Arc<str>>,
    commit: Commit,
    drain_within: Duration,
    append_time: AppendTime,
    epoch: u64,
    assignment: Option<Assignment>,
    drain: Option<Drain>,
    lost: bool,
    unanswered_commits: usize,
    next_commit: Instant,
    /// Set once the loop is to end; the drain comes first.
    ending: Option<Result<(), ConsumerError>>,
}

impl Feed {
    pub(super) fn new(queue: mpsc::Sender<Job>) -> Self {
        Self { queue, aside: VecDeque::new(), paused: false }
    }

    /// Moves what waits aside into the queue, as far as there is room. A lane that is gone takes nothing ever again.
    fn refill(&mut self) -> Result<(), ConsumerError> {
        while let Some(job) = self.aside.pop_front() {
            match self.queue.try_send(job) {
                Ok(()) => {}
                Err(TrySendError::Full(job)) => {
                    self.aside.push_front(job);
                    break;
                }
                Err(TrySendError::Closed(job)) => {
                    self.aside.push_front(job);
                    return Err(ConsumerError::Gone);
                }
            }
        }
        Ok(())
    }

    /// Half empty: resuming at the first free place would pause again with the next record, and
    /// each pause throws away what librdkafka has prefetched.
    fn has_room(&self) -> bool {
        self.aside.is_empty() && self.queue.capacity() * 2 >= self.queue.max_capacity()
    }
}

impl Loop {
    pub(super) fn new(
        config: &ConsumerConfig,
        append_time: AppendTime,
        feeds: Vec<Feed>,
        channels: Channels,
    ) -> Self {
        Self {
            channels,
            feeds,
            topics: config.topics.iter().cloned().collect(),
            held: BTreeSet::new(),
            commit: config.commit,
            drain_within: config.drain,
            append_time,
            epoch: 0,
            assignment: None,
            drain: None,
            lost: false,
            unanswered_commits: 0,
            next_commit: Instant::now() + COMMIT_EVERY,
            ending: None,
        }
    }

    /// Turns until the shutdown token is cancelled or something fails, and always drains first.
    pub(super) fn run(&mut self, consumer: &BaseConsumer<Context>) -> Result<(), ConsumerError> {
        self.subscribe(consumer);
        loop {
            let now = Instant::now();
            self.channels.pulse.beat(now);

            if self.channels.shutdown.is_cancelled() && self.ending.is_none() {
                self.end(Ok(()));
            }
            if now >= self.next_commit {
                self.next_commit = now + COMMIT_EVERY;
                self.commit(consumer);
                if let Some(breakers) = &self.channels.breakers {
                    breakers.tell(now);
                }
            }
            while let Ok(event) = self.channels.events.try_recv() {
                self.rebalanced(consumer, event);
            }
            while let Ok(topics) = self.channels.subscriptions.try_recv() {
                let topics: BTreeSet<_> = topics.into_iter().collect();
                // The same list again would still cost a rebalance of the whole group.
                if topics != self.topics {
                    self.topics = topics;
                    self.subscribe(consumer);
                }
            }
            while let Ok(report) = self.channels.reports.try_recv() {
                self.settle(report);
            }
            self.hold(consumer, now);
            self.refill(consumer);
            self.advance_drain(consumer, now);
            if self.assignment.is_none()
                && let Some(result) = self.ending.take()
            {
                return result;
            }

            match consumer.poll(self.poll_timeout()) {
                None => {}
                Some(Ok(message)) => self.accept(consumer, &message),
                Some(Err(error)) => self.failed(&error),
            }
        }
    }

    fn poll_timeout(&self) -> Duration {
        if self.drain.is_some() || self.feeds.iter().any(|feed| feed.paused) { BUSY_POLL } else { IDLE_POLL }
    }

    fn subscribe(&mut self, consumer: &BaseConsumer<Context>) {
        if self.topics.is_empty() {
            // librdkafka refuses an empty list.
            consumer.unsubscribe();
            return;
        }
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        if let Err(error) = consumer.subscribe(&topics) {
            self.end(Err(KafkaError::sorted("subscribe", &error).into()));
        }
    }

    /// From here on nothing new is taken. An error outranks an orderly end, the first error counts.
    fn end(&mut self, result: Result<(), ConsumerError>) {
        if !matches!(self.ending, Some(Err(_))) {
            self.ending = Some(result);
        }
        self.begin_drain();
    }

    fn rebalanced(&mut self, consumer: &BaseConsumer<Context>, event: Event) {
        match event {
            Event::Assigned(partitions) => {
                metrics::counter!(metric_names::REBALANCES, "outcome" => "assigned").increment(1);
                tracing::info!(partitions = partitions.len(), "assigned");
                self.assigned(consumer, &partitions);
            }
            Event::Revoked { lost } => {
                let outcome = if lost { "lost" } else { "revoked" };
                metrics::counter!(metric_names::REBALANCES, "outcome" => outcome).increment(1);
                tracing::info!(outcome, "assignment ends");
                self.lost |= lost;
                if self.assignment.is_some() {
                    self.begin_drain();
                } else {
                    self.unassign(consumer);
                }
            }
            Event::AssignmentFailed(text) => self.end(Err(ConsumerError::Assignment(text))),
            Event::Committed { ok } => {
                self.unanswered_commits = self.unanswered_commits.saturating_sub(1);
                if let Some(assignment) = self.assignment.as_mut().filter(|_| !ok) {
                    assignment.forget_told();
                }
            }
        }
    }

    fn assigned(&mut self, consumer: &BaseConsumer<Context>, partitions: &[(String, i32)]) {
        self.close_epoch();
        self.epoch += 1;
        self.lost = false;
        self.unanswered_commits = 0;
        self.assignment = Some(Assignment::new(self.epoch, partitions, self.feeds.len()));
        // A pause outlives its assignment in librdkafka.
        for feed in &mut self.feeds {
            feed.paused = false;
        }
        self.held.clear();
        if let Err(error) =
            consumer.resume(&list(partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition))))
        {
            self.end(Err(ConsumerError::Assignment(error.to_string())));
        }
        self.channels.assigned.send_replace(true);
        if self.ending.is_some() {
            self.begin_drain();
        }
    }

    /// Stops feeding: retries end, and what only waits comes back to be read by the next owner.
    fn begin_drain(&mut self) {
        if self.drain.is_none() && self.assignment.is_some() {
            self.stop_feeding();
            self.drain = Some(Drain::InFlight { until: Instant::now() + self.drain_within });
        }
    }

    fn stop_feeding(&mut self) {
        if let Some(assignment) = &mut self.assignment {
            assignment.live.cancel();
            for job in self.feeds.iter_mut().flat_map(|feed| feed.aside.drain(..)) {
                assignment.settle(job.ticket, false);
            }
        }
    }

    /// Forgets the assignment. Whatever its lanes still report is of an older epoch from here on.
    fn close_epoch(&mut self) {
        self.stop_feeding();
        self.assignment = None;
        self.drain = None;
        self.channels.assigned.send_replace(false);
    }

    fn advance_drain(&mut self, consumer: &BaseConsumer<Context>, now: Instant) {
        let outstanding = self.assignment.as_ref().map_or(0, Assignment::outstanding);
        if let Some(Drain::InFlight { until }) = self.drain
            && (outstanding == 0 || self.lost || now >= until)
        {
            if outstanding > 0 {
                tracing::warn!(outstanding, "records in flight are left to the next owner");
            }
            self.commit(consumer);
            self.drain = Some(Drain::Committing { until: now + COMMIT_WITHIN });
        }
        if let Some(Drain::Committing { until }) = self.drain
            && (self.unanswered_commits == 0 || self.lost || now >= until)
        {
            if self.unanswered_commits > 0 && !self.lost {
                metrics::counter!(metric_names::COMMIT_ERRORS).increment(1);
                tracing::warn!("the last commit was not answered in time");
            }
            self.close_epoch();
            self.unassign(consumer);
        }
    }

    fn unassign(&mut self, consumer: &BaseConsumer<Context>) {
        if let Err(error) = consumer.unassign() {
            self.end(Err(ConsumerError::Assignment(error.to_string())));
        }
    }

    /// Commits the frontiers that are news. Always asynchronously, so that polling goes on: a
    /// synchronous commit has no timeout and would hang with the coordinator. The drain waits for
    /// the answer with a timeout of its own.
    fn commit(&mut self, consumer: &BaseConsumer<Context>) {
        // Partitions that are lost may have a new owner, whose commit this would rewind.
        if self.commit == Commit::Never || self.lost || consumer.assignment_lost() {
            return;
        }
        let Some(assignment) = &mut self.assignment else {
            return;
        };
        let news = assignment.news();
        if news.is_empty() {
            return;
        }
        let mut offsets = TopicPartitionList::with_capacity(news.len());
        for (topic, partition, next) in news {
            // Adding fails for offsets that are no offsets only.
            let added = offsets.add_partition_offset(&topic, partition, Offset::Offset(next));
            debug_assert!(added.is_ok());
        }
        match kafka_native::commit(consumer, &offsets) {
            Ok(()) => self.unanswered_commits += 1,
            Err(error) => {
                assignment.forget_told();
                metrics::counter!(metric_names::COMMIT_ERRORS).increment(1);
                tracing::warn!(%error, "offsets were not committed");
            }
        }
    }

    fn settle(&mut self, report: Report) {
        let (tickets, finished) = match report {
            Report::Finished(tickets) => (tickets, true),
            Report::Returned(tickets) => (tickets, false),
            Report::Failed(error) => return self.end(Err(error)),
        };
        if let Some(assignment) = &mut self.assignment {
            for ticket in tickets {
                assignment.settle(ticket, finished);
            }
        }
    }

    fn accept(&mut self, consumer: &BaseConsumer<Context>, message: &BorrowedMessage<'_>) {
        if self.drain.is_some() || self.ending.is_some() {
            return;
        }
        let Some(assignment) = &mut self.assignment else {
            return;
        };
        let Some(place) = assignment.place(message.topic(), message.partition()) else {
            return;
        };
        let record = match Record::copied(message, place.topic.clone(), self.append_time) {
            Ok(record) => record,
            Err(error) => return self.end(Err(error.into())),
        };
        let (ticket, rewound) = assignment.take(&place, record.position.offset);
        if let Some(rewound) = rewound {
            tracing::warn!(position = %record.position, after = rewound.last, "the log went back");
        }
        let job = Job { record, ticket, live: assignment.live.clone(), deliveries: 0 };
        self.feed(consumer, place.lane, job);
    }

    fn feed(&mut self, consumer: &BaseConsumer<Context>, lane: usize, job: Job) {
        let feed = &mut self.feeds[lane];
        if !feed.aside.is_empty() {
            return feed.aside.push_back(job);
        }
        match feed.queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => {
                feed.aside.push_back(job);
                feed.paused = true;
                metrics::counter!(metric_names::LANE_PAUSES).increment(1);
                if let Err(error) = consumer.pause(&self.partitions_of(lane)) {
                    self.end(Err(ConsumerError::Assignment(error.to_string())));
                }
            }
            Err(TrySendError::Closed(_)) => self.end(Err(ConsumerError::Gone)),
        }
    }

    fn refill(&mut self, consumer: &BaseConsumer<Context>) {
        for lane in 0..self.feeds.len() {
            let feed = &mut self.feeds[lane];
            if let Err(error) = feed.refill() {
                return self.end(Err(error));
            }
            if feed.paused && feed.has_room() {
                feed.paused = false;
                if let Err(error) = consumer.resume(&self.partitions_of(lane)) {
                    self.end(Err(ConsumerError::Assignment(error.to_string())));
                }
            }
        }
    }

    /// Pauses topics whose breaker has opened, and resumes those whose pause is over.
    fn hold(&mut self, consumer: &BaseConsumer<Context>, now: Instant) {
        let Some(breakers) = &self.channels.breakers else { return };
        let held: BTreeSet<Arc<str>> = breakers.holding(now).into_keys().collect();
        if held == self.held || self.assignment.is_none() {
            return;
        }
        let of = |topics: BTreeSet<&Arc<str>>, only_room: bool| {
            let assignment = self.assignment.iter();
            let lanes = (0..self.feeds.len()).filter(|lane| !only_room || !self.feeds[*lane].paused);
            let lanes: Vec<usize> = lanes.collect();
            list(assignment.flat_map(|assignment| {
                let partitions = lanes.iter().flat_map(|lane| assignment.in_lane(*lane));
                partitions
                    .filter(|(topic, _)| topics.iter().any(|held| &***held == *topic))
                    .collect::<Vec<_>>()
            }))
        };
        let paused = consumer.pause(&of(held.difference(&self.held).collect(), false));
        let resumed = consumer.resume(&of(self.held.difference(&held).collect(), true));
        if let Err(error) = paused.and(resumed) {
            self.end(Err(ConsumerError::Assignment(error.to_string())));
        }
        self.held = held;
    }

    /// The partitions of a lane that are not paused for another reason than its full queue.
    fn partitions_of(&self, lane: usize) -> TopicPartitionList {
        let partitions = self.assignment.iter().flat_map(|assignment| assignment.in_lane(lane));
        list(partitions.filter(|(topic, _)| !self.held.contains(*topic)))
    }

    /// librdkafka retries almost everything by itself and has told the context already.
    fn failed(&mut self, error: &ClientError) {
        if matches!(error, ClientError::MessageConsumptionFatal(_)) {
            return self.end(Err(KafkaError::Fatal(error.to_string()).into()));
        }
        match error.rdkafka_error_code() {
            // Without its group a consumer gets nothing, and says so only once.
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                self.end(Err(KafkaError::Denied(error.to_string()).into()));
            }
            // Only logged by librdkafka, which then stops delivering (rust-rdkafka#433).
            Some(RDKafkaErrorCode::PollExceeded) => {
                self.end(Err(KafkaError::Fatal(error.to_string()).into()));
            }
            Some(_) | None => {}
        }
    }
}

/// Leaves the group. From here on the drop of the consumer answers every callback by itself.
pub(super) fn leave(consumer: &BaseConsumer<Context>) {
    consumer.context().close();
    consumer.unsubscribe();
}

fn list<'a>(partitions: impl Iterator<Item = (&'a str, i32)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition(topic, partition);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(assignment: &mut Assignment, offset: i64) -> Job {
        let place = assignment.place("things", 0).expect("assigned");
        let position = super::super::record::Position { topic: "things".into(), partition: 0, offset };
        let record =
            Record { position, key: None, value: Vec::new().into(), append_time_ms: 0, headers: Vec::new() };
        let (ticket, _) = assignment.take(&place, offset);
        Job { record, ticket, live: assignment.live.clone(), deliveries: 0 }
    }

    #[test]
    fn what_waits_aside_goes_on_in_order_and_a_lane_that_is_gone_is_an_error() {
        let mut assignment = Assignment::new(1, &[("things".to_owned(), 0)], 1);
        let (queue, mut lane) = mpsc::channel(1);
        let mut feed = Feed::new(queue);
        for offset in 0..3 {
            feed.aside.push_back(job(&mut assignment, offset));
        }
        for offset in 0..2 {
            assert!(feed.refill().is_ok());
            assert_eq!(lane.try_recv().expect("a job").record.position.offset, offset);
        }
        drop(lane);
        assert!(matches!(feed.refill(), Err(ConsumerError::Gone)));
        assert_eq!(feed.aside.len(), 1);
    }
}
