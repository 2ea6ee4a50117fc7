//! The hub's own HTTP interface: status and reports for producers, and what [`operations`] adds. No
//! card and no identity passes here in the clear.

pub(super) mod openapi;

use std::sync::Arc;

use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use plumbing::http::Peer;
use schemas::codes::Code;
use schemas::http::{PROBLEM_JSON, PROTOBUF, Problem, QueryStatus};
use schemas::ids::Reference;
use schemas::openapi::Encoded;

pub use self::openapi::document;
use super::{audit, operations};
use crate::handler::{Hub, Refused};
use crate::store::Store;

/// Bytes of a grant at most: it has fixed fields.
const MAX_GRANT: usize = 4 * 1024;

/// Every address; the documentation has the same ones.
const QUERY: &str = "/v1/upstreams/{upstream}/queries/{id}";
const REPORT: &str = "/v1/upstreams/{upstream}/queries/{id}/report";
const OPENAPI: &str = "/openapi.json";

/// The routes.
pub fn router<S: Store>(hub: Arc<Hub<S>>) -> Router {
    Router::new()
        .route(QUERY, get(status::<S>))
        .route(REPORT, post(report::<S>))
        .route(OPENAPI, get(openapi_document))
        .merge(operations::router())
        .merge(audit::router())
        .fallback(async || Refusal(Code::ROUTE_UNKNOWN.into()))
        .method_not_allowed_fallback(async || Refusal(Code::METHOD_NOT_ALLOWED.into()))
        .layer(DefaultBodyLimit::max(MAX_GRANT))
        .with_state(hub)
}

pub(super) struct Refusal(Refused);

impl<T: Into<Refused>> From<T> for Refusal {
    fn from(refused: T) -> Self {
        Self(refused.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refused { code, retry_after } = self.0;
        let problem = match retry_after {
            Some(wait) => Problem::of(code).with_retry_after(wait),
            None => Problem::of(code),
        };
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let seconds = problem.retry_after_seconds;
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], Json(problem)).into_response();
        if let Some(seconds) = seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

type Names = Result<Path<(String, String)>, PathRejection>;

/// A name that cannot be one, and one that the caller may not ask for, are as missing as one that is not there.
fn reference(names: Names, peer: &Peer) -> Result<Reference, Refusal> {
    let missing = |_| Code::QUERY_NOT_FOUND;
    let Path((upstream, id)) = names.map_err(|_| Code::QUERY_NOT_FOUND)?;
    let reference =
        Reference { upstream: upstream.parse().map_err(missing)?, query: id.parse().map_err(missing)? };
    if !peer.is(&format!("upstream-{}", reference.upstream)) {
        return Err(Code::QUERY_NOT_FOUND.into());
    }
    Ok(reference)
}

/// The status of a query.
#[utoipa::path(
    get, path = QUERY, tag = "queries",
    params(openapi::QueryPath),
    responses((status = 200, description = "The status.", body = QueryStatus), openapi::StatusProblems),
)]
async fn status<S: Store>(
    State(hub): State<Arc<Hub<S>>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    names: Names,
) -> Result<Json<QueryStatus>, Refusal> {
    let reference = reference(names, &peer)?;
    hub.admit(&reference.upstream).await?;
    Ok(Json(hub.status(&reference).await?))
}

/// Presents a view grant and gets the sealed report.
///
/// The body is an encoded `GrantedView`, the answer an encoded `Report` (`schemas/proto/cardquery/v1/report.proto`).
#[utoipa::path(
    post, path = REPORT, tag = "queries",
    params(openapi::QueryPath),
    request_body(content = Encoded, content_type = "application/protobuf"),
    responses(
        (status = 200, description = "The report; only the device can open it.", body = Encoded,
         content_type = "application/protobuf"),
        openapi::ReportProblems,
    ),
)]
async fn report<S: Store>(
    State(hub): State<Arc<Hub<S>>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    names: Names,
    granted: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let reference = reference(names, &peer)?;
    hub.admit(&reference.upstream).await?;
    let granted = granted.map_err(|_| Code::BODY_TOO_LARGE)?;
    let report = hub.view(&reference, granted).await?;
    Ok(([(header::CONTENT_TYPE, PROTOBUF), (header::CACHE_CONTROL, "no-store")], report).into_response())
}

/// This interface as an OpenAPI document.
async fn openapi_document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01932f6e-0000-7000-8000-000000000001";

    fn certified(name: &str) -> Peer {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
        Peer::Certified { addr: ([127, 0, 0, 1], 1).into(), certificate: made.cert.der().clone() }
    }

    fn found(upstream: &str, peer: &Peer) -> bool {
        reference(Ok(Path((upstream.to_owned(), ID.to_owned()))), peer).is_ok()
    }

    #[test]
    fn a_producer_may_ask_for_its_own_upstreams_queries_only() {
        let wallet = certified("upstream-wallet");
        assert!(found("wallet", &wallet));
        assert!(!found("shop", &wallet));
        assert!(!found("wallet2", &wallet));
        assert!(!found("wallet", &certified("bank-wallet")));
        assert!(!found("wallet", &certified("*.upstream-wallet")));
    }
}
