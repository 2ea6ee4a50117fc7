//! The way into Kafka: one record, three outcomes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plumbing::kafka::{
    KafkaConfig, KafkaError, OutRecord, Position, ProduceError, Producer, Refusal, Watermarks,
};
use schemas::codes::Code;
use schemas::topics::Family;
use tokio::sync::watch;

/// How long a doubtful broker may take to answer before callers are told that it is away.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Writes records to one topic and says what became of them.
pub(crate) struct Publisher {
    producer: Producer,
    watermarks: Watermarks,
    topic: String,
    /// Set by an outcome that is not known, until Kafka acknowledges again or is seen to answer.
    doubtful: AtomicBool,
    dead: watch::Sender<Option<ProduceError>>,
}

impl Publisher {
    /// Creates the client and makes sure that `topic` is there.
    pub(crate) async fn connect(
        kafka: &KafkaConfig,
        topic: String,
        timeout: Duration,
    ) -> Result<Self, KafkaError> {
        let producer = Producer::new(&tuned(kafka, timeout))?;
        let publisher = Self {
            producer,
            watermarks: Watermarks::new(kafka)?,
            topic,
            doubtful: AtomicBool::new(false),
            dead: watch::Sender::new(None),
        };
        publisher.reach().await?;
        Ok(publisher)
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Writes `record` and waits for its acknowledgement.
    ///
    /// # Errors
    /// `OUTCOME_UNKNOWN`; `KAFKA_UNAVAILABLE`, `MESSAGE_TOO_LARGE` and `INTERNAL` when surely nothing was written.
    pub(crate) async fn publish(&self, record: OutRecord) -> Result<Position, Code> {
        // Handing over a record to a client whose broker is away makes its outcome unknown. Asking first does not.
        if self.doubtful.load(Ordering::Relaxed) {
            match tokio::time::timeout(ANSWER_WITHIN, self.reach()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "nothing was published");
                    return Err(Code::KAFKA_UNAVAILABLE);
                }
                Err(_) => {
                    tracing::warn!("kafka does not answer, nothing was published");
                    return Err(Code::KAFKA_UNAVAILABLE);
                }
            }
            self.doubtful.store(false, Ordering::Relaxed);
        }
        match self.producer.send(record).await {
            Ok(position) => {
                self.doubtful.store(false, Ordering::Relaxed);
                Ok(position)
            }
            Err(error) => {
                tracing::warn!(kind = error.kind(), %error, "not acknowledged");
                Err(self.refused(error))
            }
        }
    }

    fn refused(&self, error: ProduceError) -> Code {
        match error {
            ProduceError::Ambiguous(_) => {
                self.doubtful.store(true, Ordering::Relaxed);
                Code::OUTCOME_UNKNOWN
            }
            ProduceError::Permanent(Refusal::TooLarge(_)) => Code::MESSAGE_TOO_LARGE,
            ProduceError::Permanent(Refusal::Denied(_)) => Code::KAFKA_UNAVAILABLE,
            ProduceError::Permanent(Refusal::Invalid(_)) => Code::INTERNAL,
            // Records in flight when the client died may have been written.
            ProduceError::Fatal(_) => {
                self.dead.send_replace(Some(error));
                Code::OUTCOME_UNKNOWN
            }
        }
    }

    /// Whether every partition's leader answers for the topic.
    async fn reach(&self) -> Result<(), KafkaError> {
        let ends = self.watermarks.end_offsets(std::slice::from_ref(&self.topic)).await;
        ends.into_values().try_for_each(|end| end.map(|_| ()))
    }

    /// Waits until the client is dead for good: the process must end then.
    pub(crate) async fn died(&self) -> ProduceError {
        let mut dead = self.dead.subscribe();
        match dead.wait_for(Option::is_some).await.map(|dead| dead.clone()) {
            Ok(Some(error)) => error,
            // The sender lives as long as `self`.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Waits until everything handed over is answered, at most `within`: a caller who has gone leaves its record behind.
    pub(crate) async fn flush(&self, within: Duration) -> Result<(), KafkaError> {
        self.producer.flush(within).await
    }
}

fn tuned(kafka: &KafkaConfig, timeout: Duration) -> KafkaConfig {
    let mut kafka = kafka.clone();
    let mut set = |key: &str, value: String| kafka.properties.insert(key.to_owned(), value);
    set("message.timeout.ms", timeout.as_millis().to_string());
    // The broker judges whole batches by the topic's limit, librdkafka batches by its own: two queries that are small
    // enough would be refused together.
    set("message.max.bytes", Family::Query.spec().max_message_bytes.to_string());
    kafka
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::mocking::MockCluster;

    #[tokio::test]
    async fn no_batch_can_be_larger_than_the_topic_takes_and_a_larger_record_never_leaves() {
        let limit = Family::Query.spec().max_message_bytes;
        let cluster = MockCluster::new(1).expect("mock cluster");
        cluster.create_topic("topic", 1, 1).expect("created");
        let kafka = KafkaConfig::in_process(cluster.bootstrap_servers(), "test");
        assert_eq!(tuned(&kafka, Duration::from_secs(9)).properties["message.max.bytes"], limit.to_string());
        assert_eq!(tuned(&kafka, Duration::from_secs(9)).properties["message.timeout.ms"], "9000");
        let publisher =
            Publisher::connect(&kafka, "topic".to_owned(), Duration::from_secs(9)).await.expect("connected");
        let record = |bytes| OutRecord {
            topic: "topic".to_owned(),
            key: None,
            value: vec![0; bytes],
            headers: Vec::new(),
        };
        assert_eq!(publisher.publish(record(limit + 1)).await.err(), Some(Code::MESSAGE_TOO_LARGE));
        assert_eq!(publisher.publish(record(limit - 1024)).await.map(|position| position.offset), Ok(0));
    }

    #[tokio::test]
    async fn only_what_may_have_been_written_is_told_as_unknown() {
        let cluster = MockCluster::new(1).expect("mock cluster");
        cluster.create_topic("topic", 1, 1).expect("created");
        let kafka = KafkaConfig::in_process(cluster.bootstrap_servers(), "test");
        let publisher =
            Publisher::connect(&kafka, "topic".to_owned(), Duration::from_secs(9)).await.expect("connected");
        let text = String::new;
        for (error, code, doubtful) in [
            (ProduceError::Permanent(Refusal::TooLarge(text())), Code::MESSAGE_TOO_LARGE, false),
            (ProduceError::Permanent(Refusal::Denied(text())), Code::KAFKA_UNAVAILABLE, false),
            (ProduceError::Permanent(Refusal::Invalid(text())), Code::INTERNAL, false),
            (ProduceError::Ambiguous(text()), Code::OUTCOME_UNKNOWN, true),
        ] {
            assert_eq!(publisher.refused(error.clone()), code, "{error:?}");
            assert_eq!(publisher.doubtful.load(Ordering::Relaxed), doubtful, "{error:?}");
        }
        // A client that is dead for good ends the service.
        let dead = ProduceError::Fatal("fenced".to_owned());
        assert_eq!(publisher.refused(dead.clone()), Code::OUTCOME_UNKNOWN);
        assert_eq!(publisher.died().await, dead);
    }
}
