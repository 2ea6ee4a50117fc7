//! A row as every store keeps it, and what it answers.

use schemas::time::UnixMillis;

use super::{Claim, Ended, Progress};
use crate::domain::sms::{self, Claimant, Event, Outcome, Sms, State};

/// One query's SMS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) sms: Sms,
    /// Whether the SMS topic has the outcome.
    pub(super) announced: bool,
}

impl Row {
    /// The row after `event`. What is new is not announced, unless the topic itself says it.
    pub(super) fn after(&self, event: Event, now: UnixMillis) -> Self {
        let told = match &event {
            Event::Told(told) => told.outcome.clone(),
            Event::Claim(_) | Event::Release { .. } | Event::End { .. } => None,
        };
        let sms = sms::apply(self.sms.clone(), event, now);
        let known = self.announced && sms == self.sms;
        let said = matches!(&sms.state, State::Ended(counts) if Some(counts) == told.as_ref());
        Self { announced: known || said, sms }
    }

    /// The row when the topic has `outcome`.
    pub(super) fn announced(mut self, outcome: &Outcome) -> Self {
        self.announced |= matches!(&self.sms.state, State::Ended(counts) if counts == outcome);
        self
    }

    /// What a claimant is told.
    pub(super) fn claim_of(&self, asking: Claimant) -> Claim {
        match (&self.sms.state, self.ended()) {
            (State::Claimed { claimant, .. }, _) if *claimant == asking => {
                Claim::Granted { attempt: self.sms.attempt }
            }
            (State::Pending | State::Claimed { .. }, _) | (State::Ended(_), None) => Claim::InProgress,
            (State::Ended(_), Some(ended)) => Claim::Ended(ended),
        }
    }

    /// The outcome that counts, if there is one.
    pub(super) fn ended(&self) -> Option<Ended> {
        match &self.sms.state {
            State::Ended(outcome) => {
                Some(Ended { attempt: self.sms.attempt, outcome: outcome.clone(), announced: self.announced })
            }
            State::Pending | State::Claimed { .. } => None,
        }
    }
}

/// Whether `progress` stands where it is known to have stood, or behind.
pub(super) fn reached(progress: &Progress, known: &Progress) -> bool {
    known.iter().all(|(partition, offset)| progress.get(partition).copied().unwrap_or(0) >= *offset)
}
