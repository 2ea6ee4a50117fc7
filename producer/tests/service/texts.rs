use schemas::codes::Code;
use schemas::texts::{families, of_code};
use serde_json::{Value, json};

use crate::stand::{Answer, Stand, body, request};

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_gets_every_text_in_both_languages_and_asks_for_changes_only() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    for (tag, of) in [("zh-CN", 0), ("en", 1)] {
        let path = format!("/v1/texts/{tag}");
        let answer = service.get(&path).await;
        assert_eq!((answer.status, answer.headers["cache-control"].as_str()), (200, "max-age=3600"));
        let document = answer.json();
        assert_eq!(document["language"], tag);
        for (family, codes) in families() {
            for (code, told) in codes {
                let words = [told.zh_cn, told.en][of];
                let expected = json!({"text": words.text, "aloud": words.aloud, "next": words.next});
                assert_eq!(document["texts"][family][code], expected, "{family}/{code}");
            }
        }
        let etag = &answer.headers["etag"];
        let ask = |has: String| stand.http.get(service.url(&path)).header("If-None-Match", has);
        for has in [etag.clone(), format!("\"x\", W/{etag}"), "*".to_owned()] {
            let same = Answer::of(ask(has)).await;
            assert_eq!((same.status, same.body.len(), &same.headers["etag"]), (304, 0, etag));
        }
        assert_eq!(Answer::of(ask("\"x\"".to_owned())).await.status, 200);
    }
    assert_eq!(service.get("/v1/texts/zh").await.code(), "ROUTE_UNKNOWN");
    assert_eq!(service.get("/v1/texts/%ff").await.code(), "ROUTE_UNKNOWN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_the_words_for_the_person_in_the_callers_language() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let mut query = body(&request(&["alpha"]));
    query["region"] = json!("440000");
    let told = of_code(Code::REGION_NOT_OPEN).expect("a person meets it");
    for (accepted, tag, words) in [
        (None, "zh-CN", told.zh_cn),
        (Some("fr, en;q=0.5"), "en", told.en),
        (Some("zh"), "zh-CN", told.zh_cn),
    ] {
        let mut asking = stand.http.post(service.url("/v1/queries")).json(&query);
        if let Some(accepted) = accepted {
            asking = asking.header("Accept-Language", accepted);
        }
        let answer = Answer::of(asking).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "REGION_NOT_OPEN"));
        let expected = json!({"language": tag, "text": words.text, "aloud": words.aloud, "next": words.next});
        assert_eq!(answer.json()["person"], expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_of_the_interface_is_served() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let answer = service.get("/openapi.json").await;
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/json"));
    assert_eq!(answer.body, producer::openapi_document().as_bytes());
    for (path, item) in answer.json()["paths"].as_object().expect("paths") {
        let path = path.replace("{id}", "x").replace("{lang}", "x");
        for method in item.as_object().expect("operations").keys() {
            let method = method.to_uppercase().parse().expect("a method");
            let served = Answer::of(stand.http.request(method, service.url(&path))).await;
            assert_ne!(served.status, 405, "{path}");
            assert!(served.status != 404 || path.contains("texts"), "{path}");
        }
    }
}

/// The codes that `POST /v1/queries` is documented to refuse with.
pub(crate) fn documented_refusals() -> Vec<String> {
    let document: Value = serde_json::from_str(producer::openapi_document()).expect("JSON");
    let responses = &document["paths"]["/v1/queries"]["post"]["responses"];
    let responses = responses.as_object().expect("responses").values();
    let examples = responses
        .filter_map(|response| response["content"]["application/problem+json"]["examples"].as_object());
    examples.flat_map(|examples| examples.keys().cloned()).collect()
}
