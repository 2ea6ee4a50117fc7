//! Kafka's own console consumer as an independent witness: nothing of this workspace's client is in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::kafka::java_arguments;

/// A record as the Java client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleRecord {
    /// Its key.
    pub key: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its value.
    pub value: Vec<u8>,
}

/// Everything in `topic` as a user with these client `properties` reads it, in the group `group`. Ends when nothing more
/// has come for `patience`; blocks until then.
///
/// # Panics
/// If Java fails; the message has what it printed.
#[must_use]
#[track_caller]
pub fn console_records(
    jars: &Path,
    brokers: &str,
    properties: &Path,
    (topic, group): (&str, &str),
    patience: std::time::Duration,
) -> Vec<ConsoleRecord> {
    let mut command = Command::new("java");
    java_arguments(&mut command, jars);
    command.args(["-XX:TieredStopAtLevel=1", "org.apache.kafka.tools.consumer.ConsoleConsumer"]);
    command.args(["--bootstrap-server", brokers, "--topic", topic, "--group", group, "--from-beginning"]);
    command.arg("--command-config").arg(properties);
    command.args(["--timeout-ms", &patience.as_millis().to_string()]);
    for property in [
        "print.key=true",
        "print.headers=true",
        "key.separator=|",
        "headers.separator=,",
        // Prints bytes that are no text as \xNN, and a backslash too.
        "value.deserializer=org.apache.kafka.common.serialization.BytesDeserializer",
    ] {
        command.args(["--formatter-property", property]);
    }
    let output = command.output().expect("java is there: Kafka runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    // It calls the end of its patience an error, and the exit code says nothing.
    assert!(said.contains("Processed a total of"), "the console consumer failed:\n{printed}{said}");
    printed.lines().map(record).collect()
}

/// The Java client's properties for a user of the stack.
#[must_use]
pub fn java_properties(user: &str, password: &str, ca: &Path) -> String {
    let login = "org.apache.kafka.common.security.scram.ScramLoginModule required";
    format!(
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n\
         sasl.jaas.config={login} username=\"{user}\" password=\"{password}\";\n\
         ssl.truststore.type=PEM\nssl.truststore.location={}\n",
        ca.display()
    )
}

fn record(line: &str) -> ConsoleRecord {
    let mut parts = line.splitn(3, '|');
    let (Some(headers), Some(key), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
        panic!("the console consumer printed {line:?} instead of headers, key and value");
    };
    let headers = headers
        .split(',')
        .filter_map(|header| header.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    ConsoleRecord { key: key.to_owned(), headers, value: unescaped(value) }
}

/// The bytes behind `Bytes.toString()`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let escape = rest.strip_prefix("\\x").and_then(|tail| tail.get(..2));
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.extend(next.to_string().bytes());
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_record_again() {
        let line = r"ce_type:SmsAccepted,ce_id:7|0190|\x0A\x10wallet|x\x5Cx41";
        let record = record(line);
        assert_eq!(record.key, "0190");
        assert_eq!(record.headers["ce_type"], "SmsAccepted");
        assert_eq!(record.value, b"\x0a\x10wallet|x\\x41");
    }
}
