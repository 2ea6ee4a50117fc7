//! What can be asked about dead letters.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::select::{At, Select};

/// Lists, shows, exports, puts back and drops dead letters.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Counts dead letters by topic, source and code.
    Ls(Reading),
    /// Prints where each came from and why it is here, with its headers and sizes. Never a payload.
    Show(Reading),
    /// Prints what would go back to the topic that the headers name; with --execute, publishes it.
    Redrive(Redrive),
    /// Writes dead letters, sealed as they are, to a new file that only its owner can read: one JSON object a line.
    Export(Export),
    /// Prints what would be deleted from the front of partitions; with --execute, deletes it for good.
    Drop(Drop),
}

/// A command that only reads.
#[derive(Args, Clone, Debug)]
pub struct Reading {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigPath,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub select: Select,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Puts back.
#[derive(Args, Clone, Debug)]
pub struct Redrive {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigPath,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub select: Select,
    /// Records a second, at most.
    #[arg(long, value_name = "RECORDS", default_value = "50")]
    pub rate: NonZeroU32,
    /// A record that was put back so often does not go back again.
    #[arg(long, value_name = "TIMES", default_value = "3")]
    pub max_replays: u32,
    /// Writes the plan to this new file, to be read and carried out later.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Publishes: the plan in this file, or without one what the other flags mean, with the plan in --out or in a new file
    /// redrive-RUN.json. Said again with the file, it goes on where it was interrupted.
    #[arg(long, value_name = "PLAN", num_args = 0..=1)]
    #[allow(clippy::option_option, reason = "not said, said alone, said with a file")]
    pub execute: Option<Option<PathBuf>>,
    /// Publishes again what may have been published when an earlier run was interrupted.
    #[arg(long, requires = "execute")]
    pub resend_in_doubt: bool,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Exports.
#[derive(Args, Clone, Debug)]
pub struct Export {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigPath,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub select: Select,
    /// The new file.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Drops.
#[derive(Args, Clone, Debug)]
pub struct Drop {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigPath,
    /// Everything in this partition before this offset; may be repeated.
    #[arg(required = true, value_name = "TOPIC:PARTITION:OFFSET")]
    pub before: Vec<At>,
    /// Deletes it.
    #[arg(long)]
    pub execute: bool,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Where the settings are.
#[derive(Args, Clone, Debug)]
pub struct ConfigPath {
    /// Settings that differ from the defaults: a file, or a folder with a redrive.toml.
    #[arg(short, long, value_name = "PATH")]
    pub config: Option<PathBuf>,
}
