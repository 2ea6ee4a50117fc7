//! The way to the phone.

pub mod file;
mod inbox;

use futures::future::BoxFuture;
use schemas::codes::Code;
use schemas::ids::MessageId;

pub use self::inbox::{Inbox, Received};
use crate::domain::phone::Phone;
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
    /// Anything else: a timeout, a cut connection, an answer that is not understood.
    Unknown {
        /// Why.
        code: Code,
    },
}

/// An SMS gateway.
pub trait Gateway: Send + Sync + 'static {
    /// Sends `sms` at most once.
    fn send<'a>(&'a self, sms: &'a OutgoingSms) -> BoxFuture<'a, GatewayOutcome>;

    /// Whether the gateway never sends two messages under one out-id, however far apart the calls are. Some forget an
    /// out-id after seconds: those are not idempotent.
    fn idempotent(&self) -> bool;
}
