//! A held query is released.

use prost::Message as _;
use schemas::http::HoldStatus;
use schemas::submission;
use schemas::time::UnixMillis;
use schemas::wire::{self, Pretext, RiskSignals, query_record};
use serde_json::Value;

use crate::stand::{Stand, body, now, person, reference, request, status, upstream};

fn in_seconds(seconds: i64) -> String {
    UnixMillis(now().0 + seconds * 1_000).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_one_record_with_a_consent_of_its_own_that_names_the_held_query() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let held = request(&["alpha", "beta"]);
    assert_eq!(service.submit(&held).await.status, 202);
    let mut waiting = status(&held, "HELD");
    waiting.hold = Some(HoldStatus { release_from: in_seconds(-1), release_until: in_seconds(60) });
    stand.hub.state().queries.insert(held.query.to_string(), waiting);

    let risk = RiskSignals { pretext: Pretext::None.into(), on_call: true, ..RiskSignals::default() };
    let release = producer::wallet::release(&held, &person(), risk, now()).expect("a person");
    let path = format!("/v1/queries/{}/release", held.query);
    let answer = service.post(&path, &body(&release)).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.json(), serde_json::json!({"query_id": held.query.to_string(), "state": "SUBMITTED"}));

    let records = stand.records().await;
    let [_, record] = records.as_slice() else { panic!("{} records", records.len()) };
    let header = |name: &str| String::from_utf8(record.header(name).expect(name).to_vec()).expect("UTF-8");
    assert_eq!(header("ce_type"), "cardquery.QueryReleased.v1");
    let id = format!("QueryReleased/{}", release.consent.nonce);
    assert_eq!(header("ce_id"), reference(&held).message_id(&id).to_string());
    let message = wire::QueryRecord::decode(record.value.clone()).expect("a record").message;
    let Some(query_record::Message::Released(released)) = message else { panic!("not a release") };
    let submitted = released.submission.expect("a submission");
    let registry = stand.registry().await;
    let party = registry.upstream(&upstream()).expect("registered");
    let (key, at) = (record.key.clone().expect("a key"), UnixMillis(record.append_time_ms));
    let opened = submission::open(&upstream(), &key, &submitted, party, at).expect("verifies").query;
    assert_eq!(opened.releases, Some(held.content_digest()));
    assert_eq!(opened.content_digest(), held.content_digest());
    assert_eq!(opened.terms, release.terms());
    assert_ne!(opened.terms.nonce, held.consent.nonce);
    assert_eq!(opened.risk, risk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_the_hub_would_refuse_is_refused_and_nothing_is_published() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let held = request(&["alpha", "beta"]);
    let path = format!("/v1/queries/{}/release", held.query);
    let mut release = body(&held);
    let refused = async |body: &Value| {
        let answer = service.post(&path, body).await;
        (answer.status, answer.code())
    };
    assert_eq!(refused(&release).await, (409, "NOT_HELD".to_owned()), "the hub has no such query");
    let hub = |from, until, state| {
        let mut known = status(&held, state);
        let (release_from, release_until) = (in_seconds(from), in_seconds(until));
        known.hold = (state == "HELD").then_some(HoldStatus { release_from, release_until });
        stand.hub.state().queries.insert(held.query.to_string(), known);
    };
    hub(60, 120, "HELD");
    assert_eq!(refused(&release).await, (409, "HOLD_NOT_OVER".to_owned()));
    hub(-120, -60, "HELD");
    assert_eq!(refused(&release).await, (410, "HOLD_EXPIRED".to_owned()));
    for state in ["COLLECTING", "CANCELLED", "WITHDRAWN"] {
        hub(0, 0, state);
        assert_eq!(refused(&release).await, (409, "NOT_HELD".to_owned()), "{state}");
    }
    hub(-60, 60, "HELD");
    let mut other = release.clone();
    other["banks"] = serde_json::json!(["alpha"]);
    other["consent"]["banks"] = serde_json::json!(["alpha"]);
    assert_eq!(refused(&other).await, (409, "ID_REUSED".to_owned()));
    // The gates are those of a submission.
    release["consent"]["scam_warning_acknowledged"] = false.into();
    assert_eq!(refused(&release).await, (422, "WARNING_NOT_ACKNOWLEDGED".to_owned()));
    release["consent"]["scam_warning_acknowledged"] = true.into();
    release["more"] = 1.into();
    assert_eq!(refused(&release).await, (400, "UNKNOWN_FIELD".to_owned()));
    let foreign = body(&request(&["alpha"]));
    assert_eq!(refused(&foreign).await, (422, "FIELD_INVALID".to_owned()), "another id than the address's");
    assert_eq!(stand.published().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_does_not_answer_stops_no_release() {
    let stand = Stand::new().await;
    let mut config = stand.config.clone();
    config.hub.repeat_check_ms = 200;
    let service = stand.try_start(config).await.expect("started");
    stand.hub.state().silent = true;
    let held = request(&["alpha"]);
    let answer = service.post(&format!("/v1/queries/{}/release", held.query), &body(&held)).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(stand.published().await, 1);
}
