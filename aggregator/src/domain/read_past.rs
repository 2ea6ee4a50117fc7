//! Whether reply topics have been read past an instant: what makes "no reply" a statement instead of a guess.
//!
//! End offsets are asked once, after the instant; a partition has been read past it when the stored progress reaches
//! the end offset found then. Asking anew each time would never be satisfied under load.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::time::UnixMillis;

/// A topic's partition.
pub type TopicPartition = (String, i32);

/// After this a partition whose leader cannot be read is given up, so that one lost partition does not keep every
/// report open.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(600);
/// Two looks that are further apart than this are not one outage.
const LOOKED_AT_LEAST_EVERY: Duration = Duration::from_secs(60);

/// What is known of every partition that was asked about.
#[derive(Debug, Default)]
pub struct ReadPast {
    partitions: BTreeMap<TopicPartition, Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    /// Everything appended up to this instant has been read.
    past: Option<UnixMillis>,
    /// An end offset that was asked at an instant, and is not reached yet.
    pending: Option<(i64, UnixMillis)>,
    /// Since when its leader cannot be read, and when that was last seen.
    unreadable: Option<(UnixMillis, UnixMillis)>,
}

impl ReadPast {
    /// Whether the end offsets of `topic` have to be asked to know about `instant`.
    pub fn needs_ends(&self, topic: &str, instant: UnixMillis) -> bool {
        let mut known = self.of_topic(topic).peekable();
        known.peek().is_none() || known.any(|partition| partition.past.is_none_or(|past| past < instant))
    }

    /// Takes the answer for one partition, asked at `now`: its end offset, or `None` when its leader cannot be read.
    pub fn asked(&mut self, partition: TopicPartition, end: Option<i64>, now: UnixMillis) {
        let known = self.partitions.entry(partition).or_default();
        match end {
            Some(end) => {
                known.unreadable = None;
                // The first answer stays the goal: asking anew under load would move it for ever.
                if known.pending.is_none() {
                    known.pending = Some((end, now));
                }
            }
            None => {
                // Nobody may have looked for hours; what was seen then says nothing of the time between.
                let lasting = known.unreadable.filter(|(_, seen)| now.since(*seen) < LOOKED_AT_LEAST_EVERY);
                let since = lasting.map_or(now, |(since, _)| since);
                known.unreadable = Some((since, now));
                if now.since(since) >= GIVE_UP_AFTER {
                    known.past = Some(now);
                }
            }
        }
    }

    /// Takes the stored progress: next offset per partition.
    pub fn progressed(&mut self, next_offset: impl Fn(&TopicPartition) -> i64) {
        for (name, partition) in &mut self.partitions {
            if let Some((_, asked_at)) = partition.pending.take_if(|(end, _)| next_offset(name) >= *end) {
                partition.past = partition.past.max(Some(asked_at));
            }
        }
    }

    /// Whether every partition of every topic has been read past `instant`.
    pub fn is_past<'a>(&self, mut topics: impl Iterator<Item = &'a str>, instant: UnixMillis) -> bool {
        topics.all(|topic| {
            let mut known = self.of_topic(topic).peekable();
            known.peek().is_some()
                && known.all(|partition| partition.past.is_some_and(|past| past >= instant))
        })
    }

    fn of_topic(&self, topic: &str) -> impl Iterator<Item = &Partition> {
        let range = (topic.to_owned(), i32::MIN)..=(topic.to_owned(), i32::MAX);
        self.partitions.range(range).map(|(_, partition)| partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "cardquery.reply.alpha.v1";

    fn tp(partition: i32) -> TopicPartition {
        (T.to_owned(), partition)
    }

    fn past(read: &ReadPast, instant: i64) -> bool {
        read.is_past([T].into_iter(), UnixMillis(instant))
    }

    #[test]
    fn a_topic_is_past_an_instant_when_every_partition_reached_the_end_found_after_it() {
        let mut read = ReadPast::default();
        assert!(!past(&read, 100), "nothing is known");
        read.asked(tp(0), Some(10), UnixMillis(100));
        read.asked(tp(1), Some(0), UnixMillis(100));
        read.progressed(|(_, partition)| if *partition == 0 { 9 } else { 0 });
        assert!(!past(&read, 100), "one record short");
        read.progressed(|(_, partition)| if *partition == 0 { 10 } else { 0 });
        assert!(past(&read, 100));
        assert!(!past(&read, 101), "asked before the instant");
    }

    #[test]
    fn an_end_that_moves_on_does_not_move_the_goal() {
        let mut read = ReadPast::default();
        read.asked(tp(0), Some(10), UnixMillis(100));
        read.asked(tp(0), Some(1_000), UnixMillis(150));
        read.progressed(|_| 10);
        assert!(past(&read, 100));
        assert!(!read.needs_ends(T, UnixMillis(100)));
        assert!(read.needs_ends(T, UnixMillis(101)));
    }

    #[test]
    fn only_a_partition_that_stays_unreadable_is_given_up() {
        let mut read = ReadPast::default();
        let mut unreadable = |from: i64, to: i64| {
            for second in from..=to {
                read.asked(tp(0), None, UnixMillis(second * 1000));
            }
            past(&read, to * 1000)
        };
        assert!(!unreadable(0, 599));
        assert!(!unreadable(700, 1_299), "nobody looked in between, so it is another outage");
        assert!(unreadable(1_300, 1_300));
    }

    #[test]
    fn a_leader_that_comes_back_starts_the_time_anew() {
        let mut read = ReadPast::default();
        for second in 0..600 {
            read.asked(tp(0), None, UnixMillis(second * 1000));
        }
        read.asked(tp(0), Some(5), UnixMillis(600_000));
        read.asked(tp(0), None, UnixMillis(601_000));
        assert!(!past(&read, 0));
    }
}
