//! Plain values that cross the edge: a position, a record read, a record to write.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Headers, Message};

use super::config::AppendTime;
use super::error::KafkaError;

/// Where a record stands: topic, partition, offset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
    /// Offset of the record itself (not the next one).
    pub offset: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.topic, self.partition, self.offset)
    }
}

/// A record as it was read. `Debug` prints sizes only: contents are none of a log's business.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// The broker's append time in Unix milliseconds.
    pub append_time_ms: i64,
    /// The record key.
    pub key: Option<Bytes>,
    /// The record value; empty for a tombstone.
    pub value: Bytes,
    /// Headers in their order; a header without a value reads as an empty one.
    pub headers: Vec<(String, Bytes)>,
}

impl Record {
    /// The value of the last header called `name`, which is the one that counts when a name repeats.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().rev().find(|(header, _)| header == name).map(|(_, value)| value)
    }

    /// Copies a message out of librdkafka's memory. One allocation holds key, value and header
    /// values, because this runs once per record on the one thread that polls.
    pub(super) fn copied(
        message: &BorrowedMessage<'_>,
        topic: Arc<str>,
        append_time: AppendTime,
    ) -> Result<Self, KafkaError> {
        let position = Position { topic, partition: message.partition(), offset: message.offset() };
        let append_time_ms = match (message.timestamp(), append_time) {
            (Timestamp::LogAppendTime(ms), _) => ms,
            (Timestamp::CreateTime(ms), AppendTime::InProcess) => ms,
            (Timestamp::CreateTime(_) | Timestamp::NotAvailable, _) => {
                return Err(KafkaError::CreateTime(position));
            }
        };

        let key = message.key();
        let value = message.payload().unwrap_or_default();
        let headers = message.headers();
        let header_bytes: usize = headers
            .iter()
            .flat_map(|headers| headers.iter())
            .map(|header| header.value.map_or(0, <[u8]>::len))
            .sum();
        let mut arena = BytesMut::with_capacity(key.map_or(0, <[u8]>::len) + value.len() + header_bytes);
        let mut keep = |bytes: &[u8]| {
            arena.extend_from_slice(bytes);
            arena.split().freeze()
        };

        Ok(Self {
            position,
            append_time_ms,
            key: key.map(&mut keep),
            value: keep(value),
            headers: headers.map_or_else(Vec::new, |headers| {
                headers
                    .iter()
                    .map(|header| (header.key.to_owned(), keep(header.value.unwrap_or_default())))
                    .collect()
            }),
        })
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("position", &format_args!("{}", self.position))
            .field("append_time_ms", &self.append_time_ms)
            .field("key_bytes", &self.key.as_ref().map(Bytes::len))
            .field("value_bytes", &self.value.len())
            .field("header_bytes", &HeaderSizes(&self.headers))
            .finish()
    }
}

/// A record to write. `Debug` prints sizes only.
#[derive(Clone, PartialEq, Eq)]
pub struct OutRecord {
    /// Topic name.
    pub topic: String,
    /// The record key, which decides the partition.
    pub key: Option<Vec<u8>>,
    /// The record value.
    pub value: Vec<u8>,
    /// Headers in their order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for OutRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutRecord")
            .field("topic", &self.topic)
            .field("key_bytes", &self.key.as_ref().map(Vec::len))
            .field("value_bytes", &self.value.len())
            .field("header_bytes", &HeaderSizes(&self.headers))
            .finish()
    }
}

struct HeaderSizes<'a, V>(&'a [(String, V)]);

impl<V: AsRef<[u8]>> fmt::Debug for HeaderSizes<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, value)| (name, value.as_ref().len()))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_prints_as_topic_partition_offset() {
        let position = Position { topic: "things.v1".into(), partition: 3, offset: 42 };
        assert_eq!(position.to_string(), "things.v1:3:42");
    }

    #[test]
    fn debug_output_holds_sizes_and_never_contents() {
        let record = Record {
            position: Position { topic: "things.v1".into(), partition: 0, offset: 0 },
            append_time_ms: 0,
            key: Some(Bytes::from_static(b"secret-key")),
            value: Bytes::from_static(b"secret-value"),
            headers: vec![("name".into(), Bytes::from_static(b"secret-header"))],
        };
        let out = OutRecord {
            topic: "things.v1".into(),
            key: Some(b"secret-key".to_vec()),
            value: b"secret-value".to_vec(),
            headers: vec![("name".into(), b"secret-header".to_vec())],
        };
        let printed = format!("{record:?} {out:?}");
        assert!(!printed.contains("secret"), "{printed}");
        assert!(printed.contains("value_bytes: 12"), "{printed}");
        assert!(printed.contains("\"name\": 13"), "{printed}");
    }

    #[test]
    fn the_last_of_repeated_headers_counts() {
        let record = Record {
            position: Position { topic: "t".into(), partition: 0, offset: 0 },
            append_time_ms: 0,
            key: None,
            value: Bytes::new(),
            headers: vec![("a".into(), Bytes::from_static(b"1")), ("a".into(), Bytes::from_static(b"2"))],
        };
        assert_eq!(record.header("a"), Some(&Bytes::from_static(b"2")));
        assert_eq!(record.header("b"), None);
    }
}
