//! Pure: which dead letters go back and where to, which do not and why, and the record that goes back.

use plumbing::kafka::{OutRecord, Record};
use schemas::ids::Digest;
use schemas::topics::Topics;
use serde::{Deserialize, Serialize};

use super::letter::{self, NoCount};
use super::origin::{self, Malformed};

/// First part of the names of the headers that say who put a record back.
const REPLAY: &str = "cardquery-replay-";

/// What one run puts back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The form of this document.
    pub version: u32,
    /// The run's id, in the header `cardquery-replay-id` of every record that it publishes.
    pub run: String,
    /// First part of the names of topics.
    pub prefix: String,
    /// Records a second, at most.
    pub rate: u32,
    /// A record that was put back so often stays.
    pub max_replays: u32,
    /// What goes back, in this order.
    pub steps: Vec<Step>,
    /// What stays.
    pub refused: Vec<Refused>,
}

/// A dead letter that goes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Where it lies: topic, partition, offset.
    pub at: String,
    /// The topic it goes to.
    pub to: String,
    /// Why it is a dead letter.
    pub code: Option<String>,
    /// How often it will have been put back then.
    pub replay: u32,
    /// SHA-256 of the dead letter as it lies there, so that another one in its place is seen.
    pub sha256: String,
}

/// A dead letter that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Where it lies.
    pub at: String,
    /// Why it stays.
    pub code: NotBack,
}

/// Why a dead letter does not go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NotBack {
    /// No header says where from.
    OriginMissing,
    /// The header that says it cannot be read.
    OriginMalformed,
    /// It is from a topic that has no dead letters here.
    OriginForeign,
    /// Its topic's dead letters lie elsewhere.
    OriginMismatch,
    /// The loop guard.
    ReplayedTooOften,
    /// The loop guard cannot count.
    ReplayCountMalformed,
}

impl NotBack {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OriginMissing => "ORIGIN_MISSING",
            Self::OriginMalformed => "ORIGIN_MALFORMED",
            Self::OriginForeign => "ORIGIN_FOREIGN",
            Self::OriginMismatch => "ORIGIN_MISMATCH",
            Self::ReplayedTooOften => "REPLAYED_TOO_OFTEN",
            Self::ReplayCountMalformed => "REPLAY_COUNT_MALFORMED",
        }
    }

    /// What that means.
    pub const fn help(self) -> &'static str {
        match self {
            Self::OriginMissing => "no header names the topic that it came from",
            Self::OriginMalformed => "the header that names its topic is no text",
            Self::OriginForeign => "it names a topic that is no query, reply or notice topic of this prefix",
            Self::OriginMismatch => "it names a topic whose dead letters lie in another topic",
            Self::ReplayedTooOften => "it came back as a dead letter each time that it was put back",
            Self::ReplayCountMalformed => "cardquery-replay-count is no number",
        }
    }
}

/// Where a dead letter goes back to, and how often it will have been put back then.
///
/// # Errors
/// [`NotBack`].
pub fn back(record: &Record, topics: &Topics, max_replays: u32) -> Result<(String, u32), NotBack> {
    let origin = match origin::origin(&record.headers) {
        Ok(Some(origin)) => origin,
        Ok(None) => return Err(NotBack::OriginMissing),
        Err(Malformed) => return Err(NotBack::OriginMalformed),
    };
    let dead_letters = topics.dead_letter(&origin.topic).ok_or(NotBack::OriginForeign)?;
    if dead_letters != *record.position.topic {
        return Err(NotBack::OriginMismatch);
    }
    let replays = letter::replays(&record.headers).map_err(|NoCount| NotBack::ReplayCountMalformed)?;
    if replays >= max_replays {
        return Err(NotBack::ReplayedTooOften);
    }
    Ok((origin.topic, replays + 1))
}

/// The record that goes back: key, value and headers as they were, and who put it back.
pub fn replayed(record: &Record, run: &str, to: String, replay: u32) -> OutRecord {
    let own =
        record.headers.iter().filter(|(name, _)| !origin::is_about_errors(name) && !name.starts_with(REPLAY));
    let own = own.map(|(name, value)| (name.clone(), value.to_vec()));
    let provenance =
        [("id", run.to_owned()), ("of", record.position.to_string()), ("count", replay.to_string())];
    OutRecord {
        topic: to,
        key: record.key.as_deref().map(<[u8]>::to_vec),
        value: record.value.to_vec(),
        headers: own
            .chain(
                provenance.into_iter().map(|(name, value)| (format!("{REPLAY}{name}"), value.into_bytes())),
            )
            .collect(),
    }
}

/// SHA-256 of a dead letter: each part after its length.
pub fn digest(record: &Record) -> String {
    let mut bytes = Vec::new();
    let mut part = |part: &[u8]| {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    };
    part(&[u8::from(record.key.is_some())]);
    part(record.key.as_deref().unwrap_or_default());
    part(&record.value);
    for (name, value) in &record.headers {
        part(name.as_bytes());
        part(value);
    }
    Digest::of(&bytes).to_string()
}

impl Plan {
    /// The form of this document.
    pub const VERSION: u32 = 1;

    /// A plan for nothing yet.
    pub fn new(run: String, topics: &Topics, rate: u32, max_replays: u32) -> Self {
        let prefix = topics.prefix().to_owned();
        Self {
            version: Self::VERSION,
            run,
            prefix,
            rate,
            max_replays,
            steps: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Decides about one more dead letter.
    pub fn add(&mut self, record: &Record, topics: &Topics) {
        let at = record.position.to_string();
        match back(record, topics, self.max_replays) {
            Ok((to, replay)) => {
                let code = letter::code(&record.headers);
                self.steps.push(Step { at, to, code, replay, sha256: digest(record) });
            }
            Err(code) => self.refused.push(Refused { at, code }),
        }
    }

    /// Why a step cannot be carried out with what lies in its place by now.
    ///
    /// # Errors
    /// How it differs.
    pub fn check(&self, step: &Step, found: Option<&Record>, topics: &Topics) -> Result<(), &'static str> {
        let record = found.ok_or("the dead letter is gone")?;
        if digest(record) != step.sha256 {
            return Err("another dead letter lies there");
        }
        match back(record, topics, self.max_replays) {
            Ok((to, replay)) if to == step.to && replay == step.replay => Ok(()),
            Ok(_) | Err(_) => Err("it would not go back there"),
        }
    }

    /// SHA-256 of the plan.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn sha256(&self) -> serde_json::Result<String> {
        Ok(Digest::of(&serde_json::to_vec(self)?).to_string())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plumbing::kafka::Position;

    use super::*;

    fn record(topic: &str, headers: &[(&str, &str)]) -> Record {
        Record {
            position: Position { topic: topic.into(), partition: 1, offset: 42 },
            append_time_ms: 1_000,
            key: Some(Bytes::from_static(b"key")),
            value: Bytes::from_static(b"\x00sealed"),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
                .collect(),
        }
    }

    const REPLY: &str = "dlq.cardquery.reply.v1";
    const FROM: (&str, &str) = ("__dlq.errors.topic", "cardquery.reply.alpha.v1");

    fn judged(topic: &str, headers: &[(&str, &str)]) -> Result<(String, u32), NotBack> {
        back(&record(topic, headers), &Topics::default(), 3)
    }

    #[test]
    fn a_dead_letter_goes_back_to_the_topic_that_it_came_from_whoever_says_so() {
        let expected = Ok(("cardquery.reply.alpha.v1".to_owned(), 1));
        for name in [
            "__dlq.errors.topic",
            "__connect.errors.topic",
            "__streams.errors.topic",
            "kafka_dlt-original-topic",
            "x-original-topic",
        ] {
            assert_eq!(judged(REPLY, &[(name, "cardquery.reply.alpha.v1")]), expected, "{name}");
        }
    }

    #[test]
    fn nothing_goes_to_a_topic_that_has_no_dead_letters_or_has_them_elsewhere() {
        for foreign in [
            "cardquery.request.alpha.v1",
            "cardquery.event.wallet.v1",
            "cardquery.registry.v1",
            "cardquery.sms.v1",
            "cardquery.audit.v1",
            "other.reply.alpha.v1",
            REPLY,
            "",
        ] {
            assert_eq!(
                judged(REPLY, &[("__dlq.errors.topic", foreign)]),
                Err(NotBack::OriginForeign),
                "{foreign}"
            );
        }
        for elsewhere in ["cardquery.query.wallet.v1", "cardquery.notice.v1"] {
            let judged = judged(REPLY, &[("__dlq.errors.topic", elsewhere)]);
            assert_eq!(judged, Err(NotBack::OriginMismatch), "{elsewhere}");
        }
        assert_eq!(judged(REPLY, &[]), Err(NotBack::OriginMissing));
    }

    #[test]
    fn the_loop_guard_counts_and_takes_no_nonsense_for_nothing() {
        let with = |count| judged(REPLY, &[FROM, ("cardquery-replay-count", count)]);
        assert_eq!(with("2").map(|(_, replay)| replay), Ok(3));
        assert_eq!(with("3"), Err(NotBack::ReplayedTooOften));
        assert_eq!(with("4294967295"), Err(NotBack::ReplayedTooOften));
        assert_eq!(with("none"), Err(NotBack::ReplayCountMalformed));
    }

    #[test]
    fn a_record_goes_back_as_it_was_with_the_provenance_of_this_run_only() {
        let dead = record(
            REPLY,
            &[
                ("ce_id", "abc"),
                ("traceparent", "00-1-2-01"),
                ("cardquery-replay-id", "earlier"),
                ("cardquery-replay-of", "dlq.cardquery.reply.v1:0:1"),
                ("cardquery-replay-count", "1"),
                FROM,
                ("__dlq.errors.offset", "7"),
                ("cardquery-error-code", "KEY_UNKNOWN"),
                ("__connect.errors.topic", "x"),
                ("__streams.errors.topic", "x"),
                ("kafka_dlt-original-topic", "x"),
                ("x-original-topic", "x"),
                ("x-exception-message", "x"),
            ],
        );
        let text = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        assert_eq!(
            replayed(&dead, "run-1", "cardquery.reply.alpha.v1".to_owned(), 2),
            OutRecord {
                topic: "cardquery.reply.alpha.v1".to_owned(),
                key: Some(b"key".to_vec()),
                value: b"\x00sealed".to_vec(),
                headers: vec![
                    text("ce_id", "abc"),
                    text("traceparent", "00-1-2-01"),
                    text("cardquery-replay-id", "run-1"),
                    text("cardquery-replay-of", "dlq.cardquery.reply.v1:1:42"),
                    text("cardquery-replay-count", "2"),
                ],
            }
        );
    }

    #[test]
    fn a_plan_is_stale_when_its_dead_letter_is_gone_or_another_or_judged_otherwise() {
        let topics = Topics::default();
        let dead = record(REPLY, &[FROM]);
        let mut plan = Plan::new("run-1".to_owned(), &topics, 50, 3);
        plan.add(&dead, &topics);
        let step = plan.steps[0].clone();
        assert_eq!(plan.check(&step, Some(&dead), &topics), Ok(()));
        assert_eq!(plan.check(&step, None, &topics), Err("the dead letter is gone"));
        let another = Record { value: Bytes::from_static(b"another"), ..dead.clone() };
        assert_eq!(plan.check(&step, Some(&another), &topics), Err("another dead letter lies there"));
        let elsewhere = Step { to: "cardquery.reply.beta.v1".to_owned(), ..step.clone() };
        assert_eq!(plan.check(&elsewhere, Some(&dead), &topics), Err("it would not go back there"));
        let strict = Plan { max_replays: 0, ..plan.clone() };
        assert_eq!(strict.check(&step, Some(&dead), &topics), Err("it would not go back there"));
    }

    #[test]
    fn every_part_of_a_dead_letter_and_where_it_ends_is_in_its_digest() {
        let dead = record(REPLY, &[("a", "bc")]);
        let others = [
            Record { key: None, ..dead.clone() },
            Record {
                key: Some(Bytes::from_static(b"ke")),
                value: Bytes::from_static(b"y\x00sealed"),
                ..dead.clone()
            },
            record(REPLY, &[("ab", "c")]),
            record(REPLY, &[]),
        ];
        for other in &others {
            assert_ne!(digest(other), digest(&dead), "{other:?}");
        }
    }
}
