//! Instants on the wire and the calendar rule of erasure.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

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

/// The day whose 00:00 in `zone` is the erase instant: the eighth day after the local date of acceptance, so that
/// seven whole calendar days pass.
pub fn erase_on(accepted_at: UnixMillis, zone: &TimeZone) -> Date {
    let accepted = Timestamp::from_millisecond(accepted_at.0).unwrap_or(Timestamp::MAX);
    accepted.to_zoned(zone.clone()).date().saturating_add(8.days())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_erase_day_is_eight_local_dates_after_acceptance() {
        let shanghai = TimeZone::fixed(jiff::tz::offset(8));
        for (accepted, expected) in [
            ("2026-11-22T15:59:59.999Z", "2026-11-30"),
            ("2026-11-22T16:00:00.000Z", "2026-12-01"),
            ("2028-02-21T00:00:00.000Z", "2028-02-29"),
        ] {
            let at = UnixMillis::parse(accepted).expect("a valid time");
            assert_eq!(erase_on(at, &shanghai).to_string(), expected, "{accepted}");
        }
    }

    #[test]
    fn an_instant_prints_in_utc_with_three_decimals() {
        assert_eq!(UnixMillis(1_700_000_000_000).to_string(), "2023-11-14T22:13:20.000Z");
        assert_eq!(UnixMillis(1_700_000_000_007).to_string(), "2023-11-14T22:13:20.007Z");
    }
}
