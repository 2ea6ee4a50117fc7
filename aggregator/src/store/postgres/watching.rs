//! What the operator watches and decides about banks.

use std::collections::BTreeMap;

use schemas::ids::BankId;
use schemas::time::UnixMillis;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::error::Unreadable;
use super::keys::{reference, uuid};
use super::read;
use super::types::Stamp;
use crate::domain::figures::{Figures, Remark};
use crate::domain::refusals::Hour;
use crate::store::{Pause, Remarked, Remarks, StoreResult};

const PAUSES: &str = "SELECT bank, since, reason, by_whom FROM bank_pause";

const PAUSE: &str =
    "INSERT INTO bank_pause (bank, since, reason, by_whom) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

const RESUME: &str = "DELETE FROM bank_pause WHERE bank = $1 RETURNING bank, since, reason, by_whom";

/// What lies before the stored progress was counted by the transaction that stored it. Runs before this one stores its
/// own.
const REMARKS_OF_NEW_RECORDS: &str = "
    INSERT INTO bank_remark (hour, bank, kind, n)
    SELECT new.hour, new.bank, new.kind, count(*)
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::bigint[])
        AS new (hour, bank, kind, topic, partition, record_offset)
    LEFT JOIN progress USING (topic, partition)
    WHERE progress.next_offset IS NULL OR progress.next_offset <= new.record_offset
    GROUP BY new.hour, new.bank, new.kind";

const REMARKS: &str =
    "SELECT bank, kind, sum(n)::bigint AS n FROM bank_remark WHERE hour >= $1 GROUP BY bank, kind";

const FORGET: &str = "DELETE FROM bank_remark WHERE hour < $1";

const FOLD: &str = "
    WITH gone AS (DELETE FROM bank_remark WHERE hour < $1 AND NOT folded RETURNING hour, bank, kind, n)
    INSERT INTO bank_remark (hour, bank, kind, n, folded)
    SELECT hour, bank, kind, sum(n), true FROM gone GROUP BY hour, bank, kind";

/// Reports of one statement: short ones, so that a figure holds up no cleaning of dead rows.
const REPORTS_AT_A_TIME: i64 = 500;

// By the whole key, so that reports of one instant are neither passed over nor seen twice.
const REPORTS: &str = concat!(
    "SELECT ",
    read::query_columns!(),
    " FROM query WHERE state = 'FINAL' AND (state_data->>'finalised_at')::bigint >= $1
        AND ($2::bigint IS NULL OR ((state_data->>'finalised_at')::bigint, upstream, query_id) < ($2, $3, $4))
      ORDER BY (state_data->>'finalised_at')::bigint DESC, upstream DESC, query_id DESC LIMIT $5"
);

pub(super) async fn pauses(pool: &PgPool) -> StoreResult<BTreeMap<BankId, Pause>> {
    sqlx::query(PAUSES).fetch_all(pool).await?.iter().map(paused).collect()
}

pub(super) async fn pause(pool: &PgPool, bank: &BankId, pause: &Pause) -> StoreResult<bool> {
    let inserted = sqlx::query(PAUSE)
        .bind(bank.as_str())
        .bind(Stamp(pause.since))
        .bind(&pause.reason)
        .bind(&pause.by)
        .execute(pool)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

pub(super) async fn resume(pool: &PgPool, bank: &BankId) -> StoreResult<Option<Pause>> {
    let row = sqlx::query(RESUME).bind(bank.as_str()).fetch_optional(pool).await?;
    Ok(row.as_ref().map(paused).transpose()?.map(|(_, pause)| pause))
}

fn paused(row: &PgRow) -> StoreResult<(BankId, Pause)> {
    let Stamp(since) = row.try_get("since")?;
    let pause = Pause { since, reason: row.try_get("reason")?, by: row.try_get("by_whom")? };
    Ok((bank(row)?, pause))
}

fn bank(row: &PgRow) -> StoreResult<BankId> {
    let bank: &str = row.try_get("bank")?;
    Ok(bank.parse().map_err(|_| Unreadable("bank"))?)
}

pub(super) async fn remarks_of_new_records(
    connection: &mut PgConnection,
    remarks: &[Remarked],
) -> StoreResult<()> {
    if remarks.is_empty() {
        return Ok(());
    }
    sqlx::query(REMARKS_OF_NEW_RECORDS)
        .bind(remarks.iter().map(|of| Hour::of(of.appended_at).0).collect::<Vec<_>>())
        .bind(remarks.iter().map(|of| of.bank.as_str()).collect::<Vec<_>>())
        .bind(remarks.iter().map(|of| of.remark.as_str()).collect::<Vec<_>>())
        .bind(remarks.iter().map(|of| &*of.at.topic).collect::<Vec<_>>())
        .bind(remarks.iter().map(|of| of.at.partition).collect::<Vec<_>>())
        .bind(remarks.iter().map(|of| of.at.offset).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn remarks(pool: &PgPool, since: Hour) -> StoreResult<Remarks> {
    let mut remarks = Remarks::new();
    for row in sqlx::query(REMARKS).bind(since.0).fetch_all(pool).await? {
        let (kind, n): (&str, i64) = (row.try_get("kind")?, row.try_get("n")?);
        let kind = Remark::parse(kind).ok_or(Unreadable("kind"))?;
        remarks.entry(bank(&row)?).or_default().insert(kind, n.cast_unsigned());
    }
    Ok(remarks)
}

pub(super) async fn fold_remarks(pool: &PgPool, kept: Hour, over: Hour) -> StoreResult<()> {
    sqlx::query(FORGET).bind(kept.0).execute(pool).await?;
    sqlx::query(FOLD).bind(over.0).execute(pool).await?;
    Ok(())
}

pub(super) async fn figures(pool: &PgPool, since: UnixMillis, max_pairs: usize) -> StoreResult<Figures> {
    let mut figures = Figures::default();
    let mut before: Option<(i64, String, Uuid)> = None;
    loop {
        let (at, upstream, id) = match before.take() {
            Some((at, upstream, id)) => (Some(at), Some(upstream), Some(id)),
            None => (None, None, None),
        };
        let rows = sqlx::query(REPORTS)
            .bind(since.0)
            .bind(at)
            .bind(upstream)
            .bind(id)
            .bind(REPORTS_AT_A_TIME)
            .fetch_all(pool)
            .await?;
        for row in &rows {
            if figures.pairs >= max_pairs {
                figures.cut = true;
                return Ok(figures);
            }
            let of = reference(row)?;
            let key = (of.upstream.to_string(), uuid(&of));
            let query = read::query(row, of, BTreeMap::new())?.query;
            let report = query.state.report().ok_or(Unreadable("state_data"))?;
            before = Some((report.finalised_at.0, key.0, key.1));
            figures.add(&query.times, report);
        }
        if rows.len() < REPORTS_AT_A_TIME as usize {
            return Ok(figures);
        }
    }
}
