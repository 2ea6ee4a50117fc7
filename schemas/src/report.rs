//! The report: how the hub signs its coverage, and how a device opens it.
//!
//! *Complete* is a word for the device alone: the hub counts answers, never cards.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use crate::batch::{self, VerifiedRoots};
use crate::codes::Code;
use crate::ids::{BankId, Digest, Reference};
use crate::keys::{OpeningKey, SigningKey, VerifyingKey};
use crate::registry::{self, Registry, SeenVersions};
use crate::reply::answer_binding;
use crate::seal::{self, Kind};
use crate::sign::{self, Tag};
use crate::time::UnixMillis;
use crate::wire::{self, AnswerKind, BankOutcome, QueryState, ReplyOutcome};

/// What the hub says about a final query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The query.
    pub reference: Reference,
    /// One of the three final states.
    pub state: QueryState,
    /// When the query was accepted.
    pub accepted_at: UnixMillis,
    /// When the window closed.
    pub deadline_at: UnixMillis,
    /// When the report became final.
    pub finalised_at: UnixMillis,
    /// The day whose 00:00 is the erase instant, ISO 8601.
    pub erase_on: String,
    /// Every asked bank: its outcome and the digest of its segment.
    pub banks: BTreeMap<BankId, (BankOutcome, Option<Digest>)>,
}

/// The only version of a report that there is today.
const VERSION: u32 = 1;

/// Signs the coverage.
pub fn sign_coverage(coverage: &Coverage, key: &SigningKey) -> wire::Signed {
    sign::sign(Tag::Coverage, &coverage.body(), key)
}

impl Coverage {
    /// SHA-256 of the body that [`sign_coverage`] signs: what the audit log has of it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.body().encode_to_vec())
    }

    fn body(&self) -> wire::Coverage {
        let banks = self
            .banks
            .iter()
            .map(|(bank, (outcome, segment))| wire::BankCoverage {
                bank_id: bank.as_str().to_owned(),
                outcome: (*outcome).into(),
                segment_sha256: segment.map(Digest::to_wire).unwrap_or_default(),
            })
            .collect();
        wire::Coverage {
            reference: Some((&self.reference).into()),
            version: VERSION,
            state: self.state.into(),
            accepted_at_ms: self.accepted_at.0,
            deadline_at_ms: self.deadline_at.0,
            finalised_at_ms: self.finalised_at.0,
            erase_on: self.erase_on.clone(),
            banks,
        }
    }
}

/// What a device knows of its own query, and trusts.
#[derive(Debug)]
pub struct Device<'a> {
    /// The query.
    pub reference: &'a Reference,
    /// The key that was made for this one query.
    pub report_key: &'a OpeningKey,
    /// The banks that the person chose.
    pub banks: &'a BTreeSet<BankId>,
    /// Expiry of the consent.
    pub consent_expires_at: UnixMillis,
    /// The pinned root keys of the registry.
    pub roots: &'a [VerifyingKey],
    /// The highest registry versions this device has seen.
    pub seen: &'a SeenVersions,
}

/// A report as the device shows it.
#[derive(Clone, Debug)]
pub struct OpenedReport {
    /// The hub's word.
    pub coverage: Coverage,
    /// One per asked bank, in ascending order of id.
    pub banks: Vec<OpenedBank>,
    /// Whether every chosen bank answered CARDS or NO_CARDS, with no source missing and every signature valid.
    pub complete: bool,
    /// The registry versions to remember.
    pub seen: SeenVersions,
}

/// One bank in a report.
#[derive(Clone, Debug)]
pub struct OpenedBank {
    /// The bank.
    pub bank: BankId,
    /// Its words for a person, from its signed registry entry.
    pub texts: Option<wire::BankTexts>,
    /// The hub's view.
    pub outcome: BankOutcome,
    /// What the bank says, if its segment verified and opened.
    pub answer: Option<wire::Answer>,
    /// Set when there is, or must be, a segment: whether it verified, and why not.
    pub verified: Option<Result<(), Code>>,
}

/// Opens a report: verifies the hub's coverage against the chosen banks, then each segment on its own. A segment
/// that fails leaves its bank without an answer and the report incomplete; it does not hide the others.
///
/// # Errors
/// `MESSAGE_MALFORMED`, `STATEMENT_MISMATCH` when the coverage is not of this query or its banks are not the chosen
/// ones, `PARTY_UNKNOWN`, a `KEY_…` code or `SIGNATURE_INVALID` for the hub's signature.
pub fn open(report: Bytes, device: &Device<'_>) -> Result<OpenedReport, Code> {
    let report = wire::Report::decode(report).map_err(|_| Code::MESSAGE_MALFORMED)?;
    let signed = report.coverage.as_ref().ok_or(Code::MESSAGE_MALFORMED)?;
    let unverified = wire::Coverage::decode(signed.body.clone()).map_err(|_| Code::MESSAGE_MALFORMED)?;
    let finalised_at = UnixMillis(unverified.finalised_at_ms);
    let registry = read_registry(&report, device, finalised_at)?;
    let hub = registry.hub()?;
    let coverage: wire::Coverage =
        sign::open(Tag::Coverage, signed, |id| hub.verifying_key(id, finalised_at))?;
    let coverage = read_coverage(&coverage)?;
    if coverage.reference != *device.reference || !coverage.banks.keys().eq(device.banks) {
        return Err(Code::STATEMENT_MISMATCH);
    }
    let segments: BTreeMap<Digest, Bytes> =
        report.segments.into_iter().map(|segment| (Digest::of(&segment), segment)).collect();
    let banks: Vec<_> = coverage
        .banks
        .iter()
        .map(|(bank, (outcome, digest))| {
            open_bank(bank, *outcome, *digest, &segments, &coverage, &registry, device)
        })
        .collect();
    let complete = !banks.is_empty() && banks.iter().all(OpenedBank::is_whole);
    Ok(OpenedReport { coverage, banks, complete, seen: registry.seen().clone() })
}

fn read_registry(
    report: &wire::Report,
    device: &Device<'_>,
    finalised_at: UnixMillis,
) -> Result<Registry, Code> {
    let mut registry = Registry::new(device.roots.to_vec(), device.seen.clone());
    for record in &report.registry {
        let entry = wire::RegistryEntry::decode(record.body.clone()).map_err(|_| Code::MESSAGE_MALFORMED)?;
        let key = registry::record_key(&entry)?;
        // The device has no append times. A fresh revocation counts from the report on; the hub has judged every
        // reply at its own append time before.
        registry.apply(key.as_bytes(), &record.encode_to_vec(), finalised_at)?;
    }
    Ok(registry)
}

pub(crate) fn is_final(state: QueryState) -> bool {
    match state {
        QueryState::FinalAllAnswered | QueryState::FinalPartial | QueryState::FinalEmpty => true,
        QueryState::Unspecified
        | QueryState::Held
        | QueryState::Collecting
        | QueryState::Erased
        | QueryState::Rejected
        | QueryState::Cancelled
        | QueryState::Withdrawn => false,
    }
}

fn read_coverage(coverage: &wire::Coverage) -> Result<Coverage, Code> {
    if coverage.version != VERSION || !is_final(coverage.state()) {
        return Err(Code::MESSAGE_MALFORMED);
    }
    let mut banks = BTreeMap::new();
    for bank in &coverage.banks {
        let segment = match bank.segment_sha256.as_ref() {
            [] => None,
            digest => Some(Digest::from_bytes(digest)?),
        };
        if banks.insert(bank.bank_id.parse()?, (bank.outcome(), segment)).is_some() {
            return Err(Code::BANK_REPEATED);
        }
    }
    Ok(Coverage {
        reference: Reference::try_from(coverage.reference.as_ref())?,
        state: coverage.state(),
        accepted_at: UnixMillis(coverage.accepted_at_ms),
        deadline_at: UnixMillis(coverage.deadline_at_ms),
        finalised_at: UnixMillis(coverage.finalised_at_ms),
        erase_on: coverage.erase_on.clone(),
        banks,
    })
}

fn open_bank(
    bank: &BankId,
    outcome: BankOutcome,
    digest: Option<Digest>,
    segments: &BTreeMap<Digest, Bytes>,
    coverage: &Coverage,
    registry: &Registry,
    device: &Device<'_>,
) -> OpenedBank {
    let texts = registry.bank(bank).and_then(|party| party.texts.clone());
    let said = matches!(outcome, BankOutcome::Answered | BankOutcome::Refused);
    let opened = (said || digest.is_some()).then(|| {
        let segment = digest.and_then(|digest| segments.get(&digest)).ok_or(Code::DIGEST_MISMATCH)?;
        open_segment(bank, outcome, segment.clone(), coverage, registry, device)
    });
    let verified = opened.as_ref().map(|opened| opened.as_ref().map(|_| ()).map_err(|code| *code));
    let answer = opened.and_then(Result::ok).flatten();
    OpenedBank { bank: bank.clone(), texts, outcome, answer, verified }
}

fn open_segment(
    bank: &BankId,
    outcome: BankOutcome,
    segment: Bytes,
    coverage: &Coverage,
    registry: &Registry,
    device: &Device<'_>,
) -> Result<Option<wire::Answer>, Code> {
    let segment = wire::Segment::decode(segment).map_err(|_| Code::MESSAGE_MALFORMED)?;
    let header = wire::ReplyHeader::decode(segment.header.clone()).map_err(|_| Code::MESSAGE_MALFORMED)?;
    let proof = segment.proof.as_ref().ok_or(Code::MESSAGE_MALFORMED)?;
    let statement = proof.statement.as_ref().ok_or(Code::MESSAGE_MALFORMED)?;
    let unverified =
        wire::BatchStatement::decode(statement.body.clone()).map_err(|_| Code::MESSAGE_MALFORMED)?;
    let party = registry.bank(bank).ok_or(Code::PARTY_UNKNOWN)?;
    let key_of = |id| party.verifying_key(id, UnixMillis(unverified.signed_at_ms));
    let signed_at = batch::verify(bank, &segment.header, proof, key_of, &mut VerifiedRoots::default())?;
    // The key was judged at the bank's own time, so that time must be one at which the hub could take the reply.
    batch::check_time(signed_at, coverage.accepted_at, coverage.deadline_at)?;
    if header.bank_id != bank.as_str()
        || Reference::try_from(header.reference.as_ref())? != *device.reference
        || header.request_id != device.reference.request_id(bank).0.as_slice()
    {
        return Err(Code::STATEMENT_MISMATCH);
    }
    if header.sealed_sha256 != Digest::of(&segment.sealed_answer).0.as_slice() {
        return Err(Code::DIGEST_MISMATCH);
    }
    match (header.outcome(), outcome) {
        (ReplyOutcome::Answered, BankOutcome::Answered) => {
            let statement = Digest::from_bytes(&header.statement_sha256)?;
            let binding = answer_binding(device.reference, bank, device.consent_expires_at, &statement);
            let content = seal::open(Kind::Answer, device.report_key, &binding, &segment.sealed_answer)?;
            wire::Answer::decode(content.as_slice()).map(Some).map_err(|_| Code::MESSAGE_MALFORMED)
        }
        (ReplyOutcome::Refused, BankOutcome::Refused) => Ok(None),
        _ => Err(Code::OUTCOME_INVALID),
    }
}

impl OpenedBank {
    /// Whether this bank leaves nothing open.
    fn is_whole(&self) -> bool {
        self.verified == Some(Ok(()))
            && self.answer.as_ref().is_some_and(|answer| {
                // A bank that contradicts itself has not answered the question.
                let fits = match answer.kind() {
                    AnswerKind::Cards => !answer.cards.is_empty(),
                    AnswerKind::NoCards => answer.cards.is_empty(),
                    AnswerKind::Unspecified
                    | AnswerKind::IneligibleNoPhone
                    | AnswerKind::IneligibleIdExpired
                    | AnswerKind::IneligibleNoCardlessPayment
                    | AnswerKind::IdentityMismatch
                    | AnswerKind::Withheld => false,
                };
                fits && answer.missing_sources.is_empty()
            })
    }
}
