//! The answer of a bank: pure, from what was asked and what was found.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::Date;
use schemas::time::UnixMillis;
use schemas::wire::{self, AnswerKind, MissingSource};

use super::eligibility;
use super::found::Found;
use super::identity::Identity;

/// Cards in one answer at most, so that every answer fits the largest size that is sealed.
pub const MAX_CARDS: usize = 96;
/// `as_of` is told to the minute: finer, it would say how long the bank looked.
const AS_OF_STEP: Duration = Duration::from_secs(60);

/// When a bank looked.
#[derive(Clone, Copy, Debug)]
pub struct Looked {
    /// The instant.
    pub at: UnixMillis,
    /// The bank's local day.
    pub today: Date,
}

/// What the bank says. The order in which it is judged is that of [`eligibility`].
pub fn answer(identity: &Identity, found: &Found, looked: Looked) -> wire::Answer {
    let as_of_ms = as_of(looked.at).0;
    let missing = || found.missing.iter().copied().collect();
    match eligibility::bar(identity, &found.customers, looked.today) {
        // "No cards" is only true of the sources that were asked.
        Some(kind @ AnswerKind::NoCards) => saying(kind, Vec::new(), missing(), as_of_ms),
        // Which source is missing would say something about the reason.
        Some(kind) => saying(kind, Vec::new(), BTreeSet::new(), as_of_ms),
        None => shown(found, missing(), looked.today, as_of_ms),
    }
}

fn shown(found: &Found, mut missing: BTreeSet<MissingSource>, today: Date, as_of_ms: i64) -> wire::Answer {
    let mut cards: Vec<_> = found.cards.iter().map(|card| (card.masked(today), card.source())).collect();
    // By content, not by the order of a table: the same cards always make the same answer.
    cards.sort_by_cached_key(|(card, _)| {
        let number = (card.first4.clone(), card.last4.clone(), card.pan_length);
        (card.kind, number, card.product_code.clone(), card.opened_month, card.status)
    });
    missing.extend(cards.drain(MAX_CARDS.min(cards.len())..).map(|(_, source)| source));
    let kind = if cards.is_empty() { AnswerKind::NoCards } else { AnswerKind::Cards };
    saying(kind, cards.into_iter().map(|(card, _)| card).collect(), missing, as_of_ms)
}

fn saying(
    kind: AnswerKind,
    cards: Vec<wire::Card>,
    missing: BTreeSet<MissingSource>,
    as_of_ms: i64,
) -> wire::Answer {
    wire::Answer {
        kind: kind.into(),
        cards,
        missing_sources: missing.into_iter().map(Into::into).collect(),
        as_of_ms,
    }
}

/// The whole minute. Its encoding has six bytes from 1971 to 2109.
fn as_of(at: UnixMillis) -> UnixMillis {
    let step = i64::try_from(AS_OF_STEP.as_millis()).unwrap_or(1);
    UnixMillis(at.0 - at.0.rem_euclid(step))
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
