//! Settings. `config.default.toml` is their documentation and their defaults.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use plumbing::config::{ConfigError, Faults};
use plumbing::exit::{Exit, Failure};
use plumbing::http::MutualTls;
use plumbing::kafka::KafkaConfig;
use plumbing::registry::RegistryConfig;
use schemas::ids::{BankId, UpstreamId};
use schemas::topics::Topics;
use serde::Deserialize;

/// The commented defaults.
pub const DEFAULTS: &str = include_str!("../config.default.toml");
/// First part of the environment variables that change settings.
pub const ENV_PREFIX: &str = "CARDQUERY";
/// The file that stands for its folder.
const FILE: &str = "operator.toml";

/// Settings of the operator's command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// First part of the names of all topics and groups.
    pub prefix: String,
    /// The brokers.
    pub kafka: KafkaConfig,
    /// Whom to trust.
    pub registry: RegistryConfig,
    /// How safe a record is.
    pub cluster: ClusterConfig,
    /// Who takes part.
    pub parties: PartiesConfig,
    /// The users' passwords.
    pub users: UsersConfig,
    /// What of the hub runs where.
    pub services: ServicesConfig,
    /// The way to the hub, for commands that ask it.
    #[serde(default)]
    pub hub: Option<HubConfig>,
}

/// Base addresses of the admin listeners of the hub's services, for example `http://10.0.0.5:8501`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicesConfig {
    /// Aggregators.
    pub aggregator: Vec<String>,
    /// Notifiers.
    pub notifier: Vec<String>,
    /// Producers.
    pub producer: Vec<String>,
}

/// The way to the hub's HTTP interface.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubConfig {
    /// Its base address.
    pub url: String,
    /// Who this command is to the hub, and whose certificate it believes.
    #[serde(default)]
    pub tls: Option<MutualTls>,
}

/// How safe a record is.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Replicas of every partition.
    pub replication_factor: u16,
    /// Replicas that must have a record before it is acknowledged.
    pub min_insync_replicas: u16,
}

/// Who takes part.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartiesConfig {
    /// Ids of upstreams.
    pub upstreams: Vec<String>,
    /// Ids of banks.
    pub banks: Vec<String>,
}

/// The users' passwords.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsersConfig {
    /// Folder with a file per user.
    pub passwords_dir: PathBuf,
}

/// What the settings say about the table of topics.
#[derive(Clone, Debug)]
pub struct Estate {
    /// The names.
    pub topics: Topics,
    /// The upstreams.
    pub upstreams: Vec<UpstreamId>,
    /// The banks.
    pub banks: Vec<BankId>,
    /// How safe a record is.
    pub cluster: ClusterConfig,
}

impl Config {
    /// Reads the settings; `path` may be a folder.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_file(path, FILE)
    }

    /// Reads the settings; a folder stands for the file called `name` in it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load_file(path: Option<&Path>, name: &str) -> Result<Self, ConfigError> {
        let file = path.map(|path| if path.is_dir() { path.join(name) } else { path.to_owned() });
        plumbing::config::load(DEFAULTS, file.as_deref(), ENV_PREFIX)
    }

    /// Reads the settings and checks them, for a command whose exit code says what is wrong.
    ///
    /// # Errors
    /// With the exit code of a file that cannot be read, or of settings that are wrong.
    pub fn load_with_estate(path: Option<&Path>) -> Result<(Self, Estate), Failure> {
        let config = Self::load(path).map_err(|error| error.exit().because(error))?;
        let estate = config.estate().map_err(|faults| Exit::Config.because(faults))?;
        Ok((config, estate))
    }

    /// What the settings say about the table of topics.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn estate(&self) -> Result<Estate, Faults> {
        let mut faults = Vec::new();
        if !is_prefix(&self.prefix) {
            faults.push(format!("prefix: `{}` must be [a-z0-9-], up to 64, and not dlq", self.prefix));
        }
        let ClusterConfig { replication_factor, min_insync_replicas } = self.cluster;
        if !(1..=replication_factor).contains(&min_insync_replicas) {
            faults.push(format!(
                "cluster.min_insync_replicas: {min_insync_replicas} must be at least 1 and at most the replication \
                 factor, {replication_factor}"
            ));
        }
        let upstreams = ids("parties.upstreams", &self.parties.upstreams, &mut faults);
        let banks = ids("parties.banks", &self.parties.banks, &mut faults);
        Faults::check(faults)?;
        Ok(Estate { topics: Topics::new(&self.prefix), upstreams, banks, cluster: self.cluster })
    }
}

/// Without a dot, so that no prefix lies within another's names; without an underscore, so that Kubernetes takes the
/// names as they are; `dlq` is the first part of everybody's dead letters.
fn is_prefix(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text != "dlq"
}

fn ids<T: FromStr + Ord>(key: &str, texts: &[String], faults: &mut Vec<String>) -> Vec<T> {
    let mut ids = BTreeSet::new();
    for text in texts {
        match text.parse::<T>().map(|id| ids.insert(id)) {
            Ok(true) => {}
            Ok(false) => faults.push(format!("{key}: `{text}` stands twice")),
            Err(_) => faults.push(format!("{key}: `{text}` is not an id, [a-z0-9]{{2,16}}")),
        }
    }
    ids.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str) -> Config {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), text).expect("written");
        Config::load(Some(folder.path())).expect("settings")
    }

    #[test]
    fn a_folder_stands_for_the_file_in_it_and_the_defaults_are_complete() {
        let config = loaded("prefix = \"trial\"\n[parties]\nbanks = [\"beta\", \"alpha\"]\n");
        let estate = config.estate().expect("right");
        assert_eq!(estate.topics.prefix(), "trial");
        assert_eq!(estate.banks.iter().map(BankId::as_str).collect::<Vec<_>>(), ["alpha", "beta"]);
        assert_eq!((estate.cluster.replication_factor, estate.cluster.min_insync_replicas), (3, 2));
        assert!(Config::load(None).expect("the defaults").estate().is_ok());
    }

    #[test]
    fn every_wrong_setting_is_named_at_once() {
        let config = loaded(
            "prefix = \"card.query\"\n[cluster]\nreplication_factor = 1\n\
             [parties]\nupstreams = [\"Wallet\"]\nbanks = [\"alpha\", \"alpha\"]\n",
        );
        let faults = config.estate().expect_err("four mistakes").to_string();
        let keys: Vec<&str> =
            faults.lines().filter_map(|line| line.split_once(": ")).map(|(key, _)| key).collect();
        assert_eq!(keys, ["prefix", "cluster.min_insync_replicas", "parties.upstreams", "parties.banks"]);
    }

    #[test]
    fn a_prefix_never_lies_within_another_one() {
        for wrong in ["", "dlq", "card.query", "card_query", "-a", "a-", "Card", &"a".repeat(65)] {
            assert!(!is_prefix(wrong), "{wrong}");
        }
        for right in ["cardquery", "t-01", "a"] {
            assert!(is_prefix(right), "{right}");
        }
    }
}
