//! A held query: until when it waits, and which release lets it go on.

use std::collections::BTreeMap;
use std::time::Duration;

use plumbing::kafka::Position;
use schemas::codes::Code;
use schemas::ids::Digest;
use schemas::time::UnixMillis;

use super::query::Collecting;
use super::risk::Decision;
use super::window::Times;

/// How long queries are held. Configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldTimes {
    /// Before this is over no release is taken.
    pub cooling_off: Duration,
    /// After this no release is taken, and the query is cancelled.
    pub longest: Duration,
}

/// A query that waits for its release.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Why, or why the last release was refused.
    pub code: Code,
    /// Earliest append time of a release.
    pub release_from: UnixMillis,
    /// Latest append time of a release.
    pub release_until: UnixMillis,
    /// Chosen banks.
    pub banks: u32,
    /// Per partition of the upstream's query topic, the next offset whose release may still have an effect here.
    pub read_to: BTreeMap<i32, i64>,
}

/// A release as it was read: a whole submission that names the held query.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// Where its record lies.
    pub record: Position,
    /// Computed from its append time.
    pub times: Times,
    /// The content digest that it says it releases.
    pub releases: Digest,
    /// The digest of its own content.
    pub content_digest: Digest,
    /// Its banks, with its own statements.
    pub pairs: Collecting,
    /// What the gates say of it at its append time, and the risk table if they are open.
    pub judged: Result<Decision, Code>,
    /// The cooling-off time that starts again when it still shows risk.
    pub cooling_off: Duration,
}

impl Held {
    /// Held from `since`, the append time of the query's record.
    pub fn new(since: UnixMillis, times: &HoldTimes, banks: u32) -> Self {
        Self {
            code: Code::HELD_FOR_RISK,
            release_from: since + times.cooling_off,
            release_until: since + times.longest,
            banks,
            read_to: BTreeMap::new(),
        }
    }

    /// Whether the release in `record` was not judged before; it now is.
    pub(super) fn is_news(&mut self, record: &Position) -> bool {
        let read_to = self.read_to.entry(record.partition).or_default();
        let is_news = record.offset >= *read_to;
        *read_to = (*read_to).max(record.offset + 1);
        is_news
    }

    /// Whether `release` lets a query of content `digest` go on.
    ///
    /// # Errors
    /// `ID_REUSED` for other content, `HOLD_EXPIRED`, `HOLD_NOT_OVER`, the code of a closed gate, `HELD_FOR_RISK` when
    /// somebody may still be pressing the person.
    pub fn judge(&self, digest: Digest, release: &Release) -> Result<(), Code> {
        let at = release.times.accepted_at;
        if release.releases != digest || release.content_digest != digest {
            return Err(Code::ID_REUSED);
        }
        if at > self.release_until {
            return Err(Code::HOLD_EXPIRED);
        }
        if at < self.release_from {
            return Err(Code::HOLD_NOT_OVER);
        }
        match release.judged {
            Ok(Decision::Allow | Decision::Warn) => Ok(()),
            Ok(Decision::Hold) => Err(Code::HELD_FOR_RISK),
            Err(code) => Err(code),
        }
    }

    /// The same after a refused release. One that still showed risk starts the cooling-off time again.
    pub(super) fn refused(mut self, release: &Release, code: Code) -> Self {
        if code == Code::HELD_FOR_RISK {
            self.release_from = release.times.accepted_at + release.cooling_off;
        }
        Self { code, ..self }
    }
}
