//! What `cardquery run` can be asked.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::demo::options::parse_window;
use crate::local::stack::STACK;

/// Runs the whole system on the local stack: the four services and the sample banks, each as a process of its own.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub stack: StackFolder,
    /// Stands for the 24 hours; for example 20s, 2m.
    #[arg(long, default_value = "20s", value_parser = parse_window)]
    pub window: Duration,
    /// First part of the names of topics, groups and databases.
    #[arg(long, default_value = "cardquery")]
    pub prefix: String,
    /// Decides the sample's card numbers: same seed, same cards.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
}

/// Where the stack is.
#[derive(Args, Clone, Debug)]
pub struct StackFolder {
    /// The folder of `deploy/stack`.
    #[arg(long = "stack", env = STACK, default_value = "target/stack", value_name = "DIR")]
    pub folder: PathBuf,
}
