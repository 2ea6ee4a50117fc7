//! The running stack, as its environment names it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rdkafka::ClientConfig;

const HOW_TO_START: &str =
    r#"this test needs the stack: run `make test`, or `eval "$(deploy/stack up && deploy/stack env)"`"#;

pub(crate) struct Stack {
    brokers: String,
    ca_file: PathBuf,
    passwords: PathBuf,
}

impl Stack {
    #[track_caller]
    pub(crate) fn get() -> &'static Self {
        static STACK: OnceLock<Option<Stack>> = OnceLock::new();
        let stack = STACK.get_or_init(|| {
            Some(Self {
                brokers: env::var("CARDQUERY_STACK_BROKERS").ok()?,
                ca_file: env::var_os("CARDQUERY_STACK_CA")?.into(),
                passwords: env::var_os("CARDQUERY_STACK_PASSWORDS")?.into(),
            })
        });
        stack.as_ref().expect(HOW_TO_START)
    }

    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    pub(crate) fn broker_count(&self) -> usize {
        self.brokers.split(',').count()
    }

    pub(crate) fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    pub(crate) fn passwords(&self) -> &Path {
        &self.passwords
    }

    pub(crate) fn password(&self, user: &str) -> String {
        let path = self.passwords.join(format!("{user}.password"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim_end().to_owned()
    }

    /// Settings of a plain client that logs in as `user`.
    pub(crate) fn client(&self, user: &str, client_id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", client_id)
            .set("security.protocol", "sasl_ssl")
            .set("sasl.mechanism", "SCRAM-SHA-512")
            .set("sasl.username", user)
            .set("sasl.password", self.password(user))
            .set("ssl.ca.location", self.ca_file.display().to_string());
        config
    }
}
