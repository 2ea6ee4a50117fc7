//! Where the rule meets its edges: what every handler of the hub shares.

mod ask;
mod assemble;
mod erase;
mod pausing;
mod reconcile;
mod refused;
mod register;
mod release;
mod sweep;
mod view;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plumbing::in_force::InForce;
use plumbing::kafka::{ErrorClass, Fold, KafkaError, Producer, Record, RecordReader, Verdict, Watermarks};
use schemas::codes::Code;
use schemas::ids::BankId;
use schemas::keys::SigningKey;
use schemas::registry::Registry;
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use tokio::sync::Notify;

pub(crate) use self::ask::out_record;
pub use self::assemble::Assembler;
pub use self::reconcile::{LostTail, ReconcileError, Reconciler};
pub use self::refused::Refused;
pub use self::register::Registrar;
pub use self::sweep::Sweeper;
use crate::domain::policy::Policy;
use crate::domain::subject::SubjectKey;
use crate::domain::window::Window;
use crate::first_line::FirstLine;
use crate::metric_names;
use crate::store::{Pause, Progress};

/// The hub's edges, shared by its handlers.
pub struct Hub<S> {
    /// What the hub remembers.
    pub store: S,
    /// Who takes part.
    pub registry: Fold<Registry>,
    /// Requests to banks.
    pub producer: Producer,
    /// Query records, when a bank is asked again.
    pub records: RecordReader,
    /// End offsets of reply topics.
    pub watermarks: Watermarks,
    /// The hub's signing key.
    pub key: SigningKey,
    /// The key that people are counted by.
    pub subjects: SubjectKey,
    /// What makes it faster.
    pub first_line: Arc<FirstLine>,
    /// Names of topics.
    pub topics: Topics,
    /// What is in force.
    pub policy: InForce<Policy>,
    /// Banks that the operator has paused, as this instance knows it.
    pub paused: InForce<BTreeMap<BankId, Pause>>,
    /// The times of queries.
    pub window: Window,
    /// Told when there are outbox rows.
    pub outbox: Arc<Notify>,
}

impl<S> Hub<S> {
    /// The same hub on another way to its store.
    pub(crate) fn on<T>(&self, store: T) -> Hub<T> {
        Hub {
            store,
            registry: self.registry.clone(),
            producer: self.producer.clone(),
            records: self.records.clone(),
            watermarks: self.watermarks.clone(),
            key: self.key.clone(),
            subjects: self.subjects.clone(),
            first_line: Arc::clone(&self.first_line),
            topics: self.topics.clone(),
            policy: self.policy.clone(),
            paused: self.paused.clone(),
            window: self.window.clone(),
            outbox: Arc::clone(&self.outbox),
        }
    }

    /// Makes series of what alerts look at, so that they see the first event: one that begins with it has not increased.
    pub(crate) fn count_from_zero(&self) {
        metrics::counter!(metric_names::DEADLINE_MISSED).increment(0);
        for (bank, _) in self.registry.get().banks() {
            let bank = bank.to_string();
            metrics::counter!(metric_names::REQUESTS, "bank" => bank.clone()).increment(0);
            metrics::counter!(metric_names::REPLIES, "bank" => bank, "outcome" => "valid").increment(0);
        }
    }

    /// Runs `check` on the registry; when it fails for a key or party that the registry does not list, or for
    /// what a party may do, reads the registry to its end first and runs it again: neither is a failure yet.
    pub(crate) async fn judged<T>(
        &self,
        check: impl Fn(&Registry) -> Result<T, Code>,
    ) -> Result<Result<T, Code>, KafkaError> {
        let verdict = check(&self.registry.get());
        if !verdict.as_ref().is_err_and(|code| may_be_news(*code)) {
            return Ok(verdict);
        }
        self.registry.catch_up().await?;
        Ok(check(&self.registry.get()))
    }
}

/// Whether a refusal may only mean that the registry was not read far enough.
fn may_be_news(code: Code) -> bool {
    matches!(
        code,
        Code::KEY_UNKNOWN
            | Code::UPSTREAM_UNKNOWN
            | Code::UPSTREAM_NOT_ACTIVE
            | Code::BANK_UNKNOWN
            | Code::BANK_NOT_ACTIVE
            | Code::BANK_NOT_IN_REGION
            | Code::PARTY_UNKNOWN
    )
}

/// How far a batch brings each partition: behind its last record, whatever became of that.
fn progress(batch: &[Record]) -> BTreeMap<(&str, i32), Progress> {
    // Lanes keep the order within a partition.
    batch
        .iter()
        .map(|record| {
            let progress = Progress {
                next_offset: record.position.offset + 1,
                append_time: UnixMillis(record.append_time_ms),
            };
            ((&*record.position.topic, record.position.partition), progress)
        })
        .collect()
}

fn retry(code: &'static str) -> Verdict {
    Verdict::Retry { after: Duration::from_secs(1), code }
}

fn dead_letter(code: Code) -> Verdict {
    let unreadable = matches!(code, Code::MESSAGE_MALFORMED | Code::MESSAGE_TOO_LARGE);
    let class = if unreadable { ErrorClass::Poison } else { ErrorClass::Rejected };
    Verdict::DeadLetter { code: code.as_str(), class }
}
