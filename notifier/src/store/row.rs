//! A row as every store keeps it, and what it answers.

use std::time::Duration;

use schemas::time::UnixMillis;

use super::{Due, Ended, NoticeAt, Progress, Standing};
use crate::domain::sms::{self, Event, Sms, State};

/// How long whoever recorded an outcome has to bring it into the SMS topic, and whoever gave a claim back to make it again,
/// before somebody else looks after it.
const FINISH_WITHIN: Duration = Duration::from_secs(60);

/// One query's SMS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) sms: Sms,
    /// Whether the SMS topic has the outcome.
    pub(super) announced: bool,
    /// Where its notice stands; `None` when only the SMS topic or a receipt told of it.
    pub(super) notice: Option<NoticeAt>,
    /// Whether it is among those that its phone got on a day.
    pub(super) counted: bool,
}

impl Row {
    /// The row after `event`. What is new is not announced, unless the topic itself says it.
    pub(super) fn after(&self, event: Event, now: UnixMillis) -> Self {
        let told = match &event {
            Event::Told(told, _) => told.outcome.clone(),
            Event::Claim(_)
            | Event::Release { .. }
            | Event::Defer { .. }
            | Event::Unsure { .. }
            | Event::Lapse(_)
            | Event::GiveUp { .. }
            | Event::End { .. }
            | Event::Receipt(_) => None,
        };
        let sms = sms::apply(self.sms.clone(), event, now);
        let known = self.announced && sms.state == self.sms.state && sms.attempt == self.sms.attempt;
        let said = matches!(&sms.state, State::Ended(counts) if Some(counts) == told.as_ref());
        Self { announced: known || said, sms, ..self.clone() }
    }

    /// The row when the topic has `outcome`.
    pub(super) fn announced(mut self, outcome: &sms::Outcome) -> Self {
        self.announced |= matches!(&self.sms.state, State::Ended(counts) if counts == outcome);
        self
    }

    /// When somebody has to look after it.
    pub(super) fn due(&self, now: UnixMillis) -> Option<UnixMillis> {
        match self.sms.state {
            State::Pending => self.notice.map(|_| now + FINISH_WITHIN),
            State::Waiting { due } => Some(due),
            State::Claimed { until, .. } => Some(until),
            State::Ended(_) => (!self.announced).then_some(now + FINISH_WITHIN),
        }
    }

    /// How it stands.
    pub(super) fn standing(&self) -> Standing {
        let Sms { attempt, state, evidence } = &self.sms;
        match state {
            State::Pending => Standing::Open,
            State::Waiting { .. } => Standing::Waiting,
            State::Claimed { claimant, .. } => Standing::Claimed { claimant: *claimant, attempt: *attempt },
            State::Ended(outcome) => Standing::Ended(Ended {
                attempt: *attempt,
                outcome: outcome.clone(),
                announced: self.announced,
                evidence: evidence.clone(),
            }),
        }
    }

    /// What whoever looks after it gets to know.
    pub(super) fn looked_after(self, reference: schemas::ids::Reference) -> Due {
        let Self { sms, notice, announced, .. } = self;
        Due { reference, sms, notice, announced }
    }
}

/// Whether `progress` stands where it is known to have stood, or behind.
pub(super) fn reached(progress: &Progress, known: &Progress) -> bool {
    known.iter().all(|(partition, offset)| progress.get(partition).copied().unwrap_or(0) >= *offset)
}
