//! The Java client as an independent witness.

use std::collections::BTreeMap;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::{Command, Output};

use crate::kafka::{KafkaServer, java_arguments};

/// Produces one record per key with the Java client's default partitioner, and returns the partition each
/// went to. Blocks for a few seconds: the program is compiled in memory as it starts.
///
/// # Panics
/// If a key has a line break, or Java fails; the message has what it printed.
#[must_use]
#[track_caller]
pub fn java_partitions<K: AsRef<str>>(
    server: &KafkaServer,
    topic: &str,
    keys: &[K],
) -> BTreeMap<String, i32> {
    let output = run(server, topic, keys).expect("java runs, because the server does");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "the Java producer failed, {}:\n{printed}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
    );
    let partitions: BTreeMap<String, i32> = printed.lines().map(key_and_partition).collect();
    for key in keys {
        assert!(
            partitions.contains_key(key.as_ref()),
            "the Java producer did not report key {:?}",
            key.as_ref()
        );
    }
    partitions
}

fn run<K: AsRef<str>>(server: &KafkaServer, topic: &str, keys: &[K]) -> std::io::Result<Output> {
    // A file, not a pipe: nobody has to write while somebody else reads.
    let mut input = tempfile::tempfile()?;
    for key in keys {
        let key = key.as_ref();
        assert!(!key.contains(['\n', '\r']), "key {key:?} has a line break");
        writeln!(input, "{key}")?;
    }
    input.rewind()?;

    let mut command = Command::new("java");
    java_arguments(&mut command, server.jars());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("java/DefaultPartitioner.java"));
    command.args([server.bootstrap(), topic]).stdin(input).output()
}

fn key_and_partition(line: &str) -> (String, i32) {
    line.rsplit_once(' ')
        .and_then(|(key, partition)| Some((key.to_owned(), partition.parse().ok()?)))
        .unwrap_or_else(|| panic!("the Java producer printed {line:?} instead of a key and a partition"))
}
