use std::time::Duration;

use schemas::time::UnixMillis;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stand::{Service, Stand, body, now, request, soon};
use crate::texts::documented_refusals;

fn at(offset_seconds: i64) -> Value {
    json!(UnixMillis(now().0 + offset_seconds * 1000).to_string())
}

const HOUR: i64 = 3600;

type Change = fn(&mut Value);

/// Each bad query of its own kind, and what it is told.
const BAD: &[(u16, &str, Change)] = &[
    (403, "REGION_NOT_OPEN", |query| query["region"] = json!("440000")),
    (422, "BANKS_NONE", |query| set_banks(query, json!([]))),
    (422, "BANK_REPEATED", |query| set_banks(query, json!(["alpha", "alpha"]))),
    (422, "BANK_UNKNOWN", |query| set_banks(query, json!(["alpha", "nobody"]))),
    (422, "BANK_UNKNOWN", |query| set_banks(query, json!(["no such id!"]))),
    (422, "BANK_NOT_ACTIVE", |query| set_banks(query, json!(["gamma"]))),
    (422, "BANK_NOT_IN_REGION", |query| set_banks(query, json!(["delta"]))),
    (422, "BANKS_TOO_MANY", |query| {
        set_banks(query, (0..501).map(|n| format!("bank{n}")).collect::<Vec<_>>().into());
    }),
    (403, "ASSURANCE_TOO_LOW", |query| query["assurance"]["level"] = json!("SELF_DECLARED")),
    (403, "FACTORS_TOO_FEW", |query| query["assurance"]["factors"] = json!([])),
    (403, "FACTORS_TOO_FEW", |query| {
        query["assurance"]["factors"] = json!([{"kind": "PASSWORD", "at": at(-1)}]);
    }),
    // Both are possession.
    (403, "FACTORS_TOO_FEW", |query| {
        query["assurance"]["factors"] =
            json!([{"kind": "SMS_CODE", "at": at(-1)}, {"kind": "DEVICE_KEY", "at": at(-1)}]);
    }),
    (403, "FACTOR_TOO_OLD", |query| query["assurance"]["factors"][0]["at"] = at(-301)),
    (422, "FACTOR_IN_FUTURE", |query| query["assurance"]["factors"][0]["at"] = at(60)),
    (422, "CONSENT_EXPIRED", |query| {
        query["consent"]["issued_at"] = at(-2 * HOUR);
        query["consent"]["expires_at"] = at(-1);
    }),
    (422, "CONSENT_NOT_YET_VALID", |query| {
        query["consent"]["issued_at"] = at(60);
        query["consent"]["expires_at"] = at(HOUR);
    }),
    (422, "CONSENT_TOO_LONG", |query| query["consent"]["expires_at"] = at(25 * HOUR)),
    (422, "CONSENT_BANKS_MISMATCH", |query| query["consent"]["banks"] = json!(["alpha"])),
    (422, "CONSENT_BANKS_MISMATCH", |query| query["consent"]["banks"] = json!(["alpha", "beta", "delta"])),
    (403, "PURPOSE_NOT_ALLOWED", |query| query["consent"]["purpose"] = json!("CREDIT_SCORING")),
    (422, "CONSENT_TEXT_UNKNOWN", |query| query["consent"]["text_sha256"] = json!("00".repeat(32))),
    (422, "WARNING_NOT_ACKNOWLEDGED", |query| query["consent"]["scam_warning_acknowledged"] = json!(false)),
    (400, "UNKNOWN_FIELD", |query| query["extra"] = json!(1)),
    (400, "UNKNOWN_FIELD", |query| query["consent"]["extra"] = json!(1)),
    (400, "UNKNOWN_FIELD", |query| query["assurance"]["factors"][0]["extra"] = json!(1)),
    (400, "UNKNOWN_FIELD", |query| query["phone"] = query["identity"]["phone"].clone()),
    (400, "UNKNOWN_FIELD", |query| query["risk"]["name"] = query["identity"]["name"].clone()),
    (422, "FIELD_INVALID", |query| query["region"] = query["identity"]["name"].clone()),
    (422, "FIELD_INVALID", |query| query["subject"] = query["identity"]["name"].clone()),
    (422, "FIELD_INVALID", |query| query["identity"]["phone"] = query["identity"]["document_number"].clone()),
    (422, "FIELD_INVALID", |query| query["identity"] = Value::Null),
    (422, "FIELD_INVALID", |query| query["report_public_key"] = json!("AAAA")),
    (422, "QUERY_ID_INVALID", |query| query["query_id"] = json!("4f5c1d52-5c1e-4f2e-9c38-0a4d0e0b7c11")),
];

fn set_banks(query: &mut Value, banks: Value) {
    query["consent"]["banks"] = banks.clone();
    query["banks"] = banks;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_query_has_its_own_problem_document_and_nothing_is_published() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let documented = documented_refusals();
    for (status, code, change) in BAD {
        let mut query = body(&request(&["alpha", "beta"]));
        change(&mut query);
        let answer = service.post("/v1/queries", &query).await;
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{query}");
        assert!(documented.iter().any(|known| known == code), "{code} is documented");
    }
    assert_eq!(stand.published().await, 0);
    // The same query without a change is good, so that it was the change that was refused.
    assert_eq!(service.submit(&request(&["alpha", "beta"])).await.status, 202);
    assert_eq!(stand.published().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_query_at_all_is_refused_as_a_problem_document_too() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let query = body(&request(&["alpha"])).to_string();
    let json = "application/json";
    let post = async |media, body: String| service.post_raw("/v1/queries", media, body).await.code();
    assert_eq!(post(json, query[..query.len() - 1].to_owned()).await, "MALFORMED_JSON");
    assert_eq!(post(json, String::new()).await, "MALFORMED_JSON");
    assert_eq!(post("text/plain", query.clone()).await, "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(post("application/x-www-form-urlencoded", query.clone()).await, "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(service.get("/").await.code(), "ROUTE_UNKNOWN");
    assert_eq!(service.get("/v2/queries").await.code(), "ROUTE_UNKNOWN");
    let id = request(&["alpha"]).query;
    assert_eq!(service.post(&format!("/v1/queries/{id}/release"), &json!({})).await.code(), "FIELD_INVALID");
    let answer = service.get("/v1/queries").await;
    assert_eq!(answer.code(), "METHOD_NOT_ALLOWED");
    assert_eq!(answer.headers["allow"], "POST");
    assert_eq!(service.post(&format!("/v1/queries/{id}"), &json!({})).await.code(), "METHOD_NOT_ALLOWED");
    for path in ["/v1/queries/1", "/v1/queries/%ff", "/v1/queries/1/events"] {
        assert_eq!(service.get(path).await.code(), "QUERY_ID_INVALID", "{path}");
    }
    assert_eq!(stand.published().await, 0);
    let charset = service.post_raw("/v1/queries", "Application/JSON; charset=utf-8", query).await;
    assert_eq!(charset.status, 202, "{charset:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_before_it_has_come() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let head = "POST /v1/queries HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    // Ten megabytes are announced and not one byte of them is sent.
    let announced = format!("{head}content-length: 10485760\r\n\r\n");
    // No length is announced; one byte more than the limit is sent, and the end never comes.
    let endless = format!("{head}transfer-encoding: chunked\r\n\r\n10001\r\n{}\r\n", " ".repeat(0x1_0001));
    for sent in [announced, endless] {
        let text = exchange(&service, &sent).await;
        assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
        assert!(text.contains("application/problem+json") && text.contains("BODY_TOO_LARGE"), "{text}");
    }
    assert_eq!(stand.published().await, 0);
}

/// Sends, and reads on until the problem document is whole.
async fn exchange(service: &Service, sent: &str) -> String {
    let mut stream = TcpStream::connect(service.running.addr).await.expect("connected");
    stream.write_all(sent.as_bytes()).await.expect("sent");
    let mut text = String::new();
    let mut buffer = [0; 4096];
    soon("an answer", async {
        while !text.ends_with('}') {
            let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut buffer)).await;
            let read = read.expect("the service waits for more of the body").expect("readable");
            assert_ne!(read, 0, "closed after: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    })
    .await;
    text
}
