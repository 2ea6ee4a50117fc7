//! How a bank answers, and what the hub checks before it believes an answer.

use bytes::Bytes;
use prost::Message;

use crate::batch::{self, VerifiedRoots};
use crate::codes::Code;
use crate::ids::{BankId, Digest, KeyId, QueryId, Reference, RequestId};
use crate::keys::SealingKey;
use crate::registry::Party;
use crate::request::Header;
use crate::seal::{self, Binding, Kind};
use crate::submission::BankQuery;
use crate::time::UnixMillis;
use crate::wire::{self, Refusal, ReplyOutcome, reply_record};

/// Seals an answer to the query's report key, bound to the statement that was answered.
///
/// # Errors
/// `SEAL_CONTENT_TOO_LARGE` for an answer over 8 KiB.
pub fn seal_answer(
    query: &BankQuery,
    statement_sha256: Digest,
    answer: &wire::Answer,
) -> Result<Bytes, Code> {
    let content = zeroize::Zeroizing::new(answer.encode_to_vec());
    let binding = answer_binding(&query.reference, &query.bank, query.terms.expires_at, &statement_sha256);
    seal::seal(Kind::Answer, &query.terms.report_key, &binding, &content)
}

pub(crate) fn answer_binding<'a>(
    reference: &'a Reference,
    bank: &'a BankId,
    expires_at: UnixMillis,
    statement_sha256: &'a Digest,
) -> Binding<'a> {
    Binding { reference, party: bank.as_str(), expires_at, context: &statement_sha256.0 }
}

/// What a bank says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// An answer sealed to the report key.
    Answered {
        /// The report key.
        report_key: KeyId,
        /// Encoded envelope.
        sealed_answer: Bytes,
    },
    /// A protocol reason not to look up.
    Refused(Refusal),
    /// Ask again later: no outcome.
    RetryLater,
}

impl Word {
    /// An answer.
    pub fn answered(report_key: &SealingKey, sealed_answer: Bytes) -> Self {
        Self::Answered { report_key: report_key.id(), sealed_answer }
    }
}

/// A reply before it is signed: its header is a leaf of the bank's next batch.
#[derive(Clone, Debug)]
pub struct Unsigned {
    /// Encoded header.
    pub header: Bytes,
    sealed_answer: Bytes,
}

impl Unsigned {
    /// The reply to a request.
    pub fn new(request: &Header, word: Word) -> Self {
        let (outcome, refusal, report_key_id, sealed_answer) = match word {
            Word::Answered { report_key, sealed_answer } => {
                (ReplyOutcome::Answered, Refusal::Unspecified, report_key.to_wire(), sealed_answer)
            }
            Word::Refused(refusal) => (ReplyOutcome::Refused, refusal, Bytes::new(), Bytes::new()),
            Word::RetryLater => (ReplyOutcome::RetryLater, Refusal::Unspecified, Bytes::new(), Bytes::new()),
        };
        let header = wire::ReplyHeader {
            reference: Some((&request.reference).into()),
            request_id: request.request_id().to_wire(),
            bank_id: request.bank.as_str().to_owned(),
            outcome: outcome.into(),
            refusal: refusal.into(),
            statement_sha256: request.statement_sha256.to_wire(),
            report_key_id,
            sealed_sha256: Digest::of(&sealed_answer).to_wire(),
        };
        Self { header: header.encode_to_vec().into(), sealed_answer }
    }

    /// The record to publish, with its proof from [`batch::sign_batch`].
    pub fn with_proof(self, proof: wire::BatchProof) -> wire::ReplyRecord {
        let reply =
            wire::CardReply { header: self.header, proof: Some(proof), sealed_answer: self.sealed_answer };
        wire::ReplyRecord { message: Some(reply_record::Message::Reply(reply)) }
    }
}

/// A reply whose signature, batch proof and digests were verified. Whether the query expects it is for
/// [`Reply::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The query.
    pub reference: Reference,
    /// The request.
    pub request_id: RequestId,
    /// The bank.
    pub bank: BankId,
    /// What it says.
    pub outcome: ReplyOutcome,
    /// The encoded Segment for the report.
    pub segment: Bytes,
    /// When the bank signed.
    pub signed_at: UnixMillis,
    statement_sha256: Digest,
    report_key: Option<KeyId>,
}

/// What the hub knows of a request when a reply to it comes in.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// SHA-256 of the body of the bank's statement.
    pub statement_sha256: Digest,
    /// Key id of the query's report key.
    pub report_key: KeyId,
    /// When the query was accepted.
    pub accepted_at: UnixMillis,
}

impl Reply {
    /// Whether this reply, appended at `appended_at`, is one to the request that the hub made.
    ///
    /// # Errors
    /// `STATEMENT_MISMATCH`, `REPORT_KEY_MISMATCH`, `BATCH_TIME_IMPOSSIBLE`.
    pub fn check(&self, expected: &Expected, appended_at: UnixMillis) -> Result<(), Code> {
        if self.statement_sha256 != expected.statement_sha256 {
            return Err(Code::STATEMENT_MISMATCH);
        }
        if self.report_key.is_some_and(|key| key != expected.report_key) {
            return Err(Code::REPORT_KEY_MISMATCH);
        }
        batch::check_time(self.signed_at, expected.accepted_at, appended_at)
    }
}

/// A reply that is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadReply {
    /// Why.
    pub code: Code,
    /// The query that it parses to, when it parses to a request of this bank: that pair has an invalid reply.
    pub about: Option<Reference>,
}

/// Verifies a record appended at `appended_at` to the reply topic of `bank` under `record_key`.
///
/// # Errors
/// [`BadReply`].
pub fn open(
    bank: &BankId,
    record_key: &[u8],
    value: Bytes,
    party: &Party,
    appended_at: UnixMillis,
    roots: &mut VerifiedRoots,
) -> Result<Reply, BadReply> {
    let bad = |code| BadReply { code, about: None };
    let record = wire::ReplyRecord::decode(value).map_err(|_| bad(Code::MESSAGE_MALFORMED))?;
    let Some(reply_record::Message::Reply(reply)) = record.message else {
        return Err(bad(Code::MESSAGE_MALFORMED));
    };
    let header = wire::ReplyHeader::decode(reply.header.clone()).map_err(|_| bad(Code::MESSAGE_MALFORMED))?;
    let reference = Reference::try_from(header.reference.as_ref()).map_err(bad)?;
    if header.bank_id != bank.as_str() {
        return Err(bad(Code::WRONG_TOPIC));
    }
    if header.request_id != reference.request_id(bank).0.as_slice() {
        return Err(bad(Code::REQUEST_ID_WRONG));
    }
    if QueryId::from_key(record_key) != Ok(reference.query) {
        return Err(bad(Code::WRONG_RECORD_KEY));
    }
    // From here on the record is this bank's word about this request, believed or not.
    let about = reference.clone();
    verify(bank, reference, &header, reply, party, appended_at, roots)
        .map_err(|code| BadReply { code, about: Some(about) })
}

fn verify(
    bank: &BankId,
    reference: Reference,
    header: &wire::ReplyHeader,
    reply: wire::CardReply,
    party: &Party,
    appended_at: UnixMillis,
    roots: &mut VerifiedRoots,
) -> Result<Reply, Code> {
    let proof = reply.proof.as_ref().ok_or(Code::MESSAGE_MALFORMED)?;
    let key_of = |id| party.verifying_key(id, appended_at);
    let signed_at = batch::verify(bank, &reply.header, proof, key_of, roots)?;
    if header.sealed_sha256 != Digest::of(&reply.sealed_answer).0.as_slice() {
        return Err(Code::DIGEST_MISMATCH);
    }
    let outcome = header.outcome();
    let report_key = match outcome {
        ReplyOutcome::Answered => {
            let key = KeyId::from_bytes(&header.report_key_id)?;
            if seal::recipient(&reply.sealed_answer)? != key {
                return Err(Code::REPORT_KEY_MISMATCH);
            }
            Some(key)
        }
        ReplyOutcome::Refused
            if header.refusal() != Refusal::Unspecified && reply.sealed_answer.is_empty() =>
        {
            None
        }
        ReplyOutcome::RetryLater if reply.sealed_answer.is_empty() => None,
        ReplyOutcome::Refused | ReplyOutcome::RetryLater | ReplyOutcome::Unspecified => {
            return Err(Code::OUTCOME_INVALID);
        }
    };
    let statement_sha256 = Digest::from_bytes(&header.statement_sha256)?;
    let segment =
        wire::Segment { header: reply.header, proof: reply.proof, sealed_answer: reply.sealed_answer };
    Ok(Reply {
        request_id: reference.request_id(bank),
        reference,
        bank: bank.clone(),
        outcome,
        segment: segment.encode_to_vec().into(),
        signed_at,
        statement_sha256,
        report_key,
    })
}
