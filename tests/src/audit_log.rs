//! What the audit topic says, read as an outsider does who has the registry alone. It must be one log.

use bytes::Bytes;
use prost::Message as _;
use schemas::audit::{Change, Checkpoint, Leaf};
use schemas::ids::{Digest, Reference};
use schemas::merkle;
use schemas::registry::Key;
use schemas::wire::{self, audit_record};

/// The leaves by their index, and what the hub signed over them.
#[derive(Debug, Default)]
pub struct AuditLog {
    /// As hashed.
    pub leaves: Vec<Bytes>,
    /// In the order of the topic.
    pub checkpoints: Vec<Checkpoint>,
}

impl AuditLog {
    /// Folds the values of all records of the topic `origin`.
    ///
    /// # Panics
    /// When a record contradicts one before it, leaves a gap, or is none of the hub's.
    pub fn of<'a>(origin: &str, values: impl IntoIterator<Item = &'a [u8]>, hub: &[Key]) -> Self {
        let mut log = Self::default();
        for value in values {
            match wire::AuditRecord::decode(value).expect("a record").message.expect("a message") {
                audit_record::Message::Leaves(leaves) => log.take(leaves),
                audit_record::Message::Checkpoint(checkpoint) => {
                    let checkpoint = Checkpoint::open(&checkpoint.note, origin, hub).expect("the hub's word");
                    assert_eq!(checkpoint.root, log.root(checkpoint.size), "{checkpoint:?}");
                    log.checkpoints.push(checkpoint);
                }
            }
        }
        log
    }

    fn take(&mut self, wire::AuditLeaves { first, leaves }: wire::AuditLeaves) {
        let first = usize::try_from(first).expect("a small log");
        assert!(first <= self.leaves.len(), "a gap from {} to {first}", self.leaves.len());
        for (index, leaf) in (first..).zip(leaves) {
            match self.leaves.get(index) {
                Some(known) => assert_eq!(*known, leaf, "two histories at {index}"),
                None => self.leaves.push(leaf),
            }
        }
    }

    fn hashes(&self, size: u64) -> Vec<Digest> {
        let size = usize::try_from(size).expect("a small log");
        assert!(size <= self.leaves.len(), "{size} leaves are signed for, {} are there", self.leaves.len());
        self.leaves[..size].iter().map(|leaf| merkle::leaf_hash(leaf)).collect()
    }

    fn root(&self, size: u64) -> Digest {
        merkle::root(&self.hashes(size))
    }

    /// All leaves.
    pub fn decoded(&self) -> Vec<Leaf> {
        self.leaves.iter().map(|leaf| Leaf::decode(leaf).expect("a leaf")).collect()
    }

    /// What happened to a query, in the order of the log.
    pub fn changes(&self, of: &Reference) -> Vec<Change> {
        let leaves = self.decoded().into_iter();
        leaves
            .filter_map(|leaf| {
                if let Leaf::Query(reference, change) = leaf {
                    (reference == *of).then_some(change)
                } else {
                    None
                }
            })
            .collect()
    }

    /// Whether the last checkpoint covers every leaf.
    pub fn is_covered(&self) -> bool {
        self.checkpoints.last().is_some_and(|checkpoint| checkpoint.size == self.leaves.len() as u64)
    }

    /// Asserts that `leaf` is in the log under its last checkpoint, by an inclusion path.
    ///
    /// # Panics
    /// When it is not.
    pub fn assert_included(&self, leaf: &Leaf) {
        let last = self.checkpoints.last().expect("a checkpoint");
        let bytes = leaf.encode();
        let index = self.leaves.iter().position(|known| *known == bytes).expect("the leaf is in the log");
        let path = merkle::path(&self.hashes(last.size), index);
        let root = merkle::root_from_path(merkle::leaf_hash(&bytes), index as u64, last.size, &path);
        assert_eq!(root, Some(last.root), "{}", leaf.kind());
    }
}
