//! The partitions of content, one per table and day of erasure, created ahead together with the day's key.
//!
//! A day is made as a table of its own and attached. `CREATE TABLE … PARTITION OF` would lock out every reader and writer
//! of the whole table; attaching waits for none of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan as _;
use jiff::civil::Date;
use schemas::ids::Digest;
use schemas::time::{Calendar, UnixMillis};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio_util::sync::CancellationToken;

use super::day_keys::{DayKeyError, DayKeys};
use super::error::Unreadable;
use super::types::Day;
use super::{PostgresStore, WATERMARK, begin};
use crate::store::{Store as _, StoreError, StoreResult};

/// Tables with days.
pub(super) const TABLES: [&str; 3] = ["segment", "coverage", "contact"];

/// Days that are there before anybody needs them.
const AHEAD: i32 = 14;

/// Parts of a day after which days are made, and after a failure.
const PER_DAY: u32 = 24;
const PER_DAY_FAILING: u32 = 24 * 60;

/// One instance works, the others wait for it and find everything done; nobody erases meanwhile, and whoever writes goes
/// on.
const BEGIN: &str = "
    BEGIN; SET LOCAL lock_timeout = '2s'; LOCK TABLE watermark IN SHARE UPDATE EXCLUSIVE MODE";

const THERE: &str = "
    SELECT day.relname::text FROM pg_inherits JOIN pg_class AS day ON day.oid = inhrelid
    WHERE inhparent = ANY(ARRAY['segment', 'coverage', 'contact']::regclass[])";

const KEYS: &str = "SELECT erase_on, key_id FROM content_day WHERE erase_on = ANY($1)";

const NAME_KEY: &str = "INSERT INTO content_day (erase_on, key_id) VALUES ($1, $2)";

/// Why days are not there.
#[derive(Debug, thiserror::Error)]
pub enum DaysError {
    /// The database does not answer, or a lock is not had within two seconds.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key cannot be had.
    #[error(transparent)]
    Key(#[from] DayKeyError),
}

impl From<sqlx::Error> for DaysError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// From the first day that is not erased by now to the last that is made ahead.
fn wanted(now: UnixMillis, calendar: &Calendar) -> impl Iterator<Item = Date> {
    let first = calendar.day(now).saturating_add(1.day());
    let last = calendar.erase_on(now).saturating_add(AHEAD.days());
    first.series(1.day()).take_while(move |day| *day <= last)
}

impl PostgresStore {
    /// Creates the days that are missing and their keys, and returns how many tables were made. Erased days stay away. Of
    /// the days that were there, the keys are looked at.
    ///
    /// # Errors
    /// [`DaysError`]. The key of a day that was made before is not made again.
    pub async fn make_days(&self, calendar: &Calendar) -> Result<usize, DaysError> {
        let now = self.now().await?;
        let wanted: Vec<Date> = wanted(now, calendar).collect();
        let mut connection = self.pool.acquire().await?;
        // Nearly always nothing is missing: then nobody has to wait for a lock.
        let missing = missing(&mut connection, &wanted, &self.keys).await?;
        drop(connection);
        if missing.is_empty() { Ok(0) } else { self.make(&wanted).await }
    }

    async fn make(&self, wanted: &[Date]) -> Result<usize, DaysError> {
        let mut transaction = begin(&self.pool, BEGIN).await?;
        let Missing { keys, partitions } = missing(&mut transaction, wanted, &self.keys).await?;
        // Should the transaction fail, the files stay, and are taken by whoever makes these days.
        let files = self.keys.clone();
        let made = tokio::task::spawn_blocking(move || {
            let made = keys.into_iter().map(|day| Ok((day, files.create(day)?)));
            made.collect::<Result<Vec<_>, DayKeyError>>()
        });
        for (day, id) in made.await.map_err(|error| StoreError(error.to_string()))?? {
            let named = sqlx::query(NAME_KEY).bind(Day(day)).bind(id.0.as_slice());
            named.execute(&mut *transaction).await?;
        }
        for Partition { table, day, name } in &partitions {
            let next = day.tomorrow().map_err(|error| StoreError(error.to_string()))?;
            // Names and bounds cannot be parameters. They are made here, of letters and digits.
            let make = format!(
                "CREATE TABLE {name} (LIKE {table} INCLUDING ALL);
                 ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{day}') TO ('{next}')"
            );
            sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(partitions.len())
    }

    /// Creates days until `shutdown`. That it fails for a while does not matter: days are there long before they are
    /// needed.
    pub async fn keep_days(self, calendar: Calendar, shutdown: CancellationToken) {
        let every = calendar.day_length() / PER_DAY;
        let mut wait = every;
        while shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
            wait = match self.make_days(&calendar).await {
                Ok(made) => {
                    tracing::debug!(made, "days of content are there");
                    every
                }
                Err(error) => {
                    tracing::warn!(%error, "days of content not made");
                    calendar.day_length() / PER_DAY_FAILING
                }
            };
        }
    }
}

/// What is not there yet.
struct Missing {
    /// Days without a key.
    keys: Vec<Date>,
    partitions: Vec<Partition>,
}

impl Missing {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.partitions.is_empty()
    }
}

/// The table of one day.
pub(super) fn partition(table: &str, day: Date) -> String {
    format!("{table}_{}", day.strftime("%Y%m%d"))
}

/// One table of one day.
struct Partition {
    table: &'static str,
    day: Date,
    name: String,
}

/// Fails when a key that the database names is not there.
async fn missing(
    connection: &mut PgConnection,
    wanted: &[Date],
    files: &DayKeys,
) -> Result<Missing, DaysError> {
    let Day(erased_through) = sqlx::query_scalar(WATERMARK).fetch_one(&mut *connection).await?;
    let wanted: Vec<Date> = wanted.iter().copied().filter(|day| *day > erased_through).collect();
    let named = named(connection, &wanted).await?;
    for (day, id) in &named {
        files.expect(*day, *id)?;
    }
    let there: Vec<String> = sqlx::query_scalar(THERE).fetch_all(connection).await?;
    let there: BTreeSet<String> = there.into_iter().collect();
    let all = TABLES.into_iter().flat_map(|table| {
        wanted.iter().map(move |day| Partition { table, day: *day, name: partition(table, *day) })
    });
    Ok(Missing {
        partitions: all.filter(|partition| !there.contains(&partition.name)).collect(),
        keys: wanted.iter().copied().filter(|day| !named.contains_key(day)).collect(),
    })
}

async fn named(connection: &mut PgConnection, days: &[Date]) -> StoreResult<BTreeMap<Date, Digest>> {
    let days: Vec<Day> = days.iter().copied().map(Day).collect();
    let rows: Vec<(Day, Vec<u8>)> = sqlx::query_as(KEYS).bind(days).fetch_all(connection).await?;
    let named = rows
        .into_iter()
        .map(|(Day(day), id)| Ok((day, Digest::from_bytes(&id).map_err(|_| Unreadable("key_id"))?)));
    named.collect()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn days_reach_from_tomorrow_to_two_weeks_behind_the_newest_that_is_needed() {
        let shanghai = Calendar::Civil(TimeZone::fixed(jiff::tz::offset(8)));
        let now = UnixMillis::parse("2026-11-22T16:00:00.000Z").expect("a time");
        let days: Vec<String> = wanted(now, &shanghai).map(|day| day.to_string()).collect();
        assert_eq!(days.first().map(String::as_str), Some("2026-11-24"));
        assert_eq!(days.last().map(String::as_str), Some("2026-12-15"));
        assert_eq!(days.len(), 8 + 14);
    }
}
