//! `cardquery doctor`: everything that the hub needs, looked at beside a hub that runs.
//!
//! ```text
//!  config ─▶ files
//!     ├─▶ dns/tcp ─▶ tls ─▶ sasl ─▶ topics, acl, users ─▶ clock, registry
//!     ├─▶ services (each by its admin listener: versions, readiness, lag, clock)
//!     └─▶ rehearsal, or a sample person's query
//! ```
//!
//! | file | role |
//! |---|---|
//! | `options.rs` | the command line |
//! | `cluster.rs` | how the cluster differs from the table |
//! | `registry.rs` | pure: what the registry lacks |
//! | `services.rs` | what the processes say of themselves; PostgreSQL and Redis are theirs to tell |
//! | `query.rs` | the last line: one query, made up or of a sample person |
//!
//! What must never happen here: something is changed, or a query of a real person is sent.

mod cluster;
pub mod options;
mod query;
mod registry;
mod services;

use std::path::Path;
use std::process::ExitCode;

use aggregator::store::{Clock as _, SystemClock};
use plumbing::cli;
use plumbing::doctor::{self, Report, State};
use plumbing::exit::{Exit, Failure};
use plumbing::kafka::KafkaConfig;

use self::options::Options;
use crate::config::{Config, Estate};

/// How long a reader may read nothing before it gives up.
const STALL_MS: u64 = 10_000;

/// Looks and prints.
///
/// # Errors
/// When standard output cannot be written to; what is wrong with the hub is in the report, and in the exit code.
pub async fn run(options: &Options) -> Result<ExitCode, Failure> {
    let mut report = Report::default();
    doctor::build(&mut report);
    match settings(options.config.config.as_deref(), &mut report) {
        Some((config, estate)) => {
            let config_path = options.config.config.as_deref();
            if doctor::bounded(&mut report, async |report| look(&config, &estate, config_path, report).await)
                .await
            {
                query::look(&config, options, &mut report).await;
            }
        }
        None => report.skip("the rest", "not looked at", "config"),
    }
    cli::print_report(&report, options.json)
}

fn settings(path: Option<&Path>, report: &mut Report) -> Option<(Config, Estate)> {
    let seen = path.map_or_else(|| "defaults".to_owned(), |path| path.display().to_string());
    let mut found = Report::default();
    let config = doctor::settings(Config::load(path), seen, None, &mut found);
    let rules =
        config.as_ref().map(|config| (config.estate(), config.kafka.faults(), config.registry.roots()));
    let mut lines = Vec::new();
    let mut estate = None;
    if let Some((read, kafka, roots)) = rules {
        match read {
            Ok(read) => estate = Some(read),
            Err(faults) => lines.extend(faults.into_lines()),
        }
        lines.extend(kafka);
        lines.extend(roots.err().map(|fault| fault.to_string()));
    }
    if lines.is_empty() {
        report.append(found);
        return config.zip(estate);
    }
    for line in lines {
        report.add(
            "config",
            line,
            State::failed(Exit::Config, "correct this setting in the operator's file"),
        );
    }
    None
}

async fn look(config: &Config, estate: &Estate, path: Option<&Path>, report: &mut Report) {
    let kafka = KafkaConfig { stall_timeout_ms: STALL_MS, ..config.kafka.clone() };
    let files = kafka.property_files.iter();
    let files = files.map(|(key, path)| (format!("kafka.property_files.{key}"), path.as_path()));
    doctor::secret_files(files, report);
    if enter(&kafka, report).await {
        cluster::look(config, estate, &kafka, path, report).await;
        let readable = [estate.topics.sms(), estate.topics.registry()];
        doctor::clock(&kafka, &readable, || SystemClock.now().0, report).await;
        registry::look(config, estate, &kafka, SystemClock.now(), report).await;
    } else {
        report.skip_all(&["topics", "acl", "users", "clock", "registry"], "sasl");
    }
    services::look(&config.services, report).await;
}

/// Reaches the brokers and logs in.
async fn enter(kafka: &KafkaConfig, report: &mut Report) -> bool {
    let reached = doctor::reach(&kafka.brokers, report).await;
    if reached.is_empty() {
        report.skip_all(&["tls", "sasl"], "dns/tcp");
        return false;
    }
    if !doctor::tls(kafka, &reached, SystemClock.now().0, report).await {
        report.skip("sasl", "not looked at", "tls");
        return false;
    }
    doctor::log_in(kafka, report).await.is_some()
}
