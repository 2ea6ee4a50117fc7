//! Edges without domain words: everything a service needs between its rules and the outside world.
//!
//! | module | role |
//! |---|---|
//! | [`kafka`] | consumer loop, tail reader, producer, dead letters, watermarks |
//! | [`postgres`] | settings and pools, waiting for the server, migrations |
//! | [`outbox`] | relay of stored records to Kafka |
//! | [`lifecycle`] | named parts, signals, draining under a grace limit |
//! | [`config`] | defaults < file < environment, with errors that name file, line and column |
//! | [`telemetry`] | logs and metrics |
//! | [`metric_names`] | every metric name that this crate uses |
//! | [`registry`] | the registry topic, the pinned roots, the file of seen versions |
//! | [`key_file`] | secret keys in files |
//! | [`cli`], [`exit`] | the outermost layer of a `main`, process exit codes |
//!
//! What is deliberately absent: no module but [`registry`] knows what a record means. Meaning enters through
//! [`kafka::Handler`], [`outbox::Outbox`] and plain closures.

pub mod cli;
pub mod config;
pub mod exit;
pub mod kafka;
pub mod key_file;
pub mod lifecycle;
pub mod metric_names;
pub mod outbox;
pub mod postgres;
pub mod registry;
pub mod telemetry;
