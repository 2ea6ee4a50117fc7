//! Sends the one SMS of a query, in an order that survives a crash at any point.
//!
//! ```text
//! claim ─▶ SmsClaimed acknowledged ─▶ gateway ─▶ outcome recorded ─▶ outcome acknowledged ─▶ done
//!   │               │                    │                │
//!   └ nothing sent  └──── a claim whose lease ran out without an outcome: unknown, never sent again
//! ```
//!
//! What must never happen here: the gateway is called for a query whose claim the SMS topic does not have, or when the
//! lease may be over before it answers.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use plumbing::kafka::ProduceError;
use schemas::codes::Code;
use schemas::ids::Reference;
use tokio::time::{Instant, sleep};

use crate::domain::ledger::{Entry, Ledger};
use crate::domain::phone::Phone;
use crate::domain::sms::{self, Claimant, Outcome, Terms, Told};
use crate::domain::text::{Language, Message};
use crate::gateway::{Gateway, GatewayOutcome, OutgoingSms};
use crate::metric_names;
use crate::store::{Claim, Ended, Store, StoreError};

/// How long an outcome waits that the store did not take.
const RECORD_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// For how long a claim, or its return, is asked for again when the store does not answer. A claim whose answer is lost
/// for good holds up its SMS until the lease is over, and then nobody knows that nothing was sent.
const ASK_FOR: Duration = Duration::from_secs(5);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// What a lease must have left after the gateway's timeout, to record the outcome.
pub const RECORD_WITHIN: Duration = Duration::from_secs(5);
/// Findings at start that are told to the store at the same time.
const TOLD_AT_A_TIME: usize = 8;

/// The SMS topic.
pub trait SmsLog: Send + Sync + 'static {
    /// Writes `entry` of `attempt` and waits for its acknowledgement.
    fn append(
        &self,
        reference: &Reference,
        attempt: u32,
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
    /// The claim's lease would not outlast a call of the gateway.
    #[error("the claim took too long")]
    Late,
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
            NotNow::Late | NotNow::Log(_) => Code::KAFKA_UNAVAILABLE,
            NotNow::Store(_) => Code::INTERNAL,
        }
    }
}

/// What was found at start, of what the rows were not known to reflect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Queries whose SMS is over.
    pub ended: usize,
    /// How many of them were claims without an outcome, now `unknown`.
    pub unfinished: usize,
}

impl Found {
    fn and(self, other: Self) -> Self {
        Self { ended: self.ended + other.ended, unfinished: self.unfinished + other.unfinished }
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A call of the gateway that takes longer has an unknown outcome.
    pub gateway_timeout: Duration,
    /// How long a claim is its holder's alone. At least as long as the gateway's timeout, the acknowledgement before it
    /// and [`RECORD_WITHIN`] together.
    pub lease: Duration,
}

/// Sends.
pub struct Dispatch<S, L> {
    store: S,
    log: L,
    gateway: Arc<dyn Gateway>,
    limits: Limits,
}

impl<S: Store, L: SmsLog> Dispatch<S, L> {
    /// A sender.
    pub fn new(store: S, log: L, gateway: Arc<dyn Gateway>, limits: Limits) -> Self {
        Self { store, log, gateway, limits }
    }

    /// Tells the store what the SMS topic said at start, and writes down the claims that nobody will finish. A claim that
    /// another instance holds is left to it.
    ///
    /// # Errors
    /// When store or topic cannot be used; nothing may be sent then.
    pub async fn recover(&self, ledger: Ledger) -> Result<Found, NotNow> {
        stream::iter(ledger.close())
            .map(|(reference, told)| self.recover_one(reference, told))
            .buffer_unordered(TOLD_AT_A_TIME)
            .try_fold(Found::default(), async |found, one| Ok(found.and(one)))
            .await
    }

    async fn recover_one(&self, reference: Reference, told: Told) -> Result<Found, NotNow> {
        let open = told.outcome.is_none();
        let Some(ended) = self.store.told(&reference, told).await? else { return Ok(Found::default()) };
        let unfinished = open && !ended.announced;
        if unfinished {
            count(&ended.outcome);
        }
        self.announce(&reference, ended).await?;
        Ok(Found { ended: 1, unfinished: usize::from(unfinished) })
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
        // Before the store is asked: the lease ends later than this clock says.
        let asked = Instant::now();
        let attempt = match self.claim(reference).await? {
            Claim::Granted { attempt } => attempt,
            Claim::InProgress => return Err(NotNow::InProgress),
            Claim::Ended(ended) => return self.announce(reference, ended).await,
        };
        if let Err(error) = self.log.append(reference, attempt, &Entry::Claimed).await {
            return self.give_back(reference, attempt, error.into()).await;
        }
        if asked.elapsed() + self.limits.gateway_timeout + RECORD_WITHIN > self.limits.lease {
            return self.give_back(reference, attempt, NotNow::Late).await;
        }
        let outcome = match contact() {
            Ok(contact) => self.send(reference, message, contact).await,
            Err(code) => Outcome::Failed { code },
        };
        count(&outcome);
        let ended = self.record(reference, attempt, outcome).await.ok_or(NotNow::InProgress)?;
        self.announce(reference, ended).await
    }

    /// The answer to a claim can be lost after the claim was granted, so the same claimant asks again.
    async fn claim(&self, reference: &Reference) -> Result<Claim, StoreError> {
        let (idempotent, lease) = (self.gateway.idempotent(), self.limits.lease);
        let terms = Terms { claimant: Claimant::new(), idempotent, lease };
        persist(|| self.store.claim(reference, terms)).await
    }

    async fn give_back(&self, reference: &Reference, attempt: u32, why: NotNow) -> Result<(), NotNow> {
        persist(|| self.store.release(reference, attempt)).await?;
        Err(why)
    }

    async fn send(&self, reference: &Reference, message: Message, contact: Contact) -> Outcome {
        let Contact { to, language } = contact;
        let sms = OutgoingSms { out_id: sms::out_id(reference), to, language, message };
        match tokio::time::timeout(self.limits.gateway_timeout, self.gateway.send(&sms)).await {
            Ok(GatewayOutcome::Accepted { gateway_id }) => Outcome::Sent { gateway_id: Some(gateway_id) },
            Ok(GatewayOutcome::Refused { code }) => Outcome::Failed { code },
            Ok(GatewayOutcome::Unknown { code }) => Outcome::Unknown { code },
            Err(_) => Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN },
        }
    }

    /// What the gateway said is known here alone, so it is not given up. A store that stays away for long ends the
    /// consumer by its stall limit.
    async fn record(&self, reference: &Reference, attempt: u32, outcome: Outcome) -> Option<Ended> {
        loop {
            match self.store.record(reference, attempt, outcome.clone()).await {
                Ok(ended) => return ended,
                Err(error) => {
                    tracing::warn!(query = %reference, %error, "the outcome of an SMS is not recorded yet");
                    sleep(RECORD_AGAIN_AFTER).await;
                }
            }
        }
    }

    async fn announce(&self, reference: &Reference, ended: Ended) -> Result<(), NotNow> {
        let Ended { attempt, outcome, announced } = ended;
        if !announced {
            self.log.append(reference, attempt, &Entry::Ended(outcome.clone())).await?;
            self.store.announced(reference, &outcome).await?;
        }
        Ok(())
    }
}

/// Asks again while the store does not answer, for a limited time.
async fn persist<T, F>(ask: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let until = Instant::now() + ASK_FOR;
    loop {
        match ask().await {
            Err(_) if Instant::now() < until => sleep(ASK_AGAIN_AFTER).await,
            answer => return answer,
        }
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
