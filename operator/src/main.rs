//! `cardquery`: the operator's command.

use std::process::ExitCode;

use cardquery::demo;
use clap::{Parser, Subcommand};
use plumbing::exit::{Exit, Failure};
use plumbing::{cli, telemetry};

/// The operator's command of cardquery.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one query through the whole system, in one process.
    Demo(demo::options::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::main("cardquery", run).await
}

async fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Demo(options) => {
            // The progress lines tell what a newcomer wants to know; RUST_LOG shows the rest.
            telemetry::init_logs("error").map_err(|error| Exit::Config.because(error))?;
            demo::run(&options).await?;
        }
    }
    Ok(Exit::Ok.into())
}
