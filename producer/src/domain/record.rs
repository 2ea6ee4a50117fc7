//! The records that this service writes: sealed, signed, and small enough for their topic.

use plumbing::kafka::OutRecord;
use prost::Message;
use schemas::cloud_events::CloudEvent;
use schemas::codes::Code;
use schemas::ids::{Digest, MessageId, Reference};
use schemas::keys::SigningKey;
use schemas::registry::Registry;
use schemas::submission::{self, Draft};
use schemas::time::UnixMillis;
use schemas::topics::Family;
use schemas::wire::{self, query_record};

use super::identity;
use super::request::SubmitRequest;

/// What the broker counts beside key, value and headers: the head of a batch (61 bytes), of the record, and of each
/// header.
const FRAMING: usize = 256;

/// What a submission is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// A query of its own.
    Ask,
    /// To let the held query go on that has this content.
    Release(Digest),
}

/// Seals, signs and encodes a query, or the release of a held one. The identity is wiped on return.
///
/// # Errors
/// `BANK_UNKNOWN`, `PARTY_UNKNOWN`, `KEY_UNKNOWN`, `KEY_INVALID`, `SEAL_CONTENT_TOO_LARGE`, `MESSAGE_TOO_LARGE`.
pub(crate) fn submitted(
    request: SubmitRequest,
    intent: Intent,
    reference: &Reference,
    topic: &str,
    registry: &Registry,
    key: &SigningKey,
    at: UnixMillis,
) -> Result<OutRecord, Code> {
    let banks = request
        .banks
        .iter()
        .map(|bank| {
            let party = registry.bank(bank).ok_or(Code::BANK_UNKNOWN)?;
            Ok((bank.clone(), party.sealing_key(at)?))
        })
        .collect::<Result<_, Code>>()?;
    let draft = Draft {
        reference: reference.clone(),
        terms: request.terms(),
        scam_warning_acknowledged: request.consent.scam_warning_acknowledged,
        banks,
        notifier: registry.notifier()?.sealing_key(at)?,
        identity: request.identity.to_wire(),
        contact: request.identity.contact(request.consent.language),
        risk: request.risk,
        releases: match intent {
            Intent::Ask => None,
            Intent::Release(held) => Some(held),
        },
        subject: request.subject,
        region: request.region,
    };
    let sealed = submission::submit(&draft, key);
    identity::wipe(draft.identity, draft.contact);
    let (submission, expires_at) = (sealed?, Some(request.consent.expires_at));
    match intent {
        Intent::Ask => {
            let id = reference.message_id("QuerySubmitted");
            record(
                "QuerySubmitted",
                id,
                query_record::Message::Submitted(submission),
                reference,
                topic,
                at,
                expires_at,
            )
        }
        Intent::Release(_) => {
            // A release may be refused, and is then followed by another.
            let id = reference.message_id(&format!("QueryReleased/{}", request.consent.nonce));
            let released = wire::QueryReleased { submission: Some(submission) };
            record(
                "QueryReleased",
                id,
                query_record::Message::Released(released),
                reference,
                topic,
                at,
                expires_at,
            )
        }
    }
}

/// Signs and encodes the withdrawal of a consent.
///
/// # Errors
/// `MESSAGE_TOO_LARGE`.
pub(crate) fn revoked(
    reference: &Reference,
    topic: &str,
    key: &SigningKey,
    at: UnixMillis,
) -> Result<OutRecord, Code> {
    let message = query_record::Message::Revoked(submission::revoke(reference, at, key));
    record("ConsentRevoked", reference.message_id("ConsentRevoked"), message, reference, topic, at, None)
}

fn record(
    kind: &'static str,
    id: MessageId,
    message: query_record::Message,
    reference: &Reference,
    topic: &str,
    time: UnixMillis,
    expires_at: Option<UnixMillis>,
) -> Result<OutRecord, Code> {
    let source = reference.upstream.as_str();
    let event = CloudEvent { id, kind, source, time, reference, expires_at };
    let record = OutRecord {
        topic: topic.to_owned(),
        key: Some(reference.query.to_string().into_bytes()),
        value: wire::QueryRecord { message: Some(message) }.encode_to_vec(),
        headers: event.headers(),
    };
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let size = record.key.as_ref().map_or(0, Vec::len) + record.value.len() + headers + FRAMING;
    (size <= Family::Query.spec().max_message_bytes).then_some(record).ok_or(Code::MESSAGE_TOO_LARGE)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
