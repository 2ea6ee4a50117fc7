//! The services of a table as resources of Kubernetes.
//!
//! | file | role |
//! |---|---|
//! | `workload.rs` | which service runs for whom, and what is its own |
//! | `settings.rs` | the settings file of each |
//! | `resources.rs` | pods, and what stands around them |
//!
//! What only people know stays out, and what is secret as well. Both are mounted beside what is rendered:
//!
//! | of each workload `<name>` | holds | when it is missing |
//! |---|---|---|
//! | Secret `<name>` | its keys, certificates and addresses with passwords | the pod waits |
//! | Secret of its Kafka user, as Strimzi makes it | the password | the pod waits |
//! | ConfigMap `<name>-own` | further settings, over the rendered ones | the rendered ones hold alone |

mod resources;
mod settings;
mod workload;

use serde_json::Value;

use self::workload::Workload;
use crate::config::{Config, Estate};

/// What the table does not say.
#[derive(Clone, Debug, clap::Args)]
pub struct Site {
    /// The namespace of the services.
    #[arg(long, value_name = "NAME", default_value = "cardquery")]
    pub namespace: String,
    /// What stands before the name of each service's image.
    #[arg(long, value_name = "TEXT", default_value = "cardquery/")]
    pub images: String,
    /// The images' tag.
    #[arg(long, value_name = "TAG", default_value = env!("CARGO_PKG_VERSION"))]
    pub tag: String,
    /// The Strimzi cluster, whose certificate authority and users' passwords are taken from its secrets.
    #[arg(long, value_name = "NAME", default_value = "cardquery")]
    pub cluster: String,
    /// The namespace from which metrics are read.
    #[arg(long, value_name = "NAME", default_value = "monitoring")]
    pub monitoring: String,
    /// Pods of each service.
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub replicas: u16,
}

/// A stream of YAML documents. Each is JSON, which YAML contains.
pub(super) fn documents(config: &Config, estate: &Estate, site: &Site) -> String {
    let workloads = Workload::all(estate);
    let of_each = workloads.iter().flat_map(|workload| resources::of(workload, config, estate, site));
    let all: Vec<Value> = std::iter::once(resources::namespace(site)).chain(of_each).collect();
    all.iter().map(|resource| format!("---\n{resource:#}\n")).collect()
}

#[cfg(test)]
mod tests;
