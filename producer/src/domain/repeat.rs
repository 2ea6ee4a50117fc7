//! What the hub has already, and what it means for a submission or a release.

use schemas::codes::Code;
use schemas::http::{QueryStatus, state_name};
use schemas::ids::Digest;
use schemas::time::UnixMillis;
use schemas::wire::QueryState;

/// The refusal of content `digest` under an id that the hub knows as `known`.
pub(crate) fn refusal(known: &QueryStatus, digest: Digest) -> Code {
    if known.content_digest == digest.to_string() { Code::DUPLICATE_QUERY } else { Code::ID_REUSED }
}

/// Whether a release with content `digest` is worth being published at `at` for a query that the hub knows as `known`.
///
/// # Errors
/// `NOT_HELD`, `ID_REUSED`, `HOLD_NOT_OVER`, `HOLD_EXPIRED`: the hub would refuse it.
pub(crate) fn may_release(known: &QueryStatus, digest: Digest, at: UnixMillis) -> Result<(), Code> {
    if known.content_digest != digest.to_string() {
        return Err(Code::ID_REUSED);
    }
    if known.state != state_name(QueryState::Held) {
        return Err(Code::NOT_HELD);
    }
    let hold = known.hold.as_ref();
    let time = |text: &String| UnixMillis::parse(text);
    if hold.and_then(|hold| time(&hold.release_from)).is_some_and(|from| at < from) {
        return Err(Code::HOLD_NOT_OVER);
    }
    if hold.and_then(|hold| time(&hold.release_until)).is_some_and(|until| at > until) {
        return Err(Code::HOLD_EXPIRED);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::http::HoldStatus;

    fn held(content: Digest) -> QueryStatus {
        QueryStatus {
            query_id: String::new(),
            state: "HELD".to_owned(),
            code: Some("HELD_FOR_RISK".to_owned()),
            hold: Some(HoldStatus {
                release_from: UnixMillis(1_795_420_800_000).to_string(),
                release_until: UnixMillis(1_795_420_900_000).to_string(),
            }),
            accepted_at: String::new(),
            deadline_at: String::new(),
            finalised_at: None,
            erase_on: String::new(),
            banks: 1,
            answered: 0,
            content_digest: content.to_string(),
        }
    }

    #[test]
    fn a_release_is_published_when_the_hub_would_take_it_and_refused_with_its_code_otherwise() {
        let (same, other) = (Digest::of(b"same"), Digest::of(b"other"));
        let release = |digest, at| may_release(&held(same), digest, UnixMillis(at));
        assert_eq!(release(same, 1_795_420_799_999), Err(Code::HOLD_NOT_OVER));
        assert_eq!(release(same, 1_795_420_800_000), Ok(()));
        assert_eq!(release(same, 1_795_420_900_000), Ok(()));
        assert_eq!(release(same, 1_795_420_900_001), Err(Code::HOLD_EXPIRED));
        assert_eq!(release(other, 1_795_420_800_000), Err(Code::ID_REUSED));
        for state in ["COLLECTING", "WITHDRAWN", "CANCELLED", "REJECTED", "FINAL_PARTIAL"] {
            let status = QueryStatus { state: state.to_owned(), hold: None, ..held(same) };
            assert_eq!(
                may_release(&status, same, UnixMillis(1_795_420_800_000)),
                Err(Code::NOT_HELD),
                "{state}"
            );
        }
    }
}
