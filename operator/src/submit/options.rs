//! What `cardquery submit` can be asked.

use clap::Args;

use crate::local::run::options::StackFolder;

/// Plays the wallet: sends a query of a sample person, follows it, opens the report and waits for the SMS.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub stack: StackFolder,
    /// Who asks: one of the sample people.
    #[arg(long, default_value = "wang")]
    pub person: String,
    /// Administrative division code.
    #[arg(long, default_value = "310000")]
    pub region: String,
    /// Banks to ask, by id; all banks of the region when not given.
    #[arg(long, value_delimiter = ',', value_name = "ID,ID,…")]
    pub banks: Option<Vec<String>>,
    /// The producer's base address; the one that `cardquery run` started when not given.
    #[arg(long, value_name = "URL")]
    pub producer: Option<String>,
    /// Prints one JSON document on standard output instead of a table.
    #[arg(long)]
    pub json: bool,
}
