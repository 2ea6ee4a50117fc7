//! The SMS of a query, from the SMS topic. The whole topic is read: a record of it is small, and there are a few per query.

use std::sync::{Arc, Mutex, PoisonError};

use aggregator::edge::operations::Place;
use plumbing::exit::Failure;
use plumbing::kafka::{KafkaConfig, Record, read_to_end};
use schemas::ids::Reference;
use schemas::time::UnixMillis;
use schemas::topics::{Family, Topics};
use serde::Serialize;

use crate::tap::fields::shown;
use crate::tap::known::Known;

/// A record of the SMS topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SmsEvent {
    /// `SmsClaimed`, `SmsAccepted`, …
    pub event: String,
    /// Append time.
    pub appended_at: String,
    /// Where it lies.
    pub at: Place,
    /// Why it has failed, or why its fate is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Reads the topic to its end; returns the records of this query in the order of their append times.
pub(super) async fn of(
    kafka: &KafkaConfig,
    topics: &Topics,
    reference: &Reference,
) -> Result<Vec<SmsEvent>, Failure> {
    let known = Known { parties: [reference.upstream.to_string()].into() };
    let found: Arc<Mutex<Vec<(i64, SmsEvent)>>> = Arc::default();
    let (sink, wanted) = (Arc::clone(&found), reference.clone());
    let each = move |record: Record| {
        if let Some(event) = event(&record, &wanted, &known) {
            sink.lock().unwrap_or_else(PoisonError::into_inner).push((record.append_time_ms, event));
        }
    };
    read_to_end(kafka, &[topics.sms()], each).await.map_err(|error| error.exit().because(error))?;
    let mut found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    found.sort_by_key(|(at, event)| (*at, event.at.offset));
    Ok(found.into_iter().map(|(_, event)| event).collect())
}

fn event(record: &Record, reference: &Reference, known: &Known) -> Option<SmsEvent> {
    // Other queries' records are most, and not worth decoding.
    if record.key.as_deref() != Some(reference.query.to_string().as_bytes()) {
        return None;
    }
    let shown = shown(Family::Sms, &record.value, known);
    if shown.query != Some(reference.query) || shown.field("upstream") != Some(reference.upstream.as_str()) {
        return None;
    }
    Some(SmsEvent {
        event: shown.kind.to_owned(),
        appended_at: UnixMillis(record.append_time_ms).to_string(),
        at: (&record.position).into(),
        code: shown.field("code").map(str::to_owned),
    })
}
