//! HTTP between parties: mutual TLS, and who the other side is.
//!
//! In: addresses and three files. Out: connections with a [`Peer`], and clients that show who they are. What must never happen here: a connection whose
//! client certificate was not verified counts as one of a party.

mod client;
mod listener;
mod mutual_tls;
mod peer;

pub use self::client::client;
pub use self::listener::HttpListener;
pub use self::mutual_tls::{MutualTls, TlsError};
pub use self::peer::Peer;
