//! The notifier as a process between a real PostgreSQL and an SMS gateway that fails. Whatever goes wrong, the gateway's own
//! ledger has one SMS per query at most, and every query ends sent, failed, or unknown with evidence.

mod gateway;
mod stand;

use std::collections::BTreeMap;
use std::time::Duration;

use notifier::domain::sms;
use schemas::ids::Reference;
use serde_json::{Value, json};

use crate::gateway::{Fault, now, secret};
use crate::stand::{Row, Stand};

fn out_id(reference: &Reference) -> String {
    sms::out_id(reference).to_string()
}

/// How an SMS ends that meets `fault`, and how many the phone gets.
fn end(fault: Fault) -> (&'static str, usize) {
    match fault {
        Fault::None
        | Fault::TimeoutButSent
        | Fault::ErrorThenSent
        | Fault::CutAfterSending
        | Fault::Garbled
        | Fault::Busy
        | Fault::Held => ("sent", 1),
        Fault::TimeoutNotSent => ("unknown", 0),
        Fault::SentAndMute => ("unknown", 1),
        Fault::Refused => ("failed", 0),
    }
}

fn outcome(state: &str) -> &'static str {
    match state {
        "sent" => "SmsAccepted",
        "failed" => "SmsFailed",
        "unknown" => "SmsUnknown",
        other => panic!("{other} is no end"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_gateway_does_nobody_gets_two_sms_and_every_query_ends_with_evidence() {
    let stand = Stand::new(&[]).await;
    stand.gateway.let_go();
    let mut published = Vec::new();
    for _ in 0..3 {
        for fault in Fault::ALL {
            published.push((fault, stand.publish(fault).await));
        }
    }
    let mut rows: BTreeMap<Fault, Row> = BTreeMap::new();
    for (fault, reference) in &published {
        let (state, sent) = end(*fault);
        let row = stand.until(reference, state).await;
        let known = stand.gateway.known(&out_id(reference));
        assert_eq!(known.sent, sent, "{fault:?} {known:?}");
        let calls = if *fault == Fault::Busy { 2 } else { 1 };
        assert_eq!(known.calls, calls, "{fault:?} was ordered again: {row:?}");
        rows.insert(*fault, row);
    }
    let topic = stand.topic().await;
    for (fault, reference) in &published {
        let claims = if *fault == Fault::Busy { 2 } else { 1 };
        let mut expected = vec!["SmsClaimed"; claims];
        expected.push(outcome(end(*fault).0));
        assert_eq!(topic[reference], expected, "{fault:?}");
    }
    for fault in Fault::ALL {
        assert!(stand.gateway.hits(fault) >= 3, "{fault:?} never struck");
    }
    assert_eq!(stand.gateway.unsigned(), 0);

    let first = |fault: Fault| rows[&fault].evidence.first().map(String::as_str);
    assert_eq!(first(Fault::TimeoutNotSent), Some("SEND TIMEOUT"));
    assert_eq!(first(Fault::ErrorThenSent), Some("SEND STATUS_500"));
    assert_eq!(first(Fault::CutAfterSending), Some("SEND CUT"));
    assert_eq!(first(Fault::Garbled), Some("SEND UNREADABLE"));
    for (fault, answer) in
        [(Fault::TimeoutNotSent, "INQUIRY STATUS_404"), (Fault::SentAndMute, "INQUIRY STATUS_500")]
    {
        let evidence = &rows[&fault].evidence;
        assert!(evidence.len() > 3 && evidence[1..].iter().all(|said| said == answer), "{evidence:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_count_once_however_often_and_late_they_come_and_only_with_a_signature() {
    let stand = Stand::new(&[]).await;
    let delivered = stand.publish(Fault::None).await;
    let lost = stand.publish(Fault::None).await;
    let late = stand.publish(Fault::SentAndMute).await;
    let early = stand.publish(Fault::Held).await;
    for reference in [&delivered, &lost] {
        stand.until(reference, "sent").await;
    }
    stand.until(&late, "unknown").await;

    for _ in 0..3 {
        assert_eq!(stand.receipt(&out_id(&delivered), "delivered").await, 204);
    }
    assert_eq!(stand.receipt(&out_id(&delivered), "failed").await, 204, "a worse word changes nothing");
    assert_eq!(stand.receipt(&out_id(&lost), "failed").await, 204);
    assert_eq!(stand.receipt(&out_id(&late), "delivered").await, 204, "it ends what was unknown");
    // It comes before the gateway has answered the order.
    tokio::time::timeout(Duration::from_secs(60), async {
        while stand.row(&early).await.is_none_or(|row| row.state == "pending") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("ordered");
    assert_eq!(stand.receipt(&out_id(&early), "delivered").await, 204);
    stand.gateway.let_go();

    for reference in [&delivered, &late, &early] {
        stand.until(reference, "delivered").await;
    }
    stand.until(&lost, "undelivered").await;
    let topic = stand.topic().await;
    assert_eq!(topic[&delivered], ["SmsClaimed", "SmsAccepted", "SmsDelivered"]);
    assert_eq!(topic[&lost], ["SmsClaimed", "SmsAccepted", "SmsFailed"]);
    assert_eq!(topic[&late], ["SmsClaimed", "SmsUnknown", "SmsDelivered"]);
    let early = &topic[&early];
    assert!(early.first() == Some(&"SmsClaimed") && early.last() == Some(&"SmsDelivered"), "{early:?}");
    for reference in [&delivered, &lost, &late] {
        assert_eq!(stand.gateway.known(&out_id(reference)).sent, 1);
    }

    let body = |value: Value| value.to_string();
    let right = body(json!({ "out_id": out_id(&lost), "state": "delivered" }));
    let sign = |body: &str, at| secret().sign(at, "POST", "/v1/callbacks/delivery", body.as_bytes());
    let old = now().before(Duration::from_secs(301));
    for (body, at, signed, media, expected) in [
        (right.clone(), now(), "{}".to_owned(), "application/json", (401, "UNAUTHENTICATED")),
        (right.clone(), old, right.clone(), "application/json", (401, "UNAUTHENTICATED")),
        (right.clone(), now(), right.clone(), "text/plain", (415, "UNSUPPORTED_MEDIA_TYPE")),
        ("{".to_owned(), now(), "{".to_owned(), "application/json", (400, "MALFORMED_JSON")),
        ("[]".to_owned(), now(), "[]".to_owned(), "application/json", (422, "FIELD_INVALID")),
        (" ".repeat(5_000), now(), " ".repeat(5_000), "application/json", (413, "BODY_TOO_LARGE")),
    ] {
        let (status, code) = stand.post(body.clone(), at, &sign(&signed, at), media).await;
        assert_eq!((status, code.as_str()), expected, "{body}");
    }
    for (out_id, state, status) in [
        (out_id(&lost), "read", 422),
        ("zz".to_owned(), "delivered", 422),
        ("00".repeat(16), "delivered", 404),
    ] {
        assert_eq!(stand.receipt(&out_id, state).await, status, "{out_id} {state}");
    }
    assert_eq!(stand.row(&lost).await.expect("there").state, "undelivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_gets_as_many_sms_on_a_day_as_the_limit_says_and_no_table_has_its_number() {
    // A zone where it is about noon: the day does not change under the test.
    let ahead = 12 - now().0 / 3_600_000 % 24;
    let zone = format!("Etc/GMT{:+}", -ahead);
    let stand =
        Stand::new(&[("/limits/sms_per_phone_and_day", json!(3)), ("/limits/zone", json!(zone))]).await;
    let mut published = Vec::new();
    for _ in 0..10 {
        published.push(stand.publish(Fault::None).await);
    }
    let (mut sent, mut failed) = (0, 0);
    for reference in &published {
        match stand.until_one_of(reference, &["sent", "failed"]).await.state.as_str() {
            "sent" => sent += 1,
            _ => failed += 1,
        }
    }
    assert_eq!((sent, failed), (3, 7));
    let ordered: usize =
        published.iter().map(|reference| stand.gateway.known(&out_id(reference)).calls).sum();
    assert_eq!(ordered, 3);
    assert_eq!(
        stand.text("SELECT string_agg(DISTINCT code, ',') FROM sms WHERE state = 'failed'").await,
        "PHONE_LIMIT_REACHED"
    );
    assert_eq!(stand.text("SELECT string_agg(sent::text, ',') FROM sms_per_phone").await, "3");
    let all = "SELECT (SELECT string_agg(sms::text, '') FROM sms) || (SELECT string_agg(encode(phone, 'escape'), '') FROM sms_per_phone)";
    let all = stand.text(all).await;
    assert!(!all.contains("13800000001") && !all.contains("3800000001"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_away_gets_every_sms_once_when_it_is_back() {
    let mut stand = Stand::new(&[]).await;
    stand.listening.take().expect("it listens").stop().await;
    let mut published = Vec::new();
    for _ in 0..20 {
        published.push(stand.publish(Fault::None).await);
    }
    // Nobody of them is ordered, and none is in doubt.
    for reference in &published {
        let waiting = async {
            while stand.row(reference).await.is_none_or(|row| row.state != "waiting") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it waits");
        assert_eq!(stand.row(reference).await.expect("there").evidence, [""; 0]);
    }
    stand.kill();
    stand.start_again().await;
    let _listening = stand.gateway.listen(stand.address).await;
    for reference in &published {
        let row = stand.until(reference, "sent").await;
        assert_eq!(row.evidence, [""; 0]);
        let known = stand.gateway.known(&out_id(reference));
        assert_eq!((known.calls, known.sent), (1, 1));
    }
    assert_eq!(stand.gateway.hits(Fault::None), 20);
}

/// K-N2: the gateway has sent it, and nobody is there any more to hear that.
#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_that_is_killed_while_the_gateway_answers_asks_afterwards_and_sends_nothing_again() {
    let mut stand = Stand::new(&[]).await;
    let mut published = Vec::new();
    for _ in 0..5 {
        let before = stand.gateway.ordered();
        published.push(stand.publish(Fault::Held).await);
        stand.gateway.ordered_after(before).await;
    }
    // Claims stand, the gateway has the orders, no answer went out.
    stand.kill();
    stand.gateway.let_go();
    stand.start_again().await;
    for reference in &published {
        let row = stand.until(reference, "sent").await;
        assert_eq!(row.evidence.first().map(String::as_str), Some("SEND NO_OUTCOME"));
        let known = stand.gateway.known(&out_id(reference));
        assert_eq!((known.calls, known.sent), (1, 1), "{known:?}");
        assert!(known.asked > 0);
    }
    assert_eq!(stand.gateway.hits(Fault::Held), 5);
    let topic = stand.topic().await;
    for reference in &published {
        assert_eq!(topic[reference], ["SmsClaimed", "SmsAccepted"]);
    }
}

/// K-N1: the claim stands, and nothing of the order has left when the process dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_that_is_killed_between_claim_and_call_ends_unknown_with_evidence_and_sends_nothing() {
    // A place at the gateway is waited for a quarter of this.
    let mut stand = Stand::new(&[
        ("/gateway/timeout_ms", json!(40_000)),
        ("/gateway/http/connections", json!(1)),
        ("/notices/drain_ms", json!(41_000)),
        ("/notices/lease_ms", json!(50_000)),
        ("/kafka/session_timeout_ms", json!(45_000)),
    ])
    .await;
    let first = stand.publish(Fault::Held).await;
    stand.gateway.ordered_after(0).await;
    let stuck = stand.publish(Fault::None).await;
    let waiting = async {
        while stand.row(&stuck).await.is_none_or(|row| row.state != "claimed") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("claimed");
    stand.kill();
    assert_eq!(stand.gateway.known(&out_id(&stuck)).calls, 0, "it waits behind the first one");
    stand.gateway.let_go();
    stand.start_again().await;
    stand.until(&first, "sent").await;
    let row = stand.until(&stuck, "unknown").await;
    assert_eq!(row.evidence[..2], ["SEND NO_OUTCOME", "INQUIRY STATUS_404"]);
    let known = stand.gateway.known(&out_id(&stuck));
    assert_eq!((known.calls, known.sent), (0, 0));
    assert_eq!(stand.topic().await[&stuck], ["SmsClaimed", "SmsUnknown"]);
}
