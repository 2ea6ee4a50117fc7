//! Pure: what is shown of each message. A list of what may be shown, not of what may not: every message is taken apart
//! whole, so that a new field does not compile until somebody has decided about it.
//!
//! Shown: ids of queries and parties, codes, outcomes, times, counts, sizes, key ids. Never shown: subject, region, factors,
//! what was around the person, nonces, digests, keys, signatures, sealed bytes, texts, and anything that cannot be read as
//! what it should be.

use bytes::Bytes;
use prost::Message as _;
use schemas::audit::Leaf;
use schemas::ids::QueryId;
use schemas::topics::Family;
use schemas::wire::{
    self, audit_record, event_record, notice_record, query_record, reply_record, request_record, sms_record,
};

use super::known::{self, Known, code, count, key_id, of_reference, sealed, time, word};

/// What is shown of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Name of the message.
    pub kind: &'static str,
    /// Its query.
    pub query: Option<QueryId>,
    /// The other fields, by name.
    pub fields: Vec<(&'static str, String)>,
}

impl Shown {
    fn new(kind: &'static str) -> Self {
        Self { kind, query: None, fields: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    fn of(mut self, reference: Option<&wire::Reference>, known: &Known) -> Self {
        let (upstream, query) = of_reference(reference);
        self.query = query;
        match upstream {
            Some(upstream) => self.with("upstream", known.party(upstream)),
            None => self,
        }
    }

    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }
}

/// What is shown of a record's value in a topic of this family.
pub fn shown(family: Family, value: &Bytes, known: &Known) -> Shown {
    let read = match family {
        Family::Query | Family::DeadQuery => query(value, known),
        Family::Event => event(value, known),
        Family::Request => request(value, known),
        Family::Reply | Family::DeadReply => reply(value, known),
        Family::Notice | Family::DeadNotice => notice(value, known),
        Family::Sms => sms(value, known),
        Family::Registry => registry(value, known),
        Family::Audit => audit(value),
    };
    read.unwrap_or_else(|| Shown::new(UNREADABLE))
}

/// The kind of what cannot be read.
pub const UNREADABLE: &str = "unreadable";

fn query(value: &Bytes, known: &Known) -> Option<Shown> {
    let wire::QueryRecord { message } = wire::QueryRecord::decode(value.clone()).ok()?;
    match message? {
        query_record::Message::Submitted(submitted) => Some(submission("QuerySubmitted", &submitted, known)),
        query_record::Message::Released(wire::QueryReleased { submission: released }) => {
            Some(submission("QueryReleased", &released?, known))
        }
        query_record::Message::Revoked(wire::ConsentRevoked { revocation }) => {
            let wire::Signed { body, key_id: by, signature: _ } = revocation?;
            let wire::Revocation { reference, issued_at_ms } = wire::Revocation::decode(body).ok()?;
            let shown = Shown::new("ConsentRevoked").of(reference.as_ref(), known);
            Some(shown.with("issued_at", time(issued_at_ms)).with("signed_by", key_id(&by)))
        }
    }
}

fn submission(kind: &'static str, submitted: &wire::QuerySubmitted, known: &Known) -> Shown {
    let wire::QuerySubmitted { hub_statement, banks, contact } = submitted;
    let mut shown = Shown::new(kind);
    if let Some(wire::Signed { body, key_id: by, signature: _ }) = hub_statement
        && let Ok(statement) = wire::HubStatement::decode(body.clone())
    {
        let wire::HubStatement {
            reference,
            purpose,
            issued_at_ms,
            expires_at_ms,
            nonce: _,
            consent_text_sha256: _,
            scam_warning_acknowledged: _,
            assurance: _,
            factors: _,
            report_key: _,
            subject: _,
            region: _,
            banks: _,
            contact_sha256: _,
            risk: _,
            releases_sha256: _,
        } = statement;
        shown = shown
            .of(reference.as_ref(), known)
            .with("purpose", word::<wire::Purpose>(purpose, wire::Purpose::as_str_name, "PURPOSE_"))
            .with("issued_at", time(issued_at_ms))
            .with("expires_at", time(expires_at_ms))
            .with("signed_by", key_id(by));
    }
    let sizes = banks.iter().map(|wire::BankPart { statement: _, sealed_identity }| sealed_identity.len());
    shown = shown
        .with("banks", banks.len().to_string())
        .with("identities", format!("sealed({} B)", sizes.sum::<usize>()));
    match contact {
        Some(wire::ContactPart { statement: _, sealed_contact }) => {
            shown.with("contact", sealed(sealed_contact))
        }
        None => shown,
    }
}

fn event(value: &Bytes, known: &Known) -> Option<Shown> {
    use event_record::Message;
    let wire::EventRecord { reference, message } = wire::EventRecord::decode(value.clone()).ok()?;
    let new = |kind| Shown::new(kind).of(reference.as_ref(), known);
    Some(match message? {
        Message::Accepted(wire::QueryAccepted { accepted_at_ms, deadline_at_ms, erase_on, banks }) => {
            new("QueryAccepted")
                .with("accepted_at", time(accepted_at_ms))
                .with("deadline_at", time(deadline_at_ms))
                .with("erase_on", day(&erase_on))
                .with("banks", count(banks))
        }
        Message::Rejected(wire::QueryRejected { code: why }) => new("QueryRejected").with("code", code(&why)),
        Message::Held(wire::QueryHeld { code: why, release_from_ms }) => {
            new("QueryHeld").with("code", code(&why)).with("release_from", time(release_from_ms))
        }
        Message::Cancelled(wire::QueryCancelled { code: why }) => {
            new("QueryCancelled").with("code", code(&why))
        }
        Message::ReportReady(wire::ReportReady { state, banks, answered, finalised_at_ms }) => {
            new("ReportReady")
                .with("state", state_name(state))
                .with("banks", count(banks))
                .with("answered", count(answered))
                .with("finalised_at", time(finalised_at_ms))
        }
        Message::Viewed(wire::ReportViewed { viewed_at_ms }) => {
            new("ReportViewed").with("viewed_at", time(viewed_at_ms))
        }
        Message::Withdrawn(wire::QueryWithdrawn { withdrawn_at_ms }) => {
            new("QueryWithdrawn").with("withdrawn_at", time(withdrawn_at_ms))
        }
        Message::Erased(wire::ReportErased { erased_at_ms }) => {
            new("ReportErased").with("erased_at", time(erased_at_ms))
        }
    })
}

fn request(value: &Bytes, known: &Known) -> Option<Shown> {
    use request_record::Message;
    let wire::RequestRecord { message } = wire::RequestRecord::decode(value.clone()).ok()?;
    match message? {
        Message::Request(wire::CardRequest { header, statement, sealed_identity }) => {
            let wire::Signed { body, key_id: by, signature: _ } = header?;
            let wire::RequestHeader {
                reference,
                bank_id,
                request_id: _,
                statement_sha256: _,
                accepted_at_ms,
                reply_by_ms,
                attempt,
            } = wire::RequestHeader::decode(body).ok()?;
            let stated = statement.map(|wire::Signed { body: _, key_id: by, signature: _ }| key_id(&by));
            Some(
                Shown::new("CardRequest")
                    .of(reference.as_ref(), known)
                    .with("bank", known.party(&bank_id))
                    .with("attempt", count(attempt))
                    .with("accepted_at", time(accepted_at_ms))
                    .with("reply_by", time(reply_by_ms))
                    .with("signed_by", key_id(&by))
                    .with("stated_by", stated.unwrap_or_else(|| known::UNKNOWN.to_owned()))
                    .with("identity", sealed(&sealed_identity)),
            )
        }
        Message::Cancelled(wire::RequestCancelled { cancellation }) => {
            let wire::Signed { body, key_id: by, signature: _ } = cancellation?;
            let wire::RequestCancellation { reference, bank_id, request_id: _ } =
                wire::RequestCancellation::decode(body).ok()?;
            Some(
                Shown::new("RequestCancelled")
                    .of(reference.as_ref(), known)
                    .with("bank", known.party(&bank_id))
                    .with("signed_by", key_id(&by)),
            )
        }
    }
}

fn reply(value: &Bytes, known: &Known) -> Option<Shown> {
    let wire::ReplyRecord { message } = wire::ReplyRecord::decode(value.clone()).ok()?;
    let reply_record::Message::Reply(wire::CardReply { header, proof, sealed_answer }) = message?;
    let wire::ReplyHeader {
        reference,
        request_id: _,
        bank_id,
        outcome,
        refusal,
        statement_sha256: _,
        report_key_id: _,
        sealed_sha256: _,
    } = wire::ReplyHeader::decode(header).ok()?;
    let outcome = word::<wire::ReplyOutcome>(outcome, wire::ReplyOutcome::as_str_name, "REPLY_OUTCOME_");
    let mut shown = Shown::new("CardReply")
        .of(reference.as_ref(), known)
        .with("bank", known.party(&bank_id))
        .with("outcome", outcome);
    if refusal != i32::from(wire::Refusal::Unspecified) {
        let refusal = word::<wire::Refusal>(refusal, wire::Refusal::as_str_name, "REFUSAL_");
        shown = shown.with("refusal", refusal);
    }
    if let Some(wire::BatchProof { statement, index: _, path: _ }) = proof
        && let Some(wire::Signed { body, key_id: by, signature: _ }) = statement
        && let Ok(batch) = wire::BatchStatement::decode(body)
    {
        let wire::BatchStatement { bank_id: _, key_id: _, batch_id: _, tree_size, root: _, signed_at_ms } =
            batch;
        shown = shown
            .with("batch", count(tree_size))
            .with("signed_at", time(signed_at_ms))
            .with("signed_by", key_id(&by));
    }
    if sealed_answer.is_empty() {
        return Some(shown);
    }
    Some(shown.with("answer", sealed(&sealed_answer)))
}

fn notice(value: &Bytes, known: &Known) -> Option<Shown> {
    let wire::NoticeRecord { message } = wire::NoticeRecord::decode(value.clone()).ok()?;
    let notice_record::Message::ReportReady(wire::ReportNotice { header, statement: _, sealed_contact }) =
        message?;
    let wire::Signed { body, key_id: by, signature: _ } = header?;
    let wire::NoticeHeader { reference, state, banks, answered, statement_sha256: _, accepted_at_ms } =
        wire::NoticeHeader::decode(body).ok()?;
    Some(
        Shown::new("ReportNotice")
            .of(reference.as_ref(), known)
            .with("state", state_name(state))
            .with("banks", count(banks))
            .with("answered", count(answered))
            .with("accepted_at", time(accepted_at_ms))
            .with("signed_by", key_id(&by))
            .with("contact", sealed(&sealed_contact)),
    )
}

fn sms(value: &Bytes, known: &Known) -> Option<Shown> {
    use sms_record::Message;
    let wire::SmsRecord { reference, out_id: _, at_ms, attempt, message } =
        wire::SmsRecord::decode(value.clone()).ok()?;
    let new = |kind| {
        let shown = Shown::new(kind).of(reference.as_ref(), known);
        shown.with("at", time(at_ms)).with("attempt", count(attempt))
    };
    Some(match message? {
        Message::Claimed(wire::SmsClaimed {}) => new("SmsClaimed"),
        // The gateway's own text may hold anything.
        Message::Accepted(wire::SmsAccepted { gateway_id }) => {
            new("SmsAccepted").with("gateway_id", format!("text({} B)", gateway_id.len()))
        }
        Message::Delivered(wire::SmsDelivered {}) => new("SmsDelivered"),
        Message::Failed(wire::SmsFailed { code: why }) => new("SmsFailed").with("code", code(&why)),
        Message::Unknown(wire::SmsUnknown { code: why }) => new("SmsUnknown").with("code", code(&why)),
    })
}

fn registry(value: &Bytes, known: &Known) -> Option<Shown> {
    let wire::RegistryRecord { body, root_signatures, rotation_signature } =
        wire::RegistryRecord::decode(value.clone()).ok()?;
    let wire::RegistryEntry { kind, id, version, state, keys, regions: _, bank_texts: _ } =
        wire::RegistryEntry::decode(body).ok()?;
    let signers: Vec<String> =
        root_signatures.iter().map(|wire::EntrySignature { key_id: by, signature: _ }| key_id(by)).collect();
    let rotated = rotation_signature.map(|wire::EntrySignature { key_id: by, signature: _ }| key_id(&by));
    let kind = word::<wire::PartyKind>(kind, wire::PartyKind::as_str_name, "PARTY_KIND_");
    let state = word::<wire::PartyState>(state, wire::PartyState::as_str_name, "PARTY_STATE_");
    let shown = Shown::new("RegistryEntry")
        .with("party", format!("{}/{}", kind.to_lowercase(), known.party(&id)))
        .with("version", u32::try_from(version).map_or_else(|_| known::UNKNOWN.to_owned(), count))
        .with("state", state)
        .with("keys", keys.len().to_string())
        .with("signed_by", signers.join(","));
    Some(match rotated {
        Some(by) => shown.with("rotation_signed_by", by),
        None => shown,
    })
}

fn audit(value: &Bytes) -> Option<Shown> {
    let wire::AuditRecord { message } = wire::AuditRecord::decode(value.clone()).ok()?;
    Some(match message? {
        audit_record::Message::Leaves(wire::AuditLeaves { first, leaves }) => {
            let read: Vec<Option<Leaf>> = leaves.iter().map(|leaf| Leaf::decode(leaf).ok()).collect();
            let mut kinds: Vec<&str> =
                read.iter().map(|leaf| leaf.as_ref().map_or(UNREADABLE, Leaf::kind)).collect();
            kinds.dedup();
            let mut shown = Shown::new("AuditLeaves");
            // One record may tell of many queries: then none is named.
            let mut queries: Vec<QueryId> =
                read.iter().flatten().filter_map(Leaf::reference).map(|of| of.query).collect();
            queries.dedup();
            shown.query = (queries.len() == 1).then(|| queries.remove(0));
            shown
                .with("first", position(first))
                .with("leaves", leaves.len().to_string())
                .with("kinds", kinds.join(","))
        }
        audit_record::Message::Checkpoint(wire::AuditCheckpoint { note }) => {
            let size = note.lines().nth(1).and_then(|line| line.parse().ok());
            Shown::new("AuditCheckpoint")
                .with("size", size.map_or_else(|| known::UNKNOWN.to_owned(), position))
        }
    })
}

/// A place in the log: it has fewer leaves than anything that a person is known by has digits.
fn position(n: u64) -> String {
    if n < 10_000_000_000 { n.to_string() } else { known::UNKNOWN.to_owned() }
}

fn day(text: &str) -> String {
    let day: Result<jiff::civil::Date, _> = text.parse();
    day.map_or_else(|_| known::UNKNOWN.to_owned(), |day| day.to_string())
}

fn state_name(state: i32) -> String {
    word::<wire::QueryState>(state, wire::QueryState::as_str_name, "QUERY_STATE_")
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;
