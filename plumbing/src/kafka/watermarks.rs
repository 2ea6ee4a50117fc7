//! End offsets, asked from the brokers that lead the partitions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use schemas::time::UnixMillis;

use super::config::KafkaConfig;
use super::error::{KafkaError, is_unknown_topic};
use super::logs::PlainContext;

/// How long one question may take.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Topics asked about at the same time: enough to hide the round trip, few enough for the pool of
/// blocking threads.
const TOPICS_AT_A_TIME: usize = 8;

/// Asks for watermarks with a client of its own. Clones share it.
#[derive(Clone)]
pub struct Watermarks {
    client: Arc<BaseConsumer<PlainContext>>,
}

impl Watermarks {
    /// Creates the client; it connects by itself.
    pub fn new(kafka: &KafkaConfig) -> Result<Self, KafkaError> {
        kafka
            .client()?
            .create_with_context(PlainContext)
            .map(|client| Self { client: Arc::new(client) })
            .map_err(|error| KafkaError::sorted("watermarks", &error))
    }

    /// The end offset (that of the next record to come) of every partition of `topics`; 0 for a partition that
    /// holds no record any more, because nothing is left to be read there.
    ///
    /// A partition whose leader cannot be read has its own error, so that one broken partition does
    /// not hide the others. A topic whose partitions cannot be listed stands once, as partition -1.
    pub async fn end_offsets(&self, topics: &[String]) -> BTreeMap<(String, i32), Result<i64, KafkaError>> {
        let unread = |(low, end)| if low < end { end } else { 0 };
        let ranges = self.ranges(topics).await;
        ranges.into_iter().map(|(partition, range)| (partition, range.map(unread))).collect()
    }

    /// The first offset that is there and that of the next record to come, of every partition of `topics`. Errors as
    /// with [`end_offsets`](Self::end_offsets).
    pub async fn ranges(&self, topics: &[String]) -> BTreeMap<(String, i32), Result<(i64, i64), KafkaError>> {
        let asked = topics.iter().cloned().map(|topic| {
            let client = Arc::clone(&self.client);
            async move {
                let name = topic.clone();
                tokio::task::spawn_blocking(move || topic_ranges(&client, topic))
                    .await
                    .unwrap_or_else(|_| vec![((name, -1), Err(KafkaError::Stopped))])
            }
        });
        futures::stream::iter(asked)
            .buffer_unordered(TOPICS_AT_A_TIME)
            .flat_map(futures::stream::iter)
            .collect()
            .await
    }

    /// Per partition of `topic` the first offset whose record was appended at or after `instant`, or the end offset when
    /// there is none.
    ///
    /// # Errors
    /// When a partition cannot be asked.
    pub async fn offsets_at(
        &self,
        topic: &str,
        instant: UnixMillis,
    ) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let (client, topic) = (Arc::clone(&self.client), topic.to_owned());
        tokio::task::spawn_blocking(move || topic_offsets_at(&client, &topic, instant))
            .await
            .unwrap_or(Err(KafkaError::Stopped))
    }
}

fn topic_offsets_at(
    client: &BaseConsumer<PlainContext>,
    topic: &str,
    instant: UnixMillis,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let sorted = |error| KafkaError::sorted(topic, &error);
    let partitions = partitions(client, topic)?;
    let mut asked = TopicPartitionList::new();
    for Partition { id, .. } in &partitions {
        asked.add_partition_offset(topic, *id, Offset::Offset(instant.0)).map_err(sorted)?;
    }
    let found = client.offsets_for_times(asked, ANSWER_WITHIN).map_err(sorted)?;
    let mut offsets = BTreeMap::new();
    for element in found.elements_for_topic(topic) {
        element.error().map_err(sorted)?;
        let offset = match element.offset() {
            Offset::Offset(offset) => offset,
            // Nothing is that young.
            Offset::End | Offset::Beginning | Offset::Invalid | Offset::Stored | Offset::OffsetTail(_) => {
                watermarks(client, topic, element.partition())?.1
            }
        };
        offsets.insert(element.partition(), offset);
    }
    Ok(offsets)
}

type Range = ((String, i32), Result<(i64, i64), KafkaError>);

fn topic_ranges(client: &BaseConsumer<PlainContext>, topic: String) -> Vec<Range> {
    match partitions(client, &topic) {
        Err(error) => vec![((topic, -1), Err(error))],
        Ok(partitions) => partitions
            .into_iter()
            .map(|Partition { id, leaderless }| {
                let range = if leaderless {
                    // Asking would only wait until the answer's time is over.
                    Err(KafkaError::Unavailable(format!("{topic}:{id} has no leader")))
                } else {
                    watermarks(client, &topic, id)
                };
                ((topic.clone(), id), range)
            })
            .collect(),
    }
}

/// A partition as the metadata shows it.
pub(super) struct Partition {
    pub(super) id: i32,
    pub(super) leaderless: bool,
}

/// Lists the partitions of a topic; a topic that does not exist is an error.
pub(super) fn partitions<C: rdkafka::consumer::ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
) -> Result<Vec<Partition>, KafkaError> {
    let metadata = client
        .fetch_metadata(Some(topic), ANSWER_WITHIN)
        .map_err(|error| KafkaError::sorted(topic, &error))?;
    let found = metadata
        .topics()
        .iter()
        .find(|found| found.name() == topic)
        .ok_or_else(|| KafkaError::UnknownTopic(topic.to_owned()))?;
    if let Some(error) = found.error() {
        let code = RDKafkaErrorCode::from(error);
        return Err(if is_unknown_topic(code) {
            KafkaError::UnknownTopic(topic.to_owned())
        } else {
            KafkaError::sorted(topic, &rdkafka::error::KafkaError::MetadataFetch(code))
        });
    }
    if found.partitions().is_empty() {
        return Err(KafkaError::UnknownTopic(topic.to_owned()));
    }
    Ok(found
        .partitions()
        .iter()
        .map(|partition| Partition { id: partition.id(), leaderless: partition.leader() < 0 })
        .collect())
}

/// The first offset that is there, and the next one to come.
pub(super) fn watermarks<C: rdkafka::consumer::ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), KafkaError> {
    client
        .fetch_watermarks(topic, partition, ANSWER_WITHIN)
        .map_err(|error| KafkaError::sorted(&format!("{topic}:{partition}"), &error))
}

impl fmt::Debug for Watermarks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watermarks").finish_non_exhaustive()
    }
}
