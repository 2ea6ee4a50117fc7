//! What can be asked about banks.

use std::time::Duration;

use clap::{Args, Subcommand};
use schemas::ids::BankId;

use crate::topics::options::ConfigPath;

/// Shows how banks answer, and pauses and resumes asking one.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Prints all banks: answer rates, times to reply, registry state, pauses.
    Ls(Figures),
    /// Pauses a bank: the hub does not ask it until it is resumed. Prints what would be done; --execute does it.
    Pause {
        #[command(flatten)]
        #[allow(missing_docs)]
        change: Change,
        /// Why, in one line; shown by `bank ls` and logged. Name no person.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Ends a pause: what waited for the bank is asked, where there is still time. Prints what would be done; --execute does
    /// it.
    Resume(Change),
    /// Prints one bank.
    Show {
        /// Party id of the bank.
        bank: BankId,
        #[command(flatten)]
        #[allow(missing_docs)]
        figures: Figures,
    },
}

/// Which reports the figures are of.
#[derive(Args, Clone, Debug)]
pub struct Figures {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigPath,
    /// Reports that became final within this time: for example 15m, 24h, 7d.
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = parse_span)]
    pub since: Duration,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// A change of a bank.
#[derive(Args, Clone, Debug)]
pub struct Change {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigPath,
    /// Party id of the bank.
    pub bank: BankId,
    /// Does it.
    #[arg(long)]
    pub execute: bool,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// A number with its unit.
///
/// # Errors
/// What is expected.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let expected = || "a number with s, m, h or d, from 1s to 7d".to_owned();
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 24 * 3_600,
        _ => return Err(expected()),
    };
    let n: u32 = text[..text.len() - 1].parse().map_err(|_| expected())?;
    let span = Duration::from_secs(u64::from(n) * seconds);
    let longest = Duration::from_secs(7 * 24 * 3_600);
    if span.is_zero() || span > longest { Err(expected()) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_unit_and_ends_where_reports_are_erased() {
        for (text, seconds) in [("1s", 1), ("15m", 900), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)));
        }
        for wrong in ["", "h", "0s", "8d", "24", "1w", "-1h", "1é", "99999999999h"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
