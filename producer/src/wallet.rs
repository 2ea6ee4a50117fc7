//! What a wallet does around a query: its back end and the person's device. For the demo and for tests.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use schemas::http::short_name;
use schemas::ids::{BankId, KeyId, Nonce, QueryId, Reference};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::rules::MAX_CONSENT_VALIDITY;
use schemas::time::UnixMillis;
use schemas::view::{self, Grant, MAX_GRANT_VALIDITY};
use schemas::wire::{Assurance, DocumentType, Factor, FactorKind, Pretext, Purpose, RiskSignals};
use serde_json::{Value, json};

use crate::domain::identity::{Identity, IdentityError};
use crate::domain::request::{Consent, SubmitRequest};
use crate::texts::{ConsentText, consent_texts};

/// A user of the wallet, as its back end has verified them. Does not print.
#[derive(Clone)]
pub struct Person {
    /// Pseudonym within the upstream.
    pub subject: String,
    /// Name.
    pub name: String,
    /// Kind of document.
    pub document_type: DocumentType,
    /// Number of the document.
    pub document_number: String,
    /// Phone number, E.164.
    pub phone: String,
}

/// What the person chose and agreed to.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Administrative division code.
    pub region: String,
    /// The chosen banks.
    pub banks: BTreeSet<BankId>,
    /// The consent text that they read.
    pub text: ConsentText,
    /// What the wallet saw around the person.
    pub risk: RiskSignals,
}

/// A query before it is sent, and the key that only the device has.
pub struct Prepared {
    /// What the back end submits.
    pub request: SubmitRequest,
    /// What the device keeps, to open the report.
    pub report_key: OpeningKey,
}

/// Prepares a query: the person read the text at `at`, acknowledged the warning, and passed password and
/// device key.
///
/// # Errors
/// What of the person's identity has the wrong form.
pub fn prepare(person: &Person, choice: &Choice, at: UnixMillis) -> Result<Prepared, IdentityError> {
    let identity = identity(person)?;
    let report_key = OpeningKey::generate();
    let request = SubmitRequest {
        query: QueryId::generate(),
        subject: person.subject.clone(),
        region: choice.region.clone(),
        banks: choice.banks.clone(),
        assurance: Assurance::RealName,
        factors: factors(at),
        risk: choice.risk,
        consent: Consent {
            language: choice.text.language,
            text: choice.text.sha256,
            scam_warning_acknowledged: true,
            purpose: Purpose::AntiFraudSelfCheck,
            banks: choice.banks.clone(),
            nonce: fresh_nonce(),
            issued_at: at,
            expires_at: at + MAX_CONSENT_VALIDITY,
        },
        report_key: report_key.public().clone(),
        identity,
    };
    Ok(Prepared { request, report_key })
}

/// Prepares the release of a held query: the person read the text again at `at`, was seen as `risk` says, and passed
/// password and device key again. Content and report key are those of the held one.
///
/// # Errors
/// What of the person's identity has the wrong form.
pub fn release(
    held: &SubmitRequest,
    person: &Person,
    risk: RiskSignals,
    at: UnixMillis,
) -> Result<SubmitRequest, IdentityError> {
    Ok(SubmitRequest {
        query: held.query,
        subject: held.subject.clone(),
        region: held.region.clone(),
        banks: held.banks.clone(),
        assurance: held.assurance,
        factors: factors(at),
        risk,
        consent: Consent {
            nonce: fresh_nonce(),
            issued_at: at,
            expires_at: at + MAX_CONSENT_VALIDITY,
            ..held.consent.clone()
        },
        report_key: held.report_key.clone(),
        identity: identity(person)?,
    })
}

fn identity(person: &Person) -> Result<Identity, IdentityError> {
    Identity::new(
        person.name.as_str(),
        person.document_type,
        person.document_number.as_str(),
        person.phone.as_str(),
    )
}

fn factors(at: UnixMillis) -> Vec<Factor> {
    let factor = |kind: FactorKind| Factor { kind: kind.into(), at_ms: at.0 };
    vec![factor(FactorKind::Password), factor(FactorKind::DeviceKey)]
}

/// Nobody asked, and nothing was noticed.
pub fn no_risk() -> RiskSignals {
    RiskSignals { pretext: Pretext::None.into(), ..RiskSignals::default() }
}

/// The body of `POST /v1/queries`, and of a release, for a request of `person`.
pub fn body(request: &SubmitRequest, person: &Person) -> Value {
    let consent = &request.consent;
    let text = consent_texts().iter().find(|text| text.language == consent.language);
    let factors: Vec<Value> = request
        .factors
        .iter()
        .map(|factor| {
            let kind = short_name(factor.kind().as_str_name(), "FACTOR_KIND_");
            json!({"kind": kind, "at": UnixMillis(factor.at_ms).to_string()})
        })
        .collect();
    let told = (request.risk.pretext() != Pretext::Unspecified).then(|| request.risk.pretext());
    let pretext = told.map(|told| short_name(told.as_str_name(), "PRETEXT_"));
    json!({
        "query_id": request.query.to_string(),
        "subject": request.subject,
        "region": request.region,
        "banks": request.banks,
        "assurance": {"level": short_name(request.assurance.as_str_name(), "ASSURANCE_"), "factors": factors},
        "risk": {
            "screen_shared": request.risk.screen_shared,
            "on_call": request.risk.on_call,
            "remote_control": request.risk.remote_control,
            "new_device": request.risk.new_device,
            "pretext": pretext,
        },
        "consent": {
            "language": text.map(|text| text.tag),
            "text_sha256": consent.text.to_string(),
            "scam_warning_acknowledged": consent.scam_warning_acknowledged,
            "purpose": short_name(consent.purpose.as_str_name(), "PURPOSE_"),
            "banks": consent.banks,
            "nonce": consent.nonce.to_string(),
            "issued_at": consent.issued_at.to_string(),
            "expires_at": consent.expires_at.to_string(),
        },
        "report_public_key": URL_SAFE_NO_PAD.encode(request.report_key.to_wire().raw),
        "identity": {
            "name": person.name,
            "document_type": short_name(person.document_type.as_str_name(), "DOCUMENT_TYPE_"),
            "document_number": person.document_number,
            "phone": person.phone,
        },
    })
}

/// Signs a view grant after the payment password was entered at `at`: the encoded body of
/// `POST /v1/queries/{id}/report`.
pub fn grant_view(
    reference: &Reference,
    subject: &str,
    report_key: KeyId,
    at: UnixMillis,
    upstream_key: &SigningKey,
) -> Bytes {
    let validity: Duration = MAX_GRANT_VALIDITY;
    let grant = Grant {
        reference: reference.clone(),
        subject: subject.to_owned(),
        report_key,
        issued_at: at,
        expires_at: at + validity,
        nonce: fresh_nonce(),
    };
    view::grant(&grant, upstream_key)
}

fn fresh_nonce() -> Nonce {
    Nonce(rand::random())
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Person(redacted)")
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("request", &self.request)
            .field("report_key", &self.report_key)
            .finish()
    }
}
