//! Messages that wait to be produced: leased, deleted after the delivery report, never read by an id cursor, which passes over rows that commit late.

use std::time::Duration;

use prost::Message as _;
use schemas::wire;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};

use super::error::Unreadable;
use super::keys::reference;
use super::types::Stamp;
use crate::store::{LeasedRow, OutboxRow, Outgoing, StoreResult};

/// Whoever sees a row sees all older ones of its query, too: they were committed before its query's lock was had for it.
/// A row that is leased meanwhile is skipped, or looked at again under its lock and found leased.
const LEASE: &str = "
    WITH free AS (
        SELECT id FROM outbox AS mine
        WHERE (leased_until IS NULL OR leased_until <= coalesce($2, clock_timestamp()))
            AND NOT EXISTS (
                SELECT FROM outbox AS older
                WHERE older.upstream = mine.upstream AND older.query_id = mine.query_id AND older.id < mine.id
            )
        ORDER BY id LIMIT $1
        FOR UPDATE SKIP LOCKED
    )
    UPDATE outbox SET leased_until = coalesce($2, clock_timestamp()) + $3 * interval '1 millisecond'
    FROM free WHERE outbox.id = free.id
    RETURNING outbox.id, upstream, query_id, kind, event, bank";

const RENEWED: &str = "
    UPDATE outbox SET leased_until = coalesce($2, clock_timestamp()) + $3 * interval '1 millisecond'
    WHERE id = ANY($1)";

const PUBLISHED: &str = "DELETE FROM outbox WHERE id = ANY($1)";

const RELEASED: &str = "UPDATE outbox SET leased_until = NULL WHERE id = ANY($1)";

const PARKED: &str = "
    WITH gone AS (DELETE FROM outbox WHERE id = $1 RETURNING id, upstream, query_id, kind, event, bank)
    INSERT INTO outbox_parked (id, upstream, query_id, kind, event, bank, code, parked_at)
    SELECT id, upstream, query_id, kind, event, bank, $2, coalesce($3, clock_timestamp()) FROM gone";

const DEPTH: &str = "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM outbox_parked)";

const EVENT: &str = "event";
const NOTICE: &str = "notice";
const CANCEL: &str = "cancel";

/// A message as columns.
pub(super) struct Columns<'a> {
    pub(super) kind: &'static str,
    pub(super) event: Option<Vec<u8>>,
    pub(super) bank: Option<&'a str>,
}

pub(super) fn encode(message: &Outgoing) -> Columns<'_> {
    match message {
        Outgoing::Event(event) => {
            let record = wire::EventRecord { reference: None, message: Some(event.clone()) };
            Columns { kind: EVENT, event: Some(record.encode_to_vec()), bank: None }
        }
        Outgoing::Notice => Columns { kind: NOTICE, event: None, bank: None },
        Outgoing::Cancel(bank) => Columns { kind: CANCEL, event: None, bank: Some(bank.as_str()) },
    }
}

fn decode(kind: &str, event: Option<&[u8]>, bank: Option<&str>) -> Result<Outgoing, Unreadable> {
    match (kind, event, bank) {
        (EVENT, Some(event), None) => {
            let record = wire::EventRecord::decode(event).map_err(|_| Unreadable("event"))?;
            Ok(Outgoing::Event(record.message.ok_or(Unreadable("event"))?))
        }
        (NOTICE, None, None) => Ok(Outgoing::Notice),
        (CANCEL, None, Some(bank)) => Ok(Outgoing::Cancel(bank.parse().map_err(|_| Unreadable("bank"))?)),
        _ => Err(Unreadable("kind")),
    }
}

pub(super) async fn lease(
    pool: &PgPool,
    max: usize,
    lease: Duration,
    now: Option<Stamp>,
) -> StoreResult<Vec<LeasedRow>> {
    let rows = sqlx::query(LEASE)
        .bind(i64::try_from(max).unwrap_or(i64::MAX))
        .bind(now)
        .bind(millis(lease))
        .fetch_all(pool)
        .await?;
    let mut leased = rows.iter().map(leased).collect::<StoreResult<Vec<_>>>()?;
    // The order of an UPDATE is nobody's.
    leased.sort_by_key(|row| row.id);
    Ok(leased)
}

fn leased(row: &PgRow) -> StoreResult<LeasedRow> {
    let id: i64 = row.try_get("id")?;
    let message = decode(row.try_get("kind")?, row.try_get("event")?, row.try_get("bank")?)?;
    Ok(LeasedRow { id: id.cast_unsigned(), row: OutboxRow { reference: reference(row)?, message } })
}

pub(super) async fn renewed(
    pool: &PgPool,
    ids: &[u64],
    lease: Duration,
    now: Option<Stamp>,
) -> StoreResult<()> {
    sqlx::query(RENEWED).bind(signed(ids)).bind(now).bind(millis(lease)).execute(pool).await?;
    Ok(())
}

pub(super) async fn published(pool: &PgPool, ids: &[u64]) -> StoreResult<()> {
    sqlx::query(PUBLISHED).bind(signed(ids)).execute(pool).await?;
    Ok(())
}

pub(super) async fn released(pool: &PgPool, ids: &[u64]) -> StoreResult<()> {
    sqlx::query(RELEASED).bind(signed(ids)).execute(pool).await?;
    Ok(())
}

pub(super) async fn parked(pool: &PgPool, id: u64, code: &str, now: Option<Stamp>) -> StoreResult<()> {
    sqlx::query(PARKED).bind(id.cast_signed()).bind(code).bind(now).execute(pool).await?;
    Ok(())
}

pub(super) async fn depth(pool: &PgPool) -> StoreResult<(u64, u64)> {
    let (waiting, parked): (i64, i64) = sqlx::query_as(DEPTH).fetch_one(pool).await?;
    Ok((waiting.cast_unsigned(), parked.cast_unsigned()))
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn signed(ids: &[u64]) -> Vec<i64> {
    ids.iter().map(|id| id.cast_signed()).collect()
}
