//! The producer: idempotent, acknowledged by all replicas, partitioned like Java.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::util::Timeout;

use super::config::KafkaConfig;
use super::error::{KafkaError, ProduceError, Refusal};
use super::logs::PlainContext;
use super::record::{OutRecord, Position};
use crate::metric_names;
use crate::trace::{self, Attribute};

/// Writes records. Clones share one client.
///
/// Dropping the last clone purges what is still queued (rdkafka flushes for 500 ms only): await
/// every [`Producer::send`], or [`Producer::flush`] first.
#[derive(Clone)]
pub struct Producer {
    client: FutureProducer<PlainContext>,
}

impl Producer {
    /// Creates the client; it connects by itself.
    pub fn new(kafka: &KafkaConfig) -> Result<Self, KafkaError> {
        kafka
            .producer()?
            .create_with_context(PlainContext)
            .map(|client| Self { client })
            .map_err(|error| KafkaError::sorted("producer", &error))
    }

    /// Writes `record` and waits for its acknowledgement.
    ///
    /// Never put a timeout around this: dropping the future abandons the answer, not the record.
    /// It ends by itself after `message.timeout.ms`. A full queue is back-pressure, not an error.
    pub async fn send(&self, mut record: OutRecord) -> Result<Position, ProduceError> {
        let mut span = trace::produced(&mut record);
        let result = self.deliver(record).await;
        match &result {
            Ok(position) => {
                span.say(Attribute::Partition(position.partition));
                span.say(Attribute::Offset(position.offset));
            }
            Err(error) => span.say(Attribute::Error(error.kind())),
        }
        drop(span);
        let outcome = match &result {
            Ok(_) => "acknowledged",
            Err(ProduceError::Ambiguous(_)) => "ambiguous",
            Err(ProduceError::Permanent(_)) => "permanent",
            Err(ProduceError::Fatal(_)) => "fatal",
        };
        metrics::counter!(metric_names::RECORDS_PRODUCED, "outcome" => outcome).increment(1);
        result
    }

    async fn deliver(&self, record: OutRecord) -> Result<Position, ProduceError> {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value) })
            });
        let mut message =
            FutureRecord::<[u8], [u8]>::to(&record.topic).payload(&record.value).headers(headers);
        if let Some(key) = &record.key {
            message = message.key(key);
        }
        match self.client.send(message, Timeout::Never).await {
            Ok(delivery) => Ok(Position {
                topic: Arc::from(record.topic),
                partition: delivery.partition,
                offset: delivery.offset,
            }),
            Err((error, _)) => Err(self.sorted(&error)),
        }
    }

    /// Waits until everything queued so far is answered, at most `within`.
    pub async fn flush(&self, within: Duration) -> Result<(), KafkaError> {
        let client = self.client.clone();
        tokio::task::spawn_blocking(move || client.flush(within))
            .await
            .map_err(|_| KafkaError::Stopped)?
            .map_err(|error| KafkaError::sorted("flush", &error))
    }

    fn sorted(&self, error: &ClientError) -> ProduceError {
        match self.client.client().fatal_error() {
            Some((code, text)) => ProduceError::Fatal(format!("{code}: {text}")),
            None => sorted(error),
        }
    }
}

/// Sorts one error. Only what a broker or client refuses by rule is certain; a topic that is not
/// known may be one that was just created, so it is worth another attempt.
fn sorted(error: &ClientError) -> ProduceError {
    use RDKafkaErrorCode as Code;
    let text = error.to_string();
    match error.rdkafka_error_code() {
        Some(Code::Fatal) => ProduceError::Fatal(text),
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => {
            ProduceError::Permanent(Refusal::TooLarge(text))
        }
        Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
            ProduceError::Permanent(Refusal::Denied(text))
        }
        Some(
            Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::InvalidTopic
            | Code::PolicyViolation
            | Code::UnsupportedForMessageFormat,
        ) => ProduceError::Permanent(Refusal::Invalid(text)),
        Some(_) | None => ProduceError::Ambiguous(text),
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_what_the_caller_can_do() {
        use RDKafkaErrorCode as Code;
        for (code, kind) in [
            (Code::MessageTimedOut, "ambiguous"),
            (Code::BrokerTransportFailure, "ambiguous"),
            (Code::RequestTimedOut, "ambiguous"),
            (Code::UnknownTopic, "ambiguous"),
            (Code::MessageSizeTooLarge, "too-large"),
            (Code::TopicAuthorizationFailed, "denied"),
            (Code::InvalidRecord, "invalid"),
            (Code::Fatal, "fatal"),
        ] {
            assert_eq!(sorted(&ClientError::MessageProduction(code)).kind(), kind, "{code:?}");
        }
    }
}
