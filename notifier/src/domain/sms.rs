//! The one SMS of a query.
//!
//! ```text
//! pending ─▶ claimed ─▶ sent ─▶ delivered | undelivered
//!    ▲  │       │ ├───▶ failed
//!    │  ▼       │ └───▶ unknown
//!    │ waiting ◀┘         ▲
//!    └──┴─────────────────┘   waiting: for a better time, or for what the gateway says when it is asked
//! ```
//!
//! The claim stands before the gateway is called, so whoever finds a claim without an outcome knows that the SMS may
//! have been sent. Such an SMS is not sent again, unless the gateway sends nothing twice: the gateway is asked what became
//! of it, and when nothing comes of that it ends `unknown`, with the evidence beside it.
//!
//! A claim has a lease. As long as it runs, its holder may be at the gateway, and others wait. When it has run out
//! without an outcome the holder is taken for dead. A holder that was only asleep may still tell what became of its
//! attempt; it cannot claim again, and it does not call the gateway when its lease is over.

use std::time::Duration;

use schemas::codes::Code;
use schemas::ids::{MessageId, Reference};
use schemas::time::UnixMillis;
use uuid::Uuid;

use super::evidence::{Evidence, Means, Said, Step};
use super::quiet::QuietHours;

/// What is known of an SMS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sms {
    /// Number of the newest attempt, from 1; 0 when there was none. It only grows.
    pub attempt: u32,
    /// Where it stands.
    pub state: State,
    /// What leaves open whether it was sent.
    pub evidence: Evidence,
}

/// Where an SMS stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nobody has taken it up, or whoever did gave it back without a call of the gateway.
    #[default]
    Pending,
    /// Nothing is done before an instant. Without evidence the SMS was certainly not sent so far, and is sent then. With
    /// evidence it may have been, and the gateway is asked then.
    Waiting {
        /// The instant.
        due: UnixMillis,
    },
    /// Somebody is about to call the gateway, or has called it.
    Claimed {
        /// Who.
        claimant: Claimant,
        /// When the lease is over.
        until: UnixMillis,
    },
    /// It is over, but for a delivery receipt.
    Ended(Outcome),
}

/// Who claims: another one for every delivery of a notice, so that a claim whose answer was lost can be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimant(pub Uuid);

impl Claimant {
    /// One that nobody else is.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for Claimant {
    fn default() -> Self {
        Self::new()
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The gateway took it.
    Sent {
        /// The gateway's own id of the message.
        gateway_id: String,
    },
    /// A receipt says that it arrived.
    Delivered,
    /// A receipt says that it did not arrive.
    Undelivered,
    /// It was certainly not sent.
    Failed {
        /// Why.
        code: Code,
    },
    /// It may have been sent.
    Unknown {
        /// Why that is not known.
        code: Code,
    },
}

/// How an SMS ends of which nobody knows whether it was sent.
pub const UNFINISHED: Outcome = Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN };

/// What a claimant wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Who claims.
    pub claimant: Claimant,
    /// What can be done about an attempt whose outcome is open.
    pub means: Means,
    /// How long nobody else may take the claimant for dead.
    pub lease: Duration,
    /// When nothing is sent; `None`: there is no such time.
    pub quiet: Option<QuietHours>,
}

/// What the SMS topic says about one SMS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Number of the newest attempt; 0 when it says nothing.
    pub attempt: u32,
    /// How it ended; `None` for a claim without an outcome.
    pub outcome: Option<Outcome>,
}

/// What happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants to send it.
    Claim(Terms),
    /// Whoever made this attempt gives it back and has not called the gateway.
    Release {
        /// Which.
        attempt: u32,
    },
    /// The gateway has certainly not taken this attempt, and may take another one later.
    Defer {
        /// Which.
        attempt: u32,
        /// How much later.
        wait: Duration,
        /// When it is given up.
        expires: UnixMillis,
        /// What can be done about an earlier attempt whose outcome is open.
        means: Means,
    },
    /// The gateway's answer to this attempt, or about it, leaves open whether it was sent.
    Unsure {
        /// Which.
        attempt: u32,
        /// What was asked.
        step: Step,
        /// What was answered.
        said: Said,
        /// What can be done about it.
        means: Means,
    },
    /// Somebody looked after an SMS whose claimant may be dead.
    Lapse(Means),
    /// This attempt was not sent and no other will be.
    GiveUp {
        /// Which.
        attempt: u32,
        /// Why.
        code: Code,
    },
    /// Something is known about the outcome of an attempt.
    End {
        /// Which.
        attempt: u32,
        /// What.
        outcome: Outcome,
    },
    /// The gateway tells by itself what became of the SMS, whichever attempt it was.
    Receipt(Outcome),
    /// This is what the SMS topic says. A claim is durable before the topic tells of it, so a row that does not know the
    /// told attempt is older than the topic: it was restored from a backup.
    Told(Told, Means),
}

/// What is known next.
pub fn apply(sms: Sms, event: Event, now: UnixMillis) -> Sms {
    match event {
        Event::Claim(terms) => claim(sms, &terms, now),
        Event::Release { attempt } => match sms.state {
            State::Claimed { .. } if attempt == sms.attempt => Sms { state: State::Pending, ..sms },
            State::Pending | State::Waiting { .. } | State::Claimed { .. } | State::Ended(_) => sms,
        },
        Event::Defer { attempt, wait, expires, means } => match sms.state {
            State::Claimed { .. } if attempt == sms.attempt => defer(sms, now + wait, expires, means, now),
            State::Pending | State::Waiting { .. } | State::Claimed { .. } | State::Ended(_) => sms,
        },
        Event::Unsure { attempt, step, said, means } => match sms.state {
            State::Pending | State::Waiting { .. } | State::Claimed { .. } if attempt >= sms.attempt => {
                unsure(Sms { attempt, ..sms }, step, said, means, now)
            }
            State::Pending | State::Waiting { .. } | State::Claimed { .. } | State::Ended(_) => sms,
        },
        Event::Lapse(means) => lapse(sms, means, now),
        Event::GiveUp { attempt, code } => match sms.state {
            State::Pending | State::Waiting { .. } | State::Claimed { .. } if attempt == sms.attempt => {
                give_up(sms, code)
            }
            State::Pending | State::Waiting { .. } | State::Claimed { .. } | State::Ended(_) => sms,
        },
        Event::End { attempt, outcome } => end(sms, attempt, outcome),
        Event::Receipt(outcome) => {
            let attempt = sms.attempt.max(1);
            end(sms, attempt, outcome)
        }
        Event::Told(Told { attempt, outcome: Some(outcome) }, _) => end(sms, attempt, outcome),
        Event::Told(Told { attempt, outcome: None }, means) => match sms.state {
            State::Ended(_) if attempt > sms.attempt => Sms { attempt, ..sms },
            State::Pending | State::Waiting { .. } | State::Claimed { .. } if attempt > sms.attempt => {
                unsure_since(Sms { attempt, ..sms }, means, now)
            }
            State::Claimed { .. } if attempt == sms.attempt => lapse(sms, means, now),
            State::Pending | State::Waiting { .. } | State::Claimed { .. } | State::Ended(_) => sms,
        },
    }
}

fn claim(sms: Sms, terms: &Terms, now: UnixMillis) -> Sms {
    let sms = lapse(sms, terms.means, now);
    let due = match sms.state {
        State::Pending | State::Ended(Outcome::Unknown { .. }) => true,
        State::Waiting { due } => due <= now,
        State::Claimed { .. }
        | State::Ended(
            Outcome::Sent { .. } | Outcome::Delivered | Outcome::Undelivered | Outcome::Failed { .. },
        ) => false,
    };
    let doubtful = sms.evidence.is_doubt() || matches!(sms.state, State::Ended(_));
    if !due || (doubtful && !terms.means.idempotent) {
        return sms;
    }
    let mut sms = sms;
    if doubtful && !sms.evidence.is_doubt() {
        sms.evidence.add(now, Step::Send, Said::NoOutcome);
    }
    match terms.quiet.as_ref().and_then(|quiet| quiet.end(now)) {
        Some(due) => Sms { state: State::Waiting { due }, ..sms },
        None => {
            let state = State::Claimed { claimant: terms.claimant, until: now + terms.lease };
            Sms { attempt: sms.attempt + 1, state, ..sms }
        }
    }
}

/// A claim whose lease is over may have been sent.
fn lapse(sms: Sms, means: Means, now: UnixMillis) -> Sms {
    match sms.state {
        State::Claimed { until, .. } if until <= now => unsure_since(sms, means, now),
        State::Pending | State::Waiting { .. } | State::Claimed { .. } | State::Ended(_) => sms,
    }
}

/// Nobody has asked the gateway yet, so there is nothing to wait for.
fn unsure_since(sms: Sms, means: Means, now: UnixMillis) -> Sms {
    let sms = unsure(sms, Step::Send, Said::NoOutcome, means, now);
    match sms.state {
        State::Waiting { .. } => Sms { state: State::Waiting { due: now }, ..sms },
        State::Pending | State::Claimed { .. } | State::Ended(_) => sms,
    }
}

fn unsure(mut sms: Sms, step: Step, said: Said, means: Means, now: UnixMillis) -> Sms {
    sms.evidence.add(now, step, said);
    let state = match means.next(&sms.evidence, now) {
        Some(due) => State::Waiting { due },
        None => State::Ended(UNFINISHED),
    };
    Sms { state, ..sms }
}

fn defer(sms: Sms, due: UnixMillis, expires: UnixMillis, means: Means, now: UnixMillis) -> Sms {
    let given_up = due > expires || (sms.evidence.is_doubt() && means.next(&sms.evidence, now).is_none());
    if given_up {
        give_up(sms, Code::GATEWAY_UNAVAILABLE)
    } else {
        Sms { state: State::Waiting { due }, ..sms }
    }
}

/// That the newest attempt was not sent says nothing about an earlier one in doubt.
fn give_up(sms: Sms, code: Code) -> Sms {
    let outcome = if sms.evidence.is_doubt() { UNFINISHED } else { Outcome::Failed { code } };
    Sms { state: State::Ended(outcome), ..sms }
}

/// An earlier attempt that was sent is news, whatever came after it. That it was not sent, or may have been, says
/// nothing about the attempt after it.
fn end(sms: Sms, ended: u32, outcome: Outcome) -> Sms {
    let sent = match outcome {
        Outcome::Sent { .. } | Outcome::Delivered | Outcome::Undelivered => true,
        Outcome::Failed { .. } | Outcome::Unknown { .. } => false,
    };
    if ended < sms.attempt && !sent {
        return sms;
    }
    let attempt = sms.attempt.max(ended);
    let outcome = match sms.state {
        State::Pending | State::Waiting { .. } | State::Claimed { .. } => outcome,
        State::Ended(known) => known.or_better(outcome),
    };
    Sms { attempt, state: State::Ended(outcome), evidence: sms.evidence }
}

impl Told {
    /// What the topic says after one more record: a claim, or with `outcome` an end.
    pub fn and(self, attempt: u32, outcome: Option<Outcome>) -> Self {
        let known = match self.outcome {
            Some(known) => State::Ended(known),
            None => State::Pending,
        };
        let known = Sms { attempt: self.attempt, state: known, evidence: Evidence::default() };
        let next = match outcome {
            Some(outcome) => end(known, attempt, outcome),
            None if attempt <= self.attempt => known,
            // Only what may be sent again is claimed again.
            None => match known.state {
                State::Ended(Outcome::Unknown { .. })
                | State::Pending
                | State::Waiting { .. }
                | State::Claimed { .. } => Sms { attempt, state: State::Pending, ..known },
                State::Ended(
                    Outcome::Sent { .. } | Outcome::Delivered | Outcome::Undelivered | Outcome::Failed { .. },
                ) => Sms { attempt, ..known },
            },
        };
        let outcome = match next.state {
            State::Ended(outcome) => Some(outcome),
            State::Pending | State::Waiting { .. } | State::Claimed { .. } => None,
        };
        Self { attempt: next.attempt, outcome }
    }
}

impl Outcome {
    /// Late knowledge only ever adds: a sender that was thought lost may still wake up and tell, and receipts come late.
    fn or_better(self, news: Self) -> Self {
        if news.certainty() > self.certainty() { news } else { self }
    }

    fn certainty(&self) -> u8 {
        match self {
            Outcome::Unknown { .. } => 0,
            Outcome::Failed { .. } => 1,
            Outcome::Sent { .. } => 2,
            Outcome::Undelivered => 3,
            Outcome::Delivered => 4,
        }
    }
}

/// The out-id that the gateway gets: the same for every attempt and every re-emission of the notice.
pub fn out_id(reference: &Reference) -> MessageId {
    reference.message_id("sms/report-ready")
}

#[cfg(test)]
#[path = "sms_tests.rs"]
mod tests;
