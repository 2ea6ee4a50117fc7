//! Settings, and the pool made from them.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use zeroize::Zeroizing;

use super::error::PostgresError;
use crate::config::Faults;

/// How to reach PostgreSQL: the `[postgres]` section of every service that has a store there.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database?sslmode=verify-full`. It holds a password, so it belongs into the
    /// environment, or into [`url_file`](Self::url_file).
    pub url: Option<SecretString>,
    /// A file with the url.
    pub url_file: Option<PathBuf>,
    /// Connections of one role of the service, at most.
    pub connections: u32,
    /// How long to wait for a free connection, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// How long a statement may run, in milliseconds.
    pub statement_timeout_ms: u64,
    /// How long a statement may wait for a lock, in milliseconds.
    pub lock_timeout_ms: u64,
    /// How long a transaction may lie idle before the server ends its session, in milliseconds.
    pub idle_in_transaction_timeout_ms: u64,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            connections: 8,
            acquire_timeout_ms: 2_000,
            statement_timeout_ms: 10_000,
            lock_timeout_ms: 2_000,
            idle_in_transaction_timeout_ms: 15_000,
        }
    }
}

/// What the server takes as a timeout.
const TIMEOUT_MAX_MS: u64 = i32::MAX as u64;

/// Parameters that a url may have. sqlx logs others with their values, and a misspelt password is one.
const PARAMETERS: &[&str] = &[
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

impl PostgresConfig {
    /// Settings for `url`, with defaults for everything else.
    pub fn new(url: impl Into<SecretString>) -> Self {
        Self { url: Some(url.into()), ..Self::default() }
    }

    /// Everything that is wrong and can be seen without reading a file or asking the server, with dotted keys.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        match (&self.url, &self.url_file) {
            (None, None) => faults.push("postgres.url: is not set, nor is postgres.url_file".to_owned()),
            (Some(_), Some(_)) => {
                faults.push("postgres.url: is set, and so is postgres.url_file: one of them".to_owned());
            }
            (Some(url), None) => {
                faults.extend(parse(url.expose_secret()).err().map(|fault| format!("postgres.url: {fault}")));
            }
            (None, Some(_)) => {}
        }
        if self.connections == 0 {
            faults.push("postgres.connections: must be at least 1".to_owned());
        }
        for (key, value) in [
            ("acquire_timeout_ms", self.acquire_timeout_ms),
            ("statement_timeout_ms", self.statement_timeout_ms),
            ("lock_timeout_ms", self.lock_timeout_ms),
            ("idle_in_transaction_timeout_ms", self.idle_in_transaction_timeout_ms),
        ] {
            // The server takes 0 for no limit at all.
            if value == 0 || value > TIMEOUT_MAX_MS {
                faults.push(format!("postgres.{key}: must be between 1 and {TIMEOUT_MAX_MS}"));
            }
        }
        if self.lock_timeout_ms > self.statement_timeout_ms {
            faults.push("postgres.lock_timeout_ms: must be at most postgres.statement_timeout_ms".to_owned());
        }
        faults
    }

    /// Checks the settings without reading a file or asking the server.
    ///
    /// # Errors
    /// All [`faults`](Self::faults).
    pub fn validate(&self) -> Result<(), Faults> {
        Faults::check(self.faults())
    }

    /// A pool of at most `max` connections. `role` is `<service>.<role>`; the server shows the connections as
    /// `cardquery.<service>.<role>`. It connects when it is first used: see [`wait_until_up`](super::wait_until_up).
    ///
    /// Statements are logged with placeholders, never with values: at debug level, slow ones as warnings.
    ///
    /// # Errors
    /// When a setting cannot be used or the file with the url cannot be read.
    pub fn pool(&self, role: &str, max: u32) -> Result<PgPool, PostgresError> {
        self.validate()?;
        let options = parse(&self.read_url()?).map_err(|fault| PostgresError::Url(fault.to_owned()))?;
        let options = options.application_name(&format!("cardquery.{role}")).options([
            ("statement_timeout", self.statement_timeout_ms),
            ("lock_timeout", self.lock_timeout_ms),
            ("idle_in_transaction_session_timeout", self.idle_in_transaction_timeout_ms),
        ]);
        Ok(PgPoolOptions::new()
            .max_connections(max)
            .acquire_timeout(Duration::from_millis(self.acquire_timeout_ms))
            .after_release(|connection, _| {
                Box::pin(async move {
                    // Ends a transaction that sqlx does not know of. `ROLLBACK` alone would leave a warning in the
                    // server's log every time that there is none. Inside a failed transaction `BEGIN` is an error,
                    // and the pool then discards the connection.
                    sqlx::raw_sql("BEGIN; ROLLBACK").execute(connection).await.map(|_| true)
                })
            })
            .connect_lazy_with(options))
    }

    fn read_url(&self) -> Result<Zeroizing<String>, PostgresError> {
        match (&self.url, &self.url_file) {
            (Some(url), _) => Ok(Zeroizing::new(url.expose_secret().to_owned())),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| PostgresError::UrlFile { path: path.clone(), source })?;
                let text = Zeroizing::new(text);
                Ok(Zeroizing::new(text.trim().to_owned()))
            }
            (None, None) => Ok(Zeroizing::default()),
        }
    }
}

/// What is wrong is said without a word of the url.
fn parse(url: &str) -> Result<PgConnectOptions, &'static str> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err("must start with postgres:// or postgresql://");
    }
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let known = |parameter: &str| {
        let name = parameter.split('=').next().unwrap_or_default();
        name.is_empty() || name.starts_with("options[") || PARAMETERS.contains(&name)
    };
    if !query.split('&').all(known) {
        return Err("has a parameter that is unknown");
    }
    PgConnectOptions::from_str(url).map_err(|_| "is not the url of a PostgreSQL database")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::exit::Exit;

    const URL: &str = "postgres://alpha:hunter2@localhost:5433/cards?sslmode=require";

    fn faults(change: impl FnOnce(&mut PostgresConfig)) -> Vec<String> {
        let mut config = PostgresConfig::new(URL);
        change(&mut config);
        config.faults()
    }

    #[test]
    fn a_url_alone_is_enough() {
        let config: PostgresConfig = toml::from_str(&format!("url = {URL:?}")).expect("valid");
        assert_eq!(config.validate(), Ok(()));
        assert_eq!((config.acquire_timeout_ms, config.idle_in_transaction_timeout_ms), (2_000, 15_000));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = toml::from_str::<PostgresConfig>("max = 3").expect_err("unknown").to_string();
        assert!(error.contains("max"), "{error}");
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_key() {
        let faults = faults(|config| {
            config.url = None;
            config.connections = 0;
            config.acquire_timeout_ms = 0;
            config.lock_timeout_ms = 20_000;
            config.idle_in_transaction_timeout_ms = 1 << 31;
        });
        let keys: Vec<&str> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        let expected = [
            "postgres.url",
            "postgres.connections",
            "postgres.acquire_timeout_ms",
            "postgres.idle_in_transaction_timeout_ms",
            "postgres.lock_timeout_ms",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn url_and_file_exclude_each_other() {
        let faults = faults(|config| config.url_file = Some("url".into()));
        assert!(faults.len() == 1 && faults[0].contains("one of them"), "{faults:?}");
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_quoting_it() {
        for url in [
            "mysql://alpha:hunter2@localhost/cards",
            "hunter2",
            "postgres://alpha:hunter2/x@localhost/cards",
            "postgres://localhost/cards?pasword=hunter2",
            "postgres://localhost/cards?sslmode=hunter2",
        ] {
            let faults = faults(|config| config.url = Some(url.into()));
            assert!(faults.len() == 1 && faults[0].starts_with("postgres.url: "), "{faults:?}");
            assert!(!faults[0].contains("hunter2"), "{faults:?}");
            let error = PostgresConfig::new(url).pool("test.url", 1).expect_err("not a url");
            assert_eq!(Exit::of(&error), Exit::Config);
        }
    }

    #[test]
    fn settings_never_print_the_url() {
        let config = PostgresConfig::new(URL);
        let printed = format!("{config:?} {config:#?}");
        assert!(!printed.contains("hunter2") && !printed.contains("alpha"), "{printed}");
    }

    #[tokio::test]
    async fn a_pool_has_its_name_its_size_and_the_servers_limits() {
        let config = PostgresConfig { lock_timeout_ms: 77, ..PostgresConfig::new(URL) };
        let pool = config.pool("aggregator.sweep", 3).expect("a pool");
        assert_eq!(pool.options().get_max_connections(), 3);
        assert_eq!(pool.options().get_acquire_timeout(), Duration::from_secs(2));
        let options = pool.connect_options();
        assert_eq!(options.get_application_name(), Some("cardquery.aggregator.sweep"));
        assert_eq!(
            options.get_options(),
            Some(
                "-c statement_timeout=10000 -c lock_timeout=77 -c idle_in_transaction_session_timeout=15000"
            )
        );
    }

    #[tokio::test]
    async fn the_url_can_stand_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("url");
        let config = PostgresConfig { url_file: Some(path.clone()), ..PostgresConfig::default() };
        assert_eq!(config.validate(), Ok(()));
        let missing = config.pool("test.file", 1).expect_err("no file");
        assert_eq!(Exit::of(&missing), Exit::NoInput);
        std::fs::write(&path, format!("{URL}\n")).expect("written");
        let pool = config.pool("test.file", 1).expect("a pool");
        assert_eq!(pool.connect_options().get_port(), 5433);
        std::fs::write(&path, "hunter2").expect("written");
        let wrong = config.pool("test.file", 1).expect_err("not a url");
        assert_eq!(Exit::of(&wrong), Exit::Config);
    }
}
