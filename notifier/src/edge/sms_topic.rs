//! The SMS topic: read to its end at start, written one acknowledged record at a time afterwards.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use plumbing::kafka::{KafkaConfig, KafkaError, OutRecord, ProduceError, Producer, Record, read_to_end};
use prost::Message as _;
use schemas::cloud_events::CloudEvent;
use schemas::ids::Reference;
use schemas::time::UnixMillis;
use tokio::sync::mpsc;

use crate::dispatch::SmsLog;
use crate::domain::ledger::{Entry, Ledger};
use crate::metric_names;

/// Reads the whole topic.
///
/// # Errors
/// When the topic cannot be read.
pub async fn read(kafka: &KafkaConfig, topic: String) -> Result<Ledger, KafkaError> {
    let ledger: Arc<Mutex<Ledger>> = Arc::default();
    let taken = Arc::clone(&ledger);
    let each = move |record: Record| {
        let mut ledger = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(code) = ledger.take(&record.value) {
            metrics::counter!(metric_names::SMS_RECORDS_UNREADABLE).increment(1);
            tracing::error!(position = %record.position, %code, "record of the SMS topic cannot be read");
        }
    };
    read_to_end(kafka, &[topic], each).await?;
    Ok(std::mem::take(&mut *ledger.lock().unwrap_or_else(PoisonError::into_inner)))
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

    fn record(&self, reference: &Reference, entry: &Entry, now: UnixMillis) -> OutRecord {
        let headers = CloudEvent {
            id: reference.message_id(&format!("sms/report-ready/{}", entry.name())),
            kind: entry.name(),
            source: "notifier",
            time: now,
            reference,
            expires_at: None,
        };
        OutRecord {
            topic: self.topic.clone(),
            key: Some(reference.query.to_string().into_bytes()),
            value: entry.record(reference, now).encode_to_vec(),
            headers: headers.headers(),
        }
    }
}

impl SmsLog for SmsTopic {
    async fn append(&self, reference: &Reference, entry: &Entry) -> Result<(), ProduceError> {
        match self.producer.send(self.record(reference, entry, now())).await {
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

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
