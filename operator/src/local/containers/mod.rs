//! `cardquery prepare`: what `cardquery run` does before it starts processes, for processes that containers start.
//!
//! It does it once: with new passwords under running services these would lose their databases.

pub mod options;

use std::io::Write;

use plumbing::exit::{Exit, Failure};

use self::options::Options;
use super::Local;
use super::plan::Plan;
use super::secret_file;
use super::stack::Stack;

/// Stands in the system's folder once everything is there.
const DONE: &str = "prepared";

/// Prepares.
///
/// # Errors
/// With the exit code of what stands in the way.
pub async fn run(options: &Options) -> Result<(), Failure> {
    let stack = Stack::read(&options.stack.folder).map_err(|error| Exit::Unavailable.because(error))?;
    let mut plan = Plan { window: options.window, seed: options.seed, ..Plan::new(stack.system()) };
    if let Some(stranger) =
        options.banks.iter().find(|id| !plan.sample.banks.iter().any(|bank| bank.id == **id))
    {
        return Err(Exit::Usage.because(format!("there is no sample bank `{stranger}`")));
    }
    if !options.banks.is_empty() {
        plan.sample.banks.retain(|bank| options.banks.contains(&bank.id));
    }
    let done = plan.folder.join(DONE);
    if done.exists() {
        say("is prepared");
        return Ok(());
    }
    let local = Local::in_containers(stack, plan)?;
    local.prepare(&mut |step| say(step)).await?;
    secret_file::write(&done, "").map_err(|error| Exit::CannotCreate.because(error))
}

fn say(text: &str) {
    // Nobody is left to be told when standard error is closed.
    drop(writeln!(std::io::stderr(), "prepare: {text}"));
}
