//! What can be asked of the audit log.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use schemas::ids::{BankId, Reference};

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
    /// Checks a proof, offline, with root keys alone. Exit code 65 when it does not hold.
    Check(Check),
    /// Prints every code that a check can print, with what it means.
    Codes {
        /// Prints one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Proves, offline, that the log of one checkpoint goes on from that of an earlier one.
    Consistency(Consistency),
    /// Looks at the evidence of a replay.
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// Copies the log into a folder, or goes on where the last copy ended. Reads as the Kafka user of the settings, which is
    /// to be the auditor's; joins no group and commits nothing.
    Export(Export),
    /// Writes a proof of a query's entries, or of one bank's reply, that a third party checks with root keys alone.
    Prove(Prove),
    /// Makes the reports of queries once more from the topics and compares their digests with the log and the store.
    Replay(Box<replay::options::Options>),
    /// Verifies a copy of the log, offline, with root keys alone. Exit code 65 when anything is wrong; then it names the first
    /// bad entry.
    Verify(Verify),
}

/// The evidence of a replay.
#[derive(Clone, Debug, Subcommand)]
pub enum EvidenceCommand {
    /// Looks whether evidence is what an auditor signed. Needs no network.
    Check(replay::options::CheckOptions),
}

/// Copies the log.
#[derive(Args, Clone, Debug)]
pub struct Export {
    /// Settings that differ from the defaults: a file, or a folder with an operator.toml.
    #[arg(short, long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// The folder.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Whom to trust.
#[derive(Args, Clone, Debug)]
pub struct Roots {
    /// Public root keys: hex digits separated by commas, or a file with one a line.
    #[arg(long, value_name = "HEX,HEX|FILE")]
    pub roots: String,
}

/// Verifies a copy.
#[derive(Args, Clone, Debug)]
pub struct Verify {
    /// The folder that `export` wrote.
    #[arg(long, value_name = "FOLDER")]
    pub log: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub roots: Roots,
    /// A signed checkpoint from elsewhere, which must be of this log. Can be given more than once.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Vec<PathBuf>,
    /// Another copy, which must be of the same log; verified as well.
    #[arg(long, value_name = "FOLDER")]
    pub against: Option<PathBuf>,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Proves entries.
#[derive(Args, Clone, Debug)]
pub struct Prove {
    /// The folder that `export` wrote.
    #[arg(long, value_name = "FOLDER")]
    pub log: PathBuf,
    /// The query.
    #[arg(long, value_name = "UPSTREAM/ID")]
    pub query: Query,
    /// The bank whose reply is proved; without it, every entry of the query.
    #[arg(long, value_name = "ID", value_parser = bank)]
    pub bank: Option<BankId>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Checks a proof.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// The file that `prove` wrote.
    #[arg(long, value_name = "FILE")]
    pub proof: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub roots: Roots,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Proves consistency.
#[derive(Args, Clone, Debug)]
pub struct Consistency {
    /// The folder that `export` wrote.
    #[arg(long, value_name = "FOLDER")]
    pub log: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub roots: Roots,
    /// Entries of the earlier checkpoint.
    #[arg(long, value_name = "ENTRIES")]
    pub from: u64,
    /// Entries of the later checkpoint.
    #[arg(long, value_name = "ENTRIES")]
    pub to: u64,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// A query on the command line.
#[derive(Clone, Debug)]
pub struct Query(pub Reference);

impl FromStr for Query {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "not <upstream>/<query id>".to_owned();
        let (upstream, query) = text.split_once('/').ok_or_else(wrong)?;
        let upstream = upstream.parse().map_err(|_| wrong())?;
        let query = query.parse().map_err(|_| wrong())?;
        Ok(Self(Reference { upstream, query }))
    }
}

fn bank(text: &str) -> Result<BankId, String> {
    text.parse().map_err(|_| "not the id of a bank".to_owned())
}
