//! Whether a card lies unused, by a named rule. Rules differ between banks, and the regulator has one of its own.
//!
//! A rule is judged where balance and functions are known: inside the bank. Of all that only the verdict leaves it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use jiff::Span;
use jiff::civil::Date;
use schemas::wire::CardKind;
use serde::{Deserialize, Deserializer};

/// The regulator's own rule among [`published`]: it is judged for every card, whatever rule the bank works by.
pub const REGULATOR: &str = "CBIRC-2022-13";

/// A rule for calling a card dormant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Names the rule in a report.
    pub id: String,
    /// Who made it.
    #[serde(default)]
    pub owner: String,
    /// Where it is written down.
    #[serde(default)]
    pub basis: String,
    /// A card with one of these is never dormant.
    #[serde(default)]
    pub exempt: BTreeSet<Feature>,
    /// Limits by kind of card. A rule without any leaves it to the bank's own status.
    #[serde(default, rename = "case")]
    pub cases: Vec<Case>,
}

/// The limits of a rule for some kinds of cards.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Which kinds.
    #[serde(deserialize_with = "kinds")]
    pub kinds: BTreeSet<CardKind>,
    /// How long the card has not been used.
    pub idle: Idle,
    /// What may be on it at most; `None` when that does not matter.
    #[serde(default)]
    pub balance_fen: Option<Balance>,
}

/// How long a card has not been used by its holder. Months are calendar months, cut to the last day of a short one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    /// So many months or more.
    Months(u16),
    /// More than so many months.
    MoreThanMonths(u16),
    /// So many days or more.
    Days(u16),
}

/// What may be on a card, in fen. One that is overdrawn is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Less than.
    Below(i64),
    /// Not more than.
    AtMost(i64),
}

/// What rules make exceptions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Feature {
    /// A card that was issued for a policy of the state.
    Policy,
    /// A social-security card.
    SocialSecurity,
    /// A card of the housing provident fund.
    HousingFund,
    /// A loan hangs on it.
    LinkedLoan,
    /// A fund or another investment hangs on it.
    LinkedFund,
    /// Something is repaid from it.
    LinkedRepayment,
    /// A function such as mobile or online banking is open on it.
    FunctionOpened,
}

/// What a rule looks at. `None` is what the bank's data do not tell.
#[derive(Clone, Default)]
pub struct Usage {
    /// Debit, credit or another kind.
    pub kind: CardKind,
    /// The day on which its holder last used it.
    pub last_active: Option<Date>,
    /// What is on it, in fen; negative when it is overdrawn.
    pub balance_fen: Option<i64>,
    /// What hangs on it.
    pub features: Option<BTreeSet<Feature>>,
}

/// What a rule says about a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The rule says nothing about cards of this kind.
    NotCovered,
    /// An exception holds.
    Exempt,
    /// It is in use.
    InUse,
    /// It is dormant.
    Dormant,
    /// The bank's data do not tell.
    Unknown,
}

impl Rule {
    /// Judges a card on a day of the bank's.
    pub fn judge(&self, usage: &Usage, today: Date) -> Verdict {
        let Some(case) = self.cases.iter().find(|case| case.kinds.contains(&usage.kind)) else {
            return Verdict::NotCovered;
        };
        let exempt = match &usage.features {
            _ if self.exempt.is_empty() => Some(false),
            features => features.as_ref().map(|features| !features.is_disjoint(&self.exempt)),
        };
        let idle = usage.last_active.map(|last| case.idle.is_over(last, today));
        let small = match case.balance_fen {
            None => Some(true),
            Some(limit) => usage.balance_fen.map(|balance| limit.holds(balance)),
        };
        // One fact that speaks against it is enough, whatever else is not known.
        match (exempt, idle, small) {
            (Some(true), ..) => Verdict::Exempt,
            (_, Some(false), _) | (_, _, Some(false)) => Verdict::InUse,
            (Some(false), Some(true), Some(true)) => Verdict::Dormant,
            (None, ..) | (_, None, _) | (_, _, None) => Verdict::Unknown,
        }
    }

    /// Whether a card can only be judged with its balance.
    pub fn needs_balance(&self) -> bool {
        self.cases.iter().any(|case| case.balance_fen.is_some())
    }

    /// Whether a card can only be judged with what hangs on it.
    pub fn needs_features(&self) -> bool {
        !self.cases.is_empty() && !self.exempt.is_empty()
    }
}

impl Idle {
    fn is_over(self, last: Date, today: Date) -> bool {
        let (span, beyond) = match self {
            Self::Months(months) => (Span::new().try_months(months), false),
            Self::MoreThanMonths(months) => (Span::new().try_months(months), true),
            Self::Days(days) => (Span::new().try_days(days), false),
        };
        // A day behind the end of the calendar is still to come.
        let limit = span.and_then(|span| last.checked_add(span));
        limit.is_ok_and(|limit| if beyond { today > limit } else { today >= limit })
    }
}

impl Balance {
    fn holds(self, balance: i64) -> bool {
        let within = match self {
            Self::Below(limit) => balance < limit,
            Self::AtMost(limit) => balance <= limit,
        };
        within && balance >= 0
    }
}

/// What is on a card and hangs on it does not print.
impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Usage(redacted)")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    rule: Vec<Rule>,
}

static PUBLISHED: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let document: Document = toml::from_str(include_str!("../../dormancy.toml"))
        .expect("the compiled-in rules are read by a test");
    document.rule
});

/// The published rules, compiled in.
pub fn published() -> &'static [Rule] {
    &PUBLISHED
}

/// The published rule called `id`.
pub fn published_as(id: &str) -> Option<&'static Rule> {
    published().iter().find(|rule| rule.id == id)
}

fn kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<CardKind>, D::Error> {
    let words = BTreeSet::<String>::deserialize(deserializer)?;
    let kind = |word: &String| {
        CardKind::from_str_name(&format!("CARD_KIND_{word}"))
            .ok_or_else(|| serde::de::Error::custom(format!("`{word}` is no kind of card")))
    };
    words.iter().map(kind).collect()
}
