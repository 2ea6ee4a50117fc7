//! Pure: which dead letters are meant.

use std::str::FromStr;

use clap::Args;
use plumbing::kafka::{Position, Record};
use schemas::ids::QueryId;
use schemas::time::UnixMillis;
use schemas::topics::Topics;

use super::letter;
use super::origin;

/// Which dead letters are meant: those that every one of these says. None: all.
#[derive(Args, Clone, Debug, Default)]
pub struct Select {
    /// Dead letters of this kind of topic only.
    #[arg(long, value_enum)]
    pub of: Option<Kind>,
    /// With this error code, for example KEY_UNKNOWN; may be repeated.
    #[arg(long = "code", value_name = "CODE")]
    pub codes: Vec<String>,
    /// Of this class: poison, transient-exhausted, rejected or policy; may be repeated.
    #[arg(long = "class", value_name = "CLASS")]
    pub classes: Vec<String>,
    /// That came from this topic; may be repeated.
    #[arg(long = "source-topic", value_name = "TOPIC")]
    pub sources: Vec<String>,
    /// Written at this time or later, for example 2026-11-23T08:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<UnixMillis>,
    /// Written before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<UnixMillis>,
    /// The one at this place in its dead-letter topic; may be repeated.
    #[arg(long = "offset", value_name = "TOPIC:PARTITION:OFFSET")]
    pub at: Vec<At>,
    /// Of this query.
    #[arg(long = "key", value_name = "QUERY")]
    pub key: Option<QueryId>,
}

/// Kinds of topics that have dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum Kind {
    Query,
    Reply,
    Notice,
}

/// A place in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At(pub Position);

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no place like dlq.cardquery.query.v1:0:42");
        let (rest, offset) = text.rsplit_once(':').ok_or_else(wrong)?;
        let (topic, partition) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let offset: i64 = offset.parse().ok().filter(|offset| *offset >= 0).ok_or_else(wrong)?;
        let partition: i32 = partition.parse().ok().filter(|partition| *partition >= 0).ok_or_else(wrong)?;
        if topic.is_empty() {
            return Err(wrong());
        }
        Ok(Self(Position { topic: topic.into(), partition, offset }))
    }
}

fn time(text: &str) -> Result<UnixMillis, String> {
    UnixMillis::parse(text).ok_or_else(|| "not a time such as 2026-11-23T08:00:00Z".to_owned())
}

/// The dead-letter topics under a prefix.
pub fn dead_letter_topics(topics: &Topics) -> [(Kind, String); 3] {
    [
        (Kind::Query, topics.dead_query()),
        (Kind::Reply, topics.dead_reply()),
        (Kind::Notice, topics.dead_notice()),
    ]
}

impl Select {
    /// The topics that have to be read.
    pub fn topics(&self, topics: &Topics) -> Vec<String> {
        let wanted = |(kind, topic): (Kind, String)| {
            let by_kind = self.of.is_none_or(|of| of == kind);
            let by_place = self.at.is_empty() || self.at.iter().any(|at| *at.0.topic == topic);
            (by_kind && by_place).then_some(topic)
        };
        dead_letter_topics(topics).into_iter().filter_map(wanted).collect()
    }

    /// Whether this dead letter is meant.
    pub fn takes(&self, record: &Record) -> bool {
        let at = UnixMillis(record.append_time_ms);
        let one_of = |wanted: &[String], is: Option<String>| {
            wanted.is_empty() || is.is_some_and(|is| wanted.contains(&is))
        };
        let source = || origin::origin(&record.headers).ok().flatten().map(|origin| origin.topic);
        self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
            && (self.at.is_empty() || self.at.iter().any(|at| at.0 == record.position))
            && self.key.as_ref().is_none_or(|key| record.key.as_deref() == Some(key.to_string().as_bytes()))
            && one_of(&self.codes, letter::code(&record.headers))
            && one_of(&self.classes, letter::class(&record.headers))
            && (self.sources.is_empty() || one_of(&self.sources, source()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        select: Select,
    }

    fn takes(line: &str) -> bool {
        let line = Line::try_parse_from(["it"].into_iter().chain(line.split_whitespace()));
        let header =
            |name: &str, value: &'static str| (name.to_owned(), Bytes::from_static(value.as_bytes()));
        line.unwrap_or_else(|error| panic!("{error}")).select.takes(&Record {
            position: Position { topic: "dlq.cardquery.reply.v1".into(), partition: 1, offset: 42 },
            append_time_ms: 1_000,
            key: Some(Bytes::from_static(b"01999999-0000-7000-8000-000000000001")),
            value: Bytes::new(),
            headers: vec![
                header("__dlq.errors.topic", "cardquery.reply.alpha.v1"),
                header("cardquery-error-code", "KEY_UNKNOWN"),
                header("cardquery-error-class", "rejected"),
            ],
        })
    }

    #[test]
    fn a_dead_letter_is_meant_when_everything_that_is_said_fits_it() {
        for line in [
            "",
            "--code KEY_UNKNOWN",
            "--code BANK_UNKNOWN --code KEY_UNKNOWN",
            "--class rejected --code KEY_UNKNOWN",
            "--source-topic cardquery.reply.alpha.v1",
            "--since 1970-01-01T00:00:01Z",
            "--until 1970-01-01T00:00:02Z",
            "--offset dlq.cardquery.reply.v1:1:42",
            "--key 01999999-0000-7000-8000-000000000001",
        ] {
            assert!(takes(line), "{line}");
        }
        for line in [
            "--code BANK_UNKNOWN",
            "--class poison --code KEY_UNKNOWN",
            "--source-topic cardquery.reply.beta.v1",
            "--since 1970-01-01T00:00:02Z",
            "--until 1970-01-01T00:00:01Z",
            "--offset dlq.cardquery.reply.v1:1:41",
            "--offset dlq.cardquery.query.v1:1:42",
            "--key 01999999-0000-7000-8000-000000000002",
        ] {
            assert!(!takes(line), "{line}");
        }
    }

    #[test]
    fn only_topics_that_can_hold_what_is_meant_are_read() {
        let topics = Topics::default();
        assert_eq!(Select::default().topics(&topics).len(), 3);
        let of = Select { of: Some(Kind::Reply), ..Select::default() };
        assert_eq!(of.topics(&topics), ["dlq.cardquery.reply.v1"]);
        let at = |text: &str| Select { at: vec![text.parse().expect("a place")], ..Select::default() };
        assert_eq!(at("dlq.cardquery.query.v1:0:1").topics(&topics), ["dlq.cardquery.query.v1"]);
        assert!(at("cardquery.query.wallet.v1:0:1").topics(&topics).is_empty());
        for wrong in ["t", "t:0", "t:0:-1", "t:x:1", ":0:1"] {
            assert!(wrong.parse::<At>().is_err(), "{wrong}");
        }
    }
}
