//! Configuration: `config.default.toml` is the defaults and their documentation.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plumbing::admin::AdminConfig;
use plumbing::config::{ConfigError, Effective, Faults, Settings, Sources};
use plumbing::kafka::KafkaConfig;
use plumbing::registry::RegistryConfig;
use plumbing::trace::TelemetryConfig;
use schemas::ids::BankId;
use schemas::wire::MissingSource;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use crate::secrets::Secrets;
use crate::source::several::{Part, Several};
use crate::source::sql::SqlSource;
pub use crate::source::sql_config::{CardColumns, CustomerColumns, DormancyConfig, SqlConfig, Values};

const DEFAULTS: &str = include_str!("../config.default.toml");

/// Settings of the service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The bank.
    pub bank: BankId,
    /// First part of every topic's and group's name.
    pub prefix: String,
    /// File with the bank's Ed25519 seed, 64 hex digits.
    pub signing_key_file: PathBuf,
    /// The seed itself; only in the environment.
    #[serde(default)]
    pub signing_key: Option<SecretString>,
    /// Files with X25519 private keys, 64 hex digits each: the one in force and retired ones.
    pub opening_key_files: Vec<PathBuf>,
    /// The keys themselves; only in the environment.
    #[serde(default)]
    pub opening_keys: Vec<SecretString>,
    /// Greatest age of an authentication factor when a query is accepted, in seconds.
    pub max_factor_age: u64,
    /// Hours by which the bank's local time is ahead of UTC.
    pub utc_offset_hours: i8,
    /// Health and metrics.
    pub admin: AdminConfig,
    /// Traces.
    pub telemetry: TelemetryConfig,
    /// How to reach Kafka.
    pub kafka: KafkaConfig,
    /// Whom to trust.
    pub registry: RegistryConfig,
    /// What is bounded.
    pub limits: Limits,
    /// Internal sources. Only [`Config::source`] reads them.
    #[serde(default)]
    pub source: Vec<SourceConfig>,
}

/// What is bounded.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests worked on at the same time.
    pub requests: usize,
    /// Lookups at the same time.
    pub lookups: usize,
    /// How long a source that is down is tried at most, in milliseconds.
    pub patience_ms: u64,
    /// Failures in a row after which a source is known to be down.
    pub failures_until_down: u32,
    /// Time after which one request may try a source that is down, in milliseconds.
    pub probe_every_ms: u64,
    /// How long a reply waits for others to be signed with, in milliseconds.
    pub linger_ms: u64,
    /// Withdrawn queries that are remembered.
    pub cancellations: usize,
}

/// One internal source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// What is missing from an answer when it does not answer.
    #[serde(deserialize_with = "covers", default = "everything")]
    pub covers: BTreeSet<MissingSource>,
    /// The database.
    pub sql: SqlConfig,
}

fn everything() -> BTreeSet<MissingSource> {
    [MissingSource::Debit, MissingSource::Credit, MissingSource::Prepaid].into()
}

fn covers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<MissingSource>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .iter()
        .map(|word| {
            MissingSource::from_str_name(&format!("MISSING_SOURCE_{word}"))
                .filter(|source| *source != MissingSource::Unspecified)
                .ok_or_else(|| serde::de::Error::custom(format!("`{word}` is not DEBIT, CREDIT or PREPAID")))
        })
        .collect()
}

impl Config {
    /// Loads the defaults, over them `config`, over both the environment.
    ///
    /// # Errors
    /// Every mistake of syntax, keys and types.
    pub fn load(config: Option<&Path>) -> Result<Self, ConfigError> {
        plumbing::config::load_service(config)
    }

    /// The defaults for `bank`, without file and environment.
    pub fn defaults(bank: &BankId) -> Self {
        let bank = Sources { set: vec![("bank".to_owned(), bank.to_string())], ..Sources::default() };
        Effective::of::<Self>(&bank)
            .and_then(|effective| effective.settings())
            .expect("the compiled-in defaults are complete")
    }

    /// The configured internal sources behind one.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn source(&self) -> Result<Several, Faults> {
        let mut faults = self.source_faults();
        let mut parts = Vec::new();
        // What is wrong with the settings themselves is known already.
        if faults.is_empty() {
            for (index, source) in self.source.iter().enumerate() {
                match SqlSource::new(source.sql.clone(), source.covers.clone()) {
                    Ok(sql) => parts.push(Part { covers: source.covers.clone(), source: Arc::new(sql) }),
                    Err(error) => faults.push(format!("source[{index}].sql.{error}")),
                }
            }
        }
        Faults::check(faults).map(|()| Several::new(parts))
    }

    /// What is wrong with the internal sources and can be seen without reading a file or asking one.
    fn source_faults(&self) -> Vec<String> {
        if self.source.is_empty() {
            return vec!["source: at least one is needed".to_owned()];
        }
        let faults = |(index, source): (usize, &SourceConfig)| {
            let faults = source.sql.faults();
            faults.into_iter().map(move |fault| format!("source[{index}].sql.{fault}"))
        };
        self.source.iter().enumerate().flat_map(faults).collect()
    }

    /// Checks what types cannot, all of it at once.
    pub(crate) fn check(&self) -> Result<(), Faults> {
        let mut faults = self.kafka.faults();
        faults.extend(self.telemetry.faults());
        let limits = &self.limits;
        for (key, value) in [
            ("max_factor_age", self.max_factor_age),
            ("limits.requests", limits.requests as u64),
            ("limits.lookups", limits.lookups as u64),
            ("limits.patience_ms", limits.patience_ms),
            ("limits.failures_until_down", u64::from(limits.failures_until_down)),
            ("limits.probe_every_ms", limits.probe_every_ms),
            ("limits.cancellations", limits.cancellations as u64),
        ] {
            if value == 0 || value > u64::from(u32::MAX) {
                faults.push(format!("{key}: must be between 1 and {}", u32::MAX));
            }
        }
        if limits.linger_ms > 1_000 {
            faults.push("limits.linger_ms: must be at most 1000".to_owned());
        }
        if limits.patience_ms > MAX_PATIENCE_MS {
            faults.push(format!("limits.patience_ms: must be at most {MAX_PATIENCE_MS}"));
        }
        if !(-12..=14).contains(&self.utc_offset_hours) {
            faults.push("utc_offset_hours: must be between -12 and 14".to_owned());
        }
        if let Err(fault) = self.registry.roots() {
            faults.push(fault.to_string());
        }
        Faults::check(faults)
    }
}

impl Settings for Config {
    const SERVICE: &'static str = "bank-connector";
    const DEFAULTS: &'static str = DEFAULTS;
    const CLIENT_ID: &'static str = "{prefix}.connector.{bank}";
    const SECRETS: &'static [&'static str] = &["signing_key", "opening_keys"];

    fn validate(&self) -> Result<(), Faults> {
        let mut faults = self.check().err().map_or_else(Vec::new, Faults::into_lines);
        faults.extend(self.source_faults());
        Faults::check(faults)
    }

    fn secret_faults(&self) -> Vec<String> {
        let mut faults = Secrets::faults(self);
        faults.extend(self.kafka.secret_faults());
        let address = |(index, source): (usize, &SourceConfig)| {
            Some(format!("source[{index}].sql.{}", source.sql.address_fault()?))
        };
        faults.extend(self.source.iter().enumerate().filter_map(address));
        faults
    }
}

/// Longer, a request that waits for its source would hold up the offsets behind it.
const MAX_PATIENCE_MS: u64 = 60_000;

impl Limits {
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
    }

    pub(crate) fn probe_every(&self) -> Duration {
        Duration::from_millis(self.probe_every_ms)
    }

    pub(crate) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
