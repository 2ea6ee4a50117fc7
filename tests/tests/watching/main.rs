//! What an operator watches: dashboard and alert rules speak of what is there, and alerts fire when they should.
//!
//! | file | role |
//! |---|---|
//! | `expressions.rs` | metrics and labels of a PromQL expression |
//! | `files.rs` | every panel, alert and runbook |
//! | `alerts.rs` | a real system, a real Prometheus, the shipped rules |
//! | `gateway.rs` | an SMS gateway that leaves everybody in doubt |
//! | `http.rs` | what both of these listen with |
//! | `canary.rs` | no command, log, metric or trace shows a person |
//! | `traces.rs`, `collector.rs` | one query as one trace, and who it is told to |

mod alerts;
mod canary;
mod collector;
mod expressions;
mod files;
mod gateway;
mod http;
mod traces;
