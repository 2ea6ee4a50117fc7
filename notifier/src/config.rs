//! Settings. `config.default.toml` documents them and is their defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use plumbing::admin::AdminConfig;
use plumbing::config::{ConfigError, Faults, Settings};
use plumbing::exit::Exit;
use plumbing::kafka::{Commit, KafkaConfig};
use plumbing::key_file::{self, KeyFileError};
use plumbing::postgres::PostgresConfig;
use plumbing::registry::RegistryConfig;
use schemas::keys::OpeningKey;
use schemas::topics::Topics;
use secrecy::SecretString;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::dispatch::{Limits, RECORD_WITHIN};

const DEFAULTS: &str = include_str!("../config.default.toml");

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Prefix of topics and groups.
    pub prefix: String,
    /// Whether what is for development only is allowed.
    pub dev: bool,
    /// Where it is kept who may send.
    pub store: StoreConfig,
    /// How to reach PostgreSQL, for the store that needs it.
    pub postgres: PostgresConfig,
    /// Health and metrics.
    pub admin: AdminConfig,
    /// How to reach Kafka.
    pub kafka: KafkaConfig,
    /// Whom to trust.
    pub registry: RegistryConfig,
    /// Files with the keys that open contacts, each 64 hex digits.
    pub opening_key_files: Vec<PathBuf>,
    /// The keys themselves; only in the environment.
    #[serde(default)]
    pub opening_keys: Vec<SecretString>,
    /// How notices are consumed.
    pub notices: NoticesConfig,
    /// How SMS are sent.
    pub gateway: GatewayConfig,
}

/// Where it is kept who may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreConfig {
    /// In PostgreSQL, for any number of instances.
    Postgres,
    /// In memory, for one instance; restored from the SMS topic at start.
    Memory,
}

/// How notices are consumed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticesConfig {
    /// Who remembers how far the group came.
    pub commit: CommitConfig,
    /// SMS that are sent at the same time, at most.
    pub concurrent: usize,
    /// How long SMS in flight may take when the service stops, in milliseconds.
    pub drain_ms: u64,
    /// How long a claim belongs to the instance that made it, in milliseconds.
    pub lease_ms: u64,
}

/// Who remembers how far the group came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitConfig {
    /// Nobody: every start reads all notices that the topic has.
    Never,
    /// The broker.
    Broker,
}

impl From<CommitConfig> for Commit {
    fn from(commit: CommitConfig) -> Self {
        match commit {
            CommitConfig::Never => Commit::Never,
            CommitConfig::Broker => Commit::Broker,
        }
    }
}

/// How SMS are sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Appends SMS to this file, for development only.
    pub file: Option<PathBuf>,
    /// After this time the outcome of a call is unknown, in milliseconds.
    pub timeout_ms: u64,
}

/// Why the secrets cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// 32 bytes that are no X25519 key.
    #[error("{} holds no X25519 key", .0.display())]
    NotAKey(PathBuf),
}

impl Config {
    /// Defaults, over them `config`, over both the environment.
    ///
    /// # Errors
    /// Every mistake of syntax, keys and types.
    pub fn load(config: Option<&Path>) -> Result<Self, ConfigError> {
        plumbing::config::load_service(config)
    }

    pub(crate) fn topics(&self) -> Topics {
        Topics::new(&self.prefix)
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.notices.drain_ms)
    }

    /// What is wrong with everything but the gateway, which whoever starts the service may bring along.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = self.kafka.faults();
        match self.store {
            StoreConfig::Postgres => faults.extend(self.postgres.faults()),
            StoreConfig::Memory => {}
        }
        if self.notices.concurrent == 0 {
            faults.push("notices.concurrent: must be at least 1".to_owned());
        }
        if self.gateway.timeout_ms == 0 {
            faults.push("gateway.timeout_ms: must be at least 1".to_owned());
        }
        if self.notices.drain_ms <= self.gateway.timeout_ms {
            faults.push("notices.drain_ms: must be longer than gateway.timeout_ms".to_owned());
        }
        if self.notices.drain_ms >= u64::from(self.kafka.session_timeout_ms) {
            faults.push("notices.drain_ms: must be shorter than kafka.session_timeout_ms".to_owned());
        }
        let Limits { gateway_timeout, lease } = self.limits();
        if lease < gateway_timeout.saturating_add(RECORD_WITHIN) {
            faults.push(format!(
                "notices.lease_ms: must be at least {} longer than gateway.timeout_ms",
                RECORD_WITHIN.as_millis()
            ));
        }
        faults.extend(self.registry.roots().err().map(|fault| fault.to_string()));
        faults
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            gateway_timeout: Duration::from_millis(self.gateway.timeout_ms),
            lease: Duration::from_millis(self.notices.lease_ms),
        }
    }
}

impl Settings for Config {
    const SERVICE: &'static str = "notifier";
    const DEFAULTS: &'static str = DEFAULTS;
    const CLIENT_ID: &'static str = "{prefix}.notifier";
    const SECRETS: &'static [&'static str] = &["opening_keys"];

    fn validate(&self) -> Result<(), Faults> {
        let mut faults = self.faults();
        match (&self.gateway.file, self.dev) {
            (None, _) => faults.push("gateway.file: no SMS gateway is configured".to_owned()),
            (Some(_), false) => {
                faults.push("gateway.file: is for development only and needs dev = true".to_owned());
            }
            (Some(_), true) => {}
        }
        Faults::check(faults)
    }

    fn secret_faults(&self) -> Vec<String> {
        let keys = Secrets::load(self).err().map(|fault| format!("opening_key_files: {fault}"));
        keys.into_iter().chain(self.kafka.secret_faults()).collect()
    }
}

impl SecretsError {
    /// The exit code of a process that ends with this error.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::File(error) => error.exit(),
            Self::NotAKey(_) => Exit::BadData,
        }
    }
}

/// What is secret.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Keys that open contacts: the one in the registry, and those before it as long as notices may be sealed to them.
    pub opening_keys: Vec<OpeningKey>,
}

impl Secrets {
    /// Reads the files that `config` names.
    ///
    /// # Errors
    /// When one cannot be read or holds no key, and when there is none.
    pub fn load(config: &Config) -> Result<Self, SecretsError> {
        if !config.opening_keys.is_empty() {
            let opening_keys = config.opening_keys.iter().map(given_key).collect::<Result<_, _>>()?;
            return Ok(Self { opening_keys });
        }
        if config.opening_key_files.is_empty() {
            return Err(KeyFileError::NotSet("opening_key_files").into());
        }
        let opening_keys =
            config.opening_key_files.iter().map(|path| opening_key(path)).collect::<Result<_, _>>()?;
        Ok(Self { opening_keys })
    }
}

fn given_key(text: &SecretString) -> Result<OpeningKey, SecretsError> {
    let raw = key_file::given_or_read("opening_keys", Some(text), "opening_key_files", Path::new(""))?;
    OpeningKey::from_raw(&Zeroizing::new(raw)).map_err(|_| KeyFileError::NotAKeyText("opening_keys").into())
}

fn opening_key(path: &Path) -> Result<OpeningKey, SecretsError> {
    let raw = Zeroizing::new(key_file::read("opening_key_files", path)?);
    OpeningKey::from_raw(&raw).map_err(|_| SecretsError::NotAKey(path.to_owned()))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
