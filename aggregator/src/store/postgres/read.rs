//! Reads queries: row by row, and whole.

use std::collections::BTreeMap;

use plumbing::kafka::Position;
use schemas::ids::{BankId, Digest, KeyId, Reference};
use schemas::time::UnixMillis;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};

use super::error::Unreadable;
use super::keys::{Keys, reference, uuid};
use super::state;
use super::types::{Day, Stamp};
use crate::domain::query::{Closed, Pair, Query};
use crate::domain::window::Times;
use crate::store::StoreResult;

macro_rules! query_columns {
    () => {
        "query.upstream, query.query_id, query.subject, query.content_digest, query.report_key, query.record_topic,
         query.record_partition, query.record_offset, query.accepted_at, query.reply_by, query.deadline_at,
         query.erase_on, query.state, query.state_data::text AS state_data, query.asked_at IS NOT NULL AS asked"
    };
}

pub(super) use query_columns;

macro_rules! pair_columns {
    () => {
        "pair.bank, pair.statement_sha256, pair.attempts, pair.ask_again_at, pair.closed_outcome,
         pair.closed_segment_sha256, pair.closed_appended_at, pair.closed_partition, pair.closed_offset,
         pair.unavailable, pair.invalid, pair.conflict, pair.read_to::text AS read_to"
    };
}

const LOCK: &str = "
    SELECT
    FROM query JOIN unnest($1::text[], $2::uuid[]) AS wanted (upstream, query_id) USING (upstream, query_id)
    ORDER BY query.upstream, query.query_id
    FOR NO KEY UPDATE OF query";

const LOCKED_QUERIES: &str = concat!(
    "SELECT ",
    query_columns!(),
    " FROM query JOIN unnest($1::text[], $2::uuid[]) AS wanted (upstream, query_id) USING (upstream, query_id)"
);

const LOCKED_PAIRS: &str = concat!(
    "SELECT pair.upstream, pair.query_id, ",
    pair_columns!(),
    " FROM pair JOIN unnest($1::text[], $2::uuid[]) AS wanted (upstream, query_id) USING (upstream, query_id)"
);

// What is not locked is read in one statement: between two of them a query may end and lose its pairs.
const ONE: &str = concat!(
    "SELECT ",
    query_columns!(),
    ", ",
    pair_columns!(),
    " FROM query LEFT JOIN pair USING (upstream, query_id) WHERE query.upstream = $1 AND query.query_id = $2"
);

const PAST_DEADLINE: &str = concat!(
    "SELECT ",
    query_columns!(),
    ", ",
    pair_columns!(),
    " FROM (
        SELECT * FROM query WHERE state = 'COLLECTING' AND deadline_at <= $1
        ORDER BY deadline_at, upstream, query_id LIMIT $2
      ) AS query LEFT JOIN pair USING (upstream, query_id)
      ORDER BY query.deadline_at, query.upstream, query.query_id"
);

// A held query has no pairs yet.
const PAST_HOLD: &str = concat!(
    "SELECT ",
    query_columns!(),
    " FROM query WHERE state = 'HELD' AND (state_data->>'release_until')::bigint < $1
      ORDER BY (state_data->>'release_until')::bigint LIMIT $2"
);

/// A query's row, and its pairs if it is open.
pub(super) struct Found {
    pub(super) query: Query,
    pub(super) asked: bool,
}

/// Locks these queries in id order, then reads them. In one statement the read would be of the snapshot from before the
/// lock was had.
pub(super) async fn lock(
    connection: &mut PgConnection,
    keys: &Keys<'_>,
) -> StoreResult<BTreeMap<Reference, Found>> {
    sqlx::query(LOCK).bind(&keys.upstreams).bind(&keys.queries).execute(&mut *connection).await?;
    let rows = sqlx::query(LOCKED_QUERIES)
        .bind(&keys.upstreams)
        .bind(&keys.queries)
        .fetch_all(&mut *connection)
        .await?;
    let open =
        rows.iter().any(|row| row.try_get("state").is_ok_and(|state: &str| state == state::COLLECTING));
    let mut pairs: BTreeMap<Reference, BTreeMap<BankId, Pair>> = BTreeMap::new();
    if open {
        let rows =
            sqlx::query(LOCKED_PAIRS).bind(&keys.upstreams).bind(&keys.queries).fetch_all(connection).await?;
        for row in &rows {
            let (bank, of_bank) = pair(row)?;
            pairs.entry(reference(row)?).or_default().insert(bank, of_bank);
        }
    }
    let mut found = BTreeMap::new();
    for row in &rows {
        let reference = reference(row)?;
        let pairs = pairs.remove(&reference).unwrap_or_default();
        found.insert(reference.clone(), query(row, reference, pairs)?);
    }
    Ok(found)
}

/// One query, not locked.
pub(super) async fn one(pool: &PgPool, wanted: &Reference) -> StoreResult<Option<Query>> {
    let rows = sqlx::query(ONE).bind(wanted.upstream.as_str()).bind(uuid(wanted)).fetch_all(pool).await?;
    Ok(whole(&rows)?.pop())
}

/// Open queries whose deadline is over, not locked, oldest first.
pub(super) async fn past_deadline(pool: &PgPool, deadline: Stamp, max: i64) -> StoreResult<Vec<Query>> {
    whole(&sqlx::query(PAST_DEADLINE).bind(deadline).bind(max).fetch_all(pool).await?)
}

/// Held queries whose time for a release is over, not locked, the longest over first.
pub(super) async fn past_hold(pool: &PgPool, now: UnixMillis, max: i64) -> StoreResult<Vec<Query>> {
    let rows = sqlx::query(PAST_HOLD).bind(now.0).bind(max).fetch_all(pool).await?;
    rows.iter().map(|row| Ok(query(row, reference(row)?, BTreeMap::new())?.query)).collect()
}

/// Queries of rows that repeat them for each pair; the rows of a query stand together.
fn whole(rows: &[PgRow]) -> StoreResult<Vec<Query>> {
    let mut queries = Vec::new();
    let mut rows = rows.iter().peekable();
    while let Some(first) = rows.next() {
        let of = reference(first)?;
        let mut pairs = BTreeMap::new();
        let mut next = Some(first);
        while let Some(row) = next {
            if row.try_get::<Option<&str>, _>("bank")?.is_some() {
                let (bank, of_bank) = pair(row)?;
                pairs.insert(bank, of_bank);
            }
            next = rows.next_if(|row| reference(row).is_ok_and(|same| same == of));
        }
        queries.push(query(first, of, pairs)?.query);
    }
    Ok(queries)
}

pub(super) fn query(row: &PgRow, reference: Reference, pairs: BTreeMap<BankId, Pair>) -> StoreResult<Found> {
    let Stamp(accepted_at) = row.try_get("accepted_at")?;
    let Stamp(reply_by) = row.try_get("reply_by")?;
    let Stamp(deadline_at) = row.try_get("deadline_at")?;
    let Day(erase_on) = row.try_get("erase_on")?;
    let topic: &str = row.try_get("record_topic")?;
    let query = Query {
        reference,
        subject: row.try_get("subject")?,
        content_digest: digest(row, "content_digest")?,
        report_key: KeyId::from_bytes(row.try_get("report_key")?).map_err(|_| Unreadable("report_key"))?,
        record: Position {
            topic: topic.into(),
            partition: row.try_get("record_partition")?,
            offset: row.try_get("record_offset")?,
        },
        times: Times { accepted_at, reply_by, deadline_at, erase_on },
        state: state::decode(row.try_get("state")?, row.try_get("state_data")?, pairs)?,
    };
    Ok(Found { query, asked: row.try_get("asked")? })
}

fn pair(row: &PgRow) -> StoreResult<(BankId, Pair)> {
    let bank: &str = row.try_get("bank")?;
    let attempts: i32 = row.try_get("attempts")?;
    let ask_again_at: Option<Stamp> = row.try_get("ask_again_at")?;
    let read_to: &str = row.try_get("read_to")?;
    let pair = Pair {
        statement_sha256: digest(row, "statement_sha256")?,
        attempts: u32::try_from(attempts).map_err(|_| Unreadable("attempts"))?,
        ask_again_at: ask_again_at.map(|Stamp(at)| at),
        closed: closed(row)?,
        unavailable: row.try_get("unavailable")?,
        invalid: row.try_get("invalid")?,
        conflict: row.try_get("conflict")?,
        read_to: serde_json::from_str(read_to).map_err(|_| Unreadable("read_to"))?,
    };
    Ok((bank.parse().map_err(|_| Unreadable("bank"))?, pair))
}

fn closed(row: &PgRow) -> StoreResult<Option<Closed>> {
    let Some(outcome) = row.try_get::<Option<&str>, _>("closed_outcome")? else { return Ok(None) };
    let Stamp(appended_at) = row.try_get("closed_appended_at")?;
    Ok(Some(Closed {
        outcome: state::closing(outcome)?,
        segment_sha256: digest(row, "closed_segment_sha256")?,
        appended_at,
        at: (row.try_get("closed_partition")?, row.try_get("closed_offset")?),
    }))
}

fn digest(row: &PgRow, column: &'static str) -> StoreResult<Digest> {
    Ok(Digest::from_bytes(row.try_get(column)?).map_err(|_| Unreadable(column))?)
}
