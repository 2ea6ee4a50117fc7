//! `bank-connector`: answers requests out of a bank's own systems.

use std::error::Error;
use std::io::Write;
use std::iter::successors;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bank_connector::{Config, Secrets};
use clap::Parser;
use plumbing::exit::{Exit, Failure};
use plumbing::lifecycle::Lifecycle;
use plumbing::telemetry;

/// Runs inside a bank: consumes requests, looks up cards, masks, seals, signs, replies.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Configuration file; without it, defaults and environment.
    #[arg(long)]
    config: Option<PathBuf>,
    /// How long what is in flight may take after a signal to stop, in seconds.
    #[arg(long, default_value_t = 60)]
    grace: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = telemetry::init_logs("info") {
        // There is no log yet that could say so.
        let _ = writeln!(std::io::stderr(), "{error}");
        return Exit::Config.into();
    }
    match start(&args).await {
        Ok(lifecycle) => lifecycle.run_until_signal(Duration::from_secs(args.grace)).await,
        Err(failure) => {
            let causes: Vec<_> =
                successors(failure.source(), |cause| (*cause).source()).map(ToString::to_string).collect();
            tracing::error!(error = %failure, ?causes, "cannot start");
            Exit::of(&failure).into()
        }
    }
}

async fn start(args: &Args) -> Result<Lifecycle, Failure> {
    let config = Config::load(args.config.as_deref()).map_err(|error| error.exit().because(error))?;
    tracing::info!(?config, "effective configuration");
    let secrets = Secrets::load(&config).map_err(|error| Exit::NoInput.because(error))?;
    let source = config.source().map_err(|error| Exit::Config.because(error))?;
    let mut lifecycle = Lifecycle::new();
    bank_connector::start(config, secrets, Arc::new(source), &mut lifecycle)
        .await
        .map_err(|error| error.exit().because(error))?;
    Ok(lifecycle)
}
