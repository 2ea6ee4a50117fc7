//! Batch proofs: a bank signs one Merkle root over many reply headers.
//!
//! A batch of one is the ordinary case on a quiet day: its path is empty and its root is the leaf hash.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use crate::codes::Code;
use crate::ids::{BankId, Digest, KeyId, Nonce};
use crate::keys::{SigningKey, VerifyingKey};
use crate::merkle;
use crate::sign::{self, Tag};
use crate::time::UnixMillis;
use crate::wire;

/// Replies per batch at most.
pub const MAX_TREE_SIZE: u32 = 1024;
/// Length of the longest path in a tree of [`MAX_TREE_SIZE`].
const MAX_PATH: usize = 10;

/// Signs a batch of encoded reply headers; returns their proofs in the same order.
///
/// # Errors
/// `BATCH_TOO_LARGE` for more than [`MAX_TREE_SIZE`] headers.
pub fn sign_batch(
    bank: &BankId,
    key: &SigningKey,
    batch_id: Nonce,
    headers: &[Bytes],
    signed_at: UnixMillis,
) -> Result<Vec<wire::BatchProof>, Code> {
    let tree_size = u32::try_from(headers.len()).ok().filter(|size| *size <= MAX_TREE_SIZE);
    let tree_size = tree_size.ok_or(Code::BATCH_TOO_LARGE)?;
    let leaves: Vec<_> = headers.iter().map(|header| merkle::leaf_hash(header)).collect();
    let (root, paths) = merkle::root_and_paths(&leaves);
    let statement = wire::BatchStatement {
        bank_id: bank.as_str().to_owned(),
        key_id: key.id().to_wire(),
        batch_id: batch_id.to_wire(),
        tree_size,
        root: root.to_wire(),
        signed_at_ms: signed_at.0,
    };
    let statement = sign::sign(Tag::ReplyBatch, &statement, key);
    Ok((0u32..)
        .zip(paths)
        .map(|(index, path)| wire::BatchProof {
            statement: Some(statement.clone()),
            index,
            path: path.into_iter().map(Digest::to_wire).collect(),
        })
        .collect())
}

/// Verifies that `header` is in a batch that `bank` signed, and returns when it signed. `key_of` finds the bank's
/// key that counts at the message's append time; it is asked every time, also when the root is in `roots`.
///
/// # Errors
/// What `key_of` says, `BATCH_TOO_LARGE`, `BATCH_PROOF_INVALID`, `WRONG_TOPIC` for another bank's statement,
/// `SIGNATURE_INVALID`, `MESSAGE_MALFORMED`.
pub fn verify(
    bank: &BankId,
    header: &[u8],
    proof: &wire::BatchProof,
    key_of: impl FnOnce(KeyId) -> Result<VerifyingKey, Code>,
    roots: &mut VerifiedRoots,
) -> Result<UnixMillis, Code> {
    // Before any hashing: an attacker pays for length, not we.
    if proof.path.len() > MAX_PATH {
        return Err(Code::BATCH_TOO_LARGE);
    }
    let signed = proof.statement.as_ref().ok_or(Code::MESSAGE_MALFORMED)?;
    let key = key_of(KeyId::from_bytes(&signed.key_id)?)?;
    let signed_bytes = SignedBytes::of(signed);
    if !roots.contains(bank, &signed_bytes) {
        sign::verify_bytes(Tag::ReplyBatch, &signed.body, &signed.signature, &key)?;
    }
    let statement = wire::BatchStatement::decode(signed.body.clone()).map_err(|_| Code::MESSAGE_MALFORMED)?;
    if statement.bank_id != bank.as_str() {
        return Err(Code::WRONG_TOPIC);
    }
    if statement.key_id != signed.key_id {
        return Err(Code::KEY_UNKNOWN);
    }
    if statement.tree_size > MAX_TREE_SIZE {
        return Err(Code::BATCH_TOO_LARGE);
    }
    let path = proof.path.iter().map(|node| Digest::from_bytes(node)).collect::<Result<Vec<_>, _>>()?;
    let root = merkle::root_from_path(
        merkle::leaf_hash(header),
        u64::from(proof.index),
        u64::from(statement.tree_size),
        &path,
    );
    if root != Some(Digest::from_bytes(&statement.root)?) {
        return Err(Code::BATCH_PROOF_INVALID);
    }
    roots.insert(bank, signed_bytes);
    Ok(UnixMillis(statement.signed_at_ms))
}

/// Slack between a bank's clock and the broker's.
const CLOCK_SKEW: Duration = Duration::from_secs(15 * 60);

/// Whether a batch that holds a reply to a query accepted at `accepted_at` may be signed at `signed_at`, when it was
/// appended at `appended_at` at the latest.
///
/// # Errors
/// `BATCH_TIME_IMPOSSIBLE`.
pub fn check_time(
    signed_at: UnixMillis,
    accepted_at: UnixMillis,
    appended_at: UnixMillis,
) -> Result<(), Code> {
    let window = accepted_at.before(CLOCK_SKEW)..=appended_at + CLOCK_SKEW;
    window.contains(&signed_at).then_some(()).ok_or(Code::BATCH_TIME_IMPOSSIBLE)
}

/// Digest over key id, body and signature: what was verified, to the byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SignedBytes(Digest);

impl SignedBytes {
    fn of(signed: &wire::Signed) -> Self {
        let fields = crate::fields::Fields::new()
            .bytes(&signed.key_id)
            .bytes(&Digest::of(&signed.body).0)
            .bytes(&Digest::of(&signed.signature).0);
        Self(Digest::of(fields.as_bytes()))
    }
}

/// Batch statements whose signature was verified: positive only, bounded per bank, so that one bank's traffic does
/// not evict another's. Must be emptied when the registry changes.
#[derive(Default)]
pub struct VerifiedRoots {
    banks: BTreeMap<BankId, (BTreeSet<SignedBytes>, VecDeque<SignedBytes>)>,
}

impl VerifiedRoots {
    const PER_BANK: usize = 64;

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.banks.clear();
    }

    fn contains(&self, bank: &BankId, bytes: &SignedBytes) -> bool {
        self.banks.get(bank).is_some_and(|(known, _)| known.contains(bytes))
    }

    fn insert(&mut self, bank: &BankId, bytes: SignedBytes) {
        let (known, order) = self.banks.entry(bank.clone()).or_default();
        if known.insert(bytes.clone()) {
            order.push_back(bytes);
        }
        if order.len() > Self::PER_BANK
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bank(id: &str) -> BankId {
        id.parse().expect("an id")
    }

    fn headers(n: usize) -> Vec<Bytes> {
        (0..n).map(|i| Bytes::from(format!("header {i}"))).collect()
    }

    #[test]
    fn every_reply_of_a_batch_of_any_size_verifies_with_and_without_the_cache() {
        let key = SigningKey::from_seed(&[1; 32]);
        for size in [1, 2, 3, 7, 14, 64, 1024] {
            let headers = headers(size);
            let proofs =
                sign_batch(&bank("alpha"), &key, Nonce([0; 16]), &headers, UnixMillis(5)).expect("signs");
            let mut roots = VerifiedRoots::default();
            for (header, proof) in headers.iter().zip(&proofs) {
                let at = verify(&bank("alpha"), header, proof, |_| Ok(key.public()), &mut roots);
                assert_eq!(at, Ok(UnixMillis(5)));
            }
        }
        let too_many = sign_batch(&bank("alpha"), &key, Nonce([0; 16]), &headers(1025), UnixMillis(5));
        assert_eq!(too_many.err(), Some(Code::BATCH_TOO_LARGE));
    }

    #[test]
    fn a_cached_root_vouches_for_no_other_bank_signature_or_revoked_key() {
        let key = SigningKey::from_seed(&[1; 32]);
        let headers = headers(2);
        let proofs =
            sign_batch(&bank("alpha"), &key, Nonce([0; 16]), &headers, UnixMillis(5)).expect("signs");
        let mut roots = VerifiedRoots::default();
        let mut check = |bank: &BankId, proof: &wire::BatchProof, revoked: bool| {
            let key_of = |_| if revoked { Err(Code::KEY_REVOKED) } else { Ok(key.public()) };
            verify(bank, &headers[0], proof, key_of, &mut roots)
        };
        assert!(check(&bank("alpha"), &proofs[0], false).is_ok());
        assert_eq!(check(&bank("beta"), &proofs[0], false), Err(Code::WRONG_TOPIC));
        assert_eq!(check(&bank("alpha"), &proofs[0], true), Err(Code::KEY_REVOKED));
        let mut forged = proofs[0].clone();
        let statement = forged.statement.as_mut().expect("signed");
        statement.signature = vec![0; 64].into();
        assert_eq!(check(&bank("alpha"), &forged, false), Err(Code::SIGNATURE_INVALID));
        assert_eq!(check(&bank("alpha"), &proofs[1], false), Err(Code::BATCH_PROOF_INVALID));
    }

    #[test]
    fn a_path_that_is_too_long_is_refused_before_anything_is_verified() {
        let key = SigningKey::from_seed(&[1; 32]);
        let headers = headers(1);
        let mut proof = sign_batch(&bank("alpha"), &key, Nonce([0; 16]), &headers, UnixMillis(5))
            .expect("signs")
            .remove(0);
        proof.path = vec![Bytes::from(vec![0; 32]); 11];
        let refused = verify(
            &bank("alpha"),
            &headers[0],
            &proof,
            |_| panic!("no key is looked up"),
            &mut VerifiedRoots::default(),
        );
        assert_eq!(refused, Err(Code::BATCH_TOO_LARGE));
    }

    #[test]
    fn one_bank_does_not_evict_the_roots_of_another() {
        let mut roots = VerifiedRoots::default();
        let bytes = |i: usize| SignedBytes(Digest::of(&i.to_be_bytes()));
        roots.insert(&bank("alpha"), bytes(0));
        for i in 0..1000 {
            roots.insert(&bank("beta"), bytes(i));
        }
        assert!(roots.contains(&bank("alpha"), &bytes(0)));
        assert!(!roots.contains(&bank("beta"), &bytes(0)));
        assert!(roots.contains(&bank("beta"), &bytes(999)));
        assert_eq!(roots.banks[&bank("beta")].0.len(), VerifiedRoots::PER_BANK);
    }
}
