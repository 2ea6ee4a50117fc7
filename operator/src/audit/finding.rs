//! What a check found, and how it is told.

use std::fmt::Write as _;

use serde::Serialize;

use super::codes::{Code, Weight};

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub code: Code,
    /// The entry that it is about, or the first one of a range.
    pub entry: Option<u64>,
    /// The first entry after a range.
    pub until: Option<u64>,
    /// The file in the export.
    pub file: Option<String>,
    /// The place in that file, in bytes; in a registry file, the line from 1 on.
    pub at: Option<u64>,
    /// The particulars.
    pub text: String,
}

impl Finding {
    /// A finding without a place.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, entry: None, until: None, file: None, at: None, text: text.into() }
    }

    /// About an entry.
    #[must_use]
    pub fn entry(self, entry: u64) -> Self {
        Self { entry: Some(entry), ..self }
    }

    /// About the entries from its own up to this one.
    #[must_use]
    pub fn until(self, until: u64) -> Self {
        Self { until: Some(until), ..self }
    }

    /// In a file.
    #[must_use]
    pub fn file(self, file: impl Into<String>) -> Self {
        Self { file: Some(file.into()), ..self }
    }

    /// At a place in that file.
    #[must_use]
    pub fn at(self, at: usize) -> Self {
        Self { at: u64::try_from(at).ok(), ..self }
    }

    pub(super) fn line(&self) -> String {
        let mut place = String::new();
        match (self.entry, self.until) {
            (Some(entry), Some(until)) => _ = write!(place, "entries {entry} to {}", until.saturating_sub(1)),
            (Some(entry), None) => _ = write!(place, "entry {entry}"),
            (None, _) => {}
        }
        if let Some(file) = &self.file {
            let separator = if place.is_empty() { "" } else { " " };
            let at = self.at.map(|at| {
                if *file == super::layout::REGISTRY { format!(", line {at}") } else { format!(", byte {at}") }
            });
            _ = write!(place, "{separator}({file}{})", at.unwrap_or_default());
        }
        let separator = if place.is_empty() { "" } else { ": " };
        format!("{place}{separator}{} {}", self.code, self.text)
    }
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether there is no fault.
    pub verified: bool,
    /// Name of the log.
    pub origin: String,
    /// Entries that were read.
    pub entries: u64,
    /// Checkpoints whose signature and root are right.
    pub checkpoints: u64,
    /// Entries under the largest of them.
    pub signed: u64,
    /// Root of the largest of them, hex.
    pub root: String,
    /// When the largest of them was signed, Unix milliseconds.
    pub signed_at_ms: i64,
    /// The first entry that is not right, or where the first range begins that is not.
    pub first_bad_entry: Option<u64>,
    /// What is wrong, by entry.
    pub faults: Vec<Finding>,
    /// What may interest.
    pub notes: Vec<Finding>,
    /// Findings that were left out because there are too many.
    pub left_out: u64,
}

/// Findings of each weight that are told.
const TOLD: usize = 100;

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        let list = match finding.code.weight() {
            Weight::Fault => &mut self.faults,
            Weight::Note => &mut self.notes,
        };
        if list.len() < TOLD {
            list.push(finding);
        } else if let Some(largest) = list.iter_mut().max_by_key(|other| other.entry)
            && finding.entry < largest.entry
        {
            // The first ones stay, in whatever order they are found.
            *largest = finding;
            self.left_out += 1;
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn close(mut self) -> Self {
        self.faults.sort_by_key(|finding| finding.entry);
        self.notes.sort_by_key(|finding| finding.entry);
        self.first_bad_entry = self.faults.iter().find_map(|finding| finding.entry);
        self.verified = self.faults.is_empty();
        self
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let Self { origin, entries, checkpoints, signed, root, .. } = self;
        let first = self.faults.iter().find(|finding| finding.entry.is_some());
        if let Some(first) = first {
            _ = writeln!(text, "first bad {}", first.line());
        }
        for fault in self.faults.iter().filter(|fault| Some(*fault) != first) {
            _ = writeln!(text, "fault  {}", fault.line());
        }
        for note in &self.notes {
            _ = writeln!(text, "note   {}", note.line());
        }
        if self.left_out > 0 {
            _ = writeln!(text, "       and {} more", self.left_out);
        }
        let verdict = if self.verified { "verified" } else { "NOT VERIFIED" };
        _ = writeln!(
            text,
            "{verdict}: {origin}, {entries} entries, {checkpoints} checkpoints, the largest of {signed} entries with root {root}"
        );
        text
    }
}
