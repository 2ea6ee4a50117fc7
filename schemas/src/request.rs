//! How the hub asks a bank, and what the bank checks before it looks anything up.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use zeroize::Zeroizing;

use crate::codes::Code;
use crate::ids::{BankId, Digest, Reference, RequestId};
use crate::keys::{OpeningKey, SigningKey};
use crate::registry::{Party, Registry};
use crate::rules;
use crate::seal::{self, Binding, Kind};
use crate::sign::{self, Tag};
use crate::submission::{self, BankQuery, BankShare};
use crate::time::UnixMillis;
use crate::wire::{self, Refusal, request_record};

/// The hub's word to a bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The query.
    pub reference: Reference,
    /// The bank.
    pub bank: BankId,
    /// SHA-256 of the body of the bank's statement.
    pub statement_sha256: Digest,
    /// Append time of the query's first record.
    pub accepted_at: UnixMillis,
    /// After this the bank neither looks up nor replies.
    pub reply_by: UnixMillis,
    /// 1 for the first time the bank is asked.
    pub attempt: u32,
}

impl Header {
    /// The request's id, the same for every attempt.
    pub fn request_id(&self) -> RequestId {
        self.reference.request_id(&self.bank)
    }
}

/// Builds and signs a request.
pub fn ask(header: &Header, share: &BankShare, key: &SigningKey) -> wire::RequestRecord {
    let signed = sign::sign(
        Tag::RequestHeader,
        &wire::RequestHeader {
            reference: Some((&header.reference).into()),
            bank_id: header.bank.as_str().to_owned(),
            request_id: header.request_id().to_wire(),
            statement_sha256: header.statement_sha256.to_wire(),
            accepted_at_ms: header.accepted_at.0,
            reply_by_ms: header.reply_by.0,
            attempt: header.attempt,
        },
        key,
    );
    let request = wire::CardRequest {
        header: Some(signed),
        statement: Some(share.statement.clone()),
        sealed_identity: share.sealed_identity.clone(),
    };
    wire::RequestRecord { message: Some(request_record::Message::Request(request)) }
}

/// Builds and signs the word that a request is void.
pub fn cancel(reference: &Reference, bank: &BankId, key: &SigningKey) -> wire::RequestRecord {
    let cancellation = wire::RequestCancellation {
        reference: Some(reference.into()),
        bank_id: bank.as_str().to_owned(),
        request_id: reference.request_id(bank).to_wire(),
    };
    let cancelled = wire::RequestCancelled {
        cancellation: Some(sign::sign(Tag::RequestCancellation, &cancellation, key)),
    };
    wire::RequestRecord { message: Some(request_record::Message::Cancelled(cancelled)) }
}

/// A record of a bank's request topic, verified as the hub's word.
#[derive(Clone, Debug)]
// Nearly every record is a request, and it is moved once.
#[allow(clippy::large_enum_variant)]
pub enum Opened {
    /// The bank is asked.
    Request(Request),
    /// A request is void.
    Cancelled(Reference),
}

/// The hub's word is verified; the upstream's is not yet.
#[derive(Clone, Debug)]
pub struct Request {
    /// The hub's word.
    pub header: Header,
    statement: wire::Signed,
    sealed_identity: Bytes,
    appended_at: UnixMillis,
}

/// Why a record of a request topic is not the hub's word.
#[derive(Clone, Debug)]
pub enum Unopened {
    /// It cannot be read or is forged: logged by position and counted.
    Bad(Code),
    /// It reads as a request, but the registry does not list the hub's key: the hub is told to ask again later.
    KeyNotKnownYet(Header),
}

/// Verifies the hub's word in a record appended at `appended_at` to the request topic of `bank`.
///
/// # Errors
/// [`Unopened`].
pub fn open(bank: &BankId, value: Bytes, hub: &Party, appended_at: UnixMillis) -> Result<Opened, Unopened> {
    let record = wire::RequestRecord::decode(value).map_err(|_| Unopened::Bad(Code::MESSAGE_MALFORMED))?;
    match record.message {
        Some(request_record::Message::Request(request)) => {
            open_request(bank, request, hub, appended_at).map(Opened::Request)
        }
        Some(request_record::Message::Cancelled(cancelled)) => {
            open_cancellation(bank, &cancelled, hub, appended_at)
                .map(Opened::Cancelled)
                .map_err(Unopened::Bad)
        }
        None => Err(Unopened::Bad(Code::MESSAGE_MALFORMED)),
    }
}

fn open_request(
    bank: &BankId,
    request: wire::CardRequest,
    hub: &Party,
    appended_at: UnixMillis,
) -> Result<Request, Unopened> {
    let malformed = Unopened::Bad(Code::MESSAGE_MALFORMED);
    let Some(signed) = request.header else { return Err(malformed) };
    let read = |header: wire::RequestHeader| read_header(bank, &header).map_err(Unopened::Bad);
    let verified = sign::open(Tag::RequestHeader, &signed, |id| hub.verifying_key(id, appended_at));
    let header = match verified {
        Ok(header) => read(header)?,
        Err(Code::KEY_UNKNOWN) => {
            let unverified = wire::RequestHeader::decode(signed.body).map_err(|_| malformed)?;
            return Err(Unopened::KeyNotKnownYet(read(unverified)?));
        }
        Err(code) => return Err(Unopened::Bad(code)),
    };
    // A missing statement is one that does not verify: who has a readable header is answered REFUSED.
    let statement = request.statement.unwrap_or_default();
    Ok(Request { header, statement, sealed_identity: request.sealed_identity, appended_at })
}

fn read_header(bank: &BankId, header: &wire::RequestHeader) -> Result<Header, Code> {
    let read = Header {
        reference: Reference::try_from(header.reference.as_ref())?,
        bank: header.bank_id.parse()?,
        statement_sha256: Digest::from_bytes(&header.statement_sha256)?,
        accepted_at: UnixMillis(header.accepted_at_ms),
        reply_by: UnixMillis(header.reply_by_ms),
        attempt: header.attempt,
    };
    if read.bank != *bank {
        return Err(Code::WRONG_TOPIC);
    }
    if header.request_id != read.request_id().0.as_slice() {
        return Err(Code::REQUEST_ID_WRONG);
    }
    Ok(read)
}

fn open_cancellation(
    bank: &BankId,
    cancelled: &wire::RequestCancelled,
    hub: &Party,
    appended_at: UnixMillis,
) -> Result<Reference, Code> {
    let signed = cancelled.cancellation.as_ref().ok_or(Code::MESSAGE_MALFORMED)?;
    let word: wire::RequestCancellation =
        sign::open(Tag::RequestCancellation, signed, |id| hub.verifying_key(id, appended_at))?;
    let reference = Reference::try_from(word.reference.as_ref())?;
    if word.bank_id != bank.as_str() {
        return Err(Code::WRONG_TOPIC);
    }
    if word.request_id != reference.request_id(bank).0.as_slice() {
        return Err(Code::REQUEST_ID_WRONG);
    }
    Ok(reference)
}

/// Why a bank does not look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAccepted {
    /// Answered REFUSED with this reason; the code is for the bank's own log.
    Refused(Refusal, Code),
    /// The registry does not list a key yet: answered RETRY_LATER.
    KeyNotKnownYet,
}

/// Whom to look up, and to whom to answer.
#[derive(Debug)]
pub struct Accepted {
    /// The upstream's word to this bank.
    pub query: BankQuery,
    /// Who asks.
    pub identity: wire::Identity,
}

impl Request {
    /// Checks the upstream's statement, its digests and terms, then opens the identity: everything before a lookup.
    ///
    /// # Errors
    /// [`NotAccepted`].
    pub fn accept(
        &self,
        registry: &Registry,
        opening_keys: &[OpeningKey],
        max_factor_age: Duration,
    ) -> Result<Accepted, NotAccepted> {
        let refused = |refusal| move |code| NotAccepted::Refused(refusal, code);
        let query = self.verify_statement(registry)?;
        if Digest::of(&self.statement.body) != self.header.statement_sha256
            || query.identity != self.identity_digest()
        {
            return Err(NotAccepted::Refused(Refusal::DigestMismatch, Code::DIGEST_MISMATCH));
        }
        if query.reference != self.header.reference || query.bank != self.header.bank {
            return Err(NotAccepted::Refused(Refusal::StatementInvalid, Code::STATEMENT_MISMATCH));
        }
        let accepted_at = self.header.accepted_at;
        if accepted_at < query.terms.issued_at
            || accepted_at > self.appended_at
            || self.header.reply_by > accepted_at + rules::MAX_CONSENT_VALIDITY
        {
            return Err(NotAccepted::Refused(Refusal::ConsentNotValid, Code::REQUEST_TIME_IMPOSSIBLE));
        }
        rules::check_terms(&query.terms, max_factor_age, accepted_at).map_err(|code| {
            let too_low = matches!(
                code,
                Code::ASSURANCE_TOO_LOW
                    | Code::FACTORS_TOO_FEW
                    | Code::FACTOR_TOO_OLD
                    | Code::FACTOR_IN_FUTURE
            );
            let refusal = if too_low { Refusal::AssuranceTooLow } else { Refusal::ConsentNotValid };
            NotAccepted::Refused(refusal, code)
        })?;
        let identity =
            self.open_identity(&query, opening_keys).map_err(refused(Refusal::IdentityUnreadable))?;
        Ok(Accepted { query, identity })
    }

    fn verify_statement(&self, registry: &Registry) -> Result<BankQuery, NotAccepted> {
        let invalid = |code| NotAccepted::Refused(Refusal::StatementInvalid, code);
        let upstream =
            registry.upstream(&self.header.reference.upstream).ok_or(NotAccepted::KeyNotKnownYet)?;
        // The hub rejects such a query. One that it accepted before the suspension is answered.
        if !upstream.may_have_been_active(self.header.accepted_at) {
            return Err(invalid(Code::UPSTREAM_NOT_ACTIVE));
        }
        // The key is judged at the time of acceptance: a key revoked while the request waited was good when used.
        let key_of = |id| upstream.verifying_key(id, self.header.accepted_at);
        match sign::open(Tag::BankStatement, &self.statement, key_of) {
            Ok(statement) => submission::bank_query(statement).map_err(invalid),
            Err(Code::KEY_UNKNOWN) => Err(NotAccepted::KeyNotKnownYet),
            Err(code) => Err(invalid(code)),
        }
    }

    fn identity_digest(&self) -> Digest {
        Digest::of(&self.sealed_identity)
    }

    fn open_identity(&self, query: &BankQuery, keys: &[OpeningKey]) -> Result<wire::Identity, Code> {
        let recipient = seal::recipient(&self.sealed_identity)?;
        let key = keys.iter().find(|key| key.id() == recipient).ok_or(Code::KEY_UNKNOWN)?;
        let binding = Binding {
            reference: &query.reference,
            party: query.bank.as_str(),
            expires_at: query.terms.expires_at,
            context: &query.terms.nonce.0,
        };
        let content: Zeroizing<Vec<u8>> = seal::open(Kind::Identity, key, &binding, &self.sealed_identity)?;
        wire::Identity::decode(content.as_slice()).map_err(|_| Code::MESSAGE_MALFORMED)
    }
}
