//! PostgreSQL, the way this system uses it: one pool per role, every limit kept by the server, no connection that goes
//! back to its pool inside a transaction.
//!
//! | file | role |
//! |---|---|
//! | `config.rs` | settings, and the pool made from them |
//! | `start.rs` | waiting for a server that is not up yet, bringing the schema up to date |
//! | `error.rs` | what an error means for the process |
//!
//! What must never happen here: a limit of the client's clock around `begin()`. A cancelled `begin()` leaves a
//! transaction open that sqlx does not know of (transact-rs/sqlx#4385), and whoever borrows the connection next writes
//! into it. The pool ends such a transaction when the connection comes back; limits are the server's, so that nobody
//! needs to cancel.

mod config;
mod error;
mod start;
mod watch;

pub use config::PostgresConfig;
pub use error::{PostgresError, exit};
pub use start::{UP_WITHIN, migrate, wait_until_up};
pub use watch::watch;
