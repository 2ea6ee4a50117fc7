//! What became of a query's SMS: the records of the SMS topic, and the text that the file gateway wrote.

use std::path::Path;
use std::time::Duration;

use notifier::gateway::Received;
use plumbing::exit::{Exit, Failure};
use plumbing::kafka::{KafkaConfig, Position, Record, follow};
use prost::Message;
use schemas::ids::{MessageId, Reference};
use schemas::wire::{self, sms_record};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A record of the SMS topic, as far as a person wants to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SmsRecord {
    /// `SmsClaimed`, `SmsAccepted`, …
    pub event: &'static str,
    /// What the gateway calls the message, or why it has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Which partition.
    pub partition: i32,
    /// Where in it.
    pub offset: i64,
    #[serde(skip)]
    out_id: Vec<u8>,
}

/// Reads the topic from its beginning until the SMS of `reference` has an outcome; returns every record of it.
pub(super) async fn outcome(
    kafka: &KafkaConfig,
    topic: String,
    reference: &Reference,
    within: Duration,
) -> Result<Vec<SmsRecord>, Failure> {
    let (sender, mut records) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let each = move |record: Record| {
        // Nobody listens only when the outcome is known.
        let _ = sender.send(record);
    };
    let follower = follow(kafka, vec![topic], each, stop).map_err(|error| error.exit().because(error))?;
    follower.caught_up().await.map_err(|error| error.exit().because(error))?;
    let mut found = Vec::new();
    let read = async {
        while let Some(record) = records.recv().await {
            if let Some(record) = about(&record.value, &record.position, reference) {
                let ended = record.event != CLAIMED;
                found.push(record);
                if ended {
                    return;
                }
            }
        }
    };
    let read = tokio::time::timeout(within, read).await;
    read.map_err(|_| Exit::Software.because("the SMS has no outcome yet"))?;
    // What else is there already belongs to it as well.
    while let Ok(record) = records.try_recv() {
        found.extend(about(&record.value, &record.position, reference));
    }
    Ok(found)
}

const CLAIMED: &str = "SmsClaimed";

/// The record, if it is one of this query.
fn about(value: &[u8], position: &Position, reference: &Reference) -> Option<SmsRecord> {
    let record = wire::SmsRecord::decode(value).ok()?;
    let of: Reference = record.reference.as_ref().try_into().ok()?;
    if of != *reference {
        return None;
    }
    let (event, detail) = match record.message? {
        sms_record::Message::Claimed(_) => (CLAIMED, String::new()),
        sms_record::Message::Accepted(accepted) => ("SmsAccepted", accepted.gateway_id),
        sms_record::Message::Delivered(_) => ("SmsDelivered", String::new()),
        sms_record::Message::Failed(failed) => ("SmsFailed", failed.code),
        sms_record::Message::Unknown(unknown) => ("SmsUnknown", unknown.code),
    };
    let Position { partition, offset, .. } = *position;
    Some(SmsRecord { event, detail, partition, offset, out_id: record.out_id.into() })
}

/// What the file gateway wrote for these records. A system with a real gateway has no such file.
pub(super) fn texts(file: &Path, records: &[SmsRecord]) -> Vec<Received> {
    #[derive(Deserialize)]
    struct Line {
        out_id: String,
        to: String,
        text: String,
    }
    let ours = |line: &Line| records.iter().any(|record| hex::encode(&record.out_id) == line.out_id);
    std::fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok())
        .filter(ours)
        .filter_map(|line| {
            let out_id = MessageId::from_bytes(&hex::decode(&line.out_id).ok()?).ok()?;
            Some(Received { to: line.to, text: line.text, out_id })
        })
        .collect()
}
