//! `aggregator`: the hub's service that assembles reports.

use std::process::ExitCode;

use aggregator::config::{Config, DEFAULTS, ENV_PREFIX, Secrets};
use clap::Parser;
use plumbing::cli::ServiceArgs;
use plumbing::exit::{Exit, Failure};
use plumbing::lifecycle::Lifecycle;
use plumbing::{cli, telemetry};

/// Registers queries, asks banks, assembles reports.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    service: ServiceArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::main("aggregator", run).await
}

async fn run(args: Args) -> Result<ExitCode, Failure> {
    let config: Config = plumbing::config::load(DEFAULTS, args.service.config.as_deref(), ENV_PREFIX)
        .map_err(|error| error.exit().because(error))?;
    telemetry::init_logs("info").map_err(|error| Exit::Config.because(error))?;
    tracing::info!(?config, "starting");
    let secrets = Secrets::load(&config).map_err(|error| Exit::Config.because(error))?;
    let mut lifecycle = Lifecycle::new();
    let listen = aggregator::start(config, secrets, &mut lifecycle)
        .await
        .map_err(|error| error.exit().because(error))?;
    tracing::info!(%listen, "ready");
    Ok(lifecycle.run_until_signal(args.service.grace).await)
}
