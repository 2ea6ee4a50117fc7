//! The partitions of content, one per table and day of erasure, created ahead.
//!
//! A day is made as a table of its own and attached. `CREATE TABLE … PARTITION OF` would lock out every reader and writer
//! of the whole table; attaching waits for none of them.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemas::time::{UnixMillis, erase_on};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio_util::sync::CancellationToken;

use super::types::Day;
use super::{PostgresStore, WATERMARK, begin};
use crate::store::{Store as _, StoreError, StoreResult};

/// Tables with days.
const TABLES: [&str; 3] = ["segment", "coverage", "contact"];

/// Days that are there before anybody needs them.
const AHEAD: i32 = 14;

const EVERY: Duration = Duration::from_secs(3600);
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// One instance works, the others wait for it and find everything done; nobody erases meanwhile, and whoever writes goes
/// on.
const BEGIN: &str = "
    BEGIN; SET LOCAL lock_timeout = '2s'; LOCK TABLE watermark IN SHARE UPDATE EXCLUSIVE MODE";

const THERE: &str = "
    SELECT day.relname::text FROM pg_inherits JOIN pg_class AS day ON day.oid = inhrelid
    WHERE inhparent = ANY(ARRAY['segment', 'coverage', 'contact']::regclass[])";

/// From the first day that may still be written to the last that is made ahead.
fn wanted(now: UnixMillis, zone: &TimeZone) -> impl Iterator<Item = Date> {
    let last = erase_on(now, zone);
    let first = last.saturating_sub(8.days());
    first.series(1.day()).take_while(move |day| *day <= last.saturating_add(AHEAD.days()))
}

impl PostgresStore {
    /// Creates the days that are missing, and returns how many tables were made. Erased days stay away.
    ///
    /// # Errors
    /// When the database does not answer, or a lock is not had within two seconds.
    pub async fn make_days(&self, zone: &TimeZone) -> StoreResult<usize> {
        let now = self.now().await?;
        let wanted: Vec<Date> = wanted(now, zone).collect();
        let mut connection = self.pool.acquire().await?;
        // Nearly always nothing is missing: then nobody has to wait for a lock.
        if missing(&mut connection, &wanted).await?.is_empty() {
            return Ok(0);
        }
        drop(connection);
        let mut transaction = begin(&self.pool, BEGIN).await?;
        let missing = missing(&mut transaction, &wanted).await?;
        for Partition { table, day, name } in &missing {
            let next = day.tomorrow().map_err(|error| StoreError(error.to_string()))?;
            // Names and bounds cannot be parameters. They are made here, of letters and digits.
            let make = format!(
                "CREATE TABLE {name} (LIKE {table} INCLUDING ALL);
                 ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{day}') TO ('{next}')"
            );
            sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(missing.len())
    }

    /// Creates days until `shutdown`. That it fails for a while does not matter: days are there long before they are
    /// needed.
    pub async fn keep_days(self, zone: TimeZone, shutdown: CancellationToken) {
        let mut wait = EVERY;
        while shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
            wait = match self.make_days(&zone).await {
                Ok(made) => {
                    tracing::debug!(made, "days of content are there");
                    EVERY
                }
                Err(error) => {
                    tracing::warn!(%error, "days of content not made");
                    AGAIN_AFTER
                }
            };
        }
    }
}

/// One table of one day.
struct Partition {
    table: &'static str,
    day: Date,
    name: String,
}

async fn missing(connection: &mut PgConnection, wanted: &[Date]) -> StoreResult<Vec<Partition>> {
    let Day(erased_through) = sqlx::query_scalar(WATERMARK).fetch_one(&mut *connection).await?;
    let there: Vec<String> = sqlx::query_scalar(THERE).fetch_all(connection).await?;
    let there: BTreeSet<String> = there.into_iter().collect();
    let mut missing = Vec::new();
    for table in TABLES {
        for day in wanted.iter().copied().filter(|day| *day > erased_through) {
            let name = format!("{table}_{}", day.strftime("%Y%m%d"));
            if !there.contains(&name) {
                missing.push(Partition { table, day, name });
            }
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_reach_from_today_to_two_weeks_behind_the_newest_that_is_needed() {
        let shanghai = TimeZone::fixed(jiff::tz::offset(8));
        let now = UnixMillis::parse("2026-11-22T16:00:00.000Z").expect("a time");
        let days: Vec<String> = wanted(now, &shanghai).map(|day| day.to_string()).collect();
        assert_eq!(days.first().map(String::as_str), Some("2026-11-23"));
        assert_eq!(days.last().map(String::as_str), Some("2026-12-15"));
        assert_eq!(days.len(), 8 + 14 + 1);
    }
}
