//! The SMS topic: read to its end at start, written one acknowledged record at a time afterwards.

use std::sync::{Arc, Mutex, PoisonError};

use plumbing::kafka::{KafkaConfig, KafkaError, OutRecord, ProduceError, Producer, Record, read_from};
use prost::Message as _;
use schemas::cloud_events::CloudEvent;
use schemas::ids::Reference;
use schemas::time::UnixMillis;
use tokio::sync::mpsc;

use super::now;
use crate::dispatch::SmsLog;
use crate::domain::ledger::{Entry, Ledger};
use crate::metric_names;
use crate::store::Progress;

/// Reads the topic from `from` to its end: what it says, and where the end is in each partition that said something.
///
/// # Errors
/// When the topic cannot be read.
pub async fn read(
    kafka: &KafkaConfig,
    topic: String,
    from: Progress,
) -> Result<(Ledger, Progress), KafkaError> {
    let read: Arc<Mutex<(Ledger, Progress)>> = Arc::default();
    let taken = Arc::clone(&read);
    let each = move |record: Record| {
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (ledger, progress) = &mut *taken;
        if let Err(code) = ledger.take(&record.value) {
            metrics::counter!(metric_names::SMS_RECORDS_UNREADABLE).increment(1);
            tracing::error!(position = %record.position, %code, "record of the SMS topic cannot be read");
        }
        progress.insert(record.position.partition, record.position.offset + 1);
    };
    read_from(kafka, topic, from, each).await?;
    Ok(std::mem::take(&mut *read.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// The writing end.
pub struct SmsTopic {
    producer: Producer,
    topic: String,
    broken: mpsc::UnboundedSender<ProduceError>,
}

impl SmsTopic {
    /// The second value tells of errors that no later attempt can mend: whoever runs the process must end it then.
    pub fn new(producer: Producer, topic: String) -> (Self, mpsc::UnboundedReceiver<ProduceError>) {
        let (broken, told) = mpsc::unbounded_channel();
        (Self { producer, topic, broken }, told)
    }

    fn record(&self, reference: &Reference, attempt: u32, entry: &Entry, now: UnixMillis) -> OutRecord {
        // Another attempt is another message, and not a re-emission of the first one's.
        let again = if attempt > 1 { format!("/{attempt}") } else { String::new() };
        let headers = CloudEvent {
            id: reference.message_id(&format!("sms/report-ready/{}{again}", entry.name())),
            kind: entry.name(),
            source: "notifier",
            time: now,
            reference,
            expires_at: None,
        };
        OutRecord {
            topic: self.topic.clone(),
            key: Some(reference.query.to_string().into_bytes()),
            value: entry.record(reference, attempt, now).encode_to_vec(),
            headers: headers.headers(),
        }
    }
}

impl SmsLog for SmsTopic {
    async fn append(&self, reference: &Reference, attempt: u32, entry: &Entry) -> Result<(), ProduceError> {
        match self.producer.send(self.record(reference, attempt, entry, now())).await {
            Ok(_) => Ok(()),
            Err(error) => {
                if matches!(error, ProduceError::Permanent(_) | ProduceError::Fatal(_)) {
                    // Nobody listens only when the process is ending already.
                    let _ = self.broken.send(error.clone());
                }
                Err(error)
            }
        }
    }
}
