//! Checkpoints: C2SP tlog-checkpoint, as a C2SP signed note with one Ed25519 signature of the hub.
//!
//! ```text
//! cardquery.audit.v1                                  the origin: the name of the log's topic
//! 42                                                  leaves
//! n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=        root
//! time 1795420800000                                  when it was signed, Unix milliseconds
//!
//! — cardquery.audit.v1 Tm90ZSBrZXkgaGFzaA…            key hash (4 bytes) and signature (64), base64
//! ```
//!
//! The signature is over the text up to and with the line before the blank one, without a tag. No text of a note has the
//! zero byte that every tagged message has after its tag, so neither can be taken for the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::codes::Code;
use crate::ids::Digest;
use crate::keys::{SigningKey, VerifyingKey};
use crate::registry::Key;
use crate::time::UnixMillis;
use crate::wire::KeyUse;

/// Ed25519, in the key hash of a signed note.
const ED25519: u8 = 1;
/// Longer notes are refused before anything is read of them.
const MAX_NOTE: usize = 4 * 1024;

/// The hub's word on its log: that it had so many leaves, with this root, at this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Names the log: its topic.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// When it was signed; the hub's key must count at that time.
    pub signed_at: UnixMillis,
}

impl Checkpoint {
    fn text(&self) -> String {
        let Self { origin, size, root, signed_at } = self;
        format!("{origin}\n{size}\n{}\ntime {}\n", STANDARD.encode(root.0), signed_at.0)
    }

    /// The signed note.
    pub fn sign(&self, key: &SigningKey) -> String {
        let text = self.text();
        let mut signature = key_hash(&self.origin, &key.public()).to_vec();
        signature.extend_from_slice(&key.sign_raw(text.as_bytes()));
        format!("{text}\n\u{2014} {} {}\n", self.origin, STANDARD.encode(signature))
    }

    /// Verifies a note of the log `origin` with the hub's keys, as the registry has them. Signatures of others, for example of
    /// witnesses, are passed over.
    ///
    /// # Errors
    /// `MESSAGE_MALFORMED` when it is no checkpoint, or one of another log; `KEY_UNKNOWN` when no key of the hub signed it; a
    /// `KEY_…` code; `SIGNATURE_INVALID`.
    pub fn open(note: &str, origin: &str, hub: &[Key]) -> Result<Self, Code> {
        let (checkpoint, text, signatures) = split(note).ok_or(Code::MESSAGE_MALFORMED)?;
        if checkpoint.origin != origin {
            return Err(Code::MESSAGE_MALFORMED);
        }
        for (name, bytes) in signatures {
            let Some((hash, signature)) = bytes.split_first_chunk::<4>() else {
                return Err(Code::MESSAGE_MALFORMED);
            };
            let signing = hub.iter().filter(|key| key.key_use() == KeyUse::Sign);
            for key in signing {
                let public = VerifyingKey::from_wire(&key.public())?;
                if name == origin && *hash == key_hash(origin, &public) {
                    key.counts_at(checkpoint.signed_at)?;
                    public.verify_raw(text.as_bytes(), signature)?;
                    return Ok(checkpoint);
                }
            }
        }
        Err(Code::KEY_UNKNOWN)
    }
}

/// First four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key): C2SP signed-note.
fn key_hash(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let hasher = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]);
    let hash = hasher.chain_update(&key.to_wire().raw).finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// By name, each with its key hash in front.
type Signatures<'a> = Vec<(&'a str, Vec<u8>)>;

/// A note's checkpoint, its signed text, and its signatures.
fn split(note: &str) -> Option<(Checkpoint, &str, Signatures<'_>)> {
    if note.len() > MAX_NOTE {
        return None;
    }
    let end = note.find("\n\n")?;
    let (text, rest) = (&note[..=end], &note[end + 2..]);
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let checkpoint = Checkpoint {
        origin: lines.next()?.to_owned(),
        size: lines.next()?.parse().ok()?,
        root: Digest::from_bytes(&STANDARD.decode(lines.next()?).ok()?).ok()?,
        signed_at: UnixMillis(lines.next()?.strip_prefix("time ")?.parse().ok()?),
    };
    // What is signed has one spelling: no leading zeros, no further lines.
    if lines.next().is_some() || checkpoint.text() != text {
        return None;
    }
    let signatures = rest.strip_suffix('\n')?.split('\n').map(|line| {
        let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        Some((name, STANDARD.decode(signature).ok()?))
    });
    Some((checkpoint, text, signatures.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::{self, Tag};

    const ORIGIN: &str = "cardquery.audit.v1";

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: ORIGIN.into(),
            size: 42,
            root: Digest([7; 32]),
            signed_at: UnixMillis(1_795_420_800_000),
        }
    }

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed(&[n; 32])
    }

    fn hub(revoked: bool) -> Vec<Key> {
        let signing = |n: u8, revoked: bool| crate::wire::PartyKey {
            key: Some(key(n).public().to_wire()),
            r#use: KeyUse::Sign.into(),
            valid_from_ms: 0,
            revoked,
            revoked_at_ms: 1,
        };
        let keys = [signing(1, false), signing(2, revoked)];
        keys.iter().map(|key| Key::from_wire(key, UnixMillis(0)).expect("a key")).collect()
    }

    #[test]
    fn a_note_says_what_was_signed_and_its_text_is_as_documented() {
        let note = checkpoint().sign(&key(1));
        let text = format!(
            "{ORIGIN}\n42\n{}\ntime 1795420800000\n\n\u{2014} {ORIGIN} ",
            "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="
        );
        assert!(note.starts_with(&text), "{note}");
        assert_eq!(Checkpoint::open(&note, ORIGIN, &hub(false)), Ok(checkpoint()));
    }

    #[test]
    fn whoever_else_signed_and_whatever_was_changed_is_refused() {
        let hub = hub(true);
        let open = |note: &str| Checkpoint::open(note, ORIGIN, &hub);
        let note = checkpoint().sign(&key(1));
        assert_eq!(open(&checkpoint().sign(&key(2))), Err(Code::KEY_REVOKED));
        assert_eq!(open(&checkpoint().sign(&key(3))), Err(Code::KEY_UNKNOWN));
        assert_eq!(Checkpoint::open(&note, "other.audit.v1", &hub), Err(Code::MESSAGE_MALFORMED));
        for (from, to) in [("\n42\n", "\n43\n"), ("BwcH", "CwcH"), ("time 1795", "time 1796")] {
            assert_eq!(open(&note.replacen(from, to, 1)), Err(Code::SIGNATURE_INVALID), "{to}");
        }
        for (from, to) in
            [("\n42\n", "\n042\n"), ("\n\n", "\nmore\n\n"), ("\n42\n", "\n-1\n"), ("\u{2014} ", "")]
        {
            assert_eq!(open(&note.replacen(from, to, 1)), Err(Code::MESSAGE_MALFORMED), "{to}");
        }
        for end in note.char_indices().map(|(at, _)| at) {
            assert!(open(&note[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn signatures_of_witnesses_stand_beside_the_hubs_in_any_order() {
        let note = checkpoint().sign(&key(1));
        let (text, own) = note.split_once("\n\n").expect("a note");
        let witness = "\u{2014} witness.example AAAAAAAA";
        for signatures in [format!("{own}{witness}\n"), format!("{witness}\n{own}")] {
            let note = format!("{text}\n\n{signatures}");
            assert_eq!(Checkpoint::open(&note, ORIGIN, &hub(false)), Ok(checkpoint()));
        }
    }

    #[test]
    fn a_checkpoint_is_no_tagged_message_and_none_is_a_checkpoint() {
        let note = checkpoint().sign(&key(1));
        let signature =
            STANDARD.decode(note.trim_end().rsplit(' ').next().expect("a signature")).expect("base64");
        for tag in Tag::ALL {
            let verdict =
                sign::verify_bytes(tag, checkpoint().text().as_bytes(), &signature[4..], &key(1).public());
            assert_eq!(verdict, Err(Code::SIGNATURE_INVALID), "{tag:?}");
        }
    }
}
