//! The aggregator as a process of its own, beside a [`World`] without one.

use std::time::{Duration, Instant};

use cardquery::demo::world::{Plan, World};
use cardquery::sample;
use schemas::registry::PartyName;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::ChildProcess;

/// After SIGKILL the group waits a session timeout (6 s in a world) for the member that is gone.
const READY_WITHIN: Duration = Duration::from_secs(60);
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// The binary `aggregator` with the settings of a world. It can be killed and started again.
pub struct HubProcess {
    process: Option<ChildProcess>,
    folder: TempDir,
}

impl HubProcess {
    /// With a store in memory. Writes the settings and the key file; starts nothing.
    ///
    /// # Panics
    /// If the world has no settings for an aggregator, or the temporary directory cannot be written.
    #[must_use]
    pub fn new(world: &World, plan: &Plan) -> Self {
        Self::with(world, plan, "memory", json!({}))
    }

    /// The same with a store in this database.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn on_postgres(world: &World, plan: &Plan, url: &str) -> Self {
        Self::with(world, plan, "postgres", json!({ "url": url }))
    }

    fn with(world: &World, plan: &Plan, store: &str, postgres: Value) -> Self {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let key_file = folder.path().join("signing.key");
        let seed = hex::encode(sample::keys::signing_seed(&PartyName::hub()));
        std::fs::write(&key_file, seed).expect("the temporary directory is writable");
        let mac_key_file = folder.path().join("mac.key");
        std::fs::write(&mac_key_file, "ab".repeat(32)).expect("the temporary directory is writable");
        let key_dir = folder.path().join("day-keys");
        std::fs::create_dir(&key_dir).expect("the temporary directory is writable");

        let config = world.aggregator_config(plan).expect("the world's settings are complete");
        let settings = json!({
            "prefix": config.prefix,
            "listen": config.listen,
            "admin": { "listen": "127.0.0.1:0" },
            "signing_key_file": key_file,
            "store": store,
            "postgres": postgres,
            "limits": { "mac_key_file": mac_key_file },
            "erasure": { "key_dir": key_dir },
            "sweep_interval_ms": config.sweep_interval_ms,
            "kafka": {
                "brokers": config.kafka.brokers,
                "client_id": config.kafka.client_id,
                "session_timeout_ms": config.kafka.session_timeout_ms,
                "properties": config.kafka.properties,
            },
            "registry": {
                "roots": config.registry.roots,
                "allow_sample_roots": config.registry.allow_sample_roots,
            },
            "policy": {
                "open_regions": config.policy.open_regions,
                "consent_texts": config.policy.consent_texts,
                "max_factor_age_seconds": config.policy.max_factor_age_seconds,
                "one_open_query": config.policy.one_open_query,
                "requery_interval_seconds": config.policy.requery_interval_seconds,
                "cooling_off_seconds": config.policy.cooling_off_seconds,
                "hold_seconds": config.policy.hold_seconds,
            },
            "window": {
                "length_seconds": config.window.length_seconds,
                "grace_ms": config.window.grace_ms,
                "zone": config.window.zone,
                "day_seconds": config.window.day_seconds,
                "days_from": config.window.days_from,
            },
        });
        let settings = toml::to_string(&settings).expect("settings are tables");
        std::fs::write(folder.path().join("aggregator.toml"), settings)
            .expect("the temporary directory is writable");
        Self { process: None, folder }
    }

    /// Starts the process, killing it first if it runs; does not wait for it.
    pub fn spawn(&mut self) {
        self.kill_9();
        let config = self.folder.path().join("aggregator.toml");
        let config = config.to_str().expect("temporary directories have names in UTF-8");
        self.process = Some(ChildProcess::spawn("aggregator", &["--config", config], &[]));
    }

    /// Starts the process, and returns how long it took until it said that it is ready.
    ///
    /// # Panics
    /// If it ends, or is not ready within a minute.
    pub async fn start(&mut self) -> Duration {
        let started = Instant::now();
        self.spawn();
        self.running().wait_for_line(r#""msg":"ready""#, READY_WITHIN).await;
        started.elapsed()
    }

    /// Sends SIGKILL and reaps the process. Does nothing when it does not run.
    ///
    /// # Panics
    /// If the process had ended by itself.
    #[track_caller]
    pub fn kill_9(&mut self) {
        if let Some(mut process) = self.process.take() {
            assert!(process.is_running(), "the aggregator ended before it was killed:\n{}", process.stderr());
            process.kill_9();
        }
    }

    /// Sends SIGTERM and returns the exit code.
    ///
    /// # Panics
    /// If it does not run, or does not end within 30 s.
    pub async fn terminate(&mut self) -> i32 {
        let code = self.running().terminate_and_wait(ENDED_WITHIN).await;
        self.process = None;
        code
    }

    /// Starts the process and waits until it ends by itself; returns its exit code and what it said.
    ///
    /// # Panics
    /// If it does not end within a minute.
    pub async fn run_to_its_end(&mut self) -> (i32, String) {
        self.spawn();
        let code = self.running().wait(READY_WITHIN).await;
        let said = self.running().stderr();
        self.process = None;
        (code, said)
    }

    #[track_caller]
    fn running(&mut self) -> &mut ChildProcess {
        self.process.as_mut().expect("the aggregator was started")
    }
}
