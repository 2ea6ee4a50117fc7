//! Whether store and broker tell the same story of how far was read.
//!
//! A group's committed offset is behind the store's progress, and the progress behind the broker's end: each is written
//! after the next. When it is not so, one of them went back in time, and reading on would skip or repeat records unseen.

use std::collections::BTreeMap;
use std::fmt;

/// A topic's partition.
pub type TopicPartition = (String, i32);

/// Next offsets by partition.
pub type Offsets = BTreeMap<TopicPartition, i64>;

/// A partition whose tail somebody has lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    partition: TopicPartition,
    stored: i64,
    tail: Tail,
}

/// What goes further than it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// The group has committed this offset: the store is older than that, as after a restore.
    Store { committed: i64 },
    /// The partition ends here: the broker lost records, or the topic was made anew.
    Broker { end: i64 },
}

/// Finds what was lost. `committed` must have been read before `stored`, and `stored` before `ends`: all of them grow.
pub fn lost(committed: &Offsets, stored: &Offsets, ends: &Offsets) -> Vec<Lost> {
    let known = |partition: &TopicPartition| stored.get(partition).copied().unwrap_or(0);
    let of_store = committed.iter().filter(|(partition, offset)| known(partition) < **offset);
    let of_store = of_store.map(|(partition, committed)| Lost {
        partition: partition.clone(),
        stored: known(partition),
        tail: Tail::Store { committed: *committed },
    });
    let of_broker = ends.iter().filter(|(partition, end)| known(partition) > **end);
    let of_broker = of_broker.map(|(partition, end)| Lost {
        partition: partition.clone(),
        stored: known(partition),
        tail: Tail::Broker { end: *end },
    });
    of_store.chain(of_broker).collect()
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition: (topic, partition), stored, tail } = self;
        match tail {
            Tail::Store { committed } => write!(
                f,
                "{topic}:{partition} was read to {committed}, and the store knows it to {stored} only"
            ),
            Tail::Broker { end } => {
                write!(f, "{topic}:{partition} was read to {stored}, and it ends at {end}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Offsets {
        Offsets::from([(("topic".to_owned(), 3), offset)])
    }

    fn told(committed: &Offsets, stored: &Offsets, ends: &Offsets) -> Vec<String> {
        lost(committed, stored, ends).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn committed_behind_stored_behind_the_end_is_in_order() {
        for (committed, stored, end) in [(5, 5, 5), (3, 5, 9), (0, 0, 0)] {
            assert_eq!(lost(&at(committed), &at(stored), &at(end)), []);
        }
        assert_eq!(
            lost(&Offsets::new(), &at(5), &Offsets::new()),
            [],
            "what is not known is no contradiction"
        );
        assert_eq!(lost(&at(0), &Offsets::new(), &at(7)), [], "nothing was read yet");
    }

    #[test]
    fn a_restored_store_is_behind_its_group() {
        let expected = ["topic:3 was read to 9, and the store knows it to 8 only"];
        assert_eq!(told(&at(9), &at(8), &at(20)), expected);
        let expected = ["topic:3 was read to 9, and the store knows it to 0 only"];
        assert_eq!(told(&at(9), &Offsets::new(), &at(20)), expected);
    }

    #[test]
    fn a_broker_that_lost_its_tail_is_behind_the_store() {
        assert_eq!(told(&at(5), &at(8), &at(7)), ["topic:3 was read to 8, and it ends at 7"]);
    }
}
