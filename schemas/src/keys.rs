//! Key pairs for signing and for sealing. Private halves never print.

use std::fmt;

use ed25519_dalek::Signer as _;
use hpke::{Deserializable as _, Kem as _, Serializable as _};
use zeroize::Zeroizing;

use crate::codes::Code;
use crate::ids::KeyId;
use crate::wire::{self, KeyAlgorithm};

pub(crate) type Kem = hpke::kem::X25519HkdfSha256;

/// An Ed25519 key that signs.
#[derive(Clone)]
pub struct SigningKey {
    inner: ed25519_dalek::SigningKey,
    id: KeyId,
}

impl SigningKey {
    /// From the 32-byte seed of RFC 8032.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let inner = ed25519_dalek::SigningKey::from_bytes(seed);
        let id = KeyId::of(KeyAlgorithm::Ed25519, inner.verifying_key().as_bytes());
        Self { inner, id }
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The public half.
    pub fn public(&self) -> VerifyingKey {
        VerifyingKey { inner: self.inner.verifying_key(), id: self.id }
    }

    pub(crate) fn sign_raw(&self, message: &[u8]) -> [u8; 64] {
        self.inner.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

/// An Ed25519 key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    inner: ed25519_dalek::VerifyingKey,
    id: KeyId,
}

impl VerifyingKey {
    /// From the wire. Refuses keys of small order, which verify signatures that nobody made.
    pub fn from_wire(key: &wire::PublicKey) -> Result<Self, Code> {
        let raw = raw_32(key, KeyAlgorithm::Ed25519)?;
        let inner = ed25519_dalek::VerifyingKey::from_bytes(&raw).map_err(|_| Code::KEY_INVALID)?;
        if inner.is_weak() {
            return Err(Code::KEY_INVALID);
        }
        Ok(Self { inner, id: KeyId::of(KeyAlgorithm::Ed25519, &raw) })
    }

    /// For the wire.
    pub fn to_wire(&self) -> wire::PublicKey {
        wire::PublicKey {
            algorithm: KeyAlgorithm::Ed25519.into(),
            raw: self.inner.to_bytes().to_vec().into(),
        }
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// `verify_strict`: one signature has one encoding, as evidence needs.
    pub(crate) fn verify_raw(&self, message: &[u8], signature: &[u8]) -> Result<(), Code> {
        let signature =
            ed25519_dalek::Signature::from_slice(signature).map_err(|_| Code::SIGNATURE_INVALID)?;
        self.inner.verify_strict(message, &signature).map_err(|_| Code::SIGNATURE_INVALID)
    }
}

/// An X25519 key that opens what was sealed to it.
#[derive(Clone)]
pub struct OpeningKey {
    inner: <Kem as hpke::Kem>::PrivateKey,
    public: SealingKey,
}

impl OpeningKey {
    /// A fresh key, for example a report key.
    pub fn generate() -> Self {
        let (private, public) = Kem::gen_keypair();
        Self { inner: private, public: SealingKey::new(public) }
    }

    /// From input keying material (RFC 9180, DeriveKeyPair).
    pub fn derive(ikm: &[u8]) -> Self {
        let (private, public) = Kem::derive_keypair(ikm);
        Self { inner: private, public: SealingKey::new(public) }
    }

    /// From the 32 raw bytes of a private key.
    pub fn from_raw(raw: &[u8; 32]) -> Result<Self, Code> {
        let inner = <Kem as hpke::Kem>::PrivateKey::from_bytes(raw).map_err(|_| Code::KEY_INVALID)?;
        let public = SealingKey::new(Kem::sk_to_pk(&inner));
        Ok(Self { inner, public })
    }

    /// The 32 raw bytes, to be kept secret.
    pub fn to_raw(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.inner.to_bytes().into())
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        self.public.id
    }

    /// The public half.
    pub fn public(&self) -> &SealingKey {
        &self.public
    }

    pub(crate) fn inner(&self) -> &<Kem as hpke::Kem>::PrivateKey {
        &self.inner
    }
}

impl fmt::Debug for OpeningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpeningKey({})", self.public.id)
    }
}

/// An X25519 key that others seal to.
#[derive(Clone)]
pub struct SealingKey {
    inner: <Kem as hpke::Kem>::PublicKey,
    id: KeyId,
}

impl SealingKey {
    fn new(inner: <Kem as hpke::Kem>::PublicKey) -> Self {
        let id = KeyId::of(KeyAlgorithm::X25519, &inner.to_bytes());
        Self { inner, id }
    }

    /// From the wire. Refuses points of small order, with which no secret can be shared.
    pub fn from_wire(key: &wire::PublicKey) -> Result<Self, Code> {
        let raw = raw_32(key, KeyAlgorithm::X25519)?;
        if is_small_order(raw) {
            return Err(Code::KEY_INVALID);
        }
        <Kem as hpke::Kem>::PublicKey::from_bytes(&raw).map(Self::new).map_err(|_| Code::KEY_INVALID)
    }

    /// For the wire.
    pub fn to_wire(&self) -> wire::PublicKey {
        wire::PublicKey { algorithm: KeyAlgorithm::X25519.into(), raw: self.inner.to_bytes().to_vec().into() }
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn inner(&self) -> &<Kem as hpke::Kem>::PublicKey {
        &self.inner
    }
}

impl PartialEq for SealingKey {
    fn eq(&self, other: &Self) -> bool {
        self.inner.to_bytes() == other.inner.to_bytes()
    }
}

impl Eq for SealingKey {}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

/// The u-coordinates of order 1, 2, 4 and 8 on Curve25519 and its twist, below 2^255, with the spellings that are
/// not reduced (RFC 7748, section 6.1, asks for a check of the shared secret; this one comes before any seal).
const SMALL_ORDER: [[u8; 32]; 7] = {
    const fn near_p(low: u8) -> [u8; 32] {
        let mut point = [0xff; 32];
        point[0] = low;
        point[31] = 0x7f;
        point
    }
    let mut one = [0; 32];
    one[0] = 1;
    [
        [0; 32],
        one,
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
            0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ],
        [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
            0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
        ],
        near_p(0xec),
        near_p(0xed),
        near_p(0xee),
    ]
};

fn is_small_order(mut raw: [u8; 32]) -> bool {
    // X25519 ignores the top bit.
    raw[31] &= 0x7f;
    SMALL_ORDER.contains(&raw)
}

fn raw_32(key: &wire::PublicKey, algorithm: KeyAlgorithm) -> Result<[u8; 32], Code> {
    if key.algorithm != algorithm as i32 {
        return Err(Code::KEY_INVALID);
    }
    key.raw.as_ref().try_into().map_err(|_| Code::KEY_INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_halves_do_not_print() {
        let signing = SigningKey::from_seed(&[7; 32]);
        let opening = OpeningKey::derive(&[7; 32]);
        for text in [format!("{signing:?}"), format!("{opening:?}")] {
            assert!(!text.contains(&hex::encode([7; 32])) && !text.contains("7, 7"), "{text}");
        }
        assert!(!format!("{opening:?}").contains(&hex::encode(*opening.to_raw())));
    }

    #[test]
    fn a_key_of_small_order_is_refused() {
        let mut raw = [0; 32];
        raw[0] = 1;
        let key = wire::PublicKey { algorithm: KeyAlgorithm::Ed25519.into(), raw: raw.to_vec().into() };
        assert_eq!(VerifyingKey::from_wire(&key), Err(Code::KEY_INVALID));
    }

    #[test]
    fn a_key_of_one_algorithm_is_not_taken_for_the_other() {
        let sealing = OpeningKey::derive(&[1; 32]).public().to_wire();
        let signing = SigningKey::from_seed(&[1; 32]).public().to_wire();
        assert_eq!(VerifyingKey::from_wire(&sealing), Err(Code::KEY_INVALID));
        assert_eq!(SealingKey::from_wire(&signing), Err(Code::KEY_INVALID));
    }
}
