//! What can be asked of the audit log.

use clap::{Args, Subcommand};

use super::replay;

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
    /// Looks at the evidence of a replay.
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// Makes the reports of queries once more from the topics and compares their digests with the log and the store.
    Replay(Box<replay::options::Options>),
}

/// The evidence of a replay.
#[derive(Clone, Debug, Subcommand)]
pub enum EvidenceCommand {
    /// Looks whether evidence is what an auditor signed. Needs no network.
    Check(replay::options::CheckOptions),
}
