//! The broker, read. The only file of a replay that knows how to reach it: nothing else here could write if it wanted to, and
//! this one has readers alone. They assign themselves partitions, join no group and commit nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use plumbing::kafka::{KafkaConfig, KafkaError, Record, Watermarks, read_ranges};
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use tokio::sync::mpsc;

/// Records that wait to be looked at.
const AHEAD: usize = 1_024;

/// First offset that is there, and that of the next record to come.
pub type Ends = BTreeMap<(String, i32), (i64, i64)>;

/// The way to the broker.
pub struct Source {
    kafka: KafkaConfig,
    watermarks: Watermarks,
}

impl Source {
    /// In the auditor's own group, which is never joined.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(kafka: &KafkaConfig, topics: &Topics) -> Result<Self, KafkaError> {
        let kafka = KafkaConfig { client_id: topics.group("audit"), ..kafka.clone() };
        Ok(Self { watermarks: Watermarks::new(&kafka)?, kafka })
    }

    /// What every partition of `topics` holds. A topic that does not exist is left out.
    ///
    /// # Errors
    /// When one cannot be asked.
    pub async fn ends(&self, topics: &[String]) -> Result<Ends, KafkaError> {
        let mut ends = Ends::new();
        for (partition, range) in self.watermarks.ranges(topics).await {
            match range {
                Ok(range) => drop(ends.insert(partition, range)),
                Err(KafkaError::UnknownTopic(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ends)
    }

    /// What of `topic` was appended from `from` on and before `to`, if that is given, per partition, within what `ends` says
    /// that it holds.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn appended(
        &self,
        topic: &str,
        from: UnixMillis,
        to: Option<UnixMillis>,
        ends: &Ends,
    ) -> Result<BTreeMap<i32, Range<i64>>, KafkaError> {
        let starts = self.watermarks.offsets_at(topic, from).await?;
        let stops = match to {
            Some(to) => self.watermarks.offsets_at(topic, to).await?,
            None => BTreeMap::new(),
        };
        let of_topic = (topic.to_owned(), i32::MIN)..=(topic.to_owned(), i32::MAX);
        Ok(ends
            .range(of_topic)
            .map(|((_, partition), (low, end))| {
                let at = |offsets: &BTreeMap<i32, i64>, otherwise| {
                    offsets.get(partition).copied().unwrap_or(otherwise).clamp(*low, *end)
                };
                (*partition, at(&starts, *low)..at(&stops, *end))
            })
            .collect())
    }

    /// Hands every record in `ranges` to `each`, in the order of each partition.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn read(
        &self,
        topic: &str,
        ranges: BTreeMap<i32, Range<i64>>,
        mut each: impl FnMut(&Record),
    ) -> Result<(), KafkaError> {
        if ranges.values().all(Range::is_empty) {
            return Ok(());
        }
        let (sender, mut records) = mpsc::channel(AHEAD);
        let send = move |record: Record| {
            // The receiver lives until the reader has ended.
            let _ = sender.blocking_send(record);
        };
        let read = read_ranges(&self.kafka, topic.to_owned(), ranges, send);
        let look = async {
            while let Some(record) = records.recv().await {
                each(&record);
            }
        };
        let (read, ()) = tokio::join!(read, look);
        read
    }
}
