//! Remembered denials of views: one hash per person and hour, so that it comes and goes as a whole.

use redis::{AsyncCommands, Pipeline};
use schemas::codes::Code;
use schemas::ids::{Digest, Reference};
use schemas::time::UnixMillis;

use super::connection::Redis;
use crate::domain::refusals::{Denials, SubjectHour};

const LOCKED: &str = "locked";

/// A grant as it is presented, by names only.
#[derive(Clone, Debug)]
pub struct Presented {
    /// Whose, and when.
    pub at: SubjectHour,
    /// Of which query.
    pub reference: Reference,
    /// Which grant.
    pub digest: Digest,
}

impl Presented {
    fn query_field(&self) -> String {
        query_field(&self.reference)
    }

    fn grant_field(&self) -> String {
        format!("grant:{}", self.digest)
    }
}

/// The hash is one upstream's, as the MAC is.
fn query_field(reference: &Reference) -> String {
    format!("query:{}", reference.query)
}

pub(super) async fn get(redis: &Redis, presented: &Presented) -> Option<Denials> {
    let key = redis.keys().denials(&presented.at);
    let fields = [LOCKED.to_owned(), presented.query_field(), presented.grant_field()];
    let found: [Option<Vec<u8>>; 3] = redis.call(async |mut line| line.hmget(key, &fields).await).await?;
    Some(read(found.each_ref().map(|value| value.as_deref().and_then(code))))
}

/// Takes of the three fields only what each may say.
fn read([locked, query, grant]: [Option<Code>; 3]) -> Denials {
    let says = |code: Option<Code>| code.map(Denials::by).unwrap_or_default();
    Denials { locked: says(locked).locked, query: says(query).query, grant: says(grant).grant }
}

fn code(text: &[u8]) -> Option<Code> {
    Code::ALL.iter().find(|code| code.as_str().as_bytes() == text).copied()
}

/// Remembers that the store refused `presented` with `code`, if that is worth remembering.
pub(super) async fn put(redis: &Redis, presented: &Presented, code: Code, now: UnixMillis) {
    let denials = Denials::by(code);
    let field = if denials.locked {
        LOCKED.to_owned()
    } else if denials.query.is_some() {
        presented.query_field()
    } else if denials.grant.is_some() {
        presented.grant_field()
    } else {
        return;
    };
    let mut pipeline = redis::pipe();
    deny(&mut pipeline, redis, &presented.at, &field, code, now);
    // Unanswered, the store is asked again.
    let _: Option<()> = redis.call(async |mut line| pipeline.query_async(&mut line).await).await;
}

/// Adds to `pipeline` what denies a withdrawn query's views.
pub(super) fn withdrawn(
    pipeline: &mut Pipeline,
    redis: &Redis,
    reference: &Reference,
    at: &SubjectHour,
    now: UnixMillis,
) {
    deny(pipeline, redis, at, &query_field(reference), Code::QUERY_WITHDRAWN, now);
}

/// Both commands or none: a hash without a time to live would stay.
fn deny(pipeline: &mut Pipeline, redis: &Redis, at: &SubjectHour, field: &str, code: Code, now: UnixMillis) {
    let key = redis.keys().denials(at);
    let left = i64::try_from(at.hour.left(now).as_millis()).unwrap_or(i64::MAX);
    pipeline.atomic();
    pipeline.hset(&key, field, code.as_str()).ignore().pexpire(&key, left).ignore();
}
