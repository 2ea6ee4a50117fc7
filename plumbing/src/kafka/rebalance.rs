//! librdkafka's consumer callbacks, turned into events for the poll thread.
//!
//! The callbacks run inside `poll`, on the poll thread. Whoever waits here waits for itself
//! (quickwit#1826, taskbroker#32), so a revocation only leaves an event and returns: the loop keeps
//! polling while it drains, and hands the partitions back when it is done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, KafkaResult};
use rdkafka::statistics::{Partition, Statistics};
use rdkafka::types::RDKafkaRespErr;

use super::logs;
use super::signs::Reach;
use crate::metric_names;

/// What a callback saw.
#[derive(Debug)]
pub(super) enum Event {
    /// These partitions are ours now.
    Assigned(Vec<(String, i32)>),
    /// Everything must be given back; `lost` means that others may own it already.
    Revoked { lost: bool },
    /// An assignment could not be taken or given back.
    AssignmentFailed(String),
    /// The broker answered a commit.
    Committed { ok: bool },
}

/// The callbacks' side.
pub(super) struct Context {
    events: Sender<Event>,
    closing: AtomicBool,
    /// The group.
    role: String,
    commits: bool,
    reach: Reach,
}

impl Context {
    pub(super) fn new(events: Sender<Event>, role: String, commits: bool, reach: Reach) -> Self {
        Self { events, closing: AtomicBool::new(false), role, commits, reach }
    }

    /// From here on a revocation is answered at once: the drop of the consumer polls until it is
    /// closed, and nobody else would answer.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    fn tell(&self, event: Event) {
        // The loop is gone only while the consumer is being dropped, and then nobody needs it.
        let _ = self.events.send(event);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        logs::forward(level, facility, text);
    }

    fn stats(&self, statistics: Statistics) {
        self.reach.counted(&statistics);
        let lag: i64 = statistics
            .topics
            .values()
            .flat_map(|topic| topic.partitions.values())
            .map(|partition| lag(partition, self.commits))
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!(metric_names::CONSUMER_LAG, "role" => self.role.clone()).set(lag as f64);
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.reach.failed(&error);
        logs::survived(&error, reason);
    }
}

/// librdkafka tells no lag of a partition of which nothing was committed yet. Then everything in it is still to be done,
/// unless nobody commits.
fn lag(partition: &Partition, commits: bool) -> i64 {
    let untouched = partition.consumer_lag < 0 && partition.committed_offset < 0;
    if commits && untouched && partition.fetch_state == "active" {
        return (partition.hi_offset - partition.lo_offset.max(0)).max(0);
    }
    partition.consumer_lag.max(0)
}

impl ConsumerContext for Context {
    /// rdkafka's own implementation ignores what `assign` returns and unassigns on any error.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::SeqCst) {
            if let Err(error) = consumer.unassign() {
                tracing::warn!(%error, "partitions were not given back");
            }
        } else if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            match consumer.assign(partitions) {
                Ok(()) => self.tell(Event::Assigned(
                    partitions
                        .elements()
                        .iter()
                        .map(|element| (element.topic().to_owned(), element.partition()))
                        .collect(),
                )),
                Err(error) => self.tell(Event::AssignmentFailed(error.to_string())),
            }
        } else if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS {
            self.tell(Event::Revoked { lost: consumer.assignment_lost() });
        } else {
            self.tell(Event::AssignmentFailed(format!("{error:?}")));
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        // One refused partition does not fail the whole answer.
        let refused = offsets.elements().iter().filter(|element| element.error().is_err()).count();
        let ok = result.is_ok() && refused == 0;
        if !ok {
            metrics::counter!(metric_names::COMMIT_ERRORS).increment(1);
            tracing::warn!(?result, refused, "offsets were not committed");
        }
        self.tell(Event::Committed { ok });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(consumer_lag: i64, committed_offset: i64) -> Partition {
        Partition {
            fetch_state: "active".into(),
            lo_offset: 2,
            hi_offset: 7,
            consumer_lag,
            committed_offset,
            ..Partition::default()
        }
    }

    #[test]
    fn a_group_that_has_committed_nothing_lags_by_everything_and_one_that_never_commits_by_nothing() {
        assert_eq!(lag(&partition(-1, -1001), true), 5);
        assert_eq!(lag(&partition(-1, -1001), false), 0);
        assert_eq!(lag(&partition(3, 4), true), 3);
        let elsewhere = Partition { fetch_state: "none".into(), ..partition(-1, -1001) };
        assert_eq!(lag(&elsewhere, true), 0);
    }
}
