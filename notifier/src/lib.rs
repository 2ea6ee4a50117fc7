//! Turns notices into exactly one SMS per query, and writes down what became of each.
//!
//! ```text
//! notice.v1 ─▶ handler: verify ─▶ dispatch: claim ─▶ SmsClaimed ─▶ gateway ─▶ SmsAccepted | SmsFailed | SmsUnknown
//!                  │                          (store)                                        (sms.v1)
//!                  └─▶ dlq.notice.v1         │
//!                                     sweep: what waits for its time, or for what the gateway says when it is asked
//!          callbacks: SmsDelivered | SmsFailed
//! ```
//!
//! | to find | look in |
//! |---|---|
//! | the states of an SMS | [`domain::sms`] |
//! | the order that survives a crash | [`dispatch`] |
//! | what the SMS says | [`domain::text`], `templates/` |
//! | who may send | [`store`], `migrations/` |
//! | how far the store reflects the SMS topic | `upkeep.rs` |
//! | what waits for its time | `sweep.rs` |
//! | the way to the phone | [`mod@gateway`] |
//! | delivery receipts | `edge/callbacks.rs` |

pub mod config;
pub mod dispatch;
pub mod domain;
pub mod edge;
pub mod gateway;
pub mod handler;
pub mod metric_names;
mod service;
pub mod store;
mod sweep;
mod upkeep;

pub use config::{Config, Secrets};
pub use service::{Running, StartError, gateway, start};
