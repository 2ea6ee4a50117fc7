//! The contiguous frontier of one partition: pure bookkeeping, no Kafka.
//!
//! ```text
//!  taken:      10   11   12   15   16        (13 and 14 do not exist: offsets are not dense)
//!  finished:   ✓    ✓         ✓
//!  frontier:             ^ 12 is next
//! ```
//!
//! Lanes may finish records in any order, twice, or never. The ledger can only yield an offset
//! below which everything that was taken is finished, so a commit cannot skip a record.

use std::collections::VecDeque;

/// An offset came that is not beyond the last one: the log was truncated or its position reset.
/// The ledger is useless from here on, a fresh one must take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rewound {
    /// The last offset taken before.
    pub(super) last: i64,
}

/// Offsets of one partition between being taken and being finished.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    open: VecDeque<Entry>,
    last: Option<i64>,
    frontier: Option<i64>,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    finished: bool,
}

impl Ledger {
    /// Notes that the record at `offset` was taken. Offsets grow, with gaps or without.
    pub(super) fn take(&mut self, offset: i64) -> Result<(), Rewound> {
        if let Some(last) = self.last.filter(|last| *last >= offset) {
            return Err(Rewound { last });
        }
        self.last = Some(offset);
        self.open.push_back(Entry { offset, finished: false });
        Ok(())
    }

    /// Notes that the record at `offset` is finished; an offset that is not open is ignored.
    pub(super) fn complete(&mut self, offset: i64) {
        if let Ok(index) = self.open.binary_search_by_key(&offset, |entry| entry.offset) {
            self.open[index].finished = true;
        }
        while let Some(entry) = self.open.pop_front_if(|entry| entry.finished) {
            self.frontier = Some(entry.offset + 1);
        }
    }

    /// The offset to commit: the next one after the finished head. `None` until something finished.
    pub(super) const fn frontier(&self) -> Option<i64> {
        self.frontier
    }

    /// Records that are taken and not yet behind the frontier.
    #[cfg(test)]
    fn open(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    #[test]
    fn the_frontier_waits_for_the_first_unfinished_offset() {
        let mut ledger = Ledger::default();
        for offset in [10, 11, 12, 15] {
            assert_eq!(ledger.take(offset), Ok(()));
        }
        ledger.complete(15);
        ledger.complete(11);
        assert_eq!(ledger.frontier(), None);
        ledger.complete(10);
        assert_eq!(ledger.frontier(), Some(12));
        ledger.complete(12);
        assert_eq!(ledger.frontier(), Some(16));
        assert_eq!(ledger.open(), 0);
    }

    #[test]
    fn an_offset_that_was_never_taken_changes_nothing() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.take(5), Ok(()));
        ledger.complete(4);
        ledger.complete(6);
        assert_eq!(ledger.frontier(), None);
    }

    #[test]
    fn going_back_is_an_error_and_takes_nothing() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.take(5), Ok(()));
        assert_eq!(ledger.take(5), Err(Rewound { last: 5 }));
        assert_eq!(ledger.take(2), Err(Rewound { last: 5 }));
        assert_eq!(ledger.open(), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Take the next offset, after a gap of this many.
        Take(i64),
        /// Complete some offset taken so far, perhaps again.
        Complete(Index),
        /// Complete an offset that may never have been taken.
        Noise(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_i64..4).prop_map(Step::Take),
            3 => any::<Index>().prop_map(Step::Complete),
            1 => (-2_i64..200).prop_map(Step::Noise),
        ]
    }

    proptest! {
        #[test]
        fn no_schedule_moves_the_frontier_past_an_unfinished_offset(
            start in 0_i64..50,
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let mut ledger = Ledger::default();
            let mut taken: Vec<i64> = Vec::new();
            let mut unfinished = BTreeSet::new();
            let mut next = start;
            let mut before = None;

            for step in steps {
                match step {
                    Step::Take(gap) => {
                        let offset = next + gap;
                        next = offset + 1;
                        prop_assert_eq!(ledger.take(offset), Ok(()));
                        taken.push(offset);
                        unfinished.insert(offset);
                    }
                    Step::Complete(index) if !taken.is_empty() => {
                        let offset = *index.get(&taken);
                        ledger.complete(offset);
                        unfinished.remove(&offset);
                    }
                    Step::Complete(_) => {}
                    Step::Noise(offset) => {
                        ledger.complete(offset);
                        unfinished.remove(&offset);
                    }
                }
                // The model: everything taken below the first unfinished offset is behind it.
                let head = unfinished.first().copied().unwrap_or(i64::MAX);
                let expected = taken
                    .iter()
                    .take_while(|offset| **offset < head)
                    .last()
                    .map(|offset| offset + 1);
                prop_assert_eq!(ledger.frontier(), expected);
                prop_assert!(before <= ledger.frontier(), "the frontier went back");
                before = ledger.frontier();
            }

            for offset in unfinished {
                ledger.complete(offset);
            }
            prop_assert_eq!(ledger.frontier(), taken.last().map(|last| last + 1));
            prop_assert_eq!(ledger.open(), 0);
        }
    }
}
