//! Sealing with padding and bound `aad`: HPKE (RFC 9180) base mode, one context per message.
//!
//! Base mode authenticates nobody: every sealed part is also named, by its digest, in a signed statement or header.

use bytes::Bytes;
use prost::Message;
use zeroize::Zeroizing;

use crate::codes::Code;
use crate::fields::Fields;
use crate::ids::{KeyId, Reference};
use crate::keys::{Kem, OpeningKey, SealingKey};
use crate::time::UnixMillis;
use crate::wire::{self, Suite};

type Aead = hpke::aead::AesGcm256;
type Kdf = hpke::kdf::HkdfSha256;

/// What is sealed. Decides `info` and the sizes before sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Producer to one bank.
    Identity,
    /// Producer to the notifier.
    Contact,
    /// Bank to the report key.
    Answer,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 3] = [Kind::Identity, Kind::Contact, Kind::Answer];

    /// Sizes in bytes to which content is padded, smallest first.
    pub fn sizes(self) -> &'static [usize] {
        match self {
            Kind::Identity => &[512],
            Kind::Contact => &[64],
            Kind::Answer => &[512, 2048, 8192],
        }
    }

    /// `info` of RFC 9180: the kind and the one purpose for which content is ever sealed.
    fn info(self) -> Fields {
        let kind = match self {
            Kind::Identity => "seal-identity/v1",
            Kind::Contact => "seal-contact/v1",
            Kind::Answer => "seal-answer/v1",
        };
        Fields::new().text(kind).text(wire::Purpose::AntiFraudSelfCheck.as_str_name())
    }
}

/// What a sealed part is bound to: moved elsewhere, it does not open.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The query.
    pub reference: &'a Reference,
    /// The bank that the part goes to or comes from; `notifier` for a contact.
    pub party: &'a str,
    /// Expiry of the consent.
    pub expires_at: UnixMillis,
    /// The consent nonce for identity and contact, the SHA-256 of the bank's statement for answers.
    pub context: &'a [u8],
}

impl Binding<'_> {
    fn aad(&self, recipient: KeyId) -> Fields {
        self.reference
            .push(Fields::new())
            .text(self.party)
            .bytes(&recipient.0)
            .time(self.expires_at)
            .bytes(self.context)
    }
}

/// Pads `content` and seals it to `to`; returns the encoded envelope.
///
/// # Errors
/// `SEAL_CONTENT_TOO_LARGE`, or `KEY_INVALID` for a public key that yields no shared secret.
pub fn seal(kind: Kind, to: &SealingKey, binding: &Binding<'_>, content: &[u8]) -> Result<Bytes, Code> {
    let padded = pad(content, kind.sizes())?;
    let (enc, mut context) =
        hpke::setup_sender::<Aead, Kdf, Kem>(&hpke::OpModeS::Base, to.inner(), kind.info().as_bytes())
            .map_err(|_| Code::KEY_INVALID)?;
    let ciphertext = context.seal(&padded, binding.aad(to.id()).as_bytes()).map_err(|_| Code::INTERNAL)?;
    let envelope = wire::Sealed {
        suite: Suite::X25519Sha256Aes256gcm.into(),
        key_id: to.id().to_wire(),
        enc: hpke::Serializable::to_bytes(&enc).to_vec().into(),
        ciphertext: ciphertext.into(),
    };
    Ok(envelope.encode_to_vec().into())
}

/// Opens an encoded envelope.
///
/// # Errors
/// `MESSAGE_MALFORMED`, `SEAL_SUITE_UNKNOWN`, `KEY_UNKNOWN` when it is sealed to another key, `SEAL_BROKEN`.
pub fn open(
    kind: Kind,
    key: &OpeningKey,
    binding: &Binding<'_>,
    envelope: &Bytes,
) -> Result<Zeroizing<Vec<u8>>, Code> {
    let envelope = read(envelope)?;
    if envelope.key_id != key.id().0.as_slice() {
        return Err(Code::KEY_UNKNOWN);
    }
    let enc = hpke::Deserializable::from_bytes(&envelope.enc).map_err(|_| Code::MESSAGE_MALFORMED)?;
    let mut context = hpke::setup_receiver::<Aead, Kdf, Kem>(
        &hpke::OpModeR::Base,
        key.inner(),
        &enc,
        kind.info().as_bytes(),
    )
    .map_err(|_| Code::SEAL_BROKEN)?;
    let padded = context
        .open(&envelope.ciphertext, binding.aad(key.id()).as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| Code::SEAL_BROKEN)?;
    unpad(&padded, kind.sizes()).map(|content| Zeroizing::new(content.to_vec()))
}

/// The key id that an envelope is addressed to, without opening it.
///
/// # Errors
/// `MESSAGE_MALFORMED`, `SEAL_SUITE_UNKNOWN`.
pub fn recipient(envelope: &Bytes) -> Result<KeyId, Code> {
    KeyId::from_bytes(&read(envelope)?.key_id)
}

fn read(envelope: &Bytes) -> Result<wire::Sealed, Code> {
    let envelope = wire::Sealed::decode(envelope.clone()).map_err(|_| Code::MESSAGE_MALFORMED)?;
    if envelope.suite != Suite::X25519Sha256Aes256gcm as i32 {
        return Err(Code::SEAL_SUITE_UNKNOWN);
    }
    Ok(envelope)
}

/// u16-BE length, content, zeros.
fn pad(content: &[u8], sizes: &[usize]) -> Result<Zeroizing<Vec<u8>>, Code> {
    let size = *sizes.iter().find(|size| content.len() + 2 <= **size).ok_or(Code::SEAL_CONTENT_TOO_LARGE)?;
    let length = u16::try_from(content.len()).map_err(|_| Code::SEAL_CONTENT_TOO_LARGE)?;
    let mut padded = Zeroizing::new(vec![0; size]);
    padded[..2].copy_from_slice(&length.to_be_bytes());
    padded[2..2 + content.len()].copy_from_slice(content);
    Ok(padded)
}

fn unpad<'a>(padded: &'a [u8], sizes: &[usize]) -> Result<&'a [u8], Code> {
    let (length, rest) = padded.split_first_chunk::<2>().ok_or(Code::MESSAGE_MALFORMED)?;
    let (content, zeros) =
        rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(Code::MESSAGE_MALFORMED)?;
    // One content has one padding: anything else would be a side channel from the sealer to whoever sees lengths.
    let canonical = pad(content, sizes)?.len() == padded.len() && zeros.iter().all(|byte| *byte == 0);
    canonical.then_some(content).ok_or(Code::MESSAGE_MALFORMED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::QueryId;
    use proptest::prelude::*;

    fn reference() -> Reference {
        Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() }
    }

    #[test]
    fn suite_ids_are_those_of_rfc_9180() {
        use hpke::{aead::Aead as _, kdf::Kdf as _, kem::Kem as _};
        assert_eq!((Kem::KEM_ID, Kdf::KDF_ID, Aead::AEAD_ID), (0x0020, 0x0001, 0x0002));
    }

    #[test]
    fn a_part_opens_only_where_it_belongs() {
        let (key, other_key) = (OpeningKey::generate(), OpeningKey::generate());
        let (here, elsewhere) = (reference(), reference());
        let home = Binding { reference: &here, party: "alpha", expires_at: UnixMillis(9), context: b"nonce" };
        for kind in Kind::ALL {
            let envelope = seal(kind, key.public(), &home, b"content").expect("seals");
            assert_eq!(**open(kind, &key, &home, &envelope).expect("opens"), *b"content");
            let moved = [
                Binding { reference: &elsewhere, ..home },
                Binding { party: "beta", ..home },
                Binding { expires_at: UnixMillis(10), ..home },
                Binding { context: b"other", ..home },
            ];
            for binding in &moved {
                assert_eq!(
                    open(kind, &key, binding, &envelope).err(),
                    Some(Code::SEAL_BROKEN),
                    "{binding:?}"
                );
            }
            for other in Kind::ALL.into_iter().filter(|other| *other != kind) {
                assert!(open(other, &key, &home, &envelope).is_err(), "{kind:?} as {other:?}");
            }
            assert_eq!(open(kind, &other_key, &home, &envelope).err(), Some(Code::KEY_UNKNOWN));
        }
    }

    #[test]
    fn content_that_fits_no_size_is_refused() {
        let key = OpeningKey::generate();
        let here = reference();
        let binding = Binding { reference: &here, party: "alpha", expires_at: UnixMillis(9), context: b"" };
        assert!(seal(Kind::Contact, key.public(), &binding, &[1; 62]).is_ok());
        let refused = seal(Kind::Contact, key.public(), &binding, &[1; 63]);
        assert_eq!(refused, Err(Code::SEAL_CONTENT_TOO_LARGE));
    }

    proptest! {
        #[test]
        fn any_altered_byte_breaks_the_seal(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let key = OpeningKey::generate();
            let here = reference();
            let binding = Binding { reference: &here, party: "alpha", expires_at: UnixMillis(9), context: b"x" };
            let mut altered = seal(Kind::Identity, key.public(), &binding, b"content").expect("seals").to_vec();
            let at = at.index(altered.len());
            altered[at] ^= flip;
            let outcome = open(Kind::Identity, &key, &binding, &altered.into());
            // A flipped bit may turn a field into an unknown one; what opens is then still the whole content.
            prop_assert!(outcome.is_err(), "opened with byte {} altered", at);
        }

        #[test]
        fn padding_hides_every_length_within_a_size(content in prop::collection::vec(any::<u8>(), 0..510)) {
            let padded = pad(&content, &[512, 2048]).expect("fits");
            prop_assert_eq!(padded.len(), 512);
            prop_assert_eq!(unpad(&padded, &[512, 2048]), Ok(content.as_slice()));
        }
    }
}
