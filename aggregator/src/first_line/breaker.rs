//! When to stop asking a server that does not answer, and when to try again.

use std::time::{Duration, Instant};

/// Lets calls through until several in a row have failed, and from then on one per pause.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    pause: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { probe_at: Instant },
}

/// What a call changed. Worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Opened,
    Closed,
}

impl Breaker {
    pub(super) fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max, pause, state: State::Closed { failures: 0 } }
    }

    /// Whether a call may be made. One that is never told the end of costs one pause, no more: it may be dropped.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { probe_at } if now < probe_at => false,
            State::Open { .. } => {
                self.state = State::Open { probe_at: now + self.pause };
                true
            }
        }
    }

    pub(super) fn succeeded(&mut self) -> Option<Turn> {
        let before = std::mem::replace(&mut self.state, State::Closed { failures: 0 });
        matches!(before, State::Open { .. }).then_some(Turn::Closed)
    }

    pub(super) fn failed(&mut self, now: Instant) -> Option<Turn> {
        let State::Closed { failures } = self.state else { return None };
        if failures + 1 < self.failures_max {
            self.state = State::Closed { failures: failures + 1 };
            return None;
        }
        self.state = State::Open { probe_at: now + self.pause };
        Some(Turn::Opened)
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    #[test]
    fn only_failures_in_a_row_open_it() {
        let (mut breaker, now) = (Breaker::new(3, PAUSE), Instant::now());
        for _ in 0..10 {
            assert_eq!((breaker.failed(now), breaker.failed(now), breaker.succeeded()), (None, None, None));
            assert!(breaker.admits(now));
        }
        assert_eq!([(); 3].map(|()| breaker.failed(now)), [None, None, Some(Turn::Opened)]);
        assert!(!breaker.admits(now));
        assert_eq!(breaker.failed(now), None, "calls that were under way tell nothing new");
    }

    #[test]
    fn an_open_one_lets_one_call_through_per_pause_until_one_succeeds() {
        let (mut breaker, now) = (Breaker::new(1, PAUSE), Instant::now());
        assert_eq!(breaker.failed(now), Some(Turn::Opened));
        for pauses in 1..4 {
            let then = now + PAUSE * pauses;
            assert!(!breaker.admits(then - Duration::from_nanos(1)));
            assert!(breaker.admits(then));
            assert!(!breaker.admits(then), "the probe is under way, or was dropped");
        }
        assert_eq!(breaker.succeeded(), Some(Turn::Closed));
        assert!(breaker.admits(now));
        assert!(!breaker.is_open());
    }
}
