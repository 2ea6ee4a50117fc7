//! `producer`: takes queries from a wallet's back end.

use std::process::ExitCode;
use std::sync::Arc;

use plumbing::admin::AdminConfig;
use plumbing::cli;
use plumbing::exit::Failure;
use plumbing::lifecycle::Lifecycle;
use plumbing::trace::TelemetryConfig;
use producer::{Config, Intake, Secrets};

struct Producer;

#[derive(clap::Args)]
struct Flags {
    /// Take queries from anybody on this machine: no caller authentication, loopback only.
    #[arg(long, global = true)]
    dev: bool,
}

impl cli::Service for Producer {
    const ABOUT: &'static str = "Takes queries from a wallet's back end: checks, seals, signs, publishes";
    type Config = Config;
    type Flags = Flags;
    type Live = Arc<Intake>;

    fn adjust(config: &mut Config, flags: &Flags) {
        config.dev = flags.dev;
    }

    fn admin(config: &Config) -> &AdminConfig {
        &config.admin
    }

    fn telemetry(config: &Config) -> &TelemetryConfig {
        &config.telemetry
    }

    fn openapi() -> Option<&'static str> {
        Some(producer::openapi_document())
    }

    async fn start(config: Config, lifecycle: &mut Lifecycle) -> Result<Arc<Intake>, Failure> {
        let secrets = Secrets::load(&config).map_err(|error| error.exit().because(error))?;
        let running =
            producer::start(config, secrets, lifecycle).await.map_err(|error| error.exit().because(error))?;
        Ok(running.intake)
    }

    fn reload(intake: &Arc<Intake>, config: &Config) {
        match intake.reload(config) {
            Ok(()) => tracing::info!("[policy] reloaded; other settings are read at start"),
            Err(faults) => tracing::error!(%faults, "[policy] not reloaded"),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::serve::<Producer>().await
}
