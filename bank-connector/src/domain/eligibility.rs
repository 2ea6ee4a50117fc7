//! Whether a bank may show a person's cards, and what it says when it may not.
//!
//! The order decides what leaks to whom:
//!
//! - No record: NO_CARDS.
//! - The name on file differs, or a phone number is on file and differs: IDENTITY_MISMATCH, before anything about
//!   eligibility or cards is said to somebody who may be a stranger. In several internal sources one such record is enough.
//! - What the person can mend at the bank: no usable phone on file, document expired, cardless payment not enabled. A record
//!   without a phone number could not be compared in full, so nothing beyond that fact is said.
//! - WITHHELD: last, so that it is said only to somebody whose name and phone both match.

use jiff::civil::Date;
use schemas::wire::AnswerKind;

use super::found::Customer;
use super::identity::{Identity, e164};

/// What a bank says instead of cards; `None` when it may show them.
pub fn bar(identity: &Identity, customers: &[Customer], today: Date) -> Option<AnswerKind> {
    let any = |test: &dyn Fn(&Customer) -> bool| customers.iter().any(test);
    if customers.is_empty() {
        Some(AnswerKind::NoCards)
    } else if any(&|customer| !is_person(identity, customer)) {
        Some(AnswerKind::IdentityMismatch)
    } else if any(&|customer| usable_phone(customer).is_none()) {
        Some(AnswerKind::IneligibleNoPhone)
    } else if any(&|customer| customer.id_valid_until.is_some_and(|last| today > last)) {
        Some(AnswerKind::IneligibleIdExpired)
    } else if any(&|customer| !customer.cardless_payment) {
        Some(AnswerKind::IneligibleNoCardlessPayment)
    } else if any(&|customer| customer.withheld) {
        Some(AnswerKind::Withheld)
    } else {
        None
    }
}

fn is_person(identity: &Identity, customer: &Customer) -> bool {
    identity.has_name(&customer.name) && usable_phone(customer).is_none_or(|phone| identity.has_phone(phone))
}

/// A number that nobody could be called under is no phone on file.
fn usable_phone(customer: &Customer) -> Option<&str> {
    customer.phone.as_ref().map(|phone| phone.as_str()).filter(|phone| e164(phone).is_some())
}
