//! Forgeries by name: replies, requests with another identity or report key, signatures used for what they were not
//! made for.

use bytes::Bytes;
use prost::Message;
use schemas::batch::VerifiedRoots;
use schemas::codes::Code;
use schemas::ids::{Digest, Nonce, Reference};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::registry::{self, Registry};
use schemas::reply::{self, Unsigned, Word};
use schemas::request::NotAccepted;
use schemas::seal::{self, Binding, Kind};
use schemas::sign::{self, Tag};
use schemas::time::UnixMillis;
use schemas::wire::{self, Refusal, reply_record, request_record};
use schemas::{batch, erasure, notice, request, submission, view};

use crate::world::{self, ACCEPTED, DEADLINE, EXPIRES, FINAL, ISSUED, Query, REPLIED, REPLY_BY, Refused};

/// A query to two banks and a genuine answer of alpha, which is believed before and after each forgery.
struct Case {
    query: Query,
    registry: Registry,
    word: Word,
}

impl Case {
    fn new() -> Self {
        let query = world::query("wallet", 1, &["alpha", "beta"]);
        let word = query.answered("alpha", &world::answer(2));
        Self { query, registry: world::registry(), word }
    }

    fn record(&self) -> wire::ReplyRecord {
        world::reply_to(&self.query, "alpha", self.word.clone())
    }

    fn reply(&self) -> wire::CardReply {
        let Some(reply_record::Message::Reply(reply)) = self.record().message else {
            unreachable!("a record of a reply")
        };
        reply
    }

    fn signed_by(&self, key: &SigningKey) -> Bytes {
        let words = vec![(self.query.header("alpha"), self.word.clone())];
        world::batch_of("alpha", key, REPLIED, words).remove(0).encode_to_vec().into()
    }

    fn is_refused(&self, forged: Bytes, code: Code) {
        let genuine: Bytes = self.record().encode_to_vec().into();
        let mut roots = VerifiedRoots::default();
        let mut believe = |bank, value| {
            world::believe_at(&self.query, bank, value, &self.registry, REPLIED, &mut roots).map(|_| ())
        };
        assert_eq!(believe("alpha", genuine.clone()), Ok(()));
        assert_eq!(believe("alpha", forged.clone()), Err(code), "with the root in the cache");
        assert_eq!(believe("alpha", genuine), Ok(()));
        let fresh = world::believe(&self.query, "alpha", forged, &self.registry).map(|_| ());
        assert_eq!(fresh, Err(code), "without a cache");
    }
}

fn record_of(reply: wire::CardReply) -> Bytes {
    wire::ReplyRecord { message: Some(reply_record::Message::Reply(reply)) }.encode_to_vec().into()
}

#[test]
fn a_reply_signed_with_a_wrong_key_is_refused() {
    let case = Case::new();
    case.is_refused(case.signed_by(&world::signing(77)), Code::KEY_UNKNOWN);

    // With the bank's key id written over it.
    let mut reply = case.reply();
    let proof = reply.proof.as_mut().expect("a proof");
    let signed = proof.statement.as_mut().expect("signed");
    signed.signature = sign::sign_bytes(Tag::ReplyBatch, &signed.body, &world::signing(77));
    case.is_refused(record_of(reply), Code::SIGNATURE_INVALID);
}

#[test]
fn a_reply_signed_with_another_banks_key_is_refused() {
    let case = Case::new();
    case.is_refused(case.signed_by(&world::bank_signing("beta")), Code::KEY_UNKNOWN);
}

#[test]
fn a_reply_signed_with_a_revoked_key_is_refused_from_the_revocation_on() {
    let mut case = Case::new();
    let mut revoked = world::bank_entry("alpha");
    revoked.version += 1;
    revoked.keys[0].revoked = true;
    let at = UnixMillis(REPLIED.0 + 1);
    world::apply(&mut case.registry, &world::signed_entry(&revoked), at).expect("taken");
    let believe = |at| {
        let value = case.record().encode_to_vec().into();
        world::believe_at(&case.query, "alpha", value, &case.registry, at, &mut VerifiedRoots::default())
    };
    assert!(believe(REPLIED).is_ok(), "appended before the revocation");
    assert_eq!(believe(at).map(|_| ()), Err(Code::KEY_REVOKED));
}

#[test]
fn a_reply_that_is_expired_is_refused() {
    let case = Case::new();
    let words = || vec![(case.query.header("alpha"), case.word.clone())];
    let key = world::bank_signing("alpha");
    // Signed long before the query was accepted, or long after it was appended.
    for signed_at in [UnixMillis(ACCEPTED.0 - 3_600_000), UnixMillis(REPLIED.0 + 3_600_000)] {
        let record = world::batch_of("alpha", &key, signed_at, words()).remove(0);
        case.is_refused(record.encode_to_vec().into(), Code::BATCH_TIME_IMPOSSIBLE);
    }
    // Signed with a key whose time has not come.
    let mut registry = world::registry();
    let mut entry = world::bank_entry("alpha");
    entry.version += 1;
    let young = world::signing(98);
    entry.keys.push(wire::PartyKey { valid_from_ms: REPLIED.0 + 1, ..world::sign_key(&young) });
    let record = registry::sign_entry(&entry, &world::roots(), Some(&key));
    world::apply(&mut registry, &record, ACCEPTED).expect("taken");
    let early = world::believe(&case.query, "alpha", case.signed_by(&young), &registry);
    assert_eq!(early.map(|_| ()), Err(Code::KEY_NOT_YET_VALID));
}

#[test]
fn a_reply_with_an_altered_byte_is_refused() {
    let case = Case::new();
    let altered = |alter: fn(&mut wire::CardReply)| {
        let mut reply = case.reply();
        alter(&mut reply);
        record_of(reply)
    };
    let flip = |bytes: &mut Bytes| {
        let mut altered = bytes.to_vec();
        let last = altered.len() - 1;
        altered[last] ^= 1;
        *bytes = altered.into();
    };
    let mut reply = case.reply();
    flip(&mut reply.sealed_answer);
    case.is_refused(record_of(reply), Code::DIGEST_MISMATCH);
    let mut reply = case.reply();
    flip(&mut reply.header);
    case.is_refused(record_of(reply), Code::BATCH_PROOF_INVALID);
    case.is_refused(
        altered(|reply| reply.proof.as_mut().expect("a proof").index = 1),
        Code::BATCH_PROOF_INVALID,
    );
    let another_node = |reply: &mut wire::CardReply| {
        reply.proof.as_mut().expect("a proof").path.push(vec![0; 32].into());
    };
    case.is_refused(altered(another_node), Code::BATCH_PROOF_INVALID);
    let mut reply = case.reply();
    let signed = reply.proof.as_mut().and_then(|proof| proof.statement.as_mut()).expect("signed");
    flip(&mut signed.body);
    case.is_refused(record_of(reply), Code::SIGNATURE_INVALID);
}

#[test]
fn a_reply_to_another_query_is_refused() {
    let case = Case::new();
    let other = world::query("wallet", 2, &["alpha"]);
    let genuine = world::reply_to(&other, "alpha", other.answered("alpha", &world::answer(1)));
    case.is_refused(genuine.encode_to_vec().into(), Code::WRONG_RECORD_KEY);

    // A header of this query over the answer to another one, signed by the bank: the seal is bound to the statement.
    let word = other.answered("alpha", &world::answer(1));
    let mixed = world::reply_to(&case.query, "alpha", word);
    case.is_refused(mixed.encode_to_vec().into(), Code::REPORT_KEY_MISMATCH);

    // A header of this query that names the statement of another one.
    let header = schemas::request::Header {
        statement_sha256: other.header("alpha").statement_sha256,
        ..case.query.header("alpha")
    };
    let key = world::bank_signing("alpha");
    let record = world::batch_of("alpha", &key, REPLIED, vec![(header, case.word.clone())]).remove(0);
    case.is_refused(record.encode_to_vec().into(), Code::STATEMENT_MISMATCH);
}

#[test]
fn a_reply_through_another_banks_topic_is_refused() {
    let case = Case::new();
    let genuine: Bytes = case.record().encode_to_vec().into();
    let through_beta = world::believe(&case.query, "beta", genuine, &case.registry);
    assert_eq!(through_beta.map(|_| ()), Err(Code::WRONG_TOPIC));

    // Beta signs alpha's reply into a batch of its own, and renames it: neither helps.
    let stolen = Unsigned::new(&case.query.header("alpha"), case.word.clone());
    let headers = [stolen.header.clone()];
    let key = world::bank_signing("beta");
    let mut proofs =
        batch::sign_batch(&world::bank_id("beta"), &key, Nonce([1; 16]), &headers, REPLIED).expect("fits");
    let record = stolen.with_proof(proofs.remove(0));
    let through_beta = world::believe(&case.query, "beta", record.encode_to_vec().into(), &case.registry);
    assert_eq!(through_beta.map(|_| ()), Err(Code::WRONG_TOPIC));
    case.is_refused(record.encode_to_vec().into(), Code::KEY_UNKNOWN);
    let renamed = world::reply_to(&case.query, "beta", case.word.clone());
    let believed = world::believe(&case.query, "beta", renamed.encode_to_vec().into(), &case.registry);
    let segment = believed.expect("beta's own word, as far as the hub can see").segment;
    let (_, report) = world::report_over(&case.query, &[(world::bank_id("beta"), segment)].into());
    let opened = world::view(&case.query, &report).expect("a report");
    assert_eq!(
        opened.banks[1].verified,
        Some(Err(Code::SEAL_BROKEN)),
        "but the device cannot open it as beta's"
    );
}

#[test]
fn a_reply_with_a_swapped_algorithm_is_refused() {
    let case = Case::new();
    // The key id of the bank's sealing key, which is a key of the bank too.
    let mut reply = case.reply();
    let signed = reply.proof.as_mut().and_then(|proof| proof.statement.as_mut()).expect("signed");
    signed.key_id = world::bank_opening("alpha").id().to_wire();
    case.is_refused(record_of(reply), Code::KEY_UNKNOWN);

    // An envelope that names another suite, signed by the bank itself.
    let Word::Answered { report_key, sealed_answer } = case.word.clone() else { unreachable!("an answer") };
    let mut envelope = wire::Sealed::decode(sealed_answer).expect("an envelope");
    for suite in [0, 2, -1] {
        envelope.suite = suite;
        let word = Word::Answered { report_key, sealed_answer: envelope.encode_to_vec().into() };
        let record = world::reply_to(&case.query, "alpha", word);
        case.is_refused(record.encode_to_vec().into(), Code::SEAL_SUITE_UNKNOWN);
    }
}

#[test]
fn a_reply_that_is_empty_is_refused() {
    let case = Case::new();
    case.is_refused(Bytes::new(), Code::MESSAGE_MALFORMED);
    case.is_refused(record_of(wire::CardReply::default()), Code::MESSAGE_MALFORMED);
    case.is_refused(record_of(wire::CardReply { proof: None, ..case.reply() }), Code::MESSAGE_MALFORMED);
    let unsealed = wire::CardReply { sealed_answer: Bytes::new(), ..case.reply() };
    case.is_refused(record_of(unsealed), Code::DIGEST_MISMATCH);
    let nothing_sealed =
        Word::Answered { report_key: case.query.report_key.id(), sealed_answer: Bytes::new() };
    let record = world::reply_to(&case.query, "alpha", nothing_sealed);
    assert!(world::believe(&case.query, "alpha", record.encode_to_vec().into(), &case.registry).is_err());
}

#[test]
fn a_reply_with_trailing_bytes_is_refused() {
    let case = Case::new();
    let genuine = case.record().encode_to_vec();
    case.is_refused([&genuine[..], &[0]].concat().into(), Code::MESSAGE_MALFORMED);
    let longer = |bytes: &Bytes| Bytes::from([bytes, &[0xc2, 0x3e, 0x00][..]].concat());
    let reply = case.reply();
    let sealed = wire::CardReply { sealed_answer: longer(&reply.sealed_answer), ..reply.clone() };
    case.is_refused(record_of(sealed), Code::DIGEST_MISMATCH);
    let header = wire::CardReply { header: longer(&reply.header), ..reply.clone() };
    case.is_refused(record_of(header), Code::BATCH_PROOF_INVALID);
    // A second reply behind the first one: protobuf merges them, the digests do not.
    let other = world::reply_to(&case.query, "alpha", Word::RetryLater).encode_to_vec();
    let merged = Bytes::from([genuine, other].concat());
    assert!(world::believe(&case.query, "alpha", merged, &case.registry).is_err());
}

#[test]
fn a_word_that_does_not_fit_its_content_is_refused() {
    let case = Case::new();
    let Word::Answered { sealed_answer, .. } = case.word.clone() else { unreachable!("an answer") };
    let header = wire::ReplyHeader::decode(case.reply().header).expect("a header");
    let sealed_sha256 = Digest::of(&sealed_answer).to_wire();
    let key = world::bank_signing("alpha");
    for (outcome, refusal) in [(0, 0), (9, 0), (2, 0), (2, 99), (2, 3), (3, 0)] {
        let header =
            wire::ReplyHeader { outcome, refusal, sealed_sha256: sealed_sha256.clone(), ..header.clone() };
        let header: Bytes = header.encode_to_vec().into();
        let alpha = world::bank_id("alpha");
        let headers = [header.clone()];
        let proof =
            batch::sign_batch(&alpha, &key, Nonce([1; 16]), &headers, REPLIED).expect("fits").remove(0);
        let reply = wire::CardReply { header, proof: Some(proof), sealed_answer: sealed_answer.clone() };
        case.is_refused(record_of(reply), Code::OUTCOME_INVALID);
    }
}

#[test]
fn only_a_record_that_reads_as_this_banks_word_about_a_request_is_held_against_it() {
    let case = Case::new();
    let alpha = world::bank_id("alpha");
    let open = |key: &[u8], value: Bytes| {
        let party = world::party(&case.registry, "alpha");
        reply::open(&alpha, key, value, party, REPLIED, &mut VerifiedRoots::default())
            .expect_err("refused")
            .about
    };
    let key = case.query.key();
    let mut forged = case.reply();
    forged.sealed_answer = Bytes::new();
    assert_eq!(open(key.as_bytes(), record_of(forged.clone())), Some(case.query.reference.clone()));
    assert_eq!(open(b"another key", record_of(forged)), None);
    assert_eq!(open(key.as_bytes(), Bytes::from_static(b"\xff")), None);
    let beta = world::reply_to(&case.query, "beta", Word::RetryLater).encode_to_vec();
    assert_eq!(open(key.as_bytes(), beta.into()), None);
}

#[test]
fn every_sealed_part_stays_with_its_query_bank_and_reader() {
    let registry = world::registry();
    let (one, two) = (world::query("wallet", 1, &world::BANKS), world::query("wallet", 2, &world::BANKS));
    let swaps: [fn(&mut wire::QuerySubmitted, &wire::QuerySubmitted); 8] = [
        |a, b| a.banks[0].sealed_identity = b.banks[0].sealed_identity.clone(),
        |a, _| a.banks[0].sealed_identity = a.banks[1].sealed_identity.clone(),
        |a, _| a.banks.swap(0, 1),
        |a, b| a.banks[0] = b.banks[0].clone(),
        |a, _| a.banks[0] = a.banks[1].clone(),
        |a, b| a.contact = b.contact.clone(),
        |a, b| a.hub_statement = b.hub_statement.clone(),
        |a, _| drop(a.banks.pop()),
    ];
    for (n, swap) in swaps.into_iter().enumerate() {
        let mut swapped = one.submitted.clone();
        swap(&mut swapped, &two.submitted);
        // The order of the parts says nothing: each names its bank.
        assert_eq!(one.open(&registry, &swapped).is_ok(), n == 2, "swap {n}");
        assert!(one.open(&registry, &one.submitted).is_ok());
    }
}

type Change<'a> = Box<dyn Fn(&mut wire::BankStatement) + 'a>;

/// An insider at the hub has the hub's key, the query and every public key, but not the upstream's key.
struct Insider {
    query: Query,
    registry: Registry,
}

impl Insider {
    fn ask(&self, header: wire::RequestHeader, statement: wire::Signed, sealed_identity: Bytes) -> Refusal {
        let request = wire::CardRequest {
            header: Some(sign::sign(Tag::RequestHeader, &header, &world::hub())),
            statement: Some(statement),
            sealed_identity,
        };
        let record = wire::RequestRecord { message: Some(request_record::Message::Request(request)) };
        match world::accept("alpha", record.encode_to_vec().into(), &self.registry).map(|_| ()) {
            Err(Refused::NotAccepted(NotAccepted::Refused(refusal, _))) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn genuine(&self) -> (wire::RequestHeader, wire::Signed, Bytes) {
        let Some(request_record::Message::Request(request)) = self.query.request("alpha").message else {
            unreachable!("a request")
        };
        let header = request.header.expect("signed");
        let header = wire::RequestHeader::decode(header.body).expect("a header");
        (header, request.statement.expect("signed"), request.sealed_identity)
    }
}

fn insider() -> Insider {
    let insider =
        Insider { query: world::query("wallet", 1, &["alpha", "beta"]), registry: world::registry() };
    assert!(
        world::accept("alpha", insider.query.request("alpha").encode_to_vec().into(), &insider.registry)
            .is_ok()
    );
    insider
}

fn sealed_for_alpha(query: &Query, identity: &wire::Identity, nonce: &[u8]) -> Bytes {
    let reference = &query.reference;
    let binding = Binding { reference, party: "alpha", expires_at: EXPIRES, context: nonce };
    let alpha = world::bank_opening("alpha");
    seal::seal(Kind::Identity, alpha.public(), &binding, &identity.encode_to_vec()).expect("seals")
}

#[test]
fn an_insider_cannot_put_another_identity_or_report_key_under_a_consent() {
    let insider = insider();
    let (header, statement, sealed) = insider.genuine();
    let word = wire::BankStatement::decode(statement.body.clone()).expect("a statement");
    let stranger = wire::Identity { name: "李雷".into(), ..world::identity() };
    let resealed = sealed_for_alpha(&insider.query, &stranger, &word.nonce);

    // The genuine statement over another identity.
    let refusal = insider.ask(header.clone(), statement.clone(), resealed.clone());
    assert_eq!(refusal, Refusal::DigestMismatch);

    // Each field of the statement changed, everything that the insider can make made right, and signed with what the
    // insider has: the genuine signature, the hub's key, a key of the insider's own.
    let mine = OpeningKey::derive(b"mine").public().to_wire();
    let other_reference = world::reference("wallet", 9);
    let changes: [(&str, Change<'_>); 11] = [
        ("identity", Box::new(|word| word.identity_sha256 = Digest::of(&resealed).to_wire())),
        ("report key", Box::new(|word| word.report_key = Some(mine.clone()))),
        ("query", Box::new(|word| word.reference = Some((&other_reference).into()))),
        ("bank", Box::new(|word| word.bank_id = "beta".into())),
        ("purpose", Box::new(|word| word.purpose = 2)),
        ("issued", Box::new(|word| word.issued_at_ms += 1)),
        ("expires", Box::new(|word| word.expires_at_ms += 1)),
        ("nonce", Box::new(|word| word.nonce = vec![9; 16].into())),
        ("consent text", Box::new(|word| word.consent_text_sha256 = vec![9; 32].into())),
        ("assurance", Box::new(|word| word.assurance = wire::Assurance::SelfDeclared.into())),
        ("factors", Box::new(|word| word.factors[0].at_ms += 1)),
    ];
    for (field, change) in &changes {
        let mut word = word.clone();
        change(&mut word);
        let body: Bytes = word.encode_to_vec().into();
        let sealed = if *field == "identity" { resealed.clone() } else { sealed.clone() };
        let header = wire::RequestHeader { statement_sha256: Digest::of(&body).to_wire(), ..header.clone() };
        let forged = |key_id: Bytes, signature: Bytes| wire::Signed { body: body.clone(), key_id, signature };
        let with = |key: &SigningKey| sign::sign_bytes(Tag::BankStatement, &body, key);
        for signed in [
            forged(statement.key_id.clone(), statement.signature.clone()),
            forged(statement.key_id.clone(), with(&world::hub())),
            forged(statement.key_id.clone(), with(&world::signing(77))),
            forged(statement.key_id.clone(), Bytes::new()),
        ] {
            let refusal = insider.ask(header.clone(), signed, sealed.clone());
            assert_eq!(refusal, Refusal::StatementInvalid, "{field}");
        }
        // With the hub's own key id the upstream's key is not known: asked again later, and never looked up.
        let signed = forged(world::hub().id().to_wire(), with(&world::hub()));
        let request = wire::CardRequest {
            header: Some(sign::sign(Tag::RequestHeader, &header, &world::hub())),
            statement: Some(signed),
            sealed_identity: sealed,
        };
        let record = wire::RequestRecord { message: Some(request_record::Message::Request(request)) };
        let outcome = world::accept("alpha", record.encode_to_vec().into(), &insider.registry).map(|_| ());
        assert_eq!(outcome, Err(Refused::NotAccepted(NotAccepted::KeyNotKnownYet)), "{field}");
    }
}

#[test]
fn an_insider_cannot_mix_the_genuine_parts_of_two_queries_or_upstreams() {
    let insider = insider();
    let (header, statement, sealed) = insider.genuine();
    let again = Insider { query: world::query("wallet", 2, &["alpha"]), registry: world::registry() };
    let (other_header, other_statement, other_sealed) = again.genuine();
    let hash = |statement: &wire::Signed| Digest::of(&statement.body).to_wire();

    let refusal = insider.ask(header.clone(), other_statement.clone(), other_sealed.clone());
    assert_eq!(refusal, Refusal::DigestMismatch, "the header names its statement");
    let renamed = wire::RequestHeader { statement_sha256: hash(&other_statement), ..header.clone() };
    let refusal = insider.ask(renamed, other_statement, other_sealed.clone());
    assert_eq!(refusal, Refusal::StatementInvalid, "the statement names its query");
    assert_eq!(insider.ask(header.clone(), statement.clone(), other_sealed), Refusal::DigestMismatch);
    let renamed = wire::RequestHeader { statement_sha256: hash(&statement), ..other_header };
    assert_eq!(insider.ask(renamed, statement.clone(), sealed.clone()), Refusal::StatementInvalid);

    // The same query id under another upstream: its key did not sign the statement.
    let elsewhere = Reference { upstream: world::upstream_id("purse"), ..insider.query.reference.clone() };
    let alpha = world::bank_id("alpha");
    let moved = wire::RequestHeader {
        reference: Some((&elsewhere).into()),
        request_id: elsewhere.request_id(&alpha).to_wire(),
        ..header.clone()
    };
    let request = wire::CardRequest {
        header: Some(sign::sign(Tag::RequestHeader, &moved, &world::hub())),
        statement: Some(statement.clone()),
        sealed_identity: sealed.clone(),
    };
    let record = wire::RequestRecord { message: Some(request_record::Message::Request(request)) };
    let outcome = world::accept("alpha", record.encode_to_vec().into(), &insider.registry).map(|_| ());
    assert_eq!(outcome, Err(Refused::NotAccepted(NotAccepted::KeyNotKnownYet)));

    // Times that the consent does not cover.
    for accepted_at_ms in [world::ISSUED.0 - 1, REPLIED.0 + 1] {
        let header = wire::RequestHeader { accepted_at_ms, ..header.clone() };
        assert_eq!(insider.ask(header, statement.clone(), sealed.clone()), Refusal::ConsentNotValid);
    }
}

#[test]
fn a_bank_with_a_wrong_statement_in_a_verified_request_is_told_so_not_ignored() {
    let insider = insider();
    let (header, _, sealed) = insider.genuine();
    let request = wire::CardRequest {
        header: Some(sign::sign(Tag::RequestHeader, &header, &world::hub())),
        statement: None,
        sealed_identity: sealed,
    };
    let record = wire::RequestRecord { message: Some(request_record::Message::Request(request)) };
    let outcome = world::accept("alpha", record.encode_to_vec().into(), &insider.registry).map(|_| ());
    let refused = NotAccepted::Refused(Refusal::StatementInvalid, Code::MESSAGE_MALFORMED);
    assert_eq!(outcome, Err(Refused::NotAccepted(refused)), "a readable header is answered REFUSED");
}

#[test]
fn an_insider_cannot_send_the_sms_to_another_phone() {
    let registry = world::registry();
    let query = world::query("wallet", 1, &["alpha"]);
    let genuine = query.submission().contact;
    let header = world::notice_header(&query);
    let open = |contact: &submission::Contact| {
        let value = notice::notify(&header, contact, &world::hub()).encode_to_vec().into();
        notice::open(query.key().as_bytes(), value, &registry, FINAL).map(|_| ())
    };
    assert_eq!(open(&genuine), Ok(()));
    let word = wire::NotifierStatement::decode(genuine.statement.body.clone()).expect("a statement");
    let reference = &query.reference;
    let binding = Binding { reference, party: "notifier", expires_at: EXPIRES, context: &word.nonce };
    let contact = wire::Contact { phone: "+8613900000009".into(), ..world::contact() };
    let notifier = world::notifier();
    let sealed_contact =
        seal::seal(Kind::Contact, notifier.public(), &binding, &contact.encode_to_vec()).expect("seals");
    let swapped = submission::Contact { sealed_contact: sealed_contact.clone(), ..genuine.clone() };
    assert_eq!(open(&swapped), Err(Code::DIGEST_MISMATCH));
    let mut word = word;
    word.contact_sha256 = Digest::of(&sealed_contact).to_wire();
    let mut statement = sign::sign(Tag::NotifierStatement, &word, &world::hub());
    let resigned =
        submission::Contact { statement: statement.clone(), sealed_contact: sealed_contact.clone() };
    assert_eq!(open(&resigned), Err(Code::KEY_UNKNOWN));
    statement.key_id = genuine.statement.key_id.clone();
    assert_eq!(open(&submission::Contact { statement, sealed_contact }), Err(Code::SIGNATURE_INVALID));
}

#[test]
fn statements_of_one_query_may_not_contradict_each_other() {
    let registry = world::registry();
    let query = world::query("wallet", 1, &["alpha"]);
    let changes: [fn(&mut wire::NotifierStatement); 5] = [
        |word| word.reference = Some((&world::reference("wallet", 2)).into()),
        |word| word.purpose = 0,
        |word| word.issued_at_ms += 1,
        |word| word.expires_at_ms += 1,
        |word| word.nonce = vec![9; 16].into(),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut submitted = query.submitted.clone();
        let contact = submitted.contact.as_mut().expect("a contact");
        let signed = contact.statement.as_mut().expect("signed");
        let mut word = wire::NotifierStatement::decode(signed.body.clone()).expect("a statement");
        change(&mut word);
        *signed = sign::sign(Tag::NotifierStatement, &word, &query.signer);
        let refused = query.open(&registry, &submitted).map(|_| ());
        assert_eq!(refused, Err(Code::STATEMENT_MISMATCH), "change {n}");
    }
    let changes: [fn(&mut wire::BankStatement); 8] = [
        |word| word.reference = Some((&world::reference("wallet", 2)).into()),
        |word| word.purpose = 0,
        |word| word.issued_at_ms += 1,
        |word| word.expires_at_ms += 1,
        |word| word.nonce = vec![9; 16].into(),
        |word| word.consent_text_sha256 = vec![9; 32].into(),
        |word| word.assurance = 1,
        |word| word.factors[0].at_ms += 1,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut submitted = query.submitted.clone();
        let signed = submitted.banks[0].statement.as_mut().expect("signed");
        let mut word = wire::BankStatement::decode(signed.body.clone()).expect("a statement");
        change(&mut word);
        *signed = sign::sign(Tag::BankStatement, &word, &query.signer);
        let refused = query.open(&registry, &submitted).map(|_| ());
        assert_eq!(refused, Err(Code::STATEMENT_MISMATCH), "change {n}");
    }
}

/// Every signature that the world makes, offered at every place where a message carries one: only its own takes it.
/// All are made with one key that every party holds, so that nothing but the tag tells them apart.
#[test]
fn a_signature_made_for_one_kind_of_message_is_taken_as_no_other() {
    let key = world::signing(88);
    let query = world::query("wallet", 1, &["alpha"]);
    let reference = query.reference.clone();
    let bodies = |tag: Tag, n: u8| -> Vec<u8> {
        // What a reader of `tag` would find valid if the tag did not count.
        let nonce = Nonce([n; 16]);
        match tag {
            Tag::Revocation => {
                wire::Revocation { reference: Some((&reference).into()), issued_at_ms: 1 }.encode_to_vec()
            }
            Tag::ViewGrant => wire::ViewGrant {
                reference: Some((&reference).into()),
                subject: "subject-1".into(),
                report_key_id: query.report_key.id().to_wire(),
                issued_at_ms: FINAL.0,
                expires_at_ms: FINAL.0 + 1,
                nonce: nonce.to_wire(),
            }
            .encode_to_vec(),
            Tag::RequestCancellation => wire::RequestCancellation {
                reference: Some((&reference).into()),
                bank_id: "alpha".into(),
                request_id: reference.request_id(&world::bank_id("alpha")).to_wire(),
            }
            .encode_to_vec(),
            Tag::HubStatement
            | Tag::BankStatement
            | Tag::NotifierStatement
            | Tag::RequestHeader
            | Tag::ReplyBatch
            | Tag::NoticeHeader
            | Tag::Coverage
            | Tag::RegistryEntry
            | Tag::RegistryRotation
            | Tag::ErasureReceipt
            | Tag::AuditEvidence => unreachable!("not offered"),
        }
    };
    let mut registry = world::registry();
    let mut upstream = world::upstream_entry("wallet", &world::wallet());
    upstream.version += 1;
    upstream.keys.push(world::sign_key(&key));
    let record = registry::sign_entry(&upstream, &world::roots(), Some(&world::wallet()));
    world::apply(&mut registry, &record, ACCEPTED).expect("taken");
    let mut hub = world::hub_entry();
    hub.version += 1;
    hub.keys.push(world::sign_key(&key));
    let record = registry::sign_entry(&hub, &world::roots(), Some(&world::hub()));
    world::apply(&mut registry, &record, ACCEPTED).expect("taken");

    let party = registry.upstream(&reference.upstream).expect("registered");
    let record_key = query.key();
    let alpha = world::bank_id("alpha");
    for made_for in Tag::ALL {
        let signed = |place: Tag| {
            let body = bodies(place, 1);
            let signature = sign::sign_bytes(made_for, &body, &key);
            wire::Signed { body: body.into(), key_id: key.id().to_wire(), signature }
        };
        let revoked = wire::ConsentRevoked { revocation: Some(signed(Tag::Revocation)) };
        let taken = submission::open_revocation(
            &reference.upstream,
            record_key.as_bytes(),
            &revoked,
            party,
            ACCEPTED,
        );
        assert_eq!(taken.is_ok(), made_for == Tag::Revocation, "{made_for:?}");

        let grant = wire::GrantedView { grant: Some(signed(Tag::ViewGrant)) }.encode_to_vec();
        assert_eq!(
            view::open(grant.into(), &registry, FINAL).is_ok(),
            made_for == Tag::ViewGrant,
            "{made_for:?}"
        );

        let cancelled = wire::RequestCancelled { cancellation: Some(signed(Tag::RequestCancellation)) };
        let record = wire::RequestRecord { message: Some(request_record::Message::Cancelled(cancelled)) };
        let opened = schemas::request::open(
            &alpha,
            record.encode_to_vec().into(),
            registry.hub().expect("a hub"),
            FINAL,
        );
        assert_eq!(opened.is_ok(), made_for == Tag::RequestCancellation, "{made_for:?}");
    }

    // The messages that carry more than one signature: each re-signed for every other kind.
    let resign = |signed: &mut wire::Signed, key: &SigningKey, tag: Tag| {
        signed.signature = sign::sign_bytes(tag, &signed.body, key);
    };
    let registry = world::registry();
    let notice = notice::notify(&world::notice_header(&query), &query.submission().contact, &world::hub());
    let Some(wire::notice_record::Message::ReportReady(notice)) = notice.message else {
        unreachable!("a notice")
    };
    let reply = world::reply_to(&query, "alpha", query.answered("alpha", &world::answer(1)));
    let Some(reply_record::Message::Reply(reply)) = reply.message else { unreachable!("a reply") };
    let segments =
        world::believe(&query, "alpha", record_of(reply.clone()), &registry).expect("believed").segment;
    let (_, report) = world::report_over(&query, &[(alpha, segments)].into());
    let entry = world::bank_entry("alpha");
    for tag in Tag::ALL {
        let mut altered = query.submitted.clone();
        resign(altered.hub_statement.as_mut().expect("signed"), &query.signer, tag);
        assert_eq!(query.open(&registry, &altered).is_ok(), tag == Tag::HubStatement, "{tag:?}");
        let mut altered = query.submitted.clone();
        resign(altered.banks[0].statement.as_mut().expect("signed"), &query.signer, tag);
        assert_eq!(query.open(&registry, &altered).is_ok(), tag == Tag::BankStatement, "{tag:?}");
        let mut altered = query.submitted.clone();
        let contact = altered.contact.as_mut().expect("a contact");
        resign(contact.statement.as_mut().expect("signed"), &query.signer, tag);
        assert_eq!(query.open(&registry, &altered).is_ok(), tag == Tag::NotifierStatement, "{tag:?}");

        let Some(request_record::Message::Request(mut request)) = query.request("alpha").message else {
            unreachable!("a request")
        };
        resign(request.header.as_mut().expect("signed"), &world::hub(), tag);
        let record = wire::RequestRecord { message: Some(request_record::Message::Request(request)) };
        let taken = world::accept("alpha", record.encode_to_vec().into(), &registry);
        assert_eq!(taken.is_ok(), tag == Tag::RequestHeader, "{tag:?}");

        let mut altered = reply.clone();
        let proof = altered.proof.as_mut().expect("a proof");
        resign(proof.statement.as_mut().expect("signed"), &world::bank_signing("alpha"), tag);
        let taken = world::believe(&query, "alpha", record_of(altered), &registry);
        assert_eq!(taken.is_ok(), tag == Tag::ReplyBatch, "{tag:?}");

        let mut altered = notice.clone();
        resign(altered.header.as_mut().expect("signed"), &world::hub(), tag);
        let record = wire::NoticeRecord { message: Some(wire::notice_record::Message::ReportReady(altered)) };
        let taken = notice::open(record_key.as_bytes(), record.encode_to_vec().into(), &registry, FINAL);
        assert_eq!(taken.is_ok(), tag == Tag::NoticeHeader, "{tag:?}");

        let mut altered = report.clone();
        resign(altered.coverage.as_mut().expect("signed"), &world::hub(), tag);
        assert_eq!(world::view(&query, &altered).is_ok(), tag == Tag::Coverage, "{tag:?}");

        let mut altered = erasure::sign(&world::receipt(), &world::hub());
        resign(&mut altered, &world::hub(), tag);
        let taken = erasure::open(&altered, registry.hub().expect("a hub"));
        assert_eq!(taken.is_ok(), tag == Tag::ErasureReceipt, "{tag:?}");

        let mut altered = world::signed_entry(&entry);
        altered.root_signatures[0].signature = sign::sign_bytes(tag, &altered.body, &world::roots()[0]);
        let mut fresh = Registry::new(world::pinned(), registry::SeenVersions::default());
        let taken = world::apply(&mut fresh, &altered, ACCEPTED);
        assert_eq!(taken.is_ok(), tag == Tag::RegistryEntry, "{tag:?}");

        let mut rotated = entry.clone();
        rotated.version += 1;
        rotated.keys.push(world::sign_key(&world::signing(99)));
        let mut record = registry::sign_entry(&rotated, &world::roots(), Some(&world::bank_signing("alpha")));
        let rotation = record.rotation_signature.as_mut().expect("signed");
        rotation.signature = sign::sign_bytes(tag, &record.body, &world::bank_signing("alpha"));
        let mut known = world::registry();
        let taken = world::apply(&mut known, &record, ACCEPTED);
        assert_eq!(taken.is_ok(), tag == Tag::RegistryRotation, "{tag:?}");
    }
}

#[test]
fn a_request_id_that_is_not_the_derived_one_is_refused_on_both_sides() {
    let case = Case::new();
    let insider = insider();
    let (header, statement, sealed) = insider.genuine();
    let header = wire::RequestHeader { request_id: vec![1; 16].into(), ..header };
    let request = wire::CardRequest {
        header: Some(sign::sign(Tag::RequestHeader, &header, &world::hub())),
        statement: Some(statement),
        sealed_identity: sealed,
    };
    let record = wire::RequestRecord { message: Some(request_record::Message::Request(request)) };
    let outcome = world::accept("alpha", record.encode_to_vec().into(), &insider.registry).map(|_| ());
    assert_eq!(outcome, Err(Refused::Unopened(Code::REQUEST_ID_WRONG)));

    let alpha = world::bank_id("alpha");
    let genuine = case.reply();
    let resigned = |change: fn(&mut wire::ReplyHeader)| {
        let mut header = wire::ReplyHeader::decode(genuine.header.clone()).expect("a header");
        change(&mut header);
        let headers = [Bytes::from(header.encode_to_vec())];
        let key = world::bank_signing("alpha");
        let proof =
            batch::sign_batch(&alpha, &key, Nonce([1; 16]), &headers, REPLIED).expect("fits").remove(0);
        record_of(wire::CardReply { header: headers[0].clone(), proof: Some(proof), ..genuine.clone() })
    };
    case.is_refused(resigned(|header| header.request_id = vec![1; 16].into()), Code::REQUEST_ID_WRONG);
    case.is_refused(resigned(|header| header.bank_id = "beta".into()), Code::WRONG_TOPIC);
    case.is_refused(resigned(|header| header.reference = None), Code::MESSAGE_MALFORMED);
    case.is_refused(resigned(|header| header.report_key_id = vec![1; 16].into()), Code::REPORT_KEY_MISMATCH);
    case.is_refused(resigned(|header| header.sealed_sha256 = vec![1; 32].into()), Code::DIGEST_MISMATCH);
    case.is_refused(
        resigned(|header| header.statement_sha256 = vec![1; 32].into()),
        Code::STATEMENT_MISMATCH,
    );
}

#[test]
fn a_batch_statement_binds_its_bank_key_and_size() {
    let case = Case::new();
    let key = world::bank_signing("alpha");
    let resigned = |change: fn(&mut wire::BatchStatement)| {
        let mut reply = case.reply();
        let proof = reply.proof.as_mut().expect("a proof");
        let body = proof.statement.as_ref().expect("signed").body.clone();
        let mut statement = wire::BatchStatement::decode(body).expect("a statement");
        change(&mut statement);
        proof.statement = Some(sign::sign(Tag::ReplyBatch, &statement, &key));
        record_of(reply)
    };
    case.is_refused(resigned(|statement| statement.bank_id = "beta".into()), Code::WRONG_TOPIC);
    case.is_refused(resigned(|statement| statement.key_id = vec![1; 16].into()), Code::KEY_UNKNOWN);
    case.is_refused(resigned(|statement| statement.root = vec![1; 32].into()), Code::BATCH_PROOF_INVALID);
    case.is_refused(resigned(|statement| statement.root = Bytes::new()), Code::MESSAGE_MALFORMED);
    for (size, code) in [
        (0, Code::BATCH_PROOF_INVALID),
        (2, Code::BATCH_PROOF_INVALID),
        (1025, Code::BATCH_TOO_LARGE),
        (u32::MAX, Code::BATCH_TOO_LARGE),
    ] {
        let mut reply = case.reply();
        let proof = reply.proof.as_mut().expect("a proof");
        let body = proof.statement.as_ref().expect("signed").body.clone();
        let statement = wire::BatchStatement {
            tree_size: size,
            ..wire::BatchStatement::decode(body).expect("a statement")
        };
        proof.statement = Some(sign::sign(Tag::ReplyBatch, &statement, &key));
        case.is_refused(record_of(reply), code);
    }
}

#[test]
fn a_grant_counts_for_two_minutes_and_only_by_the_querys_own_upstream() {
    let query = world::query("wallet", 1, &["alpha"]);
    let registry = world::registry();
    let grant = view::Grant {
        reference: query.reference.clone(),
        subject: "subject-1".into(),
        report_key: query.report_key.id(),
        issued_at: FINAL,
        expires_at: UnixMillis(FINAL.0 + 120_000),
        nonce: Nonce([5; 16]),
    };
    let open = |grant: &view::Grant, key: &SigningKey, at: i64| {
        view::open(view::grant(grant, key), &registry, UnixMillis(FINAL.0 + at)).map(|_| ())
    };
    assert_eq!(open(&grant, &query.signer, 0), Ok(()));
    assert_eq!(open(&grant, &query.signer, 120_000), Ok(()));
    assert_eq!(open(&grant, &query.signer, 120_001), Err(Code::GRANT_EXPIRED));
    assert_eq!(open(&grant, &query.signer, -1), Err(Code::GRANT_INVALID));
    let longer = view::Grant { expires_at: UnixMillis(FINAL.0 + 120_001), ..grant.clone() };
    assert_eq!(open(&longer, &query.signer, 0), Err(Code::GRANT_INVALID));
    assert_eq!(open(&grant, &world::purse(), 0), Err(Code::KEY_UNKNOWN), "another upstream's key");
    let foreign = view::Grant { reference: world::reference("purse", 1), ..grant };
    assert_eq!(open(&foreign, &query.signer, 0), Err(Code::KEY_UNKNOWN));
}

#[test]
fn the_hubs_statement_and_a_banks_part_name_the_same_banks_and_digests() {
    let registry = world::registry();
    let query = world::query("wallet", 1, &["alpha", "beta"]);
    type Change = fn(&mut wire::HubStatement);
    let changes: [(Change, Code); 5] = [
        (|word| word.banks[0].identity_sha256 = vec![9; 32].into(), Code::DIGEST_MISMATCH),
        (|word| word.banks[0].bank_id = "gamma".into(), Code::DIGEST_MISMATCH),
        (|word| word.banks[1].bank_id = "alpha".into(), Code::BANK_REPEATED),
        (
            |word| word.banks.push(wire::BankShare { bank_id: "gamma".into(), ..word.banks[0].clone() }),
            Code::STATEMENT_MISMATCH,
        ),
        (|word| word.contact_sha256 = vec![9; 32].into(), Code::DIGEST_MISMATCH),
    ];
    for (n, (change, code)) in changes.into_iter().enumerate() {
        let mut submitted = query.submitted.clone();
        let signed = submitted.hub_statement.as_mut().expect("signed");
        let mut word = wire::HubStatement::decode(signed.body.clone()).expect("a statement");
        change(&mut word);
        *signed = sign::sign(Tag::HubStatement, &word, &query.signer);
        assert_eq!(query.open(&registry, &submitted).map(|_| ()), Err(code), "change {n}");
    }
    assert!(query.open(&registry, &query.submitted).is_ok());
}

#[test]
fn a_notice_carries_the_statement_that_its_header_names() {
    let registry = world::registry();
    let query = world::query("wallet", 1, &["alpha"]);
    let held = query.submission().query.content_digest();
    let released = world::query_of("wallet", 1, &["alpha"], Some(held));
    let header = world::notice_header(&query);
    let record = |query: &Query| {
        let notice = notice::notify(&header, &query.submission().contact, &world::hub());
        let Some(wire::notice_record::Message::ReportReady(notice)) = notice.message else {
            unreachable!("a notice")
        };
        notice
    };
    let mut mixed = record(&released);
    mixed.header = record(&query).header;
    let value = wire::NoticeRecord { message: Some(wire::notice_record::Message::ReportReady(mixed)) }
        .encode_to_vec();
    let opened = notice::open(query.key().as_bytes(), value.into(), &registry, FINAL).map(|_| ());
    assert_eq!(opened, Err(Code::DIGEST_MISMATCH), "the contact of the first submission under the same id");
}

/// Whoever holds the hub's key could else ask with a consent from long ago: with its true time of acceptance for ever
/// after, with a false one as if it were given today.
#[test]
fn a_bank_refuses_times_that_the_hub_cannot_have_meant() {
    let query = world::query("wallet", 1, &["alpha"]);
    let share = &query.submission().banks[&world::bank_id("alpha")];
    let ask = |accepted_at, reply_by| {
        let header = request::Header { accepted_at, reply_by, ..query.header("alpha") };
        let value = request::ask(&header, share, &world::hub()).encode_to_vec().into();
        world::accept("alpha", value, &world::registry()).map(|_| ())
    };
    let refused = |code| Err(Refused::NotAccepted(NotAccepted::Refused(Refusal::ConsentNotValid, code)));
    let impossible = || refused(Code::REQUEST_TIME_IMPOSSIBLE);
    let (before, after) = (|at: UnixMillis| UnixMillis(at.0 - 1), |at: UnixMillis| UnixMillis(at.0 + 1));

    assert_eq!(ask(before(ISSUED), REPLY_BY), impossible(), "accepted before the consent was issued");
    assert_eq!(ask(after(REPLIED), REPLY_BY), impossible(), "accepted after the request was appended");
    assert_eq!(ask(ACCEPTED, after(DEADLINE)), impossible(), "more than 24 hours to answer");
    assert_eq!(ask(ACCEPTED, DEADLINE), Ok(()));
    assert_eq!(ask(ACCEPTED, REPLY_BY), Ok(()), "the untouched twin");
}

#[test]
fn a_receipt_of_an_erased_day_is_the_hubs_and_tells_of_steps_in_their_order() {
    let registry = world::registry();
    let hub = registry.hub().expect("a hub");
    let receipt = world::receipt();
    let signed = erasure::sign(&receipt, &world::hub());
    assert_eq!(erasure::open(&signed, hub), Ok(receipt.clone()));

    let foreign = erasure::sign(&receipt, &world::bank_signing("alpha"));
    assert_eq!(erasure::open(&foreign, hub), Err(Code::KEY_UNKNOWN));
    let impostor = wire::Signed { key_id: signed.key_id.clone(), ..foreign };
    assert_eq!(erasure::open(&impostor, hub), Err(Code::SIGNATURE_INVALID));
    for at in 0..signed.body.len() {
        let mut body = signed.body.to_vec();
        body[at] ^= 1;
        assert!(erasure::open(&wire::Signed { body: body.into(), ..signed.clone() }, hub).is_err(), "{at}");
    }
    let too_soon = erasure::Receipt { key_destroyed_at: receipt.closed_at, ..receipt };
    let signed = erasure::sign(&too_soon, &world::hub());
    assert_eq!(erasure::open(&signed, hub), Err(Code::STATEMENT_MISMATCH));
}
