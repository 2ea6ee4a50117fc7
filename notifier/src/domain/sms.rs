//! The one SMS of a query: `pending → claimed → sent | failed | unknown`.
//!
//! The claim stands before the gateway is called, so whoever finds a claim without an outcome knows that the SMS may
//! have been sent and that nobody will ever know. Such an SMS ends `unknown` and is not sent again.
//!
//! A claim has a lease. As long as it runs, its holder may be at the gateway, and others wait. When it has run out
//! without an outcome the holder is taken for dead. A holder that was only asleep may still tell what became of its
//! attempt; it cannot claim again, and it does not call the gateway when its lease is over.

use std::time::Duration;

use schemas::codes::Code;
use schemas::ids::{MessageId, Reference};
use schemas::time::UnixMillis;
use uuid::Uuid;

/// What is known of an SMS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sms {
    /// Number of the newest attempt, from 1; 0 when there was none. It only grows.
    pub attempt: u32,
    /// Where it stands.
    pub state: State,
}

/// Where an SMS stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nobody has taken it up, or whoever did gave it back without a call of the gateway.
    #[default]
    Pending,
    /// Somebody is about to call the gateway, or has called it.
    Claimed {
        /// Who.
        claimant: Claimant,
        /// When the lease is over.
        until: UnixMillis,
    },
    /// It is over.
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
        /// The gateway's own id of the message; `None` when only a delivery receipt tells of it.
        gateway_id: Option<String>,
    },
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

/// How a claim ends that nobody finished.
pub const UNFINISHED: Outcome = Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN };

/// What a claimant wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Who claims.
    pub claimant: Claimant,
    /// Whether the gateway sends nothing twice under the same out-id.
    pub idempotent: bool,
    /// How long nobody else may take the claimant for dead.
    pub lease: Duration,
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
    /// Something is known about the outcome of an attempt.
    End {
        /// Which.
        attempt: u32,
        /// What.
        outcome: Outcome,
    },
    /// This is what the SMS topic says. A claim is durable before the topic tells of it, so a row that does not know the
    /// told attempt is older than the topic: it was restored from a backup.
    Told(Told),
}

/// What is known next.
pub fn apply(sms: Sms, event: Event, now: UnixMillis) -> Sms {
    let attempt = sms.attempt;
    match (sms.state, event) {
        (State::Claimed { claimant, until }, Event::Claim(terms)) => {
            if now < until {
                Sms { attempt, state: State::Claimed { claimant, until } }
            } else if terms.idempotent {
                claimed(attempt + 1, terms, now)
            } else {
                Sms { attempt, state: State::Ended(UNFINISHED) }
            }
        }
        (State::Pending, Event::Claim(terms)) => claimed(attempt + 1, terms, now),
        (State::Ended(Outcome::Unknown { .. }), Event::Claim(terms)) if terms.idempotent => {
            claimed(attempt + 1, terms, now)
        }
        (State::Claimed { .. }, Event::Release { attempt: given_back }) if given_back == attempt => {
            Sms { attempt, state: State::Pending }
        }
        (state, Event::End { attempt: ended, outcome }) => end(Sms { attempt, state }, ended, outcome),
        (state, Event::Told(Told { attempt: told, outcome: Some(outcome) })) => {
            end(Sms { attempt, state }, told, outcome)
        }
        (state, Event::Told(Told { attempt: told, outcome: None })) => {
            let over = matches!(state, State::Claimed { until, .. } if until <= now);
            let sms = Sms { attempt, state };
            if told > attempt || (told == attempt && over) { end(sms, told, UNFINISHED) } else { sms }
        }
        (
            state @ State::Ended(Outcome::Sent { .. } | Outcome::Failed { .. } | Outcome::Unknown { .. }),
            Event::Claim(_),
        )
        | (state @ (State::Pending | State::Claimed { .. } | State::Ended(_)), Event::Release { .. }) => {
            Sms { attempt, state }
        }
    }
}

fn claimed(attempt: u32, terms: Terms, now: UnixMillis) -> Sms {
    let Terms { claimant, lease, .. } = terms;
    Sms { attempt, state: State::Claimed { claimant, until: now + lease } }
}

/// An earlier attempt that was sent is news, whatever came after it. That it was not sent, or may have been, says
/// nothing about the attempt after it.
fn end(sms: Sms, ended: u32, outcome: Outcome) -> Sms {
    if ended < sms.attempt && !matches!(outcome, Outcome::Sent { .. }) {
        return sms;
    }
    let attempt = sms.attempt.max(ended);
    let outcome = match sms.state {
        State::Pending | State::Claimed { .. } => outcome,
        State::Ended(known) => known.or_better(outcome),
    };
    Sms { attempt, state: State::Ended(outcome) }
}

impl Told {
    /// What the topic says after one more record: a claim, or with `outcome` an end.
    pub fn and(self, attempt: u32, outcome: Option<Outcome>) -> Self {
        let known = match self.outcome {
            Some(known) => State::Ended(known),
            None => State::Pending,
        };
        let known = Sms { attempt: self.attempt, state: known };
        let next = match outcome {
            Some(outcome) => end(known, attempt, outcome),
            None if attempt <= self.attempt => known,
            // Only what may be sent again is claimed again.
            None => match known.state {
                State::Ended(Outcome::Unknown { .. }) | State::Pending | State::Claimed { .. } => {
                    Sms { attempt, state: State::Pending }
                }
                state @ State::Ended(Outcome::Sent { .. } | Outcome::Failed { .. }) => Sms { attempt, state },
            },
        };
        let outcome = match next.state {
            State::Ended(outcome) => Some(outcome),
            State::Pending | State::Claimed { .. } => None,
        };
        Self { attempt: next.attempt, outcome }
    }
}

impl Outcome {
    /// Late knowledge only ever adds: a sender that was thought lost may still wake up and tell.
    fn or_better(self, news: Self) -> Self {
        if news.certainty() > self.certainty() { news } else { self }
    }

    fn certainty(&self) -> u8 {
        match self {
            Outcome::Unknown { .. } => 0,
            Outcome::Failed { .. } => 1,
            Outcome::Sent { .. } => 2,
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
