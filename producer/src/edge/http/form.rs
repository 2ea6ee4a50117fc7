//! The body of `POST /v1/queries`: from bytes to a checked submission.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use schemas::codes::Code;
use schemas::http::Problem;
use schemas::ids::{BankId, Digest, Nonce};
use schemas::keys::SealingKey;
use schemas::rules;
use schemas::time::UnixMillis;
use schemas::wire::{
    Assurance, DocumentType, Factor, FactorKind, KeyAlgorithm, Language, Pretext, PublicKey, Purpose,
    RiskSignals,
};
use zeroize::Zeroizing;

use super::json::{Field, Json, invalid};
use crate::config::is_region;
use crate::domain::identity::{Identity, IdentityError};
use crate::domain::request::{Consent, SubmitRequest};
use crate::texts::consent_texts;

/// base64url (RFC 4648, section 5), with or without padding.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// # Errors
/// `MALFORMED_JSON`, `UNKNOWN_FIELD`, `FIELD_INVALID`, `QUERY_ID_INVALID`, `BANK_UNKNOWN` for what cannot be a bank's
/// id, `BANK_REPEATED`.
pub(crate) fn read(body: &[u8]) -> Result<SubmitRequest, Problem> {
    let [query_id, subject, region, banks, assurance, risk, consent, report_public_key, identity] =
        Field::document(Json::parse(body)?).members([
            "query_id",
            "subject",
            "region",
            "banks",
            "assurance",
            "risk",
            "consent",
            "report_public_key",
            "identity",
        ])?;
    // Names of members are checked on every level before any value is: an identity outside its place is told as such.
    let identity = identity.members(["name", "document_type", "document_number", "phone"])?;
    let assurance = assurance.members(["level", "factors"])?;
    let risk = risk.members(["screen_shared", "on_call", "remote_control", "new_device", "pretext"])?;
    let consent = consent.members([
        "language",
        "text_sha256",
        "scam_warning_acknowledged",
        "purpose",
        "banks",
        "nonce",
        "issued_at",
        "expires_at",
    ])?;
    let (assurance, factors) = read_assurance(assurance)?;
    Ok(SubmitRequest {
        query: read_query_id(query_id)?,
        subject: subject.parse("1 to 64 printable ASCII characters", |text| {
            rules::check_subject(text).ok().map(|()| text.to_owned())
        })?,
        region: region.parse("six digits", |text| is_region(text).then(|| text.to_owned()))?,
        banks: read_banks(banks)?,
        assurance,
        factors,
        risk: read_risk(risk)?,
        consent: read_consent(consent)?,
        report_key: report_public_key.parse("32 bytes in base64url", sealing_key)?,
        identity: read_identity(identity)?,
    })
}

fn read_query_id(field: Field) -> Result<schemas::ids::QueryId, Problem> {
    field.text()?.parse().map_err(Problem::of)
}

fn read_banks(field: Field) -> Result<BTreeSet<BankId>, Problem> {
    let mut banks = BTreeSet::new();
    for item in field.items()? {
        let path = item.path().to_owned();
        let told = |code| Problem::of(code).with_detail(format!("`{path}`"));
        let bank = item.text()?.parse().map_err(told)?;
        if !banks.insert(bank) {
            return Err(told(Code::BANK_REPEATED));
        }
    }
    Ok(banks)
}

fn read_assurance([level, factors]: [Field; 2]) -> Result<(Assurance, Vec<Factor>), Problem> {
    let level = choice(level, "ASSURANCE_", Assurance::from_str_name)?;
    let mut passed: Vec<Factor> = Vec::new();
    for item in factors.items()? {
        let path = item.path().to_owned();
        let [kind, at] = item.members(["kind", "at"])?;
        let kind = choice(kind, "FACTOR_KIND_", FactorKind::from_str_name)?;
        // One time per kind, so that the bank parts of a query stay within their size.
        if passed.iter().any(|factor| factor.kind() == kind) {
            return Err(invalid(&path, "of a kind that is not in the list before"));
        }
        passed.push(Factor { kind: kind.into(), at_ms: time(at)?.0 });
    }
    Ok((level, passed))
}

fn read_risk(
    [screen_shared, on_call, remote_control, new_device, pretext]: [Field; 5],
) -> Result<RiskSignals, Problem> {
    let pretext = match pretext.optional() {
        Some(pretext) => choice(pretext, "PRETEXT_", Pretext::from_str_name)?,
        None => Pretext::Unspecified,
    };
    Ok(RiskSignals {
        screen_shared: screen_shared.flag()?,
        on_call: on_call.flag()?,
        remote_control: remote_control.flag()?,
        new_device: new_device.flag()?,
        pretext: pretext.into(),
    })
}

fn read_consent(fields: [Field; 8]) -> Result<Consent, Problem> {
    let [language, text_sha256, warning, purpose, banks, nonce, issued_at, expires_at] = fields;
    Ok(Consent {
        language: language.parse("zh-CN or en", read_language)?,
        text: text_sha256.parse("64 hex digits", |text| bytes_of_hex(text).map(Digest))?,
        scam_warning_acknowledged: warning.flag()?,
        // Any other purpose is refused as such, not as a spelling.
        purpose: Purpose::from_str_name(&format!("PURPOSE_{}", *purpose.text()?)).unwrap_or_default(),
        banks: read_banks(banks)?,
        nonce: nonce.parse("16 bytes in hex or base64url", |text| {
            bytes_of_hex(text).or_else(|| bytes_of_base64url(text)).map(Nonce)
        })?,
        issued_at: time(issued_at)?,
        expires_at: time(expires_at)?,
    })
}

fn read_language(tag: &str) -> Option<Language> {
    consent_texts().iter().find(|text| text.tag == tag).map(|text| text.language)
}

fn read_identity([name, document_type, document_number, phone]: [Field; 4]) -> Result<Identity, Problem> {
    let paths = [&name, &document_type, &document_number, &phone].map(|field| field.path().to_owned());
    let document_type = choice(document_type, "DOCUMENT_TYPE_", DocumentType::from_str_name)?;
    let [mut name, mut number, mut phone] = [name.text()?, document_number.text()?, phone.text()?];
    // Moved out, not copied: what is left behind is empty.
    let take = |text: &mut Zeroizing<String>| std::mem::take(&mut **text);
    Identity::new(take(&mut name), document_type, take(&mut number), take(&mut phone)).map_err(|error| {
        let path = match error {
            IdentityError::Name => &paths[0],
            IdentityError::DocumentType => &paths[1],
            IdentityError::DocumentNumber => &paths[2],
            IdentityError::Phone => &paths[3],
        };
        Problem::of(Code::FIELD_INVALID).with_detail(format!("`{path}`: {error}"))
    })
}

/// A wire name without its prefix. `UNSPECIFIED` says nothing and is none.
fn choice<T: Default + PartialEq>(
    field: Field,
    prefix: &str,
    from_name: fn(&str) -> Option<T>,
) -> Result<T, Problem> {
    field.parse("one of the documented codes", |text| {
        from_name(&format!("{prefix}{text}")).filter(|value| *value != T::default())
    })
}

fn time(field: Field) -> Result<UnixMillis, Problem> {
    field.parse("an RFC 3339 time", UnixMillis::parse)
}

fn sealing_key(text: &str) -> Option<SealingKey> {
    let raw = bytes_of_base64url::<32>(text)?.to_vec().into();
    SealingKey::from_wire(&PublicKey { algorithm: KeyAlgorithm::X25519.into(), raw }).ok()
}

fn bytes_of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
}

fn bytes_of_base64url<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64URL.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
