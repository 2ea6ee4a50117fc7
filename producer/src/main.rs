//! The service `producer`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use plumbing::exit::{Exit, Failure};
use plumbing::lifecycle::Lifecycle;
use plumbing::telemetry;
use producer::{Config, Secrets};

/// How long open requests and unacknowledged records may take to end.
const GRACE: Duration = Duration::from_secs(60);

/// Takes queries from a wallet's back end: checks, seals, signs, publishes.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Configuration file; config.default.toml says what can stand in it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take queries from anybody on this machine: no caller authentication, loopback only.
    #[arg(long)]
    dev: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(told) => {
            let exit = if told.use_stderr() { Exit::Usage } else { Exit::Ok };
            return told.print().map_or(Exit::Software, |()| exit).into();
        }
    };
    match run(args).await {
        Ok(code) => code,
        Err(failure) => {
            // Logs may not be set up yet, and whoever starts a service by hand reads this.
            let mut text = failure.to_string();
            let mut source = std::error::Error::source(&failure);
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            // Nobody is left to be told when standard error is closed.
            let _ = writeln!(std::io::stderr(), "producer: {text}");
            Exit::of(&failure).into()
        }
    }
}

async fn run(args: Args) -> Result<ExitCode, Failure> {
    let config = Config::load(args.config.as_deref()).map_err(|error| error.exit().because(error))?;
    let config = Config { dev: args.dev, ..config };
    config.validate().map_err(|faults| Exit::Config.because(faults))?;
    let secrets = Secrets::load(&config).map_err(|error| Exit::NoInput.because(error))?;
    telemetry::init_logs("info").map_err(|error| Exit::Config.because(error))?;
    tracing::info!(?config, "starting");
    let mut lifecycle = Lifecycle::new();
    producer::start(config, secrets, &mut lifecycle).await.map_err(|error| error.exit().because(error))?;
    Ok(lifecycle.run_until_signal(GRACE).await)
}
