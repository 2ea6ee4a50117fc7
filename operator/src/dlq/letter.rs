//! Pure: what may be told of a dead letter. Never its payload, and of a header only what is known to hold no free text.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use plumbing::kafka::{Position, Record};
use prost::Message as _;
use schemas::ids::QueryId;
use schemas::time::UnixMillis;
use schemas::topics::{Owner, Topics};
use schemas::wire::{self, notice_record, query_record, reply_record};
use serde::Serialize;

use super::origin::{last, origin, why};

/// Headers that are told with their values. Others are told with their sizes: messages and traces of exceptions quote
/// what could not be read.
const TOLD: [&str; 29] = [
    "traceparent",
    "content-type",
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_time",
    "ce_correlationid",
    "ce_expirytime",
    "__dlq.errors.topic",
    "__dlq.errors.partition",
    "__dlq.errors.offset",
    "__dlq.errors.group",
    "__dlq.errors.delivery.count",
    "cardquery-error-code",
    "cardquery-error-class",
    "cardquery-replay-id",
    "cardquery-replay-of",
    "cardquery-replay-count",
    "__connect.errors.topic",
    "__connect.errors.partition",
    "__connect.errors.offset",
    "__connect.errors.connector.name",
    "__connect.errors.task.id",
    "__connect.errors.exception.class.name",
    "__streams.errors.topic",
    "__streams.errors.exception",
    "kafka_dlt-original-topic",
    "kafka_dlt-exception-fqcn",
    "x-original-topic",
];
/// Longer values are cut.
const LONGEST: usize = 200;
/// So many digits in a row could be a phone number, a card's or a person's.
const DIGITS: usize = 11;
const MASK: char = '*';

/// What is told of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Where it lies: topic, partition, offset.
    pub at: String,
    /// When it was written.
    pub written: String,
    /// The topic that it came from, and where it stood there.
    pub from: Option<String>,
    /// The partition there.
    pub from_partition: Option<i32>,
    /// The offset there.
    pub from_offset: Option<i64>,
    /// Why it is here.
    pub code: Option<String>,
    /// What kind of failure that is.
    pub class: Option<String>,
    /// How often it was put back before.
    pub replays: Option<u32>,
    /// The query, when the key is one.
    pub query: Option<String>,
    /// What kind of message it is, as far as it can be read without a key.
    pub message: String,
    /// Bytes of the key.
    pub key_bytes: Option<usize>,
    /// Bytes of the value.
    pub value_bytes: usize,
    /// Names, and values or sizes.
    pub headers: Vec<(String, String)>,
    #[serde(skip)]
    position: Position,
    #[serde(skip)]
    written_at: i64,
}

impl Letter {
    /// What is told of `record`.
    pub fn of(record: &Record, topics: &Topics) -> Self {
        let origin = origin(&record.headers).ok().flatten();
        let message = origin.as_ref().and_then(|origin| topics.owner(&origin.topic));
        let query = record.key.as_deref().and_then(|key| QueryId::from_key(key).ok());
        Self {
            at: record.position.to_string(),
            written: UnixMillis(record.append_time_ms).to_string(),
            from: origin.as_ref().map(|origin| masked(origin.topic.as_bytes())),
            from_partition: origin.as_ref().and_then(|origin| origin.partition),
            from_offset: origin.as_ref().and_then(|origin| origin.offset),
            code: code(&record.headers),
            class: class(&record.headers),
            replays: replays(&record.headers).ok(),
            query: query.map(|query| query.to_string()),
            message: message.map_or_else(|| "unknown".to_owned(), |owner| kind(&owner, &record.value)),
            key_bytes: record.key.as_ref().map(Bytes::len),
            value_bytes: record.value.len(),
            headers: record.headers.iter().map(|(name, value)| told(name, value)).collect(),
            position: record.position.clone(),
            written_at: record.append_time_ms,
        }
    }
}

impl Letter {
    /// Whether it lies in this partition, before this offset.
    pub(super) fn lies_before(&self, topic: &str, partition: i32, before: i64) -> bool {
        let Position { topic: own, partition: part, offset } = &self.position;
        (&**own, *part) == (topic, partition) && *offset < before
    }
}

/// Why it is here, in a word.
pub fn code(headers: &[(String, Bytes)]) -> Option<String> {
    why(headers).map(|code| masked(code))
}

/// What kind of failure that is.
pub fn class(headers: &[(String, Bytes)]) -> Option<String> {
    last(headers, "cardquery-error-class").map(|class| masked(class))
}

/// A count that is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCount;

/// How often a record was put back.
///
/// # Errors
/// [`NoCount`]: nobody knows.
pub fn replays(headers: &[(String, Bytes)]) -> Result<u32, NoCount> {
    let Some(count) = last(headers, "cardquery-replay-count") else { return Ok(0) };
    std::str::from_utf8(count).ok().and_then(|count| count.parse().ok()).ok_or(NoCount)
}

/// What stands in an envelope that nobody has to open.
fn kind(owner: &Owner, value: &Bytes) -> String {
    let told = match owner {
        Owner::Query(_) => {
            match wire::QueryRecord::decode(value.clone()).ok().and_then(|read| read.message) {
                Some(query_record::Message::Submitted(_)) => "QuerySubmitted",
                Some(query_record::Message::Revoked(_)) => "ConsentRevoked",
                Some(query_record::Message::Released(_)) => "QueryReleased",
                None => "unreadable",
            }
        }
        Owner::Reply(_) => {
            match wire::ReplyRecord::decode(value.clone()).ok().and_then(|read| read.message) {
                Some(reply_record::Message::Reply(reply)) => {
                    let header = wire::ReplyHeader::decode(reply.header).ok();
                    return header.map_or_else(
                        || "CardReply, unreadable".to_owned(),
                        |header| format!("CardReply {}", header.outcome().as_str_name()),
                    );
                }
                None => "unreadable",
            }
        }
        Owner::Notice => match wire::NoticeRecord::decode(value.clone()).ok().and_then(|read| read.message) {
            Some(notice_record::Message::ReportReady(_)) => "ReportReady",
            None => "unreadable",
        },
    };
    told.to_owned()
}

fn told(name: &str, value: &Bytes) -> (String, String) {
    let value = if TOLD.contains(&name) { masked(value) } else { format!("({} bytes)", value.len()) };
    (masked(name.as_bytes()), value)
}

/// One line of printable text, cut, and without digits that could be somebody's.
fn masked(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let clean: Vec<char> =
        text.chars().take(LONGEST).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    let mut masked = String::with_capacity(clean.len());
    for run in clean.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
        if run.len() >= DIGITS && run[0].is_ascii_digit() {
            masked.extend(run.iter().map(|_| MASK));
        } else {
            masked.extend(run);
        }
    }
    masked
}

/// Dead letters of one topic, source and code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The dead-letter topic.
    pub topic: String,
    /// The topic that they came from.
    pub from: Option<String>,
    /// Why they are here.
    pub code: Option<String>,
    /// What kind of failure that is.
    pub class: Option<String>,
    /// How many.
    pub records: usize,
    /// How many of them were put back before and came again.
    pub replayed: usize,
    /// When the first was written.
    pub oldest: String,
    /// When the last was.
    pub newest: String,
}

/// Dead letters in groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// All of them.
    pub records: usize,
    /// By topic, source and code.
    pub groups: Vec<Group>,
}

impl Summary {
    /// Groups them.
    pub fn of(letters: &[Letter]) -> Self {
        let mut groups: BTreeMap<_, Vec<&Letter>> = BTreeMap::new();
        for letter in letters {
            groups
                .entry((&letter.position.topic, &letter.from, &letter.code, &letter.class))
                .or_default()
                .push(letter);
        }
        let group = |((topic, from, code, class), letters): (_, Vec<&Letter>)| {
            let (topic, from): (&Arc<str>, &Option<String>) = (topic, from);
            let (code, class): (&Option<String>, &Option<String>) = (code, class);
            let times = || letters.iter().map(|letter| letter.written_at);
            let at = |time: Option<i64>| UnixMillis(time.unwrap_or_default()).to_string();
            Group {
                topic: topic.to_string(),
                from: from.clone(),
                code: code.clone(),
                class: class.clone(),
                records: letters.len(),
                replayed: letters.iter().filter(|letter| letter.replays != Some(0)).count(),
                oldest: at(times().min()),
                newest: at(times().max()),
            }
        };
        Self { records: letters.len(), groups: groups.into_iter().map(group).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(headers: &[(&str, &str)], value: &'static [u8]) -> Record {
        let header =
            |(name, value): &(&str, &str)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes()));
        Record {
            position: Position { topic: "dlq.cardquery.reply.v1".into(), partition: 0, offset: 7 },
            append_time_ms: 1_000,
            key: Some(Bytes::from_static(b"01999999-0000-7000-8000-000000000001")),
            value: Bytes::from_static(value),
            headers: headers.iter().map(header).collect(),
        }
    }

    fn letter(headers: &[(&str, &str)], value: &'static [u8]) -> Letter {
        Letter::of(&record(headers, value), &Topics::default())
    }

    #[test]
    fn no_payload_no_free_text_and_no_long_number_is_told() {
        let letter = letter(
            &[
                ("__dlq.errors.topic", "cardquery.reply.alpha.v1"),
                ("ce_source", "bank 6222021234567890123 of 13800000001"),
                ("kafka_dlt-exception-message", "cannot read 6222021234567890123"),
                ("x-6222021234567890123", "y"),
                ("unknown", "canary"),
            ],
            b"canary 6222021234567890123",
        );
        let told = format!("{letter:?}{}", serde_json::to_string(&letter).expect("JSON"));
        for secret in ["6222021234567890123", "13800000001", "canary"] {
            assert!(!told.contains(secret), "{told}");
        }
        assert!(
            told.contains("(31 bytes)") && told.contains("bank ******************* of ***********"),
            "{told}"
        );
        assert_eq!((letter.value_bytes, letter.message.as_str()), (26, "unreadable"));
    }

    #[test]
    fn ids_codes_and_the_kind_of_message_are_told() {
        let header = wire::ReplyHeader { outcome: wire::ReplyOutcome::Answered.into(), ..Default::default() };
        let reply = wire::CardReply { header: header.encode_to_vec().into(), ..Default::default() };
        let value = wire::ReplyRecord { message: Some(reply_record::Message::Reply(reply)) }.encode_to_vec();
        let headers = [
            ("__dlq.errors.topic", "cardquery.reply.alpha.v1"),
            ("__dlq.errors.offset", "12"),
            ("cardquery-error-code", "KEY_UNKNOWN"),
            ("cardquery-error-class", "rejected"),
            ("cardquery-replay-count", "2"),
        ];
        let record = Record { value: value.into(), ..record(&headers, b"") };
        let letter = Letter::of(&record, &Topics::default());
        assert_eq!(letter.query.as_deref(), Some("01999999-0000-7000-8000-000000000001"));
        assert_eq!(letter.message, "CardReply REPLY_OUTCOME_ANSWERED");
        assert_eq!((letter.from_offset, letter.replays), (Some(12), Some(2)));
        assert_eq!(letter.code.as_deref(), Some("KEY_UNKNOWN"));
    }

    #[test]
    fn a_count_that_is_no_number_is_not_taken_for_none() {
        let count = |value| replays(&record(&[("cardquery-replay-count", value)], b"").headers);
        assert_eq!((count("3"), replays(&[])), (Ok(3), Ok(0)));
        for wrong in ["", "-1", "many", "99999999999"] {
            assert_eq!(count(wrong), Err(NoCount), "{wrong}");
        }
    }

    #[test]
    fn dead_letters_are_grouped_by_topic_source_and_code() {
        let of = |code| letter(&[("__dlq.errors.topic", "t"), ("cardquery-error-code", code)], b"");
        let again = letter(
            &[("__dlq.errors.topic", "t"), ("cardquery-error-code", "A"), ("cardquery-replay-count", "1")],
            b"",
        );
        let summary = Summary::of(&[of("A"), of("B"), again]);
        let groups: Vec<_> = summary
            .groups
            .iter()
            .map(|group| (group.code.as_deref(), group.records, group.replayed))
            .collect();
        assert_eq!((summary.records, groups), (3, vec![(Some("A"), 2, 1), (Some("B"), 1, 0)]));
    }
}
