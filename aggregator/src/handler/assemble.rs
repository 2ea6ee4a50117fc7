//! Takes records of the reply topics: verifies, then lets the rule decide, one transaction per batch.

use std::sync::{Arc, Mutex, PoisonError};

use plumbing::kafka::{Handler, KafkaError, Record, Verdict};
use schemas::batch::VerifiedRoots;
use schemas::codes::Code;
use schemas::ids::{BankId, Reference};
use schemas::registry::Registry;
use schemas::reply::{self, BadReply, Reply};
use schemas::time::UnixMillis;
use schemas::topics::Owner;

use super::write::After;
use super::{Hub, dead_letter, may_be_news, progress, retry};
use crate::domain::assembly::{Counted, Event, Said};
use crate::domain::figures::Remark;
use crate::domain::query::{Query, State};
use crate::metric_names;
use crate::store::{Remarked, Store, StoreResult, Tx};

/// Handles reply records.
pub struct Assembler<S> {
    hub: Arc<Hub<S>>,
    roots: Mutex<Roots>,
}

/// The cache of verified batch roots, and the generation of the registry that it was filled under.
struct Roots {
    generation: u64,
    verified: VerifiedRoots,
}

/// A record that is about a query.
struct About<'a> {
    index: usize,
    record: &'a Record,
    bank: BankId,
    reply: Result<Reply, BadReply>,
}

impl<S: Store> Assembler<S> {
    /// A handler on `hub`.
    pub fn new(hub: Arc<Hub<S>>) -> Self {
        Self { hub, roots: Mutex::new(Roots { generation: 0, verified: VerifiedRoots::default() }) }
    }

    async fn verify<'a>(&self, batch: &'a [Record]) -> Result<Vec<About<'a>>, KafkaError> {
        let mut verified = self.verify_now(batch);
        let news = |about: &About<'_>| about.reply.as_ref().is_err_and(|bad| may_be_news(bad.code));
        if verified.iter().any(news) {
            self.hub.registry.catch_up().await?;
            verified = self.verify_now(batch);
        }
        Ok(verified)
    }

    fn verify_now<'a>(&self, batch: &'a [Record]) -> Vec<About<'a>> {
        let registry = self.hub.registry.get();
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if roots.generation != registry.generation() {
            roots.generation = registry.generation();
            roots.verified.clear();
        }
        let owned = batch.iter().enumerate().filter_map(|(index, record)| {
            match self.hub.topics.owner(&record.position.topic) {
                Some(Owner::Reply(bank)) => Some((index, record, bank)),
                Some(Owner::Query(_) | Owner::Notice) | None => None,
            }
        });
        owned
            .map(|(index, record, bank)| {
                let reply = open(&bank, record, &registry, &mut roots.verified);
                About { index, record, bank, reply }
            })
            .collect()
    }

    /// One transaction: locks every query that the batch is about, in id order, and decides completeness itself.
    async fn write(
        &self,
        batch: &[Record],
        records: &[About<'_>],
        verdicts: &mut [Verdict],
    ) -> StoreResult<()> {
        let now = self.hub.store.now().await?;
        let mut tx = self.hub.store.begin().await?;
        let references = records.iter().filter_map(About::reference).cloned().collect();
        let mut queries = tx.lock(&references).await?;
        let mut after = After::default();
        let mut counted = Vec::new();
        for about in records {
            let known = about.reference().and_then(|reference| queries.remove(reference));
            let Some(query) = known else {
                verdicts[about.index] = dead_letter(about.code().unwrap_or(Code::QUERY_UNKNOWN));
                counted.push((about.bank.clone(), "refused"));
                tx.remark(about.remarked(Remark::Refused)).await?;
                continue;
            };
            let reference = query.reference.clone();
            let query = match about.event(&query) {
                Ok((event, segment)) => {
                    if let Event::Reply { said: Said::Invalid(code), .. } = &event {
                        verdicts[about.index] = dead_letter(*code);
                        counted.push((about.bank.clone(), "invalid"));
                    } else {
                        observe(about, &query);
                        counted.push((about.bank.clone(), "valid"));
                    }
                    let segment = segment.map(|segment| (&about.bank, segment));
                    let (query, more) = self.hub.apply(&mut tx, query, [event], segment, now).await?;
                    for remark in more.counted.iter().filter_map(|counted| remark(*counted)) {
                        tx.remark(about.remarked(remark)).await?;
                    }
                    after.extend(more);
                    query
                }
                Err(code) => {
                    verdicts[about.index] = dead_letter(code);
                    counted.push((about.bank.clone(), "refused"));
                    tx.remark(about.remarked(Remark::Refused)).await?;
                    query
                }
            };
            queries.insert(reference, query);
        }
        for ((topic, partition), progress) in progress(batch) {
            tx.progress(topic, partition, progress).await?;
        }
        tx.commit().await?;
        for (bank, outcome) in counted {
            count(&bank, outcome);
        }
        self.hub.settle(&after, now).await;
        Ok(())
    }
}

impl<S: Store> Handler for Assembler<S> {
    async fn handle(&self, batch: &[Record]) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::Done; batch.len()];
        let records = match self.verify(batch).await {
            Ok(records) => records,
            Err(error) => {
                tracing::warn!(%error, "registry not readable");
                return vec![retry("REGISTRY_UNAVAILABLE"); batch.len()];
            }
        };
        if let Err(error) = self.write(batch, &records, &mut verdicts).await {
            tracing::warn!(%error, "replies not taken");
            return vec![retry("STORE_UNAVAILABLE"); batch.len()];
        }
        for about in &records {
            if let Verdict::DeadLetter { code, .. } = verdicts[about.index] {
                tracing::warn!(position = %about.record.position, code, "reply refused");
            }
        }
        verdicts
    }
}

impl About<'_> {
    fn reference(&self) -> Option<&Reference> {
        match &self.reply {
            Ok(reply) => Some(&reply.reference),
            Err(bad) => bad.about.as_ref(),
        }
    }

    fn remarked(&self, remark: Remark) -> Remarked {
        Remarked {
            bank: self.bank.clone(),
            remark,
            at: self.record.position.clone(),
            appended_at: UnixMillis(self.record.append_time_ms),
        }
    }

    fn code(&self) -> Option<Code> {
        self.reply.as_ref().err().map(|bad| bad.code)
    }

    /// What this record says to `query`, and the segment to keep.
    fn event(&self, query: &Query) -> Result<(Event, Option<&bytes::Bytes>), Code> {
        let appended_at = UnixMillis(self.record.append_time_ms);
        let (said, segment) = match (&self.reply, &query.state) {
            (Err(bad), _) => (Said::Invalid(bad.code), None),
            (Ok(reply), State::Collecting(open)) => {
                let pair = open.pairs.get(&self.bank).ok_or(Code::BANK_NOT_ASKED)?;
                let expected = pair.expected(&query.report_key, &query.times);
                (Said::of(&self.reply, &expected, appended_at), Some(&reply.segment))
            }
            // The query has ended: the rule only counts what comes now.
            (
                Ok(reply),
                State::Held(_)
                | State::Final(_)
                | State::Withdrawn { .. }
                | State::Rejected(_)
                | State::Cancelled { .. }
                | State::Erased { .. },
            ) => (Said::word(reply), None),
        };
        let asked = match &query.state {
            State::Collecting(open) => open.pairs.contains_key(&self.bank),
            State::Final(report) => report.outcomes.contains_key(&self.bank),
            State::Withdrawn { .. } | State::Rejected(_) | State::Erased { .. } => true,
            State::Held(_) | State::Cancelled { .. } => false,
        };
        if !asked {
            return Err(self.code().unwrap_or(Code::BANK_NOT_ASKED));
        }
        let at = (self.record.position.partition, self.record.position.offset);
        Ok((Event::Reply { bank: self.bank.clone(), at, appended_at, said }, segment))
    }
}

fn open(
    bank: &BankId,
    record: &Record,
    registry: &Registry,
    roots: &mut VerifiedRoots,
) -> Result<Reply, BadReply> {
    let party = registry.bank(bank).ok_or(BadReply { code: Code::BANK_UNKNOWN, about: None })?;
    let key = record.key.as_deref().unwrap_or_default();
    reply::open(bank, key, record.value.clone(), party, UnixMillis(record.append_time_ms), roots)
}

/// What is remembered of a reply that changed nothing that a person sees.
fn remark(counted: Counted) -> Option<Remark> {
    match counted {
        Counted::Late => Some(Remark::Late),
        Counted::AfterEnd => Some(Remark::AfterEnd),
        Counted::Duplicate => Some(Remark::Duplicate),
        Counted::Conflict => Some(Remark::Conflict),
        Counted::Invalid => Some(Remark::Invalid),
        // Read again; said by the outcome of the report; said too late to matter.
        Counted::Replayed | Counted::RetryLater | Counted::Stale => None,
    }
}

fn count(bank: &BankId, outcome: &'static str) {
    metrics::counter!(metric_names::REPLIES, "bank" => bank.to_string(), "outcome" => outcome).increment(1);
}

fn observe(about: &About<'_>, query: &Query) {
    let took = UnixMillis(about.record.append_time_ms).since(query.times.accepted_at);
    metrics::histogram!(metric_names::BANK_REPLY, "bank" => about.bank.to_string())
        .record(took.as_secs_f64());
}
