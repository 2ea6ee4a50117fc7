//! A captured, accepted consent, used for what the person did not agree to.

use bytes::Bytes;
use cardquery::demo::wallet::Submitted;
use cardquery::sample;
use cardquery_tests::attacker::{Lookups, query_record};
use prost::Message as _;
use schemas::codes::Code;
use schemas::ids::{BankId, Digest, QueryId, Reference};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::registry::PartyName;
use schemas::request::{self, Header};
use schemas::seal::{self, Binding, Kind};
use schemas::sign::{self, Tag};
use schemas::submission::BankShare;
use schemas::time::UnixMillis;
use schemas::wire::{self, Refusal, ReplyOutcome, request_record};

use super::stage::{Stage, bank_ids, person, request_of};

/// Another person's identity, sealed as the producer would to the bank of this consent.
fn another_identity(query: &Submitted, bank: &BankId) -> Bytes {
    let consent = &query.prepared().request.consent;
    let binding = Binding {
        reference: &query.reference,
        party: bank.as_str(),
        expires_at: consent.expires_at,
        context: &consent.nonce.0,
    };
    let stranger = sample::core::people().into_iter().find(|person| person.key == "zhang").expect("a person");
    let to = sample::keys::opening(&PartyName::bank(bank));
    let identity = stranger.identity().encode_to_vec();
    seal::seal(Kind::Identity, to.public(), &binding, &identity).expect("seals")
}

fn rewritten<M: prost::Message + Default>(signed: &mut Option<wire::Signed>, change: impl FnOnce(&mut M)) {
    let signed = signed.as_mut().expect("signed");
    let mut body = M::decode(signed.body.clone()).expect("a statement");
    change(&mut body);
    signed.body = body.encode_to_vec().into();
}

fn key_of_the_attacker() -> Option<wire::PublicKey> {
    Some(OpeningKey::derive(b"the attacker's device").public().to_wire())
}

/// The three swaps, each as it fits best, with the code that the hub refuses it with under its own id.
fn swaps(
    query: &Submitted,
    captured: &wire::QuerySubmitted,
    other: &wire::QuerySubmitted,
) -> Vec<(&'static str, wire::QuerySubmitted, Code)> {
    let swap = |change: &dyn Fn(&mut wire::QuerySubmitted)| {
        let mut swapped = captured.clone();
        change(&mut swapped);
        swapped
    };
    let bank = query.banks().first().expect("a bank");
    let silent = bank_ids().into_iter().next_back().expect("a bank");
    vec![
        (
            "another identity",
            swap(&|to| to.banks[0].sealed_identity = another_identity(query, bank)),
            Code::DIGEST_MISMATCH,
        ),
        (
            "another identity, and its digest in both statements",
            swap(&|to| {
                let sealed = another_identity(query, bank);
                let digest = Digest::of(&sealed).to_wire();
                to.banks[0].sealed_identity = sealed;
                rewritten(&mut to.banks[0].statement, |word: &mut wire::BankStatement| {
                    word.identity_sha256 = digest.clone();
                });
                rewritten(&mut to.hub_statement, |word: &mut wire::HubStatement| {
                    word.banks[0].identity_sha256 = digest;
                });
            }),
            Code::SIGNATURE_INVALID,
        ),
        (
            "another report key for the hub",
            swap(&|to| {
                rewritten(&mut to.hub_statement, |word: &mut wire::HubStatement| {
                    word.report_key = key_of_the_attacker();
                });
            }),
            Code::SIGNATURE_INVALID,
        ),
        (
            "another report key for a bank",
            swap(&|to| {
                rewritten(&mut to.banks[0].statement, |word: &mut wire::BankStatement| {
                    word.report_key = key_of_the_attacker();
                });
            }),
            Code::SIGNATURE_INVALID,
        ),
        (
            "another query's bank part",
            swap(&|to| to.banks[0] = other.banks[0].clone()),
            Code::DIGEST_MISMATCH,
        ),
        (
            "another bank in a part",
            swap(&|to| {
                rewritten(&mut to.banks[0].statement, |word: &mut wire::BankStatement| {
                    word.bank_id = silent.to_string();
                });
            }),
            Code::SIGNATURE_INVALID,
        ),
        ("a bank part less", swap(&|to| drop(to.banks.pop())), Code::STATEMENT_MISMATCH),
        ("a bank part twice", swap(&|to| to.banks.push(to.banks[0].clone())), Code::STATEMENT_MISMATCH),
    ]
}

pub(crate) async fn a_captured_consent_serves_no_other_query(stage: &Stage, query: &Submitted) {
    let before = stage.status(query).await;
    let other = stage.ask("li", query.banks().clone()).await;
    stage.finalised(&other).await;
    let captured = stage.submitted(query).await;
    let swaps = swaps(query, &captured, &stage.submitted(&other).await);
    let topic = stage.topics().query(&stage.world.upstream);
    let id = query.reference.query.to_string();
    let insiders = SigningKey::from_seed(&[66; 32]);
    for (what, swapped, code) in swaps {
        stage.write_refused(&topic, &id, query_record(swapped.clone()), code, what).await;

        let fresh = QueryId::generate();
        let key = fresh.to_string();
        // Whoever checks the statements first says so; nobody takes it.
        let hub_word_holds = swapped.hub_statement == captured.hub_statement;
        let moved = if hub_word_holds { Code::WRONG_RECORD_KEY } else { Code::SIGNATURE_INVALID };
        stage.write_refused(&topic, &key, query_record(swapped.clone()), moved, what).await;
        let mut renamed = swapped;
        let reference = Some(wire::Reference::from(&Reference { query: fresh, ..query.reference.clone() }));
        rewritten(&mut renamed.hub_statement, |word: &mut wire::HubStatement| {
            word.reference.clone_from(&reference);
        });
        stage.write_refused(&topic, &key, query_record(renamed.clone()), Code::SIGNATURE_INVALID, what).await;
        let signed = renamed.hub_statement.as_mut().expect("signed");
        signed.signature = sign::sign_bytes(Tag::HubStatement, &signed.body, &insiders);
        signed.key_id = insiders.id().to_wire();
        stage.write_refused(&topic, &key, query_record(renamed), Code::KEY_UNKNOWN, what).await;
        stage.get(&format!("/v1/queries/{fresh}")).await.is(Code::QUERY_NOT_FOUND, what);
        assert_eq!(stage.status(query).await, before, "{what}: the first query is as it was");
    }
}

/// What the hub can send to a bank: everything in a request is its own choice, but for the upstream's signature.
struct Hostile<'a> {
    stage: &'a Stage,
    bank: BankId,
    header: Header,
    statement: wire::Signed,
    sealed_identity: Bytes,
}

impl Hostile<'_> {
    async fn new<'a>(stage: &'a Stage, query: &Submitted, bank: &BankId) -> Hostile<'a> {
        let record = stage.request(bank, query).await;
        let Some(request_record::Message::Request(request)) = request_of(&record) else {
            unreachable!("a request")
        };
        let word = wire::RequestHeader::decode(request.header.expect("signed").body).expect("a header");
        let statement = request.statement.expect("signed");
        let header = Header {
            reference: query.reference.clone(),
            bank: bank.clone(),
            statement_sha256: Digest::of(&statement.body),
            accepted_at: UnixMillis(word.accepted_at_ms),
            reply_by: UnixMillis(word.reply_by_ms),
            attempt: word.attempt,
        };
        Hostile { stage, bank: bank.clone(), header, statement, sealed_identity: request.sealed_identity }
    }

    /// Asks with the hub's own signature, over the digest of whatever statement this is.
    async fn ask(
        &self,
        header: Header,
        statement: wire::Signed,
        sealed_identity: Bytes,
    ) -> wire::ReplyHeader {
        let statement_sha256 = Digest::of(&statement.body);
        let share = BankShare { statement, statement_sha256, sealed_identity };
        let header = Header { statement_sha256, ..header };
        let record = request::ask(&header, &share, &sample::keys::signing(&PartyName::hub()));
        self.send(&header.reference, record.encode_to_vec()).await
    }

    /// The bank's reply to a record.
    async fn send(&self, reference: &Reference, value: Vec<u8>) -> wire::ReplyHeader {
        let (requests, replies) =
            (self.stage.topics().request(&self.bank), self.stage.topics().reply(&self.bank));
        let before = self.stage.log.of(&replies).len();
        self.stage.insider.write(&requests, &reference.query.to_string(), value).await;
        let reply = self.stage.log.after(&replies, before).await;
        let record = wire::ReplyRecord::decode(reply.value).expect("a reply");
        let Some(wire::reply_record::Message::Reply(reply)) = record.message else { unreachable!("a reply") };
        wire::ReplyHeader::decode(reply.header).expect("a header")
    }
}

pub(crate) async fn a_hostile_hub_gets_no_lookup(stage: &Stage, query: &Submitted, lookups: &Lookups) {
    let mut banks = query.banks().iter();
    let (bank, neighbour) = (banks.next().expect("a bank"), banks.next().expect("another bank"));
    let hostile = Hostile::new(stage, query, bank).await;
    let theirs = Hostile::new(stage, query, neighbour).await;
    let looked_up = lookups.at(bank);
    assert!(looked_up > 0, "the honest request was looked up");
    let Hostile { header, statement, sealed_identity, .. } = &hostile;

    let stranger = another_identity(query, bank);
    let with = |change: &dyn Fn(&mut wire::BankStatement)| {
        let mut signed = Some(statement.clone());
        rewritten(&mut signed, |word: &mut wire::BankStatement| change(word));
        signed.expect("signed")
    };
    let fresh = Reference { query: QueryId::generate(), ..query.reference.clone() };
    let renamed = Header { reference: fresh.clone(), ..header.clone() };
    let sealed = Digest::of(&stranger).to_wire();
    let early = Header {
        accepted_at: query.prepared().request.consent.issued_at.before(super::WINDOW),
        ..header.clone()
    };
    let attacks = [
        ("another identity", header, statement.clone(), &stranger, Refusal::DigestMismatch),
        (
            "another identity in the statement",
            header,
            with(&|word| word.identity_sha256 = sealed.clone()),
            &stranger,
            Refusal::StatementInvalid,
        ),
        (
            "another report key",
            header,
            with(&|word| word.report_key = key_of_the_attacker()),
            sealed_identity,
            Refusal::StatementInvalid,
        ),
        (
            "another bank's part",
            header,
            theirs.statement.clone(),
            &theirs.sealed_identity,
            Refusal::StatementInvalid,
        ),
        ("a fresh id", &renamed, statement.clone(), sealed_identity, Refusal::StatementInvalid),
        (
            "a fresh id in the statement",
            &renamed,
            with(&|word| word.reference = Some((&fresh).into())),
            sealed_identity,
            Refusal::StatementInvalid,
        ),
        ("an earlier acceptance", &early, statement.clone(), sealed_identity, Refusal::ConsentNotValid),
        ("no statement", header, wire::Signed::default(), sealed_identity, Refusal::StatementInvalid),
    ];
    for (what, header, statement, sealed, refusal) in attacks {
        let reply = hostile.ask(header.clone(), statement, sealed.clone()).await;
        assert_eq!((reply.outcome(), reply.refusal()), (ReplyOutcome::Refused, refusal), "{what}");
        assert_eq!(reply.request_id, header.request_id().0.as_slice(), "{what}");
        assert_eq!(lookups.at(bank), looked_up, "{what}: no lookup");
    }
    // Signed with the hub's own key, the statement may be that of a key not heard of yet: still no lookup.
    let mut adopted = with(&|word| word.report_key = key_of_the_attacker());
    let hub = sample::keys::signing(&PartyName::hub());
    adopted.signature = sign::sign_bytes(Tag::BankStatement, &adopted.body, &hub);
    adopted.key_id = hub.id().to_wire();
    let reply = hostile.ask(header.clone(), adopted, sealed_identity.clone()).await;
    assert_eq!(reply.outcome(), ReplyOutcome::RetryLater);
    assert_eq!(lookups.at(bank), looked_up);

    is_answered(stage, query, bank, lookups).await;
}

/// The honest request, sent once more as it was, is looked up and answered.
pub(crate) async fn is_answered(stage: &Stage, query: &Submitted, bank: &BankId, lookups: &Lookups) {
    let looked_up = lookups.at(bank);
    let hostile = Hostile::new(stage, query, bank).await;
    let twin = stage.request(bank, query).await;
    let reply = hostile.send(&query.reference, twin.value.to_vec()).await;
    assert_eq!(reply.outcome(), ReplyOutcome::Answered, "the untouched twin");
    assert_eq!(lookups.at(bank), looked_up + 1);
}

/// A request that `bank` refuses: its reply shows that everything before it in its partition was taken up.
pub(crate) async fn refused_marker(stage: &Stage, query: &Submitted, bank: &BankId) {
    let hostile = Hostile::new(stage, query, bank).await;
    let reply = hostile.ask(hostile.header.clone(), wire::Signed::default(), Bytes::new()).await;
    assert_eq!(reply.outcome(), ReplyOutcome::Refused);
}

/// So that nobody takes the two for one: the sample has different people.
#[test]
fn the_stranger_is_somebody_else() {
    assert_ne!(person("wang").document_number, person("zhang").document_number);
}
