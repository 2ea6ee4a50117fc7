//! Which service runs for whom.

use crate::config::Estate;
use crate::local::plan::Part;

/// A service of a party.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) part: Part,
}

/// Where a service answers others, besides its admin listener.
pub(super) const HUB_PORT: u16 = 8490;
/// Where the wallet's back end finds the producer.
pub(super) const PRODUCER_PORT: u16 = 8480;

impl Workload {
    /// Those of the hub, then of every upstream and bank of the table.
    pub(super) fn all(estate: &Estate) -> Vec<Self> {
        let hub = [Part::Aggregator, Part::Notifier];
        let upstreams = estate.upstreams.iter().cloned().map(Part::Producer);
        let banks = estate.banks.iter().cloned().map(Part::Connector);
        hub.into_iter().chain(upstreams).chain(banks).map(|part| Self { part }).collect()
    }

    /// What its resources are called: a cluster may run several producers and connectors.
    pub(super) fn name(&self) -> String {
        match &self.part {
            Part::Aggregator => "aggregator".to_owned(),
            Part::Notifier => "notifier".to_owned(),
            Part::Producer(upstream) => format!("producer-{upstream}"),
            Part::Connector(bank) => format!("connector-{bank}"),
        }
    }

    /// Whether each pod keeps a file of its own: the registry versions that it has seen.
    pub(super) fn keeps_a_file(&self) -> bool {
        match self.part {
            Part::Producer(_) | Part::Connector(_) => true,
            Part::Aggregator | Part::Notifier => false,
        }
    }

    /// Its interface for others, if it has one.
    pub(super) fn port(&self) -> Option<u16> {
        match self.part {
            Part::Aggregator => Some(HUB_PORT),
            Part::Producer(_) => Some(PRODUCER_PORT),
            Part::Notifier | Part::Connector(_) => None,
        }
    }

    /// Health and metrics: the default of its settings.
    pub(super) fn admin_port(&self) -> u16 {
        match self.part {
            Part::Producer(_) => 8481,
            Part::Aggregator => 8491,
            Part::Notifier => 8501,
            Part::Connector(_) => 8511,
        }
    }

    /// Who may use its interface: pods with this label; nobody without one.
    pub(super) fn callers(&self) -> Option<&'static str> {
        match self.part {
            Part::Aggregator => Some("producer"),
            Part::Producer(_) => Some("wallet"),
            Part::Notifier | Part::Connector(_) => None,
        }
    }

    /// Ports that it reaches besides Kafka's: databases, Redis, the hub, a gateway. A bank's own system may listen anywhere.
    pub(super) fn reaches(&self) -> &'static [u16] {
        match self.part {
            Part::Aggregator => &[5432, 6379],
            Part::Notifier => &[443, 5432],
            Part::Producer(_) => &[HUB_PORT],
            Part::Connector(_) => &[5432],
        }
    }
}
