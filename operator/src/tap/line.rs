//! Pure: a record as it is shown, and whether it is asked for.

use std::fmt;

use plumbing::kafka::Record;
use schemas::ids::QueryId;
use schemas::time::UnixMillis;
use schemas::topics::{Family, Topics};
use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::{Shown, shown};
use super::known::{Known, UNKNOWN, code, time};

/// A record as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The broker's append time.
    pub appended_at: String,
    /// Its key, if that is what the table of topics says; else its size.
    pub key: String,
    /// Size of its value in bytes.
    pub bytes: usize,
    /// Headers that may be shown.
    pub headers: Map<String, Value>,
    /// How many others it has.
    #[serde(skip_serializing_if = "is_zero")]
    pub other_headers: usize,
    /// Name of the message.
    pub r#type: &'static str,
    /// The query, by the message; by the key when the message names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The message's other fields.
    pub fields: Map<String, Value>,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Line {
    /// What is shown of a record of this family.
    pub fn of(record: &Record, family: Family, topics: &Topics, known: &Known) -> Self {
        let Shown { kind, query, fields } = shown(family, &record.value, known);
        let key = record.key.as_deref().unwrap_or_default();
        let of_key = QueryId::from_key(key).ok();
        let headers: Map<String, Value> = record
            .headers
            .iter()
            .filter_map(|(name, value)| header(name, std::str::from_utf8(value).ok()?, topics, known))
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        Self {
            topic: record.position.topic.to_string(),
            partition: record.position.partition,
            offset: record.position.offset,
            appended_at: UnixMillis(record.append_time_ms).to_string(),
            key: of_key.map_or_else(|| format!("key({} B)", key.len()), |query| query.to_string()),
            bytes: record.value.len(),
            other_headers: record.headers.len().saturating_sub(headers.len()),
            headers,
            r#type: kind,
            query: query.or(of_key).map(|query| query.to_string()),
            fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).or_else(|| self.headers.get(name)).and_then(Value::as_str)
    }
}

/// The words of `cardquery-error-class`.
const CLASSES: [&str; 4] = ["poison", "transient-exhausted", "rejected", "policy"];

/// A header that may be shown: its value was read as what it should be.
fn header<'a>(name: &'a str, value: &str, topics: &Topics, known: &Known) -> Option<(&'a str, String)> {
    let shown = match name {
        "ce_id" => hex_of(value, 32)?,
        "ce_type" => value
            .strip_prefix("cardquery.")?
            .strip_suffix(".v1")
            .filter(|kind| KINDS.contains(kind))
            .map(|_| value.to_owned())?,
        "ce_source" => {
            let source = value.strip_prefix("/cardquery/")?;
            match source.split_once('/') {
                Some((kind @ ("bank" | "upstream"), id)) => format!("/cardquery/{kind}/{}", known.party(id)),
                Some(_) => return None,
                None if ["hub", "notifier"].contains(&source) => value.to_owned(),
                None => return None,
            }
        }
        "ce_time" | "ce_expirytime" => time(UnixMillis::parse(value)?.0),
        "ce_correlationid" => value.parse::<QueryId>().ok()?.to_string(),
        "traceparent" => {
            let mut parts = value.split('-');
            let lengths = [2, 32, 16, 2];
            let fits =
                lengths.into_iter().all(|n| parts.next().is_some_and(|part| hex_of(part, n).is_some()));
            (fits && parts.next().is_none()).then(|| value.to_owned())?
        }
        "cardquery-error-code" => Some(code(value)).filter(|code| code != UNKNOWN)?,
        "cardquery-error-class" => CLASSES.contains(&value).then(|| value.to_owned())?,
        "__dlq.errors.topic" => topics.family(value).map(|_| value.to_owned())?,
        "__dlq.errors.partition" | "__dlq.errors.delivery.count" => {
            value.parse::<u16>().ok().filter(|n| *n <= 10_000)?.to_string()
        }
        "__dlq.errors.offset" => value.parse::<u64>().ok().filter(|n| *n < 10_000_000_000)?.to_string(),
        _ => return None,
    };
    Some((name, shown))
}

/// Messages that a `ce_type` may name.
pub(super) const KINDS: [&str; 21] = [
    "QuerySubmitted",
    "QueryReleased",
    "ConsentRevoked",
    "QueryAccepted",
    "QueryRejected",
    "QueryHeld",
    "QueryCancelled",
    "ReportReady",
    "ReportViewed",
    "QueryWithdrawn",
    "ReportErased",
    "CardRequest",
    "RequestCancelled",
    "CardReply",
    "ReportNotice",
    "SmsClaimed",
    "SmsAccepted",
    "SmsDelivered",
    "SmsFailed",
    "SmsUnknown",
    "RegistryEntry",
];

fn hex_of(text: &str, length: usize) -> Option<String> {
    let is_hex =
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    is_hex.then(|| text.to_owned())
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, offset, appended_at, bytes, r#type, .. } = self;
        write!(f, "{appended_at} {topic}:{partition}:{offset} {type} {bytes} B")?;
        match &self.query {
            Some(query) => write!(f, " query={query}")?,
            None => write!(f, " {}", self.key)?,
        }
        for (name, value) in self.fields.iter().chain(&self.headers) {
            // Said by the type and by the query.
            if name != "ce_type" && name != "ce_correlationid" {
                write!(f, " {name}={}", value.as_str().unwrap_or_default())?;
            }
        }
        if self.other_headers > 0 {
            write!(f, " (+{} headers)", self.other_headers)?;
        }
        Ok(())
    }
}

/// Which records are asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Name of the message, whatever its case.
    pub r#type: Option<String>,
    /// The bank's id.
    pub bank: Option<String>,
    /// The upstream's id.
    pub upstream: Option<String>,
    /// A code, outcome, refusal or state.
    pub code: Option<String>,
    /// The query's id.
    pub query: Option<QueryId>,
    /// Every so many offsets of a partition.
    pub sample: u32,
}

impl Wanted {
    /// Whether a record at `offset` may be asked for; looked at before it is read.
    pub fn samples(&self, offset: i64) -> bool {
        offset % i64::from(self.sample.max(1)) == 0
    }

    /// Whether this record is asked for.
    pub fn matches(&self, line: &Line) -> bool {
        let is = |wanted: &Option<String>, names: &[&str]| {
            wanted.as_ref().is_none_or(|wanted| {
                names
                    .iter()
                    .any(|name| line.field(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted)))
            })
        };
        self.r#type.as_ref().is_none_or(|wanted| line.r#type.eq_ignore_ascii_case(wanted))
            && is(&self.bank, &["bank"])
            && is(&self.upstream, &["upstream"])
            && is(&self.code, &["code", "outcome", "refusal", "state", "cardquery-error-code"])
            && self.query.is_none_or(|wanted| line.query.as_deref() == Some(&*wanted.to_string()))
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
