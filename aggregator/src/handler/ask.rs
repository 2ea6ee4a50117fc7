//! Asks banks: one request per open pair, produced and acknowledged.

use std::collections::BTreeMap;

use plumbing::kafka::{OutRecord, ProduceError};
use prost::Message;
use schemas::cloud_events::CloudEvent;
use schemas::ids::{BankId, Reference};
use schemas::registry::Party;
use schemas::request::{self, Header};
use schemas::submission::BankShare;

use super::Hub;
use crate::domain::query::Query;
use crate::metric_names;
use crate::store::{Store, StoreError};

/// Why a bank may not have been asked. The caller does the whole step again: banks tolerate duplicates.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Kafka did not acknowledge a request.
    #[error(transparent)]
    Produce(#[from] ProduceError),
    /// The store did not say whether the query has ended.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<S: Store> Hub<S> {
    /// Produces one request for each of `asks`, with the bank's share of the query's record, and waits for all
    /// acknowledgements. Then looks whether the query has ended meanwhile: whoever asks sends the cancellation behind.
    pub(super) async fn ask(
        &self,
        query: &Query,
        asks: &[(BankId, u32)],
        shares: &BTreeMap<BankId, BankShare>,
    ) -> Result<(), AskError> {
        let now = self.store.now().await?;
        let asks = self.taking_part(asks);
        let requests = asks.iter().filter_map(|(bank, attempt)| Some((bank, *attempt, shares.get(bank)?)));
        let requests = requests.map(|(bank, attempt, share)| {
            let header = Header {
                reference: query.reference.clone(),
                bank: bank.clone(),
                statement_sha256: share.statement_sha256,
                accepted_at: query.times.accepted_at,
                reply_by: query.times.reply_by,
                attempt,
            };
            let event = CloudEvent {
                id: query.reference.message_id(&format!("request/{bank}/{attempt}")),
                kind: "CardRequest",
                source: "hub",
                time: now,
                reference: &query.reference,
                expires_at: Some(query.times.reply_by),
            };
            let record = request::ask(&header, share, &self.key);
            metrics::counter!(metric_names::REQUESTS, "bank" => bank.to_string()).increment(1);
            self.producer.send(out_record(self.topics.request(bank), &event, record.encode_to_vec()))
        });
        futures::future::try_join_all(requests).await?;
        self.cancel_if_ended(&query.reference, &asks).await
    }

    /// Nobody's identity goes to a bank that is suspended or has left, or that was paused since it was to be asked. When it
    /// comes back, it is asked at its next time.
    fn taking_part(&self, asks: &[(BankId, u32)]) -> Vec<(BankId, u32)> {
        let registry = self.registry.get();
        let active =
            |bank: &BankId| registry.bank(bank).is_some_and(Party::is_active) && !self.is_paused(bank);
        asks.iter().filter(|(bank, _)| active(bank)).cloned().collect()
    }

    async fn cancel_if_ended(&self, reference: &Reference, asks: &[(BankId, u32)]) -> Result<(), AskError> {
        let query = self.store.query(reference).await?;
        let ended = query.is_some_and(|query| query.state.collecting().is_none());
        if ended {
            let now = self.store.now().await?;
            let cancellations =
                asks.iter().map(|(bank, _)| self.producer.send(self.cancellation(reference, bank, now)));
            futures::future::try_join_all(cancellations).await?;
        }
        Ok(())
    }

    /// The record that tells a bank that its request is void.
    pub(crate) fn cancellation(
        &self,
        reference: &Reference,
        bank: &BankId,
        now: schemas::time::UnixMillis,
    ) -> OutRecord {
        let event = CloudEvent {
            id: reference.message_id(&format!("cancel/{bank}")),
            kind: "RequestCancelled",
            source: "hub",
            time: now,
            reference,
            expires_at: None,
        };
        let record = request::cancel(reference, bank, &self.key);
        out_record(self.topics.request(bank), &event, record.encode_to_vec())
    }
}

/// A record keyed by its query.
pub(crate) fn out_record(topic: String, event: &CloudEvent<'_>, value: Vec<u8>) -> OutRecord {
    OutRecord {
        topic,
        key: Some(event.reference.query.to_string().into_bytes()),
        value,
        headers: event.headers(),
    }
}
