//! What can be asked of the view.

use std::time::Duration;

use clap::Args;

use crate::bank::options::parse_span;
use crate::topics::options::ConfigPath;

/// Shows how the hub and its banks stand, and goes on showing it: open queries, lag, messages that wait, and the banks, the
/// worst first. Keys: arrows, Page Up and Page Down, Home and End move through the banks, r asks now, q leaves.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigPath,
    /// How often the hub is asked.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = parse_span)]
    pub every: Duration,
    /// The banks' figures are of reports that became final within this time.
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = parse_span)]
    pub since: Duration,
    /// Prints once, as text. So does a standard output that is no terminal.
    #[arg(long)]
    pub once: bool,
    /// Prints once, as one JSON document.
    #[arg(long)]
    pub json: bool,
}
