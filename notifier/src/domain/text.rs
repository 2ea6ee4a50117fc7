//! What the SMS says: the report is ready, n of m banks answered, one fixed warning. A template by id with parameters,
//! because gateways want templates registered in advance.
//!
//! What must never stand here: a link, card data, the name of a bank.

use schemas::codes::Code;
use schemas::notice::Header;
use schemas::submission::MAX_BANKS;
use schemas::wire::{self, QueryState};

/// Id of the one template.
pub const TEMPLATE: &str = "report-ready";

const ZH_CN: &str = include_str!("../../templates/report-ready.zh-CN.txt");
const EN: &str = include_str!("../../templates/report-ready.en.txt");

/// Language of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Chinese, simplified.
    ZhCn,
    /// English.
    En,
}

impl Language {
    /// BCP 47 tag, part of the template's name.
    pub fn tag(self) -> &'static str {
        match self {
            Language::ZhCn => "zh-CN",
            Language::En => "en",
        }
    }

    fn template(self) -> &'static str {
        match self {
            Language::ZhCn => ZH_CN,
            Language::En => EN,
        }
        .trim_end()
    }
}

impl From<wire::Language> for Language {
    fn from(language: wire::Language) -> Self {
        match language {
            wire::Language::ZhCn | wire::Language::Unspecified => Language::ZhCn,
            wire::Language::En => Language::En,
        }
    }
}

/// The template's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    banks: u32,
    answered: u32,
}

impl Message {
    /// What the hub's word says, if it can be said.
    ///
    /// # Errors
    /// `MESSAGE_MALFORMED` for a report that is not final, or for numbers that no report has.
    pub fn of(header: &Header) -> Result<Self, Code> {
        let &Header { banks, answered, .. } = header;
        let is_final = match header.state {
            QueryState::FinalAllAnswered | QueryState::FinalPartial | QueryState::FinalEmpty => true,
            QueryState::Unspecified
            | QueryState::Held
            | QueryState::Collecting
            | QueryState::Erased
            | QueryState::Rejected
            | QueryState::Cancelled
            | QueryState::Withdrawn => false,
        };
        let possible =
            is_final && answered <= banks && usize::try_from(banks).is_ok_and(|banks| banks <= MAX_BANKS);
        possible.then_some(Self { banks, answered }).ok_or(Code::MESSAGE_MALFORMED)
    }

    /// Names and values of the parameters.
    pub fn parameters(self) -> [(&'static str, String); 2] {
        [("banks", self.banks.to_string()), ("answered", self.answered.to_string())]
    }

    /// The whole text.
    pub fn text(self, language: Language) -> String {
        self.parameters().iter().fold(language.template().to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
