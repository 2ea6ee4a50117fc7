//! The hub's own HTTP interface, for producers: status and reports. No card and no identity passes here in the clear.

use std::sync::Arc;

use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use schemas::codes::Code;
use schemas::http::{PROBLEM_JSON, PROTOBUF, Problem, QueryStatus};
use schemas::ids::Reference;

use crate::handler::Hub;
use crate::store::Store;

/// Bytes of a grant at most: it has fixed fields.
const MAX_GRANT: usize = 4 * 1024;

/// The routes.
pub fn router<S: Store>(hub: Arc<Hub<S>>) -> Router {
    Router::new()
        .route("/v1/upstreams/{upstream}/queries/{id}", get(status::<S>))
        .route("/v1/upstreams/{upstream}/queries/{id}/report", post(report::<S>))
        .fallback(async || Refusal(Code::ROUTE_UNKNOWN))
        .method_not_allowed_fallback(async || Refusal(Code::METHOD_NOT_ALLOWED))
        .layer(DefaultBodyLimit::max(MAX_GRANT))
        .with_state(hub)
}

struct Refusal(Code);

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self(code)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = Problem::of(self.0);
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], Json(problem)).into_response()
    }
}

type Names = Result<Path<(String, String)>, PathRejection>;

/// A name that cannot be one is as missing as one that is not there.
fn reference(names: Names) -> Result<Reference, Refusal> {
    let missing = |_| Refusal(Code::QUERY_NOT_FOUND);
    let Path((upstream, id)) = names.map_err(|_| Refusal(Code::QUERY_NOT_FOUND))?;
    Ok(Reference { upstream: upstream.parse().map_err(missing)?, query: id.parse().map_err(missing)? })
}

async fn status<S: Store>(
    State(hub): State<Arc<Hub<S>>>,
    names: Names,
) -> Result<Json<QueryStatus>, Refusal> {
    Ok(Json(hub.status(&reference(names)?).await?))
}

async fn report<S: Store>(
    State(hub): State<Arc<Hub<S>>>,
    names: Names,
    granted: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let reference = reference(names)?;
    let granted = granted.map_err(|_| Refusal(Code::BODY_TOO_LARGE))?;
    let report = hub.view(&reference, granted).await?;
    Ok(([(header::CONTENT_TYPE, PROTOBUF), (header::CACHE_CONTROL, "no-store")], report).into_response())
}
