//! What librdkafka says by itself, mapped into tracing and counters.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaErrorCode;

use crate::metric_names;

/// Forwards one log line.
///
/// librdkafka reports a position that was reset because of an error by this line only: facility
/// `OFFSET` at warning level (`rd_kafka_offset_reset`). A first start without a committed offset is
/// logged at debug level there, so every such line means that something committed is not readable.
/// Proved by `a_reset_of_a_committed_offset_is_counted`.
pub(super) fn forward(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Warning if is_offset_reset(facility, text) => {
            metrics::counter!(metric_names::OFFSET_RESETS).increment(1);
            tracing::warn!(target: "librdkafka", facility, "a committed offset is gone, reading from the earliest: {text}");
        }
        // A passthrough property of the other kind of client, for example a consumer's in a producer.
        RDKafkaLogLevel::Warning if facility == "CONFWARN" => {
            tracing::debug!(target: "librdkafka", facility, "{text}");
        }
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::error!(target: "librdkafka", facility, "{text}"),
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{text}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{text}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{text}"),
    }
}

fn is_offset_reset(facility: &str, text: &str) -> bool {
    facility == "OFFSET" && text.contains("offset reset")
}

/// Counts and logs an error that the client reported and goes on with.
pub(super) fn survived(error: &ClientError, reason: &str) {
    // rdkafka reports the end of a partition here too, and that is none.
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
        return;
    }
    let code = error.rdkafka_error_code().map_or_else(|| "unknown".to_owned(), |code| format!("{code:?}"));
    tracing::warn!(target: "librdkafka", code, "{reason}");
    metrics::counter!(metric_names::CLIENT_ERRORS, "code" => code).increment(1);
}

/// Callbacks of a client that has nothing else to be called for.
#[derive(Clone, Copy, Debug)]
pub struct PlainContext;

impl ClientContext for PlainContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        forward(level, facility, text);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: ClientError, reason: &str) {
        survived(&error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for PlainContext {}
