//! The settings file of every process. Secrets stand beside it, in files of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plumbing::http::MutualTls;
use schemas::ids::{BankId, UpstreamId};
use serde_json::{Value, json};

use super::addresses::Addresses;
use super::plan::{Part, Plan};
use super::stack::Stack;
use crate::sample;

/// Everything that settings are made of.
pub(super) struct Site<'a> {
    pub(super) plan: &'a Plan,
    pub(super) stack: &'a Stack,
    pub(super) addresses: &'a Addresses,
}

/// Files of a process, below the plan's folder.
pub(super) struct Files<'a>(pub(super) &'a Path);

impl Files<'_> {
    pub(super) fn settings(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.toml"))
    }

    pub(super) fn signing_key(&self, name: &str) -> PathBuf {
        self.0.join("keys").join(format!("{name}.signing.key"))
    }

    pub(super) fn opening_key(&self, name: &str) -> PathBuf {
        self.0.join("keys").join(format!("{name}.opening.key"))
    }

    pub(super) fn database_url(&self, name: &str) -> PathBuf {
        self.0.join("keys").join(format!("{name}.postgres"))
    }

    /// The key that the hub counts people by.
    pub(super) fn subject_key(&self) -> PathBuf {
        self.0.join("keys").join("aggregator.subjects.key")
    }

    /// The keys that the hub wraps content under.
    pub(super) fn day_keys(&self) -> PathBuf {
        self.0.join("day-keys")
    }

    pub(super) fn redis_url(&self) -> PathBuf {
        self.0.join("keys").join("aggregator.redis")
    }

    /// Who a process is in HTTP, and whom it believes.
    pub(super) fn tls(&self, name: &str) -> MutualTls {
        let file = |kind: &str| self.0.join("keys").join(format!("{name}.http.{kind}"));
        MutualTls {
            certificate_file: file("pem"),
            key_file: file("key"),
            ca_file: self.0.join("keys/http-ca.pem"),
        }
    }

    pub(super) fn seen(&self, name: &str) -> PathBuf {
        self.0.join("seen").join(format!("{name}.json"))
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.0.join("log").join(format!("{name}.log"))
    }

    pub(super) fn sms(&self) -> PathBuf {
        self.0.join("sms.jsonl")
    }

    pub(super) fn folders(&self) -> [PathBuf; 5] {
        [self.0.to_owned(), self.0.join("keys"), self.day_keys(), self.0.join("seen"), self.0.join("log")]
    }
}

/// Top-level keys with their values.
type Settings = Vec<(&'static str, Value)>;

impl Site<'_> {
    /// The settings of a process, as TOML.
    pub(super) fn of(&self, part: &Part) -> String {
        let own = match part {
            Part::Aggregator => self.aggregator(),
            Part::Notifier => self.notifier(),
            Part::Producer(upstream) => self.producer(upstream),
            Part::Connector(bank) => self.connector(bank, &part.name()),
        };
        let common = vec![
            ("prefix", json!(self.plan.prefix)),
            ("kafka", self.kafka(part)),
            ("registry", self.registry(part)),
            ("admin", json!({ "listen": self.addresses.admin[&part.name()] })),
        ];
        render(own.into_iter().chain(common))
    }

    fn aggregator(&self) -> Settings {
        let texts: Vec<String> =
            producer::consent_texts().iter().map(|text| text.sha256.to_string()).collect();
        vec![
            ("listen", json!(self.addresses.hub)),
            ("tls", self.tls("aggregator")),
            ("signing_key_file", json!(self.files().signing_key("aggregator"))),
            ("store", json!("postgres")),
            ("sweep_interval_ms", json!(100)),
            ("postgres", self.postgres("aggregator")),
            ("redis", json!({ "url_file": self.files().redis_url(), "prefix": self.plan.prefix })),
            ("limits", json!({ "mac_key_file": self.files().subject_key() })),
            ("erasure", json!({ "key_dir": self.files().day_keys() })),
            ("policy", self.policy(&texts)),
            // 5 s of 24 h would be nothing here; what is needed is that appended records are visible.
            ("window", json!({ "length_seconds": self.plan.window.as_secs_f64(), "grace_ms": 250 })),
        ]
    }

    /// A few people ask all the time here, and nobody waits for hours to release a query.
    fn policy(&self, consent_texts: &[String]) -> Value {
        json!({
            "open_regions": self.open_regions(),
            "consent_texts": consent_texts,
            "one_open_query": false,
            "requery_interval_seconds": 0,
            "cooling_off_seconds": self.plan.window.as_secs() / 12,
            "hold_seconds": 3 * self.plan.window.as_secs().max(1),
        })
    }

    fn notifier(&self) -> Settings {
        vec![
            ("dev", json!(true)),
            ("opening_key_files", json!([self.files().opening_key("notifier")])),
            // Below the session timeout, see `kafka`.
            ("gateway", json!({ "file": self.files().sms(), "timeout_ms": 2_000 })),
            ("notices", json!({ "drain_ms": 4_000 })),
            ("postgres", self.postgres("notifier")),
        ]
    }

    fn producer(&self, upstream: &UpstreamId) -> Settings {
        // Everything shares one machine here: a hub that is slow to answer must not turn a repeat into a second record.
        let hub = json!({
            "url": format!("https://{}", self.addresses.hub_name),
            "repeat_check_ms": 5_000,
            "tls": self.tls("producer"),
        });
        vec![
            ("upstream", json!(upstream.as_str())),
            ("signing_key_file", json!(self.files().signing_key("producer"))),
            ("http", json!({ "listen": self.addresses.producer })),
            ("hub", hub),
            ("policy", json!({ "open_regions": self.open_regions() })),
        ]
    }

    /// The sample's settings of a source, with the database of this bank.
    fn connector(&self, bank: &BankId, name: &str) -> Settings {
        let mut source = sample::core::source_settings();
        if let Some(sql) = source.get_mut("sql").and_then(Value::as_object_mut) {
            sql.remove("url");
            sql.insert("url_file".to_owned(), json!(self.files().database_url(name)));
            // Fourteen banks share a server here.
            sql.insert("max_connections".to_owned(), json!(2));
        }
        vec![
            ("bank", json!(bank.as_str())),
            ("signing_key_file", json!(self.files().signing_key(name))),
            ("opening_key_files", json!([self.files().opening_key(name)])),
            ("source", json!([source])),
        ]
    }

    fn files(&self) -> Files<'_> {
        Files(&self.plan.folder)
    }

    fn kafka(&self, part: &Part) -> Value {
        let user = part.user().to_string();
        json!({
            "brokers": self.stack.brokers,
            "session_timeout_ms": 6_000,
            "properties": self.stack.sasl(&user),
            "property_files": { "sasl.password": self.stack.password_file(&user) },
        })
    }

    fn registry(&self, part: &Part) -> Value {
        let roots = roots();
        match part {
            Part::Aggregator | Part::Notifier => json!({ "roots": roots, "allow_sample_roots": true }),
            Part::Producer(_) | Part::Connector(_) => json!({
                "roots": roots,
                "allow_sample_roots": true,
                "seen_file": self.files().seen(&part.name()),
            }),
        }
    }

    fn tls(&self, name: &str) -> Value {
        tls(&self.files(), name)
    }

    fn postgres(&self, name: &str) -> Value {
        json!({ "url_file": self.files().database_url(name) })
    }

    fn open_regions(&self) -> Vec<&String> {
        self.plan.sample.upstreams.iter().flat_map(|upstream| &upstream.regions).collect()
    }
}

/// Names of those who ask the hub by `cardquery`: of their settings, their certificates, and what the hub calls them.
pub(super) const OPERATOR: &str = "operator";
pub(super) const AUDITOR: &str = "auditor";
/// Of whoever puts dead letters back: settings and user.
pub(super) const REDRIVE: &str = "redrive";

/// The settings of `cardquery --config <folder>`: the broker's administrator and the hub's operator.
pub(super) fn operator(plan: &Plan, stack: &Stack, addresses: &Addresses) -> String {
    command(plan, stack, addresses, OPERATOR, "admin")
}

/// The settings of `cardquery --config <folder>/auditor.toml`: reads everywhere, and writes nowhere.
pub(super) fn auditor(plan: &Plan, stack: &Stack, addresses: &Addresses) -> String {
    command(plan, stack, addresses, AUDITOR, AUDITOR)
}

fn command(plan: &Plan, stack: &Stack, addresses: &Addresses, name: &str, user: &str) -> String {
    // The stack has one broker or three.
    let replicas = stack.brokers.split(',').count();
    let settings = [
        ("prefix", json!(plan.prefix)),
        ("kafka", kafka(plan, stack, name, user)),
        ("cluster", json!({ "replication_factor": replicas, "min_insync_replicas": replicas.min(2) })),
        ("parties", json!({ "upstreams": texts(plan.upstreams()), "banks": texts(plan.banks()) })),
        ("registry", json!({ "roots": roots(), "allow_sample_roots": true })),
        ("users", json!({ "passwords_dir": stack.passwords })),
        ("services", services(plan, addresses)),
        (
            "hub",
            json!({ "url": format!("https://{}", addresses.hub_name), "tls": tls(&Files(&plan.folder), name) }),
        ),
    ];
    render(settings.into_iter())
}

/// The settings of whoever puts dead letters back, for `cardquery dlq --config <folder>/redrive.toml`.
pub(super) fn redrive(plan: &Plan, stack: &Stack) -> String {
    let settings = [("prefix", json!(plan.prefix)), ("kafka", kafka(plan, stack, REDRIVE, REDRIVE))];
    render(settings.into_iter())
}

/// The way to the brokers for the client `name`, who logs in as `user`.
fn kafka(plan: &Plan, stack: &Stack, name: &str, user: &str) -> Value {
    json!({
        "brokers": stack.brokers,
        "client_id": plan.topics().group(name),
        "properties": stack.sasl(user),
        "property_files": { "sasl.password": stack.password_file(user) },
    })
}

/// Where the admin listeners are.
fn services(plan: &Plan, addresses: &Addresses) -> Value {
    let (mut aggregator, mut notifier, mut producer) = (Vec::new(), Vec::new(), Vec::new());
    for part in plan.parts() {
        let url = addresses.admin_url(&part.name());
        match part {
            Part::Aggregator => aggregator.push(url),
            Part::Notifier => notifier.push(url),
            Part::Producer(_) => producer.push(url),
            Part::Connector(_) => {}
        }
    }
    json!({ "aggregator": aggregator, "notifier": notifier, "producer": producer })
}

fn tls(files: &Files<'_>, name: &str) -> Value {
    let MutualTls { certificate_file, key_file, ca_file } = files.tls(name);
    json!({ "certificate_file": certificate_file, "key_file": key_file, "ca_file": ca_file })
}

fn roots() -> Vec<String> {
    sample::keys::roots().iter().map(|root| hex::encode(root.to_wire().raw)).collect()
}

fn texts(ids: Vec<impl ToString>) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn render(settings: impl Iterator<Item = (&'static str, Value)>) -> String {
    let table: BTreeMap<_, _> = settings.collect();
    toml::to_string(&table).expect("tables of texts, numbers and tables are TOML")
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
