//! A plain consumer that shares no code with the services: what lies in the topics.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{ClientConfig, Message, Offset, Timestamp, TopicPartitionList};
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout_at};

const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
const READ_WITHIN: Duration = Duration::from_secs(30);

/// One record.
pub(crate) struct Seen {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) ce_id: Option<String>,
    pub(crate) timestamp: Timestamp,
}

/// Reads topics from their beginning, and remembers.
pub(crate) struct Witness {
    consumer: StreamConsumer,
    partitions: Vec<(String, i32)>,
    seen: Vec<Seen>,
}

impl Witness {
    /// On all partitions of `topics`, which exist.
    pub(crate) fn of(bootstrap: &str, topics: &[String]) -> Self {
        let consumer: StreamConsumer = client(bootstrap).create().expect("the settings are valid");
        let partitions = block_in_place(|| partitions(&consumer, topics));
        let mut assignment = TopicPartitionList::new();
        for (topic, partition) in &partitions {
            assignment.add_partition_offset(topic, *partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&assignment).expect("the partitions exist");
        Self { consumer, partitions, seen: Vec::new() }
    }

    /// Everything read so far.
    pub(crate) fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// Reads on until `enough`.
    pub(crate) async fn until(&mut self, what: &str, within: Duration, enough: impl Fn(&[Seen]) -> bool) {
        let deadline = Instant::now() + within;
        while !enough(&self.seen) {
            let Ok(next) = timeout_at(deadline, self.consumer.recv()).await else {
                panic!("not within {within:?}: {what}; {} records were seen", self.seen.len());
            };
            let seen = Seen::from(next.expect("the broker serves"));
            self.seen.push(seen);
        }
    }

    /// Reads on to the ends that the partitions have now.
    pub(crate) async fn read_to_end(&mut self) -> &[Seen] {
        let ends = block_in_place(|| ends(&self.consumer, &self.partitions));
        self.until("the end of every partition", READ_WITHIN, |seen| {
            let mut next = BTreeMap::new();
            for record in seen {
                next.insert((record.topic.clone(), record.partition), record.offset + 1);
            }
            ends.iter().all(|(partition, end)| next.get(partition).copied().unwrap_or(0) >= *end)
        })
        .await;
        &self.seen
    }
}

impl From<BorrowedMessage<'_>> for Seen {
    fn from(message: BorrowedMessage<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("keys and headers are text");
        let key = message.key().map(text);
        // The audit log is one list, which nothing divides.
        assert_eq!(key.is_none(), message.topic().ends_with(".audit.v1"), "{}: {key:?}", message.topic());
        let ce_id = message.headers().and_then(|headers| headers.iter().find(|header| header.key == "ce_id"));
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: key.unwrap_or_default(),
            value: message.payload().unwrap_or_default().to_vec(),
            ce_id: ce_id.and_then(|header| header.value).map(text),
            timestamp: message.timestamp(),
        }
    }
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "witness").set("enable.auto.commit", "false");
    config.set("fetch.wait.max.ms", "50");
    config
}

fn partitions(consumer: &StreamConsumer, topics: &[String]) -> Vec<(String, i32)> {
    let metadata = consumer.fetch_metadata(None, ANSWERED_WITHIN).expect("the broker answers");
    let wanted = metadata.topics().iter().filter(|topic| topics.iter().any(|name| name == topic.name()));
    let partitions: Vec<_> = wanted
        .flat_map(|topic| {
            topic.partitions().iter().map(|partition| (topic.name().to_owned(), partition.id()))
        })
        .collect();
    for name in topics {
        assert!(partitions.iter().any(|(topic, _)| topic == name), "there is no topic {name}");
    }
    partitions
}

fn ends(consumer: &StreamConsumer, partitions: &[(String, i32)]) -> BTreeMap<(String, i32), i64> {
    let end = |topic: &str, partition| {
        consumer.fetch_watermarks(topic, partition, ANSWERED_WITHIN).expect("the broker answers").1
    };
    partitions
        .iter()
        .map(|(topic, partition)| ((topic.clone(), *partition), end(topic, *partition)))
        .collect()
}
