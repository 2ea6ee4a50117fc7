//! `bank-connector`: answers requests out of a bank's own systems.

use std::process::ExitCode;
use std::sync::Arc;

use bank_connector::source::{CardSource, SourceError};
use bank_connector::{Config, Secrets};
use plumbing::admin::AdminConfig;
use plumbing::cli::{self, NoFlags};
use plumbing::doctor::Report;
use plumbing::exit::{Exit, Failure};
use plumbing::lifecycle::Lifecycle;
use plumbing::trace::TelemetryConfig;

struct Connector;

impl cli::Service for Connector {
    const ABOUT: &'static str =
        "Runs inside a bank: consumes requests, looks up cards, masks, seals, signs, replies";
    const HAS_DOCTOR: bool = true;
    type Config = Config;
    type Flags = NoFlags;
    type Live = ();

    fn admin(config: &Config) -> &AdminConfig {
        &config.admin
    }

    fn telemetry(config: &Config) -> &TelemetryConfig {
        &config.telemetry
    }

    async fn examine(config: Config, report: &mut Report) {
        bank_connector::doctor::examine(config, report).await;
    }

    async fn start(config: Config, lifecycle: &mut Lifecycle) -> Result<(), Failure> {
        let secrets = Secrets::load(&config).map_err(|error| error.exit().because(error))?;
        let source = config.source().map_err(|error| Exit::Config.because(error))?;
        match source.probe().await {
            Err(error @ SourceError::Misfit(_)) => return Err(Exit::Config.because(error)),
            // It may be down now and up when it is asked.
            Err(error) => tracing::warn!(%error, "the source cannot be asked yet"),
            Ok(()) => {}
        }
        bank_connector::start(config, secrets, Arc::new(source), lifecycle)
            .await
            .map_err(|error| error.exit().because(error))?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::serve::<Connector>().await
}
