//! The settings file of a workload: what the table knows, and where secrets are mounted.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::workload::{HUB_PORT, PRODUCER_PORT, Workload};
use crate::config::{Config, Estate};
use crate::local::plan::Part;

/// Where the workload's secrets are mounted.
pub(super) const SECRETS: &str = "/run/secrets/cardquery";
/// Where it keeps what must outlive the pod.
pub(super) const STATE: &str = "/var/lib/cardquery";

/// TOML.
pub(super) fn of(workload: &Workload, config: &Config, estate: &Estate) -> String {
    let mut settings: BTreeMap<&str, Value> = own(workload).into_iter().collect();
    settings.insert("prefix", json!(estate.topics.prefix()));
    settings.insert("kafka", kafka(workload, config));
    settings.insert("registry", registry(workload, config));
    // Probes come from the node. What changes the process is still taken from inside the pod only.
    settings.insert("admin", json!({ "listen": format!("0.0.0.0:{}", workload.admin_port()) }));
    toml::to_string(&settings).expect("tables of texts, numbers and tables are TOML")
}

fn own(workload: &Workload) -> Vec<(&'static str, Value)> {
    match &workload.part {
        Part::Aggregator => vec![
            ("listen", json!(format!("0.0.0.0:{HUB_PORT}"))),
            ("signing_key_file", secret("signing.key")),
            ("tls", mutual_tls("http")),
            ("postgres", json!({ "url_file": secret("postgres.url") })),
            ("erasure", json!({ "key_dir": format!("{STATE}/day-keys") })),
            ("limits", json!({ "mac_key_file": secret("subjects.key") })),
        ],
        Part::Notifier => vec![
            ("opening_key_files", json!([secret("opening.key")])),
            ("postgres", json!({ "url_file": secret("postgres.url") })),
        ],
        Part::Producer(upstream) => vec![
            ("upstream", json!(upstream.as_str())),
            ("signing_key_file", secret("signing.key")),
            ("http", json!({ "listen": format!("0.0.0.0:{PRODUCER_PORT}"), "tls": mutual_tls("http") })),
            ("hub", json!({ "url": format!("https://aggregator:{HUB_PORT}"), "tls": mutual_tls("hub") })),
        ],
        Part::Connector(bank) => vec![
            ("bank", json!(bank.as_str())),
            ("signing_key_file", secret("signing.key")),
            ("opening_key_files", json!([secret("opening.key")])),
        ],
    }
}

fn kafka(workload: &Workload, config: &Config) -> Value {
    json!({
        "brokers": config.kafka.brokers,
        "properties": {
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": workload.part.user().to_string(),
            "ssl.ca.location": secret("kafka-ca.pem"),
        },
        "property_files": { "sasl.password": secret("kafka.password") },
    })
}

fn registry(workload: &Workload, config: &Config) -> Value {
    let mut registry = json!({ "roots": config.registry.roots });
    if config.registry.allow_sample_roots {
        registry["allow_sample_roots"] = json!(true);
    }
    if workload.keeps_a_file() {
        registry["seen_file"] = json!(format!("{STATE}/registry-seen.json"));
    }
    registry
}

fn mutual_tls(of: &str) -> Value {
    json!({
        "certificate_file": secret(&format!("{of}.pem")),
        "key_file": secret(&format!("{of}.key")),
        "ca_file": secret(&format!("{of}-ca.pem")),
    })
}

fn secret(file: &str) -> Value {
    json!(format!("{SECRETS}/{file}"))
}
