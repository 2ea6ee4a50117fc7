//! What becomes of a day at its end, step by step. Each step is found in the database, so whoever comes next goes on where
//! another one was killed.
//!
//! ```text
//!  erase_through ─▶ detach ─▶ drop ─▶ destroy keys ─▶ (queries end as ERASED) ─▶ receipt ─▶ (two weeks) forget
//!   watermark                                            by the handler, in batches
//! ```
//!
//! Tables are detached CONCURRENTLY: a plain detach, or a drop, waits behind any reader of the whole table and keeps back
//! everybody who comes after. What is interrupted stays half detached until it is finalised.
//!
//! What must never happen here: a table is dropped that is still written into, or a key is destroyed whose table is there.

use std::collections::BTreeSet;

use jiff::civil::Date;
use prost::Message as _;
use schemas::audit::Leaf;
use schemas::ids::{Digest, Reference};
use schemas::time::UnixMillis;
use schemas::wire;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, PgPool};

use super::days::{TABLES, partition};
use super::error::Unreadable;
use super::keys::{Keys, reference};
use super::types::{Day, Stamp};
use super::{PostgresStore, WATERMARK, begin, count, flush};
use crate::store::{ErasedDay, StoreError, StoreResult};

/// Held, it keeps back whoever writes, and is had when nobody does. Whoever writes waits no longer than this.
const BEGIN_ERASING: &str = "
    BEGIN; SET LOCAL lock_timeout = '2s'; LOCK TABLE watermark IN EXCLUSIVE MODE";

const ERASE_THROUGH: &str = "UPDATE watermark SET erased_through = $1 WHERE erased_through < $1";

const CLOSE: &str = "
    UPDATE content_day SET closed_at = coalesce($2, clock_timestamp()) WHERE erase_on <= $1 AND closed_at IS NULL";

/// Nobody else takes this number in this database.
const ERASER: i64 = 0x6361_7264_6572_6173;

const ALONE: &str = "SELECT pg_try_advisory_lock($1)";

const FOUND: &str = "
    SELECT class.relname::text, pg_inherits.inhrelid IS NOT NULL, coalesce(pg_inherits.inhdetachpending, false)
    FROM pg_class AS class LEFT JOIN pg_inherits ON pg_inherits.inhrelid = class.oid
    WHERE class.relkind = 'r' AND class.relnamespace = current_schema()::regnamespace
        AND class.relname ~ '^(segment|coverage|contact)_[0-9]{8}$'";

const KEYS_LEFT: &str = "
    SELECT EXISTS (
        SELECT FROM content_day
        WHERE key_destroyed_at IS NULL AND erase_on <= (SELECT erased_through FROM watermark)
    )";

const CLOSED: &str = "SELECT erase_on FROM content_day WHERE closed_at IS NOT NULL AND dropped_at IS NULL";

const DROPPED: &str = "
    UPDATE content_day SET dropped_at = coalesce($2, clock_timestamp())
    WHERE erase_on = $1 AND dropped_at IS NULL";

const KEYLESS: &str = "
    SELECT erase_on FROM content_day WHERE dropped_at IS NOT NULL AND key_destroyed_at IS NULL";

const KEY_DESTROYED: &str = "
    UPDATE content_day SET key_destroyed_at = coalesce($2, clock_timestamp())
    WHERE erase_on = $1 AND key_destroyed_at IS NULL";

const TO_ERASE: &str = "
    SELECT upstream, query_id FROM query
    WHERE state NOT IN ('REJECTED', 'ERASED') AND erase_on <= (SELECT erased_through FROM watermark)
        AND NOT EXISTS (
            SELECT FROM content_day
            WHERE content_day.erase_on = query.erase_on AND content_day.key_destroyed_at IS NULL
        )
    ORDER BY erase_on LIMIT $1";

const ERASED_DAYS: &str = "
    SELECT erase_on, key_id, closed_at, dropped_at, key_destroyed_at, (
        SELECT count(*) FROM query WHERE query.erase_on = content_day.erase_on AND state = 'ERASED'
    )
    FROM content_day
    WHERE receipt IS NULL AND key_destroyed_at IS NOT NULL AND NOT EXISTS (
        SELECT FROM query
        WHERE query.erase_on = content_day.erase_on AND state NOT IN ('REJECTED', 'ERASED')
    )
    ORDER BY erase_on";

const KEEP_RECEIPT: &str = "UPDATE content_day SET receipt = $2 WHERE erase_on = $1 AND receipt IS NULL";

const RECEIPT: &str = "SELECT receipt FROM content_day WHERE erase_on = $1 AND receipt IS NOT NULL";

const OVER: &str = "
    SELECT upstream, query_id FROM query WHERE erase_on <= $1 AND state IN ('REJECTED', 'ERASED')
    ORDER BY erase_on LIMIT $2";

// In the order in which everybody takes them.
const TAKE_CONSENTS: &str = "
    SELECT FROM consent JOIN unnest($1::text[], $2::uuid[]) AS gone (upstream, query_id) USING (upstream, query_id)
    ORDER BY consent.upstream, consent.query_id
    FOR UPDATE OF consent";

const FORGET: [&str; 4] = [
    "DELETE FROM query USING unnest($1::text[], $2::uuid[]) AS gone (upstream, query_id)
     WHERE query.upstream = gone.upstream AND query.query_id = gone.query_id",
    "DELETE FROM nonce USING unnest($1::text[], $2::uuid[]) AS gone (upstream, query_id)
     WHERE nonce.upstream = gone.upstream AND nonce.query_id = gone.query_id",
    "DELETE FROM grant_use USING unnest($1::text[], $2::uuid[]) AS gone (upstream, query_id)
     WHERE grant_use.upstream = gone.upstream AND grant_use.query_id = gone.query_id",
    "DELETE FROM consent USING unnest($1::text[], $2::uuid[]) AS gone (upstream, query_id)
     WHERE consent.upstream = gone.upstream AND consent.query_id = gone.query_id",
];

const FORGET_WITHDRAWALS: &str = "
    DELETE FROM consent USING (
        SELECT upstream, query_id FROM consent AS early
        WHERE withdrawn_at < $1 AND NOT EXISTS (
            SELECT FROM query WHERE query.upstream = early.upstream AND query.query_id = early.query_id
        )
        LIMIT $2
    ) AS gone
    WHERE consent.upstream = gone.upstream AND consent.query_id = gone.query_id";

/// One table of one day.
struct Partition {
    table: &'static str,
    day: Date,
    name: String,
    attached: bool,
    /// A detach was interrupted.
    pending: bool,
}

impl PostgresStore {
    pub(super) async fn move_watermark(&self, day: Date) -> StoreResult<()> {
        // Nearly always it is there: then nobody has to wait for a lock.
        let Day(erased_through) = sqlx::query_scalar(WATERMARK).fetch_one(&self.pool).await?;
        if erased_through >= day {
            return Ok(());
        }
        let mut transaction = begin(&self.pool, BEGIN_ERASING).await?;
        sqlx::query(ERASE_THROUGH).bind(Day(day)).execute(&mut *transaction).await?;
        sqlx::query(CLOSE).bind(Day(day)).bind(self.time.given()).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// All steps that are left, of all days up to the watermark. Returns at once when another instance is at it.
    pub(super) async fn destroy_content(&self) -> StoreResult<()> {
        let Day(erased_through) = sqlx::query_scalar(WATERMARK).fetch_one(&self.pool).await?;
        self.keys.forget_through(erased_through);
        let mut connection = self.pool.acquire().await?;
        let keys_left: bool = sqlx::query_scalar(KEYS_LEFT).fetch_one(&mut *connection).await?;
        let tables_left = !found(&mut connection).await?.is_empty();
        drop(connection);
        if !keys_left && !tables_left {
            return Ok(());
        }
        let Some(mut alone) = alone(&self.pool).await? else { return Ok(()) };
        let done = async {
            // A table that is still read keeps back its own day alone.
            let detached = detach(&mut alone).await;
            self.drop_detached(&mut alone).await?;
            self.destroy_keys(&mut alone).await?;
            detached
        };
        let done = done.await;
        // Whether it was said or not: with the connection goes its lock.
        let _closed = alone.close().await;
        done
    }

    /// The first step alone, as an instance leaves it that is killed after it. For tests.
    ///
    /// # Errors
    /// When the database does not answer, or others are in the way for too long.
    pub async fn detach_days(&self) -> StoreResult<()> {
        detach(&mut *self.pool.acquire().await?).await
    }

    /// The second step alone, as an instance leaves it that is killed after it. For tests.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn drop_days(&self) -> StoreResult<()> {
        self.drop_detached(&mut *self.pool.acquire().await?).await
    }

    async fn drop_detached(&self, connection: &mut PgConnection) -> StoreResult<()> {
        for partition in found(connection).await?.iter().filter(|partition| !partition.attached) {
            let statement = format!("DROP TABLE IF EXISTS {}", partition.name);
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await?;
        }
        let left: BTreeSet<Date> =
            found(connection).await?.into_iter().map(|partition| partition.day).collect();
        let closed: Vec<Day> = sqlx::query_scalar(CLOSED).fetch_all(&mut *connection).await?;
        for Day(day) in closed.into_iter().filter(|Day(day)| !left.contains(day)) {
            sqlx::query(DROPPED).bind(Day(day)).bind(self.time.given()).execute(&mut *connection).await?;
        }
        Ok(())
    }

    async fn destroy_keys(&self, connection: &mut PgConnection) -> StoreResult<()> {
        let keyless: Vec<Day> = sqlx::query_scalar(KEYLESS).fetch_all(&mut *connection).await?;
        for Day(day) in keyless {
            let keys = self.keys.clone();
            let destroyed = tokio::task::spawn_blocking(move || keys.destroy(day)).await;
            destroyed.map_err(|error| StoreError(error.to_string()))??;
            let noted = sqlx::query(KEY_DESTROYED).bind(Day(day)).bind(self.time.given());
            noted.execute(&mut *connection).await?;
            tracing::info!(%day, "the day is erased: its tables are dropped, its key is destroyed");
        }
        Ok(())
    }

    pub(super) async fn ended_by_their_day(&self, max: usize) -> StoreResult<BTreeSet<Reference>> {
        let rows = sqlx::query(TO_ERASE).bind(count(max)).fetch_all(&self.pool).await?;
        rows.iter().map(reference).collect()
    }

    pub(super) async fn days_without_receipt(&self) -> StoreResult<Vec<ErasedDay>> {
        let rows: Vec<(Day, Vec<u8>, Stamp, Stamp, Stamp, i64)> =
            sqlx::query_as(ERASED_DAYS).fetch_all(&self.pool).await?;
        let erased = |(Day(day), key_id, closed_at, dropped_at, key_destroyed_at, queries): (
            Day,
            Vec<u8>,
            Stamp,
            Stamp,
            Stamp,
            i64,
        )| {
            Ok(ErasedDay {
                day,
                tables: TABLES.to_vec(),
                key_id: Digest::from_bytes(&key_id).map_err(|_| Unreadable("key_id"))?,
                queries: queries.cast_unsigned(),
                closed_at: closed_at.0,
                dropped_at: dropped_at.0,
                key_destroyed_at: key_destroyed_at.0,
            })
        };
        rows.into_iter().map(erased).collect()
    }

    pub(super) async fn write_receipt(&self, day: Date, receipt: &wire::Signed) -> StoreResult<()> {
        let mut transaction = begin(&self.pool, "BEGIN").await?;
        let kept = sqlx::query(KEEP_RECEIPT).bind(Day(day)).bind(receipt.encode_to_vec());
        if kept.execute(&mut *transaction).await?.rows_affected() == 1 {
            let leaf = Leaf::Receipt(day, receipt.clone());
            flush::leaves(&mut transaction, &[(leaf.id(), leaf)].into()).await?;
        }
        Ok(transaction.commit().await?)
    }

    pub(super) async fn read_receipt(&self, day: Date) -> StoreResult<Option<wire::Signed>> {
        let row: Option<Vec<u8>> =
            sqlx::query_scalar(RECEIPT).bind(Day(day)).fetch_optional(&self.pool).await?;
        let receipt = row.map(|row| wire::Signed::decode(row.as_slice()));
        Ok(receipt.transpose().map_err(|_| Unreadable("receipt"))?)
    }

    pub(super) async fn forget_over(&self, through: Date, max: usize) -> StoreResult<usize> {
        let rows = sqlx::query(OVER).bind(Day(through)).bind(count(max)).fetch_all(&self.pool).await?;
        let gone = rows.iter().map(reference).collect::<StoreResult<Vec<Reference>>>()?;
        if gone.is_empty() {
            return Ok(0);
        }
        let keys: Keys<'_> = gone.iter().collect();
        let mut transaction = begin(&self.pool, "BEGIN").await?;
        for statement in std::iter::once(TAKE_CONSENTS).chain(FORGET) {
            sqlx::query(statement)
                .bind(&keys.upstreams)
                .bind(&keys.queries)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(gone.len())
    }

    pub(super) async fn forget_early_withdrawals(
        &self,
        before: UnixMillis,
        max: usize,
    ) -> StoreResult<usize> {
        let gone = sqlx::query(FORGET_WITHDRAWALS).bind(Stamp(before)).bind(count(max));
        let gone = gone.execute(&self.pool).await?.rows_affected();
        Ok(usize::try_from(gone).unwrap_or(usize::MAX))
    }
}

/// A connection that alone in this database may erase; `None` when another one may. It is none of the pool's: the lock
/// ends with it, however this ends.
async fn alone(pool: &PgPool) -> StoreResult<Option<PgConnection>> {
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
    let had: bool = sqlx::query_scalar(ALONE).bind(ERASER).fetch_one(&mut connection).await?;
    Ok(had.then_some(connection))
}

/// Takes every table of an erased day away from its family. One that others are still reading does not keep back the
/// others; it is told, and tried again.
async fn detach(connection: &mut PgConnection) -> StoreResult<()> {
    let mut attached: Vec<_> = found(connection).await?.into_iter().filter(|found| found.attached).collect();
    // A family detaches one table at a time.
    attached.sort_by_key(|partition| !partition.pending);
    let mut result = Ok(());
    for Partition { table, name, pending, .. } in attached {
        let how = if pending { "FINALIZE" } else { "CONCURRENTLY" };
        // Names cannot be parameters. They are made of letters and digits.
        let statement = format!("ALTER TABLE {table} DETACH PARTITION {name} {how}");
        let detached = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await;
        result = result.and(detached.map(|_| ()));
    }
    Ok(result?)
}

/// The tables that are left of days up to the watermark.
async fn found(connection: &mut PgConnection) -> StoreResult<Vec<Partition>> {
    let Day(erased_through) = sqlx::query_scalar(WATERMARK).fetch_one(&mut *connection).await?;
    let rows: Vec<(String, bool, bool)> = sqlx::query_as(FOUND).fetch_all(connection).await?;
    let of = |(name, attached, pending): (String, bool, bool)| {
        let (family, digits) = name.rsplit_once('_')?;
        let table = TABLES.into_iter().find(|table| *table == family)?;
        let day = Date::strptime("%Y%m%d", digits).ok()?;
        Some(Partition { table, day, name: partition(table, day), attached, pending })
    };
    Ok(rows.into_iter().filter_map(of).filter(|found| found.day <= erased_through).collect())
}
