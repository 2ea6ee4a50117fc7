//! Where processes listen.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use super::plan::{Part, Plan};
use super::ports;

/// What the aggregator's container is called.
pub(super) const HUB_HOST: &str = "aggregator";
const HUB_PORT: u16 = 8490;
const PRODUCER_PORT: u16 = 8480;
const ADMIN_PORT: u16 = 8500;

/// Where processes listen.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    /// The wallet's interface.
    pub(super) producer: SocketAddr,
    /// The hub's.
    pub(super) hub: SocketAddr,
    /// What the producer calls the hub: host and port.
    pub(super) hub_name: String,
    /// Health and metrics, by process.
    pub(super) admin: BTreeMap<String, SocketAddr>,
}

impl Addresses {
    /// All of them on this machine, at ports that are free now.
    pub(super) fn here(plan: &Plan) -> io::Result<Self> {
        let parts = plan.parts();
        let mut ports = ports::free(parts.len() + 2)?;
        let (hub, producer) = (ports.remove(0), ports.remove(0));
        let admin = parts.iter().map(Part::name).zip(ports).collect();
        Ok(Self { producer, hub, hub_name: hub.to_string(), admin })
    }

    /// Where another process finds the admin listener of the process `name`, which is what its container is called.
    pub(super) fn admin_url(&self, name: &str) -> String {
        let listens = self.admin[name];
        if listens.ip().is_unspecified() {
            format!("http://{name}:{}", listens.port())
        } else {
            format!("http://{listens}")
        }
    }

    /// Each in a container of its own, which has every port for itself. The wallet's interface has no callers with names
    /// here, so that it stays within its container.
    pub(super) fn in_containers(plan: &Plan) -> Self {
        let anywhere = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Self {
            producer: (Ipv4Addr::LOCALHOST, PRODUCER_PORT).into(),
            hub: anywhere(HUB_PORT),
            hub_name: format!("{HUB_HOST}:{HUB_PORT}"),
            admin: plan.parts().iter().map(|part| (part.name(), anywhere(ADMIN_PORT))).collect(),
        }
    }
}
