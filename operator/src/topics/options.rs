//! What can be asked about topics.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Makes a cluster match the table of topics, access lists and users, and says whether it does.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Prints what apply would do. Always exit code 0.
    Plan(Reading),
    /// Prints the plan and, with --execute, carries it out: creates topics, changes their settings, creates and removes
    /// access lists, creates users. Exit code 65 when something is left that it does not change: partitions, replicas,
    /// topics that the table does not know, access lists that reach beyond this prefix.
    Apply {
        #[command(flatten)]
        #[allow(missing_docs)]
        config: ConfigPath,
        /// Changes the cluster.
        #[arg(long)]
        execute: bool,
    },
    /// Prints how the cluster differs from the table. Exit code 0 when it does not, 65 when it does.
    Verify(Reading),
}

/// A command that only reads.
#[derive(Args, Clone, Debug)]
pub struct Reading {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigPath,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Where the settings are.
#[derive(Args, Clone, Debug)]
pub struct ConfigPath {
    /// Settings that differ from the defaults: a file, or a folder with an operator.toml.
    #[arg(short, long, value_name = "PATH")]
    pub config: Option<PathBuf>,
}
