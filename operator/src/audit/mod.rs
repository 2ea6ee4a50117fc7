//! `cardquery audit`: what an auditor does with the log of what happened.
//!
//! | file | role |
//! |---|---|
//! | `codes.rs` | what a check can find, with help |
//! | `options.rs` | the command line |
//! | `replay/` | every report once more from the topics |
//!
//! What must never happen here: anything is written to a topic, or an offset is committed.

pub mod codes;
pub mod options;
pub mod replay;

use std::io::Write;
use std::process::ExitCode;

use plumbing::exit::{Exit, Failure};

use self::options::{Command, EvidenceCommand, Options};

/// Runs the command and prints.
///
/// # Errors
/// With the exit code of what stands in the way.
pub async fn run(options: Options) -> Result<ExitCode, Failure> {
    match options.command {
        Command::Codes { json: true } => say(&codes::json().to_string()),
        Command::Codes { json: false } => say(&codes::text()),
        Command::Evidence(EvidenceCommand::Check(options)) => replay::check(&options),
        Command::Replay(options) => replay::run(&options).await,
    }
}

fn say(text: &str) -> Result<ExitCode, Failure> {
    writeln!(std::io::stdout(), "{}", text.trim_end())
        .map(|()| Exit::Ok.into())
        .map_err(|error| Exit::CannotCreate.because(error))
}
