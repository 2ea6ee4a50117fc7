//! The hub's word to the notifier that a report is ready, with the contact that the upstream sealed.

use bytes::Bytes;
use prost::Message;
use zeroize::Zeroizing;

use crate::codes::Code;
use crate::ids::{Digest, KeyId, Nonce, Reference};
use crate::keys::{OpeningKey, SigningKey};
use crate::registry::{NOTIFIER, Registry};
use crate::report::is_final;
use crate::seal::{self, Binding, Kind};
use crate::sign::{self, Tag};
use crate::submission::Contact;
use crate::time::UnixMillis;
use crate::wire::{self, QueryState, notice_record};

/// The hub's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The query.
    pub reference: Reference,
    /// One of the three final states.
    pub state: QueryState,
    /// Banks asked.
    pub banks: u32,
    /// Banks that answered.
    pub answered: u32,
    /// When the query was accepted.
    pub accepted_at: UnixMillis,
}

/// Builds and signs a notice.
pub fn notify(header: &Header, contact: &Contact, key: &SigningKey) -> wire::NoticeRecord {
    let signed = sign::sign(
        Tag::NoticeHeader,
        &wire::NoticeHeader {
            reference: Some((&header.reference).into()),
            state: header.state.into(),
            banks: header.banks,
            answered: header.answered,
            statement_sha256: Digest::of(&contact.statement.body).to_wire(),
            accepted_at_ms: header.accepted_at.0,
        },
        key,
    );
    let notice = wire::ReportNotice {
        header: Some(signed),
        statement: Some(contact.statement.clone()),
        sealed_contact: contact.sealed_contact.clone(),
    };
    wire::NoticeRecord { message: Some(notice_record::Message::ReportReady(notice)) }
}

/// A notice whose signatures and digests were verified. The phone number is still sealed.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The hub's word.
    pub header: Header,
    expires_at: UnixMillis,
    nonce: Nonce,
    sealed_contact: Bytes,
}

/// Verifies a record of the notice topic appended at `appended_at` under `record_key`.
///
/// # Errors
/// `MESSAGE_MALFORMED`, `WRONG_RECORD_KEY`, `PARTY_UNKNOWN`, `UPSTREAM_UNKNOWN`, a `KEY_…` code, `SIGNATURE_INVALID`,
/// `DIGEST_MISMATCH`, `STATEMENT_MISMATCH`.
pub fn open(
    record_key: &[u8],
    value: Bytes,
    registry: &Registry,
    appended_at: UnixMillis,
) -> Result<Notice, Code> {
    let record = wire::NoticeRecord::decode(value).map_err(|_| Code::MESSAGE_MALFORMED)?;
    let Some(notice_record::Message::ReportReady(notice)) = record.message else {
        return Err(Code::MESSAGE_MALFORMED);
    };
    let signed = notice.header.as_ref().ok_or(Code::MESSAGE_MALFORMED)?;
    let hub = registry.hub()?;
    let word: wire::NoticeHeader =
        sign::open(Tag::NoticeHeader, signed, |id| hub.verifying_key(id, appended_at))?;
    if !is_final(word.state()) {
        return Err(Code::MESSAGE_MALFORMED);
    }
    let header = Header {
        reference: Reference::try_from(word.reference.as_ref())?,
        state: word.state(),
        banks: word.banks,
        answered: word.answered,
        accepted_at: UnixMillis(word.accepted_at_ms),
    };
    if record_key != header.reference.query.to_string().as_bytes() {
        return Err(Code::WRONG_RECORD_KEY);
    }
    let signed = notice.statement.as_ref().ok_or(Code::MESSAGE_MALFORMED)?;
    let upstream = registry.upstream(&header.reference.upstream).ok_or(Code::UPSTREAM_UNKNOWN)?;
    let key_of = |id| upstream.verifying_key(id, header.accepted_at);
    let statement: wire::NotifierStatement = sign::open(Tag::NotifierStatement, signed, key_of)?;
    if word.statement_sha256 != Digest::of(&signed.body).0.as_slice()
        || statement.contact_sha256 != Digest::of(&notice.sealed_contact).0.as_slice()
    {
        return Err(Code::DIGEST_MISMATCH);
    }
    if Reference::try_from(statement.reference.as_ref())? != header.reference
        || statement.purpose() != wire::Purpose::AntiFraudSelfCheck
    {
        return Err(Code::STATEMENT_MISMATCH);
    }
    Ok(Notice {
        header,
        expires_at: UnixMillis(statement.expires_at_ms),
        nonce: Nonce::from_bytes(&statement.nonce)?,
        sealed_contact: notice.sealed_contact,
    })
}

impl Notice {
    /// The key that the contact is sealed to.
    ///
    /// # Errors
    /// `MESSAGE_MALFORMED`, `SEAL_SUITE_UNKNOWN`.
    pub fn recipient(&self) -> Result<KeyId, Code> {
        seal::recipient(&self.sealed_contact)
    }

    /// Opens the contact. The phone number stays in memory only while the SMS is sent.
    ///
    /// # Errors
    /// `KEY_UNKNOWN`, `SEAL_BROKEN`, `MESSAGE_MALFORMED`.
    pub fn contact(&self, keys: &[OpeningKey]) -> Result<wire::Contact, Code> {
        let recipient = seal::recipient(&self.sealed_contact)?;
        let key = keys.iter().find(|key| key.id() == recipient).ok_or(Code::KEY_UNKNOWN)?;
        let binding = Binding {
            reference: &self.header.reference,
            party: NOTIFIER,
            expires_at: self.expires_at,
            context: &self.nonce.0,
        };
        let content: Zeroizing<Vec<u8>> = seal::open(Kind::Contact, key, &binding, &self.sealed_contact)?;
        wire::Contact::decode(content.as_slice()).map_err(|_| Code::MESSAGE_MALFORMED)
    }
}
