//! Registers a query, asks the banks, assembles replies, keeps the deadline, serves reports.
//!
//! ```text
//!  query topics ─▶ handler::Registrar ─▶ store ─▶ outbox ─▶ event topics, notice topic
//!                         │ asks            ▲
//!                         ▼                 │ domain::assembly decides
//!  request topics     (banks)      handler::Assembler ◀─ reply topics
//!                                           ▲
//!                                   handler::Sweeper: deadlines, second questions
//!                                   audit_log: leaves of the store ─▶ audit topic, with checkpoints
//! ```
//!
//! What must never happen here: a second report for a query, a report that leaves out a reply that came in time, and
//! anything of a card, a bank's answer or an identity in the clear.

pub mod audit_log;
pub mod config;
pub mod domain;
pub mod edge;
pub mod first_line;
pub mod handler;
pub mod metric_names;
pub mod service;
pub mod store;

pub use self::config::{Config, Secrets};
pub use self::service::{Running, StartError, Stores, start, start_on};
