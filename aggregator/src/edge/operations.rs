//! What the operator may ask of the hub: facts about queries and banks, never a person, never content.
//!
//! | file | role |
//! |---|---|
//! | `facts.rs` | what became of a query |
//! | `overview.rs` | how the hub stands now |
//! | `banks.rs` | what the last reports say of the banks |
//!
//! To anybody but the operator these addresses do not exist.

mod banks;
mod facts;
mod overview;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::routing::{get, put};
use axum::{Json, Router};
use plumbing::http::Peer;
use schemas::codes::Code;
use schemas::ids::{BankId, Reference};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub use self::banks::{BankSummary, BanksFacts};
pub use self::facts::{BankFacts, EventFacts, Place, QueryFacts, ReplyFacts, Timeline};
pub use self::overview::{Overview, PartitionFacts, PauseFacts};
use super::api::{Refusal, openapi};
use crate::domain::figures::MISSED_AFTER;
use crate::domain::refusals::Hour;
use crate::handler::Hub;
use crate::store::Store;

/// The DNS name in the operator's certificate.
const OPERATOR: &str = "operator";

const BANKS: &str = "/v1/operations/banks";
const PAUSE: &str = "/v1/operations/banks/{bank}/pause";
const OVERVIEW: &str = "/v1/operations/overview";
const QUERY: &str = "/v1/operations/queries/{upstream}/{id}";

/// Every address.
#[cfg(test)]
pub(super) const ADDRESSES: [&str; 4] = [BANKS, PAUSE, OVERVIEW, QUERY];

/// Pairs of query and bank that are added up for one answer: about a second's work. A day of the pilot has a third of them.
const MAX_PAIRS: usize = 500_000;
/// Reports are there for a week, and then erased.
const MAX_SPAN: Duration = Duration::from_secs(7 * 24 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Overdue queries that are counted: there should be none.
const MAX_OVERDUE: usize = 100;

/// The routes.
pub(super) fn router<S: Store>() -> Router<Arc<Hub<S>>> {
    Router::new()
        .route(BANKS, get(banks::<S>))
        .route(PAUSE, put(pause::<S>).delete(resume::<S>))
        .route(OVERVIEW, get(overview::<S>))
        .route(QUERY, get(query::<S>))
}

/// A caller whose certificate names the operator.
pub(super) struct Operator;

impl Operator {
    /// Unlike a producer's questions, these are never believed on a listener without TLS: whoever works on the same machine
    /// is not therefore the one who runs the hub.
    fn of(peer: &Peer) -> Option<Self> {
        peer.is_certified_as(OPERATOR).then_some(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        Ok(peer.and_then(|ConnectInfo(peer)| Self::of(peer)).ok_or(Code::ROUTE_UNKNOWN)?)
    }
}

/// What became of a query.
#[utoipa::path(
    get, path = QUERY, tag = "operations",
    params(openapi::QueryPath),
    responses((status = 200, description = "What is known of it.", body = Timeline), openapi::OperationProblems),
)]
pub(super) async fn query<S: Store>(
    _: Operator,
    State(hub): State<Arc<Hub<S>>>,
    names: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Timeline>, Refusal> {
    let missing = |_| Code::QUERY_NOT_FOUND;
    let Path((upstream, id)) = names.map_err(|_| Code::QUERY_NOT_FOUND)?;
    let reference =
        Reference { upstream: upstream.parse().map_err(missing)?, query: id.parse().map_err(missing)? };
    let query = hub.store.query(&reference).await?;
    let leaves = hub.store.leaves(&reference).await?;
    let timeline = facts::timeline(&reference, query.as_ref(), &leaves, &hub.topics, &hub.paused.get());
    Ok(Json(timeline.ok_or(Code::QUERY_NOT_FOUND)?))
}

/// How the hub stands now: open queries, messages that wait, and how far topics are read.
#[utoipa::path(
    get, path = OVERVIEW, tag = "operations",
    responses((status = 200, description = "How it stands.", body = Overview), openapi::OperationProblems),
)]
pub(super) async fn overview<S: Store>(
    _: Operator,
    State(hub): State<Arc<Hub<S>>>,
) -> Result<Json<Overview>, Refusal> {
    let registry = hub.registry.get();
    let queries = registry.upstreams().map(|(upstream, _)| hub.topics.query(&upstream));
    let replies = registry.banks().map(|(bank, _)| hub.topics.reply(&bank));
    let topics: BTreeSet<String> = queries.chain(replies).collect();
    let now = hub.store.now().await?;
    // Before the ends: both grow, and what is read is never ahead of an end that is asked later.
    let progress = hub.store.progress(&topics).await?;
    let overdue = hub.store.past_deadline(now.before(MISSED_AFTER), MAX_OVERDUE).await?.len();
    let ranges = hub.watermarks.ranges(&topics.into_iter().collect::<Vec<_>>()).await;
    Ok(Json(overview::overview(&overview::Seen {
        now,
        open: hub.store.open_queries().await?,
        overdue: (overdue, overdue == MAX_OVERDUE),
        outbox: hub.store.outbox_depth().await?,
        progress: &progress,
        ranges: &ranges,
        pauses: &hub.store.pauses().await?,
    })))
}

/// Which reports.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Span {
    /// Those that became final within so many seconds; a day when not given, a week at most.
    #[param(minimum = 1, maximum = 604_800)]
    seconds: Option<u32>,
}

/// What the last reports say of the banks.
#[utoipa::path(
    get, path = BANKS, tag = "operations",
    params(Span),
    responses((status = 200, description = "What they say.", body = BanksFacts), openapi::BankProblems),
)]
pub(super) async fn banks<S: Store>(
    _: Operator,
    State(hub): State<Arc<Hub<S>>>,
    span: Result<Query<Span>, QueryRejection>,
) -> Result<Json<BanksFacts>, Refusal> {
    let Query(span) = span.map_err(|_| Code::FIELD_INVALID)?;
    let span = span.seconds.map_or(DAY, |seconds| Duration::from_secs(seconds.into()));
    if span.is_zero() || span > MAX_SPAN {
        return Err(Code::FIELD_INVALID.into());
    }
    let now = hub.store.now().await?;
    let since = now.before(span);
    Ok(Json(banks::banks(&banks::Seen {
        now,
        span,
        figures: &hub.store.figures(since, MAX_PAIRS).await?,
        remarks: &hub.store.remarks(Hour::of(since)).await?,
        registry: &hub.registry.get(),
        pauses: &hub.store.pauses().await?,
    })))
}

/// Why a bank is to be paused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// One line, in the operator's words.
    #[schema(min_length = 1, max_length = 200)]
    pub reason: String,
}

/// What became of a pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// Whether anything changed: a bank is paused once, and its first pause stays.
    pub changed: bool,
    /// The pause that holds, or the one that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseFacts>,
}

/// Which bank.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)]
pub(super) struct BankPath {
    /// Party id of the bank.
    #[param(pattern = "^[a-z0-9]{2,16}$")]
    bank: String,
}

/// Pauses a bank: from now on the hub does not ask it.
#[utoipa::path(
    put, path = PAUSE, tag = "operations",
    params(BankPath),
    request_body = Reason,
    responses((status = 200, description = "It is paused.", body = Changed), openapi::BankProblems),
)]
pub(super) async fn pause<S: Store>(
    _: Operator,
    State(hub): State<Arc<Hub<S>>>,
    bank: Result<Path<String>, PathRejection>,
    reason: Result<Json<Reason>, JsonRejection>,
) -> Result<Json<Changed>, Refusal> {
    let bank = bank_of(bank)?;
    let Json(Reason { reason }) = reason.map_err(|rejection| unreadable(&rejection))?;
    let (pause, changed) = hub.pause(&bank, &reason, OPERATOR).await?;
    Ok(Json(Changed { changed, pause: Some(PauseFacts::of(&bank, &pause)) }))
}

/// Ends a bank's pause: what waited for it is asked, where there is still time.
#[utoipa::path(
    delete, path = PAUSE, tag = "operations",
    params(BankPath),
    responses((status = 200, description = "It is not paused.", body = Changed), openapi::BankProblems),
)]
pub(super) async fn resume<S: Store>(
    _: Operator,
    State(hub): State<Arc<Hub<S>>>,
    bank: Result<Path<String>, PathRejection>,
) -> Result<Json<Changed>, Refusal> {
    let bank = bank_of(bank)?;
    let ended = hub.resume(&bank, OPERATOR).await?;
    Ok(Json(Changed { changed: ended.is_some(), pause: ended.map(|pause| PauseFacts::of(&bank, &pause)) }))
}

fn unreadable(rejection: &JsonRejection) -> Code {
    if matches!(rejection, JsonRejection::JsonDataError(_)) {
        Code::FIELD_INVALID
    } else if matches!(rejection, JsonRejection::MissingJsonContentType(_)) {
        Code::UNSUPPORTED_MEDIA_TYPE
    } else if matches!(rejection, JsonRejection::BytesRejection(_)) {
        Code::BODY_TOO_LARGE
    } else {
        Code::MALFORMED_JSON
    }
}

fn bank_of(bank: Result<Path<String>, PathRejection>) -> Result<BankId, Code> {
    let Path(bank) = bank.map_err(|_| Code::BANK_UNKNOWN)?;
    bank.parse().map_err(|_| Code::BANK_UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certified(name: &str) -> Peer {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
        Peer::Certified { addr: ([127, 0, 0, 1], 1).into(), certificate: made.cert.der().clone() }
    }

    #[test]
    fn only_a_certificate_that_names_the_operator_makes_one() {
        assert!(Operator::of(&certified("operator")).is_some());
        for other in ["auditor", "upstream-operator", "operator.example", "*.operator"] {
            assert!(Operator::of(&certified(other)).is_none(), "{other}");
        }
        assert!(Operator::of(&Peer::Local(([127, 0, 0, 1], 1).into())).is_none());
    }
}
