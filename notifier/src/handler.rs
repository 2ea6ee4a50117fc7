//! Where a record of the notice topic becomes an SMS: verify, then dispatch. Nothing is claimed for a notice that does
//! not verify.

use std::time::Duration;

use futures::future::join_all;
use plumbing::kafka::{ErrorClass, Fold, Handler, KafkaError, Record, Verdict};
use schemas::codes::Code;
use schemas::ids::Reference;
use schemas::keys::OpeningKey;
use schemas::notice::{self, Notice};
use schemas::registry::Registry;
use schemas::time::UnixMillis;

use crate::dispatch::{Contact, Dispatch, Errand, SmsLog};
use crate::domain::phone::Phone;
use crate::domain::text::Message;
use crate::edge::now;
use crate::metric_names;
use crate::store::{NoticeAt, Store};

/// How long a notice waits that cannot be handled now.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long a notice waits that is sealed to a key of ours that is not here.
const KEY_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How old such a notice may get. Then its SMS fails: the notice topic keeps it for another day only.
const KEY_WITHIN: Duration = Duration::from_secs(24 * 3_600);

/// Handles notices.
pub struct Notices<S, L> {
    registry: Fold<Registry>,
    keys: Vec<OpeningKey>,
    dispatch: Dispatch<S, L>,
}

impl<S: Store, L: SmsLog> Notices<S, L> {
    /// `keys` open contacts, those that are no longer published included.
    pub fn new(registry: Fold<Registry>, keys: Vec<OpeningKey>, dispatch: Dispatch<S, L>) -> Self {
        Self { registry, keys, dispatch }
    }

    /// Who sends.
    pub(crate) fn dispatch(&self) -> &Dispatch<S, L> {
        &self.dispatch
    }

    /// Whether `record` is a notice of `reference`, before anything in it is believed.
    pub(crate) fn is_of(record: &Record, reference: &Reference) -> bool {
        record.key.as_deref() == Some(reference.query.to_string().as_bytes())
    }

    /// Verifies one notice and sends its SMS, if that is due.
    pub(crate) async fn one(&self, record: &Record) -> Verdict {
        let (notice, message) = match self.verified(record).await {
            Ok(Ok(verified)) => verified,
            Ok(Err(code)) => return refused(code),
            Err(error) => return unreadable_registry(record, &error),
        };
        let reference = &notice.header.reference;
        match self.key_is_missing(record, &notice).await {
            Ok(false) => {}
            Ok(true) => {
                metrics::counter!(metric_names::NOTICES_WITHOUT_KEY).increment(1);
                tracing::error!(
                    query = %reference,
                    position = %record.position,
                    "the contact is sealed to a key that the registry lists and opening_key_files does not"
                );
                return Verdict::Retry { after: KEY_AGAIN_AFTER, code: Code::KEY_UNKNOWN.as_str() };
            }
            Err(error) => return unreadable_registry(record, &error),
        }
        let errand = Errand {
            reference: reference.clone(),
            message,
            notice: NoticeAt { partition: record.position.partition, offset: record.position.offset },
            appended_at: UnixMillis(record.append_time_ms),
        };
        match self.dispatch.deliver(&errand, || self.contact(&notice)).await {
            Ok(()) => Verdict::Done,
            Err(not_now) => {
                tracing::warn!(query = %reference, position = %record.position, error = %not_now, "later");
                Verdict::Retry { after: AGAIN_AFTER, code: not_now.code().as_str() }
            }
        }
    }

    /// An unknown key is not yet a failure: the registry is read to its end first.
    async fn verified(&self, record: &Record) -> Result<Result<(Notice, Message), Code>, KafkaError> {
        let first = self.open(record);
        if !matches!(first, Err(Code::KEY_UNKNOWN | Code::PARTY_UNKNOWN | Code::UPSTREAM_UNKNOWN)) {
            return Ok(first);
        }
        self.registry.catch_up().await?;
        Ok(self.open(record))
    }

    fn open(&self, record: &Record) -> Result<(Notice, Message), Code> {
        let key = record.key.as_deref().unwrap_or_default();
        let appended_at = UnixMillis(record.append_time_ms);
        let notice = notice::open(key, record.value.clone(), &self.registry.get(), appended_at)?;
        let message = Message::of(&notice.header)?;
        Ok((notice, message))
    }

    /// Whether the contact is sealed to a key that this notifier ought to have, so that waiting for it makes sense. A key
    /// that the registry does not list, or lists as revoked, never comes.
    async fn key_is_missing(&self, record: &Record, notice: &Notice) -> Result<bool, KafkaError> {
        let appended_at = UnixMillis(record.append_time_ms);
        let Ok(recipient) = notice.recipient() else { return Ok(false) };
        if self.keys.iter().any(|key| key.id() == recipient) || now() >= appended_at + KEY_WITHIN {
            return Ok(false);
        }
        let listed = |registry: &Registry| {
            registry.notifier().is_ok_and(|notifier| notifier.seals_to(recipient, appended_at))
        };
        if !listed(&self.registry.get()) {
            self.registry.catch_up().await?;
        }
        Ok(listed(&self.registry.get()))
    }

    fn contact(&self, notice: &Notice) -> Result<Contact, Code> {
        let mut contact = notice.contact(&self.keys).map_err(|_| Code::CONTACT_UNREADABLE)?;
        let language = contact.language().into();
        // Taken, not copied, so that the only copy is the one that is wiped.
        let to = Phone::parse(std::mem::take(&mut contact.phone)).ok_or(Code::CONTACT_UNREADABLE)?;
        Ok(Contact { to, language })
    }
}

impl<S: Store, L: SmsLog> Handler for Notices<S, L> {
    async fn handle(&self, batch: &[Record]) -> Vec<Verdict> {
        join_all(batch.iter().map(|record| self.one(record))).await
    }
}

fn unreadable_registry(record: &Record, error: &KafkaError) -> Verdict {
    tracing::warn!(position = %record.position, %error, "the registry cannot be read");
    Verdict::Retry { after: AGAIN_AFTER, code: Code::KAFKA_UNAVAILABLE.as_str() }
}

fn refused(code: Code) -> Verdict {
    let class = if code == Code::MESSAGE_MALFORMED { ErrorClass::Poison } else { ErrorClass::Rejected };
    Verdict::DeadLetter { code: code.as_str(), class }
}
