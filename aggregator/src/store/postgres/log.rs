//! The audit log. Whoever changes it holds the one row of `audit_log`; what it believes of that row stands in the condition.

use std::time::Duration;

use bytes::Bytes;
use schemas::audit::{Frontier, Leaf};
use schemas::ids::{Digest, Nonce, Reference};
use schemas::time::UnixMillis;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, Row as _, Transaction};

use super::error::Unreadable;
use super::keys::uuid;
use super::types::Stamp;
use super::{PostgresStore, begin, count};
use crate::store::{LogHead, LogLag, LogStore, StoreError, StoreResult};

const KEEP: &str = "
    UPDATE audit_log SET keeper = $1, kept_until = coalesce($3, clock_timestamp()) + $2 * interval '1 millisecond'
    WHERE keeper = $1 OR kept_until IS NULL OR kept_until <= coalesce($3, clock_timestamp())
    RETURNING size, published, peaks, next_offset, checkpoint_at";

const LEAVE: &str = "UPDATE audit_log SET keeper = NULL, kept_until = NULL WHERE keeper = $1";

const TAKE: &str = "SELECT true FROM audit_log WHERE keeper = $1 AND size = $2 FOR UPDATE";

const SEQUENCE: &str = "
    UPDATE audit_leaf SET position = $1 + place
    FROM (
        SELECT leaf_id, row_number() OVER (ORDER BY written) - 1 AS place
        FROM (SELECT leaf_id, written FROM audit_leaf WHERE position IS NULL ORDER BY written LIMIT $2) AS waiting
    ) AS next
    WHERE audit_leaf.leaf_id = next.leaf_id";

const GROW: &str = "UPDATE audit_log SET size = size + $1";

const ENTRIES: &str = "
    SELECT position, body FROM audit_leaf WHERE position >= $1 AND position < $1 + $2 ORDER BY position";

const ADOPT: &str = "
    INSERT INTO audit_leaf (leaf_id, upstream, query_id, body, position)
    SELECT leaf_id, upstream, query_id, body, $1 + place - 1
    FROM unnest($2::bytea[], $3::text[], $4::uuid[], $5::bytea[]) WITH ORDINALITY
        AS new (leaf_id, upstream, query_id, body, place)
    ON CONFLICT (leaf_id) DO UPDATE SET position = excluded.position, body = excluded.body
    WHERE audit_leaf.position IS NULL";

const PUBLISHED: &str = "
    UPDATE audit_log SET published = $2, peaks = $3, next_offset = $4 WHERE keeper = $1 AND published <= $2";

const KEEP_CHECKPOINT: &str = "
    UPDATE audit_log SET checkpoint = $3, checkpoint_at = $4 WHERE keeper = $1 AND published = $2";

const CHECKPOINT: &str = "SELECT checkpoint FROM audit_log";

const LAG: &str = "
    SELECT size - published + (SELECT count(*) FROM audit_leaf WHERE position IS NULL), checkpoint_at FROM audit_log";

impl LogStore for PostgresStore {
    async fn keep_log(&self, keeper: Nonce, lease: Duration) -> StoreResult<Option<LogHead>> {
        let row = sqlx::query(KEEP)
            .bind(keeper.0.as_slice())
            .bind(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX))
            .bind(self.time.given())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| head(&row)).transpose()
    }

    async fn leave_log(&self, keeper: Nonce) -> StoreResult<()> {
        sqlx::query(LEAVE).bind(keeper.0.as_slice()).execute(&self.pool).await?;
        Ok(())
    }

    async fn sequence_leaves(&self, keeper: Nonce, size: u64, max: usize) -> StoreResult<usize> {
        let mut transaction = self.take_log(keeper, size).await?;
        let sequenced = sqlx::query(SEQUENCE).bind(size.cast_signed()).bind(count(max));
        let sequenced = sequenced.execute(&mut *transaction).await?.rows_affected();
        grow(&mut transaction, sequenced).await?;
        transaction.commit().await?;
        Ok(usize::try_from(sequenced).unwrap_or(usize::MAX))
    }

    async fn log_entries(&self, from: u64, max: usize) -> StoreResult<Vec<Bytes>> {
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as(ENTRIES).bind(from.cast_signed()).bind(count(max)).fetch_all(&self.pool).await?;
        if (from..).zip(&rows).any(|(position, (found, _))| position != found.cast_unsigned()) {
            return Err(Unreadable("position").into());
        }
        Ok(rows.into_iter().map(|(_, body)| body.into()).collect())
    }

    async fn adopt_leaves(&self, keeper: Nonce, size: u64, leaves: &[Leaf]) -> StoreResult<bool> {
        let of = |leaf: &Leaf| leaf.reference().cloned();
        let references: Vec<Option<Reference>> = leaves.iter().map(of).collect();
        let references = || references.iter().map(Option::as_ref);
        let mut transaction = self.take_log(keeper, size).await?;
        let adopted = sqlx::query(ADOPT)
            .bind(size.cast_signed())
            .bind(leaves.iter().map(|leaf| leaf.id().0.to_vec()).collect::<Vec<_>>())
            .bind(references().map(|of| of.map(|of| of.upstream.as_str())).collect::<Vec<_>>())
            .bind(references().map(|of| of.map(uuid)).collect::<Vec<_>>())
            .bind(leaves.iter().map(|leaf| leaf.encode().to_vec()).collect::<Vec<_>>())
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        if adopted != leaves.len() as u64 {
            return Ok(false);
        }
        grow(&mut transaction, adopted).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn log_published(&self, keeper: Nonce, published: &Frontier, next_offset: i64) -> StoreResult<()> {
        let peaks: Vec<u8> = published.peaks().iter().flat_map(|peak| peak.0).collect();
        let noted = sqlx::query(PUBLISHED)
            .bind(keeper.0.as_slice())
            .bind(published.size().cast_signed())
            .bind(peaks)
            .bind(next_offset);
        one_row(noted.execute(&self.pool).await?.rows_affected())
    }

    async fn keep_checkpoint(
        &self,
        keeper: Nonce,
        size: u64,
        note: &str,
        signed_at: UnixMillis,
    ) -> StoreResult<()> {
        let kept = sqlx::query(KEEP_CHECKPOINT)
            .bind(keeper.0.as_slice())
            .bind(size.cast_signed())
            .bind(note)
            .bind(Stamp(signed_at));
        one_row(kept.execute(&self.pool).await?.rows_affected())
    }

    async fn checkpoint(&self) -> StoreResult<Option<String>> {
        Ok(sqlx::query_scalar(CHECKPOINT).fetch_one(&self.pool).await?)
    }

    async fn log_lag(&self) -> StoreResult<LogLag> {
        let (unpublished, checkpoint_at): (i64, Option<Stamp>) =
            sqlx::query_as(LAG).fetch_one(&self.pool).await?;
        Ok(LogLag {
            unpublished: unpublished.cast_unsigned(),
            checkpoint_at: checkpoint_at.map(|Stamp(at)| at),
        })
    }
}

impl PostgresStore {
    /// A transaction that alone changes the log.
    async fn take_log(&self, keeper: Nonce, size: u64) -> StoreResult<Transaction<'static, Postgres>> {
        let mut transaction = begin(&self.pool, "BEGIN").await?;
        let taken: Option<bool> = sqlx::query_scalar(TAKE)
            .bind(keeper.0.as_slice())
            .bind(size.cast_signed())
            .fetch_optional(&mut *transaction)
            .await?;
        one_row(taken.is_some().into())?;
        Ok(transaction)
    }
}

fn head(row: &PgRow) -> StoreResult<LogHead> {
    let (size, published): (i64, i64) = (row.try_get("size")?, row.try_get("published")?);
    let checkpoint_at: Option<Stamp> = row.try_get("checkpoint_at")?;
    Ok(LogHead {
        size: size.cast_unsigned(),
        published: frontier(published.cast_unsigned(), row.try_get("peaks")?)?,
        next_offset: row.try_get("next_offset")?,
        checkpoint_at: checkpoint_at.map(|Stamp(at)| at),
    })
}

async fn grow(connection: &mut PgConnection, by: u64) -> StoreResult<()> {
    if by > 0 {
        sqlx::query(GROW).bind(by.cast_signed()).execute(connection).await?;
    }
    Ok(())
}

fn one_row(rows: u64) -> StoreResult<()> {
    if rows == 1 { Ok(()) } else { Err(StoreError::log_lost()) }
}

fn frontier(size: u64, peaks: &[u8]) -> StoreResult<Frontier> {
    let (peaks, rest) = peaks.as_chunks::<32>();
    let peaks = peaks.iter().copied().map(Digest).collect();
    let frontier = rest.is_empty().then(|| Frontier::new(size, peaks).ok()).flatten();
    Ok(frontier.ok_or(Unreadable("peaks"))?)
}
