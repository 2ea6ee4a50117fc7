//! What `cardquery prepare` can be asked.

use std::time::Duration;

use clap::Args;
use schemas::ids::BankId;

use crate::demo::options::parse_window;
use crate::local::run::options::StackFolder;

/// Prepares the sample system on running servers, once, for services that are started in containers of their own.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub stack: StackFolder,
    /// Stands for the 24 hours; for example 20s, 2m.
    #[arg(long, default_value = "20s", value_parser = parse_window)]
    pub window: Duration,
    /// Decides the sample's card numbers: same seed, same cards.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Banks that take part; all of the sample when not given.
    #[arg(long, value_delimiter = ',', value_name = "ID,ID,…")]
    pub banks: Vec<BankId>,
}
