//! Who reads a report, and what a withdrawal takes away.

use std::time::Duration;

use bytes::Bytes;
use cardquery::demo::wallet::Submitted;
use cardquery_tests::attacker::{HandBank, eventually, reply_record};
use schemas::codes::Code;
use schemas::http::PROTOBUF;
use schemas::ids::{Nonce, QueryId, Reference};
use schemas::keys::OpeningKey;
use schemas::time::UnixMillis;
use schemas::view::{self, Grant, MAX_GRANT_VALIDITY};
use schemas::wire::{AnswerKind, event_record, request_record};
use schemas::{reply::Word, wire};

use super::replies;
use super::stage::{Answer, Stage, now, request_of};

fn grant(query: &Submitted) -> Grant {
    let prepared = query.prepared();
    let at = now();
    Grant {
        reference: query.reference.clone(),
        subject: prepared.request.subject.clone(),
        report_key: prepared.report_key.id(),
        issued_at: at,
        expires_at: at + MAX_GRANT_VALIDITY,
        nonce: Nonce(*uuid::Uuid::now_v7().as_bytes()),
    }
}

async fn view(stage: &Stage, grant: &Grant) -> Answer {
    present(stage, grant.reference.query, view::grant(grant, &stage.upstream_key())).await
}

/// Presents the bytes of a grant.
async fn present(stage: &Stage, query: QueryId, grant: Bytes) -> Answer {
    stage.post(&format!("/v1/queries/{query}/report"), PROTOBUF, grant).await
}

pub(crate) async fn a_report_is_only_for_its_own_device_person_and_grant(
    stage: &mut Stage,
    query: &Submitted,
) {
    let other_device = Grant { report_key: OpeningKey::generate().id(), ..grant(query) };
    view(stage, &other_device).await.is(Code::DEVICE_MISMATCH, "another device");

    let foreign = view(stage, &Grant { subject: "somebody-else".to_owned(), ..grant(query) }).await;
    foreign.is(Code::QUERY_NOT_FOUND, "another person");
    let nowhere = Reference { query: QueryId::generate(), ..query.reference.clone() };
    let missing = view(stage, &Grant { reference: nowhere, ..grant(query) }).await;
    assert_eq!(foreign, missing, "missing and foreign are alike to the byte");

    let three_minutes_ago = now().before(Duration::from_secs(180));
    let expired = Grant {
        issued_at: three_minutes_ago,
        expires_at: three_minutes_ago + MAX_GRANT_VALIDITY,
        ..grant(query)
    };
    view(stage, &expired).await.is(Code::GRANT_EXPIRED, "an old grant");

    let good = grant(query);
    let first = view(stage, &good).await;
    assert_eq!(first.status, 200);
    assert_eq!(view(stage, &good).await, first, "the same grant shows the same bytes");
    let opened = stage.wallet.open(query, first.body.clone()).expect("the report opens");
    assert!(opened.complete);
    let earlier = |at: UnixMillis| at.before(Duration::from_millis(1));
    let another =
        Grant { issued_at: earlier(good.issued_at), expires_at: earlier(good.expires_at), ..good.clone() };
    view(stage, &another).await.is(Code::GRANT_USED, "another grant with the same nonce");

    let sms = tokio::time::timeout(Duration::from_secs(30), stage.world.inbox.recv()).await;
    assert!(sms.expect("in time").is_some(), "the one SMS");
}

pub(crate) async fn a_withdrawn_query_takes_no_reply_and_sends_no_sms(stage: &mut Stage, query: &Submitted) {
    let id = query.reference.query;
    let key = id.to_string();
    let banks: Vec<HandBank> = query.banks().iter().map(replies::honest).collect();
    let mut late = Vec::new();
    for bank in &banks {
        let asked = stage.asked(bank, query).await;
        let answer =
            wire::Answer { kind: AnswerKind::NoCards.into(), as_of_ms: now().0, ..Default::default() };
        let word: Word = bank.answered(&asked, &answer);
        late.push((bank, reply_record(bank.reply(&asked, word, now()))));
    }
    let (first, reply) = late.remove(0);
    stage.insider.write(&stage.topics().reply(&first.id), &key, reply).await;
    stage.answered(query, 1).await;

    let withdrawn = stage.post(&format!("/v1/queries/{id}/revocation"), "application/json", "{}").await;
    assert_eq!(withdrawn.status, 202);
    let status = eventually("withdrawn", async || {
        let status = stage.status(query).await;
        (status.state == "WITHDRAWN").then_some(status)
    })
    .await;
    view(stage, &grant(query)).await.is(Code::QUERY_WITHDRAWN, "withdrawn before it was final");
    for bank in &banks {
        let find = |record: &plumbing::kafka::Record| {
            let is_void = matches!(request_of(record), Some(request_record::Message::Cancelled(_)));
            (is_void && record.key.as_deref() == Some(key.as_bytes())).then_some(())
        };
        stage.log.wait_for(&stage.topics().request(&bank.id), find).await;
    }

    // Junk behind each late reply, in the same partition: with its dead letter the reply before it was read.
    let letters = stage.topics().dead_letter(&stage.topics().reply(&first.id)).expect("a topic");
    let before = stage.log.of(&letters).len();
    let sent = late.len();
    for (bank, reply) in late {
        let topic = stage.topics().reply(&bank.id);
        stage.insider.write(&topic, &key, reply).await;
        stage.write_refused(&topic, &key, vec![0xff], Code::MESSAGE_MALFORMED, "junk").await;
    }
    assert_eq!(stage.log.of(&letters).len(), before + sent, "a late reply is dropped, and is no dead letter");
    assert_eq!(stage.status(query).await, status, "and changes nothing");

    let told = |pick| stage.events(query, pick);
    assert_eq!(told(|message| matches!(message, event_record::Message::Withdrawn(_))), 1);
    assert_eq!(told(|message| matches!(message, event_record::Message::ReportReady(_))), 0);
    let notices = stage.log.of(&stage.topics().notice());
    assert!(
        notices.iter().all(|notice| notice.key.as_deref() != Some(key.as_bytes())),
        "no notice, so no SMS"
    );
    assert!(stage.world.inbox.try_recv().is_err(), "no SMS");
}

/// `views` grants have shown the report so far.
pub(crate) async fn a_withdrawn_report_is_gone(stage: &Stage, query: &Submitted, views: usize) {
    let id = query.reference.query;
    let withdrawn = stage.post(&format!("/v1/queries/{id}/revocation"), "application/json", "{}").await;
    assert_eq!(withdrawn.status, 202);
    eventually("withdrawn", async || (stage.status(query).await.state == "WITHDRAWN").then_some(())).await;
    view(stage, &grant(query)).await.is(Code::QUERY_WITHDRAWN, "withdrawn after it was final");

    // Events of a query keep their order, so with this one every view has been told.
    let is_withdrawn =
        |message: &event_record::Message| matches!(message, event_record::Message::Withdrawn(_));
    eventually("told", async || (stage.events(query, is_withdrawn) == 1).then_some(())).await;
    let is_viewed = |message: &event_record::Message| matches!(message, event_record::Message::Viewed(_));
    assert_eq!(stage.events(query, is_viewed), views, "one view per grant that showed the report");
}
