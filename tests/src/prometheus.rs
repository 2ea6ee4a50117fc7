//! A Prometheus for one test, with the shipped alert rules, that scrapes what the test names.
//!
//! | file | role |
//! |---|---|
//! | `shortened.rs` | the rules in a shorter time |

mod shortened;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

pub use self::shortened::{SHORTER, shortened};
use crate::log_file;
use crate::owned_process::{Launch, OwnedProcess};
use crate::ports;

const UP_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);
const LOG_LINES: usize = 20;

/// Where the shipped rules, dashboards and examples are.
#[must_use]
pub fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// An alert as Prometheus tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct Alert {
    /// Its labels, the name among them.
    pub labels: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub state: String,
}

impl Alert {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.labels.get("alertname").map_or("", String::as_str)
    }
}

/// A running Prometheus that looks every second, with the shipped rules shortened.
///
/// The process ends with this value, and also when the test process ends in any other way.
pub struct Prometheus {
    process: OwnedProcess,
    address: SocketAddr,
    client: reqwest::Client,
    // After `process`, so that the process is gone before its files are.
    folder: TempDir,
}

impl Prometheus {
    /// Starts it and returns once it answers.
    ///
    /// # Panics
    /// If `prometheus` is missing or does not answer.
    pub async fn start(targets: &[SocketAddr]) -> Self {
        let [port] = ports::free().expect("the operating system has free ports");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let folder = tempfile::Builder::new()
            .prefix("cardquery-prometheus-")
            .tempdir()
            .expect("the temporary directory is writable");
        let path = |name: &str| folder.path().join(name);
        let rules = std::fs::read_to_string(deploy().join("prometheus/alerts.yml")).expect("shipped");
        std::fs::write(path("alerts.yml"), shortened(&rules)).expect("writable");
        // JSON is YAML.
        let config = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
            "rule_files": ["alerts.yml"],
            "scrape_configs": [{ "job_name": "cardquery", "static_configs": [{ "targets": targets }] }],
        });
        std::fs::write(path("prometheus.yml"), config.to_string()).expect("writable");
        let log = path("log");
        let launch = Launch {
            program: Path::new("prometheus"),
            stdout: &log,
            stderr: &log,
            orphaned_directory: Some(folder.path()),
        };
        let process = OwnedProcess::spawn(&launch, |command| {
            command.arg(format!("--config.file={}", path("prometheus.yml").display()));
            command.arg(format!("--storage.tsdb.path={}", path("data").display()));
            command.arg(format!("--web.listen-address={address}"));
        });
        let process = process.unwrap_or_else(|error| {
            panic!("cannot start prometheus: {error}: deploy/stack up --with-prometheus installs it")
        });
        let client = plumbing::http::client(None).expect("no file can be wrong");
        let mut prometheus = Self { process, address, client, folder };
        let deadline = Instant::now() + UP_WITHIN;
        while prometheus.get("/-/ready").await.is_none() {
            let ended = prometheus.process.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "prometheus ended while starting: {}", prometheus.log());
            assert!(Instant::now() < deadline, "prometheus is not ready: {}", prometheus.log());
            tokio::time::sleep(POLL).await;
        }
        prometheus
    }

    /// The alerts that are pending or firing.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn alerts(&self) -> Vec<Alert> {
        #[derive(Deserialize)]
        struct Answer {
            data: Alerts,
        }
        #[derive(Deserialize)]
        struct Alerts {
            alerts: Vec<Alert>,
        }
        let text = self.get("/api/v1/alerts").await;
        let text = text.unwrap_or_else(|| panic!("prometheus does not answer: {}", self.log()));
        serde_json::from_str::<Answer>(&text).expect("alerts").data.alerts
    }

    /// The names of the alerts that are firing.
    pub async fn firing(&self) -> BTreeSet<String> {
        let firing = |alert: &Alert| (alert.state == "firing").then(|| alert.name().to_owned());
        self.alerts().await.iter().filter_map(firing).collect()
    }

    /// Waits until `name` fires with these labels.
    ///
    /// # Panics
    /// If it does not in time; the message says what is pending and firing.
    pub async fn fires(&self, name: &str, labels: &[(&str, &str)], within: Duration) {
        let deadline = Instant::now() + within;
        let is_it = |alert: &Alert| {
            let has =
                |(label, value): &(&str, &str)| alert.labels.get(*label).is_some_and(|has| has == value);
            alert.name() == name && alert.state == "firing" && labels.iter().all(has)
        };
        loop {
            let alerts = self.alerts().await;
            if alerts.iter().any(is_it) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{name} {labels:?} does not fire within {within:?}: {alerts:#?}"
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until an instant query has a result, and returns its first value.
    ///
    /// # Panics
    /// If it has none in time.
    pub async fn value(&self, query: &str, within: Duration, wanted: impl Fn(f64) -> bool) -> f64 {
        let deadline = Instant::now() + within;
        loop {
            let found = self.query(query).await;
            if let Some(value) = found.filter(|value| wanted(*value)) {
                return value;
            }
            assert!(Instant::now() < deadline, "{query} is {found:?} after {within:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    async fn query(&self, query: &str) -> Option<f64> {
        let url = reqwest::Url::parse_with_params(
            &format!("http://{}/api/v1/query", self.address),
            [("query", query)],
        );
        let answer = self.client.get(url.expect("a URL")).send().await.ok()?.text().await.ok()?;
        let answer: serde_json::Value = serde_json::from_str(&answer).ok()?;
        answer.pointer("/data/result/0/value/1")?.as_str()?.parse().ok()
    }

    async fn get(&self, path: &str) -> Option<String> {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await.ok()?;
        if answer.status().is_success() { answer.text().await.ok() } else { None }
    }

    fn log(&self) -> String {
        log_file::tail(&self.folder.path().join("log"), LOG_LINES)
    }
}
