//! The Java programs that make a broker: one formats its storage, one serves.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::jars;
use crate::log_file;
use crate::owned_process::{Launch, NOT_FOUND, OwnedProcess};

const LOG_LINES: usize = 40;

/// Any 16 bytes in URL-safe base 64; each server has its own data, so the id need not differ.
const CLUSTER_ID: &str = "Y2FyZHF1ZXJ5LXRlc3RzMQ";

/// What every Java program of the harness starts with: Kafka's jars, warnings on stderr, no files in `/tmp`.
pub(crate) fn java_arguments(command: &mut Command, jars: &Path) {
    let mut logging = OsString::from("-Dlog4j2.configurationFile=");
    logging.push(jars::deploy_directory().join("log4j2.xml"));
    command.arg("-cp").arg(jars.join("*")).arg(logging).arg("-XX:-UsePerfData");
}

/// The broker's settings within the server's directory.
pub(super) fn settings_path(directory: &Path) -> PathBuf {
    directory.join("server.properties")
}

/// What the broker logged, over all its starts, within the server's directory.
pub(super) fn log_path(directory: &Path) -> PathBuf {
    directory.join("server.log")
}

/// The end of that log.
pub(super) fn log_tail(directory: &Path) -> String {
    log_file::tail(&log_path(directory), LOG_LINES)
}

/// Writes the cluster's id and its first metadata; the broker refuses an unformatted directory.
pub(super) fn format_storage(jars: &Path, directory: &Path) -> Result<(), String> {
    let log = directory.join("format.log");
    let formatted = java(jars, directory, &log, |command| {
        command.args(["-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "--standalone"]);
        command.args(["--cluster-id", CLUSTER_ID, "--config"]);
    })
    .and_then(|mut process| process.wait());
    let status = formatted.map_err(|error| format!("cannot format the broker's storage: {error}"))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(NOT_FOUND) => Err("java was not found: install openjdk-17-jre-headless or newer".to_owned()),
        _ => {
            Err(format!("cannot format the broker's storage, {status}; {}", log_file::tail(&log, LOG_LINES)))
        }
    }
}

/// Starts the broker; it is far from ready when this returns.
pub(super) fn start_broker(jars: &Path, directory: &Path) -> io::Result<OwnedProcess> {
    java(jars, directory, &log_path(directory), |command| {
        command.args(["-Xmx512m", "-XX:+ExitOnOutOfMemoryError", "kafka.Kafka"]);
    })
}

/// A Java program whose last argument is the broker's settings.
fn java(
    jars: &Path,
    directory: &Path,
    log: &Path,
    class: impl FnOnce(&mut Command),
) -> io::Result<OwnedProcess> {
    let launch =
        Launch { program: Path::new("java"), stdout: log, stderr: log, orphaned_directory: Some(directory) };
    OwnedProcess::spawn(&launch, |command| {
        java_arguments(command, jars);
        class(command);
        command.arg(settings_path(directory));
    })
}
