//! What can go wrong with Kafka, by what the caller can do about it.

use std::path::PathBuf;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;

use super::record::Position;
use crate::exit::Exit;

/// An error of a Kafka client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// A property that this system sets itself.
    #[error("kafka property `{key}` is reserved: {reason}")]
    ReservedProperty {
        /// The property.
        key: String,
        /// Why it is not configurable.
        reason: &'static str,
    },
    /// A property that librdkafka refuses, in its own words.
    #[error("kafka property `{key}`: {text}")]
    Property {
        /// The property.
        key: String,
        /// librdkafka's text.
        text: String,
    },
    /// The file with the value of a property cannot be read.
    #[error("kafka property `{key}`: {}: {error}", path.display())]
    PropertyFile {
        /// The property.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// State is folded from a topic of one partition, and this one has more: their order would be accidental.
    #[error("topic `{0}` must have one partition and has {1}")]
    Partitions(String, usize),
    /// The client could not be created.
    #[error("kafka client could not be created: {0}")]
    Client(String),
    /// The topic is not there.
    #[error("topic `{0}` does not exist")]
    UnknownTopic(String),
    /// An access list says no.
    #[error("kafka denies access: {0}")]
    Denied(String),
    /// A broker cannot be reached or does not answer in time.
    #[error("kafka is unavailable: {0}")]
    Unavailable(String),
    /// The client is dead and stays dead.
    #[error("kafka client failed for good: {0}")]
    Fatal(String),
    /// The record's time was set by its writer, so it proves nothing about its arrival.
    #[error(
        "record {0} carries no broker append time: set message.timestamp.type=LogAppendTime on its topic"
    )]
    CreateTime(Position),
    /// The reading thread ended before its work was done.
    #[error("the reading thread ended early")]
    Stopped,
}

impl KafkaError {
    /// The exit code of a process that ends with this error.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::ReservedProperty { .. }
            | Self::Property { .. }
            | Self::CreateTime(_)
            | Self::Partitions(..) => Exit::Config,
            Self::PropertyFile { .. } => Exit::NoInput,
            Self::Client(_) | Self::UnknownTopic(_) | Self::Unavailable(_) | Self::Fatal(_) => {
                Exit::Unavailable
            }
            Self::Denied(_) => Exit::Denied,
            Self::Stopped => Exit::Software,
        }
    }

    /// Sorts an error of the native client; `subject` names what was asked for.
    pub fn sorted(subject: &str, error: &rdkafka::error::KafkaError) -> Self {
        if let rdkafka::error::KafkaError::ClientConfig(_, text, key, _) = error {
            return Self::Property { key: key.clone(), text: text.clone() };
        }
        if let rdkafka::error::KafkaError::ClientCreation(text) = error {
            return Self::Client(text.clone());
        }
        let text = || format!("{subject}: {error}");
        let code = if let rdkafka::error::KafkaError::AdminOp(code) = error {
            // rdkafka does not count it among the errors with a code.
            Some(*code)
        } else {
            error.rdkafka_error_code()
        };
        match code {
            Some(RDKafkaErrorCode::Fatal) => Self::Fatal(text()),
            Some(code) if is_denied(code) => Self::Denied(text()),
            Some(code) if is_unknown_topic(code) => Self::UnknownTopic(subject.to_owned()),
            Some(_) | None => Self::Unavailable(text()),
        }
    }
}

pub(super) fn is_denied(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::Authentication
    )
}

pub(super) fn is_unknown_topic(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::InvalidTopic
    )
}

/// Why a consumer ended by itself. The process should exit; its supervisor restarts it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The client failed.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// An assignment could not be taken or given back, so that ownership is unknown.
    #[error("assignment failed: {0}")]
    Assignment(String),
    /// The handler panicked; its records are unfinished.
    #[error("the handler panicked at {0}")]
    HandlerPanicked(Position),
    /// The handler broke its promise of one verdict per record.
    #[error("the handler returned {got} verdicts for {expected} records")]
    WrongVerdictCount {
        /// Records in the batch.
        expected: usize,
        /// Verdicts returned.
        got: usize,
    },
    /// A batch is not finished after the stall limit.
    #[error("the batch at {position} is not finished after {after:?}")]
    LaneStalled {
        /// First record of the batch.
        position: Position,
        /// The limit.
        after: Duration,
    },
    /// The poll thread has not turned within the stall limit.
    #[error("the poll thread has not turned for {0:?}")]
    PollStalled(Duration),
    /// A dead letter cannot be written, and the record may not be skipped without one.
    #[error("the dead letter of {position} cannot be written")]
    DeadLetter {
        /// The source record.
        position: Position,
        /// Why.
        #[source]
        source: ProduceError,
    },
    /// The poll thread or a lane is gone without a word.
    #[error("the consumer ended unexpectedly")]
    Gone,
}

impl ConsumerError {
    /// The exit code of a process that ends with this error.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Kafka(error) => error.exit(),
            Self::DeadLetter { .. } | Self::Assignment(_) | Self::LaneStalled { .. } => Exit::Unavailable,
            Self::HandlerPanicked(_) | Self::WrongVerdictCount { .. } | Self::PollStalled(_) | Self::Gone => {
                Exit::Software
            }
        }
    }
}

/// Why a record was not acknowledged. rdkafka does not tell whether a message was persisted
/// (`rd_kafka_message_status` is not exposed in 0.39), so the default is [`ProduceError::Ambiguous`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// Possibly persisted. Send the same message again, with the same message id.
    #[error("possibly persisted: {0}")]
    Ambiguous(String),
    /// Not persisted, and it never will be.
    #[error(transparent)]
    Permanent(Refusal),
    /// The idempotent producer is dead (librdkafka#3584): the process must exit.
    #[error("the producer failed for good: {0}")]
    Fatal(String),
}

impl ProduceError {
    /// A stable word for metrics and parked rows.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Ambiguous(_) => "ambiguous",
            Self::Permanent(refusal) => refusal.kind(),
            Self::Fatal(_) => "fatal",
        }
    }
}

/// Why a record can never be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Larger than producer, topic or broker allow.
    #[error("too large: {0}")]
    TooLarge(String),
    /// An access list says no.
    #[error("denied: {0}")]
    Denied(String),
    /// The broker does not accept such a record.
    #[error("invalid: {0}")]
    Invalid(String),
}

impl Refusal {
    /// A stable word for metrics and parked rows.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too-large",
            Self::Denied(_) => "denied",
            Self::Invalid(_) => "invalid",
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::KafkaError as ClientError;

    use super::*;

    #[test]
    fn a_denial_is_a_denial_whatever_asked() {
        let code = RDKafkaErrorCode::ClusterAuthorizationFailed;
        for error in [ClientError::AdminOp(code), ClientError::Global(code), ClientError::MetadataFetch(code)]
        {
            assert_eq!(KafkaError::sorted("it", &error).exit(), Exit::Denied, "{error}");
        }
    }
}
