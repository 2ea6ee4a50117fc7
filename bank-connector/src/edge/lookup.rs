//! Asks the source: a bounded number at a time, briefly again when it is down, not at all when it is known to be down.
//!
//! What must never happen here: a request that waits longer than its share of the time left, because the offsets behind
//! it wait with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemas::ids::BankId;
use schemas::time::UnixMillis;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use crate::config::Limits;
use crate::domain::circuit::Circuit;
use crate::domain::found::Found;
use crate::domain::identity::Identity;
use crate::metric_names;
use crate::source::{CardSource, SourceError};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Share of the time left until `reply_by` that a source which is down may take.
const SHARE_OF_TIME_LEFT: u32 = 4;

/// What came of a lookup.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The source answered.
    Found(Found),
    /// It did not, in the time there is.
    NotNow,
    /// The service stops; the request is read again.
    Stopping,
}

/// The one way to the source.
pub(crate) struct Lookups {
    bank: BankId,
    source: Arc<dyn CardSource>,
    places: Semaphore,
    circuit: Mutex<Circuit>,
    started: Instant,
    patience: Duration,
    clock: Clock,
    shutdown: CancellationToken,
}

impl Lookups {
    pub(crate) fn new(
        bank: BankId,
        source: Arc<dyn CardSource>,
        limits: &Limits,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            bank,
            source,
            places: Semaphore::new(limits.lookups),
            circuit: Mutex::new(Circuit::new(limits.failures_until_down, limits.probe_every())),
            started: Instant::now(),
            patience: limits.patience(),
            clock,
            shutdown,
        }
    }

    /// Looks up, until `reply_by` draws near.
    pub(crate) async fn look_up(&self, identity: &Identity, reply_by: UnixMillis) -> Outcome {
        let left = reply_by.since((self.clock)()) / SHARE_OF_TIME_LEFT;
        let until = Instant::now() + left.min(self.patience);
        tokio::select! {
            () = self.shutdown.cancelled() => Outcome::Stopping,
            found = tokio::time::timeout_at(until, self.persist(identity)) => match found {
                Ok(Some(found)) => Outcome::Found(found),
                Ok(None) | Err(_) => Outcome::NotNow,
            },
        }
    }

    /// Tries until the source answers; `None` as soon as it is known to be down.
    async fn persist(&self, identity: &Identity) -> Option<Found> {
        let is_probe = {
            let mut circuit = self.circuit();
            let is_open = circuit.is_open();
            circuit.admits(self.started.elapsed()).then_some(is_open)?
        };
        let mut pause = FIRST_PAUSE;
        loop {
            // The semaphore is never closed.
            let place = self.places.acquire().await.ok()?;
            if !is_probe && self.circuit().is_open() {
                return None;
            }
            let mut attempt = Attempt { lookups: self, begun: Instant::now(), ended: false };
            let answer = self.source.look_up(identity).await;
            attempt.end(&answer);
            if answer.is_ok() || self.circuit().is_open() {
                return answer.ok();
            }
            // Who waits keeps nobody from the source.
            drop(place);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One attempt. Dropped before its end, because time is over, it counts as a failure: a source that hangs is down too.
struct Attempt<'a> {
    lookups: &'a Lookups,
    begun: Instant,
    ended: bool,
}

impl Attempt<'_> {
    fn end(&mut self, answer: &Result<Found, SourceError>) {
        self.ended = true;
        let Lookups { bank, started, .. } = self.lookups;
        match answer {
            Ok(found) => {
                self.lookups.circuit().succeeded();
                self.measure("answered");
                for defect in &found.defects {
                    metrics::counter!(
                        metric_names::SOURCE_DEFECTS, "bank" => bank.to_string(), "code" => defect.as_str()
                    )
                    .increment(1);
                }
            }
            Err(error) => {
                self.lookups.circuit().failed(started.elapsed());
                self.measure("failed");
                tracing::warn!(%bank, %error, "lookup failed");
            }
        }
    }

    fn measure(&self, outcome: &'static str) {
        let bank = self.lookups.bank.to_string();
        metrics::histogram!(metric_names::LOOKUP_SECONDS, "bank" => bank, "outcome" => outcome)
            .record(self.begun.elapsed());
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.ended && !self.lookups.shutdown.is_cancelled() {
            self.lookups.circuit().failed(self.lookups.started.elapsed());
            self.measure("failed");
        }
    }
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
