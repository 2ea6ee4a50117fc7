//! The grant with which a device gets its report.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use crate::codes::Code;
use crate::ids::{Digest, KeyId, Nonce, Reference};
use crate::keys::SigningKey;
use crate::registry::Registry;
use crate::sign::{self, Tag};
use crate::time::UnixMillis;
use crate::wire;

/// Longest validity of a grant.
pub const MAX_GRANT_VALIDITY: Duration = Duration::from_secs(120);

/// The upstream's word, after the payment password was entered, that this device may read this report once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The query.
    pub reference: Reference,
    /// Pseudonym of the person within the upstream.
    pub subject: String,
    /// Key id of the report key.
    pub report_key: KeyId,
    /// When the password was entered.
    pub issued_at: UnixMillis,
    /// At most two minutes later.
    pub expires_at: UnixMillis,
    /// Makes the grant usable once.
    pub nonce: Nonce,
}

/// Signs a grant; returns the encoded body of `POST /v1/queries/{id}/report`.
pub fn grant(grant: &Grant, key: &SigningKey) -> Bytes {
    let body = wire::ViewGrant {
        reference: Some((&grant.reference).into()),
        subject: grant.subject.clone(),
        report_key_id: grant.report_key.to_wire(),
        issued_at_ms: grant.issued_at.0,
        expires_at_ms: grant.expires_at.0,
        nonce: grant.nonce.to_wire(),
    };
    wire::GrantedView { grant: Some(sign::sign(Tag::ViewGrant, &body, key)) }.encode_to_vec().into()
}

impl Grant {
    /// Whether the grant counts at `at`.
    ///
    /// # Errors
    /// `GRANT_INVALID`, `GRANT_EXPIRED`.
    pub fn check(&self, at: UnixMillis) -> Result<(), Code> {
        if self.expires_at > self.issued_at + MAX_GRANT_VALIDITY || self.issued_at > at {
            return Err(Code::GRANT_INVALID);
        }
        if at > self.expires_at {
            return Err(Code::GRANT_EXPIRED);
        }
        Ok(())
    }
}

/// Verifies a grant presented at `at`: [`verify`], then [`Grant::check`].
///
/// # Errors
/// Those of both.
pub fn open(value: Bytes, registry: &Registry, at: UnixMillis) -> Result<(Grant, Digest), Code> {
    let (grant, digest) = verify(value, registry, at)?;
    grant.check(at)?;
    Ok((grant, digest))
}

/// Verifies who signed a grant presented at `at`, whether or not it counts then: what its upstream signed for a person
/// can be held against that person's count. Returns it with the SHA-256 of its signed body, which tells the same grant
/// shown again from another one with its nonce.
///
/// # Errors
/// `MESSAGE_MALFORMED`, `UPSTREAM_UNKNOWN`, `UPSTREAM_NOT_ACTIVE`, a `KEY_…` code, `SIGNATURE_INVALID`.
pub fn verify(value: Bytes, registry: &Registry, at: UnixMillis) -> Result<(Grant, Digest), Code> {
    let view = wire::GrantedView::decode(value).map_err(|_| Code::MESSAGE_MALFORMED)?;
    let signed = view.grant.ok_or(Code::MESSAGE_MALFORMED)?;
    // Which upstream signed is only known from the body; nothing else of it is used before the signature is verified.
    let claimed = wire::ViewGrant::decode(signed.body.clone()).map_err(|_| Code::MESSAGE_MALFORMED)?;
    let reference = Reference::try_from(claimed.reference.as_ref())?;
    let upstream = registry.upstream(&reference.upstream).ok_or(Code::UPSTREAM_UNKNOWN)?;
    if !upstream.is_active() {
        return Err(Code::UPSTREAM_NOT_ACTIVE);
    }
    let word: wire::ViewGrant = sign::open(Tag::ViewGrant, &signed, |id| upstream.verifying_key(id, at))?;
    let grant = Grant {
        reference,
        subject: word.subject,
        report_key: KeyId::from_bytes(&word.report_key_id)?,
        issued_at: UnixMillis(word.issued_at_ms),
        expires_at: UnixMillis(word.expires_at_ms),
        nonce: Nonce::from_bytes(&word.nonce)?,
    };
    Ok((grant, Digest::of(&signed.body)))
}
