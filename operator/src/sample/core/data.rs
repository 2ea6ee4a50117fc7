//! Who has which cards at which sample bank: `deploy/sample/core/cards.toml`, with the numbers drawn.

use std::collections::BTreeMap;

use bank_connector::domain::pan::check_digit;
use schemas::fields::Fields;
use schemas::ids::{BankId, Digest};
use serde::Deserialize;

const CARDS: &str = include_str!("../../../../deploy/sample/core/cards.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) issuer: BTreeMap<BankId, BTreeMap<String, Issuer>>,
    pub(super) customer: Vec<Customer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Issuer {
    pub(super) prefix: String,
    pub(super) length: usize,
    pub(super) product: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Customer {
    pub(super) bank: BankId,
    pub(super) person: String,
    pub(super) cust_name: Option<String>,
    pub(super) mobile: Option<String>,
    pub(super) cert_expiry: Option<String>,
    pub(super) cardless_flag: Option<String>,
    pub(super) hold_code: Option<String>,
    #[serde(default)]
    pub(super) cards: Vec<Card>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Card {
    #[serde(rename = "type")]
    pub(super) card_type: String,
    pub(super) class: Option<String>,
    pub(super) status: String,
    pub(super) opened: String,
    pub(super) last_used: Option<String>,
}

/// A card with the number that was drawn for it.
pub(super) struct Drawn<'a> {
    pub(super) card: &'a Card,
    pub(super) issuer: &'a Issuer,
    pub(super) number: String,
}

/// What a bank has on file. A number depends on the person's cards there and on nobody else's.
pub(super) fn customers<'a>(
    file: &'a File,
    bank: &'a BankId,
    seed: u64,
) -> impl Iterator<Item = (&'a Customer, Vec<Drawn<'a>>)> {
    let mut ordinals = BTreeMap::new();
    file.customer.iter().filter(move |customer| customer.bank == *bank).map(move |customer| {
        let ordinal: &mut u64 = ordinals.entry(&customer.person).or_default();
        let drawn = customer.cards.iter().map(|card| {
            let issuer = &file.issuer[bank][&card.card_type];
            let number = card_number(issuer, seed, bank, &customer.person, *ordinal);
            *ordinal += 1;
            Drawn { card, issuer, number }
        });
        (customer, drawn.collect())
    })
}

pub(super) fn file() -> File {
    toml::from_str(CARDS).expect("cards.toml is valid")
}

/// The issuer's digits, then digits of a digest, then the check digit.
fn card_number(issuer: &Issuer, seed: u64, bank: &BankId, person: &str, ordinal: u64) -> String {
    let fields =
        Fields::new().text("sample-card/v1").integer(seed).text(bank.as_str()).text(person).integer(ordinal);
    let drawn = Digest::of(fields.as_bytes());
    let digits = drawn.0.iter().map(|byte| char::from(b'0' + byte % 10));
    let missing = issuer.length - 1 - issuer.prefix.len();
    let partial: String = issuer.prefix.chars().chain(digits.take(missing)).collect();
    let check = check_digit(&partial);
    partial + &check.to_string()
}
