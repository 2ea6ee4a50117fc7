//! Registry entries into lines: those that readers take, in the order of the topic. A line stays when compaction has removed its
//! record.

use std::path::Path;

use plumbing::kafka::Record;
use schemas::keys::VerifyingKey;
use schemas::registry::{Applied, Registry};

use super::ExportError;
use super::writer::write;
use crate::audit::codes::Code;
use crate::audit::finding::Finding;
use crate::audit::folder::Folder;
use crate::audit::layout::REGISTRY;
use crate::audit::registry_file::{self, Fate, Line};

/// Adds the new entries to the file; gives the registry with all of them, and how many were new.
pub(super) fn take(
    out: &Path,
    roots: &[VerifyingKey],
    records: &[Record],
) -> Result<(Registry, usize), ExportError> {
    let stored = Folder::new(out).read(REGISTRY)?.unwrap_or_default();
    let stored = registry_file::parse(&stored)?;
    let found: Vec<Line> = records.iter().filter_map(super::line).collect();
    let (registry, lines) = merge(roots, stored.clone(), &found)?;
    if lines != stored {
        let text: String = lines.iter().map(|line| format!("{}\n", line.to_text())).collect();
        write(&out.join(REGISTRY), text.as_bytes())?;
    }
    Ok((registry, lines.len() - stored.len()))
}

fn merge(
    roots: &[VerifyingKey],
    stored: Vec<Line>,
    found: &[Line],
) -> Result<(Registry, Vec<Line>), ExportError> {
    let last = stored.last().map_or(-1, |line| line.offset);
    for line in found.iter().filter(|line| line.offset <= last) {
        let place = stored.binary_search_by_key(&line.offset, |line| line.offset);
        if place.is_ok_and(|place| stored[place] != *line) {
            let text = format!("the registry record at offset {} was another one", line.offset);
            return Err(Finding::new(Code::HISTORY_CHANGED, text).into());
        }
    }
    let known = stored.len();
    let mut lines = stored;
    lines.extend(found.iter().filter(|line| line.offset > last).cloned());
    let (registry, fates) = registry_file::fold(roots, &lines);
    let mut n = 0;
    lines.retain(|_| {
        n += 1;
        n <= known || matches!(fates[n - 1], Fate::Taken(Applied::Changed) | Fate::PassedOver)
    });
    Ok((registry, lines))
}
