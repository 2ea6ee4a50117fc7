//! Limits each upstream: first in this process, which always works, then for all processes together in Redis.
//!
//! The same rule and rate in both places: with one process Redis refuses nobody whom the process admits, and its loss
//! changes nothing. With several, its loss leaves each process its own limit.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::Script;
use schemas::ids::UpstreamId;

use super::connection::Redis;
use crate::domain::rate::Rate;
use crate::metric_names;

pub(super) struct Limiter {
    rate: Rate,
    script: Script,
    since: Instant,
    /// Bounded by the registry: whom it does not know is `None`.
    empty_at: Mutex<HashMap<Option<UpstreamId>, u64>>,
}

impl Limiter {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            script: Script::new(include_str!("rate.lua")),
            since: Instant::now(),
            empty_at: Mutex::default(),
        }
    }

    pub(super) async fn wait(
        &self,
        redis: Option<&Redis>,
        upstream: Option<&UpstreamId>,
    ) -> Option<Duration> {
        if let Some(wait) = self.wait_here(upstream, self.since.elapsed()) {
            count("here");
            return Some(wait);
        }
        let wait = self.wait_there(redis?, upstream).await?;
        count("shared");
        Some(wait)
    }

    fn wait_here(&self, upstream: Option<&UpstreamId>, elapsed: Duration) -> Option<Duration> {
        let now = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let upstream = upstream.cloned();
        let mut empty_at = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        match self.rate.admit(empty_at.get(&upstream).copied(), now) {
            Ok(next) => {
                empty_at.insert(upstream, next);
                None
            }
            Err(wait) => Some(wait),
        }
    }

    async fn wait_there(&self, redis: &Redis, upstream: Option<&UpstreamId>) -> Option<Duration> {
        let mut call = self.script.key(redis.keys().rate(upstream));
        call.arg(self.rate.interval_us).arg(self.rate.tolerance_us);
        // A server that was restarted or flushed does not know the script: it is then loaded and called again.
        let wait: u64 = redis.call(async |mut line| call.invoke_async(&mut line).await).await?;
        (wait > 0).then(|| Duration::from_micros(wait))
    }
}

fn count(place: &'static str) {
    metrics::counter!(metric_names::RATE_LIMITED, "outcome" => place).increment(1);
}
