//! A phone in this process, for the demo and for tests. It shows the number masked.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use schemas::codes::Code;
use schemas::ids::MessageId;
use tokio::sync::mpsc;

use super::{Gateway, GatewayOutcome, Inquiries, OutgoingSms};

/// The sending end.
#[derive(Debug)]
pub struct Inbox {
    received: mpsc::UnboundedSender<Received>,
    count: AtomicU64,
}

/// An SMS that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The masked number, for example `138****0001`.
    pub to: String,
    /// The text.
    pub text: String,
    /// The out-id.
    pub out_id: MessageId,
}

impl Inbox {
    /// A gateway, and what arrives through it.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Received>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { received: sender, count: AtomicU64::new(0) }, receiver)
    }

    fn take(&self, sms: &OutgoingSms) -> GatewayOutcome {
        let received = Received { to: sms.to.masked(), text: sms.text(), out_id: sms.out_id };
        match self.received.send(received) {
            Ok(()) => {
                let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
                GatewayOutcome::Accepted { gateway_id: format!("inbox-{number}") }
            }
            Err(_) => GatewayOutcome::Refused { code: Code::GATEWAY_REFUSED },
        }
    }
}

impl Gateway for Inbox {
    fn send<'a>(&'a self, sms: &'a OutgoingSms) -> BoxFuture<'a, GatewayOutcome> {
        async { self.take(sms) }.boxed()
    }

    fn idempotent(&self) -> bool {
        false
    }

    fn inquiries(&self) -> Option<&dyn Inquiries> {
        None
    }
}
