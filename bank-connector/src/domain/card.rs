//! One card of a bank, and the record of it that goes under the seal.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;
use schemas::wire::{self, AccountClass, CardKind, CardStatus, MissingSource, NextAction, RegulatorDormancy};

use super::dormancy::{self, Feature, Rule, Usage, Verdict};
use super::month::Month;
use super::pan::Pan;

/// Longest rule id and product code, in bytes of ASCII: a card record stays small.
pub const MAX_CODE: usize = 16;

/// A card as the bank's own system has it.
pub struct Card {
    /// The full number. It does not leave this type.
    pub pan: Pan,
    /// Debit, credit or another kind.
    pub kind: CardKind,
    /// Class of the account behind it.
    pub account_class: AccountClass,
    /// Product of the bank; empty when unknown.
    pub product_code: String,
    /// The bank's own word about its state.
    pub status: CardStatus,
    /// When it was opened.
    pub opened: Option<Month>,
    /// When its holder last used it; the last day that it can have been.
    pub last_active: Option<Date>,
    /// What is on it, in fen; judged here, and never said.
    pub balance_fen: Option<i64>,
    /// What hangs on it; judged here, and never said. `None` when the bank's data do not tell.
    pub features: Option<BTreeSet<Feature>>,
    /// The rule of the source that it comes from.
    pub dormancy: Option<Arc<Rule>>,
}

impl Card {
    /// The record that the device gets: masked, and with nothing but codes.
    pub fn masked(&self, today: Date) -> wire::Card {
        let status = self.status_on(today);
        wire::Card {
            kind: self.kind.into(),
            account_class: self.account_class.into(),
            first4: self.pan.first4().to_owned(),
            last4: self.pan.last4().to_owned(),
            pan_length: u32::try_from(self.pan.digits()).unwrap_or_default(),
            product_code: self.product_code.clone(),
            status: status.into(),
            opened_month: self.opened.map_or(0, Month::number),
            dormancy: self.evidence(status, today),
            next_actions: next_actions(status).iter().map(|action| (*action).into()).collect(),
            regulator_dormancy: self.by_the_regulator(status, today).into(),
        }
    }

    fn status_on(&self, today: Date) -> CardStatus {
        let verdict = self.dormancy.as_ref().map(|rule| rule.judge(&self.usage(), today));
        match (self.status, verdict) {
            (CardStatus::Normal, Some(Verdict::Dormant)) => CardStatus::Dormant,
            (CardStatus::Unspecified, _) => CardStatus::Unknown,
            (status, _) => status,
        }
    }

    /// The regulator's own rule, for a card that a bank calls in use or dormant: about any other state it says nothing,
    /// and beside a withheld one it would tell something.
    fn by_the_regulator(&self, status: CardStatus, today: Date) -> RegulatorDormancy {
        let verdict = match status {
            CardStatus::Normal | CardStatus::Dormant => {
                dormancy::published_as(dormancy::REGULATOR).map(|rule| rule.judge(&self.usage(), today))
            }
            CardStatus::Unspecified
            | CardStatus::NotActivated
            | CardStatus::LostReported
            | CardStatus::Locked
            | CardStatus::Expired
            | CardStatus::Cancelling
            | CardStatus::Withheld
            | CardStatus::Unknown => None,
        };
        match verdict {
            Some(Verdict::Dormant) => RegulatorDormancy::Dormant,
            Some(Verdict::InUse | Verdict::Exempt) => RegulatorDormancy::NotDormant,
            Some(Verdict::NotCovered | Verdict::Unknown) | None => RegulatorDormancy::Unspecified,
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            kind: self.kind,
            last_active: self.last_active,
            balance_fen: self.balance_fen,
            features: self.features.clone(),
        }
    }

    /// Only for a dormant card: when a withheld one was last used would say something about the reason.
    fn evidence(&self, status: CardStatus, today: Date) -> Option<wire::Dormancy> {
        let rule = self.dormancy.as_ref().filter(|_| status == CardStatus::Dormant)?;
        Some(wire::Dormancy {
            rule_id: rule.id.clone(),
            last_active_month: self.last_active.map_or(0, |day| Month::of(day).number()),
            as_of_day: day_number(today),
        })
    }

    /// The internal source that a card of this kind is counted to.
    pub fn source(&self) -> MissingSource {
        match self.kind {
            CardKind::Credit | CardKind::QuasiCredit => MissingSource::Credit,
            CardKind::Prepaid | CardKind::SemiOpenPrepaid => MissingSource::Prepaid,
            CardKind::Unknown | CardKind::Debit | CardKind::DebitCredit => MissingSource::Debit,
        }
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Card(redacted)")
    }
}

/// Year × 10000 + month × 100 + day.
fn day_number(day: Date) -> u32 {
    let part = |value: i16| u32::from(value.unsigned_abs());
    part(day.year()) * 10_000 + part(day.month().into()) * 100 + part(day.day().into())
}

/// What a person can do about a card in this state; the texts are the bank's, in the registry.
fn next_actions(status: CardStatus) -> &'static [NextAction] {
    match status {
        CardStatus::Normal | CardStatus::NotActivated => &[NextAction::Close, NextAction::ReportNotMine],
        CardStatus::Dormant => &[NextAction::Reactivate, NextAction::Close, NextAction::ReportNotMine],
        CardStatus::LostReported => &[NextAction::VisitBranch, NextAction::ReportNotMine],
        CardStatus::Locked => &[NextAction::VisitBranch, NextAction::CallBank],
        CardStatus::Expired => &[NextAction::Close, NextAction::CallBank],
        CardStatus::Cancelling | CardStatus::Withheld | CardStatus::Unknown | CardStatus::Unspecified => {
            &[NextAction::CallBank]
        }
    }
}

/// Whether `text` may be a product code or rule id: up to [`MAX_CODE`] letters, digits, hyphens, dots or underscores.
pub fn is_code(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= MAX_CODE && text.bytes().all(allowed)
}
