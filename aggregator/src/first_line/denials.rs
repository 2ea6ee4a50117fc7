//! Remembered denials of views: one hash per person and hour, so that it comes and goes as a whole.

use redis::AsyncCommands;
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
    /// The hash is one upstream's, as the MAC is.
    fn query_field(&self) -> String {
        format!("query:{}", self.reference.query)
    }

    fn grant_field(&self) -> String {
        format!("grant:{}", self.digest)
    }
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
    let key = redis.keys().denials(&presented.at);
    let left = i64::try_from(presented.at.hour.left(now).as_millis()).unwrap_or(i64::MAX);
    let mut pipeline = redis::pipe();
    // Both or none: a hash without a time to live would stay.
    pipeline.atomic();
    pipeline.hset(&key, field, code.as_str()).ignore().pexpire(&key, left).ignore();
    // Unanswered, the store is asked again.
    let _: Option<()> = redis.call(async |mut line| pipeline.query_async(&mut line).await).await;
}
