use std::time::Duration;

use crate::stand::{Stand, body, request, status};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_again_is_told_apart_by_its_content_and_nothing_is_published() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let first = request(&["alpha", "beta"]);
    assert_eq!(service.submit(&first).await.status, 202);
    assert_eq!(stand.published().await, 1);
    stand.hub.state().queries.insert(first.query.to_string(), status(&first, "COLLECTING"));

    let again = service.submit(&first).await;
    assert_eq!((again.status, again.code().as_str()), (409, "DUPLICATE_QUERY"));
    assert_eq!(again.headers["location"], format!("/v1/queries/{}", first.query));

    // Identity and phone are no part of the content.
    let mut other_phone = body(&first);
    other_phone["identity"]["phone"] = "+8613800000002".into();
    assert_eq!(service.post("/v1/queries", &other_phone).await.code(), "DUPLICATE_QUERY");

    let mut other_banks = body(&first);
    other_banks["banks"] = serde_json::json!(["alpha"]);
    other_banks["consent"]["banks"] = serde_json::json!(["alpha"]);
    let reused = service.post("/v1/queries", &other_banks).await;
    assert_eq!((reused.status, reused.code().as_str()), (409, "ID_REUSED"));
    assert!(!reused.headers.contains_key("location"));
    assert_eq!(stand.published().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_whose_factors_have_aged_is_still_told_that_its_query_runs() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let first = request(&["alpha"]);
    let mut late = body(&first);
    late["assurance"]["factors"][0]["at"] = "2026-01-01T00:00:00Z".into();
    assert_eq!(service.post("/v1/queries", &late).await.code(), "FACTOR_TOO_OLD");
    stand.hub.state().queries.insert(first.query.to_string(), status(&first, "COLLECTING"));
    assert_eq!(service.post("/v1/queries", &late).await.code(), "DUPLICATE_QUERY");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_does_not_answer_in_time_stops_no_query() {
    let stand = Stand::new().await;
    let mut config = stand.config.clone();
    config.hub.repeat_check_ms = 200;
    let service = stand.try_start(config).await.expect("started");
    stand.hub.state().silent = true;
    assert_eq!(service.submit(&request(&["alpha"])).await.status, 202);
    assert_eq!(stand.hub.state().asked, 1);
    assert_eq!(stand.published().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_away_stops_no_query_and_is_told_to_whoever_asks_for_it() {
    let stand = Stand::new().await;
    let mut config = stand.config.clone();
    // Port 1 on loopback: nobody listens.
    config.hub.url = "http://127.0.0.1:1".into();
    let service = stand.try_start(config).await.expect("started");
    let request = request(&["alpha"]);
    assert_eq!(service.submit(&request).await.status, 202);
    let answer = service.get(&format!("/v1/queries/{}", request.query)).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "HUB_UNAVAILABLE"));
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_acknowledgement_the_outcome_is_unknown_then_kafka_is_away_then_all_is_well() {
    let stand = Stand::new().await;
    let mut config = stand.config.clone();
    config.publish.timeout_ms = 1500;
    let service = stand.try_start(config).await.expect("started");
    assert_eq!(service.submit(&request(&["alpha"])).await.status, 202);
    stand.cluster.broker_down(1).expect("down");

    let first = request(&["alpha"]);
    let unknown = service.submit(&first).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (503, "OUTCOME_UNKNOWN"));
    assert!(unknown.headers.contains_key("retry-after"));

    // Now it is known that the broker is away: nothing is handed over, and the caller need not wait long.
    let asked = std::time::Instant::now();
    let away = service.submit(&first).await;
    assert_eq!((away.status, away.code().as_str()), (503, "KAFKA_UNAVAILABLE"));
    assert!(away.headers.contains_key("retry-after"));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());

    stand.cluster.broker_up(1).expect("up");
    // Clients reconnect by themselves; until then the answer stays the same.
    let mut answer = service.submit(&first).await;
    while answer.status == 503 {
        answer = service.submit(&first).await;
    }
    assert_eq!(answer.status, 202);
    assert_eq!(stand.records().await.iter().filter(|record| is_of(record, &first)).count(), 1);
}

fn is_of(record: &plumbing::kafka::Record, request: &producer::SubmitRequest) -> bool {
    record.key.as_deref() == Some(request.query.to_string().as_bytes())
}
