//! Turns outbox rows into records. Rows hold ids; what is sealed is added here, as it is produced.

use std::sync::Arc;
use std::time::Duration;

use plumbing::kafka::OutRecord;
use plumbing::outbox::{Leased, Outbox, OutboxError};
use prost::Message as _;
use schemas::cloud_events::CloudEvent;
use schemas::ids::Reference;
use schemas::notice;
use schemas::submission::Contact;
use schemas::time::UnixMillis;
use schemas::wire::{self, event_record};

use crate::domain::query::State;
use crate::handler::{Hub, out_record};
use crate::store::{OutboxRow, Outgoing, Store, StoreError, StoreResult};

/// The store's outbox, as the relay needs it.
pub struct HubOutbox<S>(pub Arc<Hub<S>>);

impl<S: Store> Outbox for HubOutbox<S> {
    async fn lease(&self, max: usize, lease: Duration) -> Result<Vec<Leased>, OutboxError> {
        let now = self.0.store.now().await.map_err(failed)?;
        let rows = self.0.store.lease_outbox(max, lease).await.map_err(failed)?;
        let mut leased = Vec::with_capacity(rows.len());
        let mut void = Vec::new();
        for row in rows {
            match self.render(&row.row, now).await.map_err(failed)? {
                Some(record) => leased.push(Leased { id: row.id, record }),
                None => void.push(row.id),
            }
        }
        if !void.is_empty() {
            self.0.store.outbox_published(&void).await.map_err(failed)?;
        }
        Ok(leased)
    }

    async fn renew(&self, ids: &[u64], lease: Duration) -> Result<(), OutboxError> {
        self.0.store.outbox_renewed(ids, lease).await.map_err(failed)
    }

    async fn published(&self, ids: &[u64]) -> Result<(), OutboxError> {
        self.0.store.outbox_published(ids).await.map_err(failed)
    }

    async fn park(&self, id: u64, code: &'static str) -> Result<(), OutboxError> {
        self.0.store.outbox_parked(id, code).await.map_err(failed)
    }

    async fn release(&self, ids: &[u64]) -> Result<(), OutboxError> {
        self.0.store.outbox_released(ids).await.map_err(failed)
    }
}

fn failed(error: StoreError) -> OutboxError {
    OutboxError::new(error)
}

impl<S: Store> HubOutbox<S> {
    /// The record of a row; `None` when what it would tell is void by now.
    async fn render(&self, row: &OutboxRow, now: UnixMillis) -> StoreResult<Option<OutRecord>> {
        let hub = &self.0;
        Ok(match &row.message {
            Outgoing::Event(message) => Some(self.event(row, message, now)),
            Outgoing::Notice => self.notice(row, now).await?,
            Outgoing::Cancel(bank) => Some(hub.cancellation(&row.reference, bank, now)),
        })
    }

    fn event(&self, row: &OutboxRow, message: &event_record::Message, now: UnixMillis) -> OutRecord {
        let record =
            wire::EventRecord { reference: Some((&row.reference).into()), message: Some(message.clone()) };
        let topic = self.0.topics.event(&row.reference.upstream);
        out_record(topic, &cloud_event(row, "QueryEvent", &row.reference, now), record.encode_to_vec())
    }

    /// A withdrawn query has no contact any more, and gets no SMS.
    async fn notice(&self, row: &OutboxRow, now: UnixMillis) -> StoreResult<Option<OutRecord>> {
        let (Some(query), Some(contact)) =
            (self.0.store.query(&row.reference).await?, self.0.store.contact(&row.reference).await?)
        else {
            return Ok(None);
        };
        let State::Final(report) = &query.state else { return Ok(None) };
        let (banks, answered) = query.counts();
        let header = notice::Header {
            reference: row.reference.clone(),
            state: report.wire_state(),
            banks,
            answered,
            accepted_at: query.times.accepted_at,
        };
        let contact = Contact { statement: contact.statement, sealed_contact: contact.sealed };
        let record = notice::notify(&header, &contact, &self.0.key);
        let event = cloud_event(row, "ReportNotice", &row.reference, now);
        Ok(Some(out_record(self.0.topics.notice(), &event, record.encode_to_vec())))
    }
}

fn cloud_event<'a>(
    row: &OutboxRow,
    kind: &'static str,
    reference: &'a Reference,
    time: UnixMillis,
) -> CloudEvent<'a> {
    let id = reference.message_id(&row.message.kind());
    CloudEvent { id, kind, source: "hub", time, reference, expires_at: None }
}
