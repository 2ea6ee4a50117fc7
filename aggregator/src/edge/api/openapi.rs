//! The documentation of this interface (OpenAPI 3.1), printed by `aggregator openapi` and served at `/openapi.json`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemas::codes::Code;
use schemas::http::{Problem, QueryStatus};
use schemas::openapi::{problems, published, text};
use utoipa::openapi::{RefOr, Response};
use utoipa::{IntoParams, IntoResponses, OpenApi};

use crate::edge::{audit, operations};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "cardquery aggregator",
        description = "For producers: the status of their upstream's queries, and reports. For the operator: what the hub \
                       knows of queries and banks. Every refusal is a problem document (RFC 9457): branch on `code`. What \
                       does not exist and what belongs to somebody else are refused alike.",
    ),
    paths(
        audit::digests,
        super::status,
        super::report,
        operations::banks,
        operations::pause,
        operations::resume,
        operations::overview,
        operations::query,
    ),
    components(schemas(Problem, QueryStatus)),
    tags(
        (name = "queries", description = "What producers forward for a wallet."),
        (name = "audit", description = "What `cardquery audit` asks. To anybody but an auditor this address does not exist."),
        (name = "operations", description = "What `cardquery` asks. To anybody but the operator these addresses do not \
                                             exist."),
    ),
)]
struct Interface;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let certificate = "A client certificate of the authority in `tls.ca_file` whose name is `upstream-<id>`: it opens the queries of \
         that upstream; `operator`: it opens the operations; or `auditor`: it opens what is for auditors. Without `tls` the service listens on a loopback address \
         only, believes the path, and has neither of these.";
    text(&published(Interface::openapi(), certificate))
});

/// The document, as JSON.
pub fn document() -> &'static str {
    &DOCUMENT
}

/// Which query.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::edge) struct QueryPath {
    /// Party id of the upstream.
    #[param(pattern = "^[a-z0-9]{2,16}$")]
    #[allow(dead_code)]
    upstream: String,
    /// The query's id.
    #[param(pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")]
    #[allow(dead_code)]
    id: String,
}

/// What a question for a status can be refused with.
pub(super) struct StatusProblems;

impl IntoResponses for StatusProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[Code::QUERY_NOT_FOUND, Code::RATE_LIMITED, Code::INTERNAL])
    }
}

/// What a question of the operator can be refused with.
pub(in crate::edge) struct OperationProblems;

impl IntoResponses for OperationProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[Code::ROUTE_UNKNOWN, Code::QUERY_NOT_FOUND, Code::INTERNAL])
    }
}

/// What a question of an auditor can be refused with.
pub(in crate::edge) struct AuditProblems;

impl IntoResponses for AuditProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[Code::MESSAGE_MALFORMED, Code::BODY_TOO_LARGE, Code::ROUTE_UNKNOWN, Code::INTERNAL])
    }
}

/// What a question of the operator about banks can be refused with.
pub(in crate::edge) struct BankProblems;

impl IntoResponses for BankProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            Code::ROUTE_UNKNOWN,
            Code::MALFORMED_JSON,
            Code::UNSUPPORTED_MEDIA_TYPE,
            Code::BODY_TOO_LARGE,
            Code::FIELD_INVALID,
            Code::BANK_UNKNOWN,
            Code::INTERNAL,
        ])
    }
}

/// What a view grant can be refused with.
pub(super) struct ReportProblems;

impl IntoResponses for ReportProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            Code::MESSAGE_MALFORMED,
            Code::BODY_TOO_LARGE,
            Code::UPSTREAM_UNKNOWN,
            Code::UPSTREAM_NOT_ACTIVE,
            Code::KEY_UNKNOWN,
            Code::KEY_NOT_YET_VALID,
            Code::KEY_REVOKED,
            Code::SIGNATURE_INVALID,
            Code::QUERY_NOT_FOUND,
            Code::REPORT_NOT_READY,
            Code::REPORT_ERASED,
            Code::QUERY_WITHDRAWN,
            Code::QUERY_REJECTED,
            Code::GRANT_EXPIRED,
            Code::GRANT_INVALID,
            Code::GRANT_USED,
            Code::DEVICE_MISMATCH,
            Code::VIEW_LOCKED,
            Code::RATE_LIMITED,
            Code::HUB_UNAVAILABLE,
            Code::INTERNAL,
        ])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_committed_document_is_the_one_of_the_code() {
        let committed = include_str!("../../../../docs/openapi/aggregator.json");
        assert!(
            committed == document(),
            "run: cargo run -p aggregator --bin aggregator -- openapi > docs/openapi/aggregator.json"
        );
        let document: Value = serde_json::from_str(document()).expect("JSON");
        let paths: Vec<_> = document["paths"].as_object().expect("paths").keys().collect();
        let own = [super::super::QUERY, super::super::REPORT];
        let served: Vec<&str> =
            audit::ADDRESSES.into_iter().chain(operations::ADDRESSES).chain(own).collect();
        assert_eq!(paths, served);
    }
}
