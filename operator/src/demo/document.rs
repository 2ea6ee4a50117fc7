//! What a demo prints with `--json`: one document, an interface for scripts.

use std::collections::BTreeMap;
use std::time::Duration;

use notifier::gateway::Received;
use schemas::http::{outcome_name, short_name, state_name};
use schemas::report::{OpenedBank, OpenedReport};
use schemas::wire::{self, AnswerKind, BankOutcome, CardKind};
use serde::Serialize;

/// The document.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// The query's id.
    pub query_id: String,
    /// Final state, as the hub says.
    pub state: &'static str,
    /// RFC 3339, UTC, three decimals, as are all times here.
    pub accepted_at: String,
    /// When the window closed.
    pub deadline_at: String,
    /// When the report became final.
    pub finalised_at: String,
    /// The day whose 00:00 (Asia/Shanghai) is the erase instant.
    pub erase_on: String,
    /// The device's word: every bank answered CARDS or NO_CARDS, nothing missing, every signature valid.
    pub complete: bool,
    /// Counts over the opened answers.
    pub summary: Summary,
    /// Every asked bank.
    pub coverage: Vec<Covered>,
    /// The opened answers.
    pub report: Opened,
    /// SMS that arrived.
    pub sms: Vec<Sms>,
    /// Milliseconds per phase.
    pub timings: BTreeMap<&'static str, u64>,
}

/// Counts over the opened answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Banks that hold at least one card.
    pub banks: usize,
    /// Cards.
    pub cards: usize,
    /// Cards that are debit only.
    pub debit: usize,
    /// Cards with a credit function.
    pub credit: usize,
}

/// The hub's view of a bank.
#[derive(Clone, Debug, Serialize)]
pub struct Covered {
    /// Which bank.
    pub bank_id: String,
    /// Its one outcome.
    pub outcome: &'static str,
    /// Its name, from its signed registry entry; for the table.
    #[serde(skip)]
    pub bank_name: String,
}

/// The opened answers.
#[derive(Clone, Debug, Serialize)]
pub struct Opened {
    /// One per bank that answered, in ascending order of id.
    pub banks: Vec<Bank>,
}

/// One opened answer.
#[derive(Clone, Debug, Serialize)]
pub struct Bank {
    /// Which bank.
    pub bank_id: String,
    /// Its name, from its signed registry entry.
    pub bank_name: String,
    /// What the bank says; absent when its answer does not open.
    pub answer: Option<&'static str>,
    /// Number of `cards`.
    pub card_count: usize,
    /// The masked cards.
    pub cards: Vec<Card>,
    /// Whether signature, proof and digests of this bank's segment verified.
    pub signature_valid: bool,
}

/// A masked card.
#[derive(Clone, Debug, Serialize)]
pub struct Card {
    /// UnionPay payCardType by name.
    pub kind: &'static str,
    /// Ⅰ, Ⅱ, Ⅲ class, or NONE.
    pub account_class: &'static str,
    /// First four digits.
    pub first4: String,
    /// Last four digits.
    pub last4: String,
    /// Digits of the full number.
    pub pan_length: u32,
    /// The bank's product code.
    pub product_code: String,
    /// The product's name, from the bank's signed registry entry.
    pub product_name: Option<String>,
    /// Status.
    pub status: &'static str,
    /// `YYYY-MM`.
    pub opened_month: Option<String>,
    /// Evidence that the card lies unused.
    pub dormancy: Option<Dormancy>,
    /// What the person can do.
    pub next_actions: Vec<&'static str>,
}

/// Evidence that a card lies unused.
#[derive(Clone, Debug, Serialize)]
pub struct Dormancy {
    /// Whose rule.
    pub rule_id: String,
    /// `YYYY-MM`.
    pub last_active_month: Option<String>,
    /// `YYYY-MM-DD`.
    pub as_of: String,
}

/// An SMS that arrived.
#[derive(Clone, Debug, Serialize)]
pub struct Sms {
    /// Masked number.
    pub to_masked: String,
    /// The text.
    pub text: String,
}

impl Document {
    /// From what the device opened and what arrived.
    pub fn new(report: &OpenedReport, sms: Vec<Received>, timings: BTreeMap<&'static str, Duration>) -> Self {
        let coverage = &report.coverage;
        let answered = report.banks.iter().filter(|bank| bank.outcome == BankOutcome::Answered);
        let banks: Vec<Bank> = answered.map(Bank::new).collect();
        Self {
            query_id: coverage.reference.query.to_string(),
            state: state_name(coverage.state),
            accepted_at: coverage.accepted_at.to_string(),
            deadline_at: coverage.deadline_at.to_string(),
            finalised_at: coverage.finalised_at.to_string(),
            erase_on: coverage.erase_on.clone(),
            complete: report.complete,
            summary: Summary::of(&banks),
            coverage: report.banks.iter().map(Covered::new).collect(),
            report: Opened { banks },
            sms: sms.into_iter().map(|sms| Sms { to_masked: sms.to, text: sms.text }).collect(),
            timings: timings
                .into_iter()
                .map(|(phase, took)| (phase, u64::try_from(took.as_millis()).unwrap_or(u64::MAX)))
                .collect(),
        }
    }
}

impl Summary {
    /// Derived from the detail, never counted apart.
    pub fn of(banks: &[Bank]) -> Self {
        let cards = || banks.iter().flat_map(|bank| &bank.cards);
        let credit = cards().filter(|card| card.has_credit()).count();
        Self {
            banks: banks.iter().filter(|bank| !bank.cards.is_empty()).count(),
            cards: cards().count(),
            debit: cards().filter(|card| card.kind == kind_name(CardKind::Debit)).count(),
            credit,
        }
    }
}

impl Covered {
    fn new(bank: &OpenedBank) -> Self {
        Self {
            bank_id: bank.bank.as_str().to_owned(),
            outcome: outcome_name(bank.outcome),
            bank_name: bank_name(bank),
        }
    }
}

fn bank_name(bank: &OpenedBank) -> String {
    let name = bank.texts.as_ref().and_then(|texts| texts.name.as_ref());
    name.map_or_else(|| bank.bank.as_str().to_owned(), |name| name.zh_cn.clone())
}

impl Bank {
    fn new(bank: &OpenedBank) -> Self {
        let texts = bank.texts.as_ref();
        let product = |code: &str| {
            let products = texts.map(|texts| texts.products.as_slice()).unwrap_or_default();
            products
                .iter()
                .find(|product| product.product_code == code)
                .and_then(|product| product.name.as_ref())
        };
        let cards: Vec<Card> = bank
            .answer
            .iter()
            .flat_map(|answer| &answer.cards)
            .map(|card| Card::new(card, product(&card.product_code).map(|name| name.zh_cn.clone())))
            .collect();
        Self {
            bank_id: bank.bank.as_str().to_owned(),
            bank_name: bank_name(bank),
            answer: bank.answer.as_ref().map(|answer| answer_name(answer.kind())),
            card_count: cards.len(),
            cards,
            signature_valid: bank.verified == Some(Ok(())),
        }
    }
}

impl Card {
    fn new(card: &wire::Card, product_name: Option<String>) -> Self {
        let actions =
            card.next_actions().map(|action| short_name(action.as_str_name(), "NEXT_ACTION_")).collect();
        Self {
            kind: kind_name(card.kind()),
            account_class: short_name(card.account_class().as_str_name(), "ACCOUNT_CLASS_"),
            first4: card.first4.clone(),
            last4: card.last4.clone(),
            pan_length: card.pan_length,
            product_code: card.product_code.clone(),
            product_name,
            status: short_name(card.status().as_str_name(), "CARD_STATUS_"),
            opened_month: month(card.opened_month),
            dormancy: card.dormancy.as_ref().map(|dormancy| Dormancy {
                rule_id: dormancy.rule_id.clone(),
                last_active_month: month(dormancy.last_active_month),
                as_of: day(dormancy.as_of_day),
            }),
            next_actions: actions,
        }
    }

    fn has_credit(&self) -> bool {
        [CardKind::Credit, CardKind::QuasiCredit, CardKind::DebitCredit].map(kind_name).contains(&self.kind)
    }
}

/// `CARDS`, `NO_CARDS`, …
pub fn answer_name(kind: AnswerKind) -> &'static str {
    short_name(kind.as_str_name(), "ANSWER_KIND_")
}

fn kind_name(kind: CardKind) -> &'static str {
    short_name(kind.as_str_name(), "CARD_KIND_")
}

fn month(number: u32) -> Option<String> {
    (number != 0).then(|| format!("{:04}-{:02}", number / 100, number % 100))
}

fn day(number: u32) -> String {
    format!("{:04}-{:02}-{:02}", number / 10_000, number / 100 % 100, number % 100)
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
