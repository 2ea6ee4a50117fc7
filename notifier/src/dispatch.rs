//! Sends the one SMS of a query, in an order that survives a crash at any point.
//!
//! ```text
//! claim ─▶ SmsClaimed acknowledged ─▶ gateway ─▶ outcome recorded ─▶ outcome acknowledged ─▶ done
//!   │               │                    │                │
//!   └ nothing sent  └──── found at start as a claim without outcome: unknown, never sent again
//! ```
//!
//! What must never happen here: the gateway is called for a query whose claim the SMS topic does not have.

use std::sync::Arc;
use std::time::Duration;

use plumbing::kafka::ProduceError;
use schemas::codes::Code;
use schemas::ids::Reference;

use crate::domain::ledger::{Entry, Finding, Ledger};
use crate::domain::phone::Phone;
use crate::domain::sms::{self, Outcome};
use crate::domain::text::{Language, Message};
use crate::gateway::{Gateway, GatewayOutcome, OutgoingSms};
use crate::metric_names;
use crate::store::{Claim, Ended, Store, StoreError};

/// How long an outcome waits that the store did not take.
const RECORD_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The SMS topic.
pub trait SmsLog: Send + Sync + 'static {
    /// Writes `entry` and waits for its acknowledgement.
    fn append(
        &self,
        reference: &Reference,
        entry: &Entry,
    ) -> impl Future<Output = Result<(), ProduceError>> + Send;
}

/// Where an SMS goes, once the seal is open.
#[derive(Debug)]
pub struct Contact {
    /// The number.
    pub to: Phone,
    /// Language of the text.
    pub language: Language,
}

/// The notice must come again.
#[derive(Debug, thiserror::Error)]
pub enum NotNow {
    /// Somebody else is at it.
    #[error("the SMS is being sent")]
    InProgress,
    /// The claim or the outcome is not in the SMS topic yet.
    #[error("the SMS topic did not acknowledge")]
    Log(#[from] ProduceError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NotNow {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            NotNow::InProgress => Code::GATEWAY_OUTCOME_UNKNOWN,
            NotNow::Log(_) => Code::KAFKA_UNAVAILABLE,
            NotNow::Store(_) => Code::INTERNAL,
        }
    }
}

/// What was found at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Queries whose SMS is over.
    pub ended: usize,
    /// How many of them were claims without an outcome, now `unknown`.
    pub unfinished: usize,
}

/// Sends.
pub struct Dispatch<S, L> {
    store: S,
    log: L,
    gateway: Arc<dyn Gateway>,
    gateway_timeout: Duration,
}

impl<S: Store, L: SmsLog> Dispatch<S, L> {
    /// A call of the gateway that takes longer than `gateway_timeout` has an unknown outcome.
    pub fn new(store: S, log: L, gateway: Arc<dyn Gateway>, gateway_timeout: Duration) -> Self {
        Self { store, log, gateway, gateway_timeout }
    }

    /// Restores the store from what the SMS topic said at start, and writes down the claims that nobody finished.
    ///
    /// # Errors
    /// When store or topic cannot be used; nothing may be sent then.
    pub async fn recover(&self, ledger: Ledger) -> Result<Found, NotNow> {
        let mut found = Found::default();
        for Finding { reference, outcome, announced } in ledger.close() {
            let ended = self.store.record(&reference, outcome.clone()).await?;
            if announced && ended.outcome == outcome {
                self.store.announced(&reference, &outcome).await?;
            } else {
                self.announce(&reference, ended).await?;
            }
            found.ended += 1;
            if !announced {
                found.unfinished += 1;
                count(&outcome);
            }
        }
        Ok(found)
    }

    /// Sees to it that the SMS of `reference` is over and that the SMS topic says so. `contact` opens the seal; it is
    /// called just before the gateway.
    ///
    /// # Errors
    /// When the notice must come again. That is safe at any time.
    pub async fn deliver(
        &self,
        reference: &Reference,
        message: Message,
        contact: impl FnOnce() -> Result<Contact, Code> + Send,
    ) -> Result<(), NotNow> {
        match self.store.claim(reference, self.gateway.idempotent()).await? {
            Claim::Granted => {}
            Claim::InProgress => return Err(NotNow::InProgress),
            Claim::Ended(ended) => return self.announce(reference, ended).await,
        }
        if let Err(error) = self.log.append(reference, &Entry::Claimed).await {
            self.store.release(reference).await?;
            return Err(error.into());
        }
        let outcome = match contact() {
            Ok(contact) => self.send(reference, message, contact).await,
            Err(code) => Outcome::Failed { code },
        };
        count(&outcome);
        let ended = self.record(reference, outcome).await;
        self.announce(reference, ended).await
    }

    async fn send(&self, reference: &Reference, message: Message, contact: Contact) -> Outcome {
        let Contact { to, language } = contact;
        let sms = OutgoingSms { out_id: sms::out_id(reference), to, language, message };
        match tokio::time::timeout(self.gateway_timeout, self.gateway.send(&sms)).await {
            Ok(GatewayOutcome::Accepted { gateway_id }) => Outcome::Sent { gateway_id: Some(gateway_id) },
            Ok(GatewayOutcome::Refused { code }) => Outcome::Failed { code },
            Ok(GatewayOutcome::Unknown { code }) => Outcome::Unknown { code },
            Err(_) => Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN },
        }
    }

    /// What the gateway said is known here alone, so it is not given up. A store that stays away for long ends the
    /// consumer by its stall limit.
    async fn record(&self, reference: &Reference, outcome: Outcome) -> Ended {
        loop {
            match self.store.record(reference, outcome.clone()).await {
                Ok(ended) => return ended,
                Err(error) => {
                    tracing::warn!(query = %reference, %error, "the outcome of an SMS is not recorded yet");
                    tokio::time::sleep(RECORD_AGAIN_AFTER).await;
                }
            }
        }
    }

    async fn announce(&self, reference: &Reference, ended: Ended) -> Result<(), NotNow> {
        let Ended { outcome, announced } = ended;
        if !announced {
            self.log.append(reference, &Entry::Ended(outcome.clone())).await?;
            self.store.announced(reference, &outcome).await?;
        }
        Ok(())
    }
}

fn count(outcome: &Outcome) {
    let outcome = match outcome {
        Outcome::Sent { .. } => "accepted",
        Outcome::Failed { .. } => "failed",
        Outcome::Unknown { .. } => "unknown",
    };
    metrics::counter!(metric_names::SMS, "outcome" => outcome).increment(1);
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
