//! What a bank's own system says about a person. None of it prints.

use std::collections::BTreeSet;
use std::fmt;

use jiff::civil::Date;
use schemas::wire::MissingSource;
use zeroize::Zeroizing;

use super::card::Card;

/// Everything that was found under a document number.
#[derive(Default)]
pub struct Found {
    /// The person's record in each internal source that has one.
    pub customers: Vec<Customer>,
    /// The person's cards. Cards of nobody on file are not looked at.
    pub cards: Vec<Card>,
    /// Internal sources whose cards are not, or not all, among them.
    pub missing: BTreeSet<MissingSource>,
    /// Values in the bank's own data that could not be read, by kind; for counters, never for the answer.
    pub defects: BTreeSet<Defect>,
}

/// What can be wrong with a bank's own data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defect {
    /// A card number is none.
    CardNumber,
    /// A date or month cannot be read.
    Date,
    /// A code is not in the configured table.
    Code,
    /// An amount is no whole number.
    Amount,
    /// There are more rows than are asked for.
    RowLimit,
}

impl Defect {
    /// A stable word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CardNumber => "CARD_NUMBER",
            Self::Date => "DATE",
            Self::Code => "CODE",
            Self::Amount => "AMOUNT",
            Self::RowLimit => "ROW_LIMIT",
        }
    }
}

/// The person's record in one internal source.
pub struct Customer {
    /// The name on file.
    pub name: Zeroizing<String>,
    /// The phone number on file.
    pub phone: Option<Zeroizing<String>>,
    /// Last day on which the identity document is valid; `None` when it does not expire or the bank keeps no date.
    pub id_valid_until: Option<Date>,
    /// Whether payment without the card (无卡自助消费) is enabled.
    pub cardless_payment: bool,
    /// Whether the bank may say nothing, whatever the reason.
    pub withheld: bool,
}

impl Found {
    /// Adds what another internal source found.
    pub fn merge(&mut self, other: Self) {
        self.customers.extend(other.customers);
        self.cards.extend(other.cards);
        self.missing.extend(other.missing);
        self.defects.extend(other.defects);
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Found(redacted)")
    }
}

impl fmt::Debug for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Customer(redacted)")
    }
}
