//! `cardquery topics`: makes a cluster match the table of topics, and says whether it does.
//!
//! ```text
//!  settings ─▶ wanted ─┐
//!                      ├─▶ diff ─▶ plan ─▶ text, JSON, exit code
//!  cluster ──▶ found ──┘             └───▶ apply, with --execute
//! ```
//!
//! | file | role |
//! |---|---|
//! | `wanted.rs` | pure: what the table says for these settings |
//! | `found.rs` | what a cluster can be asked for |
//! | `scope.rs` | pure: whether an access list or a topic is this prefix's business |
//! | `diff.rs`, `text.rs` | pure: what differs, and how a person reads it |
//! | `lifetime.rs` | pure: what is kept for longer than people were promised |
//! | `cluster.rs`, `passwords.rs` | asking and changing |
//! | `options.rs` | the command line |
//!
//! What must never happen here: a name of another prefix is changed, or data is deleted.

pub mod cluster;
pub mod diff;
pub mod found;
mod lifetime;
pub mod options;
mod passwords;
mod scope;
mod text;
pub mod wanted;

use std::io::Write;
use std::process::ExitCode;

use plumbing::exit::{Exit, Failure};

use self::cluster::{ApplyError, Cluster};
use self::diff::Plan;
use self::options::{Command, Options};
use self::wanted::Wanted;
use crate::config::Config;

/// Runs the command and prints.
///
/// # Errors
/// With the exit code of what stands in the way.
pub async fn run(options: Options) -> Result<ExitCode, Failure> {
    match options.command {
        Command::Plan(args) => {
            let (_, _, plan) = compare(&args.config).await?;
            print(&plan, args.json)?;
            Ok(Exit::Ok.into())
        }
        Command::Verify(args) => {
            let (_, _, plan) = compare(&args.config).await?;
            print(&plan, args.json)?;
            Ok(matching(&plan))
        }
        Command::Apply { config, execute } => {
            let (cluster, wanted, plan) = compare(&config).await?;
            print(&plan, false)?;
            if !execute {
                say("nothing was changed: say --execute to apply")?;
                return Ok(Exit::Ok.into());
            }
            let rest = cluster.apply(&wanted, &plan).await.map_err(because)?;
            say(if rest.is_empty() { "applied: the cluster matches" } else { "applied; what is left:" })?;
            if !rest.is_empty() {
                print(&rest, false)?;
            }
            Ok(matching(&rest))
        }
    }
}

async fn compare(config: &options::ConfigPath) -> Result<(Cluster, Wanted, Plan), Failure> {
    let (config, estate) = Config::load_with_estate(config.config.as_deref())?;
    let wanted = Wanted::new(&estate);
    let cluster = Cluster::new(&config.kafka, &config.users.passwords_dir).map_err(because)?;
    let plan = cluster.plan(&wanted).await.map_err(because)?;
    Ok((cluster, wanted, plan))
}

fn because(error: impl Into<ApplyError>) -> Failure {
    let error = error.into();
    error.exit().because(error)
}

/// A cluster that differs is wrong input to everything that runs on it.
fn matching(plan: &Plan) -> ExitCode {
    if plan.is_empty() { Exit::Ok } else { Exit::BadData }.into()
}

fn print(plan: &Plan, json: bool) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string_pretty(&plan.document());
        say(&text.map_err(|error| Exit::Software.because(error))?)
    } else {
        say(&plan.to_string())
    }
}

fn say(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| Exit::CannotCreate.because(error))
}
