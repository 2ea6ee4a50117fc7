//! The one SMS of a query: `pending → claimed → sent | failed | unknown`.
//!
//! The claim stands before the gateway is called, so whoever finds a claim without an outcome knows that the SMS may
//! have been sent and that nobody will ever know. Such an SMS ends `unknown` and is not sent again.

use schemas::codes::Code;
use schemas::ids::{MessageId, Reference};

/// Where the SMS stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nobody has taken it up.
    #[default]
    Pending,
    /// Somebody is about to call the gateway, or has called it.
    Claimed,
    /// It is over.
    Ended(Outcome),
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

/// What happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants to send it.
    Claim {
        /// Whether the gateway sends nothing twice under the same out-id.
        idempotent: bool,
    },
    /// Whoever claimed it gives it back and has not called the gateway.
    Release,
    /// Something is known about the outcome.
    End(Outcome),
}

/// The next state.
pub fn apply(state: State, event: Event) -> State {
    match (state, event) {
        (State::Pending, Event::Claim { .. })
        | (State::Ended(Outcome::Unknown { .. }), Event::Claim { idempotent: true }) => State::Claimed,
        (State::Claimed, Event::Release) => State::Pending,
        (State::Pending | State::Claimed, Event::End(outcome)) => State::Ended(outcome),
        (State::Ended(known), Event::End(news)) => State::Ended(known.or_better(news)),
        (state @ State::Claimed, Event::Claim { .. })
        | (
            state @ State::Ended(Outcome::Sent { .. } | Outcome::Failed { .. } | Outcome::Unknown { .. }),
            Event::Claim { .. },
        )
        | (state @ (State::Pending | State::Ended(_)), Event::Release) => state,
    }
}

/// The state after a claim that is granted; `None` when it is refused.
pub fn claim(state: &State, idempotent: bool) -> Option<State> {
    let next = apply(state.clone(), Event::Claim { idempotent });
    (next != *state).then_some(next)
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
mod tests {
    use super::*;

    const CODE: Code = Code::GATEWAY_REFUSED;

    fn sent() -> Outcome {
        Outcome::Sent { gateway_id: Some("g-1".into()) }
    }

    /// The whole table: rows are states, columns the events named above them.
    #[test]
    fn the_table_of_states_and_events_is_the_published_one() {
        let text = "
            state    claim    claim-again  release  sent  failed  unknown
            pending  claimed  claimed      pending  sent  failed  unknown
            claimed  claimed  claimed      pending  sent  failed  unknown
            sent     sent     sent         sent     sent  sent    sent
            failed   failed   failed       failed   sent  failed  failed
            unknown  unknown  claimed      unknown  sent  failed  unknown
        ";
        let mut rows = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let columns: Vec<&str> = rows.next().expect("a head").split_whitespace().skip(1).collect();
        let mut seen = 0;
        for row in rows {
            let mut cells = row.split_whitespace();
            let state = cells.next().expect("a state");
            for (column, expected) in columns.iter().zip(cells) {
                assert_eq!(apply(state_of(state), event(column)), state_of(expected), "{state}, {column}");
                seen += 1;
            }
        }
        assert_eq!(seen, 30);
    }

    fn state_of(name: &str) -> State {
        match name {
            "pending" => State::Pending,
            "claimed" => State::Claimed,
            "sent" => State::Ended(sent()),
            "failed" => State::Ended(Outcome::Failed { code: CODE }),
            "unknown" => State::Ended(Outcome::Unknown { code: CODE }),
            other => panic!("{other} is no state"),
        }
    }

    fn event(name: &str) -> Event {
        match name {
            "claim" => Event::Claim { idempotent: false },
            "claim-again" => Event::Claim { idempotent: true },
            "release" => Event::Release,
            outcome => match state_of(outcome) {
                State::Ended(outcome) => Event::End(outcome),
                State::Pending | State::Claimed => panic!("{outcome} is no event"),
            },
        }
    }

    #[test]
    fn a_delivery_receipt_does_not_hide_the_gateways_id() {
        let state = apply(State::Ended(sent()), Event::End(Outcome::Sent { gateway_id: None }));
        assert_eq!(state, State::Ended(sent()));
    }

    #[test]
    fn the_out_id_is_the_same_for_every_attempt_and_another_for_every_query() {
        let query = schemas::ids::QueryId::generate();
        let reference = |upstream: &str| Reference { upstream: upstream.parse().expect("an id"), query };
        assert_eq!(out_id(&reference("wallet")), out_id(&reference("wallet")));
        assert_ne!(out_id(&reference("wallet")), out_id(&reference("other")));
    }
}
