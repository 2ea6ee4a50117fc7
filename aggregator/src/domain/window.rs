//! The times of one query, all computed once from its acceptance.

use std::time::Duration;

use jiff::civil::Date;
use schemas::time::{Calendar, UnixMillis};

/// How long banks may take, and when they are asked again. Scales as a whole, so that a demo of seconds runs the same
/// rule as a day.
#[derive(Clone, Debug)]
pub struct Window {
    /// From acceptance to deadline; 24 h in production.
    pub length: Duration,
    /// After the deadline, before end offsets are asked: replies that were appended in time are then visible.
    pub grace: Duration,
    /// The calendar by which reports are erased.
    pub calendar: Calendar,
}

/// The times of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Append time of the query's first record.
    pub accepted_at: UnixMillis,
    /// After this a bank neither looks up nor replies.
    pub reply_by: UnixMillis,
    /// Replies appended at or before this are in time.
    pub deadline_at: UnixMillis,
    /// The day whose beginning is the erase instant.
    pub erase_on: Date,
}

impl Window {
    /// The times of a query accepted at `accepted_at`. `reply_by` lies 1/48 of the window (30 min of 24 h) before the
    /// deadline.
    pub fn times(&self, accepted_at: UnixMillis) -> Times {
        let deadline_at = accepted_at + self.length;
        Times {
            accepted_at,
            reply_by: deadline_at.before(self.length / 48),
            deadline_at,
            erase_on: self.calendar.erase_on(accepted_at),
        }
    }

    /// Time from attempt `attempt` (1 for the first) to the next one: 30 min of 24 h, doubling up to 4 h.
    pub fn interval(&self, attempt: u32) -> Duration {
        let doubled = 2u32.saturating_pow(attempt.saturating_sub(1));
        (self.length / 48).saturating_mul(doubled).min(self.length / 6)
    }

    /// Whether the erase instant of `times` has passed.
    pub fn is_erased(&self, times: &Times, now: UnixMillis) -> bool {
        self.calendar.day(now) >= times.erase_on
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn day() -> Window {
        Window {
            length: Duration::from_secs(24 * 3600),
            grace: Duration::from_secs(5),
            calendar: Calendar::Civil(TimeZone::fixed(jiff::tz::offset(8))),
        }
    }

    #[test]
    fn the_times_of_a_query_are_those_promised() {
        let accepted = UnixMillis::parse("2026-11-23T08:00:00.000Z").expect("a time");
        let times = day().times(accepted);
        assert_eq!(times.deadline_at.to_string(), "2026-11-24T08:00:00.000Z");
        assert_eq!(times.reply_by.to_string(), "2026-11-24T07:30:00.000Z");
        assert_eq!(times.erase_on.to_string(), "2026-12-01");
        let erased_from = UnixMillis::parse("2026-11-30T16:00:00.000Z").expect("a time");
        assert!(day().is_erased(&times, erased_from));
        assert!(!day().is_erased(&times, UnixMillis(erased_from.0 - 1)));
    }

    #[test]
    fn intervals_grow_to_four_hours_of_a_day() {
        let minutes: Vec<u64> = (1..=6).map(|attempt| day().interval(attempt).as_secs() / 60).collect();
        assert_eq!(minutes, [30, 60, 120, 240, 240, 240]);
        assert_eq!(day().interval(u32::MAX).as_secs() / 60, 240);
    }
}
