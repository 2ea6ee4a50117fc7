use std::time::Duration;

use producer::{consent_texts, wallet};
use schemas::http::{PROBLEM_JSON, PROTOBUF};
use schemas::ids::Digest;
use schemas::keys::OpeningKey;
use schemas::view;
use serde_json::{Value, json};

use crate::stand::{Answer, Stand, now, reference, request, soon, status, upstream_key};

#[tokio::test(flavor = "multi_thread")]
async fn a_status_comes_from_the_hub_and_an_unknown_query_is_not_found() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let request = request(&["alpha"]);
    let path = format!("/v1/queries/{}", request.query);
    let missing = service.get(&path).await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "QUERY_NOT_FOUND"));
    let known = status(&request, "COLLECTING");
    stand.hub.state().queries.insert(request.query.to_string(), known.clone());
    let answer = service.get(&path).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.json(), serde_json::to_value(known).expect("JSON"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_goes_to_the_hub_as_it_is_and_its_answer_comes_back_as_it_is() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let request = request(&["alpha"]);
    let path = format!("/v1/queries/{}/report", request.query);
    let key = OpeningKey::generate();
    let grant = wallet::grant_view(&reference(&request), "subject-1", key.id(), now(), &upstream_key());

    let wrong_type = service.post_raw(&path, "application/json", grant.clone()).await;
    assert_eq!(wrong_type.code(), "UNSUPPORTED_MEDIA_TYPE");
    let too_large = service.post_raw(&path, PROTOBUF, vec![0; 65 * 1024]).await;
    assert_eq!(too_large.code(), "BODY_TOO_LARGE");
    assert!(stand.hub.state().grants.is_empty());

    let report = vec![7; 200_000];
    stand.hub.state().report = Some((200, PROTOBUF, report.clone()));
    let answer = service.post_raw(&path, PROTOBUF, grant.clone()).await;
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, PROTOBUF));
    assert_eq!(answer.body, report);
    assert_eq!(stand.hub.state().grants, std::slice::from_ref(&grant));
    let (opened, _) = view::open(grant.clone(), &stand.registry().await, now()).expect("verifies");
    assert_eq!((opened.reference, opened.report_key), (reference(&request), key.id()));

    let problem = schemas::http::Problem::of(schemas::codes::Code::GRANT_USED).with_detail("once");
    let document = serde_json::to_vec(&problem).expect("JSON");
    stand.hub.state().report = Some((403, PROBLEM_JSON, document));
    let refused = service.post_raw(&path, PROTOBUF, grant.clone()).await;
    assert_eq!(refused.code(), "GRANT_USED");
    let mut told = refused.json();
    let person = told.as_object_mut().expect("an object").remove("person").expect("words for the person");
    assert_eq!(told, serde_json::to_value(problem).expect("JSON"), "the hub's words are unchanged");
    assert_eq!(person["next"], "请重新输入支付密码查看报告。");

    // Somebody between here and the hub: not the hub's word.
    stand.hub.state().report = Some((502, "text/html", b"<html>".to_vec()));
    assert_eq!(service.post_raw(&path, PROTOBUF, grant).await.code(), "HUB_UNAVAILABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_told_each_change_once_and_the_stream_ends_when_the_query_is_final() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let request = request(&["alpha"]);
    let id = request.query.to_string();
    let url = service.url(&format!("/v1/queries/{id}/events"));
    // The listener is there before the hub has registered the query.
    let mut response = stand.http.get(url).send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    for (state, is_last) in [("COLLECTING", false), ("FINAL_PARTIAL", true)] {
        stand.hub.state().queries.insert(id.clone(), status(&request, state));
        soon(state, async {
            while !text.contains(state) {
                let chunk = response.chunk().await.expect("readable").expect("the stream goes on");
                text.push_str(&String::from_utf8_lossy(&chunk));
            }
        })
        .await;
        if is_last {
            assert!(soon("the end", response.chunk()).await.expect("readable").is_none());
        }
    }
    let told: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    assert_eq!(
        told.iter().map(|status| &status["state"]).collect::<Vec<_>>(),
        ["COLLECTING", "FINAL_PARTIAL"]
    );
    assert_eq!(text.matches("event: status").count(), 2);
    let ids: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["COLLECTING.0", "FINAL_PARTIAL.0"]);
    assert_eq!(text.matches("retry: 2000").count(), 2);

    // Who comes again is told what is new to it, and nothing when there is nothing to come.
    let again = async |last: &str| {
        let request = stand.http.get(service.url(&format!("/v1/queries/{id}/events")));
        Answer::of(request.header("Last-Event-ID", last)).await
    };
    let since_collecting = again("COLLECTING.0").await;
    let told = String::from_utf8_lossy(&since_collecting.body).into_owned();
    assert!(told.contains("FINAL_PARTIAL.0") && !told.contains("COLLECTING"), "{told}");
    let since_the_end = again("FINAL_PARTIAL.0").await;
    assert_eq!((since_the_end.status, since_the_end.body.len()), (204, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_query_is_told_to_a_listener_and_so_is_its_end() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    for end in ["CANCELLED", "WITHDRAWN", "ERASED"] {
        let request = request(&["alpha"]);
        let id = request.query.to_string();
        stand.hub.state().queries.insert(id.clone(), status(&request, "HELD"));
        let url = service.url(&format!("/v1/queries/{id}/events"));
        let mut response = stand.http.get(url).send().await.expect("an answer");
        let held = soon("HELD", response.chunk()).await.expect("readable").expect("the stream goes on");
        assert!(String::from_utf8_lossy(&held).contains("id: HELD.0"), "{held:?}");
        stand.hub.state().queries.insert(id, status(&request, end));
        let rest = soon(end, response.text()).await.expect("an orderly end");
        assert!(rest.contains(&format!("id: {end}.0")), "{rest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_end_with_the_service() {
    let stand = Stand::new().await;
    let mut config = stand.config.clone();
    config.http.max_streams = 1;
    let service = stand.try_start(config).await.expect("started");
    let request = request(&["alpha"]);
    let id = request.query.to_string();
    stand.hub.state().queries.insert(id.clone(), status(&request, "COLLECTING"));
    let path = format!("/v1/queries/{id}/events");
    let mut first = stand.http.get(service.url(&path)).send().await.expect("an answer");
    let told = soon("the first event", first.chunk()).await.expect("readable").expect("the stream goes on");
    assert!(String::from_utf8_lossy(&told).contains("COLLECTING"), "{told:?}");
    let second = service.get(&path).await;
    assert_eq!((second.status, second.code().as_str()), (503, "HUB_UNAVAILABLE"));
    let exit = soon("the end", service.lifecycle.stop(Duration::from_secs(30))).await;
    assert_eq!(exit, plumbing::exit::Exit::Ok);
    soon("the end of the stream", first.text()).await.expect("an orderly end");
}

#[tokio::test(flavor = "multi_thread")]
async fn banks_come_from_the_registry_by_region() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let ids = async |path: &str| {
        let banks = service.get(path).await.json()["banks"].clone();
        let banks = banks.as_array().expect("a list").clone();
        banks.iter().map(|bank| bank["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("/v1/banks").await, ["alpha", "beta", "delta", "gamma"]);
    assert_eq!(ids("/v1/banks?region=310000").await, ["alpha", "beta", "gamma"]);
    assert_eq!(ids("/v1/banks?region=110000").await, Vec::<String>::new());
    assert_eq!(
        service.get("/v1/banks?region=530000").await.json(),
        json!({"banks": [{
            "id": "delta",
            "names": {"zh-CN": "delta银行", "en": "Bank delta"},
            "state": "ACTIVE",
            "regions": ["530000"],
        }]})
    );
    for path in ["/v1/banks?region=31", "/v1/banks?regions=310000", "/v1/banks?region=310000&region=530000"] {
        assert_eq!(service.get(path).await.code(), "FIELD_INVALID", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_text_comes_with_the_hash_that_a_consent_must_name() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    for text in consent_texts() {
        let served = service.get(&format!("/v1/consent-texts/{}", text.tag)).await.json();
        let words = served["text"].as_str().expect("a text");
        assert_eq!(served["sha256"], json!(Digest::of(words.as_bytes()).to_string()));
        assert_eq!((&served["version"], &served["language"]), (&json!(text.version), &json!(text.tag)));
        let mut request = request(&["alpha"]);
        (request.consent.language, request.consent.text) = (text.language, text.sha256);
        assert_eq!(service.submit(&request).await.status, 202);
    }
    assert_eq!(service.get("/v1/consent-texts/fr").await.code(), "ROUTE_UNKNOWN");
}
