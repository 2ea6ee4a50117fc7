//! What the leaves of one query say together.
//!
//! | step | comes after |
//! |---|---|
//! | `released`, `cancelled` | `held` |
//! | `final` | `registered` or `released` |
//! | `viewed` | `final` |
//!
//! and no leaf comes twice. The sequencer gives an index only to what is committed, in the order of commits; leaves of one
//! commit stand in any order, which is why nothing is said of `replies`, `withdrawn` or `erased`.

use std::io;

use schemas::audit::{Change, Leaf};
use schemas::ids::Digest;

use crate::audit::codes::Code;
use crate::audit::finding::{Finding, Report};
use crate::audit::sorter::Sorter;

const HELD: u8 = 1;
const ACCEPTED: u8 = 2;
const FINAL: u8 = 4;
/// Query (16 bytes), index (8), what it gives and needs (2), leaf id (16).
const RECORD: usize = 42;
/// Records kept in memory: about 80 MB.
const IN_MEMORY: usize = 2_000_000;

/// All leaves of a log, to be looked at query by query.
pub(super) struct Steps {
    sorter: Sorter<RECORD>,
}

impl Steps {
    pub(super) fn new() -> Self {
        Self { sorter: Sorter::new(IN_MEMORY) }
    }

    pub(super) fn take(&mut self, index: u64, leaf: &Leaf) -> io::Result<()> {
        let id = leaf.id().0;
        let (group, step) = match leaf {
            Leaf::Query(reference, change) => {
                (first_16(Digest::of(reference.to_string().as_bytes())), step(change))
            }
            Leaf::Receipt(..) => (id, Step::default()),
        };
        let mut record = [0; RECORD];
        record[..16].copy_from_slice(&group);
        record[16..24].copy_from_slice(&index.to_be_bytes());
        record[24] = step.gives;
        record[25] = step.needs;
        record[26..].copy_from_slice(&id);
        self.sorter.push(record)
    }

    pub(super) fn finish(self, report: &mut Report) -> io::Result<()> {
        let mut query: Vec<(u64, Step, [u8; 16])> = Vec::new();
        let mut group = None;
        self.sorter.finish(|record| {
            let (own, rest) = part::<16>(record);
            let (index, rest) = part::<8>(rest);
            let (flags, id) = part::<2>(rest);
            if group != Some(own) {
                judge(&query, report);
                query.clear();
                group = Some(own);
            }
            let step = Step { gives: flags[0], needs: flags[1] };
            query.push((u64::from_be_bytes(index), step, part::<16>(id).0));
            Ok(())
        })?;
        judge(&query, report);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Step {
    gives: u8,
    needs: u8,
}

fn step(change: &Change) -> Step {
    let (gives, needs) = match change {
        Change::Registered(_) => (ACCEPTED, 0),
        Change::Released(_) => (ACCEPTED, HELD),
        Change::Held { .. } => (HELD, 0),
        Change::Cancelled { .. } => (0, HELD),
        Change::Final(_) => (FINAL, ACCEPTED),
        Change::Viewed { .. } => (0, FINAL),
        Change::Replies(_)
        | Change::ReleaseRefused { .. }
        | Change::Risk { .. }
        | Change::Rejected { .. }
        | Change::GrantRefused { .. }
        | Change::Withdrawn { .. }
        | Change::Erased { .. } => (0, 0),
    };
    Step { gives, needs }
}

/// One query's leaves, by index.
fn judge(query: &[(u64, Step, [u8; 16])], report: &mut Report) {
    let mut ids = std::collections::BTreeMap::new();
    let mut have = 0;
    for (index, step, id) in query {
        if let Some(first) = ids.insert(id, index) {
            let text = format!("the same change as in entry {first}");
            report.add(Finding::new(Code::LEAF_REPEATED, text).entry(*index));
        }
        if step.needs & !have != 0 {
            let needed = match step.needs {
                HELD => "a hold",
                ACCEPTED => "an acceptance",
                _ => "a report",
            };
            report.add(
                Finding::new(Code::LEAF_OUT_OF_ORDER, format!("no entry before it tells of {needed}"))
                    .entry(*index),
            );
        }
        have |= step.gives;
    }
}

fn part<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    let (head, rest) = bytes.split_first_chunk().expect("records have a fixed length");
    (*head, rest)
}

fn first_16(digest: Digest) -> [u8; 16] {
    part(&digest.0).0
}
