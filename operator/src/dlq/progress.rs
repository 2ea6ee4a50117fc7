//! How far a plan was carried out: a file beside it, a line before and a line after each record.
//!
//! ```text
//! {"plan":"<sha256>"}
//! {"sending":"dlq.cardquery.query.v1:0:3"}
//! {"sent":"dlq.cardquery.query.v1:0:3"}
//! ```
//!
//! A record that has the first line only is in doubt: it may have been published. A line that is not whole was being
//! written when the machine stopped, and what follows such a line never happened, so it counts for nothing.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DlqError;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Plan(String),
    Sending(String),
    Sent(String),
}

/// What is known of a plan's records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Acknowledged.
    pub(super) sent: BTreeSet<String>,
    /// Possibly published.
    pub(super) in_doubt: BTreeSet<String>,
}

/// The file, for one process at a time.
#[derive(Debug)]
pub(super) struct Progress {
    path: PathBuf,
    file: File,
    pub(super) done: Done,
}

impl Progress {
    /// Opens the file beside the plan, or begins it.
    pub(super) fn open(plan: &Path, sha256: &str) -> Result<Self, DlqError> {
        let mut path = plan.as_os_str().to_owned();
        path.push(".progress");
        let path = PathBuf::from(path);
        let unwritable = |source| DlqError::Unwritable { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).append(true).create(true).mode(0o600).open(&path).map_err(unwritable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DlqError::InUse(path)),
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unwritable)?;
        let mut progress = Self { path, file, done: Done::default() };
        if text.is_empty() {
            progress.write(&Line::Plan(sha256.to_owned()))?;
            return Ok(progress);
        }
        if !text.ends_with('\n') {
            // The rest of a line must not become the beginning of the next one.
            progress.append(b"\n")?;
        }
        progress.done = done(&text, sha256)
            .map_err(|text| DlqError::WrongFile { path: progress.path.clone(), text: text.to_owned() })?;
        Ok(progress)
    }

    /// To be noted before a record is sent. What was in doubt and is sent again stays in doubt until it is sent.
    pub(super) fn sending(&mut self, at: &str) -> Result<(), DlqError> {
        self.write(&Line::Sending(at.to_owned()))?;
        self.done.in_doubt.insert(at.to_owned());
        Ok(())
    }

    /// To be noted when the broker has it.
    pub(super) fn sent(&mut self, at: &str) -> Result<(), DlqError> {
        self.write(&Line::Sent(at.to_owned()))?;
        self.done.in_doubt.remove(at);
        self.done.sent.insert(at.to_owned());
        Ok(())
    }

    fn write(&mut self, line: &Line) -> Result<(), DlqError> {
        let mut text = serde_json::to_vec(line).map_err(|error| DlqError::Form(error.to_string()))?;
        text.push(b'\n');
        self.append(&text)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), DlqError> {
        let written: io::Result<()> = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        written.map_err(|source| DlqError::Unwritable { path: self.path.clone(), source })
    }
}

fn done(text: &str, sha256: &str) -> Result<Done, &'static str> {
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let mut lines = whole.filter_map(|line| serde_json::from_str::<Line>(line).ok());
    match lines.next() {
        Some(Line::Plan(of)) if of == sha256 => {}
        Some(_) | None => return Err("this is the progress of another plan"),
    }
    let mut done = Done::default();
    for line in lines {
        match line {
            Line::Plan(_) => return Err("this is the progress of two plans"),
            Line::Sending(at) => drop(done.in_doubt.insert(at)),
            Line::Sent(at) => {
                done.in_doubt.remove(&at);
                done.sent.insert(at);
            }
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_was_being_sent_when_a_run_ended_is_in_doubt_and_what_was_acknowledged_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = folder.path().join("plan.json");
        let mut progress = Progress::open(&plan, "abc").expect("begun");
        for at in ["a", "b"] {
            progress.sending(at).expect("noted");
            progress.sent(at).expect("noted");
        }
        progress.sending("c").expect("noted");
        assert!(matches!(Progress::open(&plan, "abc"), Err(DlqError::InUse(_))), "one process at a time");
        drop(progress);

        let mut progress = Progress::open(&plan, "abc").expect("goes on");
        assert_eq!(progress.done, Done { sent: set(&["a", "b"]), in_doubt: set(&["c"]) });
        progress.sending("c").expect("noted");
        progress.sent("c").expect("noted");
        drop(progress);
        let progress = Progress::open(&plan, "abc").expect("goes on");
        assert_eq!(progress.done, Done { sent: set(&["a", "b", "c"]), in_doubt: set(&[]) });
        drop(progress);
        assert!(matches!(Progress::open(&plan, "def"), Err(DlqError::WrongFile { .. })), "another plan");
    }

    #[test]
    fn a_torn_line_counts_for_nothing_and_does_not_spoil_the_next_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = folder.path().join("plan.json");
        let torn = "{\"plan\":\"abc\"}\n{\"sending\":\"a\"}\n{\"sen";
        std::fs::write(folder.path().join("plan.json.progress"), torn).expect("written");
        let mut progress = Progress::open(&plan, "abc").expect("goes on");
        assert_eq!(progress.done, Done { sent: set(&[]), in_doubt: set(&["a"]) });
        progress.sent("a").expect("noted");
        drop(progress);
        let progress = Progress::open(&plan, "abc").expect("goes on");
        assert_eq!(progress.done, Done { sent: set(&["a"]), in_doubt: set(&[]) });
    }
}
