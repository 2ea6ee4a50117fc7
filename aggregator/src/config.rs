//! Settings. `config.default.toml` is their documentation and their defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use plumbing::admin::AdminConfig;
use plumbing::config::{ConfigError, Faults, Settings};
use plumbing::exit::Exit;
use plumbing::http::MutualTls;
use plumbing::kafka::KafkaConfig;
use plumbing::key_file::{self, KeyFileError};
use plumbing::postgres::PostgresConfig;
use plumbing::registry::RegistryConfig;
use schemas::ids::Digest;
use schemas::keys::SigningKey;
use schemas::rules;
use schemas::time::{Calendar, UnixMillis};
use schemas::wire::Pretext;
use secrecy::SecretString;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::domain::asking::AskingLimits;
use crate::domain::cohort::{Cohorts, EVERYBODY};
use crate::domain::hold::HoldTimes;
use crate::domain::policy::Policy;
use crate::domain::risk::{Decision, RiskTable, Signals};
use crate::domain::subject::SubjectKey;
use crate::domain::window::Window;
use crate::first_line::{LimitsConfig, RedisConfig, RedisUrl, UrlFileError};
use crate::store::DayKeys;

/// The commented defaults.
pub const DEFAULTS: &str = include_str!("../config.default.toml");
/// Settings of the aggregator.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// First part of the names of all topics and groups.
    pub prefix: String,
    /// Where the HTTP interface listens.
    pub listen: SocketAddr,
    /// Producers must show a certificate of `ca_file` that names `upstream-<id>`; without it only this machine may ask.
    #[serde(default)]
    pub tls: Option<MutualTls>,
    /// File with the signing key.
    pub signing_key_file: PathBuf,
    /// The signing key itself; only in the environment.
    #[serde(default)]
    pub signing_key: Option<SecretString>,
    /// Which store.
    pub store: StoreKind,
    /// How to reach PostgreSQL, for the store that needs it.
    pub postgres: PostgresConfig,
    /// Milliseconds between sweeps.
    pub sweep_interval_ms: u64,
    /// Health and metrics.
    pub admin: AdminConfig,
    /// The broker.
    pub kafka: KafkaConfig,
    /// Whom to trust.
    pub registry: RegistryConfig,
    /// The gates.
    pub policy: PolicyConfig,
    /// The times of queries.
    pub window: WindowConfig,
    /// How content at rest is made to end.
    pub erasure: ErasureConfig,
    /// What proves later what happened.
    pub audit: AuditConfig,
    /// What makes it faster.
    pub redis: RedisConfig,
    /// How often one may ask.
    pub limits: LimitsConfig,
}

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// In PostgreSQL, for any number of instances.
    Postgres,
    /// Rebuilt from the topics at every start.
    Memory,
}

/// The gates.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// Administrative division codes.
    pub open_regions: Vec<String>,
    /// The share of a region's people that may ask, in thousandths, by administrative division code.
    pub cohorts: BTreeMap<String, u16>,
    /// Hex SHA-256.
    pub consent_texts: Vec<String>,
    /// Seconds.
    pub max_factor_age_seconds: u64,
    /// Whether a person may have one open query only.
    pub one_open_query: bool,
    /// Seconds from a person's last report to their next query; 0 for no such limit.
    pub requery_interval_seconds: u64,
    /// Seconds before which no release of a held query is taken.
    pub cooling_off_seconds: u64,
    /// Seconds after which a held query is cancelled.
    pub hold_seconds: u64,
    /// Which signals hold a query.
    pub risk: RiskConfig,
}

/// Which signals hold a query.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskConfig {
    /// By the answer to "did anyone ask you to do this?"; names as on the wire, without prefix.
    pub pretexts: BTreeMap<String, Decision>,
    /// By signal.
    pub signals: Signals,
    /// When two or more of these say WARN.
    pub two_warnings: Decision,
}

/// The times of queries.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowConfig {
    /// Seconds; fractions are for tests.
    pub length_seconds: f64,
    /// Milliseconds.
    pub grace_ms: u64,
    /// IANA name.
    pub zone: String,
    /// Seconds; fractions are for tests.
    pub day_seconds: f64,
    /// RFC 3339.
    pub days_from: String,
}

/// How content at rest is made to end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasureConfig {
    /// The directory of the keys of days.
    pub key_dir: PathBuf,
}

/// What proves later what happened.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// Seconds between two checkpoints.
    pub checkpoint_seconds: u64,
}

impl Config {
    /// Loads the defaults, over them `config`, over both the environment.
    ///
    /// # Errors
    /// Every mistake of syntax, keys and types.
    pub fn load(config: Option<&Path>) -> Result<Self, ConfigError> {
        plumbing::config::load_service(config)
    }
}

impl Settings for Config {
    const SERVICE: &'static str = "aggregator";
    const DEFAULTS: &'static str = DEFAULTS;
    const CLIENT_ID: &'static str = "{prefix}.aggregator";
    const SECRETS: &'static [&'static str] = &["signing_key"];

    fn validate(&self) -> Result<(), Faults> {
        let mut faults = self.kafka.faults();
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            faults.push(format!("listen: {} is not a loopback address, and there is no [tls]", self.listen));
        }
        match self.store {
            StoreKind::Postgres => faults.extend(self.postgres.faults()),
            StoreKind::Memory => {}
        }
        faults.extend(self.redis.faults());
        faults.extend(self.limits.faults());
        if self.sweep_interval_ms == 0 {
            faults.push("sweep_interval_ms: must be at least 1".to_owned());
        }
        if self.audit.checkpoint_seconds == 0 {
            faults.push("audit.checkpoint_seconds: must be at least 1".to_owned());
        }
        faults.extend(self.policy.policy().err().map(Faults::into_lines).into_iter().flatten());
        faults.extend(self.window.window().err().map(|fault| fault.to_string()));
        faults.extend(self.registry.roots().err().map(|fault| fault.to_string()));
        Faults::check(faults)
    }

    fn secret_faults(&self) -> Vec<String> {
        let signing = self.signing_seed().err().map(|fault| format!("signing_key_file: {fault}"));
        let subjects = self.subject_key().err().map(|fault| format!("limits.mac_key_file: {fault}"));
        let keys = signing.into_iter().chain(subjects);
        let days = match self.store {
            StoreKind::Memory => None,
            StoreKind::Postgres => DayKeys::open(&self.erasure.key_dir).err().map(|fault| fault.to_string()),
        };
        let redis = self.redis.url().err().map(|fault| fault.to_string());
        keys.chain(days).chain(redis).chain(self.kafka.secret_faults()).collect()
    }
}

/// A setting that has no meaning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct InvalidSetting {
    /// Dotted key.
    pub key: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Config {
    fn signing_seed(&self) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
        let Self { signing_key, signing_key_file, .. } = self;
        key_file::given_or_read("signing_key", signing_key.as_ref(), "signing_key_file", signing_key_file)
    }

    /// Counts of a store that ends with the process may end with it too; all others need the same key after a restart
    /// and in every process.
    fn subject_key(&self) -> Result<SubjectKey, KeyFileError> {
        let path = &self.limits.mac_key_file;
        match self.store {
            StoreKind::Memory if path.as_os_str().is_empty() => Ok(SubjectKey::ephemeral()),
            StoreKind::Memory | StoreKind::Postgres => {
                Ok(SubjectKey::new(key_file::read("limits.mac_key_file", path)?))
            }
        }
    }
}

/// Days of this length are the dates of the zone, which may be longer or shorter when clocks are changed.
const DATE: Duration = Duration::from_secs(24 * 3600);

fn invalid(key: &'static str, reason: impl Into<String>) -> InvalidSetting {
    InvalidSetting { key, reason: reason.into() }
}

/// The longest time that a query is held: what a person then releases is what they chose a short while ago.
const LONGEST_HOLD: Duration = Duration::from_secs(3 * 24 * 3600);

impl PolicyConfig {
    /// What is in force by these settings.
    ///
    /// # Errors
    /// Everything that has no meaning.
    pub fn policy(&self) -> Result<Policy, Faults> {
        let mut faults = Vec::new();
        let mut consent_texts = BTreeSet::new();
        for text in &self.consent_texts {
            match hex::decode(text).ok().and_then(|raw| Digest::from_bytes(&raw).ok()) {
                Some(digest) => drop(consent_texts.insert(digest)),
                None => faults.push(format!("policy.consent_texts: `{text}` is not a hex SHA-256")),
            }
        }
        for (region, share) in &self.cohorts {
            if *share > EVERYBODY {
                faults.push(format!("policy.cohorts.{region}: must be at most {EVERYBODY}"));
            }
        }
        let hold = HoldTimes {
            cooling_off: Duration::from_secs(self.cooling_off_seconds),
            longest: Duration::from_secs(self.hold_seconds),
        };
        if hold.longest > LONGEST_HOLD {
            faults.push(format!("policy.hold_seconds: must be at most {}", LONGEST_HOLD.as_secs()));
        }
        if hold.cooling_off >= hold.longest {
            faults.push("policy.cooling_off_seconds: must be less than policy.hold_seconds".to_owned());
        }
        let risk = self.risk.table(&mut faults);
        Faults::check(faults)?;
        Ok(Policy {
            gates: rules::Policy {
                open_regions: self.open_regions.iter().cloned().collect(),
                consent_texts,
                max_factor_age: Duration::from_secs(self.max_factor_age_seconds),
            },
            cohorts: Cohorts(self.cohorts.clone()),
            risk,
            hold,
            asking: AskingLimits {
                one_open_query: self.one_open_query,
                requery_interval: Duration::from_secs(self.requery_interval_seconds),
            },
        })
    }
}

impl RiskConfig {
    fn table(&self, faults: &mut Vec<String>) -> RiskTable {
        let mut pretexts = BTreeMap::new();
        for (name, decision) in &self.pretexts {
            match Pretext::from_str_name(&format!("PRETEXT_{name}")) {
                Some(pretext) => drop(pretexts.insert(pretext, *decision)),
                None => faults.push(format!("policy.risk.pretexts: there is no pretext `{name}`")),
            }
        }
        RiskTable { pretexts, signals: self.signals, two_warnings: self.two_warnings }
    }
}

impl WindowConfig {
    /// The window as the rules take it.
    ///
    /// # Errors
    /// When a length is not a positive time, the zone is unknown, or `days_from` is no instant.
    pub fn window(&self) -> Result<Window, InvalidSetting> {
        let length = Duration::try_from_secs_f64(self.length_seconds)
            .ok()
            .filter(|length| *length >= Duration::from_millis(48))
            .ok_or_else(|| invalid("window.length_seconds", "must be a positive number of seconds"))?;
        Ok(Window { length, grace: Duration::from_millis(self.grace_ms), calendar: self.calendar()? })
    }

    fn calendar(&self) -> Result<Calendar, InvalidSetting> {
        let zone = TimeZone::get(&self.zone)
            .map_err(|_| invalid("window.zone", format!("`{}` is not a known time zone", self.zone)))?;
        let length = Duration::try_from_secs_f64(self.day_seconds)
            .ok()
            .filter(|length| *length >= Duration::from_secs(1))
            .ok_or_else(|| invalid("window.day_seconds", "must be at least 1"))?;
        let from = UnixMillis::parse(&self.days_from)
            .ok_or_else(|| invalid("window.days_from", format!("`{}` is not an instant", self.days_from)))?;
        let counted = Calendar::Counted { from, length };
        Ok(if length == DATE { Calendar::Civil(zone) } else { counted })
    }
}

/// What is secret, and therefore not in [`Config`].
#[derive(Clone, Debug)]
pub struct Secrets {
    /// The hub's signing key.
    pub signing_key: SigningKey,
    /// The key that people are counted by.
    pub subject_key: SubjectKey,
    /// Where Redis is; `None`: nowhere.
    pub redis: Option<RedisUrl>,
}

/// A secret that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The URL of Redis.
    #[error(transparent)]
    Redis(#[from] UrlFileError),
}

impl SecretsError {
    /// The exit code of a process that ends with this error.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Key(error) => error.exit(),
            Self::Redis(_) => Exit::NoInput,
        }
    }
}

impl Secrets {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub fn load(config: &Config) -> Result<Self, SecretsError> {
        Ok(Self {
            signing_key: SigningKey::from_seed(&*config.signing_seed()?),
            subject_key: config.subject_key()?,
            redis: config.redis.url()?,
        })
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
