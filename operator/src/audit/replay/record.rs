//! The record of a query, compared with what the log says of its acceptance.

use bytes::Bytes;
use prost::Message as _;
use schemas::audit::leaf::Accepted;
use schemas::codes::Code as Refused;
use schemas::ids::Reference;
use schemas::registry::Party;
use schemas::submission::{self, Submission};
use schemas::time::UnixMillis;
use schemas::wire::{self, query_record};

/// A record of an upstream's query topic.
#[derive(Clone, Debug)]
pub struct Submitted<'a> {
    /// The record's key.
    pub key: &'a [u8],
    /// The record's value.
    pub value: &'a Bytes,
    /// Its append time.
    pub appended_at: UnixMillis,
}

/// What differs between the record and what the log says of it; nothing when all is as it says. `parties` are the upstream's
/// entries; the record must be good by one of them.
pub fn differs<'a>(
    record: &Submitted<'_>,
    reference: &Reference,
    accepted: &Accepted,
    parties: impl DoubleEndedIterator<Item = &'a Party>,
) -> Option<String> {
    let mut refused = Refused::UPSTREAM_UNKNOWN;
    for party in parties.rev() {
        match open(record, reference, party) {
            Ok(submission) => return difference(&submission, record.appended_at, reference, accepted),
            Err(code) => refused = code,
        }
    }
    Some(format!("refused: {refused}"))
}

fn open(record: &Submitted<'_>, reference: &Reference, party: &Party) -> Result<Submission, Refused> {
    let message = wire::QueryRecord::decode(record.value.clone()).map_err(|_| Refused::MESSAGE_MALFORMED)?;
    let submitted = match message.message {
        Some(query_record::Message::Submitted(submitted)) => Some(submitted),
        Some(query_record::Message::Released(released)) => released.submission,
        Some(query_record::Message::Revoked(_)) | None => None,
    };
    let submitted = submitted.ok_or(Refused::MESSAGE_MALFORMED)?;
    submission::open(&reference.upstream, record.key, &submitted, party, record.appended_at)
}

fn difference(
    submission: &Submission,
    appended_at: UnixMillis,
    reference: &Reference,
    accepted: &Accepted,
) -> Option<String> {
    let query = &submission.query;
    let statements = submission.banks.iter().map(|(bank, share)| (bank, &share.statement_sha256));
    let checks = [
        ("query", query.reference == *reference),
        ("content", query.content_digest() == accepted.content_digest),
        ("report key", query.terms.report_key.id() == accepted.report_key),
        ("banks and statements", statements.eq(accepted.statements.iter())),
        ("append time", appended_at == accepted.accepted_at),
    ];
    let differing: Vec<&str> = checks.into_iter().filter(|(_, same)| !same).map(|(what, _)| what).collect();
    (!differing.is_empty()).then(|| format!("another {}", differing.join(", ")))
}
