//! Pure: where a dead letter came from, by the headers of whoever wrote it.
//!
//! | family | written by | numbers are |
//! |---|---|---|
//! | `__dlq.errors.*` | this system, and brokers from Kafka 4.4 on (KIP-1191) | text |
//! | `__connect.errors.*` | Kafka Connect (KIP-298) | text |
//! | `__streams.errors.*` | Kafka Streams (KIP-1034) | text |
//! | `kafka_dlt-original-*` | Spring for Apache Kafka | big-endian bytes |
//! | `x-original-*` | Spring Cloud Stream | big-endian bytes |
//!
//! The first family of this table that names a topic counts, and of a header that repeats the last: what a sender wrote
//! into its own record stands before what the hub added.

use bytes::Bytes;

/// Who wrote the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Family {
    Broker,
    Connect,
    Streams,
    Spring,
    SpringCloud,
}

/// Names of one family's headers.
struct Names {
    family: Family,
    topic: &'static str,
    partition: &'static str,
    offset: &'static str,
    /// Where it says what went wrong, in a word: a code, or the class of an exception.
    why: &'static [&'static str],
}

const FAMILIES: [Names; 5] = [
    Names {
        family: Family::Broker,
        topic: "__dlq.errors.topic",
        partition: "__dlq.errors.partition",
        offset: "__dlq.errors.offset",
        why: &["cardquery-error-code", "__dlq.errors.message"],
    },
    Names {
        family: Family::Connect,
        topic: "__connect.errors.topic",
        partition: "__connect.errors.partition",
        offset: "__connect.errors.offset",
        why: &["__connect.errors.exception.class.name"],
    },
    Names {
        family: Family::Streams,
        topic: "__streams.errors.topic",
        partition: "__streams.errors.partition",
        offset: "__streams.errors.offset",
        why: &["__streams.errors.exception"],
    },
    Names {
        family: Family::Spring,
        topic: "kafka_dlt-original-topic",
        partition: "kafka_dlt-original-partition",
        offset: "kafka_dlt-original-offset",
        why: &["kafka_dlt-exception-fqcn"],
    },
    Names {
        family: Family::SpringCloud,
        topic: "x-original-topic",
        partition: "x-original-partition",
        offset: "x-original-offset",
        why: &["x-exception-fqcn"],
    },
];

/// First parts of the names of all headers that say why a record is a dead letter.
const ABOUT_ERRORS: [&str; 7] = [
    "__dlq.errors.",
    "cardquery-error-",
    "__connect.errors.",
    "__streams.errors.",
    "kafka_dlt-",
    "x-original-",
    "x-exception-",
];

/// Where a dead letter came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who says so.
    pub family: Family,
    /// The topic.
    pub topic: String,
    /// The partition, where it is said.
    pub partition: Option<i32>,
    /// The offset, where it is said.
    pub offset: Option<i64>,
}

/// A topic's name that is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Where a dead letter came from; `None` when no family of headers is there.
///
/// # Errors
/// [`Malformed`].
pub fn origin(headers: &[(String, Bytes)]) -> Result<Option<Origin>, Malformed> {
    let named = FAMILIES.iter().find_map(|names| Some((names, last(headers, names.topic)?)));
    let Some((names, topic)) = named else { return Ok(None) };
    let topic = std::str::from_utf8(topic).map_err(|_| Malformed)?.to_owned();
    let number = |name| last(headers, name).and_then(number);
    Ok(Some(Origin {
        family: names.family,
        topic,
        partition: number(names.partition).and_then(|number| number.try_into().ok()),
        offset: number(names.offset),
    }))
}

/// What went wrong, in the word of the family that counts.
pub fn why(headers: &[(String, Bytes)]) -> Option<&Bytes> {
    let by_topic = FAMILIES.iter().find(|names| last(headers, names.topic).is_some());
    by_topic?.why.iter().find_map(|name| last(headers, name))
}

/// Whether a header of this name says why a record is a dead letter, and has no meaning before it was one.
pub fn is_about_errors(name: &str) -> bool {
    ABOUT_ERRORS.iter().any(|first| name.starts_with(first))
}

/// The value of the last header of this name.
pub fn last<'a>(headers: &'a [(String, Bytes)], name: &str) -> Option<&'a Bytes> {
    headers.iter().rev().find(|(header, _)| header == name).map(|(_, value)| value)
}

/// Digits, or four or eight big-endian bytes. An offset whose bytes all look like digits would be above 3 × 10¹⁸.
fn number(value: &Bytes) -> Option<i64> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(text) = text {
        return text.parse().ok();
    }
    if let Ok(bytes) = <[u8; 4]>::try_from(&value[..]) {
        return Some(i32::from_be_bytes(bytes).into());
    }
    <[u8; 8]>::try_from(&value[..]).ok().map(i64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pairs: &[(&str, &str)]) -> Vec<(String, Bytes)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
            .collect()
    }

    fn found(family: Family) -> Result<Option<Origin>, Malformed> {
        let topic = "cardquery.reply.alpha.v1".to_owned();
        Ok(Some(Origin { family, topic, partition: Some(2), offset: Some(1234) }))
    }

    #[test]
    fn the_headers_of_this_system_and_of_brokers_are_read() {
        let headers = text(&[
            ("ce_id", "abc"),
            ("__dlq.errors.topic", "cardquery.reply.alpha.v1"),
            ("__dlq.errors.partition", "2"),
            ("__dlq.errors.offset", "1234"),
            ("__dlq.errors.group", "cardquery.aggregator.reply"),
            ("__dlq.errors.delivery.count", "1"),
            ("__dlq.errors.message", "KEY_UNKNOWN"),
            ("cardquery-error-code", "KEY_UNKNOWN"),
            ("cardquery-error-class", "rejected"),
        ]);
        assert_eq!(origin(&headers), found(Family::Broker));
        assert_eq!(why(&headers).map(|code| &code[..]), Some(&b"KEY_UNKNOWN"[..]));
    }

    #[test]
    fn the_ten_headers_of_connect_are_read() {
        let headers = text(&[
            ("__connect.errors.topic", "cardquery.reply.alpha.v1"),
            ("__connect.errors.partition", "2"),
            ("__connect.errors.offset", "1234"),
            ("__connect.errors.connector.name", "archive-sink"),
            ("__connect.errors.task.id", "0"),
            ("__connect.errors.stage", "VALUE_CONVERTER"),
            ("__connect.errors.class.name", "org.apache.kafka.connect.json.JsonConverter"),
            ("__connect.errors.exception.class.name", "org.apache.kafka.connect.errors.DataException"),
            ("__connect.errors.exception.message", "Converting byte[] to Kafka Connect data failed"),
            ("__connect.errors.exception.stacktrace", "org.apache.kafka.connect.errors.DataException: …"),
        ]);
        assert_eq!(origin(&headers), found(Family::Connect));
        assert_eq!(why(&headers).map(|why| why.len()), Some(45));
    }

    #[test]
    fn the_headers_of_streams_are_read() {
        let headers = text(&[
            ("__streams.errors.exception", "org.apache.kafka.common.errors.SerializationException"),
            ("__streams.errors.message", "Size of data received by LongDeserializer is not 8"),
            ("__streams.errors.stacktrace", "…"),
            ("__streams.errors.topic", "cardquery.reply.alpha.v1"),
            ("__streams.errors.partition", "2"),
            ("__streams.errors.offset", "1234"),
        ]);
        assert_eq!(origin(&headers), found(Family::Streams));
    }

    #[test]
    fn the_headers_of_spring_are_read_with_their_numbers_in_bytes() {
        for (first, family) in [("kafka_dlt-original-", Family::Spring), ("x-original-", Family::SpringCloud)]
        {
            let mut headers = text(&[(&format!("{first}topic"), "cardquery.reply.alpha.v1")]);
            let bytes: [(&str, &[u8]); 4] = [
                ("partition", &2_i32.to_be_bytes()),
                ("offset", &1234_i64.to_be_bytes()),
                ("timestamp", &1_764_000_000_000_i64.to_be_bytes()),
                ("timestamp-type", b"LogAppendTime"),
            ];
            for (name, value) in bytes {
                headers.push((format!("{first}{name}"), Bytes::copy_from_slice(value)));
            }
            assert_eq!(origin(&headers), found(family));
        }
        let headers = text(&[
            ("x-original-topic", "cardquery.reply.alpha.v1"),
            ("x-original-partition", "2"),
            ("x-original-offset", "1234"),
        ]);
        assert_eq!(origin(&headers), found(Family::SpringCloud), "others write the same names as text");
    }

    #[test]
    fn what_the_hub_wrote_outranks_what_the_sender_wrote_into_its_record() {
        let headers = text(&[
            ("__dlq.errors.topic", "cardquery.query.wallet.v1"),
            ("__connect.errors.topic", "cardquery.notice.v1"),
            ("x-original-topic", "cardquery.notice.v1"),
            ("__dlq.errors.topic", "cardquery.reply.alpha.v1"),
            ("__dlq.errors.partition", "2"),
            ("__dlq.errors.offset", "1234"),
        ]);
        assert_eq!(origin(&headers), found(Family::Broker));
    }

    #[test]
    fn the_families_outrank_each_other_in_the_order_of_the_table() {
        let all = [
            "x-original-topic",
            "kafka_dlt-original-topic",
            "__streams.errors.topic",
            "__connect.errors.topic",
        ];
        let families = [Family::SpringCloud, Family::Spring, Family::Streams, Family::Connect];
        for (count, family) in (1..).zip(families) {
            let headers: Vec<_> = all.iter().take(count).map(|name| (*name, "t")).collect();
            assert_eq!(
                origin(&text(&headers)).map(|origin| origin.map(|origin| origin.family)),
                Ok(Some(family))
            );
        }
    }

    #[test]
    fn a_record_without_such_headers_came_from_nowhere_and_a_name_that_is_no_text_is_malformed() {
        assert_eq!(origin(&text(&[("ce_id", "abc")])), Ok(None));
        let headers = vec![("__dlq.errors.topic".to_owned(), Bytes::from_static(b"\xff"))];
        assert_eq!(origin(&headers), Err(Malformed));
        let headers = text(&[("__dlq.errors.topic", "t"), ("__dlq.errors.partition", "two")]);
        assert_eq!(origin(&headers).map(|origin| origin.and_then(|origin| origin.partition)), Ok(None));
    }
}
