//! What the operator may ask of the hub: facts about queries and banks, never a person, never content.
//!
//! | file | role |
//! |---|---|
//! | `facts.rs` | the documents, and how they come from what the store knows |
//!
//! To anybody but the operator these addresses do not exist.

mod facts;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::routing::get;
use axum::{Json, Router};
use plumbing::http::Peer;
use schemas::codes::Code;
use schemas::ids::Reference;

pub use self::facts::{BankFacts, Place, QueryFacts, ReplyFacts};
use super::api::{Refusal, openapi};
use crate::handler::Hub;
use crate::store::Store;

/// The DNS name in the operator's certificate.
const OPERATOR: &str = "operator";

const QUERY: &str = "/v1/operations/queries/{upstream}/{id}";

/// Every address.
#[cfg(test)]
pub(super) const ADDRESSES: [&str; 1] = [QUERY];

/// The routes.
pub(super) fn router<S: Store>() -> Router<Arc<Hub<S>>> {
    Router::new().route(QUERY, get(query::<S>))
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

/// What the hub knows of a query.
#[utoipa::path(
    get, path = QUERY, tag = "operations",
    params(openapi::QueryPath),
    responses(
        (status = 200, description = "What is known of it.", body = QueryFacts), openapi::OperationProblems,
    ),
)]
pub(super) async fn query<S: Store>(
    _: Operator,
    State(hub): State<Arc<Hub<S>>>,
    names: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<QueryFacts>, Refusal> {
    let missing = |_| Code::QUERY_NOT_FOUND;
    let Path((upstream, id)) = names.map_err(|_| Code::QUERY_NOT_FOUND)?;
    let reference =
        Reference { upstream: upstream.parse().map_err(missing)?, query: id.parse().map_err(missing)? };
    let query = hub.store.query(&reference).await?.ok_or(Code::QUERY_NOT_FOUND)?;
    Ok(Json(facts::query(&query, &hub.topics)))
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
