//! Settings. `config.default.toml` documents them and is their defaults.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use plumbing::admin::AdminConfig;
use plumbing::config::{ConfigError, Faults, Settings};
use plumbing::exit::Exit;
use plumbing::http::MutualTls;
use plumbing::kafka::{BreakerConfig, Commit, KafkaConfig};
use plumbing::key_file::{self, KeyFileError};
use plumbing::postgres::PostgresConfig;
use plumbing::registry::RegistryConfig;
use plumbing::trace::TelemetryConfig;
use reqwest::Url;
use schemas::keys::OpeningKey;
use schemas::topics::Topics;
use secrecy::SecretString;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::dispatch::{Limits, RECORD_WITHIN};
use crate::domain::phone_limit::{PhoneKey, PhoneLimit};
use crate::domain::quiet::QuietHours;
use crate::gateway::signature::GatewaySecret;

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
    /// When dead letters are a flood.
    pub dead_letters: BreakerConfig,
    /// Traces.
    pub telemetry: TelemetryConfig,
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
    /// Where the gateway tells what became of SMS; `None`: nowhere.
    pub callbacks: Option<CallbacksConfig>,
    /// When nothing is sent; `None`: there is no such time.
    pub quiet_hours: Option<QuietHoursConfig>,
    /// How many SMS a phone gets.
    pub limits: LimitsConfig,
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
    /// How often SMS are looked for whose time has come, in milliseconds.
    pub sweep_ms: u64,
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
    /// A gateway behind HTTP.
    pub http: Option<HttpGatewayConfig>,
    /// After this time the outcome of a call is unknown, in milliseconds.
    pub timeout_ms: u64,
    /// How long after an unknown outcome the gateway is asked for the first time, in milliseconds.
    pub ask_after_ms: u64,
    /// How long after an unknown outcome it is asked for the last time, in milliseconds.
    pub ask_for_ms: u64,
}

/// A gateway behind HTTP: docs/sms-gateway.md.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGatewayConfig {
    /// Where SMS are posted to: `https://` with `tls`, or `http://` with a loopback address.
    pub url: String,
    /// A file with the secret that signs requests and callbacks, 64 hex digits.
    pub secret_file: PathBuf,
    /// Who this side is, and whose certificates it believes.
    pub tls: Option<MutualTls>,
    /// Whether the gateway sends nothing twice under one out-id and answers a repeated call as the first.
    #[serde(default)]
    pub idempotent: bool,
    /// Whether the gateway can be asked what became of an out-id.
    #[serde(default)]
    pub inquiries: bool,
    /// Calls of the gateway at the same time, at most.
    #[serde(default = "connections")]
    pub connections: usize,
}

fn connections() -> usize {
    32
}

/// Where the gateway tells what became of SMS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallbacksConfig {
    /// The address. Without `tls` only a loopback one.
    pub listen: SocketAddr,
    /// Callers show a certificate of one of these authorities.
    pub tls: Option<MutualTls>,
}

/// When nothing is sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietHoursConfig {
    /// From this time of the day, for example `22:00`.
    pub from: String,
    /// Until this one.
    pub until: String,
    /// By the clocks of this zone, for example `Asia/Shanghai`.
    pub zone: String,
}

/// How many SMS a phone gets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// SMS per phone and calendar day; 0: any number.
    pub sms_per_phone_and_day: u32,
    /// Whose calendar.
    pub zone: String,
    /// A file with the key of the MAC by which phones are counted, 64 hex digits.
    pub mac_key_file: PathBuf,
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
        faults.extend(self.dead_letters.faults());
        faults.extend(self.telemetry.faults());
        match self.store {
            StoreConfig::Postgres => faults.extend(self.postgres.faults()),
            StoreConfig::Memory => {}
        }
        if self.notices.concurrent == 0 {
            faults.push("notices.concurrent: must be at least 1".to_owned());
        }
        if self.notices.sweep_ms == 0 {
            faults.push("notices.sweep_ms: must be at least 1".to_owned());
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
        let Limits { gateway_timeout, lease, .. } = self.limits();
        if lease < gateway_timeout.saturating_add(RECORD_WITHIN) {
            faults.push(format!(
                "notices.lease_ms: must be at least {} longer than gateway.timeout_ms",
                RECORD_WITHIN.as_millis()
            ));
        }
        if self.gateway.ask_after_ms == 0 {
            faults.push("gateway.ask_after_ms: must be at least 1".to_owned());
        }
        // What waits is in memory alone, and an offset that was committed would not bring its notice again.
        if self.store == StoreConfig::Memory && self.notices.commit == CommitConfig::Broker {
            faults.push("notices.commit: must be \"never\" with store = \"memory\"".to_owned());
        }
        faults.extend(self.gateway.http.iter().flat_map(HttpGatewayConfig::faults));
        faults.extend(self.callbacks_fault());
        faults.extend(self.quiet().err());
        faults.extend(self.phone_limit().err());
        faults.extend(self.registry.roots().err().map(|fault| fault.to_string()));
        faults
    }

    fn callbacks_fault(&self) -> Option<String> {
        let callbacks = self.callbacks.as_ref()?;
        if self.gateway.http.is_none() {
            return Some("callbacks: need gateway.http, whose secret signs them".to_owned());
        }
        let reachable = callbacks.tls.is_none() && !callbacks.listen.ip().is_loopback();
        let listen = callbacks.listen;
        reachable.then(|| {
            format!("callbacks.listen: {listen} is not a loopback address, and there is no [callbacks.tls]")
        })
    }

    /// When nothing is sent.
    pub(crate) fn quiet(&self) -> Result<Option<QuietHours>, String> {
        let Some(QuietHoursConfig { from, until, zone }) = &self.quiet_hours else { return Ok(None) };
        let time = |key: &str, text: &String| {
            text.parse().map_err(|_| format!("quiet_hours.{key}: `{text}` is no time of the day"))
        };
        let zone = zone_of("quiet_hours.zone", zone)?;
        QuietHours::new(time("from", from)?, time("until", until)?, zone)
            .map(Some)
            .ok_or_else(|| "quiet_hours.until: must be another time than quiet_hours.from".to_owned())
    }

    /// How many SMS a phone gets.
    pub(crate) fn phone_limit(&self) -> Result<Option<PhoneLimit>, String> {
        let LimitsConfig { sms_per_phone_and_day: max, zone, .. } = &self.limits;
        let zone = zone_of("limits.zone", zone)?;
        Ok((*max > 0).then_some(PhoneLimit { max: *max, zone }))
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            gateway_timeout: Duration::from_millis(self.gateway.timeout_ms),
            lease: Duration::from_millis(self.notices.lease_ms),
            ask_after: Duration::from_millis(self.gateway.ask_after_ms),
            ask_for: Duration::from_millis(self.gateway.ask_for_ms),
        }
    }
}

fn zone_of(key: &str, name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| format!("{key}: `{name}` is not a known time zone"))
}

impl HttpGatewayConfig {
    /// Where SMS are posted to; `None` when it is no address that may be used.
    pub(crate) fn address(&self) -> Option<Url> {
        self.url.parse::<Url>().ok().filter(|url| match &self.tls {
            Some(_) => url.scheme() == "https",
            None => url.scheme() == "http" && is_loopback(url),
        })
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.address().is_none() {
            faults.push(if self.tls.is_some() {
                "gateway.http.url: must be https://, as gateway.http.tls is set".to_owned()
            } else {
                "gateway.http.url: must be http:// with a loopback address, or https:// with gateway.http.tls"
                    .to_owned()
            });
        }
        if self.connections == 0 {
            faults.push("gateway.http.connections: must be at least 1".to_owned());
        }
        faults
    }

    /// The secret that gateway and notifier share.
    pub(crate) fn secret(&self) -> Result<GatewaySecret, KeyFileError> {
        key_file::read("gateway.http.secret_file", &self.secret_file).map(GatewaySecret::new)
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Settings for Config {
    const SERVICE: &'static str = "notifier";
    const DEFAULTS: &'static str = DEFAULTS;
    const CLIENT_ID: &'static str = "{prefix}.notifier";
    const SECRETS: &'static [&'static str] = &["opening_keys"];

    fn validate(&self) -> Result<(), Faults> {
        let mut faults = self.faults();
        match (&self.gateway.file, &self.gateway.http) {
            (None, None) => {
                faults.push("gateway: neither gateway.http nor gateway.file is configured".to_owned())
            }
            (Some(_), Some(_)) => faults.push("gateway.file: there is gateway.http already".to_owned()),
            (Some(_), None) if !self.dev => {
                faults.push("gateway.file: is for development only and needs dev = true".to_owned());
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        Faults::check(faults)
    }

    fn secret_faults(&self) -> Vec<String> {
        let keys = Secrets::opening_keys(self).err().map(|fault| format!("opening_key_files: {fault}"));
        let phone = Secrets::phone_key(self).err().map(|fault| format!("limits.mac_key_file: {fault}"));
        let gateway = Secrets::gateway(self).err().map(|fault| format!("gateway.http.secret_file: {fault}"));
        keys.into_iter().chain(phone).chain(gateway).chain(self.kafka.secret_faults()).collect()
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
    /// The key that phones are counted by; `None`: they are not counted.
    pub phone_key: Option<PhoneKey>,
    /// What the HTTP gateway and this service share; `None`: there is no such gateway.
    pub gateway: Option<GatewaySecret>,
}

impl Secrets {
    /// Those of a notifier that counts no phones and has no HTTP gateway.
    pub fn to_open(opening_keys: Vec<OpeningKey>) -> Self {
        Self { opening_keys, phone_key: None, gateway: None }
    }

    /// Reads the files that `config` names.
    ///
    /// # Errors
    /// When one cannot be read or holds no key, and when there is none.
    pub fn load(config: &Config) -> Result<Self, SecretsError> {
        Ok(Self {
            opening_keys: Self::opening_keys(config)?,
            phone_key: Self::phone_key(config)?,
            gateway: Self::gateway(config)?,
        })
    }

    fn opening_keys(config: &Config) -> Result<Vec<OpeningKey>, SecretsError> {
        if !config.opening_keys.is_empty() {
            return config.opening_keys.iter().map(given_key).collect();
        }
        if config.opening_key_files.is_empty() {
            return Err(KeyFileError::NotSet("opening_key_files").into());
        }
        config.opening_key_files.iter().map(|path| opening_key(path)).collect()
    }

    fn phone_key(config: &Config) -> Result<Option<PhoneKey>, KeyFileError> {
        let LimitsConfig { sms_per_phone_and_day, mac_key_file, .. } = &config.limits;
        if *sms_per_phone_and_day == 0 {
            return Ok(None);
        }
        key_file::read("limits.mac_key_file", mac_key_file).map(PhoneKey::new).map(Some)
    }

    fn gateway(config: &Config) -> Result<Option<GatewaySecret>, KeyFileError> {
        config.gateway.http.as_ref().map(HttpGatewayConfig::secret).transpose()
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
