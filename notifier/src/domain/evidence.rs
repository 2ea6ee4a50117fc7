//! What was asked of the gateway and what it answered, as long as nobody knows whether the SMS was sent: steps, times and
//! answers. Never a number, never a text, never the gateway's own words: they may quote both.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemas::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// Everything that leaves the fate of one SMS open, in its order. Empty: it is certain what became of every attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence(Vec<Answer>);

/// One question to the gateway and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// When the answer was noted, in Unix milliseconds.
    pub at_ms: i64,
    /// What was asked.
    pub step: Step,
    /// What was answered.
    pub said: Said,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Step {
    /// To send the SMS.
    Send,
    /// What became of it.
    Inquiry,
}

/// An answer that decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Said {
    /// None in time.
    Timeout,
    /// The connection ended before the answer.
    Cut,
    /// There was no connection. Only of an inquiry: an SMS that found no connection was certainly not sent.
    Unreachable,
    /// Something that this interface does not know.
    Unreadable,
    /// The gateway itself does not know yet.
    Open,
    /// Whoever asked was gone before the answer was recorded.
    NoOutcome,
    /// An HTTP status that stands for no outcome.
    Status(u16),
}

impl Evidence {
    /// Whether the SMS may have been sent.
    pub fn is_doubt(&self) -> bool {
        !self.0.is_empty()
    }

    /// The answers, in their order.
    pub fn answers(&self) -> &[Answer] {
        &self.0
    }

    pub(super) fn add(&mut self, at: UnixMillis, step: Step, said: Said) {
        self.0.push(Answer { at_ms: at.0, step, said });
    }
}

/// `SEND TIMEOUT 2026-11-24T08:00:00.000Z, INQUIRY STATUS_404 2026-11-24T08:00:05.000Z`
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Answer { at_ms, step, said }) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let step = match step {
                Step::Send => "SEND",
                Step::Inquiry => "INQUIRY",
            };
            write!(f, "{comma}{step} {said} {}", UnixMillis(*at_ms))?;
        }
        Ok(())
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Said::Timeout => "TIMEOUT",
            Said::Cut => "CUT",
            Said::Unreachable => "UNREACHABLE",
            Said::Unreadable => "UNREADABLE",
            Said::Open => "OPEN",
            Said::NoOutcome => "NO_OUTCOME",
            Said::Status(status) => return write!(f, "STATUS_{status}"),
        })
    }
}

impl From<Said> for String {
    fn from(said: Said) -> Self {
        said.to_string()
    }
}

/// Text that is no answer.
#[derive(Debug, thiserror::Error)]
#[error("not an answer of a gateway")]
pub struct NotSaid;

impl FromStr for Said {
    type Err = NotSaid;

    fn from_str(text: &str) -> Result<Self, NotSaid> {
        let plain =
            [Said::Timeout, Said::Cut, Said::Unreachable, Said::Unreadable, Said::Open, Said::NoOutcome];
        let status = || text.strip_prefix("STATUS_")?.parse().ok().map(Said::Status);
        plain.into_iter().find(|said| said.to_string() == text).or_else(status).ok_or(NotSaid)
    }
}

impl TryFrom<String> for Said {
    type Error = NotSaid;

    fn try_from(text: String) -> Result<Self, NotSaid> {
        text.parse()
    }
}

/// What can be done about an SMS that may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// Whether the gateway sends nothing twice under the same out-id, so that it may be given the SMS again.
    pub idempotent: bool,
    /// Whether the gateway can be asked what became of an out-id.
    pub inquiries: bool,
    /// How long after an answer that decides nothing it is tried again for the first time. It doubles each time ...
    pub first: Duration,
    /// ... up to this.
    pub longest: Duration,
    /// How long after the first such answer it is given up.
    pub give_up: Duration,
}

impl Means {
    /// When to try again; `None`: no more.
    pub(super) fn next(&self, evidence: &Evidence, now: UnixMillis) -> Option<UnixMillis> {
        let first = evidence.0.first()?;
        let end = UnixMillis(first.at_ms) + self.give_up;
        if now >= end || !(self.idempotent || self.inquiries) {
            return None;
        }
        let doublings = u32::try_from(evidence.0.len() - 1).unwrap_or(u32::MAX);
        let wait = self.first.saturating_mul(2_u32.saturating_pow(doublings)).min(self.longest);
        Some((now + wait).min(end))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A gateway that can be asked and is not idempotent.
    pub(crate) const MEANS: Means = Means {
        idempotent: false,
        inquiries: true,
        first: Duration::from_secs(5),
        longest: Duration::from_secs(120),
        give_up: Duration::from_secs(600),
    };

    /// Seconds after the first doubtful answer at which it is tried again, until it is given up.
    fn tries(means: Means) -> Vec<i64> {
        let mut evidence = Evidence::default();
        let (mut now, mut tries) = (UnixMillis(7_000), Vec::new());
        evidence.add(now, Step::Send, Said::Timeout);
        while let Some(next) = means.next(&evidence, now) {
            tries.push((next.0 - 7_000) / 1_000);
            now = next;
            evidence.add(now, Step::Inquiry, Said::Status(404));
        }
        tries
    }

    #[test]
    fn it_is_asked_with_growing_intervals_for_ten_minutes_and_a_last_time_at_their_end() {
        assert_eq!(tries(MEANS), [5, 15, 35, 75, 155, 275, 395, 515, 600]);
        assert_eq!(tries(Means { idempotent: true, inquiries: false, ..MEANS }).len(), 9);
        assert_eq!(tries(Means { inquiries: false, ..MEANS }), [0; 0], "nobody can be asked");
    }

    #[test]
    fn without_doubt_there_is_nothing_to_try() {
        assert_eq!(MEANS.next(&Evidence::default(), UnixMillis(0)), None);
    }

    #[test]
    fn evidence_reads_back_as_it_was_written_and_prints_steps_answers_and_times() {
        let mut evidence = Evidence::default();
        for said in [
            Said::Timeout,
            Said::Cut,
            Said::Unreachable,
            Said::Unreadable,
            Said::Open,
            Said::NoOutcome,
            Said::Status(503),
        ] {
            evidence.add(UnixMillis(1_700_000_000_000), Step::Send, said);
            evidence.add(UnixMillis(1_700_000_000_007), Step::Inquiry, said);
        }
        let text = serde_json::to_string(&evidence).expect("JSON");
        assert!(text.starts_with(r#"[{"at_ms":1700000000000,"step":"SEND","said":"TIMEOUT"},"#), "{text}");
        assert_eq!(serde_json::from_str::<Evidence>(&text).expect("evidence"), evidence);
        let printed = evidence.to_string();
        assert!(printed.starts_with("SEND TIMEOUT 2023-11-14T22:13:20.000Z, INQUIRY TIMEOUT "), "{printed}");
        assert!(printed.ends_with("INQUIRY STATUS_503 2023-11-14T22:13:20.007Z"), "{printed}");
        for wrong in ["", "STATUS_", "STATUS_99999", "timeout", "13800000001"] {
            assert!(wrong.parse::<Said>().is_err(), "{wrong}");
        }
    }
}
