//! Ten classes of forged replies, each against a bank of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use cardquery::demo::wallet::Submitted;
use cardquery::sample;
use cardquery_tests::attacker::{Asked, HandBank, reply_record};
use prost::Message as _;
use schemas::codes::Code;
use schemas::ids::{BankId, KeyId};
use schemas::keys::SigningKey;
use schemas::registry::PartyName;
use schemas::reply::Word;
use schemas::sign::{self, Tag};
use schemas::wire::{self, KeyAlgorithm, KeyUse};

use super::stage::{Stage, bank_ids, now};

const HOUR: Duration = Duration::from_secs(3600);

/// A forged record and the code that refuses it.
type Forged = (Vec<u8>, Code);

struct Class {
    name: &'static str,
    /// What the bank's next registry entry says, where the forgery needs one.
    entry: Option<fn(&BankId, &mut wire::RegistryEntry)>,
    /// The key of the honest answer.
    honest_key: fn(&BankId) -> SigningKey,
    forge: fn(&Case) -> Vec<Forged>,
}

impl Class {
    const fn new(name: &'static str, forge: fn(&Case) -> Vec<Forged>) -> Self {
        Self { name, entry: None, honest_key: bank_key, forge }
    }
}

const CLASSES: [Class; 10] = [
    Class::new("wrong key", wrong_key),
    Class::new("another bank's key", other_banks_key),
    Class { entry: Some(revoke), honest_key: fresh_key, ..Class::new("revoked key", revoked_key) },
    Class { entry: Some(announce), ..Class::new("expired", expired) },
    Class::new("altered byte", altered_byte),
    Class::new("another query", other_query),
    Class::new("another topic", other_topic),
    Class::new("swapped algorithm", swapped_algorithm),
    Class::new("empty", empty),
    Class::new("trailing bytes", trailing_bytes),
];

/// A request to one bank, its honest answer, and what else an insider has seen.
struct Case {
    bank: HandBank,
    asked: Asked,
    word: Word,
    /// The honest reply.
    genuine: wire::CardReply,
    /// The same bank's honest reply to another query.
    elsewhere: wire::CardReply,
    /// Another bank, and its honest reply to this query.
    neighbour: (HandBank, wire::CardReply),
}

/// One bank per class.
pub(crate) fn banks() -> BTreeSet<BankId> {
    bank_ids().into_iter().take(CLASSES.len()).collect()
}

/// A bank of [`banks`] with the key that counts after the forgeries.
pub(crate) fn honest(bank: &BankId) -> HandBank {
    let class = banks().into_iter().zip(&CLASSES).find(|(id, _)| id == bank);
    let (_, class) = class.expect("a bank that takes part");
    HandBank::new(bank).with_key((class.honest_key)(bank))
}

/// Returns the query, answered by every bank.
pub(crate) async fn forgeries_are_refused_and_the_honest_reply_behind_them_counts(
    stage: &Stage,
    other: &Submitted,
) -> Submitted {
    let query = stage.ask("wang", banks()).await;
    let key = query.reference.query.to_string();
    let banks: Vec<BankId> = banks().into_iter().collect();
    let mut answers = BTreeMap::new();
    let mut forged = 0;
    for (n, class) in (0u32..).zip(&CLASSES) {
        let index = n as usize;
        let bank = &banks[index];
        let answer = answer(n);
        let neighbour = &banks[(index + 1) % banks.len()];
        let case = case(stage, (&query, other), (bank, neighbour), &answer).await;
        if let Some(change) = class.entry {
            let party = PartyName::bank(bank);
            let rotation = Some(bank_key(bank));
            let next =
                stage.world.sample.next_version(&party, rotation.as_ref(), |entry| change(bank, entry));
            let (key, value) = next.expect("the next version");
            stage.insider.write(&stage.topics().registry(), &key, value).await;
        }
        let topic = stage.topics().reply(bank);
        for (value, code) in (class.forge)(&case) {
            let what = format!("{}: {code}", class.name);
            stage.write_refused(&topic, &key, value, code, &what).await;
            forged += 1;
            let status = stage.status(&query).await;
            assert_eq!((status.state.as_str(), status.answered), ("COLLECTING", n), "{what}");
        }
        stage.insider.write(&topic, &key, reply_record(case.genuine)).await;
        stage.answered(&query, n + 1).await;
        answers.insert(bank.clone(), answer);
    }
    stage.finalised(&query).await;
    let opened = stage.open(&query).await;
    assert!(opened.complete);
    let told: BTreeMap<_, _> =
        opened.banks.iter().map(|bank| (bank.bank.clone(), bank.answer.clone())).collect();
    let honest = answers.into_iter().map(|(bank, answer)| (bank, Some(answer))).collect();
    assert_eq!(told, honest, "exactly the honest answers");
    assert!(opened.banks.iter().all(|bank| bank.verified == Some(Ok(()))), "with valid signatures");
    let letters = stage.topics().dead_letter(&stage.topics().reply(&banks[0])).expect("a topic");
    assert_eq!(stage.log.of(&letters).len(), forged, "nothing honest among the dead letters");
    query
}

async fn case(
    stage: &Stage,
    (query, other): (&Submitted, &Submitted),
    (bank, neighbour): (&BankId, &BankId),
    answer: &wire::Answer,
) -> Case {
    let bank = honest(bank);
    let neighbour = HandBank::new(neighbour);
    let asked = stage.asked(&bank, query).await;
    let word = bank.answered(&asked, answer);
    let asked_of_other = stage.asked(&bank, other).await;
    let elsewhere = bank.reply(&asked_of_other, bank.answered(&asked_of_other, answer), now());
    let asked_of_neighbour = stage.asked(&neighbour, query).await;
    let word_of_neighbour = neighbour.answered(&asked_of_neighbour, answer);
    let reply_of_neighbour = neighbour.reply(&asked_of_neighbour, word_of_neighbour, now());
    Case {
        genuine: bank.reply(&asked, word.clone(), now()),
        elsewhere,
        neighbour: (neighbour, reply_of_neighbour),
        bank,
        asked,
        word,
    }
}

fn answer(n: u32) -> wire::Answer {
    let card = wire::Card {
        kind: wire::CardKind::Debit.into(),
        first4: "6200".to_owned(),
        last4: format!("{:04}", 1000 + n),
        pan_length: 19,
        ..wire::Card::default()
    };
    let kind = wire::AnswerKind::Cards.into();
    wire::Answer { kind, cards: vec![card], as_of_ms: now().0, ..wire::Answer::default() }
}

impl Case {
    /// The honest word, signed with another key.
    fn signed_by(&self, key: SigningKey) -> Vec<u8> {
        let bank = self.bank.clone().with_key(key);
        reply_record(bank.reply(&self.asked, self.word.clone(), now()))
    }

    /// The honest word with a signature of another key under the bank's own key id.
    fn signature_of(&self, key: &SigningKey) -> Vec<u8> {
        self.altered(|reply| {
            let signed = signed(reply);
            signed.signature = sign::sign_bytes(Tag::ReplyBatch, &signed.body, key);
        })
    }

    fn altered(&self, alter: impl FnOnce(&mut wire::CardReply)) -> Vec<u8> {
        let mut reply = self.genuine.clone();
        alter(&mut reply);
        reply_record(reply)
    }
}

fn bank_key(bank: &BankId) -> SigningKey {
    sample::keys::signing(&PartyName::bank(bank))
}

fn seeded(purpose: &str, bank: &BankId) -> SigningKey {
    SigningKey::from_seed(&schemas::ids::Digest::of(format!("{purpose}/{bank}").as_bytes()).0)
}

/// The key after a revocation.
fn fresh_key(bank: &BankId) -> SigningKey {
    seeded("fresh", bank)
}

/// A key that is announced, and not valid yet.
fn young_key(bank: &BankId) -> SigningKey {
    seeded("young", bank)
}

fn revoke(bank: &BankId, entry: &mut wire::RegistryEntry) {
    let old = entry.keys.iter_mut().find(|key| key.r#use() == KeyUse::Sign).expect("a key that signs");
    old.revoked = true;
    entry.keys.push(signing_key(&fresh_key(bank), 0));
}

fn announce(bank: &BankId, entry: &mut wire::RegistryEntry) {
    entry.keys.push(signing_key(&young_key(bank), (now() + HOUR).0));
}

fn signing_key(key: &SigningKey, valid_from_ms: i64) -> wire::PartyKey {
    let public = Some(key.public().to_wire());
    wire::PartyKey { r#use: KeyUse::Sign.into(), key: public, valid_from_ms, ..wire::PartyKey::default() }
}

fn signed(reply: &mut wire::CardReply) -> &mut wire::Signed {
    reply.proof.as_mut().and_then(|proof| proof.statement.as_mut()).expect("a signed batch")
}

fn flip_last(bytes: &mut Bytes) {
    let mut altered = bytes.to_vec();
    *altered.last_mut().expect("not empty") ^= 1;
    *bytes = altered.into();
}

fn append(bytes: &mut Bytes) {
    // Field 1000, empty: what a tolerant parser takes for a field of a later version.
    *bytes = [bytes.as_ref(), &[0xc2, 0x3e, 0x00]].concat().into();
}

fn wrong_key(case: &Case) -> Vec<Forged> {
    let made_up = SigningKey::from_seed(&[77; 32]);
    let impersonating = case.signature_of(&made_up);
    vec![(case.signed_by(made_up), Code::KEY_UNKNOWN), (impersonating, Code::SIGNATURE_INVALID)]
}

fn other_banks_key(case: &Case) -> Vec<Forged> {
    let stolen = &case.neighbour.0.signing;
    vec![
        (case.signed_by(stolen.clone()), Code::KEY_UNKNOWN),
        (case.signature_of(stolen), Code::SIGNATURE_INVALID),
    ]
}

fn revoked_key(case: &Case) -> Vec<Forged> {
    vec![
        // An unknown key makes the hub read the registry to its end: from here on the revocation is known there.
        (case.signed_by(SigningKey::from_seed(&[78; 32])), Code::KEY_UNKNOWN),
        (case.signed_by(bank_key(&case.bank.id)), Code::KEY_REVOKED),
    ]
}

fn expired(case: &Case) -> Vec<Forged> {
    let signed_at = |at| reply_record(case.bank.reply(&case.asked, case.word.clone(), at));
    vec![
        (case.signed_by(young_key(&case.bank.id)), Code::KEY_NOT_YET_VALID),
        (signed_at(now().before(HOUR)), Code::BATCH_TIME_IMPOSSIBLE),
        (signed_at(now() + HOUR), Code::BATCH_TIME_IMPOSSIBLE),
    ]
}

fn altered_byte(case: &Case) -> Vec<Forged> {
    vec![
        (case.altered(|reply| flip_last(&mut reply.sealed_answer)), Code::DIGEST_MISMATCH),
        (case.altered(|reply| flip_last(&mut reply.header)), Code::BATCH_PROOF_INVALID),
        (case.altered(|reply| flip_last(&mut signed(reply).body)), Code::SIGNATURE_INVALID),
        (case.altered(|reply| flip_last(&mut signed(reply).signature)), Code::SIGNATURE_INVALID),
    ]
}

fn other_query(case: &Case) -> Vec<Forged> {
    let elsewhere = &case.elsewhere;
    // What only the bank itself could do: an answer to another device's key under its own signature.
    let envelope = wire::Sealed::decode(elsewhere.sealed_answer.clone()).expect("an envelope");
    let word = Word::Answered {
        report_key: KeyId::from_bytes(&envelope.key_id).expect("a key id"),
        sealed_answer: elsewhere.sealed_answer.clone(),
    };
    vec![
        (reply_record(elsewhere.clone()), Code::WRONG_RECORD_KEY),
        (case.altered(|reply| reply.proof.clone_from(&elsewhere.proof)), Code::BATCH_PROOF_INVALID),
        (case.altered(|reply| reply.sealed_answer = elsewhere.sealed_answer.clone()), Code::DIGEST_MISMATCH),
        (reply_record(case.bank.reply(&case.asked, word, now())), Code::REPORT_KEY_MISMATCH),
    ]
}

fn other_topic(case: &Case) -> Vec<Forged> {
    let (neighbour, genuine) = &case.neighbour;
    // The neighbour's header in a batch that this bank signs, and this bank's header in a batch of the neighbour.
    let adopted = wire::CardReply { proof: Some(case.bank.prove(&genuine.header, now())), ..genuine.clone() };
    let foreign = case.altered(|reply| reply.proof = Some(neighbour.prove(&reply.header, now())));
    vec![
        (reply_record(genuine.clone()), Code::WRONG_TOPIC),
        (reply_record(adopted), Code::WRONG_TOPIC),
        (foreign, Code::KEY_UNKNOWN),
    ]
}

fn swapped_algorithm(case: &Case) -> Vec<Forged> {
    let mut envelope = wire::Sealed::decode(case.genuine.sealed_answer.clone()).expect("an envelope");
    envelope.suite += 1;
    let swapped = Bytes::from(envelope.encode_to_vec());
    let Word::Answered { report_key, .. } = &case.word else { unreachable!("an answer") };
    let word = Word::Answered { report_key: *report_key, sealed_answer: swapped.clone() };
    let raw = case.bank.signing.public().to_wire().raw;
    let key_id = KeyId::of(KeyAlgorithm::X25519, &raw).to_wire();
    vec![
        (case.altered(|reply| reply.sealed_answer = swapped), Code::DIGEST_MISMATCH),
        (reply_record(case.bank.reply(&case.asked, word, now())), Code::SEAL_SUITE_UNKNOWN),
        (case.altered(|reply| signed(reply).key_id = key_id), Code::KEY_UNKNOWN),
    ]
}

fn empty(case: &Case) -> Vec<Forged> {
    vec![
        (Vec::new(), Code::MESSAGE_MALFORMED),
        (reply_record(wire::CardReply::default()), Code::MESSAGE_MALFORMED),
        (case.altered(|reply| reply.proof = None), Code::MESSAGE_MALFORMED),
        (case.altered(|reply| reply.sealed_answer = Bytes::new()), Code::DIGEST_MISMATCH),
    ]
}

fn trailing_bytes(case: &Case) -> Vec<Forged> {
    vec![
        ([reply_record(case.genuine.clone()), vec![0]].concat(), Code::MESSAGE_MALFORMED),
        (case.altered(|reply| append(&mut reply.header)), Code::BATCH_PROOF_INVALID),
        (case.altered(|reply| append(&mut reply.sealed_answer)), Code::DIGEST_MISMATCH),
        (case.altered(|reply| append(&mut signed(reply).body)), Code::SIGNATURE_INVALID),
        (case.altered(|reply| append(&mut signed(reply).signature)), Code::SIGNATURE_INVALID),
    ]
}
