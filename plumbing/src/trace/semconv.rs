//! Every name that spans use: OpenTelemetry's semantic conventions, version 1.45. They are in development there and change
//! from version to version; here they change in this file alone. None of them is ever a label of a metric.

/// Schema of the names below.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.45.0";

/// Resource: the service.
pub const SERVICE_NAME: &str = "service.name";
/// Resource: its version.
pub const SERVICE_VERSION: &str = "service.version";

/// The messaging system; `kafka`.
pub const MESSAGING_SYSTEM_NAME: &str = "messaging.system.name";
/// What was done: `send`, `process`.
pub const MESSAGING_OPERATION_NAME: &str = "messaging.operation.name";
/// What kind of operation that is: `send`, `process`.
pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
/// The topic.
pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
/// The partition.
pub const MESSAGING_DESTINATION_PARTITION_ID: &str = "messaging.destination.partition.id";
/// The consumer group.
pub const MESSAGING_CONSUMER_GROUP_NAME: &str = "messaging.consumer.group.name";
/// The offset.
pub const KAFKA_OFFSET: &str = "kafka.offset";
/// Why it failed: a code of a fixed list.
pub const ERROR_TYPE: &str = "error.type";

/// `messaging.system.name`.
pub const KAFKA: &str = "kafka";
/// `messaging.operation.*` of a record that is produced.
pub const SEND: &str = "send";
/// `messaging.operation.*` of a record that is consumed.
pub const PROCESS: &str = "process";

/// Names of every attribute of a span.
pub const ATTRIBUTES: &[&str] = &[
    MESSAGING_SYSTEM_NAME,
    MESSAGING_OPERATION_NAME,
    MESSAGING_OPERATION_TYPE,
    MESSAGING_DESTINATION_NAME,
    MESSAGING_DESTINATION_PARTITION_ID,
    MESSAGING_CONSUMER_GROUP_NAME,
    KAFKA_OFFSET,
    ERROR_TYPE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_version_1_45() {
        assert_eq!(
            ATTRIBUTES,
            [
                "messaging.system.name",
                "messaging.operation.name",
                "messaging.operation.type",
                "messaging.destination.name",
                "messaging.destination.partition.id",
                "messaging.consumer.group.name",
                "kafka.offset",
                "error.type",
            ]
        );
    }
}
