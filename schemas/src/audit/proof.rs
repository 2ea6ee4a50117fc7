//! What stays of a bank's reply when its content is gone: everything that the bank signed, and nothing that it sealed.
//!
//! ```text
//!  header ──path──▶ root of the batch ◀── statement, signed by the bank
//!     └─ SHA-256 of the sealed bytes: whoever still has them can show that these are the ones
//! ```

use bytes::Bytes;
use prost::Message as _;

use crate::batch::{self, VerifiedRoots};
use crate::codes::Code;
use crate::fields::{self, Fields};
use crate::ids::{BankId, Digest, KeyId, Nonce, Reference};
use crate::registry::Party;
use crate::time::UnixMillis;
use crate::wire::{self, Refusal, ReplyOutcome};

use super::leaf::Word;

/// The signed part of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Encoded [`wire::ReplyHeader`].
    pub header: Bytes,
    /// Encoded [`wire::BatchStatement`].
    pub statement: Bytes,
    /// Names the bank's key.
    pub key_id: KeyId,
    /// Over the statement.
    pub signature: Bytes,
    /// Place of the header in the batch.
    pub index: u32,
    /// Path to the root of the batch, leaf side first.
    pub path: Vec<Digest>,
}

/// What a proof says once it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The bank's word.
    pub word: Word,
    /// SHA-256 of the body of the upstream's statement that the bank answered.
    pub statement: Digest,
    /// SHA-256 of the sealed bytes; of nothing when the bank refused.
    pub sealed: Digest,
    /// When the bank signed.
    pub signed_at: UnixMillis,
}

impl Proof {
    /// The proof in an encoded [`wire::Segment`]; `None` when its signed bytes hold anything that is not of the contract. Such
    /// bytes count in a report, which ends with its day; here they would stay.
    pub fn of_segment(segment: &[u8]) -> Option<Self> {
        let wire::Segment { header, proof, .. } = wire::Segment::decode(segment).ok()?;
        let wire::BatchProof { statement, index, path } = proof?;
        let wire::Signed { body, key_id, signature } = statement?;
        let proof = Self {
            header,
            statement: body,
            key_id: KeyId::from_bytes(&key_id).ok()?,
            signature,
            index,
            path: path.iter().map(|node| Digest::from_bytes(node)).collect::<Result<_, _>>().ok()?,
        };
        proof.is_plain().then_some(proof)
    }

    /// Whether it holds the fields of the contract alone, each of its own size: unknown fields and longer ones could be
    /// anything.
    fn is_plain(&self) -> bool {
        let header = wire::ReplyHeader::decode(self.header.clone());
        let statement = wire::BatchStatement::decode(self.statement.clone());
        let (Ok(header), Ok(statement)) = (header, statement) else { return false };
        let word = match header.outcome() {
            ReplyOutcome::Answered => {
                // The number itself: one that nobody knows reads as unspecified.
                header.report_key_id.len() == size_of::<KeyId>() && header.refusal == 0
            }
            ReplyOutcome::Refused => {
                header.report_key_id.is_empty() && header.refusal() != Refusal::Unspecified
            }
            ReplyOutcome::RetryLater | ReplyOutcome::Unspecified => false,
        };
        let digests = [&header.statement_sha256, &header.sealed_sha256, &statement.root];
        word && Reference::try_from(header.reference.as_ref()).is_ok()
            && header.bank_id.parse::<BankId>().is_ok()
            && header.request_id.len() == 16
            && statement.bank_id == header.bank_id
            && statement.key_id == self.key_id.0.as_slice()
            && Nonce::from_bytes(&statement.batch_id).is_ok()
            && digests.iter().all(|digest| Digest::from_bytes(digest).is_ok())
            && self.signature.len() == 64
            && header.encode_to_vec() == self.header
            && statement.encode_to_vec() == self.statement
    }

    /// Verifies that `bank` answered the query of `reference` and signed it with a key of its entry `party` that counts at
    /// `appended_at`, the append time of the reply. That it is the answer to the request of the hub is for the caller: the
    /// leaf of the registration names the statement, the leaf of the report the word.
    ///
    /// # Errors
    /// As [`batch::verify`]; `MESSAGE_MALFORMED`, and `STATEMENT_MISMATCH` for another bank or query.
    pub fn open(
        &self,
        reference: &Reference,
        bank: &BankId,
        party: &Party,
        appended_at: UnixMillis,
    ) -> Result<Proven, Code> {
        if !self.is_plain() {
            return Err(Code::MESSAGE_MALFORMED);
        }
        let key_of = |id| party.verifying_key(id, appended_at);
        let signed_at =
            batch::verify(bank, &self.header, &self.to_wire(), key_of, &mut VerifiedRoots::default())?;
        let header = wire::ReplyHeader::decode(self.header.clone()).map_err(|_| Code::MESSAGE_MALFORMED)?;
        if Reference::try_from(header.reference.as_ref())? != *reference
            || header.bank_id != bank.as_str()
            || header.request_id != reference.request_id(bank).0.as_slice()
        {
            return Err(Code::STATEMENT_MISMATCH);
        }
        let word = match header.outcome() {
            ReplyOutcome::Answered => Word::Answered,
            ReplyOutcome::Refused => Word::Refused,
            ReplyOutcome::RetryLater | ReplyOutcome::Unspecified => return Err(Code::OUTCOME_INVALID),
        };
        Ok(Proven {
            word,
            statement: Digest::from_bytes(&header.statement_sha256)?,
            sealed: Digest::from_bytes(&header.sealed_sha256)?,
            signed_at,
        })
    }

    fn to_wire(&self) -> wire::BatchProof {
        let statement = wire::Signed {
            body: self.statement.clone(),
            key_id: self.key_id.to_wire(),
            signature: self.signature.clone(),
        };
        wire::BatchProof {
            statement: Some(statement),
            index: self.index,
            path: self.path.iter().map(|node| node.to_wire()).collect(),
        }
    }

    pub(super) fn push(&self, fields: Fields) -> Fields {
        let path: Vec<u8> = self.path.iter().flat_map(|node| node.0).collect();
        fields
            .bytes(&self.header)
            .bytes(&self.statement)
            .bytes(&self.key_id.0)
            .bytes(&self.signature)
            .integer(self.index.into())
            .bytes(&path)
    }

    /// Nothing that is not plain is read: a leaf with it was not written by this rule.
    pub(super) fn read(fields: &mut fields::Reader<'_>) -> Option<Self> {
        let proof = Self {
            header: Bytes::copy_from_slice(fields.bytes()?),
            statement: Bytes::copy_from_slice(fields.bytes()?),
            key_id: KeyId(fields.array()?),
            signature: Bytes::copy_from_slice(fields.bytes()?),
            index: u32::try_from(fields.integer()?).ok()?,
            path: path(fields.bytes()?)?,
        };
        proof.is_plain().then_some(proof)
    }
}

fn path(bytes: &[u8]) -> Option<Vec<Digest>> {
    let (nodes, rest) = bytes.as_chunks::<32>();
    rest.is_empty().then(|| nodes.iter().copied().map(Digest).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::keys::SigningKey;
    use crate::registry::Registry;
    use crate::reply::{self, Unsigned};
    use crate::request;

    const SIGNED_AT: UnixMillis = UnixMillis(1_795_420_800_000);

    fn key() -> SigningKey {
        SigningKey::from_seed(&[4; 32])
    }

    fn segment(reference: &Reference, bank: &BankId, word: reply::Word, of: usize) -> wire::Segment {
        let header = request::Header {
            reference: reference.clone(),
            bank: bank.clone(),
            statement_sha256: Digest([6; 32]),
            accepted_at: SIGNED_AT,
            reply_by: SIGNED_AT,
            attempt: 1,
        };
        let unsigned = Unsigned::new(&header, word);
        let mut headers = vec![Bytes::from_static(b"another header"); of - 1];
        headers.push(unsigned.header.clone());
        let proofs = batch::sign_batch(bank, &key(), Nonce([3; 16]), &headers, SIGNED_AT).expect("fits");
        let record = unsigned.with_proof(proofs.last().expect("one").clone());
        let Some(wire::reply_record::Message::Reply(reply)) = record.message else { unreachable!("a reply") };
        wire::Segment { header: reply.header, proof: reply.proof, sealed_answer: reply.sealed_answer }
    }

    fn answered() -> reply::Word {
        reply::Word::Answered { report_key: KeyId([2; 16]), sealed_answer: Bytes::from_static(b"sealed") }
    }

    /// Of an answer in a batch of `of`.
    pub(in crate::audit) fn proof(reference: &Reference, bank: &BankId, of: usize) -> Proof {
        let segment = segment(reference, bank, answered(), of).encode_to_vec();
        Proof::of_segment(&segment).expect("a proof")
    }

    fn alpha() -> BankId {
        "alpha".parse().expect("an id")
    }

    fn reference() -> Reference {
        let query = "0192f0c1-2d3e-7000-8000-000000000001".parse().expect("a version 7 id");
        Reference { upstream: "wallet".parse().expect("an id"), query }
    }

    fn registry() -> Registry {
        let root = |n: u8| SigningKey::from_seed(&[n; 32]);
        let entry = wire::RegistryEntry {
            kind: wire::PartyKind::Bank.into(),
            id: "alpha".into(),
            version: 1,
            state: wire::PartyState::Active.into(),
            keys: vec![
                wire::PartyKey {
                    key: Some(key().public().to_wire()),
                    r#use: wire::KeyUse::Sign.into(),
                    ..Default::default()
                },
                wire::PartyKey {
                    key: Some(crate::keys::OpeningKey::derive(&[5; 32]).public().to_wire()),
                    r#use: wire::KeyUse::Seal.into(),
                    ..Default::default()
                },
            ],
            regions: vec!["310000".into()],
            bank_texts: None,
        };
        let record = crate::registry::sign_entry(&entry, &[root(8), root(9)], None).encode_to_vec();
        let mut registry = Registry::new(vec![root(8).public(), root(9).public()], Default::default());
        registry.apply(b"bank/alpha", &record, UnixMillis(0)).expect("a good entry");
        registry
    }

    #[test]
    fn it_shows_years_later_what_a_bank_said_and_of_which_sealed_bytes() {
        let registry = registry();
        let party = registry.bank(&alpha()).expect("registered");
        for (word, proven, sealed) in [
            (answered(), Word::Answered, b"sealed".as_slice()),
            (reply::Word::Refused(Refusal::AssuranceTooLow), Word::Refused, b""),
        ] {
            let segment = segment(&reference(), &alpha(), word, 5).encode_to_vec();
            let proof = Proof::of_segment(&segment).expect("a proof");
            let expected = Proven {
                word: proven,
                statement: Digest([6; 32]),
                sealed: Digest::of(sealed),
                signed_at: SIGNED_AT,
            };
            assert_eq!(proof.open(&reference(), &alpha(), party, SIGNED_AT), Ok(expected));
        }
    }

    /// What the log costs, as docs/adr/0021-what-stays-of-a-reply.md says.
    #[test]
    fn its_size_is_as_documented() {
        let size = |of: usize| {
            let proof = proof(&reference(), &alpha(), of);
            proof.push(Fields::new().text("alpha")).as_bytes().len()
        };
        assert_eq!(size(1), 334);
        assert_eq!(size(2), 334 + 32);
        // The size of the tree takes a byte more.
        assert_eq!(size(1024), 334 + 10 * 32 + 1);
    }

    #[test]
    fn it_holds_for_its_own_query_bank_and_words_alone() {
        let registry = registry();
        let party = registry.bank(&alpha()).expect("registered");
        let proof = proof(&reference(), &alpha(), 5);
        let open = |proof: &Proof| proof.open(&reference(), &alpha(), party, SIGNED_AT);
        assert!(open(&proof).is_ok());
        let other = Reference { upstream: "shop".parse().expect("an id"), ..reference() };
        assert_eq!(proof.open(&other, &alpha(), party, SIGNED_AT), Err(Code::STATEMENT_MISMATCH));
        let beta = "beta".parse().expect("an id");
        assert_eq!(proof.open(&reference(), &beta, party, SIGNED_AT), Err(Code::WRONG_TOPIC));
        let swapped = wire::ReplyHeader {
            sealed_sha256: Digest([1; 32]).to_wire(),
            ..wire::ReplyHeader::decode(proof.header.clone()).expect("a header")
        };
        let swapped = Proof { header: swapped.encode_to_vec().into(), ..proof.clone() };
        assert_eq!(open(&swapped), Err(Code::BATCH_PROOF_INVALID));
        let signature = Bytes::from_static(&[0; 64]);
        assert_eq!(open(&Proof { signature, ..proof.clone() }), Err(Code::SIGNATURE_INVALID));
        assert_eq!(open(&Proof { index: 3, ..proof }), Err(Code::BATCH_PROOF_INVALID));
    }

    #[test]
    fn signed_bytes_that_are_not_of_the_contract_leave_no_proof() {
        let segment = segment(&reference(), &alpha(), answered(), 1);
        let with = |change: &dyn Fn(&mut wire::ReplyHeader)| {
            let mut header = wire::ReplyHeader::decode(segment.header.clone()).expect("a header");
            change(&mut header);
            wire::Segment { header: header.encode_to_vec().into(), ..segment.clone() }
        };
        let unknown = [&segment.header[..], &[0x7a, 4, b'c', b'a', b'r', b'd']].concat();
        let text = Bytes::from_static(b"cards: 6222 0000 0000 0000");
        let long = |field: fn(&mut wire::ReplyHeader) -> &mut Bytes| {
            let text = text.clone();
            with(&move |header| *field(header) = text.clone())
        };
        for segment in [
            wire::Segment { header: unknown.into(), ..segment.clone() },
            wire::Segment { proof: None, ..segment.clone() },
            with(&|header| header.outcome = ReplyOutcome::RetryLater.into()),
            with(&|header| header.refusal = Refusal::AssuranceTooLow.into()),
            with(&|header| header.refusal = 6_222),
            with(&|header| header.bank_id = "cards: 6222 0000".into()),
            long(|header| &mut header.request_id),
            long(|header| &mut header.statement_sha256),
            long(|header| &mut header.report_key_id),
            long(|header| &mut header.sealed_sha256),
        ] {
            assert_eq!(Proof::of_segment(&segment.encode_to_vec()), None, "{segment:?}");
        }
        assert!(Proof::of_segment(&segment.encode_to_vec()).is_some());
    }
}
