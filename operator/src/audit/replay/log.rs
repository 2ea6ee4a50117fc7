//! The audit topic, read once: what it says of the chosen queries, and whether the hub signed it.
//!
//! Leaves are kept as their bytes: a decoded one is several times as large.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use prost::Message as _;
use schemas::audit::leaf::{Accepted, Final};
use schemas::audit::{Change, Checkpoint, Frontier, Leaf};
use schemas::ids::{QueryId, Reference};
use schemas::merkle;
use schemas::registry::Key;
use schemas::wire::{self, audit_record};

use super::finding::Finding;
use super::selection::Selection;
use crate::audit::codes::Code;

/// A leaf in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its index.
    pub index: u64,
    bytes: Bytes,
}

/// How a query ended without a report, or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The consent was withdrawn.
    Withdrawn,
    /// Its day is over.
    Erased,
}

/// What the log says of a query.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Its acceptance, or its release.
    pub accepted: Option<Logged>,
    /// Its report.
    pub report: Option<Logged>,
    /// How it ended.
    pub ended: Option<Ended>,
}

impl Told {
    /// Its acceptance.
    pub fn accepted(&self) -> Option<Accepted> {
        let change = change(self.accepted.as_ref()?)?;
        if let Change::Registered(accepted) | Change::Released(accepted) = change {
            return Some(accepted);
        }
        None
    }

    /// Its report.
    pub fn report(&self) -> Option<Final> {
        if let Change::Final(report) = change(self.report.as_ref()?)? { Some(report) } else { None }
    }
}

fn change(leaf: &Logged) -> Option<Change> {
    if let Ok(Leaf::Query(_, change)) = Leaf::decode(&leaf.bytes) { Some(change) } else { None }
}

/// The log as it is read.
#[derive(Debug)]
pub struct Log {
    origin: String,
    hub: Vec<Key>,
    selection: Selection,
    next: Option<u64>,
    /// As long as every leaf from the first on was read.
    frontier: Option<Frontier>,
    /// Checkpoints of more leaves than were read so far.
    ahead: BTreeMap<u64, Checkpoint>,
    vouched: Option<u64>,
    checkpoint: Option<(u64, String)>,
    passed_over: HashSet<QueryId>,
    told: BTreeMap<Reference, Told>,
    findings: Vec<Finding>,
    unreadable: u64,
}

impl Log {
    /// An empty one of this name, signed with one of these keys.
    pub fn new(origin: String, hub: Vec<Key>, selection: Selection) -> Self {
        Self {
            origin,
            hub,
            selection,
            next: None,
            frontier: None,
            ahead: BTreeMap::new(),
            vouched: None,
            checkpoint: None,
            passed_over: HashSet::new(),
            told: BTreeMap::new(),
            findings: Vec::new(),
            unreadable: 0,
        }
    }

    /// Takes the next record of the topic.
    pub fn take(&mut self, value: &[u8]) {
        match wire::AuditRecord::decode(value).ok().and_then(|record| record.message) {
            Some(audit_record::Message::Leaves(leaves)) => {
                for (index, leaf) in (leaves.first..).zip(leaves.leaves) {
                    self.leaf(index, leaf);
                }
            }
            Some(audit_record::Message::Checkpoint(checkpoint)) => self.signed(checkpoint.note),
            None => self.unreadable += 1,
        }
    }

    fn leaf(&mut self, index: u64, bytes: Bytes) {
        match self.next {
            // Records may repeat.
            Some(next) if index < next => return,
            Some(next) if index > next => {
                let detail = format!("leaves {next} to {} are not in the topic", index - 1);
                self.findings.push(Finding::of_log(Code::LOG_GAP, detail));
                self.frontier = None;
            }
            Some(_) => {}
            None => self.frontier = (index == 0).then(Frontier::default),
        }
        self.next = Some(index + 1);
        if let Some(frontier) = &mut self.frontier {
            frontier.push(merkle::leaf_hash(&bytes));
            if let Some(checkpoint) = self.ahead.remove(&frontier.size()) {
                let root = frontier.root();
                self.compare(&checkpoint, root);
            }
        }
        match Leaf::decode(&bytes) {
            Ok(Leaf::Query(reference, change)) => self.changed(reference, change, Logged { index, bytes }),
            Ok(Leaf::Receipt(..)) => {}
            Err(_) => self.unreadable += 1,
        }
    }

    fn changed(&mut self, reference: Reference, change: Change, leaf: Logged) {
        if let Selection::Queries(wanted) = &self.selection
            && !wanted.contains(&reference)
        {
            return;
        }
        match change {
            Change::Registered(accepted) | Change::Released(accepted) => {
                if self.selection.takes(&reference, accepted.accepted_at) {
                    self.note(reference, leaf, |told| &mut told.accepted);
                } else if self.told.remove(&reference).is_none_or(|told| told.report.is_none()) {
                    self.passed_over.insert(reference.query);
                }
            }
            // A query that was passed over has one report, and is forgotten with it.
            Change::Final(_) if self.passed_over.remove(&reference.query) => {}
            Change::Final(_) => self.note(reference, leaf, |told| &mut told.report),
            Change::Withdrawn { .. } => self.end(&reference, Ended::Withdrawn),
            Change::Erased { .. } => self.end(&reference, Ended::Erased),
            Change::Held { .. }
            | Change::Cancelled { .. }
            | Change::ReleaseRefused { .. }
            | Change::Risk { .. }
            | Change::Rejected { .. }
            | Change::Replies(_)
            | Change::Viewed { .. }
            | Change::GrantRefused { .. } => {}
        }
    }

    fn note(&mut self, reference: Reference, leaf: Logged, slot: impl Fn(&mut Told) -> &mut Option<Logged>) {
        let known = slot(self.told.entry(reference.clone()).or_default());
        match known {
            None => *known = Some(leaf),
            Some(first) => {
                let detail = format!("leaves {} and {}", first.index, leaf.index);
                self.findings.push(Finding::of_query(Code::LEAF_REPEATED, &reference, detail));
            }
        }
    }

    fn end(&mut self, reference: &Reference, ended: Ended) {
        match self.told.entry(reference.clone()) {
            Entry::Occupied(told) => told.into_mut().ended = Some(ended),
            // One of those that were asked for, told of in a part of the log that begins later.
            Entry::Vacant(told) if matches!(self.selection, Selection::Queries(_)) => {
                told.insert(Told { ended: Some(ended), ..Told::default() });
            }
            Entry::Vacant(_) => drop(self.passed_over.remove(&reference.query)),
        }
    }

    fn signed(&mut self, note: String) {
        let checkpoint = match Checkpoint::open(&note, &self.origin, &self.hub) {
            Ok(checkpoint) => checkpoint,
            Err(code) => {
                self.findings.push(Finding::of_log(Code::CHECKPOINT_FORGED, code.to_string()));
                return;
            }
        };
        if self.checkpoint.as_ref().is_none_or(|(size, _)| *size <= checkpoint.size) {
            self.checkpoint = Some((checkpoint.size, note));
        }
        let nothing = Frontier::default();
        // Before the first leaf the log may be the empty one.
        let frontier = self.frontier.as_ref().or_else(|| (self.next.is_none()).then_some(&nothing));
        match frontier {
            Some(frontier) if frontier.size() == checkpoint.size => {
                let root = frontier.root();
                self.compare(&checkpoint, root);
            }
            Some(frontier) if frontier.size() > checkpoint.size => {}
            Some(_) => drop(self.ahead.insert(checkpoint.size, checkpoint)),
            None => {}
        }
    }

    fn compare(&mut self, checkpoint: &Checkpoint, root: schemas::ids::Digest) {
        if checkpoint.root == root {
            self.vouched = Some(checkpoint.size);
        } else {
            let detail = format!("{} leaves: signed {}, read {root}", checkpoint.size, checkpoint.root);
            self.findings.push(Finding::of_log(Code::ROOT_MISMATCH, detail));
        }
    }

    /// What the log says of the chosen queries.
    pub fn told(&self) -> &BTreeMap<Reference, Told> {
        &self.told
    }

    /// Takes the queries out.
    pub fn take_told(&mut self) -> BTreeMap<Reference, Told> {
        std::mem::take(&mut self.told)
    }

    /// Leaves and records that this version cannot read.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Whether every leaf from the first on was read.
    pub fn is_whole(&self) -> bool {
        self.frontier.is_some()
    }

    /// Leaves so far, by the index of the last one.
    pub fn size(&self) -> u64 {
        self.next.unwrap_or(0)
    }

    /// The largest checkpoint whose signature is good, as its note.
    pub fn checkpoint(&self) -> Option<&str> {
        self.checkpoint.as_ref().map(|(_, note)| note.as_str())
    }

    /// So many leaves, from the first on, are those that the hub signed.
    pub fn vouched(&self) -> Option<u64> {
        self.vouched
    }

    /// What is wrong with it.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        // Not read from its beginning, it says nothing of a checkpoint that is ahead.
        let short = self.ahead.keys().next_back().filter(|_| self.frontier.is_some() || self.next.is_none());
        let short = short.map(|size| {
            let detail = format!("a checkpoint vouches for {size} leaves, and there are {}", self.size());
            Finding::of_log(Code::LOG_CUT_SHORT, detail)
        });
        self.findings.iter().cloned().chain(short)
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
