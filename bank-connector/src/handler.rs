//! One record of the request topic, from verification to an acknowledged reply.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{self, TimeZone};
use plumbing::kafka::{Fold, Handler, Record, Verdict};
use schemas::codes::Code;
use schemas::ids::{BankId, Reference};
use schemas::keys::OpeningKey;
use schemas::registry::Registry;
use schemas::reply::{self, Unsigned, Word};
use schemas::request::{self, Accepted, Header, NotAccepted, Opened, Request, Unopened};
use schemas::time::UnixMillis;
use schemas::wire::{Identity as WireIdentity, Refusal};

use crate::domain::answer::{Looked, answer};
use crate::domain::cancelled::Cancelled;
use crate::domain::identity::Identity;
use crate::edge::clock::Clock;
use crate::edge::lookup::{Lookups, Outcome};
use crate::edge::replier::{Outbox, Sent};
use crate::metric_names;

/// A record whose reply has nowhere to go comes back; by then the consumer stops as well.
const STOPPING: Verdict = Verdict::Retry { after: Duration::from_secs(1), code: "STOPPING" };

/// What a bank does with requests.
pub(crate) struct Connector {
    pub(crate) bank: BankId,
    pub(crate) registry: Fold<Registry>,
    pub(crate) opening_keys: Vec<OpeningKey>,
    pub(crate) max_factor_age: Duration,
    pub(crate) offset: tz::Offset,
    pub(crate) lookups: Lookups,
    pub(crate) outbox: Outbox,
    pub(crate) cancelled: Mutex<Cancelled>,
    pub(crate) clock: Clock,
}

/// Why a record gets no reply.
#[derive(Clone, Copy, Debug)]
enum Silent {
    /// It needs none, or none may be given any more: the offset completes.
    Ignored(Code),
    /// The record was a cancellation.
    Noted,
    /// The service stops; the record is read again.
    Stopping,
}

impl Handler for Connector {
    async fn handle(&self, batch: &[Record]) -> Vec<Verdict> {
        join_all(batch.iter().map(|record| self.one(record))).await
    }
}

impl Connector {
    async fn one(&self, record: &Record) -> Verdict {
        match self.reply_to(record).await {
            Ok(()) | Err(Silent::Noted) => Verdict::Done,
            Err(Silent::Ignored(code)) => {
                self.count_code(metric_names::IGNORED, code);
                tracing::warn!(position = %record.position, %code, "request ignored");
                Verdict::Done
            }
            Err(Silent::Stopping) => STOPPING,
        }
    }

    async fn reply_to(&self, record: &Record) -> Result<(), Silent> {
        let (header, word) = match self.open(record).await? {
            Read::KeyNotKnown(header) => {
                self.check_wanted(&header)?;
                (header, Word::RetryLater)
            }
            Read::Request(request) => {
                self.check_wanted(&request.header)?;
                let word = self.word(record, &request).await?;
                (request.header, word)
            }
        };
        // Time has passed: what was wanted may no longer be.
        self.check_wanted(&header)?;
        let outcome = outcome_of(&word);
        match self.outbox.send(&header, Unsigned::new(&header, word)).await {
            Some(Sent::Acknowledged) => {
                let bank = self.bank.to_string();
                metrics::counter!(metric_names::REQUESTS, "bank" => bank, "outcome" => outcome).increment(1);
                tracing::debug!(position = %record.position, outcome, "replied");
                Ok(())
            }
            Some(Sent::TooLate) => Err(Silent::Ignored(Code::REPLY_BY_PASSED)),
            None => Err(Silent::Stopping),
        }
    }

    /// Verifies the hub's word. An unknown key is not yet a failure: the registry is read to its end first.
    async fn open(&self, record: &Record) -> Result<Read, Silent> {
        match self.open_with(&self.registry.get(), record) {
            // A cancellation comes once: nobody sends it again when its key was not read yet.
            Ok(Read::KeyNotKnown(_)) | Err(Silent::Ignored(Code::KEY_UNKNOWN | Code::PARTY_UNKNOWN)) => {
                self.catch_up().await;
                self.open_with(&self.registry.get(), record)
            }
            decided => decided,
        }
    }

    fn open_with(&self, registry: &Registry, record: &Record) -> Result<Read, Silent> {
        // Without any entry of the hub nothing can be verified; the hub asks again whoever is never heard.
        let hub = registry.hub().map_err(Silent::Ignored)?;
        let appended_at = UnixMillis(record.append_time_ms);
        match request::open(&self.bank, record.value.clone(), hub, appended_at) {
            Ok(Opened::Request(request)) => Ok(Read::Request(Box::new(request))),
            Ok(Opened::Cancelled(reference)) => {
                self.cancelled().insert(reference);
                metrics::counter!(metric_names::CANCELLATIONS, "bank" => self.bank.to_string()).increment(1);
                Err(Silent::Noted)
            }
            Err(Unopened::Bad(code)) => Err(Silent::Ignored(code)),
            Err(Unopened::KeyNotKnownYet(header)) => Ok(Read::KeyNotKnown(header)),
        }
    }

    /// What the bank says to a request that is the hub's word.
    async fn word(&self, record: &Record, request: &Request) -> Result<Word, Silent> {
        let accepted = match self.accept(request).await {
            Ok(accepted) => accepted,
            Err(NotAccepted::KeyNotKnownYet) => return Ok(Word::RetryLater),
            Err(NotAccepted::Refused(refusal, code)) => return Ok(self.refuse(record, refusal, code)),
        };
        let Accepted { query, identity } = accepted;
        let Some(identity) = usable(identity) else {
            return Ok(self.refuse(record, Refusal::IdentityUnreadable, Code::FIELD_INVALID));
        };
        let found = match self.lookups.look_up(&identity, request.header.reply_by).await {
            Outcome::Found(found) => found,
            Outcome::NotNow => return Ok(Word::RetryLater),
            Outcome::Stopping => return Err(Silent::Stopping),
        };
        let at = (self.clock)();
        let answer = answer(&identity, &found, Looked { at, today: self.local_day(at) });
        match reply::seal_answer(&query, request.header.statement_sha256, &answer) {
            Ok(sealed) => Ok(Word::answered(&query.terms.report_key, sealed)),
            // A report key that yields no shared secret was signed for by the upstream like that.
            Err(code) => Ok(self.refuse(record, Refusal::StatementInvalid, code)),
        }
    }

    async fn accept(&self, request: &Request) -> Result<Accepted, NotAccepted> {
        let accept = |registry: &Registry| request.accept(registry, &self.opening_keys, self.max_factor_age);
        match accept(&self.registry.get()) {
            // A refusal is final: an upstream that is back must not be refused because its entry was not read yet.
            Err(NotAccepted::KeyNotKnownYet | NotAccepted::Refused(_, Code::UPSTREAM_NOT_ACTIVE)) => {
                self.catch_up().await;
                accept(&self.registry.get())
            }
            decided => decided,
        }
    }

    async fn catch_up(&self) {
        if let Err(error) = self.registry.catch_up().await {
            tracing::warn!(%error, "the registry cannot be read to its end");
        }
    }

    fn refuse(&self, record: &Record, refusal: Refusal, code: Code) -> Word {
        self.count_code(metric_names::REFUSED, code);
        tracing::warn!(position = %record.position, %code, refusal = refusal.as_str_name(), "request refused");
        Word::Refused(refusal)
    }

    /// Whether a reply is still of use to anybody.
    fn check_wanted(&self, header: &Header) -> Result<(), Silent> {
        if (self.clock)() > header.reply_by {
            return Err(Silent::Ignored(Code::REPLY_BY_PASSED));
        }
        let is_void = |reference: &Reference| self.cancelled().contains(reference);
        if is_void(&header.reference) { Err(Silent::Ignored(Code::QUERY_WITHDRAWN)) } else { Ok(()) }
    }

    fn cancelled(&self) -> MutexGuard<'_, Cancelled> {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn local_day(&self, at: UnixMillis) -> Date {
        let at = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::MAX);
        at.to_zoned(TimeZone::fixed(self.offset)).date()
    }

    fn count_code(&self, name: &'static str, code: Code) {
        metrics::counter!(name, "bank" => self.bank.to_string(), "code" => code.as_str()).increment(1);
    }
}

/// A record that is the hub's word, or would be if its key were known.
enum Read {
    Request(Box<Request>),
    KeyNotKnown(Header),
}

/// The identity, unless no person can have it: then the upstream signed for something unreadable.
fn usable(identity: WireIdentity) -> Option<Identity> {
    Identity::from_wire(identity).ok()
}

fn outcome_of(word: &Word) -> &'static str {
    match word {
        Word::Answered { .. } => "ANSWERED",
        Word::Refused(_) => "REFUSED",
        Word::RetryLater => "RETRY_LATER",
    }
}
