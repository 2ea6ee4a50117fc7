//! What the two HTTP interfaces share: problem documents (RFC 9457) and the status of a query.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::codes::Code;
use crate::texts::ForPerson;
use crate::wire::Language;

/// Media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Media type of a report and of a view grant.
pub const PROTOBUF: &str = "application/protobuf";

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `urn:cardquery:problem:<code>`.
    pub r#type: String,
    /// What happened and what to do.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// What exactly, where that helps; never personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Seconds after which the same request may be answered otherwise; also said by the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// What a wallet shows, where a person can meet the code; in a language that the caller of the producer accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Box<ForPerson>>,
}

impl Problem {
    /// The document for a code.
    pub fn of(code: Code) -> Self {
        Self {
            r#type: format!("urn:cardquery:problem:{code}"),
            title: code.help().to_owned(),
            status: code.status(),
            code: code.to_string(),
            detail: None,
            retry_after_seconds: None,
            person: None,
        }
    }

    /// With a word on what exactly.
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// With the words for the person, if a person can meet its code.
    pub fn in_language(self, language: Language) -> Self {
        let code = Code::ALL.iter().copied().find(|code| code.as_str() == self.code);
        Self { person: code.and_then(|code| ForPerson::of(code, language)).map(Box::new), ..self }
    }

    /// With the time to wait, in whole seconds and never too short.
    pub fn with_retry_after(self, wait: Duration) -> Self {
        let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self { retry_after_seconds: Some(u32::try_from(whole).unwrap_or(u32::MAX)), ..self }
    }
}

/// Status of a query as the hub knows it: `GET /v1/upstreams/{upstream}/queries/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueryStatus {
    /// The query's id.
    pub query_id: String,
    /// Wire name of the state without prefix, for example `COLLECTING`.
    pub state: String,
    /// The code of a rejection, of a hold or of the end of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// When a held query may be released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldStatus>,
    /// RFC 3339, UTC, three decimals, as are all times here.
    pub accepted_at: String,
    /// When the window closes.
    pub deadline_at: String,
    /// When the report became final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finalised_at: Option<String>,
    /// The day whose 00:00 is the erase instant.
    pub erase_on: String,
    /// Banks asked.
    pub banks: u32,
    /// Banks that have answered so far.
    pub answered: u32,
    /// Hex of the content digest: tells the same query sent again from another one under its id.
    pub content_digest: String,
}

/// When a held query may be released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HoldStatus {
    /// Earliest append time of a release.
    pub release_from: String,
    /// Latest append time of a release; after it the query is cancelled.
    pub release_until: String,
}

/// Wire name of a protobuf enum value without its prefix: `QUERY_STATE_COLLECTING` becomes `COLLECTING`.
pub fn short_name<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
}

/// `COLLECTING`, `FINAL_PARTIAL`, …
pub fn state_name(state: crate::wire::QueryState) -> &'static str {
    short_name(state.as_str_name(), "QUERY_STATE_")
}

/// `ANSWERED`, `NO_REPLY`, …
pub fn outcome_name(outcome: crate::wire::BankOutcome) -> &'static str {
    short_name(outcome.as_str_name(), "BANK_OUTCOME_")
}
