//! Hours in which nobody gets an SMS.

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use schemas::time::UnixMillis;

/// A span of every day, by the clocks of one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuietHours {
    from: Time,
    until: Time,
    zone: TimeZone,
}

impl QuietHours {
    /// From one time of the day until another, over midnight if that is the earlier one. `None` when both are the same.
    pub fn new(from: Time, until: Time, zone: TimeZone) -> Option<Self> {
        (from != until).then_some(Self { from, until, zone })
    }

    /// The end of the quiet hours that `now` lies in; `None` when it lies in none.
    pub fn end(&self, now: UnixMillis) -> Option<UnixMillis> {
        let local = Timestamp::from_millisecond(now.0).ok()?.to_zoned(self.zone.clone());
        let (date, time) = (local.date(), local.time());
        let date = match (self.from < self.until, time >= self.from, time < self.until) {
            (true, true, true) | (false, false, true) => date,
            (false, true, _) => date.tomorrow().ok()?,
            (true, _, false) | (true, false, _) | (false, false, false) => return None,
        };
        let end = date.to_datetime(self.until).to_zoned(self.zone.clone()).ok()?;
        let end = UnixMillis(end.timestamp().as_millisecond());
        // In the hour that a change of the clocks repeats, the end may be over although the clocks show less.
        (end > now).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(from: &str, until: &str, zone: &str) -> QuietHours {
        let time = |text: &str| text.parse().expect("a time");
        QuietHours::new(time(from), time(until), TimeZone::get(zone).expect("a zone")).expect("a span")
    }

    fn end(quiet: &QuietHours, at: &str) -> Option<String> {
        quiet.end(UnixMillis::parse(at).expect("a time")).map(|end| end.to_string())
    }

    #[test]
    fn a_night_lasts_from_its_first_millisecond_until_its_last_on_both_sides_of_midnight() {
        let night = quiet("22:00", "08:00", "Asia/Shanghai");
        let morning = Some("2026-11-25T00:00:00.000Z".to_owned());
        for (at, expected) in [
            ("2026-11-24T13:59:59.999Z", None),
            ("2026-11-24T14:00:00.000Z", morning.clone()),
            ("2026-11-24T15:59:59.999Z", morning.clone()),
            ("2026-11-24T16:00:00.000Z", morning.clone()),
            ("2026-11-24T23:59:59.999Z", morning),
            ("2026-11-25T00:00:00.000Z", None),
        ] {
            assert_eq!(end(&night, at), expected, "{at}");
        }
    }

    #[test]
    fn a_span_within_a_day_ends_on_that_day() {
        let noon = quiet("12:00", "14:00", "Asia/Shanghai");
        assert_eq!(end(&noon, "2026-11-24T03:59:59.999Z"), None);
        assert_eq!(end(&noon, "2026-11-24T04:00:00.000Z"), Some("2026-11-24T06:00:00.000Z".into()));
        assert_eq!(end(&noon, "2026-11-24T06:00:00.000Z"), None);
    }

    #[test]
    fn the_end_is_always_later_than_the_moment_also_when_clocks_change() {
        let night = quiet("22:00", "02:30", "Europe/Berlin");
        let day = 24 * 3_600_000;
        for start in ["2026-03-28T20:00:00Z", "2026-10-24T20:00:00Z"] {
            let start = UnixMillis::parse(start).expect("a time");
            for minute in 0..1_440 {
                let now = UnixMillis(start.0 + minute * 60_000);
                if let Some(end) = night.end(now) {
                    assert!(end > now && end.0 < now.0 + day, "{now} {end}");
                }
            }
        }
        assert_eq!(end(&night, "2026-03-28T22:00:00.000Z"), Some("2026-03-29T01:30:00.000Z".into()));
    }

    #[test]
    fn a_span_without_length_is_none() {
        let time: Time = "22:00".parse().expect("a time");
        assert_eq!(QuietHours::new(time, time, TimeZone::UTC), None);
    }
}
