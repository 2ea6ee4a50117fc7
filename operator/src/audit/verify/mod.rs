//! `cardquery audit verify`: whether an export is the hub's log, with root keys alone, and if not, from where on.
//!
//! ```text
//!  roots ─▶ registry lines ─▶ hub's keys ─▶ checkpoints ─▶ roots of trees ┐
//!                                                                         ├─▶ findings
//!  bundles ─▶ hashes of entries ─┬─▶ tree ────────────────────────────────┤
//!  tiles of level 0 ─────────────┘                                        │
//!  tiles above ───────────────────── compared with that tree ─────────────┤
//!  leaves, decoded ─▶ receipts, banks' signatures, order of steps ────────┘
//! ```
//!
//! | file | role |
//! |---|---|
//! | `difference.rs` | pure: what happened where a bundle and its tile differ |
//! | `walk.rs` | the tree, entry by entry, against tiles and checkpoints |
//! | `content.rs` | what leaves say |
//! | `steps.rs` | what the leaves of one query say together |
//!
//! A hash that is wrong says nothing about the place; what says it is that everything is there twice. An entry is wrong when
//! its tile leads to the signed root and it does not; a tile is wrong when the entries do. Where both agree and the root is
//! another one, the range between two checkpoints, or under one hash of a higher tile, is all that can be said.

mod content;
mod difference;
mod steps;
mod walk;

use std::collections::BTreeMap;
use std::io;

use schemas::audit::Checkpoint;
use schemas::keys::VerifyingKey;
use schemas::registry::{Key, Registry};

use self::content::Content;
use self::walk::Walk;
use super::codes::Code;
use super::finding::{Finding, Report};
use super::folder::Folder;
use super::layout;
use super::{notes, registry_file};

/// A note from elsewhere that must be of this log.
#[derive(Clone, Debug)]
pub struct Witnessed {
    /// Where it comes from.
    pub name: String,
    /// The signed note.
    pub note: String,
}

/// Verifies an export.
///
/// # Errors
/// When a file or a temporary one cannot be read or written.
pub fn verify(folder: &Folder, roots: &[VerifyingKey], witnessed: &[Witnessed]) -> io::Result<Report> {
    let mut report = Report::default();
    let Some(registry) = registry(folder, roots, &mut report)? else { return Ok(report.close()) };
    let notes = Notes::open(folder, &registry, witnessed, &mut report)?;
    if let Some(notes) = notes {
        report.origin.clone_from(&notes.origin);
        let content = Content::new(&registry);
        Walk::new(folder, notes, content, &mut report)?.run()?;
    }
    Ok(report.close())
}

/// The registry of an export, if it has a hub.
pub(super) fn registry(
    folder: &Folder,
    roots: &[VerifyingKey],
    report: &mut Report,
) -> io::Result<Option<Registry>> {
    let bytes = folder.read(layout::REGISTRY)?.unwrap_or_default();
    let lines = match registry_file::parse(&bytes) {
        Ok(lines) => lines,
        Err(finding) => {
            report.add(finding);
            return Ok(None);
        }
    };
    let (registry, fates) = registry_file::fold(roots, &lines);
    registry_file::findings(&lines, &fates).into_iter().for_each(|finding| report.add(finding));
    if registry.hub().is_err() {
        report.add(
            Finding::new(Code::REGISTRY_HUB_MISSING, "no accepted entry hub/hub").file(layout::REGISTRY),
        );
        return Ok(None);
    }
    Ok(Some(registry))
}

/// The checkpoints of an export, opened one size at a time.
pub(super) struct Notes<'a> {
    folder: &'a Folder,
    pub(super) origin: String,
    hub: Vec<Key>,
    sizes: Vec<u64>,
    others: BTreeMap<u64, Vec<(String, Checkpoint)>>,
}

impl<'a> Notes<'a> {
    /// Finds them, and opens the ones that do not lie in the folder of checkpoints. `None` when there are none.
    pub(super) fn open(
        folder: &'a Folder,
        registry: &Registry,
        witnessed: &[Witnessed],
        report: &mut Report,
    ) -> io::Result<Option<Self>> {
        let hub = registry.hub().map(|hub| hub.keys().to_vec()).unwrap_or_default();
        let (mut sizes, strange) = folder.checkpoint_sizes()?;
        for path in strange {
            let text = "its name is no number of entries";
            report.add(Finding::new(Code::CHECKPOINT_MALFORMED, text).file(path));
        }
        let latest = text(folder, layout::CHECKPOINT)?;
        let (Some(first), Some(largest)) = (sizes.first().copied(), sizes.last().copied()) else {
            let finding = Finding::new(Code::CHECKPOINT_MISSING, "no checkpoint in the export");
            report.add(finding.file(layout::CHECKPOINTS));
            return Ok(None);
        };
        let first = text(folder, &layout::checkpoints(first))?.unwrap_or_default();
        let candidates: Vec<&str> = latest.iter().map(String::as_str).chain(notes::split(&first)).collect();
        let own = |note: &&&str| Checkpoint::open(note, notes::origin(note), &hub).is_ok();
        let origin =
            candidates.iter().find(own).or(candidates.first()).map_or("", |note| notes::origin(note));
        let mut this =
            Self { folder, origin: origin.to_owned(), hub, sizes: Vec::new(), others: BTreeMap::new() };
        match latest {
            Some(note) => {
                if let Some(checkpoint) = this.note(&note, layout::CHECKPOINT, report)
                    && checkpoint.size < largest
                {
                    let text = format!("it is of {} entries, and there is one of {largest}", checkpoint.size);
                    report.add(Finding::new(Code::CHECKPOINT_OLD, text).file(layout::CHECKPOINT));
                }
            }
            None => {
                report.add(Finding::new(Code::CHECKPOINT_OLD, "it is missing").file(layout::CHECKPOINT));
            }
        }
        for Witnessed { name, note } in witnessed {
            this.note(note, name, report);
        }
        sizes.extend(this.others.keys());
        sizes.sort_unstable();
        sizes.dedup();
        this.sizes = sizes;
        Ok(Some(this))
    }

    fn note(&mut self, note: &str, name: &str, report: &mut Report) -> Option<Checkpoint> {
        match self.checkpoint(note, name) {
            Ok(checkpoint) => {
                self.others.entry(checkpoint.size).or_default().push((name.to_owned(), checkpoint.clone()));
                Some(checkpoint)
            }
            Err(finding) => {
                report.add(finding);
                None
            }
        }
    }

    fn checkpoint(&self, note: &str, name: &str) -> Result<Checkpoint, Finding> {
        use schemas::codes::Code as Reason;
        Checkpoint::open(note, &self.origin, &self.hub).map_err(|reason| {
            let code = if reason == Reason::MESSAGE_MALFORMED {
                Code::CHECKPOINT_MALFORMED
            } else {
                Code::CHECKPOINT_FORGED
            };
            Finding::new(code, reason.to_string()).file(name)
        })
    }

    /// Every size of which there is a file or a note, ascending.
    pub(super) fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    /// The checkpoints of `size`, each with its file, that are signed by the hub. The others are reported.
    pub(super) fn of(&self, size: u64, report: &mut Report) -> io::Result<Vec<(String, Checkpoint)>> {
        let path = layout::checkpoints(size);
        let mut found = Vec::new();
        match self.folder.read(&path)?.map(String::from_utf8) {
            None => {}
            Some(Err(_)) => {
                report.add(Finding::new(Code::CHECKPOINT_MALFORMED, "no UTF-8").file(&path));
            }
            Some(Ok(text)) if text.is_empty() => {
                report.add(Finding::new(Code::CHECKPOINT_MALFORMED, "an empty file").file(&path));
            }
            Some(Ok(text)) => {
                for note in notes::split(&text) {
                    match self.checkpoint(note, &path) {
                        Ok(checkpoint) if checkpoint.size == size => found.push((path.clone(), checkpoint)),
                        Ok(checkpoint) => {
                            let text = format!("it is of {} entries", checkpoint.size);
                            report.add(Finding::new(Code::CHECKPOINT_MALFORMED, text).file(&path));
                        }
                        Err(finding) => report.add(finding),
                    }
                }
            }
        }
        found.extend(self.others.get(&size).cloned().unwrap_or_default());
        Ok(found)
    }
}

/// A file as text; what is no UTF-8 is no note either.
fn text(folder: &Folder, path: &str) -> io::Result<Option<String>> {
    Ok(folder.read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}
