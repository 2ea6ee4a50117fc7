//! What a query that the hub has already means for the same id sent again.

use schemas::codes::Code;
use schemas::http::QueryStatus;
use schemas::ids::Digest;

/// The refusal of content `digest` under an id that the hub knows as `known`.
pub(crate) fn refusal(known: &QueryStatus, digest: Digest) -> Code {
    if known.content_digest == digest.to_string() { Code::DUPLICATE_QUERY } else { Code::ID_REUSED }
}
