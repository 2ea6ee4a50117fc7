//! What a replay found, named so that somebody can go and look.

use schemas::ids::{BankId, Reference};
use serde::Serialize;

use crate::audit::codes::{Code, Weight};

/// One finding. Names, places and digests: nothing of a person, nothing that was sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub code: Code,
    /// The upstream of the query that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The query's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_id: Option<String>,
    /// The bank that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank: Option<String>,
    /// The record that shows it: `topic:partition:offset`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What differs from what.
    pub detail: String,
}

impl Finding {
    /// About the log as a whole.
    pub fn of_log(code: Code, detail: impl Into<String>) -> Self {
        Self { code, upstream: None, query_id: None, bank: None, at: None, detail: detail.into() }
    }

    /// About a query.
    pub fn of_query(code: Code, reference: &Reference, detail: impl Into<String>) -> Self {
        Self {
            upstream: Some(reference.upstream.to_string()),
            query_id: Some(reference.query.to_string()),
            ..Self::of_log(code, detail)
        }
    }

    /// About a bank in a query.
    pub fn of_bank(code: Code, reference: &Reference, bank: &BankId, detail: impl Into<String>) -> Self {
        Self { bank: Some(bank.to_string()), ..Self::of_query(code, reference, detail) }
    }

    /// The record that shows it.
    #[must_use]
    pub fn at(self, topic: &str, (partition, offset): (i32, i64)) -> Self {
        Self { at: Some(format!("{topic}:{partition}:{offset}")), ..self }
    }

    /// Whether something is wrong.
    pub fn is_fault(&self) -> bool {
        self.code.weight() == Weight::Fault
    }
}
