//! How the hub stands now. Pure: from what store and brokers said.

use std::collections::BTreeMap;

use plumbing::kafka::KafkaError;
use schemas::ids::BankId;
use schemas::time::UnixMillis;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::{OpenQueries, Pause, Progress};

/// How the hub stands. Times are RFC 3339, UTC, three decimals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// By the store's clock.
    pub at: String,
    /// Queries whose banks may still answer.
    pub collecting: u64,
    /// Queries that wait for their release.
    pub held: u64,
    /// When the oldest collecting one was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_accepted_at: Option<String>,
    /// How old that is, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_age_seconds: Option<u64>,
    /// Collecting queries more than a minute behind their deadline.
    pub overdue: u64,
    /// There may be more of them than were counted.
    pub overdue_more: bool,
    /// Messages that wait to be produced.
    pub outbox_waiting: u64,
    /// Messages that can never be produced.
    pub outbox_parked: u64,
    /// Records that are not read yet, in partitions whose end is known.
    pub lag: u64,
    /// Each partition of query and reply topics.
    pub partitions: Vec<PartitionFacts>,
    /// Banks that are paused.
    pub paused: Vec<PauseFacts>,
}

/// How far a partition has been read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartitionFacts {
    /// Its topic.
    pub topic: String,
    /// Its number; -1 for a topic whose partitions cannot be listed.
    pub partition: i32,
    /// Offset of the next record to be read; nothing was read yet when it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<i64>,
    /// Append time of the last record that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_to: Option<String>,
    /// Offset of the next record to come; not there when the partition's leader cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_offset: Option<i64>,
    /// Records between the two that are still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
}

/// A pause of a bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseFacts {
    /// Party id.
    pub bank: String,
    /// Since when.
    pub since: String,
    /// Why.
    pub reason: String,
    /// Who did it: the name in their certificate.
    pub by: String,
}

impl PauseFacts {
    pub(super) fn of(bank: &BankId, pause: &Pause) -> Self {
        Self {
            bank: bank.to_string(),
            since: pause.since.to_string(),
            reason: pause.reason.clone(),
            by: pause.by.clone(),
        }
    }
}

/// First and next offset of every partition, as the brokers said.
pub(super) type Ranges = BTreeMap<(String, i32), Result<(i64, i64), KafkaError>>;

/// What was asked.
pub(super) struct Seen<'a> {
    pub(super) now: UnixMillis,
    pub(super) open: OpenQueries,
    pub(super) overdue: (usize, bool),
    pub(super) outbox: (u64, u64),
    pub(super) progress: &'a BTreeMap<(String, i32), Progress>,
    pub(super) ranges: &'a Ranges,
    pub(super) pauses: &'a BTreeMap<BankId, Pause>,
}

pub(super) fn overview(seen: &Seen<'_>) -> Overview {
    let partitions: Vec<PartitionFacts> = seen
        .ranges
        .iter()
        .map(|((topic, partition), range)| {
            let read = seen.progress.get(&(topic.clone(), *partition));
            let range = range.as_ref().ok();
            // What is gone by its retention is not waited for.
            let lag = range.map(|(low, end)| end - read.map_or(*low, |read| read.next_offset.max(*low)));
            PartitionFacts {
                topic: topic.clone(),
                partition: *partition,
                next_offset: read.map(|read| read.next_offset),
                read_to: read.map(|read| read.append_time.to_string()),
                end_offset: range.map(|(_, end)| *end),
                // Progress is asked before the ends; behind a broker that lost its log it may still be greater.
                lag: lag.map(|lag| u64::try_from(lag).unwrap_or(0)),
            }
        })
        .collect();
    let age = seen.open.oldest.map(|oldest| seen.now.since(oldest).as_secs());
    Overview {
        at: seen.now.to_string(),
        collecting: seen.open.collecting,
        held: seen.open.held,
        oldest_accepted_at: seen.open.oldest.map(|at| at.to_string()),
        oldest_age_seconds: age,
        overdue: seen.overdue.0 as u64,
        overdue_more: seen.overdue.1,
        outbox_waiting: seen.outbox.0,
        outbox_parked: seen.outbox.1,
        lag: partitions.iter().filter_map(|of| of.lag).sum(),
        partitions,
        paused: seen.pauses.iter().map(|(bank, pause)| PauseFacts::of(bank, pause)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_is_there_and_not_read_and_unknown_where_no_leader_says() {
        let key = |partition| ("reply.alpha".to_owned(), partition);
        let read = |next_offset| Progress { next_offset, append_time: UnixMillis(7) };
        let progress =
            BTreeMap::from([(key(0), read(40)), (key(1), read(3)), (key(3), read(9)), (key(4), read(5))]);
        let ranges = Ranges::from([
            (key(0), Ok((10, 50))),
            (key(1), Ok((10, 50))),
            (key(2), Ok((10, 50))),
            (key(3), Err(KafkaError::Stopped)),
            (key(4), Ok((0, 4))),
        ]);
        let overview = overview(&Seen {
            now: UnixMillis(90_500),
            open: OpenQueries { collecting: 2, held: 1, oldest: Some(UnixMillis(500)) },
            overdue: (0, false),
            outbox: (1, 2),
            progress: &progress,
            ranges: &ranges,
            pauses: &BTreeMap::new(),
        });
        let lags: Vec<Option<u64>> = overview.partitions.iter().map(|of| of.lag).collect();
        assert_eq!(lags, [Some(10), Some(40), Some(40), None, Some(0)]);
        assert_eq!((overview.lag, overview.oldest_age_seconds), (90, Some(90)));
    }
}
