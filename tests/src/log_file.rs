//! What a process printed, for messages that accuse it.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

/// Everything so far. A file that is not there yet reads as empty, and bytes that are not UTF-8 are replaced.
pub(crate) fn read(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}

/// The last lines under a heading with the file's name; says so if there are none. The frames of Java's stack
/// traces are left out: they would push out the lines that name the causes.
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    let name = log.file_name().unwrap_or(OsStr::new("log")).display();
    let text = read(log);
    let all: Vec<&str> = text.lines().filter(|line| !line.starts_with("\tat ")).collect();
    if all.is_empty() {
        return format!("{name} is empty");
    }
    let shown = &all[all.len().saturating_sub(lines)..];
    format!("last {} lines of {name}:\n{}", shown.len(), shown.join("\n"))
}
