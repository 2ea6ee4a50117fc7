//! A submission as the upstream's back end hands it over, checked for form.

use std::collections::BTreeSet;
use std::fmt;

use schemas::ids::{BankId, Digest, Nonce, QueryId};
use schemas::keys::SealingKey;
use schemas::submission::{self, Terms};
use schemas::time::UnixMillis;
use schemas::wire::{Assurance, Factor, Language, Purpose, RiskSignals};

use super::identity::Identity;

/// One query. `Debug` prints its id only.
pub struct SubmitRequest {
    /// The id that the upstream chose: the idempotency key.
    pub query: QueryId,
    /// Pseudonym of the person within the upstream, 1 to 64 bytes of printable ASCII.
    pub subject: String,
    /// Administrative division code, six digits.
    pub region: String,
    /// The chosen banks.
    pub banks: BTreeSet<BankId>,
    /// How well the upstream knows its user.
    pub assurance: Assurance,
    /// The factors passed for this consent.
    pub factors: Vec<Factor>,
    /// What the wallet saw around the person.
    pub risk: RiskSignals,
    /// What the person agreed to.
    pub consent: Consent,
    /// The device's key for this one query.
    pub report_key: SealingKey,
    /// Who asks.
    pub identity: Identity,
}

/// What the person agreed to, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Language in which the person read the text, and in which the SMS is written.
    pub language: Language,
    /// SHA-256 of the text.
    pub text: Digest,
    /// Whether the person acknowledged the scam warning.
    pub scam_warning_acknowledged: bool,
    /// What the query may be used for.
    pub purpose: Purpose,
    /// The banks that the person read.
    pub banks: BTreeSet<BankId>,
    /// Makes the consent the only one of its kind.
    pub nonce: Nonce,
    /// When the person consented.
    pub issued_at: UnixMillis,
    /// Until when the consent may be used.
    pub expires_at: UnixMillis,
}

impl SubmitRequest {
    /// What hub and banks judge alike.
    pub fn terms(&self) -> Terms {
        Terms {
            purpose: self.consent.purpose,
            issued_at: self.consent.issued_at,
            expires_at: self.consent.expires_at,
            nonce: self.consent.nonce,
            consent_text: self.consent.text,
            assurance: self.assurance,
            factors: self.factors.clone(),
            report_key: self.report_key.clone(),
        }
    }

    /// What makes two submissions under one id the same query; never identity or phone.
    pub fn content_digest(&self) -> Digest {
        submission::content_digest(&self.terms(), &self.subject, &self.region, self.banks.iter())
    }
}

impl fmt::Debug for SubmitRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitRequest").field("query", &self.query).finish_non_exhaustive()
    }
}
