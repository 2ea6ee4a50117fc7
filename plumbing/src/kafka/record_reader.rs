//! Reads one record again by its position: what is kept as (topic, partition, offset) instead of a second copy.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::config::{AppendTime, KafkaConfig};
use super::error::KafkaError;
use super::logs::PlainContext;
use super::record::{Position, Record};
use super::watermarks::ANSWER_WITHIN;

/// A client of its own that fetches single records. Clones share it, one read at a time.
#[derive(Clone)]
pub struct RecordReader {
    client: Arc<Mutex<BaseConsumer<PlainContext>>>,
    append_time: AppendTime,
}

impl RecordReader {
    /// Creates the client; it connects by itself.
    pub fn new(kafka: &KafkaConfig) -> Result<Self, KafkaError> {
        let client = kafka
            .follower()?
            .create_with_context(PlainContext)
            .map_err(|error| KafkaError::sorted("record reader", &error))?;
        Ok(Self { client: Arc::new(Mutex::new(client)), append_time: kafka.append_time })
    }

    /// The record at `position`; `None` when the topic does not hold it any more.
    ///
    /// # Errors
    /// When the partition cannot be read within ten seconds.
    pub async fn read(&self, position: Position) -> Result<Option<Record>, KafkaError> {
        let reader = self.clone();
        tokio::task::spawn_blocking(move || reader.read_blocking(&position))
            .await
            .unwrap_or(Err(KafkaError::Stopped))
    }

    fn read_blocking(&self, position: &Position) -> Result<Option<Record>, KafkaError> {
        let sorted = |error: ClientError| KafkaError::sorted(&position.topic, &error);
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        // A position before the log's start would be reset to the start, and one behind its end waits for ever.
        let (low, end) = super::watermarks::watermarks(&client, &position.topic, position.partition)?;
        if !(low..end).contains(&position.offset) {
            return Ok(None);
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&position.topic, position.partition, Offset::Offset(position.offset))
            .map_err(sorted)?;
        client.assign(&list).map_err(sorted)?;
        let deadline = Instant::now() + ANSWER_WITHIN;
        let found = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(KafkaError::Unavailable(format!("{position} was not delivered")));
            }
            match client.poll(left.min(Duration::from_millis(100))) {
                // Left over from an earlier assignment.
                Some(Ok(message))
                    if message.topic() != &*position.topic || message.partition() != position.partition => {}
                Some(Ok(message)) => {
                    // A later offset: there is a gap where the record was.
                    let here = message.offset() == position.offset;
                    let record = Record::copied(&message, Arc::clone(&position.topic), self.append_time);
                    break if here { record.map(Some) } else { Ok(None) };
                }
                Some(Err(ClientError::PartitionEOF(_))) => break Ok(None),
                Some(Err(_)) | None => {}
            }
        };
        client.unassign().map_err(sorted)?;
        found
    }
}
