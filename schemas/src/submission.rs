//! A query as the upstream signs it: one statement for the hub, one per bank, one for the notifier.
//!
//! The producer seals first and then signs, so that every statement covers the digests of the sealed parts its reader
//! gets. Whoever holds a consent can then not put another identity or another report key under it.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use crate::codes::Code;
use crate::fields::Fields;
use crate::ids::{BankId, Digest, Nonce, Reference, UpstreamId};
use crate::keys::{SealingKey, SigningKey};
use crate::registry::{NOTIFIER, Party};
use crate::rules;
use crate::seal::{self, Binding, Kind};
use crate::sign::{self, Tag};
use crate::time::UnixMillis;
use crate::wire::{self, Assurance, Purpose};

/// Encoded size of one bank's part at most, in bytes, so that 500 fit one record.
pub const MAX_BANK_PART: usize = 960;
/// Banks per query at most.
pub const MAX_BANKS: usize = 500;

/// What hub and banks judge alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What the query may be used for.
    pub purpose: Purpose,
    /// When the person consented.
    pub issued_at: UnixMillis,
    /// Until when the consent may be used.
    pub expires_at: UnixMillis,
    /// Makes the consent the only one of its kind.
    pub nonce: Nonce,
    /// SHA-256 of the text that the person read.
    pub consent_text: Digest,
    /// How well the upstream knows its user.
    pub assurance: Assurance,
    /// The factors passed for this consent.
    pub factors: Vec<wire::Factor>,
    /// The device's key for this one query.
    pub report_key: SealingKey,
}

/// The upstream's word to the hub, checked for form.
#[derive(Clone, Debug, PartialEq)]
pub struct HubQuery {
    /// The query.
    pub reference: Reference,
    /// What hub and banks judge alike.
    pub terms: Terms,
    /// Whether the person acknowledged the scam warning.
    pub scam_warning_acknowledged: bool,
    /// Pseudonym of the person within the upstream.
    pub subject: String,
    /// Administrative division code.
    pub region: String,
    /// The chosen banks, each with the SHA-256 of its sealed identity.
    pub banks: BTreeMap<BankId, Digest>,
    /// SHA-256 of the sealed contact.
    pub contact: Digest,
    /// What the wallet saw around the person.
    pub risk: wire::RiskSignals,
    /// Content digest of the held query that this one releases.
    pub releases: Option<Digest>,
}

impl HubQuery {
    /// What makes two submissions under one id the same query: consent text, purpose, banks, subject, region and
    /// report key; never identity or phone.
    pub fn content_digest(&self) -> Digest {
        content_digest(&self.terms, &self.subject, &self.region, self.banks.keys())
    }
}

/// The digest behind [`HubQuery::content_digest`], for a caller who has no sealed parts.
pub fn content_digest<'a>(
    terms: &Terms,
    subject: &str,
    region: &str,
    banks: impl Iterator<Item = &'a BankId>,
) -> Digest {
    let fields = Fields::new()
        .text("query-content/v1")
        .bytes(&terms.consent_text.0)
        .text(terms.purpose.as_str_name())
        .text(subject)
        .text(region)
        .bytes(&terms.report_key.id().0);
    Digest::of(banks.fold(fields, |fields, bank| fields.text(bank.as_str())).as_bytes())
}

/// The upstream's word to one bank, checked for form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankQuery {
    /// The query.
    pub reference: Reference,
    /// The bank.
    pub bank: BankId,
    /// What hub and banks judge alike.
    pub terms: Terms,
    /// SHA-256 of the sealed identity.
    pub identity: Digest,
}

/// Everything that goes into a submission before it is sealed and signed.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The query.
    pub reference: Reference,
    /// What hub and banks judge alike.
    pub terms: Terms,
    /// Whether the person acknowledged the scam warning.
    pub scam_warning_acknowledged: bool,
    /// Pseudonym of the person within the upstream, 1 to 64 bytes of ASCII.
    pub subject: String,
    /// Administrative division code, six digits.
    pub region: String,
    /// The chosen banks and the keys to seal to.
    pub banks: BTreeMap<BankId, &'a SealingKey>,
    /// The notifier's key.
    pub notifier: &'a SealingKey,
    /// Who asks.
    pub identity: wire::Identity,
    /// Where the SMS goes.
    pub contact: wire::Contact,
    /// What the wallet saw around the person.
    pub risk: wire::RiskSignals,
    /// Content digest of the held query that this one releases.
    pub releases: Option<Digest>,
}

/// Seals, then signs.
///
/// # Errors
/// `SEAL_CONTENT_TOO_LARGE` when identity or contact do not fit, `KEY_INVALID` for an unusable sealing key,
/// `MESSAGE_TOO_LARGE` when a bank's part is over [`MAX_BANK_PART`], for example with too many factors.
pub fn submit(draft: &Draft<'_>, key: &SigningKey) -> Result<wire::QuerySubmitted, Code> {
    let Draft { reference, terms, .. } = draft;
    let binding = |party| Binding { reference, party, expires_at: terms.expires_at, context: &terms.nonce.0 };
    let identity = zeroize::Zeroizing::new(draft.identity.encode_to_vec());
    let mut banks = Vec::with_capacity(draft.banks.len());
    let mut shares = Vec::with_capacity(draft.banks.len());
    for (bank, sealing_key) in &draft.banks {
        let sealed_identity = seal::seal(Kind::Identity, sealing_key, &binding(bank.as_str()), &identity)?;
        let digest = Digest::of(&sealed_identity);
        let statement = wire::BankStatement {
            reference: Some(reference.into()),
            bank_id: bank.as_str().to_owned(),
            purpose: terms.purpose.into(),
            issued_at_ms: terms.issued_at.0,
            expires_at_ms: terms.expires_at.0,
            nonce: terms.nonce.to_wire(),
            consent_text_sha256: terms.consent_text.to_wire(),
            assurance: terms.assurance.into(),
            factors: terms.factors.clone(),
            report_key: Some(terms.report_key.to_wire()),
            identity_sha256: digest.to_wire(),
        };
        let statement = Some(sign::sign(Tag::BankStatement, &statement, key));
        let part = wire::BankPart { statement, sealed_identity };
        if part.encoded_len() > MAX_BANK_PART {
            return Err(Code::MESSAGE_TOO_LARGE);
        }
        banks.push(part);
        shares.push(wire::BankShare { bank_id: bank.as_str().to_owned(), identity_sha256: digest.to_wire() });
    }
    let contact = zeroize::Zeroizing::new(draft.contact.encode_to_vec());
    let sealed_contact = seal::seal(Kind::Contact, draft.notifier, &binding(NOTIFIER), &contact)?;
    let contact_digest = Digest::of(&sealed_contact);
    let notifier_statement = wire::NotifierStatement {
        reference: Some(reference.into()),
        purpose: terms.purpose.into(),
        issued_at_ms: terms.issued_at.0,
        expires_at_ms: terms.expires_at.0,
        nonce: terms.nonce.to_wire(),
        contact_sha256: contact_digest.to_wire(),
    };
    let hub_statement = wire::HubStatement {
        reference: Some(reference.into()),
        purpose: terms.purpose.into(),
        issued_at_ms: terms.issued_at.0,
        expires_at_ms: terms.expires_at.0,
        nonce: terms.nonce.to_wire(),
        consent_text_sha256: terms.consent_text.to_wire(),
        scam_warning_acknowledged: draft.scam_warning_acknowledged,
        assurance: terms.assurance.into(),
        factors: terms.factors.clone(),
        report_key: Some(terms.report_key.to_wire()),
        subject: draft.subject.clone(),
        region: draft.region.clone(),
        banks: shares,
        contact_sha256: contact_digest.to_wire(),
        risk: Some(draft.risk),
        releases_sha256: draft.releases.map(Digest::to_wire).unwrap_or_default(),
    };
    Ok(wire::QuerySubmitted {
        hub_statement: Some(sign::sign(Tag::HubStatement, &hub_statement, key)),
        banks,
        contact: Some(wire::ContactPart {
            statement: Some(sign::sign(Tag::NotifierStatement, &notifier_statement, key)),
            sealed_contact,
        }),
    })
}

/// A submission whose signatures and digests were verified. Whether its terms are acceptable is for [`crate::rules`].
#[derive(Clone, Debug)]
pub struct Submission {
    /// The upstream's word to the hub.
    pub query: HubQuery,
    /// What each bank gets.
    pub banks: BTreeMap<BankId, BankShare>,
    /// What the notifier gets.
    pub contact: Contact,
}

/// What one bank gets.
#[derive(Clone, Debug)]
pub struct BankShare {
    /// The statement as signed.
    pub statement: wire::Signed,
    /// SHA-256 of the statement's body: answers are bound to it.
    pub statement_sha256: Digest,
    /// Encoded envelope.
    pub sealed_identity: Bytes,
}

/// What the notifier gets.
#[derive(Clone, Debug)]
pub struct Contact {
    /// The statement as signed.
    pub statement: wire::Signed,
    /// Encoded envelope.
    pub sealed_contact: Bytes,
}

/// Verifies a submission that came through `upstream`'s topic under `record_key`, appended at `appended_at`.
///
/// # Errors
/// Anything here means that the record takes no id: `MESSAGE_MALFORMED`, `WRONG_TOPIC`, `WRONG_RECORD_KEY`, a `KEY_…`
/// code, `SIGNATURE_INVALID`, `DIGEST_MISMATCH`, `STATEMENT_MISMATCH`, or `FIELD_INVALID` for a subject or region of the
/// wrong form.
pub fn open(
    upstream: &UpstreamId,
    record_key: &[u8],
    submitted: &wire::QuerySubmitted,
    party: &Party,
    appended_at: UnixMillis,
) -> Result<Submission, Code> {
    let key_of = |id| party.verifying_key(id, appended_at);
    let signed = submitted.hub_statement.as_ref().ok_or(Code::MESSAGE_MALFORMED)?;
    let query = hub_query(sign::open(Tag::HubStatement, signed, key_of)?)?;
    if query.reference.upstream != *upstream {
        return Err(Code::WRONG_TOPIC);
    }
    if record_key != query.reference.query.to_string().as_bytes() {
        return Err(Code::WRONG_RECORD_KEY);
    }
    let mut banks = BTreeMap::new();
    for part in &submitted.banks {
        if part.encoded_len() > MAX_BANK_PART {
            return Err(Code::MESSAGE_TOO_LARGE);
        }
        let statement = part.statement.clone().ok_or(Code::MESSAGE_MALFORMED)?;
        let word = bank_query(sign::open(Tag::BankStatement, &statement, key_of)?)?;
        let digest = Digest::of(&part.sealed_identity);
        if digest != word.identity || query.banks.get(&word.bank) != Some(&digest) {
            return Err(Code::DIGEST_MISMATCH);
        }
        if word.reference != query.reference || word.terms != query.terms {
            return Err(Code::STATEMENT_MISMATCH);
        }
        let statement_sha256 = Digest::of(&statement.body);
        let share = BankShare { statement, statement_sha256, sealed_identity: part.sealed_identity.clone() };
        if banks.insert(word.bank, share).is_some() {
            return Err(Code::STATEMENT_MISMATCH);
        }
    }
    if banks.len() != query.banks.len() {
        return Err(Code::STATEMENT_MISMATCH);
    }
    let contact = submitted.contact.as_ref().ok_or(Code::MESSAGE_MALFORMED)?;
    let statement = contact.statement.clone().ok_or(Code::MESSAGE_MALFORMED)?;
    let word: wire::NotifierStatement = sign::open(Tag::NotifierStatement, &statement, key_of)?;
    let digest = Digest::of(&contact.sealed_contact);
    if digest != Digest::from_bytes(&word.contact_sha256)? || digest != query.contact {
        return Err(Code::DIGEST_MISMATCH);
    }
    if Reference::try_from(word.reference.as_ref())? != query.reference
        || word.purpose() != query.terms.purpose
        || UnixMillis(word.issued_at_ms) != query.terms.issued_at
        || UnixMillis(word.expires_at_ms) != query.terms.expires_at
        || word.nonce != query.terms.nonce.0.as_slice()
    {
        return Err(Code::STATEMENT_MISMATCH);
    }
    let contact = Contact { statement, sealed_contact: contact.sealed_contact.clone() };
    Ok(Submission { query, banks, contact })
}

/// Checks the form of the hub's statement. Subject and region go into digests, keys and rows: what those cannot bear
/// (a length, a NUL) must not get past here, signed or not.
fn hub_query(statement: wire::HubStatement) -> Result<HubQuery, Code> {
    rules::check_subject(&statement.subject)?;
    if statement.region.len() != 6 || !statement.region.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Code::FIELD_INVALID);
    }
    let terms = terms(
        statement.purpose(),
        (statement.issued_at_ms, statement.expires_at_ms),
        (&statement.nonce, &statement.consent_text_sha256),
        statement.assurance(),
        statement.factors.clone(),
        statement.report_key.as_ref(),
    )?;
    let mut banks = BTreeMap::new();
    for share in &statement.banks {
        if banks.insert(share.bank_id.parse()?, Digest::from_bytes(&share.identity_sha256)?).is_some() {
            return Err(Code::BANK_REPEATED);
        }
    }
    let releases = match statement.releases_sha256.as_ref() {
        [] => None,
        digest => Some(Digest::from_bytes(digest)?),
    };
    Ok(HubQuery {
        reference: Reference::try_from(statement.reference.as_ref())?,
        terms,
        scam_warning_acknowledged: statement.scam_warning_acknowledged,
        contact: Digest::from_bytes(&statement.contact_sha256)?,
        risk: statement.risk.unwrap_or_default(),
        subject: statement.subject,
        region: statement.region,
        banks,
        releases,
    })
}

/// Checks the form of a bank's statement.
///
/// # Errors
/// `MESSAGE_MALFORMED`, `QUERY_ID_INVALID`, `BANK_UNKNOWN`, `UPSTREAM_UNKNOWN`, `KEY_INVALID`.
pub fn bank_query(statement: wire::BankStatement) -> Result<BankQuery, Code> {
    let terms = terms(
        statement.purpose(),
        (statement.issued_at_ms, statement.expires_at_ms),
        (&statement.nonce, &statement.consent_text_sha256),
        statement.assurance(),
        statement.factors.clone(),
        statement.report_key.as_ref(),
    )?;
    Ok(BankQuery {
        reference: Reference::try_from(statement.reference.as_ref())?,
        bank: statement.bank_id.parse()?,
        identity: Digest::from_bytes(&statement.identity_sha256)?,
        terms,
    })
}

fn terms(
    purpose: Purpose,
    (issued_at_ms, expires_at_ms): (i64, i64),
    (nonce, consent_text): (&[u8], &[u8]),
    assurance: Assurance,
    factors: Vec<wire::Factor>,
    report_key: Option<&wire::PublicKey>,
) -> Result<Terms, Code> {
    Ok(Terms {
        purpose,
        issued_at: UnixMillis(issued_at_ms),
        expires_at: UnixMillis(expires_at_ms),
        nonce: Nonce::from_bytes(nonce)?,
        consent_text: Digest::from_bytes(consent_text)?,
        assurance,
        factors,
        report_key: SealingKey::from_wire(report_key.ok_or(Code::MESSAGE_MALFORMED)?)?,
    })
}

/// Signs the withdrawal of a consent.
pub fn revoke(reference: &Reference, issued_at: UnixMillis, key: &SigningKey) -> wire::ConsentRevoked {
    let revocation = wire::Revocation { reference: Some(reference.into()), issued_at_ms: issued_at.0 };
    wire::ConsentRevoked { revocation: Some(sign::sign(Tag::Revocation, &revocation, key)) }
}

/// Verifies a withdrawal that came through `upstream`'s topic under `record_key`.
///
/// # Errors
/// `MESSAGE_MALFORMED`, `WRONG_TOPIC`, `WRONG_RECORD_KEY`, a `KEY_…` code, `SIGNATURE_INVALID`.
pub fn open_revocation(
    upstream: &UpstreamId,
    record_key: &[u8],
    revoked: &wire::ConsentRevoked,
    party: &Party,
    appended_at: UnixMillis,
) -> Result<Reference, Code> {
    let signed = revoked.revocation.as_ref().ok_or(Code::MESSAGE_MALFORMED)?;
    let revocation: wire::Revocation =
        sign::open(Tag::Revocation, signed, |id| party.verifying_key(id, appended_at))?;
    let reference = Reference::try_from(revocation.reference.as_ref())?;
    if reference.upstream != *upstream {
        return Err(Code::WRONG_TOPIC);
    }
    if record_key != reference.query.to_string().as_bytes() {
        return Err(Code::WRONG_RECORD_KEY);
    }
    Ok(reference)
}
