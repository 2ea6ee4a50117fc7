//! The breakers of one consumer, one per topic, shared by its lanes, its poll loop and its health check.
//!
//! ```text
//!  lanes ── verdicts ──▶ breakers ──▶ copy, only count, or hold
//!                           ├──▶ poll loop: which topics to pause
//!                           └──▶ health: which topic, why, what to do
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::breaker::{Breaker, BreakerConfig, Dead, Standing};
use super::handler::Verdict;
use super::record::Record;
use crate::metric_names;

/// What an open breaker does with records that would be dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenOpen {
    /// They and everything behind them wait: the topic is paused and the process is not ready. Nothing is lost.
    Pause,
    /// They are counted by position and not copied, and the topic goes on.
    Count,
}

impl WhenOpen {
    const fn outcome(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Count => "counted",
        }
    }
}

/// What is to be done with a record that the handler has judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// What its verdict says.
    Follow(Verdict),
    /// It is a dead letter that leaves no copy.
    CountOnly(&'static str),
    /// It is handed over again later.
    Hold,
}

/// The breakers of one consumer. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Breakers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: BreakerConfig,
    when_open: WhenOpen,
    topics: Mutex<BTreeMap<Arc<str>, Breaker>>,
    /// Whether one has ever opened: until then the poll loop need not look.
    tripped: AtomicBool,
}

impl Breakers {
    pub(super) fn new(limits: BreakerConfig, when_open: WhenOpen) -> Self {
        Self(Arc::new(Inner { limits, when_open, topics: Mutex::default(), tripped: AtomicBool::new(false) }))
    }

    /// Notes what became of `records`, in their order, and says what to do with each.
    pub(super) fn rule(&self, records: &[Record], verdicts: &[Verdict], now: Instant) -> Vec<Ruling> {
        let Inner { limits, when_open, .. } = &*self.0;
        let mut topics = self.topics();
        let rule = |(record, verdict): (&Record, &Verdict)| {
            let topic = &record.position.topic;
            let code = match *verdict {
                Verdict::Retry { .. } => return Ruling::Follow(*verdict),
                Verdict::Done => {
                    topics.entry(Arc::clone(topic)).or_default().finished(limits, now);
                    return Ruling::Follow(*verdict);
                }
                Verdict::DeadLetter { code, .. } => code,
            };
            match (topics.entry(Arc::clone(topic)).or_default().dead(limits, now), when_open) {
                (Dead::Admitted, _) => Ruling::Follow(*verdict),
                (Dead::Tripped(why), _) => {
                    self.0.tripped.store(true, Ordering::SeqCst);
                    metrics::counter!(
                        metric_names::DLQ_BREAKER_TRIPS, "code" => code, "outcome" => when_open.outcome()
                    )
                    .increment(1);
                    tracing::error!(%topic, %why, code, outcome = when_open.outcome(), "no more dead letters");
                    Ruling::Follow(*verdict)
                }
                (Dead::Barred(_), WhenOpen::Pause) => Ruling::Hold,
                (Dead::Barred(_), WhenOpen::Count) => Ruling::CountOnly(code),
            }
        };
        records.iter().zip(verdicts).map(rule).collect()
    }

    /// The topics that are paused now, and until when each.
    pub(super) fn holding(&self, now: Instant) -> BTreeMap<Arc<str>, Instant> {
        if self.0.when_open == WhenOpen::Count {
            return BTreeMap::new();
        }
        self.open(now)
    }

    /// Says how many are open.
    pub(super) fn tell(&self, now: Instant) {
        let open = u32::try_from(self.open(now).len()).unwrap_or(u32::MAX);
        metrics::gauge!(metric_names::DLQ_BREAKERS_OPEN, "outcome" => self.0.when_open.outcome()).set(open);
    }

    /// Whether no topic is paused, or on trial after it was.
    pub(super) fn ready(&self, now: Instant) -> Result<(), String> {
        if self.0.when_open == WhenOpen::Count {
            return Ok(());
        }
        let told: Vec<String> = self
            .topics()
            .iter()
            .filter_map(|(topic, breaker)| match breaker.standing(&self.0.limits, now) {
                Standing::Closed => None,
                Standing::Open { why, until } => {
                    let left = until.duration_since(now).as_secs() + 1;
                    Some(format!("{topic} is paused, {why}; tried again in {left} s"))
                }
                Standing::OnTrial { why } => Some(format!("{topic} is on trial after {why}")),
            })
            .collect();
        if told.is_empty() {
            return Ok(());
        }
        Err(format!("{} (see `cardquery dlq ls` and the runbook \"dead letters\")", told.join("; ")))
    }

    fn open(&self, now: Instant) -> BTreeMap<Arc<str>, Instant> {
        if !self.0.tripped.load(Ordering::SeqCst) {
            return BTreeMap::new();
        }
        let open = |(topic, breaker): (&Arc<str>, &Breaker)| match breaker.standing(&self.0.limits, now) {
            Standing::Open { until, .. } => Some((Arc::clone(topic), until)),
            Standing::OnTrial { .. } | Standing::Closed => None,
        };
        self.topics().iter().filter_map(open).collect()
    }

    fn topics(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Breaker>> {
        self.0.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kafka::{ErrorClass, Position};

    const LIMITS: BreakerConfig = BreakerConfig {
        window_seconds: 60,
        min_records: 100,
        max_ratio: 1.0,
        max_consecutive: 2,
        pause_seconds: 30,
    };
    const DEAD: Verdict = Verdict::DeadLetter { code: "CODE", class: ErrorClass::Rejected };

    fn records(topics: &[&str]) -> Vec<Record> {
        topics
            .iter()
            .map(|topic| Record {
                position: Position { topic: (*topic).into(), partition: 0, offset: 0 },
                append_time_ms: 0,
                key: None,
                value: Vec::new().into(),
                headers: Vec::new(),
            })
            .collect()
    }

    #[test]
    fn a_flood_in_one_topic_holds_that_topic_and_no_other() {
        let (breakers, now) = (Breakers::new(LIMITS, WhenOpen::Pause), Instant::now());
        assert_eq!(breakers.ready(now), Ok(()));
        let rulings = breakers.rule(&records(&["a", "a", "b", "a"]), &[DEAD; 4], now);
        let (copy, hold) = (Ruling::Follow(DEAD), Ruling::Hold);
        assert_eq!(rulings, [copy, copy, copy, hold]);
        assert_eq!(breakers.holding(now).into_keys().collect::<Vec<_>>(), ["a".into()]);
        let told = breakers.ready(now).expect_err("not ready");
        assert!(told.starts_with("a is paused, 2 dead letters in a row; tried again in 31 s"), "{told}");

        let later = now + Duration::from_secs(30);
        assert!(breakers.holding(later).is_empty());
        assert!(breakers.ready(later).expect_err("on trial").starts_with("a is on trial"));
        assert_eq!(breakers.ready(later + Duration::from_secs(60)), Ok(()));
    }

    #[test]
    fn where_nothing_may_be_paused_a_flood_is_counted_and_the_process_stays_ready() {
        let (breakers, now) = (Breakers::new(LIMITS, WhenOpen::Count), Instant::now());
        let rulings = breakers.rule(&records(&["a"; 4]), &[DEAD, DEAD, DEAD, Verdict::Done], now);
        let copy = Ruling::Follow(DEAD);
        assert_eq!(rulings, [copy, copy, Ruling::CountOnly("CODE"), Ruling::Follow(Verdict::Done)]);
        assert!(breakers.holding(now).is_empty());
        assert_eq!(breakers.ready(now), Ok(()));
    }

    #[test]
    fn a_record_that_is_tried_again_counts_for_nothing() {
        let (breakers, now) = (Breakers::new(LIMITS, WhenOpen::Pause), Instant::now());
        let retry = Verdict::Retry { after: Duration::ZERO, code: "LATER" };
        let rulings = breakers.rule(&records(&["a"; 3]), &[DEAD, retry, DEAD], now);
        assert_eq!(rulings.last(), Some(&Ruling::Follow(DEAD)));
        assert_eq!(breakers.holding(now).len(), 1, "two in a row, whatever is tried again between them");
    }
}
