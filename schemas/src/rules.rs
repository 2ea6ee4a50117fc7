//! The gates. The producer asks them at intake, the hub asks them again, a bank asks its share.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::codes::Code;
use crate::ids::{BankId, Digest, UpstreamId};
use crate::registry::Registry;
use crate::submission::{HubQuery, MAX_BANKS, Terms};
use crate::time::UnixMillis;
use crate::wire::{Assurance, Factor, FactorKind, Purpose};

/// Longest validity of a consent.
pub const MAX_CONSENT_VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// What is in force now. Configuration.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Regions in which the service is open.
    pub open_regions: BTreeSet<String>,
    /// SHA-256 of the consent texts in force.
    pub consent_texts: BTreeSet<Digest>,
    /// Greatest age of an authentication factor when the query is accepted.
    pub max_factor_age: Duration,
}

/// What the gates look at: all that is known of a query before anything is sealed.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a, B> {
    /// Whose query it is.
    pub upstream: &'a UpstreamId,
    /// What hub and banks judge alike.
    pub terms: &'a Terms,
    /// Whether the person acknowledged the scam warning.
    pub scam_warning_acknowledged: bool,
    /// Pseudonym of the person within the upstream.
    pub subject: &'a str,
    /// Administrative division code.
    pub region: &'a str,
    /// The chosen banks.
    pub banks: B,
}

/// What the hub judges of a signed query, at the time of acceptance: [`check_asked`] of its content.
///
/// # Errors
/// The code of the first gate that is closed.
pub fn check_query(
    query: &HubQuery,
    policy: &Policy,
    registry: &Registry,
    at: UnixMillis,
) -> Result<(), Code> {
    let asked = Asked {
        upstream: &query.reference.upstream,
        terms: &query.terms,
        scam_warning_acknowledged: query.scam_warning_acknowledged,
        subject: &query.subject,
        region: &query.region,
        banks: query.banks.keys(),
    };
    check_asked(asked, policy, registry, at)
}

/// What producer and hub judge alike. `at` is now at intake, and the time of acceptance at the hub.
///
/// # Errors
/// The code of the first gate that is closed.
pub fn check_asked<'a>(
    asked: Asked<'a, impl ExactSizeIterator<Item = &'a BankId>>,
    policy: &Policy,
    registry: &Registry,
    at: UnixMillis,
) -> Result<(), Code> {
    let upstream = registry.upstream(asked.upstream).ok_or(Code::UPSTREAM_UNKNOWN)?;
    if !upstream.is_active() {
        return Err(Code::UPSTREAM_NOT_ACTIVE);
    }
    check_region(asked.region, policy)?;
    check_banks(asked.banks, asked.region, registry)?;
    check_terms(asked.terms, policy.max_factor_age, at)?;
    if !policy.consent_texts.contains(&asked.terms.consent_text) {
        return Err(Code::CONSENT_TEXT_UNKNOWN);
    }
    if !asked.scam_warning_acknowledged {
        return Err(Code::WARNING_NOT_ACKNOWLEDGED);
    }
    check_subject(asked.subject)
}

/// Whether the service is open in `region`.
///
/// # Errors
/// `REGION_NOT_OPEN`.
pub fn check_region(region: &str, policy: &Policy) -> Result<(), Code> {
    policy.open_regions.contains(region).then_some(()).ok_or(Code::REGION_NOT_OPEN)
}

/// Whether the banks may be asked.
///
/// # Errors
/// `BANKS_NONE`, `BANKS_TOO_MANY`, `BANK_UNKNOWN`, `BANK_NOT_ACTIVE`, `BANK_NOT_IN_REGION`.
pub fn check_banks<'a>(
    banks: impl ExactSizeIterator<Item = &'a BankId>,
    region: &str,
    registry: &Registry,
) -> Result<(), Code> {
    if banks.len() == 0 {
        return Err(Code::BANKS_NONE);
    }
    if banks.len() > MAX_BANKS {
        return Err(Code::BANKS_TOO_MANY);
    }
    for bank in banks {
        let party = registry.bank(bank).ok_or(Code::BANK_UNKNOWN)?;
        if !party.is_active() {
            return Err(Code::BANK_NOT_ACTIVE);
        }
        if !party.regions.iter().any(|served| served == region) {
            return Err(Code::BANK_NOT_IN_REGION);
        }
    }
    Ok(())
}

/// What hub and banks judge alike, at the time of acceptance, so that a backlog rejects nobody.
///
/// # Errors
/// `PURPOSE_NOT_ALLOWED`, `ASSURANCE_TOO_LOW`, a `CONSENT_…` or `FACTOR_…` code.
pub fn check_terms(terms: &Terms, max_factor_age: Duration, at: UnixMillis) -> Result<(), Code> {
    if terms.purpose != Purpose::AntiFraudSelfCheck {
        return Err(Code::PURPOSE_NOT_ALLOWED);
    }
    if terms.assurance != Assurance::RealName {
        return Err(Code::ASSURANCE_TOO_LOW);
    }
    if terms.expires_at > terms.issued_at + MAX_CONSENT_VALIDITY {
        return Err(Code::CONSENT_TOO_LONG);
    }
    if at < terms.issued_at {
        return Err(Code::CONSENT_NOT_YET_VALID);
    }
    if at > terms.expires_at {
        return Err(Code::CONSENT_EXPIRED);
    }
    check_factors(&terms.factors, max_factor_age, at)
}

fn check_factors(factors: &[Factor], max_age: Duration, at: UnixMillis) -> Result<(), Code> {
    let mut classes = BTreeSet::new();
    for factor in factors {
        if UnixMillis(factor.at_ms) > at {
            return Err(Code::FACTOR_IN_FUTURE);
        }
        if at.since(UnixMillis(factor.at_ms)) > max_age {
            return Err(Code::FACTOR_TOO_OLD);
        }
        classes.extend(class(factor.kind()));
    }
    (classes.len() >= 2).then_some(()).ok_or(Code::FACTORS_TOO_FEW)
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum FactorClass {
    Knowledge,
    Possession,
    Inherence,
}

fn class(kind: FactorKind) -> Option<FactorClass> {
    match kind {
        FactorKind::Unspecified => None,
        FactorKind::Password => Some(FactorClass::Knowledge),
        FactorKind::SmsCode | FactorKind::DeviceKey => Some(FactorClass::Possession),
        FactorKind::Face | FactorKind::Fingerprint => Some(FactorClass::Inherence),
    }
}

/// A pseudonym, not an identity: short printable ASCII.
///
/// # Errors
/// `FIELD_INVALID`.
pub fn check_subject(subject: &str) -> Result<(), Code> {
    let valid = (1..=64).contains(&subject.len()) && subject.bytes().all(|b| b.is_ascii_graphic());
    valid.then_some(()).ok_or(Code::FIELD_INVALID)
}
