//! Signatures used for what they were not made for.

use bytes::Bytes;
use cardquery::demo::wallet::Submitted;
use cardquery::sample;
use cardquery_tests::attacker::{HandBank, Lookups, query_record, reply_record};
use prost::Message as _;
use schemas::codes::Code;
use schemas::http::PROTOBUF;
use schemas::keys::SigningKey;
use schemas::registry::PartyName;
use schemas::sign::{self, Tag};
use schemas::submission;
use schemas::view::{self, Grant, MAX_GRANT_VALIDITY};
use schemas::wire::{self, request_record};

use super::consents::{is_answered, refused_marker};
use super::stage::{Stage, now};

/// The same body, signed by the right key for another kind.
fn signed_as(tag: Tag, signed: &wire::Signed, key: &SigningKey) -> wire::Signed {
    wire::Signed { signature: sign::sign_bytes(tag, &signed.body, key), ..signed.clone() }
}

pub(crate) async fn a_signature_of_another_kind_is_refused(
    stage: &Stage,
    query: &Submitted,
    lookups: &Lookups,
) {
    let before = stage.status(query).await;
    as_a_grant(stage, query).await;
    in_the_query_topic(stage, query).await;
    in_a_reply_topic(stage, query).await;
    in_a_request_topic(stage, query, lookups).await;
    assert_eq!(stage.status(query).await, before, "nothing changed");
}

async fn as_a_grant(stage: &Stage, query: &Submitted) {
    let key = stage.upstream_key();
    let at = now();
    let good = Grant {
        reference: query.reference.clone(),
        subject: query.prepared().request.subject.clone(),
        report_key: query.prepared().report_key.id(),
        issued_at: at,
        expires_at: at + MAX_GRANT_VALIDITY,
        nonce: schemas::ids::Nonce([9; 16]),
    };
    let word = wire::GrantedView::decode(view::grant(&good, &key)).expect("a grant").grant.expect("signed");
    let path = format!("/v1/queries/{}/report", query.reference.query);
    let present = async |signed: wire::Signed| {
        let grant: Bytes = wire::GrantedView { grant: Some(signed) }.encode_to_vec().into();
        stage.post(&path, PROTOBUF, grant).await
    };
    for tag in Tag::ALL.into_iter().filter(|tag| *tag != Tag::ViewGrant) {
        let what = format!("{} as a grant", tag.as_str());
        present(signed_as(tag, &word, &key)).await.is(Code::SIGNATURE_INVALID, &what);
    }
    let captured = stage.submitted(query).await.banks.remove(0).statement.expect("signed");
    let borrowed = wire::Signed { signature: captured.signature.clone(), ..word.clone() };
    present(borrowed).await.is(Code::SIGNATURE_INVALID, "the signature of a bank's statement");
    present(captured).await.is(Code::MESSAGE_MALFORMED, "a bank's statement as it is");
    assert_eq!(present(word).await.status, 200, "the grant itself");
}

async fn in_the_query_topic(stage: &Stage, query: &Submitted) {
    let key = stage.upstream_key();
    let topic = stage.topics().query(&stage.world.upstream);
    let id = query.reference.query.to_string();
    let captured = stage.submitted(query).await;
    let revocation = submission::revoke(&query.reference, now(), &key).revocation.expect("signed");

    let posing = wire::QuerySubmitted { hub_statement: Some(revocation.clone()), ..captured.clone() };
    let what = "a revocation as a statement for the hub";
    stage.write_refused(&topic, &id, query_record(posing), Code::SIGNATURE_INVALID, what).await;
    let mut posing = captured.clone();
    posing.hub_statement = posing.hub_statement.map(|word| signed_as(Tag::BankStatement, &word, &key));
    let what = "a statement for the hub, signed as one for a bank";
    stage.write_refused(&topic, &id, query_record(posing), Code::SIGNATURE_INVALID, what).await;
    let mut posing = captured.clone();
    // Without an identity, so that it is not refused for its size alone.
    posing.banks[0] =
        wire::BankPart { statement: captured.hub_statement.clone(), sealed_identity: Bytes::new() };
    let what = "the hub's statement as a bank's";
    stage.write_refused(&topic, &id, query_record(posing), Code::SIGNATURE_INVALID, what).await;

    let revoked = |signed: wire::Signed| {
        let revoked = wire::ConsentRevoked { revocation: Some(signed) };
        wire::QueryRecord { message: Some(wire::query_record::Message::Revoked(revoked)) }.encode_to_vec()
    };
    for tag in Tag::ALL.into_iter().filter(|tag| *tag != Tag::Revocation) {
        let what = format!("{} as a revocation", tag.as_str());
        let value = revoked(signed_as(tag, &revocation, &key));
        stage.write_refused(&topic, &id, value, Code::SIGNATURE_INVALID, &what).await;
    }
    let statement = captured.hub_statement.expect("signed");
    let what = "the hub's statement as a revocation";
    stage.write_refused(&topic, &id, revoked(statement), Code::SIGNATURE_INVALID, what).await;
}

async fn in_a_reply_topic(stage: &Stage, query: &Submitted) {
    let mut banks = query.banks().iter();
    let (ours, theirs) = (banks.next().expect("a bank"), banks.next().expect("another bank"));
    let id = query.reference.query.to_string();
    let captured = |bank| {
        let replies = stage.log.of(&stage.topics().reply(bank));
        let mine = |record: &&plumbing::kafka::Record| record.key.as_deref() == Some(id.as_bytes());
        let record = replies.iter().find(mine).expect("an answer");
        let Some(wire::reply_record::Message::Reply(reply)) =
            wire::ReplyRecord::decode(record.value.clone()).expect("a reply").message
        else {
            unreachable!("a reply")
        };
        reply
    };
    let (genuine, foreign) = (captured(ours), captured(theirs));
    let topic = stage.topics().reply(ours);
    let what = "another bank's batch over this bank's reply";
    let spliced = wire::CardReply { proof: foreign.proof.clone(), ..genuine.clone() };
    stage.write_refused(&topic, &id, reply_record(spliced), Code::KEY_UNKNOWN, what).await;

    // What two banks with one key would do: this bank's signature over a batch statement that names the other bank.
    let bank = HandBank::new(theirs).with_key(HandBank::new(ours).signing);
    let posing = wire::CardReply { proof: Some(bank.prove(&genuine.header, now())), ..genuine.clone() };
    let what = "a batch statement of another bank";
    stage.write_refused(&topic, &id, reply_record(posing), Code::WRONG_TOPIC, what).await;

    for tag in Tag::ALL.into_iter().filter(|tag| *tag != Tag::ReplyBatch) {
        let mut posing = genuine.clone();
        let proof = posing.proof.as_mut().expect("a proof");
        let key = HandBank::new(ours).signing;
        proof.statement = proof.statement.as_ref().map(|statement| signed_as(tag, statement, &key));
        let what = format!("{} as a batch", tag.as_str());
        stage.write_refused(&topic, &id, reply_record(posing), Code::SIGNATURE_INVALID, &what).await;
    }
}

/// A bank writes no dead letters: what it takes for the hub's word is seen by what it does.
async fn in_a_request_topic(stage: &Stage, query: &Submitted, lookups: &Lookups) {
    let bank = query.banks().first().expect("a bank");
    let hub = sample::keys::signing(&PartyName::hub());
    let topic = stage.topics().request(bank);
    let id = query.reference.query.to_string();
    let genuine = schemas::request::cancel(&query.reference, bank, &hub);
    let Some(request_record::Message::Cancelled(cancelled)) = genuine.message.clone() else {
        unreachable!("a cancellation")
    };
    let word = cancelled.cancellation.expect("signed");
    for tag in Tag::ALL.into_iter().filter(|tag| *tag != Tag::RequestCancellation) {
        let cancelled = wire::RequestCancelled { cancellation: Some(signed_as(tag, &word, &hub)) };
        let record = wire::RequestRecord { message: Some(request_record::Message::Cancelled(cancelled)) };
        stage.insider.write(&topic, &id, record.encode_to_vec()).await;
    }
    is_answered(stage, query, bank, lookups).await;

    let request = stage.request(bank, query).await;
    let Some(request_record::Message::Request(request)) = super::stage::request_of(&request) else {
        unreachable!("a request")
    };
    let header = request.header.clone().expect("signed");
    let replies = stage.topics().reply(bank);
    let (before, looked_up) = (stage.log.of(&replies).len(), lookups.at(bank));
    for tag in Tag::ALL.into_iter().filter(|tag| *tag != Tag::RequestHeader) {
        let posing = wire::CardRequest { header: Some(signed_as(tag, &header, &hub)), ..request.clone() };
        let record = wire::RequestRecord { message: Some(request_record::Message::Request(posing)) };
        stage.insider.write(&topic, &id, record.encode_to_vec()).await;
    }
    refused_marker(stage, query, bank).await;
    assert_eq!(stage.log.of(&replies).len(), before + 1, "only the marker was replied to");
    assert_eq!(lookups.at(bank), looked_up, "no lookup");
}
