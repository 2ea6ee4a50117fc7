//! Remembered statuses. A stale one is told for as long as its time says and no longer; it opens nothing.

use std::time::Duration;

use redis::AsyncCommands;
use schemas::http::QueryStatus;
use schemas::ids::Reference;

use super::connection::Redis;
use crate::domain::query::State;
use crate::metric_names;

/// What is remembered of a status.
#[derive(Clone, Debug, PartialEq)]
pub enum Remembered {
    /// What the store said.
    Status(Box<QueryStatus>),
    /// Nothing: what the store says now is worth remembering.
    Nothing,
    /// There is nobody to ask or to tell.
    Unknown,
}

pub(super) async fn get(redis: &Redis, reference: &Reference) -> Remembered {
    let key = redis.keys().status(reference);
    let found: Option<Option<Vec<u8>>> = redis.call(async |mut line| line.get(key).await).await;
    let (remembered, outcome) = match found {
        None => (Remembered::Unknown, "unknown"),
        Some(found) => match found.and_then(|raw| read(&raw, reference)) {
            Some(status) => (Remembered::Status(Box::new(status)), "hit"),
            None => (Remembered::Nothing, "miss"),
        },
    };
    metrics::counter!(metric_names::STATUS_CACHE, "outcome" => outcome).increment(1);
    remembered
}

/// A value that is not a status of this query is as good as none.
fn read(raw: &[u8], reference: &Reference) -> Option<QueryStatus> {
    let status: QueryStatus = serde_json::from_slice(raw).ok()?;
    (status.query_id == reference.query.to_string()).then_some(status)
}

pub(super) async fn put(redis: &Redis, reference: &Reference, status: &QueryStatus, state: &State) {
    let Ok(json) = serde_json::to_vec(status) else { return };
    let key = redis.keys().status(reference);
    let ttl = u64::try_from(ttl(state).as_millis()).unwrap_or(u64::MAX);
    // Unanswered, the status is asked from the store again.
    let _: Option<()> = redis.call(async |mut line| line.pset_ex(key, json, ttl).await).await;
}

/// How long a status may be told although the query has moved on and nobody could say so.
fn ttl(state: &State) -> Duration {
    match state {
        State::Held(_) | State::Collecting(_) => Duration::from_secs(1),
        // It can still be withdrawn.
        State::Final(_) => Duration::from_secs(10),
        State::Withdrawn { .. } | State::Rejected(_) | State::Cancelled { .. } | State::Erased { .. } => {
            Duration::from_secs(60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::ids::QueryId;

    #[test]
    fn only_a_status_of_the_query_itself_is_read() {
        let reference = Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
        let status = QueryStatus {
            query_id: reference.query.to_string(),
            state: "COLLECTING".into(),
            code: None,
            hold: None,
            accepted_at: String::new(),
            deadline_at: String::new(),
            finalised_at: None,
            erase_on: String::new(),
            banks: 2,
            answered: 1,
            content_digest: String::new(),
        };
        let json = serde_json::to_vec(&status).expect("json");
        assert_eq!(read(&json, &reference), Some(status));
        let other = Reference { query: QueryId::generate(), ..reference.clone() };
        assert_eq!(read(&json, &other), None);
        for garbage in [b"".as_slice(), b"null", b"\xff", br#"{"query_id":""}"#, &json[1..]] {
            assert_eq!(read(garbage, &reference), None);
        }
    }
}
