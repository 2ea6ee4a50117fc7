//! Serves status and reports.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;
use schemas::codes::Code;
use schemas::http::{QueryStatus, state_name};
use schemas::ids::{Digest, Reference};
use schemas::time::UnixMillis;
use schemas::view::{self, Grant};
use schemas::wire::{self, event_record};

use super::Hub;
use crate::domain::audit;
use crate::domain::query::{Final, State};
use crate::domain::view::may_view;
use crate::metric_names;
use crate::store::{GrantUse, OutboxRow, Outgoing, ReportContent, Store, Tx};

impl<S: Store> Hub<S> {
    /// The status of a query.
    ///
    /// # Errors
    /// `QUERY_NOT_FOUND`, `INTERNAL`.
    pub async fn status(&self, reference: &Reference) -> Result<QueryStatus, Code> {
        let query = self.store.query(reference).await?.ok_or(Code::QUERY_NOT_FOUND)?;
        let (banks, answered) = query.counts();
        let (finalised_at, code) = match &query.state {
            State::Final(report) => (Some(report.finalised_at.to_string()), None),
            State::Rejected(code) => (None, Some(code.to_string())),
            State::Collecting(_) | State::Withdrawn { .. } => (None, None),
        };
        Ok(QueryStatus {
            query_id: query.reference.query.to_string(),
            state: state_name(query.wire_state()).to_owned(),
            code,
            accepted_at: query.times.accepted_at.to_string(),
            deadline_at: query.times.deadline_at.to_string(),
            finalised_at,
            erase_on: query.times.erase_on.to_string(),
            banks,
            answered,
            content_digest: query.content_digest.to_string(),
        })
    }

    /// The encoded report of `reference` for a device that presents a grant.
    ///
    /// # Errors
    /// What [`view::open`] and [`may_view`] say, `GRANT_INVALID`, `GRANT_USED`, `INTERNAL`.
    pub async fn view(&self, reference: &Reference, granted: Bytes) -> Result<Bytes, Code> {
        let shown = self.try_view(reference, granted).await;
        let code = shown.as_ref().map_or_else(|code| code.as_str(), |_| "OK");
        metrics::counter!(metric_names::VIEWS, "code" => code).increment(1);
        shown
    }

    async fn try_view(&self, reference: &Reference, granted: Bytes) -> Result<Bytes, Code> {
        let now = self.store.now().await?;
        let open = |registry: &_| view::open(granted.clone(), registry, now);
        let (grant, digest) = self.judged(open).await.map_err(|_| Code::HUB_UNAVAILABLE)??;
        if grant.reference != *reference {
            return Err(Code::GRANT_INVALID);
        }
        let report = self.grant_view(&grant, digest, now).await?;
        // Between the grant and here only a withdrawal takes content away.
        let content = self.store.report(reference).await?.ok_or(Code::QUERY_WITHDRAWN)?;
        Ok(self.report(&report, content))
    }

    /// Uses the grant on its locked query. The same grant within its time counts as one view.
    async fn grant_view(&self, grant: &Grant, digest: Digest, now: UnixMillis) -> Result<Final, Code> {
        let mut tx = self.store.begin().await?;
        let query = tx.lock(&BTreeSet::from([grant.reference.clone()])).await?.remove(&grant.reference);
        let report = may_view(query.as_ref(), grant, &self.window, now)?.clone();
        match tx.use_grant(&grant.reference, grant.nonce, digest).await? {
            GrantUse::First => {
                let viewed = event_record::Message::Viewed(wire::ReportViewed { viewed_at_ms: now.0 });
                let row = OutboxRow { reference: grant.reference.clone(), message: Outgoing::Event(viewed) };
                tx.enqueue(vec![row]).await?;
                tx.leaf(audit::viewed(&grant.reference, grant.nonce, digest, now)).await?;
            }
            GrantUse::Again => {}
            GrantUse::NonceUsed => return Err(Code::GRANT_USED),
        }
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(report)
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
