//! What can be asked of the audit log.

use clap::{Args, Subcommand};

/// Copies the audit log, verifies it, and proves single entries of it.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Prints every code that a check can print, with what it means.
    Codes {
        /// Prints one JSON document.
        #[arg(long)]
        json: bool,
    },
}
