//! The interface for the wallet's back end: a thin layer over [`Intake`].

mod body;
mod events;
mod form;
mod json;
mod language;
mod openapi;
mod reply;
mod texts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use plumbing::http::HttpListener;
use plumbing::trace::{Context, Kind, Span, TRACEPARENT};
use schemas::codes::Code;
use schemas::http::{PROTOBUF, Problem, QueryStatus};
use schemas::ids::QueryId;
use schemas::openapi::Encoded;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};
use zeroize::Zeroizing;

use self::events::Wanted;
use self::json::{Field, invalid};
pub(crate) use self::openapi::document;
use self::reply::{Refused, finish};
use crate::config::{HttpConfig, is_region};
use crate::domain::banks::Bank;
use crate::domain::progress::Mark;
use crate::domain::request::SubmitRequest;
use crate::handler::{self, Intake, Submitted};
use crate::texts::consent_texts;

const JSON: &str = "application/json";
/// A listener that comes again says what it has been told (HTML, 9.2.4).
const LAST_EVENT_ID: &str = "last-event-id";

/// Every address; the documentation has the same ones.
const QUERIES: &str = "/v1/queries";
const QUERY: &str = "/v1/queries/{id}";
const EVENTS: &str = "/v1/queries/{id}/events";
const RELEASE: &str = "/v1/queries/{id}/release";
const REVOCATION: &str = "/v1/queries/{id}/revocation";
const REPORT: &str = "/v1/queries/{id}/report";
const BANKS: &str = "/v1/banks";
const CONSENT_TEXT: &str = "/v1/consent-texts/{lang}";
const TEXTS: &str = "/v1/texts/{lang}";
const OPENAPI: &str = "/openapi.json";

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
        .route(QUERIES, post(submit))
        .route(QUERY, get(status))
        .route(EVENTS, get(follow))
        .route(RELEASE, post(release))
        .route(REVOCATION, post(revoke))
        .route(REPORT, post(report))
        .route(BANKS, get(banks))
        .route(CONSENT_TEXT, get(consent_text))
        .route(TEXTS, get(person_texts))
        .route(OPENAPI, get(openapi_document))
        .fallback(async || Refused::from(Code::ROUTE_UNKNOWN))
        .method_not_allowed_fallback(async || Refused::from(Code::METHOD_NOT_ALLOWED))
        .layer(DefaultBodyLimit::max(body::MAX_BODY))
        .layer(axum::middleware::from_fn(finish))
        .with_state(front)
}

/// A query that Kafka has.
#[derive(Serialize, ToSchema)]
struct SubmittedDocument {
    /// The id that was chosen.
    query_id: String,
    /// Always `SUBMITTED`; what becomes of it says its status.
    state: &'static str,
}

/// Submits a query.
///
/// 202 means that Kafka has it. The query id is the idempotency key: after `OUTCOME_UNKNOWN` send the same body again.
#[utoipa::path(
    post, path = QUERIES, tag = "queries",
    request_body(content = openapi::QueryForm, content_type = "application/json"),
    responses(
        (status = 202, description = "Kafka has the query: follow it.", body = SubmittedDocument,
         headers(("Location" = String, description = "Where its status is."))),
        openapi::SubmitProblems,
    ),
)]
async fn submit(State(front): State<Front>, request: Request) -> Response {
    let caller = caller(request.headers());
    let request = match read_submission(request).await {
        Ok(request) => request,
        Err(problem) => return Refused(problem).into_response(),
    };
    let query = request.query;
    // A task of its own: a caller that hangs up does not leave a record behind whose outcome nobody saw.
    let span = Span::root("submit query", &query, caller);
    let submission = tokio::spawn(async move {
        let submitted = front.intake.submit(request).await;
        drop(span);
        submitted
    });
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

/// Releases a held query, with the whole body of a submission: a fresh consent, and what is around the person now.
///
/// The query names the same banks, person, region and report key as the held one.
#[utoipa::path(
    post, path = RELEASE, tag = "queries",
    params(openapi::QueryPath),
    request_body(content = openapi::QueryForm, content_type = "application/json"),
    responses(
        (status = 202, description = "Kafka has the release: follow the query.", body = SubmittedDocument),
        openapi::ReleaseProblems,
    ),
)]
async fn release(State(front): State<Front>, id: Id, request: Request) -> Result<Response, Refused> {
    let query = read_id(id)?;
    let request = read_submission(request).await?;
    if request.query != query {
        return Err(invalid("query_id", "the id of the address").into());
    }
    let span = Span::of(Kind::Server, "release query", &query);
    let release = tokio::spawn(async move {
        let released = front.intake.release(request).await;
        drop(span);
        released
    });
    Ok(taken(&release.await.unwrap_or(Err(Code::INTERNAL))?))
}

/// The caller's own span.
fn caller(headers: &HeaderMap) -> Option<Context> {
    Context::parse(headers.get(TRACEPARENT)?.as_bytes())
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

/// The status of a query, as the hub knows it.
#[utoipa::path(
    get, path = QUERY, tag = "queries",
    params(openapi::QueryPath),
    responses((status = 200, description = "The status.", body = QueryStatus), openapi::StatusProblems),
)]
async fn status(State(front): State<Front>, id: Id) -> Result<Json<QueryStatus>, Refused> {
    Ok(Json(front.intake.status(read_id(id)?).await?))
}

/// Follows a query by server-sent events.
///
/// Event `status` (data: a status document) at every change of `state` or `answered`, with `id` (state and number of
/// answers, as in `COLLECTING.3`) and `retry`; event `problem` (data: a problem document) when there is no such query. A
/// comment every 15 s keeps the connection alive. The stream ends with the final state, after a problem, and when it has
/// lasted for long. Who comes again with `Last-Event-ID` is told only what is new, and 204 when nothing will be.
#[utoipa::path(
    get, path = EVENTS, tag = "queries",
    params(openapi::QueryPath),
    responses(
        (status = 200, description = "The stream.", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The last event that the listener has was the last one."),
        openapi::FollowProblems,
    ),
)]
async fn follow(State(front): State<Front>, id: Id, headers: HeaderMap) -> Result<Response, Refused> {
    let query = read_id(id)?;
    let has = headers.get(LAST_EVENT_ID).and_then(|value| Mark::read(value.to_str().ok()?));
    if has.as_ref().is_some_and(Mark::is_final) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let Ok(permit) = Arc::clone(&front.streams).try_acquire_owned() else {
        let detail = "too many event streams are open here: ask for the status instead";
        return Err(Problem::of(Code::HUB_UNAVAILABLE).with_detail(detail).into());
    };
    let wanted = Wanted { query, has, language: language::preferred(&headers) };
    let events = events::stream(front.intake, wanted, front.longest_stream, front.shutdown, permit);
    Ok(events.into_response())
}

/// Withdraws the consent of a query, whether or not the query is known yet.
#[utoipa::path(
    post, path = REVOCATION, tag = "queries",
    params(openapi::QueryPath),
    request_body(content = openapi::Nothing, content_type = "application/json"),
    responses((status = 202, description = "Kafka has the withdrawal."), openapi::RevokeProblems),
)]
async fn revoke(State(front): State<Front>, id: Id, request: Request) -> Result<Response, Refused> {
    let query = read_id(id)?;
    let body = body::read(request, JSON, Code::MALFORMED_JSON).await?;
    let [] = Field::document(json::Json::parse(&body)?).members([])?;
    front.intake.revoke(query).await?;
    Ok(StatusCode::ACCEPTED.into_response())
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
async fn report(State(front): State<Front>, id: Id, request: Request) -> Result<Response, Refused> {
    let query = read_id(id)?;
    let grant = body::read(request, PROTOBUF, Code::MESSAGE_MALFORMED).await?;
    let report = front.intake.report(query, grant).await?;
    Ok(([(CONTENT_TYPE, PROTOBUF)], report).into_response())
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct BanksQuery {
    /// Administrative division code; all banks without it.
    #[param(pattern = "^[0-9]{6}$")]
    region: Option<String>,
}

/// The banks that a person can choose from.
#[derive(Serialize, ToSchema)]
struct BanksDocument {
    /// In ascending order of id.
    banks: Vec<Bank>,
}

/// The banks that take part, by their signed registry entries.
#[utoipa::path(
    get, path = BANKS, tag = "reference",
    params(BanksQuery),
    responses((status = 200, description = "The banks.", body = BanksDocument), openapi::BanksProblems),
)]
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

/// A consent text as published.
#[derive(Serialize, ToSchema)]
struct ConsentTextDocument {
    /// BCP 47 tag.
    language: &'static str,
    /// Its version; texts of one version say the same.
    version: &'static str,
    /// The words that the person reads before every query.
    text: &'static str,
    /// SHA-256 of the words in hex: `consent.text_sha256` of a query.
    sha256: String,
}

/// The consent text in force.
#[utoipa::path(
    get, path = CONSENT_TEXT, tag = "reference",
    params(openapi::LanguagePath),
    responses((status = 200, description = "The text.", body = ConsentTextDocument), openapi::TextProblems),
)]
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

/// What a person reads about every code that they can meet: text, short form to be read aloud, next step.
///
/// To be kept by the wallet; `ETag` and `If-None-Match` say whether it has changed.
#[utoipa::path(
    get, path = TEXTS, tag = "reference",
    params(openapi::LanguagePath),
    responses(
        (status = 200, description = "The texts, by family and code.", body = texts::TextsDocument,
         headers(("ETag" = String, description = "Names these texts."))),
        (status = 304, description = "They are those that `If-None-Match` names."),
        openapi::TextProblems,
    ),
)]
async fn person_texts(tag: Id, headers: HeaderMap) -> Result<Response, Refused> {
    let tag = tag.map(|Path(tag)| tag).unwrap_or_default();
    texts::texts(&tag, &headers).ok_or_else(|| {
        let tags: Vec<_> = schemas::texts::LANGUAGES.iter().map(|(_, tag)| *tag).collect();
        let detail = format!("there are texts in {}", tags.join(", "));
        Problem::of(Code::ROUTE_UNKNOWN).with_detail(detail).into()
    })
}

/// This interface as an OpenAPI document.
async fn openapi_document() -> Response {
    ([(CONTENT_TYPE, JSON)], document()).into_response()
}

type Id = Result<Path<String>, PathRejection>;

fn read_id(id: Id) -> Result<QueryId, Code> {
    id.map_err(|_| Code::QUERY_ID_INVALID)?.parse()
}
