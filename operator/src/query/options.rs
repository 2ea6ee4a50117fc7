//! What can be asked about a query.

use clap::{Args, Subcommand};
use schemas::ids::{QueryId, UpstreamId};

use crate::topics::options::ConfigPath;

/// Shows what became of a query.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Prints the timeline of one query, bank by bank, and its SMS.
    Show {
        #[command(flatten)]
        #[allow(missing_docs)]
        config: ConfigPath,
        /// The query's id, after its upstream's id and a slash when the settings name more than one upstream.
        #[arg(value_name = "[UPSTREAM/]ID", value_parser = parse_name)]
        query: Name,
        /// Prints one JSON document.
        #[arg(long)]
        json: bool,
    },
}

/// A query's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Whose it is, when that was said.
    pub upstream: Option<UpstreamId>,
    /// Its id.
    pub query: QueryId,
}

fn parse_name(text: &str) -> Result<Name, String> {
    let (upstream, query) = match text.split_once('/') {
        Some((upstream, query)) => {
            (Some(upstream.parse().map_err(|_| "an upstream's id is [a-z0-9]{2,16}")?), query)
        }
        None => (None, text),
    };
    let query = query.parse().map_err(|_| "a query id is a UUIDv7 in lower-case hyphenated form")?;
    Ok(Name { upstream, query })
}
