//! `bank-connector`: answers requests out of a bank's own systems.

use std::process::ExitCode;
use std::sync::Arc;

use bank_connector::source::{CardSource, SourceError};
use bank_connector::{Config, Secrets};
use clap::Parser;
use plumbing::cli::ServiceArgs;
use plumbing::exit::{Exit, Failure};
use plumbing::lifecycle::Lifecycle;
use plumbing::{cli, telemetry};

/// Runs inside a bank: consumes requests, looks up cards, masks, seals, signs, replies.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    service: ServiceArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::main("bank-connector", run).await
}

async fn run(args: Args) -> Result<ExitCode, Failure> {
    let config = Config::load(args.service.config.as_deref()).map_err(|error| error.exit().because(error))?;
    telemetry::init_logs("info").map_err(|error| Exit::Config.because(error))?;
    tracing::info!(?config, "starting");
    let secrets = Secrets::load(&config).map_err(|error| Exit::NoInput.because(error))?;
    let source = config.source().map_err(|error| Exit::Config.because(error))?;
    match source.probe().await {
        Err(error @ SourceError::Misfit(_)) => return Err(Exit::Config.because(error)),
        // It may be down now and up when it is asked.
        Err(error) => tracing::warn!(%error, "the source cannot be asked yet"),
        Ok(()) => {}
    }
    let mut lifecycle = Lifecycle::new();
    bank_connector::start(config, secrets, Arc::new(source), &mut lifecycle)
        .await
        .map_err(|error| error.exit().because(error))?;
    Ok(lifecycle.run_until_signal(args.service.grace).await)
}
