//! Where the servers of `deploy/stack` are: the lines of its `env` file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// The variable that names the stack's folder.
pub const STACK: &str = "CARDQUERY_STACK";
const BROKERS: &str = "CARDQUERY_STACK_BROKERS";
const CA: &str = "CARDQUERY_STACK_CA";
const PASSWORDS: &str = "CARDQUERY_STACK_PASSWORDS";
const POSTGRES: &str = "CARDQUERY_STACK_POSTGRES";
const REDIS: &str = "CARDQUERY_STACK_REDIS";
const JARS: &str = "CARDQUERY_STACK_KAFKA_JARS";

/// A running stack.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Its folder.
    pub folder: PathBuf,
    /// Bootstrap servers: SASL_SSL with SCRAM-SHA-512, nothing else.
    pub brokers: String,
    /// The certificate authority of the brokers, PEM.
    pub ca: PathBuf,
    /// One file per Kafka user: `<user>.password`.
    pub passwords: PathBuf,
    /// A PostgreSQL role that may make databases and roles.
    pub postgres: SecretString,
    /// Redis.
    pub redis: SecretString,
    /// Kafka's jars, for Java clients.
    pub jars: PathBuf,
}

/// Why there is no stack.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// Its file cannot be read.
    #[error("no stack at {}: run `deploy/stack up` ({source})", folder.display())]
    NotUp {
        /// Where it was looked for.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is missing.
    #[error("the stack does not say {0}: run `deploy/stack up`")]
    Missing(&'static str),
    /// A user's password cannot be read.
    #[error("the password file {}: {source}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Stack {
    /// The stack in `folder`.
    ///
    /// # Errors
    /// [`StackError`].
    pub fn read(folder: &Path) -> Result<Self, StackError> {
        let text = std::fs::read_to_string(folder.join("env"))
            .map_err(|source| StackError::NotUp { folder: folder.to_owned(), source })?;
        let lines = parse(&text);
        Self::from_variables(|name| lines.get(name).cloned())
    }

    /// The stack that `variable` tells of, for example the environment.
    ///
    /// # Errors
    /// [`StackError::Missing`].
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, StackError> {
        let said = |name: &'static str| variable(name).ok_or(StackError::Missing(name));
        Ok(Self {
            folder: said(STACK)?.into(),
            brokers: said(BROKERS)?,
            ca: said(CA)?.into(),
            passwords: said(PASSWORDS)?.into(),
            postgres: said(POSTGRES)?.into(),
            redis: said(REDIS)?.into(),
            jars: said(JARS)?.into(),
        })
    }

    /// Where the system that runs on it keeps its settings, keys and logs.
    pub fn system(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// The file with the password of a Kafka user.
    pub fn password_file(&self, user: &str) -> PathBuf {
        self.passwords.join(format!("{user}.password"))
    }

    /// The password of a Kafka user.
    ///
    /// # Errors
    /// [`StackError::Password`].
    pub fn password(&self, user: &str) -> Result<SecretString, StackError> {
        let path = self.password_file(user);
        let text = std::fs::read_to_string(&path).map_err(|source| StackError::Password { path, source })?;
        Ok(text.trim().into())
    }

    /// What librdkafka needs to be `user`, without the password.
    pub fn sasl(&self, user: &str) -> BTreeMap<String, String> {
        [
            ("security.protocol", "sasl_ssl".to_owned()),
            ("sasl.mechanism", "SCRAM-SHA-512".to_owned()),
            ("sasl.username", user.to_owned()),
            ("ssl.ca.location", self.ca.display().to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// As [`Stack::sasl`], with the password: for a client in this process.
    ///
    /// # Errors
    /// [`StackError::Password`].
    pub fn client(&self, user: &str) -> Result<BTreeMap<String, String>, StackError> {
        let mut properties = self.sasl(user);
        properties.insert("sasl.password".to_owned(), self.password(user)?.expose_secret().to_owned());
        Ok(properties)
    }
}

/// `KEY=VALUE` lines; a shell's `export` before them and quotes around values do not count.
fn parse(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.trim().trim_start_matches("export ").split_once('='))
        .map(|(key, value)| (key.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENV: &str = "
        CARDQUERY_STACK=/s
        CARDQUERY_STACK_BROKERS=localhost:1,localhost:2
        export CARDQUERY_STACK_CA='/s/tls/ca.pem'
        CARDQUERY_STACK_PASSWORDS=/s/passwords
        CARDQUERY_STACK_POSTGRES=\"postgres://cardquery:hunter2@127.0.0.1:3/postgres?a=b\"
        CARDQUERY_STACK_REDIS=redis://:hunter2@127.0.0.1:4/
        CARDQUERY_STACK_KAFKA_JARS=/jars
    ";

    fn stack(text: &str) -> Result<Stack, StackError> {
        let lines = parse(text);
        Stack::from_variables(|name| lines.get(name).cloned())
    }

    #[test]
    fn a_stack_is_read_from_its_lines_and_its_secrets_do_not_print() {
        let stack = stack(ENV).expect("complete");
        assert_eq!(stack.brokers, "localhost:1,localhost:2");
        assert_eq!(stack.ca, Path::new("/s/tls/ca.pem"));
        assert!(stack.postgres.expose_secret().ends_with("/postgres?a=b"));
        assert_eq!(stack.password_file("bank-anhe"), Path::new("/s/passwords/bank-anhe.password"));
        assert!(!format!("{stack:?}").contains("hunter2"));
    }

    #[test]
    fn a_line_that_is_missing_is_named() {
        for line in ENV.lines().filter(|line| line.contains('=')) {
            let error = stack(&ENV.replace(line, "")).expect_err("incomplete").to_string();
            let name = line.trim().trim_start_matches("export ").split('=').next().unwrap_or_default();
            assert!(error.contains(name), "{error}");
        }
    }
}
