//! What a person reads, and hears, about every code that they can meet; compiled in.
//!
//! | family | who says it | words |
//! |---|---|---|
//! | a refusal, or what a device found | producer, hub, device | `texts/problems.rs` |
//! | how far a query is, and what became of each bank | hub | `texts/progress.rs` |
//! | what a bank says, and about which card | the bank, sealed | `texts/answers.rs` |
//! | what scammers say | the person, asked by the wallet | `texts/pretexts.rs` |
//!
//! Every family is one match without a wildcard arm: a new code does not compile until somebody has decided whether a
//! person can meet it, and written the words if so. Whoever shows a code shows `text` and `next`; `aloud` is for a screen
//! reader or a telephone and can be spoken as it stands.

mod answers;
mod pretexts;
mod problems;
mod progress;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::answers::{
    of_account_class, of_answer, of_card_kind, of_card_status, of_missing, of_next_action,
    of_regulator_dormancy,
};
pub use self::pretexts::of_pretext;
pub use self::problems::of_code;
pub use self::progress::{of_outcome, of_state};
use crate::codes::Code;
use crate::http::short_name;
use crate::wire::{
    AccountClass, AnswerKind, BankOutcome, CardKind, CardStatus, Language, MissingSource, NextAction,
    Pretext, QueryState, RegulatorDormancy,
};

/// One code in one language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Words {
    /// What it means, to be read.
    pub text: &'static str,
    /// The same in one short sentence to be read aloud: no digits, symbols or abbreviations.
    pub aloud: &'static str,
    /// What the person can do now.
    pub next: &'static str,
}

/// One code in both languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Chinese.
    pub zh_cn: Words,
    /// English.
    pub en: Words,
}

impl Told {
    /// The words in `language`; Chinese when none is said.
    pub fn in_language(self, language: Language) -> Words {
        match language {
            Language::ZhCn | Language::Unspecified => self.zh_cn,
            Language::En => self.en,
        }
    }
}

/// Both languages of one code, each as text, aloud, next.
const fn told(zh_cn: [&'static str; 3], en: [&'static str; 3]) -> Told {
    const fn words([text, aloud, next]: [&'static str; 3]) -> Words {
        Words { text, aloud, next }
    }
    Told { zh_cn: words(zh_cn), en: words(en) }
}

/// The languages that there are words in, with their BCP 47 tags; the first is told to who names none of them.
pub const LANGUAGES: [(Language, &str); 2] = [(Language::ZhCn, "zh-CN"), (Language::En, "en")];

/// The BCP 47 tag of a language.
pub fn tag(language: Language) -> &'static str {
    match language {
        Language::ZhCn | Language::Unspecified => "zh-CN",
        Language::En => "en",
    }
}

/// What a problem document says to the person behind the wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForPerson {
    /// BCP 47 tag of the three texts.
    pub language: String,
    /// What happened, to be read.
    pub text: String,
    /// The same in one short sentence to be read aloud.
    pub aloud: String,
    /// What the person can do now.
    pub next: String,
}

impl ForPerson {
    /// The words of `code`, if a person can meet it.
    pub fn of(code: Code, language: Language) -> Option<Self> {
        let Words { text, aloud, next } = of_code(code)?.in_language(language);
        let owned = str::to_owned;
        Some(Self {
            language: owned(tag(language)),
            text: owned(text),
            aloud: owned(aloud),
            next: owned(next),
        })
    }
}

/// Every code of a family that a person can meet, by its wire name.
pub type Family = BTreeMap<&'static str, Told>;

/// Every family by its name.
pub fn families() -> BTreeMap<&'static str, Family> {
    let problems = Code::ALL.iter().filter_map(|code| Some((code.as_str(), of_code(*code)?)));
    BTreeMap::from([
        ("problem", problems.collect()),
        ("query_state", family("QUERY_STATE_", QueryState::as_str_name, of_state)),
        ("bank_outcome", family("BANK_OUTCOME_", BankOutcome::as_str_name, of_outcome)),
        ("answer", family("ANSWER_KIND_", AnswerKind::as_str_name, of_answer)),
        ("missing_source", family("MISSING_SOURCE_", MissingSource::as_str_name, of_missing)),
        ("card_kind", family("CARD_KIND_", CardKind::as_str_name, of_card_kind)),
        ("account_class", family("ACCOUNT_CLASS_", AccountClass::as_str_name, of_account_class)),
        ("card_status", family("CARD_STATUS_", CardStatus::as_str_name, of_card_status)),
        ("next_action", family("NEXT_ACTION_", NextAction::as_str_name, of_next_action)),
        (
            "regulator_dormancy",
            family("REGULATOR_DORMANCY_", RegulatorDormancy::as_str_name, of_regulator_dormancy),
        ),
        ("pretext", family("PRETEXT_", Pretext::as_str_name, of_pretext)),
    ])
}

/// Enumerations of the contract number their values from 0, with gaps where one was removed.
const NUMBERS: std::ops::Range<i32> = 0..256;

fn family<T: TryFrom<i32> + Copy>(
    prefix: &str,
    name: impl Fn(&T) -> &'static str,
    words: impl Fn(T) -> Option<Told>,
) -> Family {
    let values = NUMBERS.filter_map(|number| T::try_from(number).ok());
    values.filter_map(|value| Some((short_name(name(&value), prefix), words(value)?))).collect()
}

#[cfg(test)]
#[path = "texts/tests.rs"]
mod tests;
