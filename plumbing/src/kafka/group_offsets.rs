//! What a group has committed, asked without joining it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::config::KafkaConfig;
use super::error::KafkaError;
use super::logs::PlainContext;
use super::watermarks::{ANSWER_WITHIN, partitions};

/// Asks for the offsets of one group, with a client of its own. Clones share it.
#[derive(Clone)]
pub struct GroupOffsets {
    client: Arc<BaseConsumer<PlainContext>>,
    group_id: String,
}

impl GroupOffsets {
    /// Creates the client; it connects by itself.
    pub fn new(kafka: &KafkaConfig, group_id: String) -> Result<Self, KafkaError> {
        let client = kafka.consumer(&group_id)?.create_with_context(PlainContext);
        let client = client.map_err(|error| KafkaError::sorted("group offsets", &error))?;
        Ok(Self { client: Arc::new(client), group_id })
    }

    /// The committed offset (that of the next record) of every partition of `topics` that has one.
    ///
    /// # Errors
    /// When a topic does not exist, or the brokers do not answer.
    pub async fn committed(&self, topics: &[String]) -> Result<BTreeMap<(String, i32), i64>, KafkaError> {
        let (client, group_id, topics) = (Arc::clone(&self.client), self.group_id.clone(), topics.to_vec());
        let asked = tokio::task::spawn_blocking(move || committed(&client, &group_id, &topics));
        asked.await.unwrap_or(Err(KafkaError::Stopped))
    }
}

fn committed(
    client: &BaseConsumer<PlainContext>,
    group_id: &str,
    topics: &[String],
) -> Result<BTreeMap<(String, i32), i64>, KafkaError> {
    let mut wanted = TopicPartitionList::new();
    for topic in topics {
        for partition in partitions(client, topic)? {
            wanted.add_partition(topic, partition.id);
        }
    }
    let found = client
        .committed_offsets(wanted, ANSWER_WITHIN)
        .map_err(|error| KafkaError::sorted(group_id, &error))?;
    let committed = found.elements().into_iter().filter_map(|element| match element.offset() {
        Offset::Offset(next) => Some(((element.topic().to_owned(), element.partition()), next)),
        Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => None,
    });
    Ok(committed.collect())
}

impl fmt::Debug for GroupOffsets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupOffsets").field("group_id", &self.group_id).finish_non_exhaustive()
    }
}
