//! Carries out what the rule decided, inside the transaction that saves the new state.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use schemas::codes::Code;
use schemas::ids::{BankId, Reference};
use schemas::report::sign_coverage;
use schemas::time::UnixMillis;
use schemas::wire::{self, QueryState, event_record};

use super::Hub;
use crate::domain::assembly::{self, Counted, Effect, Event};
use crate::domain::audit;
use crate::domain::figures::MISSED_AFTER;
use crate::domain::hold::Held;
use crate::domain::query::{Final, Query, State};
use crate::domain::subject::SubjectMac;
use crate::first_line::Changed;
use crate::metric_names;
use crate::store::{OutboxRow, Outgoing, Store, StoreResult, Tx};

/// What is left to do after the commit.
#[derive(Debug, Default)]
pub(super) struct After {
    /// Banks to ask, with the attempt.
    pub(super) asks: Vec<(BankId, u32)>,
    /// Counters.
    pub(super) counted: Vec<Counted>,
    /// Releases that were refused, and why.
    refused_releases: Vec<Code>,
    /// The outbox has rows.
    wrote_outbox: bool,
    /// Queries whose state was saved.
    changed: Vec<Changed>,
    /// Reports that became final: state, and how long after the deadline.
    finalised: Vec<(QueryState, Duration)>,
}

impl<S: Store> Hub<S> {
    /// Applies `events` to a locked query and writes what comes out. `segment` is the reply's, when the event is one.
    pub(super) async fn apply<T: Tx>(
        &self,
        tx: &mut T,
        mut query: Query,
        events: impl IntoIterator<Item = Event, IntoIter: Send> + Send,
        segment: Option<(&BankId, &Bytes)>,
        now: UnixMillis,
    ) -> StoreResult<(Query, After)> {
        let mut after = After::default();
        let mut withdrawn_from = None;
        let mut rows = Vec::new();
        let reference = query.reference.clone();
        let mut tell = |message| rows.push(OutboxRow { reference: reference.clone(), message });
        let mut effects = Vec::new();
        let was_open = query.is_open();
        for event in events {
            let more;
            (query, more) = assembly::apply(query, event, now, &self.window);
            effects.extend(more);
        }
        for effect in effects {
            match effect {
                Effect::KeepSegment => {
                    if let Some((bank, segment)) = segment {
                        tx.keep_segment(&reference, bank, segment).await?;
                    }
                }
                Effect::Report => {
                    if let State::Final(report) = &query.state {
                        let coverage =
                            sign_coverage(&report.coverage(&query.reference, &query.times), &self.key);
                        let registry = self.registry.next_offset();
                        tx.keep_coverage(&reference, &coverage).await?;
                        tx.leaf(audit::finalised(&reference, report, &coverage, registry)).await?;
                        keep_proofs(tx, &reference, report).await?;
                        tell(Outgoing::Event(report_ready(report)));
                        tell(Outgoing::Notice);
                        after.finalised.push((report.wire_state(), now.since(query.times.deadline_at)));
                    }
                }
                Effect::Withdraw => {
                    tx.drop_content(&reference).await?;
                    tx.leaf(audit::withdrawn(&reference, now)).await?;
                    tell(Outgoing::Event(withdrawn(now)));
                    withdrawn_from = Some(self.subject(&query));
                }
                Effect::Release => {
                    tx.leaf(audit::released(&query)).await?;
                    tell(Outgoing::Event(accepted(&query)));
                }
                Effect::RefuseRelease { at, code } => {
                    tx.leaf(audit::release_refused(&reference, &at, code)).await?;
                    if let State::Held(state) = &query.state {
                        tell(Outgoing::Event(held(state)));
                    }
                    after.refused_releases.push(code);
                }
                Effect::CancelHold => {
                    tx.leaf(audit::cancelled(&reference, now)).await?;
                    let code = Code::HOLD_EXPIRED.to_string();
                    tell(Outgoing::Event(event_record::Message::Cancelled(wire::QueryCancelled { code })));
                }
                Effect::Erase => {
                    tx.leaf(audit::erased(&reference, query.times.erase_on, now)).await?;
                    tell(Outgoing::Event(erased(now)));
                }
                Effect::Cancel { bank } => tell(Outgoing::Cancel(bank)),
                Effect::Ask { bank, attempt } => after.asks.push((bank, attempt)),
                Effect::Count(counted) => after.counted.push(counted),
            }
        }
        after.wrote_outbox = !rows.is_empty();
        tx.enqueue(rows).await?;
        tx.save(&query).await?;
        if was_open && !query.is_open() {
            self.end_asking(tx, &query).await?;
        }
        after.changed.push(Changed { reference: query.reference.clone(), withdrawn_from });
        Ok((query, after))
    }
}

impl<S> Hub<S> {
    /// The person of an ended query may ask again, at once or some time after their report.
    pub(super) async fn end_asking<T: Tx>(&self, tx: &mut T, query: &Query) -> StoreResult<()> {
        let reported_at = query.state.report().map(|report| report.finalised_at);
        tx.end_asking(self.subject(query), &query.reference, reported_at).await
    }

    /// Whom the person of a query is counted as.
    pub(super) fn subject(&self, query: &Query) -> SubjectMac {
        self.subjects.mac(&query.reference.upstream, &query.subject)
    }

    /// Counts, wakes the relay, and takes back what the first line remembers. To be called after the commit: what was
    /// taken back is not counted. `now` is the store's.
    pub(super) async fn settle(&self, after: &After, now: UnixMillis) {
        for counted in &after.counted {
            metrics::counter!(metric_names::REPLIES, "outcome" => counted.as_str()).increment(1);
        }
        for code in &after.refused_releases {
            metrics::counter!(metric_names::QUERIES, "code" => code.as_str()).increment(1);
        }
        for (state, late) in &after.finalised {
            let outcome = schemas::http::state_name(*state);
            metrics::counter!(metric_names::REPORTS, "outcome" => outcome).increment(1);
            if *late > MISSED_AFTER {
                metrics::counter!(metric_names::DEADLINE_MISSED).increment(1);
            }
        }
        if after.wrote_outbox {
            self.outbox.notify_one();
        }
        self.first_line.changed(&after.changed, now).await;
    }
}

impl After {
    /// Takes up what another event left to do.
    pub(super) fn extend(&mut self, other: After) {
        self.asks.extend(other.asks);
        self.counted.extend(other.counted);
        self.finalised.extend(other.finalised);
        self.refused_releases.extend(other.refused_releases);
        self.wrote_outbox |= other.wrote_outbox;
        self.changed.extend(other.changed);
    }
}

/// Keeps in the audit log what the banks signed: their segments end with the day.
async fn keep_proofs<T: Tx>(tx: &mut T, reference: &Reference, report: &Final) -> StoreResult<()> {
    let banks: BTreeSet<BankId> = report.replies().map(|(bank, _)| bank.clone()).collect();
    let segments = tx.segments(reference, &banks).await?;
    let (leaves, without) = audit::replies(reference, report, &segments);
    for leaf in leaves {
        tx.leaf(leaf).await?;
    }
    for bank in without {
        tracing::warn!(%bank, "a reply leaves no proof in the audit log: its signed bytes are not of the contract");
        metrics::counter!(metric_names::AUDIT_UNPROVEN, "bank" => bank.to_string()).increment(1);
    }
    Ok(())
}

fn report_ready(report: &Final) -> event_record::Message {
    event_record::Message::ReportReady(wire::ReportReady {
        state: report.wire_state().into(),
        banks: u32::try_from(report.outcomes.len()).unwrap_or(u32::MAX),
        answered: report.answered(),
        finalised_at_ms: report.finalised_at.0,
    })
}

/// The event that tells the upstream that its query is taken, with its times.
pub(super) fn accepted(query: &Query) -> event_record::Message {
    event_record::Message::Accepted(wire::QueryAccepted {
        accepted_at_ms: query.times.accepted_at.0,
        deadline_at_ms: query.times.deadline_at.0,
        erase_on: query.times.erase_on.to_string(),
        banks: query.counts().0,
    })
}

/// The event that tells the upstream that its query is held, or is so still.
pub(super) fn held(held: &Held) -> event_record::Message {
    let release_from_ms = held.release_from.0;
    event_record::Message::Held(wire::QueryHeld { code: held.code.to_string(), release_from_ms })
}

/// The event that tells the upstream of a withdrawal.
pub(super) fn withdrawn(at: UnixMillis) -> event_record::Message {
    event_record::Message::Withdrawn(wire::QueryWithdrawn { withdrawn_at_ms: at.0 })
}

fn erased(at: UnixMillis) -> event_record::Message {
    event_record::Message::Erased(wire::ReportErased { erased_at_ms: at.0 })
}
