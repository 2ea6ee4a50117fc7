//! The documentation of this interface (OpenAPI 3.1), printed by `producer openapi` and served at `/openapi.json`.
//!
//! Bodies of queries are read field by field in `form.rs`, so that no refusal repeats what was sent; their types here are
//! for the document alone. A test holds both to the same names.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemas::codes::Code;
use schemas::http::{Problem, short_name};
use schemas::openapi::{problems, published, text};
use schemas::wire::{Assurance, DocumentType, FactorKind, Pretext, Purpose};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{ObjectBuilder, RefOr, Response, Type};
use utoipa::{IntoParams, IntoResponses, OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "cardquery producer",
        description = "For a wallet's back end: submit queries, follow them, get reports.\n\nEvery refusal is a problem \
                       document (RFC 9457): branch on `code`. Where a person can meet the code, `person` holds the words \
                       to show, in the language that `Accept-Language` prefers (`zh-CN`, `en`; Chinese otherwise). Unknown \
                       fields are refused. Times are RFC 3339.",
    ),
    paths(
        super::submit, super::status, super::follow, super::release, super::revoke, super::report, super::banks, super::consent_text,
        super::person_texts
    ),
    components(schemas(Problem)),
    tags(
        (name = "queries", description = "One query, from its submission to its report."),
        (name = "reference", description = "What a wallet shows around a query."),
    ),
)]
struct Interface;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let certificate = "A client certificate of the authority in `http.tls.ca_file`. With `--dev` the service takes callers \
                       without one, from the same machine only.";
    let mut document = published(Interface::openapi(), certificate);
    document["paths"][super::QUERIES]["post"]["requestBody"]["content"][super::JSON]["example"] = example();
    text(&document)
});

/// The document, as JSON.
pub(crate) fn document() -> &'static str {
    &DOCUMENT
}

/// A query as it may be sent.
fn example() -> Value {
    json!(QueryForm {
        query_id: "019c0101-0101-7101-8101-010101010101",
        subject: "u-7f3a9c",
        region: "310000",
        banks: vec!["anhe", "beichuan"],
        assurance: AssuranceForm {
            level: "REAL_NAME",
            factors: vec![
                FactorForm { kind: "PASSWORD", at: "2026-11-23T08:00:00.000Z" },
                FactorForm { kind: "DEVICE_KEY", at: "2026-11-23T08:00:00.000Z" },
            ],
        },
        risk: RiskForm {
            screen_shared: false,
            on_call: false,
            remote_control: false,
            new_device: false,
            pretext: Some("NONE"),
        },
        consent: ConsentForm {
            language: "zh-CN",
            text_sha256: "49610080a8c8f1f6341fbdbca86951fe6fcc84d8593ff5d4312751f896f6d0e0",
            scam_warning_acknowledged: true,
            purpose: "ANTI_FRAUD_SELF_CHECK",
            banks: vec!["anhe", "beichuan"],
            nonce: "8f1d0c5e7a9b4c3d2e1f0a9b8c7d6e5f",
            issued_at: "2026-11-23T08:00:00.000Z",
            expires_at: "2026-11-24T08:00:00.000Z",
        },
        report_public_key: "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08",
        identity: IdentityForm {
            name: "王样一",
            document_type: "RESIDENT_ID",
            document_number: "310000199003070025",
            phone: "+8613800000001",
        },
    })
}

/// One query.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryForm {
    /// A UUIDv7 that the wallet chooses: the idempotency key.
    #[schema(pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")]
    query_id: &'static str,
    /// Pseudonym of the person within the wallet; never an identity or a hash of one.
    #[schema(pattern = "^[!-~]{1,64}$")]
    subject: &'static str,
    /// Administrative division code.
    #[schema(pattern = "^[0-9]{6}$")]
    region: &'static str,
    /// Ids of the chosen banks, each once.
    #[schema(schema_with = bank_ids)]
    banks: Vec<&'static str>,
    assurance: AssuranceForm,
    risk: RiskForm,
    consent: ConsentForm,
    /// X25519, 32 bytes in base64url, made on the device for this one query.
    #[schema(pattern = "^[A-Za-z0-9_-]{43}=?$")]
    report_public_key: &'static str,
    identity: IdentityForm,
}

/// How well the wallet knows its user.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AssuranceForm {
    #[schema(schema_with = assurances)]
    level: &'static str,
    /// Passed for this consent: at least two of different classes, each kind once.
    factors: Vec<FactorForm>,
}

/// One authentication factor.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FactorForm {
    #[schema(schema_with = factor_kinds)]
    kind: &'static str,
    /// When it was passed.
    #[schema(format = DateTime)]
    at: &'static str,
}

/// What the wallet saw around the person.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RiskForm {
    screen_shared: bool,
    on_call: bool,
    remote_control: bool,
    new_device: bool,
    /// Answer to "did anyone ask you to do this?".
    #[schema(schema_with = pretexts)]
    pretext: Option<&'static str>,
}

/// What the person agreed to.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConsentForm {
    /// Language of the text and of the SMS.
    #[schema(pattern = "^(zh-CN|en)$")]
    language: &'static str,
    /// SHA-256 of the text that the person read.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    text_sha256: &'static str,
    scam_warning_acknowledged: bool,
    #[schema(schema_with = purposes)]
    purpose: &'static str,
    /// The same banks as those of the query.
    #[schema(schema_with = bank_ids)]
    banks: Vec<&'static str>,
    /// 16 random bytes in hex or base64url, used for one consent only.
    #[schema(pattern = "^([0-9a-fA-F]{32}|[A-Za-z0-9_-]{22}(==)?)$")]
    nonce: &'static str,
    #[schema(format = DateTime)]
    issued_at: &'static str,
    /// At most 24 h after `issued_at`.
    #[schema(format = DateTime)]
    expires_at: &'static str,
}

/// From the wallet's verified profile; sealed at once, and kept nowhere.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct IdentityForm {
    #[schema(min_length = 1)]
    name: &'static str,
    #[schema(schema_with = document_types)]
    document_type: &'static str,
    /// One that such a document can have.
    #[schema(min_length = 1)]
    document_number: &'static str,
    /// E.164.
    #[schema(pattern = r"^\+[1-9][0-9]{1,14}$")]
    phone: &'static str,
}

/// An object without members.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Which query.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct QueryPath {
    /// The query's id.
    #[param(pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")]
    #[allow(dead_code)]
    id: String,
}

/// Which language.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct LanguagePath {
    /// BCP 47 tag: `zh-CN` or `en`.
    #[param(pattern = "^(zh-CN|en)$")]
    #[allow(dead_code)]
    lang: String,
}

type Property = ObjectBuilder;

fn words(names: impl IntoIterator<Item = &'static str>) -> Property {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names))
}

/// The names of an enumeration of the contract without their prefix; `UNSPECIFIED` says nothing and is none.
fn names<T: TryFrom<i32>>(prefix: &str, name: fn(&T) -> &'static str) -> Vec<&'static str> {
    let values = (1..256).filter_map(|number| T::try_from(number).ok());
    values.map(|value| short_name(name(&value), prefix)).collect()
}

fn assurances() -> Property {
    words(names("ASSURANCE_", Assurance::as_str_name))
}

fn factor_kinds() -> Property {
    words(names("FACTOR_KIND_", FactorKind::as_str_name))
}

fn purposes() -> Property {
    words(names("PURPOSE_", Purpose::as_str_name)).description(Some("Any other purpose is refused."))
}

fn document_types() -> Property {
    words(names("DOCUMENT_TYPE_", DocumentType::as_str_name))
}

fn pretexts() -> Property {
    let values = names("PRETEXT_", Pretext::as_str_name).into_iter().map(Value::from).chain([Value::Null]);
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(values))
        .description(Some(
            "Answer to \"did anyone ask you to do this?\"; null or left out when it was not asked.",
        ))
}

fn bank_ids() -> utoipa::openapi::schema::ArrayBuilder {
    let id = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[a-z0-9]{2,16}$"));
    utoipa::openapi::schema::ArrayBuilder::new()
        .items(id)
        .min_items(Some(1))
        .max_items(Some(schemas::submission::MAX_BANKS))
        .unique_items(true)
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $($code:ident),+;)+) => {
        $(
            $(#[$doc])*
            pub(super) struct $name;

            impl $name {
                const CODES: &[Code] = &[$(Code::$code),+];
            }

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    problems(Self::CODES)
                }
            }
        )+
    };
}

refusals! {
    /// What a submission can be refused with.
    SubmitProblems:
        MALFORMED_JSON, UNKNOWN_FIELD, FIELD_INVALID, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, QUERY_ID_INVALID,
        DUPLICATE_QUERY, ID_REUSED, OUTCOME_UNKNOWN, KAFKA_UNAVAILABLE, INTERNAL,
        REGION_NOT_OPEN, BANKS_NONE, BANKS_TOO_MANY, BANK_REPEATED, BANK_UNKNOWN, BANK_NOT_ACTIVE, BANK_NOT_IN_REGION,
        ASSURANCE_TOO_LOW, FACTORS_TOO_FEW, FACTOR_TOO_OLD, FACTOR_IN_FUTURE, PURPOSE_NOT_ALLOWED,
        CONSENT_TEXT_UNKNOWN, CONSENT_EXPIRED, CONSENT_NOT_YET_VALID, CONSENT_TOO_LONG, CONSENT_BANKS_MISMATCH,
        WARNING_NOT_ACKNOWLEDGED, MESSAGE_TOO_LARGE, UPSTREAM_UNKNOWN, UPSTREAM_NOT_ACTIVE, PARTY_UNKNOWN,
        KEY_UNKNOWN, KEY_NOT_YET_VALID, KEY_REVOKED, KEY_INVALID, SEAL_CONTENT_TOO_LARGE;
    /// What a question for a status can be refused with.
    StatusProblems: QUERY_ID_INVALID, QUERY_NOT_FOUND, RATE_LIMITED, HUB_UNAVAILABLE, INTERNAL;
    /// What a listener can be refused with before the stream begins; later it is an event.
    FollowProblems: QUERY_ID_INVALID, HUB_UNAVAILABLE;
    /// What a withdrawal can be refused with.
    RevokeProblems:
        QUERY_ID_INVALID, MALFORMED_JSON, UNKNOWN_FIELD, FIELD_INVALID, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE,
        UPSTREAM_UNKNOWN, UPSTREAM_NOT_ACTIVE, KEY_UNKNOWN, KEY_NOT_YET_VALID, KEY_REVOKED,
        OUTCOME_UNKNOWN, KAFKA_UNAVAILABLE, MESSAGE_TOO_LARGE, INTERNAL;
    /// What a view grant can be refused with.
    ReportProblems:
        QUERY_ID_INVALID, MESSAGE_MALFORMED, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, QUERY_NOT_FOUND, REPORT_NOT_READY,
        REPORT_ERASED, QUERY_WITHDRAWN, QUERY_REJECTED, HOLD_EXPIRED, GRANT_EXPIRED, GRANT_INVALID, GRANT_USED, DEVICE_MISMATCH,
        VIEW_LOCKED, UPSTREAM_UNKNOWN, UPSTREAM_NOT_ACTIVE, KEY_UNKNOWN, KEY_NOT_YET_VALID, KEY_REVOKED,
        SIGNATURE_INVALID, RATE_LIMITED, HUB_UNAVAILABLE, INTERNAL;
    /// What a question for banks can be refused with.
    BanksProblems: FIELD_INVALID;
    /// What a question for a text can be refused with.
    TextProblems: ROUTE_UNKNOWN;
}

/// What a release can be refused with: all that a submission can, and what becomes of holds.
pub(super) struct ReleaseProblems;

impl IntoResponses for ReleaseProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let holds = [Code::NOT_HELD, Code::HOLD_NOT_OVER, Code::HOLD_EXPIRED];
        problems(&[SubmitProblems::CODES, &holds].concat())
    }
}

#[cfg(test)]
#[path = "openapi_tests.rs"]
mod tests;
