//! Signs of life of a poll loop, for health checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError as ClientError;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaErrorCode;

/// A loop that is silent for this part of the stall limit is not ready any more; at the limit its process ends.
const UNREADY_PART: u32 = 4;

/// When a poll loop last turned.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    start: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), last_ms: Arc::default() }
    }

    pub(super) fn beat(&self, now: Instant) {
        self.last_ms.store(self.ms(now), Ordering::Relaxed);
    }

    pub(super) fn silence(&self) -> Duration {
        let last = self.last_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.ms(Instant::now()).saturating_sub(last))
    }

    /// Whether the loop turned within the stall limit.
    pub(super) fn live(&self, stall: Duration) -> Result<(), String> {
        within(self.silence(), stall)
    }

    /// Whether it turned recently.
    pub(super) fn ready(&self, stall: Duration) -> Result<(), String> {
        within(self.silence(), stall / UNREADY_PART)
    }

    fn ms(&self, now: Instant) -> u64 {
        u64::try_from(now.duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

fn within(silence: Duration, limit: Duration) -> Result<(), String> {
    if silence > limit { Err(format!("the poll loop has not turned for {silence:?}")) } else { Ok(()) }
}

/// Whether a client knows of a broker that it can talk to. A failure is told at once, a recovery by the next statistics.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    away: Arc<AtomicBool>,
}

impl Reach {
    pub(super) fn failed(&self, error: &ClientError) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.away.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn counted(&self, statistics: &Statistics) {
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            self.away.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn ready(&self) -> Result<(), String> {
        if self.away.load(Ordering::Relaxed) { Err("no broker can be reached".to_owned()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_loop_is_not_ready_before_it_is_not_live() {
        let pulse = Pulse::new();
        pulse.beat(Instant::now());
        let stall = Duration::from_millis(200);
        assert_eq!((pulse.ready(stall), pulse.live(stall)), (Ok(()), Ok(())));
        std::thread::sleep(stall / 2);
        assert!(pulse.ready(stall).is_err() && pulse.live(stall).is_ok());
        std::thread::sleep(stall);
        assert!(pulse.live(stall).is_err());
    }

    #[test]
    fn a_client_without_any_broker_is_not_ready_until_one_is_up_again() {
        let reach = Reach::default();
        assert_eq!(reach.ready(), Ok(()));
        reach.failed(&ClientError::Global(RDKafkaErrorCode::BrokerTransportFailure));
        assert_eq!(reach.ready(), Ok(()));
        reach.failed(&ClientError::Global(RDKafkaErrorCode::AllBrokersDown));
        assert!(reach.ready().is_err());
        let with = |state: &str| {
            let mut statistics = Statistics::default();
            let broker = rdkafka::statistics::Broker {
                state: state.to_owned(),
                ..rdkafka::statistics::Broker::default()
            };
            statistics.brokers.insert("b".to_owned(), broker);
            statistics
        };
        reach.counted(&with("CONNECT"));
        assert!(reach.ready().is_err());
        reach.counted(&with("UP"));
        assert_eq!(reach.ready(), Ok(()));
    }
}
