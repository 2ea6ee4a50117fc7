use serde_json::json;

use super::*;
use crate::gateway::tests::sms;

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("a status")
}

const WAIT: Option<Duration> = Some(Duration::from_secs(7));

#[test]
fn only_the_documented_answers_to_an_sms_are_certain() {
    let unknown = |code| GatewayOutcome::Unknown { said: Said::Status(code) };
    let unreadable = GatewayOutcome::Unknown { said: Said::Unreadable };
    let accepted = GatewayOutcome::Accepted { gateway_id: "g-1".into() };
    let refused = GatewayOutcome::Refused { code: Code::GATEWAY_REFUSED };
    let not_taken = GatewayOutcome::NotTaken { retry_after: WAIT };
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(MAX_ID + 1));
    for (code, wait, answer, expected) in [
        (200, None, r#"{"id":"g-1"}"#, &accepted),
        (202, None, r#"{"id":"g-1","queue":3}"#, &accepted),
        (200, None, r#"{"id":""}"#, &unreadable),
        (200, None, r#"{"id":7}"#, &unreadable),
        (200, None, r#"{"id":"a b"}"#, &unreadable),
        (200, None, &long, &unreadable),
        (200, None, "OK", &unreadable),
        (204, None, "", &unreadable),
        (400, None, r#"{"code":"TEMPLATE_UNKNOWN"}"#, &refused),
        (422, None, r#"{"code":"NUMBER_BLOCKED","detail":"x"}"#, &refused),
        (422, None, r#"{"code":7}"#, &unknown(422)),
        (400, None, "<html>", &unknown(400)),
        (401, None, r#"{"code":"NO"}"#, &unknown(401)),
        (403, None, r#"{"code":"NO"}"#, &unknown(403)),
        (404, None, r#"{"code":"NO"}"#, &unknown(404)),
        (409, None, r#"{"code":"DUPLICATE"}"#, &unknown(409)),
        (429, WAIT, r#"{"taken":false}"#, &not_taken),
        (503, WAIT, r#"{"taken":false,"code":"BUSY"}"#, &not_taken),
        (429, None, r#"{"taken":false}"#, &unknown(429)),
        (503, WAIT, r#"{"taken":true}"#, &unknown(503)),
        (503, WAIT, "", &unknown(503)),
        (500, WAIT, r#"{"taken":false}"#, &unknown(500)),
        (502, None, r#"{"id":"g-1"}"#, &unknown(502)),
        (302, None, r#"{"id":"g-1"}"#, &unknown(302)),
        (100, None, r#"{"id":"g-1"}"#, &unknown(100)),
    ] {
        assert_eq!(&ordered(status(code), wait, answer.as_bytes(), &sms()), expected, "{code} {answer}");
    }
}

#[test]
fn only_the_documented_answers_to_a_question_are_certain() {
    let known = Inquired::Known;
    let open = Inquired::Open;
    for (code, answer, expected) in [
        (200, json!({ "state": "accepted", "id": "g-1" }), known(Outcome::Sent { gateway_id: "g-1".into() })),
        (200, json!({ "state": "delivered", "id": "g-1" }), known(Outcome::Delivered)),
        (200, json!({ "state": "failed" }), known(Outcome::Undelivered)),
        (200, json!({ "state": "refused" }), known(Outcome::Failed { code: Code::GATEWAY_REFUSED })),
        (200, json!({ "state": "open" }), open(Said::Open)),
        (200, json!({ "state": "accepted" }), open(Said::Unreadable)),
        (200, json!({ "state": "lost" }), open(Said::Unreadable)),
        (200, json!([]), open(Said::Unreadable)),
        // The gateway does not know it yet: the SMS may still be on its way to the gateway.
        (404, json!({ "state": "refused" }), open(Said::Status(404))),
        (202, json!({ "state": "delivered" }), open(Said::Status(202))),
        (500, json!({ "state": "delivered" }), open(Said::Status(500))),
    ] {
        assert_eq!(inquired(status(code), answer.to_string().as_bytes()), expected, "{code} {answer}");
    }
}

#[test]
fn an_id_that_quotes_the_number_does_not_leave_this_place() {
    let sms = sms();
    let answer = r#"{"id":"86-8613800000001-7"}"#;
    let accepted = GatewayOutcome::Accepted { gateway_id: sms.out_id.to_string() };
    assert_eq!(ordered(StatusCode::OK, None, answer.as_bytes(), &sms), accepted);
}
