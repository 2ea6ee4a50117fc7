//! What a demo can be asked to do.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use schemas::ids::BankId;

/// Runs one query through the whole system, in one process, and prints the opened report.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Prints one JSON document on standard output instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Banks to ask, by id; all banks of the region when not given.
    #[arg(long, value_delimiter = ',', value_name = "ID,ID,…")]
    pub banks: Option<Vec<String>>,
    /// Administrative division code.
    #[arg(long, default_value = "310000")]
    pub region: String,
    /// Who asks: one of the sample people.
    #[arg(long, default_value = "wang")]
    pub person: String,
    /// Stands for the 24 hours; for example 20s, 2m.
    #[arg(long, default_value = "20s", value_parser = parse_window)]
    pub window: Duration,
    /// Misbehaviour that is left out.
    #[arg(long, value_delimiter = ',', value_name = "down,silent")]
    pub without: Vec<Misbehaviour>,
    /// Decides the sample's card numbers: same seed, same cards.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// A real Kafka instead of the in-process broker. Topics are made under a prefix of their own and deleted.
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
}

/// How a sample bank may misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misbehaviour {
    /// A bank whose core system is down.
    Down,
    /// A bank whose connector does not run.
    Silent,
}

impl FromStr for Misbehaviour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "down" => Ok(Self::Down),
            "silent" => Ok(Self::Silent),
            _ => Err("say down or silent".to_owned()),
        }
    }
}

/// Shorter windows leave no time to join a group and to answer.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A window with its unit, within bounds.
pub(crate) fn parse_window(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let count: u64 = digits.parse().map_err(|_| "say for example 20s or 2m".to_owned())?;
    let seconds = match unit {
        "" | "s" => count,
        "m" => count.saturating_mul(60),
        "h" => count.saturating_mul(3600),
        _ => return Err("the unit is s, m or h".to_owned()),
    };
    let window = Duration::from_secs(seconds);
    if (SHORTEST..=LONGEST).contains(&window) { Ok(window) } else { Err("between 5s and 24h".to_owned()) }
}

impl Options {
    /// Whether a misbehaviour takes place.
    pub fn with(&self, misbehaviour: Misbehaviour) -> bool {
        !self.without.contains(&misbehaviour)
    }

    /// The banks to ask.
    pub fn chosen(&self, all: impl Iterator<Item = BankId>) -> BTreeSet<String> {
        chosen(self.banks.as_deref(), all)
    }
}

/// The banks to ask, as text: whether they exist is for the producer to say.
pub(crate) fn chosen(banks: Option<&[String]>, all: impl Iterator<Item = BankId>) -> BTreeSet<String> {
    match banks {
        Some(banks) => banks.iter().cloned().collect(),
        None => all.map(|bank| bank.as_str().to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_a_unit_and_bounds() {
        assert_eq!(parse_window("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(parse_window("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "4s", "25h", "20 s", "1d", "-5s"] {
            assert!(parse_window(wrong).is_err(), "{wrong}");
        }
    }
}
