//! The whole connector on the in-process mock broker.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bank_connector::metric_names::{BATCHES, CANCELLATIONS, IGNORED, REFUSED, REQUESTS};
use prost::Message;
use schemas::ids::Digest;
use schemas::keys::SigningKey;
use schemas::request;
use schemas::sign::{Tag, sign};
use schemas::submission::BankShare;
use schemas::wire::{self, AnswerKind, PartyKind, ReplyOutcome};

use support::{
    Core, Query, Stand, bank_opening_retired, entry, hub, hub_entry, opening, signing, soon, stranger, until,
    wallet, wallet_entry,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_valid_request_is_answered_under_seal_and_its_record_names_the_query_only() {
    let core = Core::new();
    let mut stand = Stand::running("anhe", core.clone()).await;
    let query = Query::new(&stand.bank);
    stand.send(&query, query.request(1)).await;
    let record = stand.next_record().await;

    let reply = stand.verify(&record);
    assert_eq!(reply.outcome, ReplyOutcome::Answered);
    let answer = query.open(&reply);
    assert_eq!((answer.kind(), answer.cards.len()), (AnswerKind::Cards, 1));
    assert_eq!((answer.cards[0].first4.as_str(), answer.cards[0].pan_length), ("6299", 19));

    let key = query.reference.query.to_string();
    assert_eq!(record.key.as_deref(), Some(key.as_bytes()));
    let header = |name| record.header(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let id = query.reference.message_id("reply/anhe/1").to_string();
    assert_eq!(header("ce_id"), Some(id));
    assert_eq!(header("ce_type").as_deref(), Some("cardquery.CardReply.v1"));
    assert_eq!(header("ce_source").as_deref(), Some("/cardquery/bank/anhe"));
    assert_eq!(header("ce_correlationid"), Some(key));

    stand.settled().await;
    assert_eq!(core.calls(), 1);
    assert_eq!(stand.counted(REQUESTS, "outcome=\"ANSWERED\""), 1);
    let seen = std::fs::read_to_string(stand.seen_file()).expect("kept");
    assert!(seen.contains("\"upstream/wallet\":1"), "{seen}");
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_sealed_to_a_retired_key_is_answered() {
    let mut stand = Stand::running("beichuan", Core::new()).await;
    let query = Query::sealed_to(&stand.bank, &bank_opening_retired());
    assert_eq!(stand.ask(&query, 1).await.outcome, ReplyOutcome::Answered);
    let lost = Query::sealed_to(&stand.bank, &opening(99));
    assert_eq!(stand.ask(&lost, 1).await.outcome, ReplyOutcome::Refused);
    assert_eq!(stand.counted(REFUSED, "KEY_UNKNOWN"), 1);
}

/// Changes one field of the bank's statement; the upstream's signature stays.
fn altered(query: &Query, change: impl FnOnce(&mut wire::BankStatement)) -> BankShare {
    let signed = &query.share.statement;
    let mut statement = wire::BankStatement::decode(signed.body.clone()).expect("a statement");
    change(&mut statement);
    let statement = wire::Signed { body: statement.encode_to_vec().into(), ..signed.clone() };
    BankShare { statement_sha256: Digest::of(&statement.body), statement, ..query.share.clone() }
}

/// A consent under another identity or report key.
#[tokio::test(flavor = "multi_thread")]
async fn an_insider_at_the_hub_gets_nothing_looked_up_and_the_untouched_twin_is_answered() {
    let core = Core::new();
    let mut stand = Stand::running("changning", core.clone()).await;
    let query = Query::new(&stand.bank);
    let other_identity = query.reseal(&stranger());
    let other_digest = Digest::of(&other_identity);
    let other_key = opening(77).public().to_wire();

    // Another identity, sealed correctly, under the statement as signed.
    let resealed = BankShare { sealed_identity: other_identity.clone(), ..query.share.clone() };
    let mut forged = vec![(resealed, "DIGEST_MISMATCH")];
    let changes: [fn(&mut wire::BankStatement); 9] = [
        |statement| {
            let other = schemas::ids::QueryId::generate();
            if let Some(reference) = &mut statement.reference {
                reference.query_id = other.as_bytes().to_vec().into();
            }
        },
        |statement| statement.issued_at_ms -= 1,
        |statement| statement.expires_at_ms += 1,
        |statement| statement.nonce = vec![8; 16].into(),
        |statement| statement.consent_text_sha256 = vec![8; 32].into(),
        |statement| statement.assurance = wire::Assurance::SelfDeclared.into(),
        |statement| statement.factors[0].at_ms += 1,
        |statement| statement.purpose = wire::Purpose::Unspecified.into(),
        |statement| statement.bank_id = "beichuan".into(),
    ];
    forged.extend(changes.map(|change| (altered(&query, change), "SIGNATURE_INVALID")));
    // The report key, so that the insider could read the answer.
    let report_key = altered(&query, |statement| statement.report_key = Some(other_key));
    forged.push((report_key.clone(), "SIGNATURE_INVALID"));
    // Both halves of an identity: the sealed part and its digest.
    let mut identity = altered(&query, |statement| statement.identity_sha256 = other_digest.to_wire());
    identity.sealed_identity = other_identity;
    forged.push((identity, "SIGNATURE_INVALID"));
    // Signed anew by the insider, under the wallet's key id and under the insider's own.
    let statement = wire::BankStatement::decode(report_key.statement.body.clone()).expect("a statement");
    let own = sign(Tag::BankStatement, &statement, &signing(66));
    let posing = wire::Signed { key_id: wallet().id().to_wire(), ..own.clone() };
    forged.push((BankShare { statement: posing, ..report_key.clone() }, "SIGNATURE_INVALID"));

    let refused_so_far = forged.len() as u64;
    for (share, code) in &forged {
        stand.send(&query, query.forged(share)).await;
        let reply = stand.next_reply().await;
        assert_eq!(reply.outcome, ReplyOutcome::Refused, "{code}");
        assert_eq!(core.calls(), 0, "{code}");
    }
    assert_eq!(stand.counted(REFUSED, "DIGEST_MISMATCH"), 1);
    assert_eq!(stand.counted(REFUSED, "SIGNATURE_INVALID"), refused_so_far - 1);
    // A key that the registry does not list is no reason to refuse, and none to look up.
    stand.send(&query, query.forged(&BankShare { statement: own, ..report_key })).await;
    assert_eq!(stand.next_reply().await.outcome, ReplyOutcome::RetryLater);
    assert_eq!(core.calls(), 0);

    let twin = stand.ask(&query, 1).await;
    assert_eq!(twin.outcome, ReplyOutcome::Answered);
    assert_eq!(query.open(&twin).kind(), AnswerKind::Cards);
    assert_eq!(core.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_hubs_word_is_counted_and_passed_over() {
    let core = Core::new();
    let mut stand = Stand::running("dongli", core.clone()).await;
    let query = Query::new(&stand.bank);
    let posing = request::ask(&query.header(1), &query.share, &signing(66));
    let mut posing_as_hub = posing;
    if let Some(wire::request_record::Message::Request(request)) = &mut posing_as_hub.message
        && let Some(header) = &mut request.header
    {
        header.key_id = hub().id().to_wire();
    }
    stand.send(&query, posing_as_hub).await;
    stand.send_raw(&query, vec![0xff; 40]).await;
    stand.send_raw(&query, Vec::new()).await;
    let elsewhere = Query::new(&"yunhe".parse().expect("an id"));
    stand.send(&elsewhere, elsewhere.request(1)).await;
    stand.settled().await;

    assert_eq!(stand.counted(IGNORED, "SIGNATURE_INVALID"), 1);
    assert_eq!(stand.counted(IGNORED, "MESSAGE_MALFORMED"), 2);
    assert_eq!(stand.counted(IGNORED, "WRONG_TOPIC"), 1);
    stand.no_reply_is_left();
    assert_eq!(core.calls(), 0);
    assert_eq!(stand.ask(&query, 1).await.outcome, ReplyOutcome::Answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_down_costs_a_quarter_of_the_time_left_and_is_asked_again_later() {
    let core = Core::new();
    let mut stand = Stand::running("fenghe", core.clone()).await;
    // The first join of the group is not what is measured.
    assert_eq!(stand.ask(&Query::new(&stand.bank), 1).await.outcome, ReplyOutcome::Answered);

    core.down.store(true, Ordering::SeqCst);
    let query = Query {
        reply_by: bank_connector::system_clock()() + Duration::from_secs(4),
        ..Query::new(&stand.bank)
    };
    let begun = Instant::now();
    assert_eq!(stand.ask(&query, 1).await.outcome, ReplyOutcome::RetryLater);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(core.calls() > 2, "tried more than once");
    stand.settled().await;

    core.down.store(false, Ordering::SeqCst);
    let later = Query { reply_by: query.reply_by + Duration::from_secs(3_600), ..query };
    assert_eq!(stand.ask(&later, 2).await.outcome, ReplyOutcome::Answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_reply_by_nothing_is_looked_up_and_nothing_is_said() {
    let core = Core::gated();
    let mut stand = Stand::running("guanghua", core.clone()).await;
    // One whose time passes before it is read, one whose time passes while it is looked up.
    let late = Query {
        reply_by: bank_connector::system_clock()().before(Duration::from_secs(1)),
        ..Query::new(&stand.bank)
    };
    stand.send(&late, late.request(1)).await;
    let slow = Query::new(&stand.bank);
    stand.send(&slow, slow.request(1)).await;
    core.until_calls(1).await;
    stand.pass(Duration::from_secs(7_200));
    core.let_through(1);
    stand.settled().await;
    assert_eq!(core.calls(), 1);
    assert_eq!(stand.counted(IGNORED, "REPLY_BY_PASSED"), 2);
    stand.no_reply_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_query_is_not_answered_any_more() {
    let core = Core::gated();
    let mut stand = Stand::running("haitang", core.clone()).await;
    let query = Query::new(&stand.bank);
    stand.send(&query, query.request(1)).await;
    core.until_calls(1).await;
    let forged = request::cancel(&query.reference, &stand.bank, &signing(66));
    stand.send(&query, forged).await;
    stand.send(&query, request::cancel(&query.reference, &stand.bank, &hub())).await;
    until("the cancellation", async || stand.counted(CANCELLATIONS, "") == 1).await;
    // What is being looked up is not said, and a later attempt is not looked up.
    core.let_through(1);
    stand.send(&query, query.request(2)).await;
    stand.settled().await;
    assert_eq!(core.calls(), 1);
    assert_eq!(stand.counted(IGNORED, "QUERY_WITHDRAWN"), 2);
    assert_eq!(stand.counted(IGNORED, "KEY_UNKNOWN"), 1, "the forged cancellation");
    stand.no_reply_is_left();

    core.let_through(1);
    assert_eq!(stand.ask(&Query::new(&stand.bank), 1).await.outcome, ReplyOutcome::Answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_a_reason_to_wait_until_the_registry_has_it() {
    let core = Core::new();
    let mut stand = Stand::new("jinze", &[hub_entry()]).await;
    let config = stand.config();
    stand.start(config, core.clone()).await;
    let query = Query::new(&stand.bank);
    assert_eq!(stand.ask(&query, 1).await.outcome, ReplyOutcome::RetryLater);
    assert_eq!(core.calls(), 0);
    stand.register(&wallet_entry()).await;
    assert_eq!(stand.ask(&query, 2).await.outcome, ReplyOutcome::Answered);

    // The hub's own key, likewise.
    let fresh = signing(11);
    stand.send(&query, request::ask(&query.header(3), &query.share, &fresh)).await;
    assert_eq!(stand.next_reply().await.outcome, ReplyOutcome::RetryLater);
    assert_eq!(core.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_older_than_one_seen_before_the_start_is_not_accepted() {
    let core = Core::new();
    let mut stand = Stand::new("kunlun", &[hub_entry(), wallet_entry()]).await;
    std::fs::write(stand.seen_file(), r#"{"upstream/wallet":2}"#).expect("written");
    let config = stand.config();
    stand.start(config, core.clone()).await;
    let query = Query::new(&stand.bank);
    assert_eq!(stand.ask(&query, 1).await.outcome, ReplyOutcome::RetryLater);
    stand.register(&entry(PartyKind::Upstream, "wallet", 2, &[&wallet()])).await;
    assert_eq!(stand.ask(&query, 2).await.outcome, ReplyOutcome::Answered);
    assert_eq!(core.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_are_ready_together_share_a_signature() {
    const REQUESTS: usize = 8;
    let core = Core::gated();
    let mut stand = Stand::new("lianhua", &[hub_entry(), wallet_entry()]).await;
    let mut config = stand.config();
    config.limits.linger_ms = 500;
    stand.start(config, core.clone()).await;
    let queries: Vec<_> = (0..REQUESTS).map(|_| Query::new(&stand.bank)).collect();
    for query in &queries {
        stand.send(query, query.request(1)).await;
    }
    core.until_calls(REQUESTS).await;
    core.let_through(REQUESTS);
    let mut answered = BTreeSet::new();
    let mut statements = BTreeSet::new();
    for _ in 0..REQUESTS {
        let reply = stand.next_reply().await;
        let query = queries.iter().find(|query| query.reference == reply.reference).expect("asked");
        assert_eq!(query.open(&reply).kind(), AnswerKind::Cards);
        answered.insert(reply.reference.clone());
        let segment = wire::Segment::decode(reply.segment).expect("a segment");
        statements.insert(segment.proof.and_then(|proof| proof.statement).expect("signed").body);
    }
    assert_eq!((answered.len(), statements.len()), (REQUESTS, 1));
    assert_eq!(stand.counted(BATCHES, ""), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_without_an_acknowledgement_is_sent_again_and_its_offset_waits() {
    let core = Core::gated();
    let mut stand = Stand::new("mingyue", &[hub_entry(), wallet_entry()]).await;
    let mut config = stand.config();
    config.kafka.properties.insert("message.timeout.ms".into(), "500".into());
    stand.start(config, core.clone()).await;
    let query = Query::new(&stand.bank);
    stand.send(&query, query.request(1)).await;
    core.until_calls(1).await;
    stand.cluster.broker_down(1).expect("down");
    core.let_through(1);
    let ambiguous = || support::metrics().contains("cardquery_records_produced_total{outcome=\"ambiguous\"}");
    until("an ambiguous outcome", async || ambiguous()).await;
    assert_eq!(stand.counted(REQUESTS, ""), 0);
    stand.cluster.broker_up(1).expect("up");
    let reply = stand.next_reply().await;
    assert_eq!(query.open(&reply).kind(), AnswerKind::Cards);
    stand.settled().await;
    assert_eq!(stand.counted(REQUESTS, "ANSWERED"), 1);
    assert_eq!(core.calls(), 1, "the same answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_leaves_what_waits_for_the_source_to_be_read_again() {
    let core = Core::gated();
    let mut stand = Stand::running("nanshan", core.clone()).await;
    let query = Query::new(&stand.bank);
    stand.send(&query, query.request(1)).await;
    core.until_calls(1).await;
    soon("a stop", stand.stop()).await;
    assert_eq!(stand.completed().await, 0);
    stand.no_reply_is_left();

    let core = Core::new();
    let config = stand.config();
    stand.start(config, Arc::clone(&core) as _).await;
    assert_eq!(stand.next_reply().await.outcome, ReplyOutcome::Answered);
    stand.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_pinned_roots_is_refused() {
    let stand = Stand::new("taihe", &[hub_entry()]).await;
    let mut config = stand.config();
    config.registry.roots.pop();
    let secrets =
        bank_connector::Secrets { signing_key: SigningKey::from_seed(&[1; 32]), opening_keys: Vec::new() };
    let mut lifecycle = plumbing::lifecycle::Lifecycle::new();
    let refused =
        bank_connector::start(config, secrets, Core::new(), &mut lifecycle).await.expect_err("no roots");
    assert_eq!(refused.exit(), plumbing::exit::Exit::Config);
}
