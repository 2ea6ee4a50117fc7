//! `producer`: takes queries from a wallet's back end.

use std::process::ExitCode;

use clap::Parser;
use plumbing::cli::ServiceArgs;
use plumbing::exit::{Exit, Failure};
use plumbing::lifecycle::Lifecycle;
use plumbing::{cli, telemetry};
use producer::{Config, Secrets};

/// Takes queries from a wallet's back end: checks, seals, signs, publishes.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    /// Take queries from anybody on this machine: no caller authentication, loopback only.
    #[arg(long)]
    dev: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::main("producer", run).await
}

async fn run(args: Args) -> Result<ExitCode, Failure> {
    let config = Config::load(args.service.config.as_deref()).map_err(|error| error.exit().because(error))?;
    let config = Config { dev: args.dev, ..config };
    config.validate().map_err(|faults| Exit::Config.because(faults))?;
    let secrets = Secrets::load(&config).map_err(|error| Exit::NoInput.because(error))?;
    telemetry::init_logs("info").map_err(|error| Exit::Config.because(error))?;
    tracing::info!(?config, "starting");
    let mut lifecycle = Lifecycle::new();
    producer::start(config, secrets, &mut lifecycle).await.map_err(|error| error.exit().because(error))?;
    Ok(lifecycle.run_until_signal(args.service.grace).await)
}
