//! The way to the phone.

pub mod file;
pub mod http;
mod inbox;
pub mod signature;

use std::time::Duration;

use futures::future::BoxFuture;
use schemas::codes::Code;
use schemas::ids::MessageId;

pub use self::inbox::{Inbox, Received};
use crate::domain::evidence::Said;
use crate::domain::phone::Phone;
use crate::domain::sms::Outcome;
use crate::domain::text::{Language, Message};

/// One SMS on its way. It exists while it is sent, and its number does not print.
#[derive(Debug)]
pub struct OutgoingSms {
    /// The same for every attempt.
    pub out_id: MessageId,
    /// Where it goes.
    pub to: Phone,
    /// Language of the text.
    pub language: Language,
    /// The template's parameters, and with a language the text.
    pub message: Message,
}

impl OutgoingSms {
    /// The whole text.
    pub fn text(&self) -> String {
        self.message.text(self.language)
    }
}

/// What a gateway says. Its own words stay behind: they may quote the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayOutcome {
    /// It will be sent.
    Accepted {
        /// The gateway's own id of the message.
        gateway_id: String,
    },
    /// It is certain that it was not and will not be sent.
    Refused {
        /// Why.
        code: Code,
    },
    /// It is certain that it was not taken; another call may be.
    NotTaken {
        /// How long the gateway wants to be left alone, if it says so.
        retry_after: Option<Duration>,
    },
    /// Anything else: a timeout, a cut connection, an answer that is not understood.
    Unknown {
        /// Why.
        said: Said,
    },
}

/// What a gateway answers when it is asked what became of an out-id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inquired {
    /// That is known.
    Known(Outcome),
    /// It is still open. Also when the gateway does not know the out-id: the call may be on its way.
    Open(Said),
}

/// An SMS gateway.
pub trait Gateway: Send + Sync + 'static {
    /// Sends `sms` at most once.
    fn send<'a>(&'a self, sms: &'a OutgoingSms) -> BoxFuture<'a, GatewayOutcome>;

    /// Whether the gateway never sends two messages under one out-id, however far apart the calls are, and answers a
    /// repeated call as the first. Some forget an out-id after seconds: those are not idempotent.
    fn idempotent(&self) -> bool;

    /// The gateway's way to be asked what became of an SMS; `None` when it has none.
    fn inquiries(&self) -> Option<&dyn Inquiries>;
}

/// The part of a gateway that can be asked what became of an SMS.
pub trait Inquiries: Send + Sync {
    /// Asks. Sends nothing.
    fn inquire(&self, out_id: MessageId) -> BoxFuture<'_, Inquired>;
}

#[cfg(test)]
mod tests {
    use schemas::ids::{QueryId, Reference};
    use schemas::notice::Header;
    use schemas::time::UnixMillis;
    use schemas::wire::QueryState;

    use super::*;
    use crate::domain::sms;

    /// An SMS about a report of 12 answers out of 14.
    pub(super) fn sms() -> OutgoingSms {
        let reference = Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
        let out_id = sms::out_id(&reference);
        let state = QueryState::FinalPartial;
        let header = Header { reference, state, banks: 14, answered: 12, accepted_at: UnixMillis(0) };
        OutgoingSms {
            out_id,
            to: Phone::parse("+8613800000001".into()).expect("plausible"),
            language: Language::En,
            message: Message::of(&header).expect("final"),
        }
    }
}
