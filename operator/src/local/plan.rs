//! What a local system is to be, and what its parts are called.

use std::path::PathBuf;
use std::time::Duration;

use schemas::acls::User;
use schemas::ids::{BankId, UpstreamId};
use schemas::registry::PartyName;
use schemas::topics::Topics;

use crate::sample::registry::{self, Sample};

/// What a local system is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// First part of the names of all topics and groups.
    pub prefix: String,
    /// Stands for the 24 hours.
    pub window: Duration,
    /// Decides the sample's card numbers.
    pub seed: u64,
    /// Who takes part.
    pub sample: Sample,
    /// Where settings, keys and logs go.
    pub folder: PathBuf,
}

impl Plan {
    /// The whole sample under the production's prefix, in a folder of its own.
    pub fn new(folder: PathBuf) -> Self {
        let prefix = Topics::default().prefix().to_owned();
        Self { prefix, window: Duration::from_secs(20), seed: 7, sample: registry::sample(), folder }
    }

    /// Names of topics and groups.
    pub fn topics(&self) -> Topics {
        Topics::new(&self.prefix)
    }

    /// The upstream that the producer belongs to.
    pub fn upstream(&self) -> &UpstreamId {
        &self.sample.upstreams[0].id
    }

    /// The banks.
    pub fn banks(&self) -> Vec<BankId> {
        self.sample.banks.iter().map(|bank| bank.id.clone()).collect()
    }

    /// The upstreams.
    pub fn upstreams(&self) -> Vec<UpstreamId> {
        self.sample.upstreams.iter().map(|upstream| upstream.id.clone()).collect()
    }

    /// Every process, in the order in which they are told to a person.
    pub fn parts(&self) -> Vec<Part> {
        let hub = [Part::Aggregator, Part::Notifier, Part::Producer(self.upstream().clone())];
        hub.into_iter().chain(self.banks().into_iter().map(Part::Connector)).collect()
    }

    /// The name of a database of this system: a topic's prefix may have hyphens, a database's name may not.
    pub fn database(&self, what: &str) -> String {
        format!("{}_{what}", self.prefix.replace('-', "_"))
    }
}

/// A process of a local system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The aggregator.
    Aggregator,
    /// The notifier.
    Notifier,
    /// The producer of an upstream.
    Producer(UpstreamId),
    /// A bank's connector.
    Connector(BankId),
}

impl Part {
    /// What it is called: by commands, in logs, and as a file.
    pub fn name(&self) -> String {
        match self {
            Self::Aggregator => "aggregator".to_owned(),
            Self::Notifier => "notifier".to_owned(),
            Self::Producer(_) => "producer".to_owned(),
            Self::Connector(bank) => format!("bank-{bank}"),
        }
    }

    /// The program.
    pub fn binary(&self) -> &'static str {
        match self {
            Self::Aggregator => "aggregator",
            Self::Notifier => "notifier",
            Self::Producer(_) => "producer",
            Self::Connector(_) => "bank-connector",
        }
    }

    /// Whom the brokers know it as.
    pub fn user(&self) -> User {
        match self {
            Self::Aggregator => User::Aggregator,
            Self::Notifier => User::Notifier,
            Self::Producer(upstream) => User::Upstream(upstream.clone()),
            Self::Connector(bank) => User::Bank(bank.clone()),
        }
    }

    /// Whom the registry knows it as.
    pub fn party(&self) -> PartyName {
        match self {
            Self::Aggregator => PartyName::hub(),
            Self::Notifier => PartyName::notifier(),
            Self::Producer(upstream) => PartyName::upstream(upstream),
            Self::Connector(bank) => PartyName::bank(bank),
        }
    }

    /// Whether it holds a signing key.
    pub(super) fn signs(&self) -> bool {
        match self {
            Self::Aggregator | Self::Producer(_) | Self::Connector(_) => true,
            Self::Notifier => false,
        }
    }

    /// Whether it holds a key that opens what others seal to it.
    pub(super) fn opens(&self) -> bool {
        match self {
            Self::Notifier | Self::Connector(_) => true,
            Self::Aggregator | Self::Producer(_) => false,
        }
    }
}
