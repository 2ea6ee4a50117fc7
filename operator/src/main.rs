//! `cardquery`: the operator's command.

use std::process::ExitCode;

use cardquery::{audit, bank, demo, dlq, doctor, local, query, registry, render, submit, tap, top, topics};
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
    /// Copies the audit log, verifies it, and proves single entries of it.
    Audit(audit::options::Options),
    /// Shows how banks answer, and pauses and resumes asking one.
    Bank(bank::options::Options),
    /// Runs one query through the whole system, in one process.
    Demo(demo::options::Options),
    /// Lists, shows, exports, puts back and drops dead letters.
    Dlq(dlq::options::Options),
    /// Looks at everything that the hub needs, and says for each how to mend it.
    Doctor(doctor::options::Options),
    /// Prepares the sample system for containers: settings, keys, topics, users, databases, registry.
    Prepare(local::containers::options::Options),
    /// Shows what became of a query.
    Query(query::options::Options),
    /// Writes, signs, publishes and shows registry entries: who takes part, with which keys.
    Registry(registry::options::Options),
    /// Prints access lists, topics and users, or services in another tool's words.
    Render(render::Options),
    /// Runs the whole system on the local stack, each service and sample bank as a process.
    Run(local::run::options::Options),
    /// Sends a query of a sample person to a running system, and follows it to the opened report and the SMS.
    Submit(submit::options::Options),
    /// Shows records of a topic or family as they pass, without what they carry.
    Tap(tap::options::Options),
    /// Shows how the hub and its banks stand, and goes on showing it.
    Top(top::options::Options),
    /// Makes a cluster match the table of topics, access lists and users.
    Topics(topics::options::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::main("cardquery", run).await
}

async fn run(args: Args) -> Result<ExitCode, Failure> {
    // What a command prints tells what its caller wants to know; RUST_LOG shows the rest.
    let logs = if matches!(args.command, Command::Doctor(_)) { "off" } else { "error" };
    telemetry::init_logs(logs).map_err(|error| Exit::Config.because(error))?;
    match args.command {
        Command::Audit(options) => return audit::run(options).await,
        Command::Bank(options) => bank::run(options).await?,
        Command::Demo(options) => demo::run(&options).await?,
        Command::Dlq(options) => dlq::run(options).await?,
        Command::Doctor(options) => return doctor::run(&options).await,
        Command::Prepare(options) => local::containers::run(&options).await?,
        Command::Query(options) => query::run(options).await?,
        Command::Registry(options) => registry::run(options).await?,
        Command::Render(options) => render::run(&options)?,
        Command::Run(options) => local::run::run(&options).await?,
        Command::Submit(options) => submit::run(&options).await?,
        Command::Tap(options) => tap::run(options).await?,
        Command::Top(options) => top::run(options).await?,
        Command::Topics(options) => return topics::run(options).await,
    }
    Ok(Exit::Ok.into())
}
