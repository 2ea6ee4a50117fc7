//! `cardquery audit consistency`: that one checkpoint's log goes on from another's, with the proof that anybody can check.

use std::io;

use schemas::audit::paths;
use schemas::keys::VerifyingKey;
use serde::Serialize;

use super::codes::Code;
use super::finding::{Finding, Report};
use super::folder::Folder;
use super::layout;
use super::verify::{self, Notes};

/// A proof of consistency (RFC 9162, section 2.1.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Consistency {
    /// Name of the log.
    pub origin: String,
    /// Entries of the earlier tree.
    pub from: u64,
    /// Its signed root, hex.
    pub from_root: String,
    /// Entries of the later tree.
    pub to: u64,
    /// Its signed root, hex.
    pub to_root: String,
    /// The nodes, hex.
    pub proof: Vec<String>,
}

/// Makes the proof from the tiles of an export and checks it against the two signed checkpoints.
///
/// # Errors
/// When a file cannot be read or is missing; inside, the first thing that is wrong.
pub fn prove(
    folder: &Folder,
    roots: &[VerifyingKey],
    from: u64,
    to: u64,
) -> io::Result<Result<Consistency, Finding>> {
    let mut report = Report::default();
    let notes = match verify::registry(folder, roots, &mut report)? {
        Some(registry) => Notes::open(folder, &registry, &[], &mut report)?,
        None => None,
    };
    let Some(notes) = notes else { return Ok(Err(first(report, from))) };
    let Some((_, earlier)) = notes.of(from, &mut report)?.pop() else { return Ok(Err(first(report, from))) };
    let Some((name, later)) = notes.of(to, &mut report)?.pop() else { return Ok(Err(first(report, to))) };
    let path = paths::consistency(from, to, |height, index| folder.node(height, index))?;
    if !paths::is_consistent((from, earlier.root), (to, later.root), &path) {
        let text = format!("no proof leads from the checkpoint of {from} entries to this one of {to}");
        return Ok(Err(Finding::new(Code::CHECKPOINT_FORK, text).file(name)));
    }
    Ok(Ok(Consistency {
        origin: notes.origin.clone(),
        from,
        from_root: earlier.root.to_string(),
        to,
        to_root: later.root.to_string(),
        proof: path.iter().map(ToString::to_string).collect(),
    }))
}

fn first(report: Report, size: u64) -> Finding {
    report.faults.into_iter().next().unwrap_or_else(|| {
        let text = format!("there is no checkpoint of {size} entries");
        Finding::new(Code::CHECKPOINT_MISSING, text).file(layout::checkpoints(size))
    })
}

impl Consistency {
    pub(super) fn text(&self) -> String {
        let Self { origin, from, from_root, to, to_root, proof } = self;
        let nodes: String = proof.iter().map(|node| format!("{node}\n")).collect();
        format!(
            "{nodes}verified: {origin} of {to} entries, root {to_root}, goes on from that of {from} entries, root {from_root}"
        )
    }
}
