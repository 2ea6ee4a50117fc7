//! Refusals as problem documents (RFC 9457), with the words for the person in the caller's language.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemas::codes::Code;
use schemas::http::{PROBLEM_JSON, Problem};

use super::language;

/// Seconds after which to try again when something is away.
const RETRY_SECONDS: u32 = 5;

/// A request that ends with a problem document. [`finish`] writes the document.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self(Problem::of(code))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let problem = &self.0;
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let away = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_SECONDS);
        let retry_after = problem.retry_after_seconds.or(away);
        let mut response = status.into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// What every response passes: a refusal gets its document, and nothing is kept by anybody that does not say so itself.
pub(crate) async fn finish(request: Request, next: Next) -> Response {
    let language = language::preferred(request.headers());
    let mut response = next.run(request).await;
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Some(Refused(problem)) = response.extensions_mut().remove() {
        // A document of texts and numbers always has a JSON form.
        let document = serde_json::to_vec(&problem.in_language(language)).unwrap_or_default();
        *response.body_mut() = Body::from(document);
    }
    response
}
