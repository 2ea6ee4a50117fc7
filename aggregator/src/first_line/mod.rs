//! The first line: what Redis remembers, so that requests are answered faster and refused sooner, never righter.
//!
//! ```text
//!  request ─▶ rate (this process, then Redis) ─▶ remembered status or denial (Redis) ─▶ the store decides
//!                                                             ▲                              │
//!                                                             └── what it said, for a while ─┘
//! ```
//!
//! What must never happen here: a permission, content of a report, or an error. Whatever cannot be had in time is
//! unknown, and the store is asked; the types leave no other way. Every key and what its loss means stands in
//! `docs/redis.md`.

mod breaker;
mod config;
mod connection;
mod denials;
mod keys;
mod rate;
mod status;

use std::time::Duration;

use redis::AsyncCommands as _;
use schemas::codes::Code;
use schemas::http::QueryStatus;
use schemas::ids::{Reference, UpstreamId};
use schemas::time::UnixMillis;

pub use self::config::{LimitsConfig, RedisConfig, RedisUrl, UrlFileError};
pub use self::connection::Redis;
pub use self::denials::Presented;
pub use self::status::Remembered;
use crate::domain::query::State;
use crate::domain::rate::Rate;
use crate::domain::refusals::{Denials, Hour, SubjectHour};
use crate::domain::subject::SubjectMac;

/// What stands in front of the store. Without Redis only the limit of this process is left.
pub struct FirstLine {
    redis: Option<Redis>,
    rate: rate::Limiter,
}

/// A query whose stored state changed.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The query.
    pub reference: Reference,
    /// Whose, when it was withdrawn: what is remembered of its views is then out of date as well.
    pub withdrawn_from: Option<SubjectMac>,
}

impl FirstLine {
    /// A first line that limits each upstream to `rate`.
    pub fn new(redis: Option<Redis>, rate: Rate) -> Self {
        Self { redis, rate: rate::Limiter::new(rate) }
    }

    /// How long `upstream` has to wait before it may send another request; `None`: it need not. All whom the registry
    /// does not know (`None`) share one limit.
    pub async fn wait(&self, upstream: Option<&UpstreamId>) -> Option<Duration> {
        self.rate.wait(self.redis.as_ref(), upstream).await
    }

    /// The status that the store gave a short while ago.
    pub async fn status(&self, reference: &Reference) -> Remembered {
        match &self.redis {
            Some(redis) => status::get(redis, reference).await,
            None => Remembered::Unknown,
        }
    }

    /// Remembers what the store said of a query in `state`.
    pub async fn keep_status(&self, reference: &Reference, status: &QueryStatus, state: &State) {
        if let Some(redis) = &self.redis {
            status::put(redis, reference, status, state).await;
        }
    }

    /// What the store denied before to this person in this hour; `None` when nobody can be asked.
    pub async fn denials(&self, presented: &Presented) -> Option<Denials> {
        denials::get(self.redis.as_ref()?, presented).await
    }

    /// Remembers that the store refused a grant at `now`.
    pub async fn keep_denial(&self, presented: &Presented, code: Code, now: UnixMillis) {
        if let Some(redis) = &self.redis {
            denials::put(redis, presented, code, now).await;
        }
    }

    /// Forgets what the store denied to this person in this hour: a reason was added that goes before the others.
    pub async fn forget_denials(&self, at: &SubjectHour) {
        if let Some(redis) = &self.redis {
            forget(redis, vec![redis.keys().denials(at)]).await;
        }
    }

    /// Forgets what is remembered of queries that changed. To be called after the commit.
    pub async fn changed(&self, changed: &[Changed], now: UnixMillis) {
        let Some(redis) = self.redis.as_ref().filter(|_| !changed.is_empty()) else { return };
        let keys = redis.keys();
        let statuses = changed.iter().map(|query| keys.status(&query.reference));
        let withdrawn = changed.iter().filter_map(|query| query.withdrawn_from);
        let denials = withdrawn.map(|subject| keys.denials(&SubjectHour { subject, hour: Hour::of(now) }));
        forget(redis, statuses.chain(denials).collect()).await;
    }
}

/// Only what the store answered is remembered, and only forgetting follows a change: a server without memory left takes
/// this and nothing else. Unanswered, the time to live bounds what is told wrongly.
async fn forget(redis: &Redis, keys: Vec<String>) {
    let _: Option<()> = redis.call(async |mut line| line.unlink(keys).await).await;
}
