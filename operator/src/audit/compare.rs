//! Two exports of one log: that nobody was shown another one.

use std::io;

use schemas::keys::VerifyingKey;

use super::codes::Code;
use super::finding::{Finding, Report};
use super::folder::Folder;
use super::layout::{self, Row, WIDTH};
use super::verify;

/// Verifies `other` as well, and names the first entry in which both differ. What is wrong with `other` alone is told with its
/// folder in front of the file.
///
/// # Errors
/// When a file cannot be read.
pub fn compare(
    report: Report,
    folder: &Folder,
    other: &Folder,
    roots: &[VerifyingKey],
) -> io::Result<Report> {
    let theirs = verify::verify(other, roots, &[])?;
    let mut report = report;
    if report.origin != theirs.origin {
        let text = format!("{} is of the log {}", other.path().display(), theirs.origin);
        report.add(Finding::new(Code::CHECKPOINT_FORK, text));
    }
    for fault in theirs.faults {
        let file = fault.file.as_deref().unwrap_or_default();
        report.add(Finding { file: Some(other.path().join(file).display().to_string()), ..fault });
    }
    let both = report.entries.min(theirs.entries);
    if let Some(entry) = first_difference(folder, other, both)? {
        let text = format!(
            "another entry in {}: each copy has a checkpoint for its own, of {} and of {} entries",
            other.path().display(),
            report.signed,
            theirs.signed
        );
        report.add(
            Finding::new(Code::CHECKPOINT_FORK, text)
                .entry(entry)
                .file(Row::Entries.path(entry / WIDTH, WIDTH)),
        );
    }
    Ok(report.close())
}

fn first_difference(folder: &Folder, other: &Folder, both: u64) -> io::Result<Option<u64>> {
    for n in 0..both.div_ceil(WIDTH) {
        let read = |folder: &Folder| {
            folder.widest(Row::Entries, n).map(|found| found.map(|found| found.bytes).unwrap_or_default())
        };
        let (own, their) = (read(folder)?, read(other)?);
        let (own, their) = (layout::entries(&own).leaves, layout::entries(&their).leaves);
        let pairs = own.iter().zip(&their).zip(n * WIDTH..both);
        for (((_, own), (_, their)), index) in pairs {
            if own != their {
                return Ok(Some(index));
            }
        }
    }
    Ok(None)
}
