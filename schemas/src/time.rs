//! Instants on the wire and the calendar rule of erasure.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

/// Milliseconds since the Unix epoch: the unit of every time on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The time from `earlier` to `self`; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `self` less `span`, at the earliest the smallest representable instant.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// Parses RFC 3339, for example `2026-11-23T08:00:00.000Z`.
    pub fn parse(text: &str) -> Option<Self> {
        let at: Timestamp = text.parse().ok()?;
        Some(Self(at.as_millisecond()))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for UnixMillis {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

/// RFC 3339 in UTC with three decimals.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// How instants become days.
#[derive(Clone, Debug)]
pub enum Calendar {
    /// The dates of a time zone.
    Civil(TimeZone),
    /// Days of another length, so that a test sees many of them pass. Their dates are names in order and nothing more.
    Counted {
        /// When the first day, 2000-01-01, begins.
        from: UnixMillis,
        /// How long each is.
        length: Duration,
    },
}

/// What the first counted day is called.
const FIRST_COUNTED: Date = date(2000, 1, 1);

impl Calendar {
    /// The day that `at` lies in.
    pub fn day(&self, at: UnixMillis) -> Date {
        match self {
            Self::Civil(zone) => {
                let at = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::MAX);
                at.to_zoned(zone.clone()).date()
            }
            Self::Counted { from, length } => {
                let passed = at.0.saturating_sub(from.0).div_euclid(millis(*length).max(1));
                match Span::new().try_days(passed) {
                    Ok(days) => FIRST_COUNTED.saturating_add(days),
                    Err(_) if passed < 0 => Date::MIN,
                    Err(_) => Date::MAX,
                }
            }
        }
    }

    /// The day at whose beginning a query that was accepted at `accepted_at` is erased: the eighth after that of its
    /// acceptance, so that seven whole days pass.
    pub fn erase_on(&self, accepted_at: UnixMillis) -> Date {
        self.day(accepted_at).saturating_add(8.days())
    }

    /// How long a day is, but for those on which clocks are changed.
    pub fn day_length(&self) -> Duration {
        match self {
            Self::Civil(_) => Duration::from_secs(24 * 3600),
            Self::Counted { length, .. } => *length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_erase_day_is_eight_local_dates_after_acceptance() {
        let shanghai = Calendar::Civil(TimeZone::fixed(jiff::tz::offset(8)));
        for (accepted, expected) in [
            ("2026-11-22T15:59:59.999Z", "2026-11-30"),
            ("2026-11-22T16:00:00.000Z", "2026-12-01"),
            ("2028-02-21T00:00:00.000Z", "2028-02-29"),
        ] {
            let at = UnixMillis::parse(accepted).expect("a valid time");
            assert_eq!(shanghai.erase_on(at).to_string(), expected, "{accepted}");
        }
    }

    #[test]
    fn days_of_another_length_keep_the_rule_of_eight() {
        let from = UnixMillis::parse("2026-11-22T00:00:00.000Z").expect("a valid time");
        let calendar = Calendar::Counted { from, length: Duration::from_secs(60) };
        for (at, day) in
            [(0, "2000-01-01"), (59_999, "2000-01-01"), (60_000, "2000-01-02"), (-1, "1999-12-31")]
        {
            assert_eq!(calendar.day(UnixMillis(from.0 + at)).to_string(), day, "{at}");
        }
        assert_eq!(calendar.erase_on(UnixMillis(from.0 + 59_999)).to_string(), "2000-01-09");
        assert_eq!(calendar.day_length(), Duration::from_secs(60));
        let short = Calendar::Counted { from, length: Duration::from_millis(1) };
        assert_eq!(short.day(UnixMillis(i64::MAX)), Date::MAX, "what has no date is erased");
    }

    #[test]
    fn an_instant_prints_in_utc_with_three_decimals() {
        assert_eq!(UnixMillis(1_700_000_000_000).to_string(), "2023-11-14T22:13:20.000Z");
        assert_eq!(UnixMillis(1_700_000_000_007).to_string(), "2023-11-14T22:13:20.007Z");
    }
}
