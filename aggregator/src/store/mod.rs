//! What the aggregator remembers.
//!
//! | file | role |
//! |---|---|
//! | `contract/` | what every store must do, as one suite |
//! | `log.rs` | the audit log |
//! | `memory.rs` | the executable specification |
//! | `postgres/` | the store that lasts, for any number of instances |
//!
//! A [`Tx`] is one transaction. Its functions decide nothing: the handler locks the queries of a batch in id order,
//! applies the pure rule, writes what came out, and commits. Two transactions never hold the same query.
//!
//! Every store passes [`contract`], with the same body.

pub mod contract;
mod log;
mod memory;
mod postgres;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use jiff::civil::Date;
use schemas::audit::Leaf;
use schemas::codes::Code;
use schemas::ids::{BankId, Digest, Nonce, Reference};
use schemas::time::UnixMillis;
use schemas::wire;

pub use self::log::{LogHead, LogLag, LogStore};
pub use self::memory::{Clock, MemoryStore, SystemClock};
pub use self::postgres::{DayKeyError, DayKeys, DaysError, PostgresStore, PostgresTx};
use crate::domain::asking::Asking;
use crate::domain::query::Query;
use crate::domain::refusals::{Hour, SubjectHour};
use crate::domain::subject::SubjectMac;

/// A store could not do what it was asked. The caller tries the same again later.
#[derive(Clone, Debug, thiserror::Error)]
#[error("store: {0}")]
pub struct StoreError(pub String);

impl StoreError {
    /// Another keeper has the log, or it is not as this one believes.
    pub(crate) fn log_lost() -> Self {
        Self("the audit log is not kept by this instance any more".to_owned())
    }
}

/// Result of every store function.
pub type StoreResult<T> = Result<T, StoreError>;

/// A query to be registered.
#[derive(Clone, Debug)]
pub struct NewQuery {
    /// The query in its first state.
    pub query: Query,
    /// Nonce of its consent; `None` for a rejected query, which uses up no consent.
    pub nonce: Option<Nonce>,
    /// The contact for the notice, sealed; `None` for a rejected query, and for a held one: its release brings another.
    pub contact: Option<SealedContact>,
}

/// The upstream's statement to the notifier and the contact sealed to it.
#[derive(Clone, Debug, PartialEq)]
pub struct SealedContact {
    /// As signed by the upstream.
    pub statement: wire::Signed,
    /// Encoded envelope.
    pub sealed: Bytes,
}

/// What a transaction will be about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Queries to be registered, released or withdrawn. Taking them keeps a registration and a withdrawal from passing each other
    /// unseen.
    pub consents: BTreeSet<Reference>,
    /// Other queries to be locked or marked.
    pub queries: BTreeSet<Reference>,
    /// Nonces that registrations and releases will bring.
    pub nonces: BTreeSet<Nonce>,
    /// People whose queries will be registered.
    pub subjects: BTreeSet<SubjectMac>,
}

/// What became of a registration.
#[derive(Clone, Debug, PartialEq)]
pub enum Registered {
    /// The row was written.
    New,
    /// A row with this id was there before; it is unchanged and locked.
    Known {
        /// What was registered.
        query: Box<Query>,
        /// Whether its banks were asked after it was registered.
        asked: bool,
    },
    /// Another query used this consent.
    NonceUsed,
    /// The day of its erasure lies behind the watermark. No row was written: no replay brings a query back.
    Erased,
}

/// One message to be produced. Rows hold ids: what is sealed is added as it is produced.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    /// The query.
    pub reference: Reference,
    /// What is told, and to whom.
    pub message: Outgoing,
}

/// What is told, and to whom.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// To the upstream.
    Event(wire::event_record::Message),
    /// To the notifier.
    Notice,
    /// To a bank: its request is void.
    Cancel(BankId),
}

impl Outgoing {
    /// Tells this message from the others that a query may cause: with the reference it derives the message id.
    pub fn kind(&self) -> String {
        use wire::event_record::Message;
        let event = match self {
            Self::Notice => return "notice".to_owned(),
            Self::Cancel(bank) => return format!("cancel/{bank}"),
            Self::Event(event) => event,
        };
        let name = match event {
            Message::Accepted(_) => "accepted",
            Message::Rejected(_) => "rejected",
            // A refused release is told as well.
            Message::Held(held) => return format!("event/held/{}/{}", held.code, held.release_from_ms),
            Message::Cancelled(_) => "cancelled",
            Message::ReportReady(_) => "report-ready",
            // A report may be viewed more than once.
            Message::Viewed(view) => return format!("event/viewed/{}", view.viewed_at_ms),
            Message::Withdrawn(_) => "withdrawn",
            Message::Erased(_) => "erased",
        };
        format!("event/{name}")
    }
}

/// A leased outbox row.
#[derive(Clone, Debug, PartialEq)]
pub struct LeasedRow {
    /// Names the row.
    pub id: u64,
    /// What to produce.
    pub row: OutboxRow,
}

/// How far a partition has been read, and the append time of the last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Offset of the next record.
    pub next_offset: i64,
    /// Append time of the record before it.
    pub append_time: UnixMillis,
}

/// A final report's content, as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportContent {
    /// The hub's signed coverage.
    pub coverage: wire::Signed,
    /// Encoded segments of the banks that closed their pair.
    pub segments: BTreeMap<BankId, Bytes>,
}

/// A day of which everything is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedDay {
    /// Which one.
    pub day: Date,
    /// Tables whose rows of that day are gone.
    pub tables: Vec<&'static str>,
    /// Names the key that those rows were wrapped under.
    pub key_id: Digest,
    /// Queries whose content it was.
    pub queries: u64,
    /// When the watermark reached it.
    pub closed_at: UnixMillis,
    /// When the rows were gone.
    pub dropped_at: UnixMillis,
    /// When the key was destroyed.
    pub key_destroyed_at: UnixMillis,
}

/// What became of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantUse {
    /// Used for the first time.
    First,
    /// The same grant was used before.
    Again,
    /// Another grant used this nonce.
    NonceUsed,
}

/// The aggregator's memory.
pub trait Store: LogStore + Send + Sync + 'static {
    /// One transaction.
    type Tx: Tx;

    /// Whether what was committed is there after a restart. Only then may offsets be committed to the broker; otherwise
    /// everything is rebuilt from the topics.
    const LASTS: bool;

    /// Begins a transaction. The future must be run to its end: a cancelled begin leaves an open
    /// transaction on a pooled connection (sqlx#4385).
    fn begin(&self) -> impl Future<Output = StoreResult<Self::Tx>> + Send;

    /// The store's clock: the one time by which deadlines are kept.
    fn now(&self) -> impl Future<Output = StoreResult<UnixMillis>> + Send;

    /// A query, without locking it.
    fn query(&self, reference: &Reference) -> impl Future<Output = StoreResult<Option<Query>>> + Send;

    /// Whether there is such a query, of this subject. It takes no lock, and the same work for another subject's query as
    /// for none: the time of the answer must not tell them apart.
    fn is_of(&self, reference: &Reference, subject: &str) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Collecting queries whose deadline is at or before `deadline`, oldest first.
    fn past_deadline(
        &self,
        deadline: UnixMillis,
        max: usize,
    ) -> impl Future<Output = StoreResult<Vec<Query>>> + Send;

    /// Held queries whose time for a release ended before `now`, the longest over first.
    fn past_hold(&self, now: UnixMillis, max: usize) -> impl Future<Output = StoreResult<Vec<Query>>> + Send;

    /// Open pairs whose `ask_again_at` is at or before `now`, grouped by query.
    fn due_to_ask(
        &self,
        now: UnixMillis,
        max: usize,
    ) -> impl Future<Output = StoreResult<BTreeMap<Reference, BTreeSet<BankId>>>> + Send;

    /// Progress of every partition of `topics` that was read.
    fn progress(
        &self,
        topics: &BTreeSet<String>,
    ) -> impl Future<Output = StoreResult<BTreeMap<(String, i32), Progress>>> + Send;

    /// The content of a final report; `None` when it is gone.
    fn report(
        &self,
        reference: &Reference,
    ) -> impl Future<Output = StoreResult<Option<ReportContent>>> + Send;

    /// The contact of a query; `None` when it is gone.
    fn contact(
        &self,
        reference: &Reference,
    ) -> impl Future<Output = StoreResult<Option<SealedContact>>> + Send;

    /// Forgets refused grants of the hours before `hour`.
    fn forget_refusals(&self, hour: Hour) -> impl Future<Output = StoreResult<()>> + Send;

    /// Forgets people without an open query whose last report, if there was one, became final before `before`.
    fn forget_askings(&self, before: UnixMillis) -> impl Future<Output = StoreResult<()>> + Send;

    /// Leases outbox rows: at most `max`, not leased by others, each only when no older row of its query waits.
    fn lease_outbox(
        &self,
        max: usize,
        lease: Duration,
    ) -> impl Future<Output = StoreResult<Vec<LeasedRow>>> + Send;

    /// Prolongs leases: from now on `lease`.
    fn outbox_renewed(&self, ids: &[u64], lease: Duration) -> impl Future<Output = StoreResult<()>> + Send;

    /// Deletes rows that were produced and acknowledged.
    fn outbox_published(&self, ids: &[u64]) -> impl Future<Output = StoreResult<()>> + Send;

    /// Gives rows back before their lease is over.
    fn outbox_released(&self, ids: &[u64]) -> impl Future<Output = StoreResult<()>> + Send;

    /// Puts a row aside that can never be produced; rows behind it go on.
    fn outbox_parked(&self, id: u64, code: &str) -> impl Future<Output = StoreResult<()>> + Send;

    /// Rows that wait or are leased, and rows that were put aside.
    fn outbox_depth(&self) -> impl Future<Output = StoreResult<(u64, u64)>> + Send;

    /// The audit leaves of a query, in no order that means anything.
    fn leaves(&self, reference: &Reference) -> impl Future<Output = StoreResult<Vec<Leaf>>> + Send;

    /// Moves the erase watermark to `day`, never back. When it returns, no transaction writes content of that day or of
    /// an earlier one, or registers a query of it, any more.
    fn erase_through(&self, day: Date) -> impl Future<Output = StoreResult<()>> + Send;

    /// Destroys content of every day up to the watermark, and what would open a copy of it. Steps that were taken before are
    /// not taken again; after an error the next call goes on.
    fn erase_content(&self) -> impl Future<Output = StoreResult<()>> + Send;

    /// Queries whose content is destroyed and that have not ended by it, at most `max`.
    fn to_erase(&self, max: usize) -> impl Future<Output = StoreResult<BTreeSet<Reference>>> + Send;

    /// Days of which everything is erased and that have no receipt. A store that does not last has none: what it erases is
    /// nowhere else.
    fn erased_days(&self) -> impl Future<Output = StoreResult<Vec<ErasedDay>>> + Send;

    /// Keeps the receipt of an erased day, for ever, and its audit leaf; the first one stays.
    fn keep_receipt(&self, day: Date, receipt: &wire::Signed)
    -> impl Future<Output = StoreResult<()>> + Send;

    /// The receipt of an erased day.
    fn receipt(&self, day: Date) -> impl Future<Output = StoreResult<Option<wire::Signed>>> + Send;

    /// Deletes at most `max` erased and rejected queries of days up to `through`, with their consents, nonces and grants, and
    /// returns how many. Their audit leaves stay.
    fn forget_queries(&self, through: Date, max: usize) -> impl Future<Output = StoreResult<usize>> + Send;

    /// Deletes at most `max` withdrawals from before `before` whose queries never came, and returns how many.
    fn forget_withdrawals(
        &self,
        before: UnixMillis,
        max: usize,
    ) -> impl Future<Output = StoreResult<usize>> + Send;
}

/// One transaction. Dropped without [`Tx::commit`] it changes nothing.
pub trait Tx: Send {
    /// Takes what this transaction is about, in id order, and reads what is known of it. What is not named here is taken
    /// when it is used, at the price of a question each; two transactions that take several queries that way can wait
    /// for each other.
    fn prepare(&mut self, plan: &Plan) -> impl Future<Output = StoreResult<()>> + Send;

    /// Locks these queries in id order, then reads them in a second statement: one statement reads the
    /// snapshot from before the lock was had. Missing ones are missing.
    fn lock(
        &mut self,
        references: &BTreeSet<Reference>,
    ) -> impl Future<Output = StoreResult<BTreeMap<Reference, Query>>> + Send;

    /// Registers a query. A withdrawal that arrived first is for the caller to look up with [`Tx::withdrawal`].
    fn register(&mut self, new: &NewQuery) -> impl Future<Output = StoreResult<Registered>> + Send;

    /// Whether a consent with this nonce was used.
    fn is_nonce_used(&mut self, nonce: Nonce) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Keeps the consent and the contact of a released query, after its new state was saved. The nonce must be one that
    /// [`Tx::is_nonce_used`] called unused.
    fn keep_release(
        &mut self,
        reference: &Reference,
        nonce: Nonce,
        contact: &SealedContact,
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// What is counted of this person. Taken, not only read: of two transactions that ask for the same person one waits
    /// for the end of the other.
    fn asking(&mut self, subject: SubjectMac) -> impl Future<Output = StoreResult<Asking>> + Send;

    /// Writes what is counted of a person that was taken.
    fn save_asking(
        &mut self,
        subject: SubjectMac,
        asking: &Asking,
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// As [`Asking::end`] for this person, who need not be taken before.
    fn end_asking(
        &mut self,
        subject: SubjectMac,
        query: &Reference,
        reported_at: Option<UnixMillis>,
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// Writes a locked query's new state, and what a release changes of it: record and times.
    fn save(&mut self, query: &Query) -> impl Future<Output = StoreResult<()>> + Send;

    /// Notes that the banks of these queries were asked.
    fn mark_asked(&mut self, references: &[Reference]) -> impl Future<Output = StoreResult<()>> + Send;

    /// Whether the banks of a locked query were asked.
    fn is_asked(&mut self, reference: &Reference) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Notes a withdrawal; `false` when it was noted before. Works before the query is there.
    fn withdraw(
        &mut self,
        reference: &Reference,
        at: UnixMillis,
    ) -> impl Future<Output = StoreResult<bool>> + Send;

    /// When a consent was withdrawn.
    fn withdrawal(
        &mut self,
        reference: &Reference,
    ) -> impl Future<Output = StoreResult<Option<UnixMillis>>> + Send;

    /// Keeps the segment of a closed pair. Content of an erased day is not kept: it is counted and gone.
    fn keep_segment(
        &mut self,
        reference: &Reference,
        bank: &BankId,
        segment: &Bytes,
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// The segments of closed pairs of a query that this transaction holds. Those of an erased day are missing.
    fn segments(
        &mut self,
        reference: &Reference,
        banks: &BTreeSet<BankId>,
    ) -> impl Future<Output = StoreResult<BTreeMap<BankId, Bytes>>> + Send;

    /// Keeps the signed coverage of a final report.
    fn keep_coverage(
        &mut self,
        reference: &Reference,
        coverage: &wire::Signed,
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// Deletes segments, coverage and contact.
    fn drop_content(&mut self, reference: &Reference) -> impl Future<Output = StoreResult<()>> + Send;

    /// Uses a grant: single use by nonce; `digest` tells the same grant shown again.
    fn use_grant(
        &mut self,
        reference: &Reference,
        nonce: Nonce,
        digest: Digest,
    ) -> impl Future<Output = StoreResult<GrantUse>> + Send;

    /// Different grants of this person that were refused in this hour.
    fn refused(&mut self, at: &SubjectHour) -> impl Future<Output = StoreResult<u32>> + Send;

    /// Notes that a grant was refused; a grant that was noted before is not counted again. Returns how many different
    /// ones there are now. Two transactions of one person and hour do this one after the other, to their ends: of
    /// many at once each gets a number of its own.
    fn refuse(&mut self, at: &SubjectHour, grant: Digest) -> impl Future<Output = StoreResult<u32>> + Send;

    /// Writes an audit leaf; one that is there already stays as it is.
    fn leaf(&mut self, leaf: Leaf) -> impl Future<Output = StoreResult<()>> + Send;

    /// Adds outbox rows.
    fn enqueue(&mut self, rows: Vec<OutboxRow>) -> impl Future<Output = StoreResult<()>> + Send;

    /// Notes how far a partition has been read. Progress only grows.
    fn progress(
        &mut self,
        topic: &str,
        partition: i32,
        progress: Progress,
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// Makes everything durable at once. After an error nobody knows whether it is: the caller does the whole step again,
    /// and what was durable is recognised by its ids.
    fn commit(self) -> impl Future<Output = StoreResult<()>> + Send;
}

impl From<StoreError> for Code {
    fn from(_: StoreError) -> Self {
        Code::INTERNAL
    }
}
