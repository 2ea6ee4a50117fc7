//! The servers that `deploy/stack` started, as a test sees them: addresses, passwords, and names of its own.

mod database;
mod environment;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use plumbing::kafka::KafkaConfig;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use uuid::Uuid;

pub use database::TestDatabase;
use environment::Environment;

use crate::kafka::{TopicSpec, create_topics};

const DIRECTORY: &str = "CARDQUERY_STACK";
const HOW_TO_START: &str =
    r#"this test needs the stack: run `make test`, or `eval "$(deploy/stack up && deploy/stack env)"`"#;

/// A member of a group that is gone without a word delays its group by this: the least that brokers allow.
const SESSION_TIMEOUT_MS: u32 = 6_000;

/// The running stack. Tests share it, so whatever a test creates has a name of its own.
pub struct Stack {
    directory: PathBuf,
    environment: Environment,
}

impl Stack {
    /// The stack that `CARDQUERY_STACK` names.
    ///
    /// # Panics
    /// If the variable is missing or its stack is not up; the message says how to start one.
    #[must_use]
    #[track_caller]
    pub fn get() -> &'static Self {
        static STACK: OnceLock<Result<Stack, String>> = OnceLock::new();
        match STACK.get_or_init(Self::read) {
            Ok(stack) => stack,
            Err(reason) => panic!("{reason}; {HOW_TO_START}"),
        }
    }

    fn read() -> Result<Self, String> {
        let directory = env::var_os(DIRECTORY).ok_or_else(|| format!("{DIRECTORY} is not set"))?;
        let directory = PathBuf::from(directory);
        let path = directory.join("env");
        let text =
            fs::read_to_string(&path).map_err(|error| format!("cannot read {}, {error}", path.display()))?;
        let environment =
            Environment::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { directory, environment })
    }

    /// Where the stack keeps everything: logs below `log/`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Bootstrap servers, `localhost:port` separated by commas: TLS and SCRAM-SHA-512 only.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.environment.brokers
    }

    /// How many brokers there are: 1 or 3.
    #[must_use]
    pub fn broker_count(&self) -> usize {
        self.brokers().split(',').count()
    }

    /// The certificate of the CA that vouches for the brokers.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.environment.ca_file
    }

    /// The directory with one file `<user>.password` for each Kafka user.
    #[must_use]
    pub fn passwords(&self) -> &Path {
        &self.environment.passwords
    }

    /// The password of a Kafka user.
    ///
    /// # Panics
    /// If the user has no password file; only `admin` has one from the beginning.
    #[must_use]
    #[track_caller]
    pub fn password(&self, user: &str) -> String {
        let path = self.passwords().join(format!("{user}.password"));
        match fs::read_to_string(&path) {
            Ok(password) => password.trim_end().to_owned(),
            Err(error) => panic!("{user} has no password in {}: {error}", path.display()),
        }
    }

    /// Settings of a client that logs in as `user`.
    ///
    /// # Panics
    /// As [`Self::password`].
    #[must_use]
    #[track_caller]
    pub fn kafka(&self, user: &str, client_id: &str) -> KafkaConfig {
        self.kafka_with(user, &self.password(user), client_id)
    }

    /// As [`Self::kafka`], with a password that need not be the right one.
    #[must_use]
    pub fn kafka_with(&self, user: &str, password: &str, client_id: &str) -> KafkaConfig {
        KafkaConfig {
            session_timeout_ms: SESSION_TIMEOUT_MS,
            properties: BTreeMap::from([
                ("security.protocol".to_owned(), "sasl_ssl".to_owned()),
                ("sasl.mechanism".to_owned(), "SCRAM-SHA-512".to_owned()),
                ("sasl.username".to_owned(), user.to_owned()),
                ("sasl.password".to_owned(), password.to_owned()),
                ("ssl.ca.location".to_owned(), self.ca_file().display().to_string()),
                ("ssl.endpoint.identification.algorithm".to_owned(), "https".to_owned()),
            ]),
            ..KafkaConfig::new(self.brokers(), client_id)
        }
    }

    /// Settings of a plain librdkafka client that logs in as `user`, for what plumbing has no client for.
    ///
    /// # Panics
    /// As [`Self::password`].
    #[must_use]
    #[track_caller]
    pub fn client(&self, user: &str, client_id: &str) -> ClientConfig {
        client_config(&self.kafka(user, client_id))
    }

    /// Creates topics as `admin`, and returns once each of their partitions has a leader.
    ///
    /// # Panics
    /// If a topic exists, the brokers refuse it, or it has no leaders within 30 s.
    pub async fn create_topics(&self, topics: &[TopicSpec<'_>]) {
        let admin = self.client("admin", "cardquery.test").create().expect("these settings are valid");
        if let Err(reason) = create_topics(&admin, topics).await {
            panic!("{reason}; the brokers' logs are in {}", self.directory.join("log").display());
        }
    }

    /// A role that may create databases and roles, at the database `postgres`.
    #[must_use]
    pub fn postgres_url(&self) -> &str {
        &self.environment.postgres
    }

    /// Creates an empty database of the caller's own.
    ///
    /// # Panics
    /// If PostgreSQL refuses.
    pub async fn database(&self) -> TestDatabase {
        TestDatabase::create(self.postgres_url()).await
    }

    /// The shared Redis. Its keys belong to many tests: begin yours with a [`fresh_prefix`], and flush a
    /// [`RedisServer`](crate::redis_server::RedisServer) of your own instead of this one.
    #[must_use]
    pub fn redis_url(&self) -> &str {
        &self.environment.redis
    }

    /// The directory with Kafka's jars.
    #[must_use]
    pub fn kafka_jars(&self) -> &Path {
        &self.environment.kafka_jars
    }
}

/// What every client that plumbing makes of these settings has, too.
pub(crate) fn client_config(kafka: &KafkaConfig) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    config.set("bootstrap.servers", &kafka.brokers).set("client.id", &kafka.client_id);
    for (key, value) in &kafka.properties {
        config.set(key, value);
    }
    config
}

/// A name that nothing else has: a prefix for topics, groups and Redis keys.
#[must_use]
pub fn fresh_prefix() -> String {
    format!("t{}", Uuid::now_v7().simple())
}
