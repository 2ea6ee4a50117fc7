//! `aggregator`: the hub's service that assembles reports.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use aggregator::config::{Config, DEFAULTS, ENV_PREFIX, Secrets};
use clap::Parser;
use plumbing::exit::{Exit, Failure};
use plumbing::lifecycle::Lifecycle;
use plumbing::{cli, telemetry};

/// Registers queries, asks banks, assembles reports.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Settings that differ from the defaults.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Seconds to finish what is in flight after a signal to stop.
    #[arg(long, default_value_t = 60)]
    grace: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::main("aggregator", run).await
}

async fn run(args: Args) -> Result<ExitCode, Failure> {
    let config: Config = plumbing::config::load(DEFAULTS, args.config.as_deref(), ENV_PREFIX)
        .map_err(|error| error.exit().because(error))?;
    telemetry::init_logs("info").map_err(|error| Exit::Config.because(error))?;
    tracing::info!(?config, "starting");
    let secrets = Secrets::load(&config).map_err(|error| Exit::Config.because(error))?;
    let mut lifecycle = Lifecycle::new();
    let running = aggregator::start(config, secrets, &mut lifecycle)
        .await
        .map_err(|error| error.exit().because(error))?;
    tracing::info!(listen = %running.addr, "ready");
    Ok(lifecycle.run_until_signal(Duration::from_secs(args.grace)).await)
}
