//! Edges without domain words: everything a service needs between its rules and the outside world.
//!
//! | module | role |
//! |---|---|
//! | [`kafka`] | consumer loop, tail reader, producer, dead letters, watermarks |
//! | [`postgres`] | settings and pools, waiting for the server, migrations |
//! | [`outbox`] | relay of stored records to Kafka |
//! | [`lifecycle`] | named parts, signals, draining under a grace limit |
//! | [`config`] | defaults < file < environment < flag, with all errors at once, each with file, line and column |
//! | [`health`], [`admin`] | what a process says about itself, and the listener that tells it |
//! | [`telemetry`], [`trace`] | logs and metrics, traces |
//! | [`metric_names`] | every metric name that this crate uses |
//! | [`http`] | mutual TLS and who the other side is |
//! | [`registry`] | the registry topic, the pinned roots, the file of seen versions |
//! | [`key_file`] | secret keys in files |
//! | [`in_force`] | what may be replaced while others read it |
//! | [`doctor`] | what the `doctor` commands share: checks that only look, and their report |
//! | [`cli`], [`exit`] | the outermost layer of a `main`: command line, `config` commands, exit codes |
//!
//! What is deliberately absent: no module but [`registry`] knows what a record means. Meaning enters through
//! [`kafka::Handler`], [`outbox::Outbox`] and plain closures.

pub mod admin;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod exit;
pub mod health;
pub mod http;
pub mod in_force;
pub mod kafka;
pub mod key_file;
pub mod lifecycle;
pub mod metric_names;
pub mod outbox;
pub mod postgres;
pub mod registry;
pub mod telemetry;
pub mod trace;
