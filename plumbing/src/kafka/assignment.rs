//! The partitions of one epoch: their ledgers, their lanes, what is to be committed. No Kafka here.
//!
//! An epoch begins with an assignment and ends with its revocation. Whatever belongs to an older
//! epoch is discarded: committing it could rewind the new owner (librdkafka#2782).

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, Rewound};

/// Says which record of which epoch a completion is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    epoch: u64,
    slot: usize,
    offset: i64,
}

/// A partition's place in its lane, its ledger, and what the broker was last told.
#[derive(Debug)]
struct Slot {
    topic: Arc<str>,
    partition: i32,
    lane: usize,
    ledger: Ledger,
    told: Option<i64>,
    /// Another slot took over after the log went back.
    retired: bool,
}

/// What the loop needs to know about a partition to take a record from it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) slot: usize,
    pub(super) topic: Arc<str>,
    pub(super) lane: usize,
}

/// All partitions of one epoch.
#[derive(Debug)]
pub(super) struct Assignment {
    epoch: u64,
    /// Cancelled when the epoch ends: retries stop and waiting records are given back.
    pub(super) live: CancellationToken,
    slots: Vec<Slot>,
    places: HashMap<Arc<str>, HashMap<i32, usize>>,
    /// Records that are with the lanes.
    outstanding: usize,
}

impl Assignment {
    pub(super) fn new(epoch: u64, partitions: &[(String, i32)], lanes: usize) -> Self {
        let mut assignment = Self {
            epoch,
            live: CancellationToken::new(),
            slots: Vec::with_capacity(partitions.len()),
            places: HashMap::new(),
            outstanding: 0,
        };
        for (topic, partition) in partitions {
            let topic: Arc<str> = Arc::from(topic.as_str());
            let lane = lane_of(&topic, *partition, lanes);
            assignment.open_slot(topic, *partition, lane);
        }
        assignment
    }

    fn open_slot(&mut self, topic: Arc<str>, partition: i32, lane: usize) -> usize {
        let slot = self.slots.len();
        self.places.entry(Arc::clone(&topic)).or_default().insert(partition, slot);
        self.slots.push(Slot {
            topic,
            partition,
            lane,
            ledger: Ledger::default(),
            told: None,
            retired: false,
        });
        slot
    }

    /// Where the partition stands, or `None` if it is not part of this epoch.
    pub(super) fn place(&self, topic: &str, partition: i32) -> Option<Place> {
        let slot = *self.places.get(topic)?.get(&partition)?;
        let Slot { topic, lane, .. } = &self.slots[slot];
        Some(Place { slot, topic: Arc::clone(topic), lane: *lane })
    }

    /// Takes the record at `offset`. When the log went back (truncated and reset), a fresh slot
    /// takes over, so that completions of the old log cannot complete records of the new one.
    pub(super) fn take(&mut self, place: &Place, offset: i64) -> (Ticket, Option<Rewound>) {
        let mut slot = place.slot;
        let rewound = self.slots[slot].ledger.take(offset).err();
        if rewound.is_some() {
            self.slots[slot].retired = true;
            let partition = self.slots[slot].partition;
            slot = self.open_slot(Arc::clone(&place.topic), partition, place.lane);
            let fresh = self.slots[slot].ledger.take(offset);
            debug_assert!(fresh.is_ok(), "an empty ledger takes any offset");
        }
        self.outstanding += 1;
        let ticket = Ticket { epoch: self.epoch, slot, offset };
        (ticket, rewound)
    }

    /// The record came back from its lane, finished or not. Tickets of other epochs are ignored.
    pub(super) fn settle(&mut self, ticket: Ticket, finished: bool) {
        if ticket.epoch != self.epoch {
            return;
        }
        self.outstanding -= 1;
        if finished {
            self.slots[ticket.slot].ledger.complete(ticket.offset);
        }
    }

    /// Records that are with the lanes.
    pub(super) const fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Offsets that the broker has not been told yet; from here on it counts as told.
    pub(super) fn news(&mut self) -> Vec<(Arc<str>, i32, i64)> {
        self.slots
            .iter_mut()
            .filter(|slot| !slot.retired)
            .filter_map(|slot| {
                let next = slot.ledger.frontier()?;
                (slot.told != Some(next)).then(|| {
                    slot.told = Some(next);
                    (Arc::clone(&slot.topic), slot.partition, next)
                })
            })
            .collect()
    }

    /// A commit failed: everything is news again.
    pub(super) fn forget_told(&mut self) {
        for slot in &mut self.slots {
            slot.told = None;
        }
    }

    /// The partitions of one lane.
    pub(super) fn in_lane(&self, lane: usize) -> impl Iterator<Item = (&str, i32)> {
        self.slots
            .iter()
            .filter(move |slot| slot.lane == lane && !slot.retired)
            .map(|slot| (&*slot.topic, slot.partition))
    }
}

/// The same lane for the same partition in every epoch, so that a straggler of an old epoch cannot
/// run beside the new one. Partitions of one topic go to neighbouring lanes.
fn lane_of(topic: &str, partition: i32, lanes: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    topic.hash(&mut hasher);
    let shifted = hasher.finish().wrapping_add(u64::from(partition.unsigned_abs()));
    usize::try_from(shifted % lanes as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(epoch: u64) -> Assignment {
        Assignment::new(epoch, &[("a".into(), 0), ("b".into(), 0)], 4)
    }

    fn take(assignment: &mut Assignment, topic: &str, offset: i64) -> Ticket {
        let place = assignment.place(topic, 0).expect("assigned");
        assignment.take(&place, offset).0
    }

    #[test]
    fn partitions_of_the_same_number_in_two_topics_are_kept_apart() {
        let mut assignment = assignment(1);
        let a = take(&mut assignment, "a", 5);
        let _b = take(&mut assignment, "b", 5);
        assignment.settle(a, true);
        assert_eq!(assignment.news(), [("a".into(), 0, 6)]);
        assert_eq!(assignment.outstanding(), 1);
    }

    #[test]
    fn completions_of_an_older_epoch_are_discarded() {
        let mut old = assignment(1);
        let straggler = take(&mut old, "a", 5);
        let mut new = assignment(2);
        let _again = take(&mut new, "a", 5);
        new.settle(straggler, true);
        assert_eq!(new.news(), []);
        assert_eq!(new.outstanding(), 1);
    }

    #[test]
    fn what_was_told_is_told_once_unless_the_commit_failed() {
        let mut assignment = assignment(1);
        let ticket = take(&mut assignment, "a", 5);
        assignment.settle(ticket, true);
        assert_eq!(assignment.news().len(), 1);
        assert_eq!(assignment.news(), []);
        assignment.forget_told();
        assert_eq!(assignment.news(), [("a".into(), 0, 6)]);
    }

    #[test]
    fn an_unfinished_record_that_comes_back_holds_the_frontier() {
        let mut assignment = assignment(1);
        let first = take(&mut assignment, "a", 5);
        let second = take(&mut assignment, "a", 6);
        assignment.settle(first, false);
        assignment.settle(second, true);
        assert_eq!(assignment.news(), []);
        assert_eq!(assignment.outstanding(), 0);
    }

    #[test]
    fn after_the_log_went_back_old_completions_do_not_count() {
        let mut assignment = assignment(1);
        let old = take(&mut assignment, "a", 5);
        let place = assignment.place("a", 0).expect("assigned");
        let (_, rewound) = assignment.take(&place, 5);
        assert_eq!(rewound, Some(Rewound { last: 5 }));
        assignment.settle(old, true);
        assert_eq!(assignment.news(), []);
    }

    #[test]
    fn partitions_of_one_topic_spread_over_all_lanes() {
        let mut lanes: Vec<_> = (0..4).map(|p| lane_of("things.v1", p, 4)).collect();
        lanes.sort_unstable();
        assert_eq!(lanes, [0, 1, 2, 3]);
    }
}
