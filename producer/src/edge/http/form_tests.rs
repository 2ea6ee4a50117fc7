use serde_json::{Value, json};

use super::*;
use crate::wallet::{self, Choice, Person};

/// Stands where no number or text belongs; must never come back.
const CANARY: &str = "6222020000000001234";

fn person() -> Person {
    Person {
        subject: "s-1".into(),
        name: "王小明".into(),
        document_type: DocumentType::ResidentId,
        document_number: "11010519491231002X".into(),
        phone: "+8613800000001".into(),
    }
}

fn prepared() -> (SubmitRequest, Value) {
    let choice = Choice {
        region: "310000".into(),
        banks: ["alpha", "beta"].map(|bank| bank.parse().expect("an id")).into(),
        text: consent_texts()[0],
        risk: RiskSignals { pretext: Pretext::ParcelClaim.into(), on_call: true, ..RiskSignals::default() },
    };
    let request =
        wallet::prepare(&person(), &choice, UnixMillis(1_790_000_000_123)).expect("prepared").request;
    let body = wallet::body(&request, &person());
    (request, body)
}

fn refusal(body: &Value) -> Problem {
    read(body.to_string().as_bytes()).expect_err("refused")
}

/// JSON pointers to every value, objects and lists included.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), found))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), found))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found.push(at.to_owned());
}

/// `/consent/banks/0` as the interface writes it: `consent.banks[0]`.
fn path(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        match part.parse::<usize>() {
            Ok(index) => path += &format!("[{index}]"),
            Err(_) if path.is_empty() => path += part,
            Err(_) => path += &format!(".{part}"),
        }
    }
    path
}

#[test]
fn what_a_wallet_writes_is_read_back_unchanged() {
    let (request, body) = prepared();
    let read = read(body.to_string().as_bytes()).expect("a submission");
    assert_eq!(read.query, request.query);
    assert_eq!(read.terms(), request.terms());
    assert_eq!(read.consent, request.consent);
    assert_eq!(read.risk, request.risk);
    assert_eq!(read.content_digest(), request.content_digest());
    assert_eq!(read.identity.to_wire(), request.identity.to_wire());
    assert_eq!(read.identity.to_wire().phone, person().phone);
}

#[test]
fn a_value_of_the_wrong_type_is_refused_by_its_path_wherever_it_stands() {
    let (_, body) = prepared();
    let mut all = Vec::new();
    places(&body, "", &mut all);
    assert!(all.len() > 35, "{all:?}");
    for pointer in all {
        let mut wrong = body.clone();
        *wrong.pointer_mut(&pointer).expect("a place") = json!(6222020000000001234_u64);
        let problem = refusal(&wrong);
        let detail = problem.detail.unwrap_or_default();
        assert_eq!(problem.code, "FIELD_INVALID", "{pointer}");
        let place = if pointer.is_empty() { "the body".to_owned() } else { format!("`{}`", path(&pointer)) };
        assert!(detail.starts_with(&place), "{pointer}: {detail}");
        assert!(!detail.contains(CANARY), "{detail}");
    }
}

#[test]
fn a_text_of_the_wrong_form_is_refused_by_its_path_and_never_repeated() {
    let (_, body) = prepared();
    let mut all = Vec::new();
    places(&body, "", &mut all);
    // Any text is a name, a document number, a purpose; subject, too, takes digits.
    let free = ["/identity/name", "/identity/document_number", "/subject", "/consent/purpose"];
    for pointer in all.into_iter().filter(|pointer| !free.contains(&pointer.as_str())) {
        let mut wrong = body.clone();
        *wrong.pointer_mut(&pointer).expect("a place") = json!(CANARY);
        let problem = refusal(&wrong);
        let expected = if pointer == "/query_id" {
            "QUERY_ID_INVALID"
        } else if path(&pointer).contains("banks[") {
            "BANK_UNKNOWN"
        } else {
            "FIELD_INVALID"
        };
        assert_eq!(problem.code, expected, "{pointer}");
        assert!(!format!("{problem:?}").contains(CANARY), "{problem:?}");
    }
}

#[test]
fn every_member_but_the_answer_about_pretexts_must_be_there() {
    let (_, body) = prepared();
    let mut all = Vec::new();
    places(&body, "", &mut all);
    for pointer in all.into_iter().filter(|pointer| !pointer.is_empty()) {
        let mut without = body.clone();
        let (parent, name) = pointer.rsplit_once('/').expect("a member");
        let Some(Value::Object(members)) = without.pointer_mut(parent) else { continue };
        members.remove(name);
        let result = read(without.to_string().as_bytes());
        if pointer == "/risk/pretext" {
            assert!(result.is_ok());
            continue;
        }
        let problem = result.expect_err("refused");
        assert_eq!(problem.code, "FIELD_INVALID", "{pointer}");
        assert!(problem.detail.unwrap_or_default().contains(&path(&pointer)), "{pointer}");
    }
}

#[test]
fn an_unknown_member_is_refused_in_every_object() {
    let (_, body) = prepared();
    let mut all = Vec::new();
    places(&body, "", &mut all);
    let mut objects = 0;
    for pointer in all {
        let mut wrong = body.clone();
        let Some(Value::Object(members)) = wrong.pointer_mut(&pointer) else { continue };
        members.insert("extra".into(), json!(CANARY));
        objects += 1;
        let problem = refusal(&wrong);
        assert_eq!(problem.code, "UNKNOWN_FIELD", "{pointer}");
        assert!(problem.detail.unwrap_or_default().starts_with("`extra`"), "{pointer}");
    }
    assert_eq!(objects, 7, "body, assurance, two factors, risk, consent, identity");
}

#[test]
fn identity_outside_its_place_is_an_unknown_field_and_a_value_used_as_a_name_is_not_repeated() {
    let (_, body) = prepared();
    for name in ["name", "document_number", "phone", CANARY, "王小明"] {
        let mut wrong = body.clone();
        wrong[name] = json!("x");
        // Even when it is also missing where it belongs.
        wrong["identity"] = json!({});
        let problem = refusal(&wrong);
        assert_eq!(problem.code, "UNKNOWN_FIELD");
        let detail = problem.detail.unwrap_or_default();
        assert!(!detail.contains(CANARY) && !detail.contains("王小明"), "{detail}");
    }
}

#[test]
fn what_is_not_json_is_told_by_line_and_column_only() {
    for body in ["", "{", "{\"query_id\": 6222020000000001234x}", "{} {}", "\u{feff}{}", "{\"a\":\"\u{1}\"}"]
    {
        let problem = read(body.as_bytes()).expect_err("refused");
        assert_eq!(problem.code, "MALFORMED_JSON", "{body}");
        assert!(problem.detail.as_deref().is_some_and(|text| text.starts_with("line ")), "{problem:?}");
    }
    assert_eq!(read(b"\xff\xfe").expect_err("refused").code, "MALFORMED_JSON");
    let deep = "[".repeat(60_000);
    assert_eq!(read(deep.as_bytes()).expect_err("refused").code, "MALFORMED_JSON");
}

#[test]
fn a_name_that_occurs_twice_is_refused() {
    let (_, body) = prepared();
    let text = body.to_string().replacen('{', "{\"region\":\"530000\",", 1);
    assert_eq!(read(text.as_bytes()).expect_err("refused").code, "MALFORMED_JSON");
}

#[test]
fn any_other_purpose_is_read_as_a_purpose_that_is_not_allowed() {
    let (_, mut body) = prepared();
    for purpose in ["CREDIT_SCORING", "UNSPECIFIED", ""] {
        body["consent"]["purpose"] = json!(purpose);
        let read = read(body.to_string().as_bytes()).expect("its form is right");
        assert_eq!(read.consent.purpose, Purpose::Unspecified, "{purpose}");
    }
}

#[test]
fn unspecified_is_no_value_and_a_factor_kind_comes_once() {
    let (_, body) = prepared();
    for pointer in
        ["/assurance/level", "/assurance/factors/0/kind", "/risk/pretext", "/identity/document_type"]
    {
        let mut wrong = body.clone();
        *wrong.pointer_mut(pointer).expect("a place") = json!("UNSPECIFIED");
        assert_eq!(refusal(&wrong).code, "FIELD_INVALID", "{pointer}");
    }
    let mut wrong = body.clone();
    wrong["assurance"]["factors"][1]["kind"] = wrong["assurance"]["factors"][0]["kind"].clone();
    assert!(refusal(&wrong).detail.unwrap_or_default().contains("assurance.factors[1]"));
}

#[test]
fn a_bank_named_twice_is_refused() {
    let (_, mut body) = prepared();
    body["banks"] = json!(["alpha", "alpha"]);
    assert_eq!(refusal(&body).code, "BANK_REPEATED");
}

#[test]
fn nonce_and_key_are_taken_in_base64url_with_and_without_padding() {
    let (request, mut body) = prepared();
    for engine in
        [base64::engine::general_purpose::URL_SAFE, base64::engine::general_purpose::URL_SAFE_NO_PAD]
    {
        body["consent"]["nonce"] = json!(engine.encode(request.consent.nonce.0));
        body["report_public_key"] = json!(engine.encode(request.report_key.to_wire().raw));
        let read = read(body.to_string().as_bytes()).expect("a submission");
        assert_eq!(
            (read.consent.nonce, read.report_key),
            (request.consent.nonce, request.report_key.clone())
        );
    }
    body["report_public_key"] = json!(base64::engine::general_purpose::URL_SAFE.encode([1; 31]));
    assert_eq!(refusal(&body).code, "FIELD_INVALID");
}

#[test]
fn a_submission_does_not_print() {
    let (request, _) = prepared();
    let text = format!("{request:?} {request:#?} {:?}", person());
    for word in ["王小明", "11010519491231002X", "13800000001", "s-1"] {
        assert!(!text.contains(word), "{text}");
    }
}
