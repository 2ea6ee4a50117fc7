//! The interface for the wallet's back end: a thin layer over [`Intake`].

mod body;
mod events;
mod form;
mod json;
mod reply;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use plumbing::http::HttpListener;
use schemas::codes::Code;
use schemas::http::{PROTOBUF, Problem, QueryStatus};
use schemas::ids::QueryId;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use self::json::{Field, invalid};
use self::reply::Refused;
use crate::config::{HttpConfig, is_region};
use crate::domain::banks::Bank;
use crate::domain::request::SubmitRequest;
use crate::handler::{self, Intake, Submitted};
use crate::texts::consent_texts;

const JSON: &str = "application/json";

#[derive(Clone)]
struct Front {
    intake: Arc<Intake>,
    streams: Arc<Semaphore>,
    longest_stream: Duration,
    shutdown: CancellationToken,
}

/// Serves until `shutdown`, then lets open requests end.
pub(crate) async fn serve(
    listener: HttpListener,
    intake: Arc<Intake>,
    config: HttpConfig,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let front = Front {
        intake,
        streams: Arc::new(Semaphore::new(config.max_streams as usize)),
        longest_stream: Duration::from_secs(config.stream_seconds),
        shutdown: shutdown.clone(),
    };
    axum::serve(listener, router(front)).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

fn router(front: Front) -> Router {
    Router::new()
        .route("/v1/queries", post(submit))
        .route("/v1/queries/{id}", get(status))
        .route("/v1/queries/{id}/events", get(follow))
        .route("/v1/queries/{id}/release", post(release))
        .route("/v1/queries/{id}/revocation", post(revoke))
        .route("/v1/queries/{id}/report", post(report))
        .route("/v1/banks", get(banks))
        .route("/v1/consent-texts/{lang}", get(consent_text))
        .fallback(async || Refused::from(Code::ROUTE_UNKNOWN))
        .method_not_allowed_fallback(async || Refused::from(Code::METHOD_NOT_ALLOWED))
        .layer(DefaultBodyLimit::max(body::MAX_BODY))
        .layer(axum::middleware::map_response(async |mut response: Response| {
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }))
        .with_state(front)
}

#[derive(Serialize)]
struct SubmittedDocument {
    query_id: String,
    state: &'static str,
}

async fn submit(State(front): State<Front>, request: Request) -> Response {
    let request = match read_submission(request).await {
        Ok(request) => request,
        Err(problem) => return Refused(problem).into_response(),
    };
    let query = request.query;
    // A task of its own: a caller that hangs up does not leave a record behind whose outcome nobody saw.
    let submission = tokio::spawn(async move { front.intake.submit(request).await });
    let mut response = match submission.await.unwrap_or(Err(Code::INTERNAL)) {
        Ok(submitted) => taken(&submitted),
        Err(code @ Code::DUPLICATE_QUERY) => Refused::from(code).into_response(),
        Err(code) => return Refused::from(code).into_response(),
    };
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/queries/{query}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn taken(submitted: &Submitted) -> Response {
    let document = SubmittedDocument { query_id: submitted.query.to_string(), state: "SUBMITTED" };
    (StatusCode::ACCEPTED, Json(document)).into_response()
}

async fn release(State(front): State<Front>, id: Id, request: Request) -> Result<Response, Refused> {
    let query = read_id(id)?;
    let request = read_submission(request).await?;
    if request.query != query {
        return Err(invalid("query_id", "the id of the address").into());
    }
    let release = tokio::spawn(async move { front.intake.release(request).await });
    Ok(taken(&release.await.unwrap_or(Err(Code::INTERNAL))?))
}

/// The body of a submission or release; one that cannot be read is counted as refused.
async fn read_submission(request: Request) -> Result<SubmitRequest, Problem> {
    let started = Instant::now();
    let read = async {
        let body = body::read(request, JSON, Code::MALFORMED_JSON).await?;
        // Owned by nobody else, so this wipes the bytes that were received.
        form::read(&Zeroizing::new(Vec::from(body)))
    };
    let read: Result<SubmitRequest, Problem> = read.await;
    if let Err(problem) = &read {
        handler::observe(Code::ALL.iter().copied().find(|code| code.as_str() == problem.code), started);
    }
    read
}

async fn status(State(front): State<Front>, id: Id) -> Result<Json<QueryStatus>, Refused> {
    Ok(Json(front.intake.status(read_id(id)?).await?))
}

async fn follow(State(front): State<Front>, id: Id) -> Result<Response, Refused> {
    let query = read_id(id)?;
    let Ok(permit) = Arc::clone(&front.streams).try_acquire_owned() else {
        let detail = "too many event streams are open here: ask for the status instead";
        return Err(Problem::of(Code::HUB_UNAVAILABLE).with_detail(detail).into());
    };
    let events = events::stream(front.intake, query, front.longest_stream, front.shutdown, permit);
    Ok(events.into_response())
}

async fn revoke(State(front): State<Front>, id: Id, request: Request) -> Result<Response, Refused> {
    let query = read_id(id)?;
    let body = body::read(request, JSON, Code::MALFORMED_JSON).await?;
    let [] = Field::document(json::Json::parse(&body)?).members([])?;
    front.intake.revoke(query).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn report(State(front): State<Front>, id: Id, request: Request) -> Result<Response, Refused> {
    let query = read_id(id)?;
    let grant = body::read(request, PROTOBUF, Code::MESSAGE_MALFORMED).await?;
    let report = front.intake.report(query, grant).await?;
    Ok(([(CONTENT_TYPE, PROTOBUF)], report).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BanksQuery {
    region: Option<String>,
}

#[derive(Serialize)]
struct BanksDocument {
    banks: Vec<Bank>,
}

async fn banks(
    State(front): State<Front>,
    query: Result<Query<BanksQuery>, QueryRejection>,
) -> Result<Json<BanksDocument>, Refused> {
    let refused = || invalid("region", "six digits, and the only parameter");
    let Query(BanksQuery { region }) = query.map_err(|_| refused())?;
    if region.as_deref().is_some_and(|region| !is_region(region)) {
        return Err(refused().into());
    }
    Ok(Json(BanksDocument { banks: front.intake.banks(region.as_deref()) }))
}

#[derive(Serialize)]
struct ConsentTextDocument {
    language: &'static str,
    version: &'static str,
    text: &'static str,
    sha256: String,
}

async fn consent_text(tag: Id) -> Result<Json<ConsentTextDocument>, Refused> {
    let tag = tag.map(|Path(tag)| tag).unwrap_or_default();
    let Some(found) = consent_texts().iter().find(|text| text.tag == tag) else {
        let tags: Vec<_> = consent_texts().iter().map(|text| text.tag).collect();
        let detail = format!("there are texts in {}", tags.join(", "));
        return Err(Problem::of(Code::ROUTE_UNKNOWN).with_detail(detail).into());
    };
    Ok(Json(ConsentTextDocument {
        language: found.tag,
        version: found.version,
        text: found.text,
        sha256: found.sha256.to_string(),
    }))
}

type Id = Result<Path<String>, PathRejection>;

fn read_id(id: Id) -> Result<QueryId, Code> {
    id.map_err(|_| Code::QUERY_ID_INVALID)?.parse()
}
