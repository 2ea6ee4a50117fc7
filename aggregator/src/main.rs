//! `aggregator`: the hub's service that assembles reports.

use std::process::ExitCode;

use aggregator::domain::policy::Policy;
use aggregator::{Config, Secrets};
use plumbing::admin::AdminConfig;
use plumbing::cli::{self, NoFlags};
use plumbing::exit::Failure;
use plumbing::in_force::InForce;
use plumbing::lifecycle::Lifecycle;
use plumbing::trace::TelemetryConfig;

struct Aggregator;

impl cli::Service for Aggregator {
    const ABOUT: &'static str = "Registers queries, asks banks, assembles reports";
    type Config = Config;
    type Flags = NoFlags;
    type Live = InForce<Policy>;

    fn admin(config: &Config) -> &AdminConfig {
        &config.admin
    }

    fn telemetry(config: &Config) -> &TelemetryConfig {
        &config.telemetry
    }

    fn openapi() -> Option<&'static str> {
        Some(aggregator::edge::api::document())
    }

    async fn start(config: Config, lifecycle: &mut Lifecycle) -> Result<InForce<Policy>, Failure> {
        let secrets = Secrets::load(&config).map_err(|error| error.exit().because(error))?;
        let running = aggregator::start(config, secrets, lifecycle)
            .await
            .map_err(|error| error.exit().because(error))?;
        tracing::info!(listen = %running.addr, "ready");
        Ok(running.policy)
    }

    fn reload(policy: &InForce<Policy>, config: &Config) {
        match config.policy.policy() {
            Ok(newer) => {
                policy.replace(newer);
                tracing::info!("[policy] reloaded; other settings are read at start");
            }
            Err(faults) => tracing::error!(%faults, "[policy] not reloaded"),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::serve::<Aggregator>().await
}
