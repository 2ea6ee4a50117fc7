//! Records of the audit topic.

use bytes::Bytes;
use plumbing::kafka::OutRecord;
use prost::Message as _;
use schemas::wire::{self, audit_record};

/// Bytes of leaves in one record, unless it has a single one: that may be larger. A record of the topic may have 64 KiB.
const LEAVES_MAX: usize = 48 * 1024;

/// The leaves of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) first: u64,
    pub(super) leaves: Vec<Bytes>,
}

/// Puts leaves from position `first` on into records, in order.
pub(super) fn pack(first: u64, leaves: Vec<Bytes>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut room = 0;
    for (position, leaf) in (first..).zip(leaves) {
        match batches.last_mut().filter(|_| leaf.len() <= room) {
            Some(batch) => {
                room -= leaf.len();
                batch.leaves.push(leaf);
            }
            None => {
                room = LEAVES_MAX.saturating_sub(leaf.len());
                batches.push(Batch { first: position, leaves: vec![leaf] });
            }
        }
    }
    batches
}

impl Batch {
    pub(super) fn record(&self, topic: &str) -> OutRecord {
        let leaves = wire::AuditLeaves { first: self.first, leaves: self.leaves.clone() };
        record(topic, audit_record::Message::Leaves(leaves))
    }
}

pub(super) fn checkpoint(topic: &str, note: String) -> OutRecord {
    record(topic, audit_record::Message::Checkpoint(wire::AuditCheckpoint { note }))
}

/// The topic has one partition and no keys.
fn record(topic: &str, message: audit_record::Message) -> OutRecord {
    let value = wire::AuditRecord { message: Some(message) }.encode_to_vec();
    OutRecord { topic: topic.to_owned(), key: None, value, headers: Vec::new() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(sizes: &[usize]) -> Vec<Bytes> {
        (0u8..).zip(sizes).map(|(n, size)| Bytes::from(vec![n; *size])).collect()
    }

    proptest! {
        #[test]
        fn records_hold_every_leaf_once_in_order_and_none_is_too_large(
            first in 0u64..1_000_000,
            sizes in prop::collection::vec(prop_oneof![1usize..400, 1usize..58 * 1024], 0..200),
        ) {
            let leaves = leaves(&sizes);
            let batches = pack(first, leaves.clone());
            let mut next = first;
            for batch in &batches {
                prop_assert_eq!(batch.first, next);
                prop_assert!(!batch.leaves.is_empty());
                prop_assert!(batch.record("topic").value.len() < 60 * 1024);
                next += batch.leaves.len() as u64;
            }
            let all: Vec<Bytes> = batches.into_iter().flat_map(|batch| batch.leaves).collect();
            prop_assert_eq!(all, leaves);
        }
    }

    #[test]
    fn small_leaves_share_a_record() {
        assert_eq!(pack(7, leaves(&[100; 200])).len(), 1);
    }
}
