//! Takes records of the query topics: registers, asks, withdraws; releases stand in `release.rs`.
//!
//! Registration is committed before anybody is asked, so a reply to an unknown query is an error and never a race.
//! After a crash in between, the record is read again: the query is there, not yet marked as asked, and is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use plumbing::kafka::{Handler, KafkaError, Position, Record, Verdict};
use prost::Message as _;
use schemas::codes::Code;
use schemas::ids::{BankId, Digest, Reference, UpstreamId};
use schemas::registry::Registry;
use schemas::rules;
use schemas::submission::{self, Submission};
use schemas::time::UnixMillis;
use schemas::topics::Owner;
use schemas::wire::{self, event_record, query_record};

use super::write::{After, accepted, held, withdrawn};
use super::{Hub, dead_letter, progress, retry};
use crate::domain::asking::Asking;
use crate::domain::assembly::Event;
use crate::domain::audit;
use crate::domain::hold::Held;
use crate::domain::query::{Collecting, Pair, Query, State};
use crate::domain::risk::Decision;
use crate::domain::subject::SubjectMac;
use crate::metric_names;
use crate::store::{NewQuery, OutboxRow, Outgoing, Plan, Registered, SealedContact, Store, StoreResult, Tx};

/// Handles query records.
pub struct Registrar<S> {
    pub(super) hub: Arc<Hub<S>>,
    /// Queries whose banks were asked, to be noted with the next batch.
    asked: Mutex<Vec<Reference>>,
}

/// A record that passed its checks.
enum Checked {
    Submission(Box<Submission>, Judged),
    /// With the digest that it says it releases.
    Release(Box<Submission>, Digest, Judged),
    Revocation(Reference),
}

/// What the gates say of a query at its append time, and the risk table if they are open.
pub(super) type Judged = Result<Decision, Code>;

/// What is left to do for a record after the commit.
pub(super) enum Left {
    Nothing,
    Ask(Box<ToAsk>),
    /// The record takes no id.
    DeadLetter(Code),
}

impl From<Option<ToAsk>> for Left {
    fn from(ask: Option<ToAsk>) -> Self {
        ask.map_or(Self::Nothing, |ask| Self::Ask(Box::new(ask)))
    }
}

/// Banks to be asked.
pub(super) struct ToAsk {
    pub(super) query: Query,
    pub(super) asks: Vec<(BankId, u32)>,
    pub(super) submission: Box<Submission>,
}

impl<S: Store> Registrar<S> {
    /// A handler on `hub`.
    pub fn new(hub: Arc<Hub<S>>) -> Self {
        Self { hub, asked: Mutex::default() }
    }

    /// Registers without asking: how the store in memory is rebuilt before anything else runs.
    ///
    /// # Errors
    /// When the broker or the store does not answer.
    pub async fn rebuild(&self, record: &Record) -> Result<(), KafkaError> {
        match self.check(record).await? {
            Ok(checked) => {
                let batch = std::slice::from_ref(record);
                self.write(batch, vec![(record, checked)]).await.map(|_| ()).map_err(|_| KafkaError::Stopped)
            }
            Err(_) => Ok(()),
        }
    }

    async fn check(&self, record: &Record) -> Result<Result<Checked, Code>, KafkaError> {
        let Some(Owner::Query(upstream)) = self.hub.topics.owner(&record.position.topic) else {
            return Ok(Err(Code::WRONG_TOPIC));
        };
        let Ok(message) = wire::QueryRecord::decode(record.value.clone()) else {
            return Ok(Err(Code::MESSAGE_MALFORMED));
        };
        match message.message {
            Some(query_record::Message::Submitted(submitted)) => {
                let submission = match self.opened(&upstream, record, &submitted).await? {
                    // Signed to release a held query, and not to be a query of its own.
                    Ok(submission) if submission.query.releases.is_some() => return Ok(Err(Code::NOT_HELD)),
                    Ok(submission) => submission,
                    Err(code) => return Ok(Err(code)),
                };
                let judged = self.judge(record, &submission).await?;
                Ok(Ok(Checked::Submission(Box::new(submission), judged)))
            }
            Some(query_record::Message::Released(released)) => {
                let Some(submitted) = released.submission else { return Ok(Err(Code::MESSAGE_MALFORMED)) };
                let submission = match self.opened(&upstream, record, &submitted).await? {
                    Ok(submission) => submission,
                    Err(code) => return Ok(Err(code)),
                };
                // Signed to be a query of its own.
                let Some(releases) = submission.query.releases else { return Ok(Err(Code::NOT_HELD)) };
                let judged = self.judge(record, &submission).await?;
                Ok(Ok(Checked::Release(Box::new(submission), releases, judged)))
            }
            Some(query_record::Message::Revoked(revoked)) => self.revoked(&upstream, record, &revoked).await,
            None => Ok(Err(Code::MESSAGE_MALFORMED)),
        }
    }

    async fn opened(
        &self,
        upstream: &UpstreamId,
        record: &Record,
        submitted: &wire::QuerySubmitted,
    ) -> Result<Result<Submission, Code>, KafkaError> {
        let (key, at) = (record.key.as_deref().unwrap_or_default(), UnixMillis(record.append_time_ms));
        let open = |registry: &Registry| {
            let party = registry.upstream(upstream).ok_or(Code::UPSTREAM_UNKNOWN)?;
            submission::open(upstream, key, submitted, party, at)
        };
        self.hub.judged(open).await
    }

    async fn judge(&self, record: &Record, submission: &Submission) -> Result<Judged, KafkaError> {
        let (policy, at) = (self.hub.policy.get(), UnixMillis(record.append_time_ms));
        let gates = |registry: &_| rules::check_query(&submission.query, &policy.gates, registry, at);
        let word = &submission.query;
        let admitted = || policy.cohorts.check(&word.region, self.subject(submission));
        let gates = self.hub.judged(gates).await?.and_then(|()| admitted());
        Ok(gates.map(|()| policy.risk.decide(&word.risk)))
    }

    async fn revoked(
        &self,
        upstream: &UpstreamId,
        record: &Record,
        revoked: &wire::ConsentRevoked,
    ) -> Result<Result<Checked, Code>, KafkaError> {
        let (key, at) = (record.key.as_deref().unwrap_or_default(), UnixMillis(record.append_time_ms));
        let opened = self.hub.judged(|registry| {
            let party = registry.upstream(upstream).ok_or(Code::UPSTREAM_UNKNOWN)?;
            submission::open_revocation(upstream, key, revoked, party, at)
        });
        Ok(opened.await?.map(Checked::Revocation))
    }

    /// One transaction for the batch, of which `records` passed their checks; returns what is left to ask, per record.
    async fn write(&self, batch: &[Record], records: Vec<(&Record, Checked)>) -> StoreResult<Vec<Left>> {
        let noted: Vec<Reference> = self.asked().clone();
        let now = self.hub.store.now().await?;
        let mut tx = self.hub.store.begin().await?;
        tx.prepare(&self.plan(&noted, &records)).await?;
        tx.mark_asked(&noted).await?;
        let mut left = Vec::with_capacity(records.len());
        let mut after = After::default();
        for (record, checked) in records {
            left.push(match checked {
                Checked::Submission(submission, judged) => {
                    self.register(&mut tx, record, submission, judged, now).await?.into()
                }
                Checked::Release(submission, releases, judged) => {
                    let release = self.release(&mut tx, record, submission, releases, judged, now);
                    let (left, more) = release.await?;
                    after.extend(more);
                    left
                }
                Checked::Revocation(reference) => {
                    let at = UnixMillis(record.append_time_ms);
                    after.extend(self.withdraw(&mut tx, &reference, at).await?);
                    Left::Nothing
                }
            });
        }
        for ((topic, partition), progress) in progress(batch) {
            tx.progress(topic, partition, progress).await?;
        }
        tx.commit().await?;
        self.asked().retain(|reference| !noted.contains(reference));
        self.hub.outbox.notify_one();
        self.hub.settle(&after, now).await;
        Ok(left)
    }

    async fn register<T: Tx>(
        &self,
        tx: &mut T,
        record: &Record,
        submission: Box<Submission>,
        judged: Judged,
        now: UnixMillis,
    ) -> StoreResult<Option<ToAsk>> {
        let word = &submission.query;
        let times = self.hub.window.times(UnixMillis(record.append_time_ms));
        if self.hub.window.is_erased(&times, now) {
            // No replay brings a query back: no row, no event.
            count("REPORT_ERASED");
            return Ok(None);
        }
        let state = match self.may_ask(tx, &submission, judged, times.accepted_at).await? {
            Ok(Decision::Allow | Decision::Warn) => {
                State::Collecting(open_pairs(&submission, now, times.reply_by))
            }
            Ok(Decision::Hold) => {
                let banks = u32::try_from(submission.banks.len()).unwrap_or(u32::MAX);
                State::Held(Held::new(times.accepted_at, &self.hub.policy.get().hold, banks))
            }
            Err(code) => State::Rejected(code),
        };
        let query = Query {
            reference: word.reference.clone(),
            subject: word.subject.clone(),
            content_digest: word.content_digest(),
            report_key: word.terms.report_key.id(),
            record: record.position.clone(),
            times,
            state,
        };
        let contact = SealedContact {
            statement: submission.contact.statement.clone(),
            sealed: submission.contact.sealed_contact.clone(),
        };
        let new = NewQuery {
            nonce: query.is_open().then_some(word.terms.nonce),
            contact: matches!(query.state, State::Collecting(_)).then_some(contact),
            query,
        };
        match tx.register(&new).await? {
            Registered::New => {
                if let (true, Ok(decision)) = (new.query.is_open(), judged) {
                    self.audit_decision(tx, &new.query.record, &submission, decision).await?;
                }
                self.registered(tx, new.query, submission, now).await
            }
            Registered::Known { query, asked } => {
                // The same query sent again is sealed anew: its statements are not those that replies must name.
                if query.record == record.position && !asked {
                    return Ok(ask_once_more(*query, submission, now));
                }
                let same = query.content_digest == new.query.content_digest;
                count(if same { "DUPLICATE_QUERY" } else { "ID_REUSED" });
                Ok(None)
            }
            Registered::Erased => {
                count("REPORT_ERASED");
                Ok(None)
            }
            Registered::NonceUsed => {
                let rejected = Query { state: State::Rejected(Code::CONSENT_ALREADY_USED), ..new.query };
                tx.register(&NewQuery { query: rejected.clone(), nonce: None, contact: None }).await?;
                self.registered(tx, rejected, submission, now).await
            }
        }
    }

    /// `judged`, unless this person may not ask now. What is known already is not judged again.
    async fn may_ask<T: Tx>(
        &self,
        tx: &mut T,
        submission: &Submission,
        judged: Judged,
        at: UnixMillis,
    ) -> StoreResult<Judged> {
        let reference = &submission.query.reference;
        if judged.is_err() || !tx.lock(&BTreeSet::from([reference.clone()])).await?.is_empty() {
            return Ok(judged);
        }
        let asking = tx.asking(self.subject(submission)).await?;
        let limits = &self.hub.policy.get().asking;
        Ok(asking.check(reference, at, limits).and(judged))
    }

    /// Leaves behind what the risk table decided.
    pub(super) async fn audit_decision<T: Tx>(
        &self,
        tx: &mut T,
        at: &Position,
        submission: &Submission,
        decision: Decision,
    ) -> StoreResult<()> {
        metrics::counter!(metric_names::RISK, "decision" => decision.as_str()).increment(1);
        let query = &submission.query;
        tx.leaf(audit::risk(&query.reference, at, &query.risk, decision)).await
    }

    fn subject(&self, submission: &Submission) -> SubjectMac {
        let query = &submission.query;
        self.hub.subjects.mac(&query.reference.upstream, &query.subject)
    }

    /// Tells the upstream, and applies a withdrawal that came first.
    async fn registered<T: Tx>(
        &self,
        tx: &mut T,
        mut query: Query,
        submission: Box<Submission>,
        now: UnixMillis,
    ) -> StoreResult<Option<ToAsk>> {
        let tell =
            |message| OutboxRow { reference: query.reference.clone(), message: Outgoing::Event(message) };
        if let State::Rejected(code) = &query.state {
            count(code.as_str());
            tracing::info!(query_id = %query.reference.query, code = %code, "query rejected");
            let rejected = wire::QueryRejected { code: code.to_string() };
            tx.enqueue(vec![tell(event_record::Message::Rejected(rejected))]).await?;
            tx.leaf(audit::rejected(&query, *code)).await?;
            return Ok(None);
        }
        match &query.state {
            State::Held(held) => tx.leaf(audit::held(&query, held)).await?,
            State::Collecting(_)
            | State::Final(_)
            | State::Withdrawn { .. }
            | State::Rejected(_)
            | State::Cancelled { .. }
            | State::Erased { .. } => tx.leaf(audit::registered(&query)).await?,
        }
        if let Some(at) = tx.withdrawal(&query.reference).await? {
            count(Code::QUERY_WITHDRAWN.as_str());
            tx.enqueue(vec![tell(withdrawn(at))]).await?;
            tx.leaf(audit::withdrawn(&query.reference, at)).await?;
            tx.drop_content(&query.reference).await?;
            query.state = State::Withdrawn { at, banks: query.counts().0 };
            tx.save(&query).await?;
            return Ok(None);
        }
        let subject = self.subject(&submission);
        let asking = Asking { open: Some(query.reference.clone()), ..tx.asking(subject).await? };
        tx.save_asking(subject, &asking).await?;
        if let State::Held(state) = &query.state {
            count(state.code.as_str());
            tracing::info!(query_id = %query.reference.query, "query held");
            tx.enqueue(vec![tell(held(state))]).await?;
            return Ok(None);
        }
        count("ACCEPTED");
        tx.enqueue(vec![tell(accepted(&query))]).await?;
        let due = self.hub.due(&query);
        let (query, after) = self.hub.apply(tx, query, due, None, now).await?;
        Ok(Some(ToAsk { query, asks: after.asks, submission }))
    }

    async fn withdraw<T: Tx>(&self, tx: &mut T, reference: &Reference, at: UnixMillis) -> StoreResult<After> {
        // First the withdrawal, then the query: a registration that was under way meanwhile is seen.
        let first = tx.withdraw(reference, at).await?;
        let locked = tx.lock(&BTreeSet::from([reference.clone()])).await?.remove(reference);
        match locked.filter(|_| first) {
            Some(query) => Ok(self.hub.apply(tx, query, [Event::Withdrawn], None, at).await?.1),
            None => Ok(After::default()),
        }
    }

    async fn ask(&self, to_ask: &ToAsk) -> Result<(), super::ask::AskError> {
        self.hub.ask(&to_ask.query, &to_ask.asks, &to_ask.submission.banks).await?;
        self.asked().push(to_ask.query.reference.clone());
        Ok(())
    }

    /// What the transaction will take: the queries of its records with their people, and those whose banks were asked
    /// meanwhile.
    fn plan(&self, noted: &[Reference], records: &[(&Record, Checked)]) -> Plan {
        let mut plan = Plan { queries: noted.iter().cloned().collect(), ..Plan::default() };
        for (_, checked) in records {
            match checked {
                Checked::Submission(submission, judged) => {
                    plan.consents.insert(submission.query.reference.clone());
                    plan.nonces.insert(submission.query.terms.nonce);
                    if judged.is_ok() {
                        plan.subjects.insert(self.subject(submission));
                    }
                }
                Checked::Release(submission, _, _) => {
                    plan.consents.insert(submission.query.reference.clone());
                    plan.nonces.insert(submission.query.terms.nonce);
                }
                Checked::Revocation(reference) => {
                    plan.consents.insert(reference.clone());
                }
            }
        }
        plan
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Vec<Reference>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> Handler for Registrar<S> {
    async fn handle(&self, batch: &[Record]) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::Done; batch.len()];
        let mut good = Vec::new();
        for (index, record) in batch.iter().enumerate() {
            match self.check(record).await {
                Ok(Ok(checked)) => good.push((index, record, checked)),
                Ok(Err(code)) => {
                    tracing::warn!(position = %record.position, code = %code, "query record refused");
                    count(code.as_str());
                    verdicts[index] = dead_letter(code);
                }
                Err(error) => {
                    tracing::warn!(%error, "registry not readable");
                    return vec![retry("REGISTRY_UNAVAILABLE"); batch.len()];
                }
            }
        }
        let indexes: Vec<usize> = good.iter().map(|(index, ..)| *index).collect();
        let records = good.into_iter().map(|(_, record, checked)| (record, checked)).collect();
        let left = match self.write(batch, records).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(%error, "queries not registered");
                return vec![retry("STORE_UNAVAILABLE"); batch.len()];
            }
        };
        for (index, left) in indexes.into_iter().zip(left) {
            let to_ask = match left {
                Left::Nothing => continue,
                Left::Ask(to_ask) => to_ask,
                Left::DeadLetter(code) => {
                    tracing::warn!(position = %batch[index].position, code = %code, "query record refused");
                    count(code.as_str());
                    verdicts[index] = dead_letter(code);
                    continue;
                }
            };
            if let Err(error) = self.ask(&to_ask).await {
                tracing::warn!(query_id = %to_ask.query.reference.query, %error, "banks not asked");
                verdicts[index] = retry("BANKS_NOT_ASKED");
            }
        }
        verdicts
    }
}

/// Every chosen bank, due now unless there is no time left.
pub(super) fn open_pairs(submission: &Submission, now: UnixMillis, reply_by: UnixMillis) -> Collecting {
    let ask_at = (now <= reply_by).then_some(now);
    let pairs: BTreeMap<BankId, Pair> = submission
        .banks
        .iter()
        .map(|(bank, share)| (bank.clone(), Pair::new(share.statement_sha256, ask_at)))
        .collect();
    Collecting { pairs }
}

/// The banks of a query that was registered before a crash and may not have been asked.
pub(super) fn ask_once_more(query: Query, submission: Box<Submission>, now: UnixMillis) -> Option<ToAsk> {
    let State::Collecting(open) = &query.state else { return None };
    let unheard = open.pairs.iter().filter(|(_, pair)| pair.closed.is_none() && pair.attempts > 0);
    let asks: Vec<_> = unheard.map(|(bank, pair)| (bank.clone(), pair.attempts)).collect();
    (now <= query.times.reply_by).then_some(ToAsk { asks, submission, query })
}

impl<S> Hub<S> {
    /// Banks that are to be asked now. A paused one stays due.
    pub(super) fn due(&self, query: &Query) -> Vec<Event> {
        let pairs = query.state.collecting().into_iter().flat_map(|open| &open.pairs);
        let due = pairs.filter(|(bank, pair)| pair.ask_again_at.is_some() && !self.is_paused(bank));
        due.map(|(bank, _)| Event::AskDue { bank: bank.clone() }).collect()
    }
}

pub(super) fn count(code: &'static str) {
    metrics::counter!(metric_names::QUERIES, "code" => code).increment(1);
}
