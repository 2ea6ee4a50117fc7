//! `POST /v1/callbacks/delivery`: the gateway tells what became of an SMS. A receipt that comes twice, late or after a better
//! one changes nothing.
//!
//! In: signed bodies. Out: 204 when the receipt is kept and the SMS topic has it; a gateway that gets anything else
//! than 2xx or 4xx sends it again. What must never happen here: a receipt counts that the gateway did not sign.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use schemas::codes::Code;
use schemas::http::{PROBLEM_JSON, Problem};
use schemas::ids::MessageId;
use schemas::time::UnixMillis;
use serde::Deserialize;

use super::now;
use crate::dispatch::SmsLog;
use crate::domain::sms::Outcome;
use crate::gateway::signature::{GatewaySecret, SIGNATURE, TIMESTAMP};
use crate::handler::Notices;
use crate::metric_names;
use crate::store::Store;

/// The address, which the signature covers.
const PATH: &str = "/v1/callbacks/delivery";
/// Largest receipt in bytes.
const MAX_BODY: usize = 4 * 1024;
/// How long a receipt may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);
/// When a receipt that could not be kept may come again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

struct Receiver<S, L> {
    notices: Arc<Notices<S, L>>,
    secret: GatewaySecret,
}

/// Fields that this version does not know are the gateway's own business.
#[derive(Deserialize)]
struct Receipt {
    out_id: String,
    state: String,
}

/// The routes.
pub(crate) fn router<S: Store, L: SmsLog>(notices: Arc<Notices<S, L>>, secret: GatewaySecret) -> Router {
    Router::new()
        .route(PATH, post(receive::<S, L>))
        .fallback(async || refusal(&Problem::of(Code::ROUTE_UNKNOWN)))
        .method_not_allowed_fallback(async || refusal(&Problem::of(Code::METHOD_NOT_ALLOWED)))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(Receiver { notices, secret }))
}

fn refusal(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = (status, [(CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
    if let Some(seconds) = problem.retry_after_seconds {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

async fn receive<S: Store, L: SmsLog>(
    State(receiver): State<Arc<Receiver<S, L>>>,
    request: Request,
) -> Response {
    let taken = receiver.take(request).await;
    let outcome = if taken.is_ok() { "taken" } else { "refused" };
    metrics::counter!(metric_names::SMS_RECEIPTS, "outcome" => outcome).increment(1);
    match taken {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(problem) => refusal(&problem),
    }
}

impl<S: Store, L: SmsLog> Receiver<S, L> {
    async fn take(&self, request: Request) -> Result<(), Problem> {
        let headers = request.headers().clone();
        let body = read(request).await?;
        if !self.is_signed(&headers, &body) {
            return Err(Problem::of(Code::UNAUTHENTICATED));
        }
        let (out_id, outcome) = parse(&headers, &body)?;
        let dispatch = self.notices.dispatch();
        match dispatch.receipt(out_id, outcome).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Problem::of(Code::OUT_ID_UNKNOWN)),
            Err(error) => {
                tracing::warn!(%out_id, %error, "a delivery receipt is not kept yet");
                Err(Problem::of(Code::HUB_UNAVAILABLE).with_retry_after(AGAIN_AFTER))
            }
        }
    }

    fn is_signed(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let at = text(TIMESTAMP).and_then(|at| at.parse().ok()).map(UnixMillis);
        text(SIGNATURE)
            .zip(at)
            .is_some_and(|(signature, at)| self.secret.verifies(signature, at, now(), "POST", PATH, body))
    }
}

async fn read(request: Request) -> Result<Bytes, Problem> {
    match tokio::time::timeout(ARRIVES_WITHIN, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)))) => {
            Err(Problem::of(Code::BODY_TOO_LARGE))
        }
        Ok(Err(_)) | Err(_) => {
            Err(Problem::of(Code::MALFORMED_JSON).with_detail("the body did not arrive as a whole"))
        }
    }
}

fn parse(headers: &HeaderMap, body: &[u8]) -> Result<(MessageId, Outcome), Problem> {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::of(Code::UNSUPPORTED_MEDIA_TYPE).with_detail("send application/json"));
    }
    let document: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| Problem::of(Code::MALFORMED_JSON))?;
    let invalid = |detail: &str| Problem::of(Code::FIELD_INVALID).with_detail(detail);
    let receipt: Receipt =
        serde_json::from_value(document).map_err(|_| invalid("`out_id` and `state` are texts"))?;
    let out_id = hex::decode(&receipt.out_id).ok().and_then(|raw| MessageId::from_bytes(&raw).ok());
    let out_id = out_id.ok_or_else(|| invalid("`out_id`: 32 hex digits"))?;
    match receipt.state.as_str() {
        "delivered" => Ok((out_id, Outcome::Delivered)),
        "failed" => Ok((out_id, Outcome::Undelivered)),
        _ => Err(invalid("`state`: delivered or failed")),
    }
}
