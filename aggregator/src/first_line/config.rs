//! Settings of Redis and of the limits.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::domain::rate::Rate;

/// Where Redis is, and how long it is waited for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://[user:password@]host:port/[db]`; empty when it stands in `url_file` or there is no Redis.
    pub url: RedisUrl,
    /// File with the URL; empty when it stands in `url` or there is no Redis.
    pub url_file: PathBuf,
    /// First part of all keys.
    pub prefix: String,
    /// Milliseconds that one call may take, connecting included.
    pub timeout_ms: u64,
    /// Calls in a row that fail before Redis is left alone.
    pub breaker_failures: u32,
    /// Milliseconds that it is left alone before one call tries again.
    pub breaker_pause_ms: u64,
}

/// The limits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// File with the key of the MAC that people are counted by; empty: a key that ends with the process.
    pub mac_key_file: PathBuf,
    /// Requests of one upstream a minute, in the long run.
    pub requests_per_minute: u32,
    /// Requests of one upstream at once.
    pub burst: u32,
}

/// A URL that may hold a password.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct RedisUrl(Zeroizing<String>);

impl RedisUrl {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for RedisUrl {
    fn from(url: &str) -> Self {
        Self(Zeroizing::new(url.trim().to_owned()))
    }
}

impl From<String> for RedisUrl {
    fn from(url: String) -> Self {
        Self::from(Zeroizing::new(url).as_str())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "(none)" } else { "(redacted)" })
    }
}

/// The file with the URL cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("redis.url_file: {}: {source}", path.display())]
pub struct UrlFileError {
    path: PathBuf,
    source: std::io::Error,
}

impl RedisConfig {
    /// The URL, wherever it stands; `None` when there is no Redis.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn url(&self) -> Result<Option<RedisUrl>, UrlFileError> {
        let url = if self.url_file == Path::new("") {
            self.url.clone()
        } else {
            let text = fs::read_to_string(&self.url_file)
                .map_err(|source| UrlFileError { path: self.url_file.clone(), source })?;
            RedisUrl::from(text)
        };
        Ok((!url.is_empty()).then_some(url))
    }

    /// Every rule that these settings break, by their dotted keys.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.url.is_empty() && self.url_file != Path::new("") {
            faults.push("redis.url: also redis.url_file is set; one of them must be empty".to_owned());
        }
        // The client's own words may repeat the password.
        if !self.url.is_empty() && redis::Client::open(self.url.expose()).is_err() {
            faults.push("redis.url: not a URL like redis://:password@host:6379/".to_owned());
        }
        if self.prefix.is_empty() || self.prefix.contains(|c: char| c.is_whitespace() || c.is_control()) {
            faults.push("redis.prefix: must not be empty, and holds no white space".to_owned());
        }
        for (key, value, max) in [
            ("redis.timeout_ms", self.timeout_ms, 1_000),
            ("redis.breaker_failures", self.breaker_failures.into(), 1_000),
            ("redis.breaker_pause_ms", self.breaker_pause_ms, 60_000),
        ] {
            if !(1..=max).contains(&value) {
                faults.push(format!("{key}: must be between 1 and {max}"));
            }
        }
        faults
    }
}

impl LimitsConfig {
    /// The limit of one upstream.
    pub fn rate(&self) -> Rate {
        Rate::new(self.requests_per_minute, self.burst)
    }

    /// Every rule that these settings break, by their dotted keys.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (key, value, max) in [
            // A request stands for whole microseconds.
            ("limits.requests_per_minute", self.requests_per_minute, 60_000_000),
            ("limits.burst", self.burst, 1_000_000),
        ] {
            if !(1..=max).contains(&value) {
                faults.push(format!("{key}: must be between 1 and {max}"));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> RedisConfig {
        RedisConfig {
            url: RedisUrl::from("redis://:hunter2@127.0.0.1:6379/"),
            url_file: PathBuf::new(),
            prefix: "cardquery".into(),
            timeout_ms: 20,
            breaker_failures: 3,
            breaker_pause_ms: 1_000,
        }
    }

    #[test]
    fn a_url_is_taken_from_its_setting_or_its_file_and_never_printed() {
        assert_eq!(config().faults(), [""; 0]);
        assert!(!format!("{:?}", config()).contains("hunter2"));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("url");
        fs::write(&path, "redis://:hunter2@127.0.0.1:6379/\n").expect("written");
        let by_file = RedisConfig { url: RedisUrl::default(), url_file: path, ..config() };
        assert_eq!(by_file.url().expect("readable"), config().url().expect("there"));
        let gone = RedisConfig { url_file: folder.path().join("gone"), ..by_file };
        assert!(gone.url().expect_err("not there").to_string().starts_with("redis.url_file: "));
        let none = RedisConfig { url: RedisUrl::default(), ..config() };
        assert_eq!(none.url().expect("no file"), None);
    }

    #[test]
    fn every_broken_rule_is_named_and_no_password_is() {
        let broken = RedisConfig {
            url: RedisUrl::from("http://:hunter2@nowhere"),
            url_file: "also".into(),
            prefix: String::new(),
            timeout_ms: 0,
            breaker_failures: 0,
            breaker_pause_ms: 60_001,
        };
        let faults = broken.faults();
        let keys: Vec<&str> =
            faults.iter().filter_map(|fault| fault.split_once(':')).map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "redis.url",
                "redis.url",
                "redis.prefix",
                "redis.timeout_ms",
                "redis.breaker_failures",
                "redis.breaker_pause_ms"
            ]
        );
        assert!(!faults.concat().contains("hunter2"));
        let limits = LimitsConfig { mac_key_file: PathBuf::new(), requests_per_minute: 0, burst: 0 };
        assert_eq!(limits.faults().len(), 2);
    }
}
