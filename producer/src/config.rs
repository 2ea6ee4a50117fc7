//! Configuration: `config.default.toml` is the defaults and their documentation.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plumbing::admin::AdminConfig;
use plumbing::config::{ConfigError, Faults, Settings};
use plumbing::http::MutualTls;
use plumbing::kafka::KafkaConfig;
use plumbing::key_file::{self, KeyFileError};
use plumbing::registry::RegistryConfig;
use plumbing::trace::TelemetryConfig;
use schemas::ids::UpstreamId;
use schemas::keys::SigningKey;
use schemas::rules::Policy;
use secrecy::SecretString;
use serde::Deserialize;

use crate::texts::consent_texts;

const DEFAULTS: &str = include_str!("../config.default.toml");

/// Settings of the service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// First part of every topic's name.
    pub prefix: String,
    /// The upstream whose queries are taken here.
    pub upstream: UpstreamId,
    /// File with the upstream's Ed25519 seed, 64 hex digits.
    pub signing_key_file: PathBuf,
    /// The seed itself; only in the environment.
    #[serde(default)]
    pub signing_key: Option<SecretString>,
    /// Whether callers may come without authentication, on a loopback listener. Set on the command line, in no file.
    #[serde(skip)]
    pub dev: bool,
    /// The interface for the wallet's back end.
    pub http: HttpConfig,
    /// The aggregator's API.
    pub hub: HubConfig,
    /// Health and metrics.
    pub admin: AdminConfig,
    /// Traces.
    pub telemetry: TelemetryConfig,
    /// How to reach Kafka.
    pub kafka: KafkaConfig,
    /// How records are written.
    pub publish: PublishConfig,
    /// Whom to trust.
    pub registry: RegistryConfig,
    /// What is in force.
    pub policy: PolicyConfig,
}

/// The interface for the wallet's back end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// Callers must show a certificate of `ca_file`; without it only this machine may call, and only with `dev`.
    #[serde(default)]
    pub tls: Option<MutualTls>,
    /// Submissions worked on at the same time.
    pub max_in_flight: u32,
    /// Event streams open at the same time.
    pub max_streams: u32,
    /// Longest life of an event stream, in seconds.
    pub stream_seconds: u64,
}

/// The aggregator's API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubConfig {
    /// Base address, `https://host:port`; `http://` on this machine only.
    pub url: String,
    /// Who this producer is to the hub. The certificate names `upstream-<id>`.
    #[serde(default)]
    pub tls: Option<MutualTls>,
    /// How long a forwarded question may take, in milliseconds.
    pub timeout_ms: u64,
    /// How long to wait for the hub before publishing, in milliseconds.
    pub repeat_check_ms: u64,
}

/// How records are written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishConfig {
    /// How long a record may wait for its acknowledgement, in milliseconds.
    pub timeout_ms: u64,
}

/// What is in force. The consent texts are compiled in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// Administrative division codes in which the service is open.
    pub open_regions: BTreeSet<String>,
    /// Greatest age of an authentication factor, in seconds.
    pub max_factor_age: u64,
}

/// What must not stand in a configuration.
#[derive(Debug)]
pub struct Secrets {
    /// The upstream's signing key.
    pub signing_key: SigningKey,
}

impl Config {
    /// Loads the defaults, over them `config`, over both the environment.
    ///
    /// # Errors
    /// Every mistake of syntax, keys and types.
    pub fn load(config: Option<&Path>) -> Result<Self, ConfigError> {
        plumbing::config::load_service(config)
    }

    /// Checks what types cannot, all of it at once.
    ///
    /// # Errors
    /// Every rule that is broken.
    pub fn validate(&self) -> Result<(), Faults> {
        self.policy().map(drop)
    }

    /// The gates of a configuration that breaks no rule.
    pub(crate) fn policy(&self) -> Result<Policy, Faults> {
        let mut faults = self.kafka.faults();
        faults.extend(self.telemetry.faults());
        if self.http.tls.is_none() {
            if !self.dev {
                faults.push(
                    "http.tls: callers must be authenticated: set certificate_file, key_file and ca_file, or start \
                     with --dev, which lets anybody on this machine submit queries"
                        .to_owned(),
                );
            }
            if !self.http.listen.ip().is_loopback() {
                faults.push(format!(
                    "http.listen: {} is not a loopback address, and callers are not authenticated without http.tls",
                    self.http.listen
                ));
            }
        }
        faults.extend(self.hub.fault());
        for (key, value) in [
            ("http.max_in_flight", self.http.max_in_flight.into()),
            ("http.max_streams", self.http.max_streams.into()),
            ("http.stream_seconds", self.http.stream_seconds),
            ("hub.timeout_ms", self.hub.timeout_ms),
            ("hub.repeat_check_ms", self.hub.repeat_check_ms),
            ("publish.timeout_ms", self.publish.timeout_ms),
            ("policy.max_factor_age", self.policy.max_factor_age),
        ] {
            if value == 0 || value > u64::from(u32::MAX) {
                faults.push(format!("{key}: must be between 1 and {}", u32::MAX));
            }
        }
        for region in &self.policy.open_regions {
            if !is_region(region) {
                faults.push(format!("policy.open_regions: `{region}` is not a code of six digits"));
            }
        }
        if let Err(fault) = self.registry.roots() {
            faults.push(fault.to_string());
        }
        Faults::check(faults)?;
        Ok(Policy {
            open_regions: self.policy.open_regions.clone(),
            consent_texts: consent_texts().iter().map(|text| text.sha256).collect(),
            max_factor_age: Duration::from_secs(self.policy.max_factor_age),
        })
    }
}

impl HubConfig {
    fn fault(&self) -> Option<String> {
        let fits = self.url.parse::<reqwest::Url>().is_ok_and(|url| match &self.tls {
            Some(_) => url.scheme() == "https",
            None => url.scheme() == "http" && is_loopback(&url),
        });
        let fault = if self.tls.is_some() {
            "hub.url: must be https://, as hub.tls is set"
        } else {
            "hub.url: must be http:// with a loopback address, or https:// with hub.tls"
        };
        (!fits).then(|| fault.to_owned())
    }
}

impl Settings for Config {
    const SERVICE: &'static str = "producer";
    const DEFAULTS: &'static str = DEFAULTS;
    const CLIENT_ID: &'static str = "{prefix}.producer.{upstream}";
    const SECRETS: &'static [&'static str] = &["signing_key"];

    fn validate(&self) -> Result<(), Faults> {
        Self::validate(self)
    }

    fn secret_faults(&self) -> Vec<String> {
        let key = Secrets::load(self).err().map(|fault| format!("signing_key_file: {fault}"));
        key.into_iter().chain(self.kafka.secret_faults()).collect()
    }
}

/// Whether `text` is an administrative division code.
pub(crate) fn is_region(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Secrets {
    /// Reads the files that `config` names.
    ///
    /// # Errors
    /// Which file, and why.
    pub fn load(config: &Config) -> Result<Self, KeyFileError> {
        let seed = key_file::given_or_read(
            "signing_key",
            config.signing_key.as_ref(),
            "signing_key_file",
            &config.signing_key_file,
        )?;
        Ok(Self { signing_key: SigningKey::from_seed(&seed) })
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
