//! Runs inside a bank: consume requests, look up cards, mask, seal, sign, reply.
//!
//! ```text
//!  request topic ─▶ handler ─▶ verify, open identity ─▶ lookup ─▶ CardSource
//!                                                          │
//!  reply topic ◀─ replier (one signature per batch) ◀─ seal ◀─ domain::answer (masked here)
//! ```
//!
//! What must never happen here: a lookup for a request that the upstream did not sign for this identity and this report
//! key; a full card number outside [`domain::pan::Pan`]; an offset that completes before its reply is acknowledged.
//!
//! | to find | look in |
//! |---|---|
//! | what a person is told, and in which order it is judged | [`domain::answer`], [`domain::eligibility`] |
//! | how a bank's own tables become cards | [`source::sql`] |
//! | how to plug in something else than SQL | [`source::CardSource`] |
//! | how long a source that is down is tried | `edge/lookup.rs`, `domain/circuit.rs` |
//! | how replies are batched and signed | `edge/replier.rs` |
//! | what `bank-connector doctor` looks at | [`doctor`] |
//!
//! Deliberately absent: dead letters, a database of its own, and any word about the answer outside its seal.

pub mod config;
pub mod doctor;
pub mod domain;
mod edge;
mod handler;
pub mod metric_names;
pub mod secrets;
mod service;
pub mod source;

pub use config::Config;
pub use edge::clock::{Clock, system_clock};
pub use secrets::Secrets;
pub use service::{Running, StartError, start, start_with_clock};
