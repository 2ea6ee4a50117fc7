//! The notifier.

use std::process::ExitCode;

use clap::Parser;
use notifier::{Config, Secrets};
use plumbing::cli::ServiceArgs;
use plumbing::exit::{Exit, Failure};
use plumbing::lifecycle::Lifecycle;
use plumbing::{cli, telemetry};

/// Turns notices into exactly one SMS per query.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    service: ServiceArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::main("notifier", run).await
}

async fn run(args: Args) -> Result<ExitCode, Failure> {
    let config = Config::load(args.service.config.as_deref()).map_err(|error| error.exit().because(error))?;
    config.validate().map_err(|faults| Exit::Config.because(faults))?;
    telemetry::init_logs("info").map_err(|error| Exit::Config.because(error))?;
    tracing::info!(?config, "starting");
    let secrets = Secrets::load(&config).map_err(|error| Exit::Config.because(error))?;
    let gateway = notifier::gateway(&config).await.map_err(|error| error.exit().because(error))?;
    let mut lifecycle = Lifecycle::new();
    notifier::start(config, secrets, gateway, &mut lifecycle)
        .await
        .map_err(|error| error.exit().because(error))?;
    Ok(lifecycle.run_until_signal(args.service.grace).await)
}
