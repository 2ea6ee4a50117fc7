//! What can be asked of a tap.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;
use plumbing::kafka::TapFrom;
use schemas::ids::QueryId;

use crate::topics::options::ConfigPath;

/// Shows records of a topic or of all topics of a family: where they lie, what they are, their ids, codes and sizes. What
/// is sealed is shown by its size. Joins no group and commits nothing.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigPath,
    /// A topic's name, or a family: query, event, request, reply, notice, sms, registry, audit, dlq.query, dlq.reply,
    /// dlq.notice.
    #[arg(value_name = "TOPIC|FAMILY")]
    pub what: String,
    /// Where to begin in each partition: `end`, `beginning`, or `-N` for the last N offsets.
    #[arg(long, default_value = "end", value_name = "WHERE", allow_hyphen_values = true, value_parser = parse_from)]
    pub from: TapFrom,
    /// Goes on with records that come. Without it a tap that does not begin at the end stops at what was the end when it began.
    #[arg(short, long)]
    pub follow: bool,
    /// Stops after so many records.
    #[arg(long, default_value = "100", value_name = "N")]
    pub max: NonZeroU32,
    /// Stops after so long; for example 30s, 5m.
    #[arg(long, value_name = "TIME", value_parser = crate::bank::options::parse_span)]
    pub within: Option<Duration>,
    /// Looks only at offsets that N divides.
    #[arg(long, default_value = "1", value_name = "1/N", value_parser = parse_sample)]
    pub sample: NonZeroU32,
    /// Only this message, for example CardReply.
    #[arg(long = "type", value_name = "NAME")]
    pub message: Option<String>,
    /// Only records that name this bank. Of a family, only this bank's topics are read.
    #[arg(long, value_name = "ID")]
    pub bank: Option<String>,
    /// Only records that name this upstream. Of a family, only this upstream's topics are read.
    #[arg(long, value_name = "ID")]
    pub upstream: Option<String>,
    /// Only records with this code, outcome, refusal or state.
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
    /// Only records of this query.
    #[arg(long, value_name = "ID")]
    pub query: Option<QueryId>,
    /// Prints one JSON document on a line for each record.
    #[arg(long)]
    pub json: bool,
}

fn parse_from(text: &str) -> Result<TapFrom, String> {
    match text {
        "end" => Ok(TapFrom::End),
        "beginning" => Ok(TapFrom::Beginning),
        _ => text
            .strip_prefix('-')
            .and_then(|n| n.parse().ok())
            .map(TapFrom::Last)
            .ok_or_else(|| "end, beginning, or for example -100".to_owned()),
    }
}

fn parse_sample(text: &str) -> Result<NonZeroU32, String> {
    let n = text.strip_prefix("1/").unwrap_or(text);
    n.parse().map_err(|_| "for example 1/100".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_shares_are_read() {
        assert_eq!(parse_from("end"), Ok(TapFrom::End));
        assert_eq!(parse_from("beginning"), Ok(TapFrom::Beginning));
        assert_eq!(parse_from("-100"), Ok(TapFrom::Last(100)));
        for wrong in ["100", "-", "-x", "latest", ""] {
            assert!(parse_from(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_sample("1/50"), Ok(NonZeroU32::new(50).expect("a number")));
        assert_eq!(parse_sample("7"), Ok(NonZeroU32::new(7).expect("a number")));
        assert!(parse_sample("1/0").is_err() && parse_sample("2/3").is_err());
    }
}
