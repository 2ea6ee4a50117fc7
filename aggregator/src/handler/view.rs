//! Serves status and reports.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;
use schemas::codes::Code;
use schemas::http::{HoldStatus, QueryStatus, state_name};
use schemas::ids::{Digest, Reference, UpstreamId};
use schemas::time::UnixMillis;
use schemas::view::{self, Grant};
use schemas::wire::{self, event_record};

use super::{Hub, Refused};
use crate::domain::audit;
use crate::domain::hold::Held;
use crate::domain::query::{Final, Query, State};
use crate::domain::refusals::{Hour, MAX_REFUSED, SubjectHour, refuses_grant};
use crate::domain::view::may_view;
use crate::first_line::{Presented, Remembered};
use crate::metric_names;
use crate::store::{GrantUse, OutboxRow, Outgoing, ReportContent, Store, StoreError, Tx};

impl<S: Store> Hub<S> {
    /// Takes a request of `upstream` if it keeps to its limit.
    ///
    /// # Errors
    /// `RATE_LIMITED`.
    pub async fn admit(&self, upstream: &UpstreamId) -> Result<(), Refused> {
        let known = self.registry.get().upstream(upstream).map(|_| upstream);
        match self.first_line.wait(known).await {
            None => Ok(()),
            wait => Err(Refused { code: Code::RATE_LIMITED, retry_after: wait }),
        }
    }

    /// The status of a query.
    ///
    /// # Errors
    /// `QUERY_NOT_FOUND`, `INTERNAL`.
    pub async fn status(&self, reference: &Reference) -> Result<QueryStatus, Refused> {
        let remembered = self.first_line.status(reference).await;
        if let Remembered::Status(status) = remembered {
            return Ok(*status);
        }
        let query = self.store.query(reference).await?.ok_or(Code::QUERY_NOT_FOUND)?;
        let status = status_of(&query);
        if remembered == Remembered::Nothing {
            self.first_line.keep_status(reference, &status, &query.state).await;
        }
        Ok(status)
    }

    /// The encoded report of `reference` for a device that presents a grant.
    ///
    /// # Errors
    /// What [`view::verify`], [`Grant::check`] and [`may_view`] say, `GRANT_INVALID`, `GRANT_USED`, `VIEW_LOCKED`,
    /// `INTERNAL`.
    pub async fn view(&self, reference: &Reference, granted: Bytes) -> Result<Bytes, Refused> {
        let shown = self.try_view(reference, granted).await;
        let code = shown.as_ref().map_or_else(|refused| refused.code.as_str(), |_| "OK");
        metrics::counter!(metric_names::VIEWS, "code" => code).increment(1);
        shown
    }

    async fn try_view(&self, reference: &Reference, granted: Bytes) -> Result<Bytes, Refused> {
        let now = self.store.now().await?;
        let verify = |registry: &_| view::verify(granted.clone(), registry, now);
        let (grant, digest) = self.judged(verify).await.map_err(|_| Code::HUB_UNAVAILABLE)??;
        let subject = self.subjects.mac(&grant.reference.upstream, &grant.subject);
        let at = SubjectHour { subject, hour: Hour::of(now) };
        let presented = Presented { at, reference: grant.reference.clone(), digest };
        let own = grant
            .check(now)
            .and_then(|()| if grant.reference == *reference { Ok(()) } else { Err(Code::GRANT_INVALID) });

        let denials = self.first_line.denials(&presented).await;
        if let Some(code) = denials.and_then(|denials| denials.denial(own)) {
            metrics::counter!(metric_names::QUICK_DENIALS, "code" => code.as_str()).increment(1);
            return Err(refused(code, at.hour, now));
        }
        let report = match self.grant_view(&grant, &presented, own, now).await {
            Ok(report) => report,
            Err(denied) => {
                match denied {
                    _ if denials.is_none() => {}
                    Denied { locks: true, .. } => self.first_line.forget_denials(&at).await,
                    Denied { code, locks: false } => {
                        self.first_line.keep_denial(&presented, code, now).await;
                    }
                }
                return Err(refused(denied.code, at.hour, now));
            }
        };
        match self.store.report(reference).await? {
            Some(content) => Ok(self.report(&report, content)),
            None => Err(self.gone(reference).await?.into()),
        }
    }

    /// Why content is gone that was there when the grant was used: between the two only a withdrawal or the end of its day
    /// takes it away.
    async fn gone(&self, reference: &Reference) -> Result<Code, StoreError> {
        let now = self.store.now().await?;
        let erased = match self.store.query(reference).await? {
            Some(query) => self.window.is_erased(&query.times, now),
            None => true,
        };
        Ok(if erased { Code::REPORT_ERASED } else { Code::QUERY_WITHDRAWN })
    }

    /// Uses the grant on its locked query, or counts it as refused, in one transaction. The same grant within its time
    /// counts as one view.
    async fn grant_view(
        &self,
        grant: &Grant,
        presented: &Presented,
        own: Result<(), Code>,
        now: UnixMillis,
    ) -> Result<Final, Denied> {
        // Another person's query is not even locked: it would take longer than one that is not there.
        let is_theirs = self.store.is_of(&grant.reference, &grant.subject).await?;
        let mut tx = self.store.begin().await?;
        let query = if is_theirs {
            tx.lock(&BTreeSet::from([grant.reference.clone()])).await?.remove(&grant.reference)
        } else {
            None
        };
        if tx.refused(&presented.at).await? >= MAX_REFUSED {
            return Err(Code::VIEW_LOCKED.into());
        }
        let may = own.and_then(|()| may_view(query.as_ref(), grant, &self.window, now).cloned());
        let viewed = match may {
            Ok(report) => self.use_grant(&mut tx, grant, presented.digest, now).await?.map(|()| report),
            Err(code) => Err(code),
        };
        match viewed {
            Ok(report) => {
                tx.commit().await?;
                self.outbox.notify_one();
                Ok(report)
            }
            Err(code) if refuses_grant(code) => {
                let refused = tx.refuse(&presented.at, presented.digest).await?;
                // Others may have counted since: beyond the limit nobody learns why.
                if refused > MAX_REFUSED {
                    return Err(Code::VIEW_LOCKED.into());
                }
                tx.leaf(audit::grant_refused(&grant.reference, presented.digest, code, now)).await?;
                tx.commit().await?;
                Err(Denied { code, locks: refused == MAX_REFUSED })
            }
            Err(code) => Err(code.into()),
        }
    }

    async fn use_grant<T: Tx>(
        &self,
        tx: &mut T,
        grant: &Grant,
        digest: Digest,
        now: UnixMillis,
    ) -> Result<Result<(), Code>, StoreError> {
        match tx.use_grant(&grant.reference, grant.nonce, digest).await? {
            GrantUse::First => {
                let viewed = event_record::Message::Viewed(wire::ReportViewed { viewed_at_ms: now.0 });
                let row = OutboxRow { reference: grant.reference.clone(), message: Outgoing::Event(viewed) };
                tx.enqueue(vec![row]).await?;
                tx.leaf(audit::viewed(&grant.reference, grant.nonce, digest, now)).await?;
                Ok(Ok(()))
            }
            GrantUse::Again => Ok(Ok(())),
            GrantUse::NonceUsed => Ok(Err(Code::GRANT_USED)),
        }
    }

    fn report(&self, report: &Final, content: ReportContent) -> Bytes {
        let registry = self.registry.get();
        let banks = report.outcomes.keys().filter_map(|bank| registry.bank(bank));
        let parties = registry.hub().ok().into_iter().chain(banks);
        let report = wire::Report {
            coverage: Some(content.coverage),
            segments: content.segments.into_values().collect(),
            registry: parties.map(|party| party.record().clone()).collect(),
        };
        report.encode_to_vec().into()
    }
}

/// Why the store shows nothing.
#[derive(Clone, Copy)]
struct Denied {
    code: Code,
    /// With this refusal the person's views are locked.
    locks: bool,
}

impl From<Code> for Denied {
    fn from(code: Code) -> Self {
        Self { code, locks: false }
    }
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Code::from(error).into()
    }
}

/// A lock ends with its hour.
fn refused(code: Code, hour: Hour, now: UnixMillis) -> Refused {
    let retry_after = (code == Code::VIEW_LOCKED).then(|| hour.left(now));
    Refused { code, retry_after }
}

fn status_of(query: &Query) -> QueryStatus {
    let (banks, answered) = query.counts();
    let hold = |held: &Held| HoldStatus {
        release_from: held.release_from.to_string(),
        release_until: held.release_until.to_string(),
    };
    let (finalised_at, code, hold) = match &query.state {
        State::Held(held) => (None, Some(held.code.to_string()), Some(hold(held))),
        State::Final(report) => (Some(report.finalised_at.to_string()), None, None),
        State::Rejected(code) => (None, Some(code.to_string()), None),
        State::Cancelled { .. } => (None, Some(Code::HOLD_EXPIRED.to_string()), None),
        State::Collecting(_) | State::Withdrawn { .. } | State::Erased { .. } => (None, None, None),
    };
    QueryStatus {
        query_id: query.reference.query.to_string(),
        state: state_name(query.wire_state()).to_owned(),
        code,
        hold,
        accepted_at: query.times.accepted_at.to_string(),
        deadline_at: query.times.deadline_at.to_string(),
        finalised_at,
        erase_on: query.times.erase_on.to_string(),
        banks,
        answered,
        content_digest: query.content_digest.to_string(),
    }
}
