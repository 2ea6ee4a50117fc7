//! What an auditor may ask of the hub: what the store holds of queries, as facts and digests. Never a person, never content.
//!
//! To anybody but the auditor this address does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequestParts, State};
use axum::http::request::Parts;
use axum::routing::post;
use axum::{Json, Router};
use plumbing::http::Peer;
use schemas::codes::Code;
use schemas::http::{outcome_name, state_name};
use schemas::ids::Reference;
use schemas::wire::QueryState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::api::{Refusal, openapi};
use crate::domain::query::{Closing, Final, Outcome, State as QueryIs};
use crate::handler::Hub;
use crate::store::{Content, Kept, Store};

/// The DNS name in an auditor's certificate.
const AUDITOR: &str = "auditor";
const DIGESTS: &str = "/v1/audit/digests";
/// Queries in one question at most.
pub const MAX_QUERIES: usize = 1_000;
/// A name is 36 bytes, an upstream's at most 16.
const MAX_QUESTION: usize = MAX_QUERIES * 128;

/// Every address.
#[cfg(test)]
pub(super) const ADDRESSES: [&str; 1] = [DIGESTS];

/// The routes.
pub(super) fn router<S: Store>() -> Router<Arc<Hub<S>>> {
    Router::new().route(DIGESTS, post(digests::<S>).layer(DefaultBodyLimit::max(MAX_QUESTION)))
}

/// Queries of which the digests are wanted, at most 1,000.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DigestsOf {
    /// Which ones.
    #[schema(max_items = 1000)]
    pub queries: Vec<QueryName>,
}

/// Names a query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct QueryName {
    /// Party id of the upstream.
    #[schema(pattern = "^[a-z0-9]{2,16}$")]
    pub upstream: String,
    /// The query's id.
    #[schema(pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")]
    pub query_id: String,
}

/// What the store holds, for each query that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Digests {
    /// In ascending order.
    pub queries: Vec<QueryDigests>,
}

/// What the store holds of a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueryDigests {
    /// Which one.
    #[serde(flatten)]
    pub query: QueryName,
    /// Wire name of its state without prefix; missing when it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The facts of its final report, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportDigests>,
    /// SHA-256 of the body of its coverage, hexadecimal, or `unreadable`; missing when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<String>,
    /// SHA-256 of each bank's encoded segment, hexadecimal, or `unreadable`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub segments: BTreeMap<String, String>,
}

/// The facts of a final report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportDigests {
    /// When it became final, Unix milliseconds.
    pub finalised_at_ms: i64,
    /// Every asked bank.
    pub banks: BTreeMap<String, BankDigests>,
}

/// One bank in a final report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BankDigests {
    /// Wire name of its outcome without prefix.
    pub outcome: String,
    /// A later valid reply had another outcome.
    pub conflict: bool,
    /// The reply that counts, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyDigests>,
}

/// The reply of a bank that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplyDigests {
    /// `ANSWERED` or `REFUSED`.
    pub word: String,
    /// SHA-256 of its encoded segment, hexadecimal.
    pub segment: String,
    /// Append time, Unix milliseconds.
    pub appended_at_ms: i64,
    /// Partition of the bank's reply topic.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
}

/// In the place of a digest: content that does not open.
pub const UNREADABLE: &str = "unreadable";

/// A caller whose certificate names the auditor.
pub(super) struct Auditor;

impl Auditor {
    /// Never believed on a listener without TLS, as with the operator.
    fn of(peer: &Peer) -> Option<Self> {
        peer.is_certified_as(AUDITOR).then_some(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Auditor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        Ok(peer.and_then(|ConnectInfo(peer)| Self::of(peer)).ok_or(Code::ROUTE_UNKNOWN)?)
    }
}

/// What the store holds of queries: facts, and digests of what it keeps sealed.
#[utoipa::path(
    post, path = DIGESTS, tag = "audit",
    request_body = DigestsOf,
    responses(
        (status = 200, description = "What is held of those that are there.", body = Digests), openapi::AuditProblems,
    ),
)]
pub(super) async fn digests<S: Store>(
    _: Auditor,
    State(hub): State<Arc<Hub<S>>>,
    question: Result<Json<DigestsOf>, JsonRejection>,
) -> Result<Json<Digests>, Refusal> {
    let Json(DigestsOf { queries }) = question.map_err(|refused| {
        if refused.status().as_u16() == Code::BODY_TOO_LARGE.status() {
            Code::BODY_TOO_LARGE
        } else {
            Code::MESSAGE_MALFORMED
        }
    })?;
    if queries.len() > MAX_QUERIES {
        return Err(Code::BODY_TOO_LARGE.into());
    }
    // A name that cannot be one is of a query that is not there.
    let references: BTreeSet<Reference> = queries.iter().filter_map(QueryName::reference).collect();
    let kept = hub.store.kept(&references).await?;
    Ok(Json(Digests { queries: kept.into_iter().map(|(reference, kept)| told(&reference, kept)).collect() }))
}

impl QueryName {
    /// The query, if this can be the name of one.
    pub fn reference(&self) -> Option<Reference> {
        Some(Reference { upstream: self.upstream.parse().ok()?, query: self.query_id.parse().ok()? })
    }
}

impl From<&Reference> for QueryName {
    fn from(reference: &Reference) -> Self {
        Self { upstream: reference.upstream.to_string(), query_id: reference.query.to_string() }
    }
}

fn told(reference: &Reference, kept: Kept) -> QueryDigests {
    QueryDigests {
        query: reference.into(),
        state: kept.state.as_ref().map(|state| state_name(wire_state(state)).to_owned()),
        report: kept.state.as_ref().and_then(QueryIs::report).map(report),
        coverage: kept.coverage.map(text),
        segments: kept.segments.into_iter().map(|(bank, content)| (bank, text(content))).collect(),
    }
}

fn wire_state(state: &QueryIs) -> QueryState {
    match state {
        QueryIs::Held(_) => QueryState::Held,
        QueryIs::Collecting(_) => QueryState::Collecting,
        QueryIs::Final(report) => report.wire_state(),
        QueryIs::Withdrawn { .. } => QueryState::Withdrawn,
        QueryIs::Rejected(_) => QueryState::Rejected,
        QueryIs::Cancelled { .. } => QueryState::Cancelled,
        QueryIs::Erased { .. } => QueryState::Erased,
    }
}

fn text(content: Content) -> String {
    match content {
        Content::Sha256(digest) => digest.to_string(),
        Content::Unreadable => UNREADABLE.to_owned(),
    }
}

fn report(report: &Final) -> ReportDigests {
    let banks = report.outcomes.iter().map(|(bank, outcome)| (bank.to_string(), of_bank(outcome)));
    ReportDigests { finalised_at_ms: report.finalised_at.0, banks: banks.collect() }
}

fn of_bank(outcome: &Outcome) -> BankDigests {
    BankDigests {
        outcome: outcome_name(outcome.outcome).to_owned(),
        conflict: outcome.conflict,
        reply: outcome.reply.as_ref().map(|reply| ReplyDigests {
            word: match reply.outcome {
                Closing::Answered => "ANSWERED",
                Closing::Refused => "REFUSED",
            }
            .to_owned(),
            segment: reply.segment_sha256.to_string(),
            appended_at_ms: reply.appended_at.0,
            partition: reply.at.0,
            offset: reply.at.1,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certified(name: &str) -> Peer {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
        Peer::Certified { addr: ([127, 0, 0, 1], 1).into(), certificate: made.cert.der().clone() }
    }

    #[test]
    fn only_a_certificate_that_names_the_auditor_makes_one() {
        assert!(Auditor::of(&certified("auditor")).is_some());
        for other in ["operator", "upstream-auditor", "auditor.example", "*.auditor"] {
            assert!(Auditor::of(&certified(other)).is_none(), "{other}");
        }
        assert!(Auditor::of(&Peer::Local(([127, 0, 0, 1], 1).into())).is_none());
    }

    #[test]
    fn the_largest_question_fits_and_content_that_does_not_open_says_so() {
        let name = QueryName {
            upstream: "w".repeat(16),
            query_id: "0192f0c1-2d3e-7000-8000-000000000001".to_owned(),
        };
        let largest = DigestsOf { queries: vec![name.clone(); MAX_QUERIES] };
        assert!(serde_json::to_vec(&largest).expect("JSON").len() <= MAX_QUESTION);
        let kept = Kept {
            state: None,
            coverage: Some(Content::Unreadable),
            segments: BTreeMap::from([("alpha".to_owned(), Content::Unreadable)]),
        };
        let told = told(&name.reference().expect("a name"), kept);
        let json = serde_json::to_value(&told).expect("JSON");
        assert_eq!(json["coverage"], UNREADABLE);
        assert_eq!(json["segments"]["alpha"], UNREADABLE);
        assert!(json.get("state").is_none());
    }
}
