//! What must hold before anything is sealed.

use schemas::codes::Code;
use schemas::ids::{KeyId, UpstreamId};
use schemas::registry::Registry;
use schemas::rules::{self, Asked, Policy};
use schemas::time::UnixMillis;

use super::request::SubmitRequest;

/// The hub's own gates, and what only the producer can see: that the consent names the chosen banks, and that its
/// signature will count.
pub(crate) fn check(
    request: &SubmitRequest,
    (upstream, signer): (&UpstreamId, KeyId),
    policy: &Policy,
    registry: &Registry,
    at: UnixMillis,
) -> Result<(), Code> {
    let asked = Asked {
        upstream,
        terms: &request.terms(),
        scam_warning_acknowledged: request.consent.scam_warning_acknowledged,
        subject: &request.subject,
        region: &request.region,
        banks: request.banks.iter(),
    };
    rules::check_asked(asked, policy, registry, at)?;
    if request.consent.banks != request.banks {
        return Err(Code::CONSENT_BANKS_MISMATCH);
    }
    check_signer((upstream, signer), registry, at)
}

/// Whether what this producer signs now will verify.
pub(crate) fn check_signer(
    (upstream, signer): (&UpstreamId, KeyId),
    registry: &Registry,
    at: UnixMillis,
) -> Result<(), Code> {
    let party = registry.upstream(upstream).ok_or(Code::UPSTREAM_UNKNOWN)?;
    party.verifying_key(signer, at).map(|_| ())
}

/// Whether a refusal may only mean that the registry was not read to its end.
pub(crate) fn may_be_news(code: Code) -> bool {
    [
        Code::BANK_UNKNOWN,
        Code::BANK_NOT_ACTIVE,
        Code::BANK_NOT_IN_REGION,
        Code::UPSTREAM_UNKNOWN,
        Code::UPSTREAM_NOT_ACTIVE,
        Code::PARTY_UNKNOWN,
        Code::KEY_UNKNOWN,
    ]
    .contains(&code)
}
