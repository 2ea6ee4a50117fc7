//! Whether a source is known to be down, so that nobody queues for it.

use std::time::Duration;

/// Consecutive failures, and what follows from them. Times are counted from any fixed instant.
#[derive(Debug)]
pub struct Circuit {
    opens_at: u32,
    probe_every: Duration,
    failures: u32,
    last_try: Duration,
}

impl Circuit {
    /// Opens after `opens_at` failures in a row; lets one lookup through every `probe_every` while it is open.
    pub fn new(opens_at: u32, probe_every: Duration) -> Self {
        Self { opens_at: opens_at.max(1), probe_every, failures: 0, last_try: Duration::ZERO }
    }

    /// Whether a new lookup may try the source. While the circuit is open, the one that may is its probe.
    pub fn admits(&mut self, now: Duration) -> bool {
        let admitted = self.failures < self.opens_at || now.saturating_sub(self.last_try) >= self.probe_every;
        if admitted {
            self.last_try = self.last_try.max(now);
        }
        admitted
    }

    /// The source answered.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The source did not answer.
    pub fn failed(&mut self, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.last_try = self.last_try.max(now);
    }

    /// Whether the source is known to be down.
    pub fn is_open(&self) -> bool {
        self.failures >= self.opens_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn failures_in_a_row_open_it_one_probe_at_a_time_passes_and_a_success_closes_it() {
        let mut circuit = Circuit::new(2, s(10));
        circuit.failed(s(1));
        assert!(circuit.admits(s(1)) && !circuit.is_open());
        circuit.failed(s(2));
        assert!(circuit.is_open());
        assert!(!circuit.admits(s(3)) && !circuit.admits(s(11)));
        assert!(circuit.admits(s(12)), "a probe");
        assert!(!circuit.admits(s(12)), "only one");
        circuit.failed(s(13));
        assert!(!circuit.admits(s(22)));
        circuit.succeeded();
        assert!(circuit.admits(s(22)) && circuit.admits(s(22)));
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let mut circuit = Circuit::new(2, s(10));
        for _ in 0..5 {
            circuit.failed(s(1));
            circuit.succeeded();
        }
        assert!(!circuit.is_open());
    }
}
