//! What a replay can be asked.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use schemas::ids::Reference;
use schemas::time::UnixMillis;

use super::selection::{Selection, Until, instant, reference};
use crate::topics::options::ConfigPath;

/// Makes the reports of queries once more from the topics, by the hub's own rule, and compares their digests with the log and
/// the store. Reads only. Exit code 0 when all is equal, 65 when something is not, 66 when there is nothing to replay.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("which").required(true).args(["query", "from", "from_beginning"]).multiple(false))]
pub struct Options {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigPath,
    /// A query; may be given several times.
    #[arg(long, value_name = "UPSTREAM/ID", value_parser = reference)]
    pub query: Vec<Reference>,
    /// Queries that were accepted from this time on: RFC 3339, for example 2026-11-01T00:00+08:00.
    #[arg(long, value_name = "TIME", value_parser = instant, requires = "to")]
    pub from: Option<UnixMillis>,
    /// Until this time, which is not in it: RFC 3339, or for example +24h.
    #[arg(long, value_name = "TIME", value_parser = Until::parse, requires = "from")]
    pub to: Option<Until>,
    /// Every query that the log has, from offset zero.
    #[arg(long)]
    pub from_beginning: bool,
    /// Prints the plan and reads no record of queries or replies.
    #[arg(long)]
    pub plan: bool,
    /// Does not ask the hub what its store holds: compares topics and log alone.
    #[arg(long)]
    pub without_store: bool,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
    /// Writes evidence into this new folder.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Adds the records themselves to the evidence. They are sealed, and they are what everybody's erasure is about: the
    /// folder has to be erased in time.
    #[arg(long, requires = "out")]
    pub with_records: bool,
    /// Signs the evidence with the Ed25519 key in this file.
    #[arg(long, value_name = "FILE", requires = "out")]
    pub sign_key: Option<PathBuf>,
}

impl Options {
    /// Which queries.
    pub fn selection(&self) -> Selection {
        match (self.from, self.to) {
            (Some(from), Some(to)) => Selection::Accepted { from, to: to.end(from) },
            _ if self.from_beginning => Selection::All,
            _ => Selection::Queries(self.query.iter().cloned().collect::<BTreeSet<_>>()),
        }
    }
}

/// Looks whether evidence is what an auditor signed.
#[derive(Args, Clone, Debug)]
pub struct CheckOptions {
    /// The folder.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The auditor's public key, 64 hexadecimal digits. Without it only the digests of the files are compared.
    #[arg(long, value_name = "HEX")]
    pub key: Option<String>,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}
