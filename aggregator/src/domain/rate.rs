//! How many requests a caller may send: the generic cell rate algorithm. One instant says all that must be known of a
//! caller: when its bucket will be empty again.

use std::time::Duration;

/// A steady rate and how far it may be run ahead of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Microseconds that one request stands for.
    pub interval_us: u64,
    /// Microseconds by which a caller may be ahead of the steady rate.
    pub tolerance_us: u64,
}

impl Rate {
    /// `per_minute` requests a minute in the long run, `burst` at once. Zero counts as one.
    pub fn new(per_minute: u32, burst: u32) -> Self {
        let interval_us = 60_000_000 / u64::from(per_minute.max(1));
        Self { interval_us, tolerance_us: interval_us * u64::from(burst.max(1) - 1) }
    }

    /// Takes a request at `now`. `empty_at` is what the last call returned: in `Ok` the new one, in `Err` the time to
    /// wait, and then nothing has changed.
    ///
    /// # Errors
    /// When the request comes too early.
    pub fn admit(&self, empty_at: Option<u64>, now: u64) -> Result<u64, Duration> {
        let empty_at = empty_at.unwrap_or(now).max(now);
        match (empty_at - now).checked_sub(self.tolerance_us) {
            Some(early) if early > 0 => Err(Duration::from_micros(early)),
            Some(_) | None => Ok(empty_at + self.interval_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_burst_passes_at_once_and_then_the_steady_rate() {
        let rate = Rate::new(60, 3);
        let mut empty_at = None;
        let mut admitted = |now| match rate.admit(empty_at, now) {
            Ok(next) => {
                empty_at = Some(next);
                Ok(())
            }
            Err(wait) => Err(wait),
        };
        for _ in 0..3 {
            assert_eq!(admitted(0), Ok(()));
        }
        assert_eq!(admitted(0), Err(Duration::from_secs(1)));
        assert_eq!(admitted(SECOND / 2), Err(Duration::from_millis(500)));
        assert_eq!(admitted(SECOND), Ok(()));
        assert_eq!(admitted(SECOND), Err(Duration::from_secs(1)), "a refused request took nothing");
        assert_eq!(admitted(100 * SECOND), Ok(()));
    }

    #[test]
    fn a_setting_of_nothing_still_lets_something_pass() {
        let rate = Rate::new(0, 0);
        let next = rate.admit(None, 0).expect("admitted");
        assert_eq!(rate.admit(Some(next), 0), Err(Duration::from_secs(60)));
    }
}
