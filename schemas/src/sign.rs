//! Signatures: Ed25519 over `tag ‖ 0x00 ‖ body`, a tag of its own for every kind.

use bytes::Bytes;
use prost::Message;

use crate::codes::Code;
use crate::ids::KeyId;
use crate::keys::{SigningKey, VerifyingKey};
use crate::wire;

/// What a signature was made for. A signature of one kind never verifies as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Tag {
    HubStatement,
    BankStatement,
    NotifierStatement,
    Revocation,
    RequestHeader,
    RequestCancellation,
    ReplyBatch,
    NoticeHeader,
    Coverage,
    ViewGrant,
    RegistryEntry,
    RegistryRotation,
    ErasureReceipt,
    AuditEvidence,
}

impl Tag {
    /// Every kind of signature.
    pub const ALL: [Tag; 14] = [
        Tag::HubStatement,
        Tag::BankStatement,
        Tag::NotifierStatement,
        Tag::Revocation,
        Tag::RequestHeader,
        Tag::RequestCancellation,
        Tag::ReplyBatch,
        Tag::NoticeHeader,
        Tag::Coverage,
        Tag::ViewGrant,
        Tag::RegistryEntry,
        Tag::RegistryRotation,
        Tag::ErasureReceipt,
        Tag::AuditEvidence,
    ];

    /// The bytes before the separator. Part of the wire contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Tag::HubStatement => "hub-statement/v1",
            Tag::BankStatement => "bank-statement/v1",
            Tag::NotifierStatement => "notifier-statement/v1",
            Tag::Revocation => "revocation/v1",
            Tag::RequestHeader => "request-header/v1",
            Tag::RequestCancellation => "request-cancellation/v1",
            Tag::ReplyBatch => "reply-batch/v1",
            Tag::NoticeHeader => "notice-header/v1",
            Tag::Coverage => "coverage/v1",
            Tag::ViewGrant => "view-grant/v1",
            Tag::RegistryEntry => "registry-entry/v1",
            Tag::RegistryRotation => "registry-rotation/v1",
            Tag::ErasureReceipt => "erasure-receipt/v1",
            Tag::AuditEvidence => "audit-evidence/v1",
        }
    }

    fn message(self, body: &[u8]) -> Vec<u8> {
        [self.as_str().as_bytes(), &[0], body].concat()
    }
}

/// Encodes `message` once and signs those bytes.
pub fn sign<M: Message>(tag: Tag, message: &M, key: &SigningKey) -> wire::Signed {
    let body = message.encode_to_vec();
    let signature = sign_bytes(tag, &body, key);
    wire::Signed { body: body.into(), key_id: key.id().to_wire(), signature }
}

/// A detached signature over `body`.
pub fn sign_bytes(tag: Tag, body: &[u8], key: &SigningKey) -> Bytes {
    key.sign_raw(&tag.message(body)).to_vec().into()
}

/// Verifies a detached signature.
///
/// # Errors
/// `SIGNATURE_INVALID`.
pub fn verify_bytes(tag: Tag, body: &[u8], signature: &[u8], key: &VerifyingKey) -> Result<(), Code> {
    key.verify_raw(&tag.message(body), signature)
}

/// Verifies, then decodes: the only way from a signed message to its content. `key_of` finds the key that counts.
///
/// # Errors
/// What `key_of` says, `SIGNATURE_INVALID`, or `MESSAGE_MALFORMED` when a signed body does not decode.
pub fn open<M: Message + Default>(
    tag: Tag,
    signed: &wire::Signed,
    key_of: impl FnOnce(KeyId) -> Result<VerifyingKey, Code>,
) -> Result<M, Code> {
    let key = key_of(KeyId::from_bytes(&signed.key_id)?)?;
    verify_bytes(tag, &signed.body, &signed.signature, &key)?;
    M::decode(signed.body.clone()).map_err(|_| Code::MESSAGE_MALFORMED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_of_one_kind_verifies_as_no_other() {
        let key = SigningKey::from_seed(&[3; 32]);
        for made_for in Tag::ALL {
            let signature = sign_bytes(made_for, b"body", &key);
            for used_for in Tag::ALL {
                let verdict = verify_bytes(used_for, b"body", &signature, &key.public());
                assert_eq!(verdict.is_ok(), made_for == used_for, "{made_for:?} as {used_for:?}");
            }
        }
    }

    #[test]
    fn tags_are_distinct_and_none_contains_the_separator() {
        for (i, a) in Tag::ALL.iter().enumerate() {
            assert!(!a.as_str().bytes().any(|b| b == 0));
            for b in &Tag::ALL[i + 1..] {
                assert_ne!(a.as_str(), b.as_str());
            }
        }
    }

    #[test]
    fn a_body_with_fields_this_version_does_not_know_still_verifies() {
        let key = SigningKey::from_seed(&[3; 32]);
        let mut body = wire::Revocation { reference: None, issued_at_ms: 7 }.encode_to_vec();
        body.extend_from_slice(&[0xfa, 0x01, 0x02, b'h', b'i']);
        let signed = wire::Signed {
            signature: sign_bytes(Tag::Revocation, &body, &key),
            body: body.into(),
            key_id: key.id().to_wire(),
        };
        let opened: wire::Revocation =
            open(Tag::Revocation, &signed, |_| Ok(key.public())).expect("verifies");
        assert_eq!(opened.issued_at_ms, 7);
    }
}
