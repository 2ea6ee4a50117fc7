//! Settings of a SQL source: two statements, and how their columns and codes are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use schemas::wire::{AccountClass, CardKind, CardStatus};
use serde::{Deserialize, Deserializer};

use super::sql_address::{Database, Said};
use crate::domain::answer::MAX_CARDS;
use crate::domain::card::is_code;
use crate::domain::dormancy::{self, Case, Feature, Idle, Rule};

/// A database of the bank.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlConfig {
    /// Where it is, for example `sqlite:///var/lib/core.db`. May hold a password: it does not print.
    #[serde(default)]
    pub url: String,
    /// A file that holds the address, in the place of `url`.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    /// A variable of the environment that holds the address, in the place of `url`.
    #[serde(default)]
    pub url_env: Option<String>,
    /// Selects the person's record; its one parameter is the document number.
    pub customer_statement: String,
    /// Selects the person's cards; its one parameter is the document number.
    pub cards_statement: String,
    /// How long a connection may take, in milliseconds.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// How long a statement may take, in milliseconds.
    #[serde(default = "default_statement_timeout_ms")]
    pub statement_timeout_ms: u64,
    /// Rows read at most; further ones are left out and their source is marked missing.
    #[serde(default = "default_max_rows")]
    pub max_rows: usize,
    /// Connections at most.
    #[serde(default = "default_max_connections")]
    pub max_connections: u32,
    /// Columns of the customer statement.
    pub customer: CustomerColumns,
    /// Columns of the cards statement.
    pub cards: CardColumns,
    /// The bank's codes.
    #[serde(default)]
    pub values: Values,
    /// When a card is dormant.
    #[serde(default)]
    pub dormancy: Option<DormancyConfig>,
}

const fn default_connect_timeout_ms() -> u64 {
    5_000
}

const fn default_statement_timeout_ms() -> u64 {
    5_000
}

const fn default_max_rows() -> usize {
    MAX_CARDS
}

const fn default_max_connections() -> u32 {
    8
}

/// Columns of the customer statement. One that the bank does not have is left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerColumns {
    /// The name on file.
    pub name: String,
    /// The phone number on file.
    pub phone: String,
    /// Last day of the identity document.
    #[serde(default)]
    pub id_valid_until: Option<String>,
    /// Whether payment without the card is enabled; without the column it is.
    #[serde(default)]
    pub cardless_payment: Option<String>,
    /// Why the bank may say nothing; without the column it always may.
    #[serde(default)]
    pub withheld: Option<String>,
}

/// Columns of the cards statement. One that the bank does not have is left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardColumns {
    /// The full card number.
    pub pan: String,
    /// Kind of card.
    pub kind: String,
    /// State of the card.
    pub status: String,
    /// Class of the account.
    #[serde(default)]
    pub account_class: Option<String>,
    /// Product code, as in the bank's registry entry.
    #[serde(default)]
    pub product: Option<String>,
    /// Month or day of opening.
    #[serde(default)]
    pub opened: Option<String>,
    /// Month or day of the last activity of the holder.
    #[serde(default)]
    pub last_active: Option<String>,
    /// What is on the card, in fen, a whole number; negative when it is overdrawn. Rules of dormancy need it; it is never
    /// said.
    #[serde(default)]
    pub balance_fen: Option<String>,
    /// What hangs on the card: codes of `values.features` with commas between them.
    #[serde(default)]
    pub features: Option<String>,
}

/// The bank's codes. A code that is not listed reads as unknown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Values {
    /// To `DEBIT`, `CREDIT`, `QUASI_CREDIT`, `DEBIT_CREDIT`, `PREPAID`, `SEMI_OPEN_PREPAID`.
    #[serde(deserialize_with = "kinds")]
    pub kind: BTreeMap<String, CardKind>,
    /// To `NORMAL`, `NOT_ACTIVATED`, `DORMANT`, `LOST_REPORTED`, `LOCKED`, `EXPIRED`, `CANCELLING`, `WITHHELD`.
    #[serde(deserialize_with = "statuses")]
    pub status: BTreeMap<String, CardStatus>,
    /// To `I`, `II`, `III`, `NONE`.
    #[serde(deserialize_with = "classes")]
    pub account_class: BTreeMap<String, AccountClass>,
    /// Codes that say that payment without the card is enabled; any other says that it is not.
    pub cardless_enabled: BTreeSet<String>,
    /// Codes that say that nothing is withheld, besides an empty one; any other withholds.
    pub not_withheld: BTreeSet<String>,
    /// Words in the place of a document's last day that say that it does not expire.
    pub id_never_expires: BTreeSet<String>,
    /// To `POLICY`, `SOCIAL_SECURITY`, `HOUSING_FUND`, `LINKED_LOAN`, `LINKED_FUND`, `LINKED_REPAYMENT`,
    /// `FUNCTION_OPENED`. A code that is not listed says that nothing of it hangs on the card.
    pub features: BTreeMap<String, Feature>,
}

/// When a card is dormant.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DormancyConfig {
    /// A rule of `bank-connector/dormancy.toml`, or a name of the bank's own: up to 16 letters, digits, hyphens, dots or
    /// underscores.
    pub rule_id: String,
    /// For a rule of the bank's own: months without activity after which a NORMAL card is DORMANT; left out when the
    /// bank's status says so.
    #[serde(default)]
    pub inactive_months: Option<u16>,
}

impl DormancyConfig {
    fn rule(&self) -> Rule {
        if let Some(rule) = dormancy::published_as(&self.rule_id) {
            return rule.clone();
        }
        let kinds = [
            CardKind::Debit,
            CardKind::Credit,
            CardKind::QuasiCredit,
            CardKind::DebitCredit,
            CardKind::Prepaid,
            CardKind::SemiOpenPrepaid,
            CardKind::Unknown,
        ];
        let case = |months| Case { kinds: kinds.into(), idle: Idle::Months(months), balance_fen: None };
        let cases = self.inactive_months.map(case).into_iter().collect();
        Rule { id: self.rule_id.clone(), cases, ..Rule::default() }
    }
}

impl CustomerColumns {
    /// The fields that the bank has, with their columns.
    pub(super) fn mapped(&self) -> Vec<(&'static str, &str)> {
        let Self { name, phone, id_valid_until, cardless_payment, withheld } = self;
        let always = [("name", Some(name)), ("phone", Some(phone))];
        let optional = [
            ("id_valid_until", id_valid_until.as_ref()),
            ("cardless_payment", cardless_payment.as_ref()),
            ("withheld", withheld.as_ref()),
        ];
        present(always.into_iter().chain(optional))
    }
}

impl CardColumns {
    /// The fields that the bank has, with their columns.
    pub(super) fn mapped(&self) -> Vec<(&'static str, &str)> {
        let Self { pan, kind, status, account_class, product, opened, last_active, balance_fen, features } =
            self;
        let always = [("pan", Some(pan)), ("kind", Some(kind)), ("status", Some(status))];
        let optional = [
            ("account_class", account_class.as_ref()),
            ("product", product.as_ref()),
            ("opened", opened.as_ref()),
            ("last_active", last_active.as_ref()),
            ("balance_fen", balance_fen.as_ref()),
            ("features", features.as_ref()),
        ];
        present(always.into_iter().chain(optional))
    }
}

fn present<'a>(
    fields: impl Iterator<Item = (&'static str, Option<&'a String>)>,
) -> Vec<(&'static str, &'a str)> {
    fields.filter_map(|(field, column)| Some((field, column?.as_str()))).collect()
}

impl SqlConfig {
    /// Every rule that these settings break.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Err(error) = self.said().check() {
            faults.push(error.to_string());
        } else if !self.url.is_empty()
            && let Err(error) = Database::of(&self.url)
        {
            faults.push(error.to_string());
        }
        for (key, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("statement_timeout_ms", self.statement_timeout_ms),
            ("max_rows", self.max_rows as u64),
            ("max_connections", u64::from(self.max_connections)),
        ] {
            if value == 0 {
                faults.push(format!("{key}: must not be 0"));
            }
        }
        if self.max_rows > MAX_CARDS {
            faults.push(format!("max_rows: an answer holds at most {MAX_CARDS} cards"));
        }
        match &self.dormancy {
            Some(rule) if !is_code(&rule.rule_id) => {
                faults.push(
                    "dormancy.rule_id: must be 1 to 16 letters, digits, hyphens, dots or underscores".into(),
                );
            }
            None if self.values.status.values().any(|status| *status == CardStatus::Dormant) => {
                faults.push(
                    "dormancy.rule_id: a status reads as DORMANT, so the rule behind it must be named".into(),
                );
            }
            Some(config) => faults.extend(self.rule_faults(config)),
            None => {}
        }
        faults
    }

    /// A rule that cannot be judged with the configured columns would call no card dormant, and nobody would notice.
    fn rule_faults(&self, config: &DormancyConfig) -> Vec<String> {
        let (rule, columns) = (config.rule(), &self.cards);
        let published = dormancy::published_as(&config.rule_id).is_some();
        let lacks = |column: &str| format!("dormancy.rule_id: {} needs the column `cards.{column}`", rule.id);
        [
            (published && config.inactive_months.is_some()).then(|| {
                format!("dormancy.inactive_months: {} is a published rule and has its own limits", rule.id)
            }),
            (!rule.cases.is_empty() && columns.last_active.is_none()).then(|| lacks("last_active")),
            (rule.needs_balance() && columns.balance_fen.is_none()).then(|| lacks("balance_fen")),
            (rule.needs_features() && columns.features.is_none()).then(|| lacks("features")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Why the address cannot be read from where it is said to stand, without a word of it.
    pub(crate) fn address_fault(&self) -> Option<String> {
        // What is said wrongly is among the other faults.
        self.said().check().ok()?;
        let url = self.said().read();
        url.and_then(|url| Database::of(&url)).err().map(|error| error.to_string())
    }

    pub(super) fn said(&self) -> Said<'_> {
        Said { url: &self.url, file: self.url_file.as_ref(), env: self.url_env.as_deref() }
    }

    pub(super) fn dormancy_rule(&self) -> Option<Rule> {
        self.dormancy.as_ref().map(DormancyConfig::rule)
    }
}

impl fmt::Debug for SqlConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlConfig")
            .field("url", &Database::of(&self.url).ok())
            .field("url_file", &self.url_file)
            .field("url_env", &self.url_env)
            .field("customer_statement", &self.customer_statement)
            .field("cards_statement", &self.cards_statement)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("statement_timeout_ms", &self.statement_timeout_ms)
            .field("max_rows", &self.max_rows)
            .field("max_connections", &self.max_connections)
            .field("customer", &self.customer)
            .field("cards", &self.cards)
            .field("values", &self.values)
            .field("dormancy", &self.dormancy)
            .finish()
    }
}

/// Reads a table from codes to words of the contract; `word` finds the meaning of an UPPER_SNAKE word.
fn table<'de, D: Deserializer<'de>, Meaning>(
    deserializer: D,
    word: impl Fn(&str) -> Option<Meaning>,
) -> Result<BTreeMap<String, Meaning>, D::Error> {
    BTreeMap::<String, String>::deserialize(deserializer)?
        .into_iter()
        .map(|(code, name)| match word(&name) {
            Some(meaning) => Ok((code, meaning)),
            None => Err(serde::de::Error::custom(format!("`{name}` is none of the words of the contract"))),
        })
        .collect()
}

fn kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, CardKind>, D::Error> {
    table(deserializer, |word| CardKind::from_str_name(&format!("CARD_KIND_{word}")))
}

fn statuses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, CardStatus>, D::Error> {
    table(deserializer, |word| CardStatus::from_str_name(&format!("CARD_STATUS_{word}")))
}

fn classes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, AccountClass>, D::Error> {
    table(deserializer, |word| AccountClass::from_str_name(&format!("ACCOUNT_CLASS_{word}")))
}
