//! Dead letters: the record as it was, with headers that say where it came from and why it is here
//! (KIP-1191, so that a broker's own dead letters read the same).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::breaker::BreakerConfig;
use super::breakers::{Breakers, WhenOpen};
use super::error::{ProduceError, Refusal};
use super::handler::ErrorClass;
use super::producer::Producer;
use super::record::{OutRecord, Record};
use crate::metric_names;

/// Names the topic for the dead letters of a source topic, if it has one.
pub type TopicFor = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where dead letters go.
#[derive(Clone)]
pub struct DeadLetters {
    producer: Producer,
    rule: Rule,
    breakers: Breakers,
}

/// The part of [`DeadLetters`] that decides and does nothing.
#[derive(Clone)]
struct Rule {
    group_id: String,
    topic_for: TopicFor,
    max_age: Duration,
}

/// What is to be done with a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Write this copy, and complete the source's offset after its acknowledgement.
    Copy(OutRecord),
    /// Count it and log its position; the text says why there is no copy.
    CountOnly(&'static str),
}

impl DeadLetters {
    /// Dead letters of the group `group_id`. A record older than `max_age` is counted by its
    /// position and not copied: a copy would live longer than its source was meant to.
    pub fn new(
        producer: Producer,
        group_id: impl Into<String>,
        topic_for: TopicFor,
        max_age: Duration,
    ) -> Self {
        let unlimited = BreakerConfig { max_ratio: 1.0, max_consecutive: 0, ..BreakerConfig::default() };
        Self {
            producer,
            rule: Rule { group_id: group_id.into(), topic_for, max_age },
            breakers: Breakers::new(unlimited, WhenOpen::Count),
        }
    }

    /// With a limit, per source topic, to how many are written; without one there is none.
    #[must_use]
    pub fn limited(self, limits: BreakerConfig, when_open: WhenOpen) -> Self {
        Self { breakers: Breakers::new(limits, when_open), ..self }
    }

    pub(super) fn breakers(&self) -> &Breakers {
        &self.breakers
    }

    /// What is to be done with `record` at `now`, without doing it.
    pub fn disposition(
        &self,
        record: &Record,
        deliveries: u32,
        code: &'static str,
        class: ErrorClass,
        now: SystemTime,
    ) -> Disposition {
        self.rule.disposition(record, deliveries, code, class, now)
    }

    /// Writes the copy, if there is to be one. `Ok` means that the source's offset may complete.
    pub(super) async fn bury(
        &self,
        record: &Record,
        deliveries: u32,
        code: &'static str,
        class: ErrorClass,
    ) -> Result<(), ProduceError> {
        match self.disposition(record, deliveries, code, class, SystemTime::now()) {
            Disposition::CountOnly(why) => count_only(record, code, why),
            Disposition::Copy(copy) => match self.producer.send(copy).await {
                Ok(copy) => {
                    metrics::counter!(metric_names::DLQ_RECORDS, "code" => code, "outcome" => "copied")
                        .increment(1);
                    tracing::warn!(position = %record.position, %copy, code, "dead letter");
                }
                // The copy can never be written, and the record would wedge its partition.
                Err(ProduceError::Permanent(Refusal::TooLarge(_))) => {
                    count_only(record, code, "its copy is too large");
                }
                Err(error) => return Err(error),
            },
        }
        Ok(())
    }
}

/// Notes a dead letter that leaves no copy.
pub(super) fn count_only(record: &Record, code: &'static str, why: &'static str) {
    metrics::counter!(metric_names::DLQ_RECORDS, "code" => code, "outcome" => "counted").increment(1);
    tracing::warn!(position = %record.position, code, why, "dead letter without a copy");
}

impl Rule {
    fn disposition(
        &self,
        record: &Record,
        deliveries: u32,
        code: &'static str,
        class: ErrorClass,
        now: SystemTime,
    ) -> Disposition {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let appended = Duration::from_millis(record.append_time_ms.try_into().unwrap_or_default());
        if now.saturating_sub(appended) > self.max_age {
            return Disposition::CountOnly("it is too old");
        }
        match (self.topic_for)(&record.position.topic) {
            None => Disposition::CountOnly("its topic has no dead letters"),
            Some(topic) => Disposition::Copy(self.copy(topic, record, deliveries, code, class)),
        }
    }

    fn copy(
        &self,
        topic: String,
        record: &Record,
        deliveries: u32,
        code: &'static str,
        class: ErrorClass,
    ) -> OutRecord {
        let position = &record.position;
        // The message is the fixed code only: free text could quote what the record holds.
        let errors = [
            ("__dlq.errors.topic", position.topic.to_string()),
            ("__dlq.errors.partition", position.partition.to_string()),
            ("__dlq.errors.offset", position.offset.to_string()),
            ("__dlq.errors.group", self.group_id.clone()),
            ("__dlq.errors.delivery.count", deliveries.to_string()),
            ("__dlq.errors.message", code.to_owned()),
            ("cardquery-error-code", code.to_owned()),
            ("cardquery-error-class", class.as_str().to_owned()),
        ];
        let own = record.headers.iter().map(|(name, value)| (name.clone(), value.to_vec()));
        OutRecord {
            topic,
            key: record.key.as_deref().map(<[u8]>::to_vec),
            value: record.value.to_vec(),
            headers: own
                .chain(errors.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())))
                .collect(),
        }
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters")
            .field("group_id", &self.rule.group_id)
            .field("max_age", &self.rule.max_age)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::kafka::Position;

    const TWO_DAYS: Duration = Duration::from_secs(2 * 24 * 3600);

    fn rule() -> Rule {
        Rule {
            group_id: "cardquery.things".into(),
            topic_for: Arc::new(|source| (source == "things.v1").then(|| "dlq.things.v1".into())),
            max_age: TWO_DAYS,
        }
    }

    fn record(topic: &str) -> Record {
        Record {
            position: Position { topic: topic.into(), partition: 7, offset: 1234 },
            append_time_ms: 1_000,
            key: Some(Bytes::from_static(b"key")),
            value: Bytes::from_static(b"\x00value"),
            headers: vec![
                ("ce_id".into(), Bytes::from_static(b"abc")),
                ("ce_id".into(), Bytes::from_static(b"def")),
            ],
        }
    }

    fn at(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn a_copy_keeps_everything_and_says_where_it_came_from_and_why() {
        let disposition =
            rule().disposition(&record("things.v1"), 3, "BAD_SIGNATURE", ErrorClass::Rejected, at(2_000));
        let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        assert_eq!(
            disposition,
            Disposition::Copy(OutRecord {
                topic: "dlq.things.v1".into(),
                key: Some(b"key".to_vec()),
                value: b"\x00value".to_vec(),
                headers: vec![
                    header("ce_id", "abc"),
                    header("ce_id", "def"),
                    header("__dlq.errors.topic", "things.v1"),
                    header("__dlq.errors.partition", "7"),
                    header("__dlq.errors.offset", "1234"),
                    header("__dlq.errors.group", "cardquery.things"),
                    header("__dlq.errors.delivery.count", "3"),
                    header("__dlq.errors.message", "BAD_SIGNATURE"),
                    header("cardquery-error-code", "BAD_SIGNATURE"),
                    header("cardquery-error-class", "rejected"),
                ],
            })
        );
    }

    #[test]
    fn every_class_has_its_published_word() {
        let words =
            [ErrorClass::Poison, ErrorClass::TransientExhausted, ErrorClass::Rejected, ErrorClass::Policy]
                .map(ErrorClass::as_str);
        assert_eq!(words, ["poison", "transient-exhausted", "rejected", "policy"]);
    }

    #[test]
    fn a_record_is_copied_until_it_is_older_than_the_limit() {
        let disposition = |now| rule().disposition(&record("things.v1"), 1, "CODE", ErrorClass::Poison, now);
        let limit = 1_000 + 2 * 24 * 3600 * 1_000;
        assert!(matches!(disposition(at(limit)), Disposition::Copy(_)));
        assert_eq!(disposition(at(limit + 1)), Disposition::CountOnly("it is too old"));
    }

    #[test]
    fn a_record_from_the_future_is_not_old() {
        let disposition = rule().disposition(&record("things.v1"), 1, "CODE", ErrorClass::Poison, at(0));
        assert!(matches!(disposition, Disposition::Copy(_)));
    }

    #[test]
    fn a_topic_without_dead_letters_is_counted() {
        let disposition = rule().disposition(&record("other"), 1, "CODE", ErrorClass::Policy, at(2_000));
        assert_eq!(disposition, Disposition::CountOnly("its topic has no dead letters"));
    }
}
