//! Sends the one SMS of a query, in an order that survives a crash at any point.
//!
//! ```text
//! claim ─▶ SmsClaimed acknowledged ─▶ gateway ─▶ outcome recorded ─▶ outcome acknowledged ─▶ done
//!   │               │                    │                │
//!   └ nothing sent  └──── a claim whose lease ran out without an outcome: in doubt, the gateway is asked
//! ```
//!
//! What has to wait, for a better time or for the gateway's word, is a row with a due time, and no task: `sweep.rs` looks
//! after it.
//!
//! What must never happen here: the gateway is called for a query whose claim the SMS topic does not have, or when the
//! lease may be over before it answers.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use plumbing::kafka::ProduceError;
use plumbing::trace::{Kind, Span};
use schemas::codes::Code;
use schemas::ids::{MessageId, Reference};
use schemas::time::UnixMillis;
use tokio::time::{Instant, sleep};

use crate::domain::evidence::{Means, Said, Step};
use crate::domain::ledger::{Entry, Ledger};
use crate::domain::phone::Phone;
use crate::domain::phone_limit::{PhoneKey, PhoneLimit};
use crate::domain::quiet::QuietHours;
use crate::domain::sms::{self, Claimant, Event, Outcome, Terms, Told};
use crate::domain::text::{Language, Message};
use crate::gateway::{Gateway, GatewayOutcome, Inquired, OutgoingSms};
use crate::metric_names;
use crate::store::{Claim, Ended, NoticeAt, Standing, Store, StoreError};

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
/// How long after its notice an SMS is still worth sending. The notice topic keeps 48 h.
const WORTH_SENDING_FOR: Duration = Duration::from_secs(40 * 3_600);
/// How long an SMS waits that the gateway did not take. It doubles with every attempt ...
const TAKEN_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// ... up to this, also when the gateway wants to be left alone for longer.
const TAKEN_AGAIN_AT_LAST: Duration = Duration::from_secs(300);

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

/// What a notice asks for.
#[derive(Clone, Debug)]
pub struct Errand {
    /// Whose SMS.
    pub reference: Reference,
    /// What it says.
    pub message: Message,
    /// Where the notice stands.
    pub notice: NoticeAt,
    /// When it was appended.
    pub appended_at: UnixMillis,
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
    /// How long after an answer that leaves open whether an SMS was sent the gateway is asked for the first time. It
    /// doubles each time ...
    pub ask_after: Duration,
    /// ... up to two minutes, until this is over.
    pub ask_for: Duration,
}

/// The longest time between two questions about one SMS.
const ASK_AT_LAST: Duration = Duration::from_secs(120);

/// What protects a person from too many SMS.
#[derive(Clone, Debug, Default)]
pub struct Manners {
    /// When nothing is sent.
    pub quiet: Option<QuietHours>,
    /// How many a phone gets on a day, and the key by which phones are counted.
    pub per_phone: Option<(PhoneLimit, PhoneKey)>,
}

/// Sends.
pub struct Dispatch<S, L> {
    store: S,
    log: L,
    gateway: Arc<dyn Gateway>,
    limits: Limits,
    manners: Manners,
}

impl<S: Store, L: SmsLog> Dispatch<S, L> {
    /// A sender.
    pub fn new(store: S, log: L, gateway: Arc<dyn Gateway>, limits: Limits, manners: Manners) -> Self {
        Self { store, log, gateway, limits, manners }
    }

    /// Who may send.
    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// What can be done about an SMS that may have been sent.
    pub(crate) fn means(&self) -> Means {
        let Limits { ask_after, ask_for, .. } = self.limits;
        Means {
            idempotent: self.gateway.idempotent(),
            inquiries: self.gateway.inquiries().is_some(),
            first: ask_after,
            longest: ASK_AT_LAST,
            give_up: ask_for,
        }
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
        let ended = self.store.told(&reference, told, self.means()).await?;
        let Some(ended) = ended else { return Ok(Found::default()) };
        let unfinished = open && !ended.announced;
        self.announce(&reference, ended).await?;
        Ok(Found { ended: 1, unfinished: usize::from(unfinished) })
    }

    /// Sees to it that the SMS of `errand` is over and that the SMS topic says so, or that it waits for what is looked
    /// after. `contact` opens the seal; it is called just before the gateway.
    ///
    /// # Errors
    /// When the notice must come again. That is safe at any time.
    pub async fn deliver(
        &self,
        errand: &Errand,
        contact: impl FnOnce() -> Result<Contact, Code> + Send,
    ) -> Result<(), NotNow> {
        let Errand { reference, message, notice, appended_at } = errand;
        // Before the store is asked: the lease ends later than this clock says.
        let asked = Instant::now();
        let attempt = match self.claim(reference, *notice).await? {
            Claim::Granted { attempt } => attempt,
            Claim::InProgress => return Err(NotNow::InProgress),
            Claim::Waiting => return Ok(()),
            Claim::Ended(ended) => return self.announce(reference, ended).await,
        };
        if let Err(error) = self.log.append(reference, attempt, &Entry::Claimed).await {
            return self.give_back(reference, attempt, error.into()).await;
        }
        let contact = match contact() {
            Ok(contact) => match self.admitted(reference, &contact.to).await {
                Ok(true) => Ok(contact),
                Ok(false) => Err(Code::PHONE_LIMIT_REACHED),
                Err(error) => return self.give_back(reference, attempt, error.into()).await,
            },
            Err(code) => Err(code),
        };
        if asked.elapsed() + self.limits.gateway_timeout + RECORD_WITHIN > self.limits.lease {
            return self.give_back(reference, attempt, NotNow::Late).await;
        }
        let event = match contact {
            Ok(contact) => {
                let expires = *appended_at + WORTH_SENDING_FOR;
                self.event_of(attempt, expires, self.send(reference, *message, contact).await)
            }
            Err(code) => Event::GiveUp { attempt, code },
        };
        self.note(reference, event).await
    }

    /// Asks the gateway what became of an SMS that may have been sent, if it can be asked.
    ///
    /// # Errors
    /// When the answer is not written down as it should be.
    pub(crate) async fn inquire(&self, reference: &Reference, attempt: u32) -> Result<(), NotNow> {
        let Some(inquiries) = self.gateway.inquiries() else { return Ok(()) };
        let asked = inquiries.inquire(sms::out_id(reference));
        let answer = tokio::time::timeout(self.limits.gateway_timeout, asked).await;
        let event = match answer.unwrap_or(Inquired::Open(Said::Timeout)) {
            // The gateway tells of the out-id, which all attempts share.
            Inquired::Known(outcome) => Event::Receipt(outcome),
            Inquired::Open(said) => Event::Unsure { attempt, step: Step::Inquiry, said, means: self.means() },
        };
        metrics::counter!(metric_names::SMS_INQUIRIES).increment(1);
        self.note(reference, event).await
    }

    /// Takes the gateway's own word on what became of `out_id`; `false` when there is no such SMS.
    ///
    /// # Errors
    /// When it is not kept, or the SMS topic does not have it, so that it must come again.
    pub(crate) async fn receipt(&self, out_id: MessageId, outcome: Outcome) -> Result<bool, NotNow> {
        let Some(reference) = self.store.find(out_id).await? else { return Ok(false) };
        let standing = self.store.happened(&reference, Event::Receipt(outcome), None).await?;
        if let Some(ended) = standing.ended() {
            self.announce(&reference, ended).await?;
        }
        Ok(true)
    }

    /// Writes down what happened, and tells the SMS topic of an outcome.
    ///
    /// # Errors
    /// When the topic does not acknowledge, or another attempt is under way.
    pub(crate) async fn note(&self, reference: &Reference, event: Event) -> Result<(), NotNow> {
        match self.record(reference, event).await {
            Standing::Ended(ended) => self.announce(reference, ended).await,
            Standing::Waiting => Ok(()),
            Standing::Open | Standing::Claimed { .. } => Err(NotNow::InProgress),
        }
    }

    /// The answer to a claim can be lost after the claim was granted, so the same claimant asks again.
    async fn claim(&self, reference: &Reference, notice: NoticeAt) -> Result<Claim, StoreError> {
        let terms = Terms {
            claimant: Claimant::new(),
            means: self.means(),
            lease: self.limits.lease,
            quiet: self.manners.quiet.clone(),
        };
        persist(|| self.store.claim(reference, terms.clone(), Some(notice))).await
    }

    async fn admitted(&self, reference: &Reference, phone: &Phone) -> Result<bool, StoreError> {
        let Some((limit, key)) = &self.manners.per_phone else { return Ok(true) };
        let phone = key.mac(phone);
        persist(|| self.store.admit(reference, phone, limit)).await
    }

    async fn give_back(&self, reference: &Reference, attempt: u32, why: NotNow) -> Result<(), NotNow> {
        persist(|| self.store.release(reference, attempt)).await?;
        Err(why)
    }

    async fn send(&self, reference: &Reference, message: Message, contact: Contact) -> GatewayOutcome {
        let Contact { to, language } = contact;
        let sms = OutgoingSms { out_id: sms::out_id(reference), to, language, message };
        let _span = Span::of(Kind::Client, "send sms", &reference.query);
        tokio::time::timeout(self.limits.gateway_timeout, self.gateway.send(&sms))
            .await
            .unwrap_or(GatewayOutcome::Unknown { said: Said::Timeout })
    }

    fn event_of(&self, attempt: u32, expires: UnixMillis, answer: GatewayOutcome) -> Event {
        let means = self.means();
        match answer {
            GatewayOutcome::Accepted { gateway_id } => {
                Event::End { attempt, outcome: Outcome::Sent { gateway_id } }
            }
            GatewayOutcome::Refused { code } => Event::End { attempt, outcome: Outcome::Failed { code } },
            GatewayOutcome::NotTaken { retry_after } => {
                Event::Defer { attempt, wait: wait(attempt, retry_after), expires, means }
            }
            GatewayOutcome::Unknown { said } => Event::Unsure { attempt, step: Step::Send, said, means },
        }
    }

    /// What the gateway said is known here alone, so it is not given up. A store that stays away for long ends the
    /// consumer by its stall limit.
    async fn record(&self, reference: &Reference, event: Event) -> Standing {
        loop {
            match self.store.happened(reference, event.clone(), None).await {
                Ok(standing) => return standing,
                Err(error) => {
                    tracing::warn!(query = %reference, %error, "the outcome of an SMS is not recorded yet");
                    sleep(RECORD_AGAIN_AFTER).await;
                }
            }
        }
    }

    /// Tells the SMS topic of an outcome, if it does not have it.
    ///
    /// # Errors
    /// When the topic does not acknowledge.
    pub(crate) async fn announce(&self, reference: &Reference, ended: Ended) -> Result<(), NotNow> {
        let Ended { attempt, outcome, announced, evidence } = ended;
        if !announced {
            count(&outcome);
            if matches!(outcome, Outcome::Unknown { .. }) {
                tracing::warn!(query = %reference, %evidence, "nobody knows whether the SMS was sent");
            }
            self.log.append(reference, attempt, &Entry::Ended(outcome.clone())).await?;
            self.store.announced(reference, &outcome).await?;
        }
        Ok(())
    }
}

/// How long to wait after an attempt that the gateway did not take.
fn wait(attempt: u32, retry_after: Option<Duration>) -> Duration {
    let doublings = attempt.saturating_sub(1);
    let own = TAKEN_AGAIN_AFTER.saturating_mul(2_u32.saturating_pow(doublings));
    own.max(retry_after.unwrap_or_default()).min(TAKEN_AGAIN_AT_LAST)
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

/// Makes every outcome a series, so that an alert sees the first one.
pub(crate) fn count_from_zero() {
    for outcome in OUTCOMES {
        metrics::counter!(metric_names::SMS, "outcome" => outcome).increment(0);
    }
}

/// Labels of [`count`].
const OUTCOMES: [&str; 5] = ["accepted", "delivered", "undelivered", "failed", "unknown"];

fn count(outcome: &Outcome) {
    let outcome = match outcome {
        Outcome::Sent { .. } => "accepted",
        Outcome::Delivered => "delivered",
        Outcome::Undelivered => "undelivered",
        Outcome::Failed { .. } => "failed",
        Outcome::Unknown { .. } => "unknown",
    };
    metrics::counter!(metric_names::SMS, "outcome" => outcome).increment(1);
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
