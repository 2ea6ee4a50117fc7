use std::sync::Arc;

use bytes::Bytes;
use plumbing::kafka::Position;
use prost::Message as _;
use schemas::wire::{self, sms_record};

use super::*;

const ID: &str = "0192f0c1-2d3e-7000-8000-000000000001";

fn known() -> Known {
    Known { parties: ["wallet", "alpha"].map(str::to_owned).into() }
}

fn line(headers: &[(&str, &str)]) -> Line {
    let query: QueryId = ID.parse().expect("an id");
    let reference = Some(wire::Reference {
        upstream: "wallet".to_owned(),
        query_id: Bytes::copy_from_slice(query.as_bytes()),
    });
    let failed = sms_record::Message::Failed(wire::SmsFailed { code: "GATEWAY_REFUSED".to_owned() });
    let sms = wire::SmsRecord {
        reference,
        out_id: Bytes::new(),
        at_ms: 1_795_420_800_000,
        attempt: 1,
        message: Some(failed),
    };
    let record = Record {
        position: Position { topic: Arc::from("cardquery.sms.v1"), partition: 3, offset: 42 },
        append_time_ms: 1_795_420_800_000,
        key: Some(Bytes::from_static(ID.as_bytes())),
        value: sms.encode_to_vec().into(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
            .collect(),
    };
    Line::of(&record, Family::Sms, &Topics::default(), &known())
}

#[test]
fn a_line_says_where_what_and_why_in_text_and_in_json() {
    let line = line(&[
        ("ce_type", "cardquery.SmsFailed.v1"),
        ("ce_source", "/cardquery/notifier"),
        ("ce_id", "00112233445566778899aabbccddeeff"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("something-else", "13800138000"),
    ]);
    let text = line.to_string();
    assert!(text.starts_with("2026-11-23T08:00:00.000Z cardquery.sms.v1:3:42 SmsFailed "), "{text}");
    for part in [
        "query=0192f0c1-2d3e-7000-8000-000000000001",
        "upstream=wallet",
        "code=GATEWAY_REFUSED",
        "ce_source=/cardquery/notifier",
        "traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "(+1 headers)",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json = serde_json::to_value(&line).expect("JSON");
    assert_eq!((&json["type"], &json["offset"]), (&"SmsFailed".into(), &42.into()));
    assert_eq!(json["fields"]["code"], "GATEWAY_REFUSED");
    assert_eq!(json["headers"]["ce_id"], "00112233445566778899aabbccddeeff");
}

#[test]
fn headers_are_shown_only_when_they_are_what_they_should_be() {
    for (name, value) in [
        ("ce_type", "cardquery.Zhang.v1"),
        ("ce_source", "/cardquery/zhang"),
        ("ce_source", "/cardquery/person/wallet"),
        ("ce_id", "00112233445566778899AABBCCDDEEFF"),
        ("ce_time", "yesterday"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-13800138000"),
        ("cardquery-error-code", "13800138000"),
        ("__dlq.errors.topic", "cardquery.zhang.v1"),
        ("__dlq.errors.offset", "13800138000"),
    ] {
        let line = line(&[(name, value)]);
        assert!(line.headers.is_empty() && line.other_headers == 1, "{name}: {value}");
    }
}

#[test]
fn a_filter_asks_for_every_word_that_it_names() {
    let line = line(&[]);
    let wanted = Wanted {
        r#type: Some("smsfailed".to_owned()),
        upstream: Some("wallet".to_owned()),
        code: Some("gateway_refused".to_owned()),
        query: Some(ID.parse().expect("an id")),
        ..Wanted::default()
    };
    assert!(wanted.matches(&line) && Wanted::default().matches(&line));
    let text = |text: &str| Some(text.to_owned());
    for other in [
        Wanted { r#type: text("SmsUnknown"), ..wanted.clone() },
        Wanted { upstream: text("shop"), ..wanted.clone() },
        Wanted { bank: text("alpha"), ..wanted.clone() },
        Wanted { code: text("GATEWAY_UNAVAILABLE"), ..wanted.clone() },
        Wanted { query: Some(QueryId::generate()), ..wanted.clone() },
    ] {
        assert!(!other.matches(&line), "{other:?}");
    }
    let every_third = Wanted { sample: 3, ..Wanted::default() };
    let sampled: Vec<i64> = (0..10).filter(|offset| every_third.samples(*offset)).collect();
    assert_eq!(sampled, [0, 3, 6, 9]);
}
