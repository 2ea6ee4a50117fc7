//! `bank-connector doctor`: everything between this machine, the brokers, the registry and the bank's own system, looked
//! at beside a connector that may run.
//!
//! ```text
//!  config ─▶ files, keys ───────────────────────────────▶ rehearsal
//!     │                                                      ▲
//!     ├─▶ dns/tcp ─▶ tls ─▶ sasl ─▶ acl, topics, clock, registry
//!     └─▶ core ──────────────────────────────────────────────┘
//! ```
//!
//! | file | role |
//! |---|---|
//! | `broker.rs` | network, TLS, login, access lists, topics, clock |
//! | `registry.rs` | pure: what the registry says about this bank and its keys |
//! | `core.rs` | the bank's own system, asked for a person who does not exist |
//! | `rehearsal.rs` | a made-up card on the whole way from a wallet to its device, within this process |
//!
//! What must never happen here: a record is written, a group is joined, an offset is changed.

mod broker;
mod core;
mod registry;
pub mod rehearsal;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use plumbing::doctor::{Report, State, secret_files};
use plumbing::exit::Exit;
use plumbing::kafka::KafkaConfig;
use schemas::time::UnixMillis;

use crate::config::Config;
use crate::edge::clock::system_clock;
use crate::secrets::{Secrets, SecretsError};

/// How long a reader may read nothing before it gives up; a service is more patient.
const STALL_MS: u64 = 10_000;

/// Looks at everything, in the order in which one thing needs another.
pub async fn examine(config: Config, report: &mut Report) {
    let clock = system_clock();
    let kafka = KafkaConfig { stall_timeout_ms: STALL_MS, ..config.kafka.clone() };
    let secrets = keys(&config, report);
    if let Some(session) = broker::enter(&kafka, clock().0, report).await {
        broker::look(&config, &kafka, &session, &clock, report).await;
        registry::look(&config, &kafka, secrets.as_ref(), clock(), report).await;
    } else {
        report.skip_all(&["acl", "topics", "clock", "registry"], "sasl");
    }
    let answers = core::look(&config, report).await;
    match secrets {
        None => report.skip("rehearsal", "a card of nobody", "keys"),
        Some(_) if !answers => report.skip("rehearsal", "a card of nobody", "core"),
        Some(secrets) => rehearse(&config, &secrets, clock(), report),
    }
}

/// The files of secrets, and what is in those of this bank's keys.
fn keys(config: &Config, report: &mut Report) -> Option<Secrets> {
    let mut files: Vec<(String, &Path)> = Vec::new();
    if config.signing_key.is_none() {
        files.push(("signing_key_file".to_owned(), &config.signing_key_file));
    }
    if config.opening_keys.is_empty() {
        let named = |(index, path)| (format!("opening_key_files[{index}]"), path as &Path);
        files.extend(config.opening_key_files.iter().map(PathBuf::as_path).enumerate().map(named));
    }
    let properties = config.kafka.property_files.iter();
    files.extend(properties.map(|(key, path)| (format!("kafka.property_files.{key}"), path.as_path())));
    for (index, source) in config.source.iter().enumerate() {
        if let Some(path) = &source.sql.url_file {
            files.push((format!("source[{index}].sql.url_file"), path));
        }
    }
    secret_files(files, report);
    match Secrets::load(config) {
        Ok(secrets) => {
            let opening: Vec<String> = secrets.opening_keys.iter().map(|key| key.id().to_string()).collect();
            let what = format!("signs with {}, opens with {}", secrets.signing_key.id(), opening.join(", "));
            report.ok("keys", what);
            Some(secrets)
        }
        Err(error) => {
            let fix = match error {
                SecretsError::NoOpeningKey => "name the file of the key in force in opening_key_files",
                SecretsError::File(_) => {
                    "write the key into it as 64 hex digits: docs/bank.md, The connector"
                }
            };
            report.add("keys", error.to_string(), State::failed(error.exit(), fix));
            None
        }
    }
}

fn rehearse(config: &Config, secrets: &Secrets, now: UnixMillis, report: &mut Report) {
    let day = Timestamp::from_millisecond(now.0).unwrap_or(Timestamp::MAX);
    let today = day.to_zoned(TimeZone::fixed(tz::offset(config.utc_offset_hours))).date();
    let begun = Instant::now();
    let rehearsed =
        rehearsal::rehearse(&config.bank, secrets, Duration::from_secs(config.max_factor_age), today, now);
    let what = "a card of nobody: masked, sealed, signed, opened again; nothing was sent";
    let (what, state) = match rehearsed {
        Ok(()) => (what.to_owned(), State::Ok),
        Err(error) => {
            let fix = "keep this report and ask who built this binary: the rehearsal uses nothing but it and the keys";
            (error.to_string(), State::failed(Exit::Software, fix))
        }
    };
    report.timed("rehearsal", what, state, begun.elapsed());
}
