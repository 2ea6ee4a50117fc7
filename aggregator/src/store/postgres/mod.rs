//! The store in PostgreSQL: the truth, for any number of instances.
//!
//! | file | role |
//! |---|---|
//! | `tx.rs` | one transaction: what is asked at once, what is written at the commit |
//! | `read.rs` | locks and reads queries |
//! | `flush.rs` | writes in bulk |
//! | `outbox.rs` | leases messages |
//! | `refusals.rs` | counts refused grants |
//! | `watching.rs` | paused banks, replies that changed nothing, the figures of the last reports |
//! | `askings.rs` | counts how often people ask |
//! | `days.rs`, `day_keys.rs` | the partitions of content, and the keys it is wrapped under |
//! | `kept.rs` | digests of what is kept |
//! | `erase.rs` | what becomes of a day at its end |
//! | `log.rs` | the audit log |
//! | `state.rs`, `keys.rs`, `types.rs` | how values stand in columns |
//!
//! What must never happen here: a transaction that reads a query in the statement that waits for its lock; a `begin` that
//! is cancelled half-way; content that is written into an erased day, or lost because its day was not there yet; time
//! that is not the server's.

mod askings;
mod day_keys;
mod days;
mod erase;
mod error;
mod flush;
mod kept;
mod keys;
mod log;
mod outbox;
mod read;
mod refusals;
mod state;
mod tx;
mod types;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::civil::Date;
use plumbing::postgres::PostgresError;
use prost::Message as _;
use schemas::audit::Leaf;
use schemas::ids::{BankId, Reference};
use schemas::time::UnixMillis;
use schemas::wire;
use sqlx::postgres::PgPool;
use sqlx::{Postgres, Row as _, Transaction};

use self::day_keys::{CONTACT, CONTACT_STATEMENT, COVERAGE, Place, SEGMENT};
pub use self::day_keys::{DayKeyError, DayKeys};
pub use self::days::DaysError;
use self::error::Unreadable;
use self::keys::{reference, uuid};
pub use self::tx::PostgresTx;
use self::types::{Day, Stamp};
use super::{
    Clock, ErasedDay, Kept, LeasedRow, OpenQueries, Pause, Progress, Remarks, ReportContent, SealedContact,
    Store, StoreError, StoreResult,
};
use crate::domain::figures::Figures;
use crate::domain::query::Query;
use crate::domain::refusals::Hour;

/// Whoever moves the watermark waits for all who hold its table this way, and they for whoever moves it.
const BEGIN: &str = "BEGIN; LOCK TABLE watermark IN ROW SHARE MODE";

const WATERMARK: &str = "SELECT erased_through FROM watermark";

const NOW: &str = "SELECT clock_timestamp()";

/// Due pairs looked at, for each query that may be returned: enough that a round is full when queries have a few dozen
/// banks, and few enough that a backlog is not read whole.
const PAIRS_PER_QUERY: i64 = 32;

const DUE_TO_ASK: &str = "
    SELECT pair.upstream, pair.query_id, pair.bank
    FROM (
        SELECT upstream, query_id
        FROM (
            SELECT upstream, query_id, ask_again_at FROM pair
            WHERE ask_again_at <= $1 AND bank <> ALL($4) ORDER BY ask_again_at LIMIT $2 * $3
        ) AS oldest
        GROUP BY upstream, query_id ORDER BY min(ask_again_at) LIMIT $2
    ) AS due
    JOIN pair USING (upstream, query_id)
    WHERE pair.ask_again_at <= $1 AND pair.bank <> ALL($4)";

// Each part is answered from its partial index, however many queries have ended.
const OPEN_QUERIES: &str = "
    SELECT
        (SELECT count(*) FROM query WHERE state = 'COLLECTING'),
        (SELECT count(*) FROM query WHERE state = 'HELD'),
        (SELECT min(accepted_at) FROM query WHERE state = 'COLLECTING')";

const IS_OF: &str =
    "SELECT EXISTS (SELECT FROM query WHERE upstream = $1 AND query_id = $2 AND subject = $3)";

const PROGRESS: &str =
    "SELECT topic, partition, next_offset, append_time FROM progress WHERE topic = ANY($1)";

// One statement, so that coverage and segments are of one moment.
const REPORT: &str = "
    WITH wanted AS (SELECT erase_on, upstream, query_id FROM query WHERE upstream = $1 AND query_id = $2)
    SELECT erase_on, NULL AS bank, signed AS content FROM coverage JOIN wanted USING (erase_on, upstream, query_id)
    UNION ALL
    SELECT erase_on, bank, sealed FROM segment JOIN wanted USING (erase_on, upstream, query_id)";

const CONTACT_OF: &str = "
    SELECT erase_on, statement, sealed FROM query JOIN contact USING (erase_on, upstream, query_id)
    WHERE query.upstream = $1 AND query.query_id = $2";

const LEAVES: &str = "SELECT body FROM audit_leaf WHERE upstream = $1 AND query_id = $2 ORDER BY leaf_id";

/// The store in PostgreSQL. Clones share its pool.
#[derive(Clone)]
pub struct PostgresStore {
    pool: PgPool,
    time: Time,
    keys: DayKeys,
}

/// Whose clock counts.
#[derive(Clone)]
enum Time {
    /// The server's, asked in the statement that needs it.
    Server,
    /// A test's.
    Given(Arc<dyn Clock>),
}

impl Time {
    fn given(&self) -> Option<Stamp> {
        match self {
            Self::Server => None,
            Self::Given(clock) => Some(Stamp(clock.now())),
        }
    }
}

impl PostgresStore {
    /// Brings the tables up to date. Several instances may do this at the same time.
    ///
    /// # Errors
    /// When they cannot be brought up to date.
    pub async fn migrate(pool: &PgPool) -> Result<(), PostgresError> {
        plumbing::postgres::migrate(pool, "aggregator", sqlx::migrate!()).await
    }

    /// The store behind `pool`, by the server's clock. Its tables must be up to date, and `keys` those of this database and
    /// no other.
    pub fn new(pool: PgPool, keys: DayKeys) -> Self {
        Self { pool, time: Time::Server, keys }
    }

    /// The same by another clock, for tests.
    pub fn on_clock(pool: PgPool, keys: DayKeys, clock: Arc<dyn Clock>) -> Self {
        Self { pool, time: Time::Given(clock), keys }
    }
}

impl Store for PostgresStore {
    type Tx = PostgresTx;

    const LASTS: bool = true;

    async fn begin(&self) -> StoreResult<PostgresTx> {
        let transaction = begin(&self.pool, BEGIN).await?;
        Ok(PostgresTx::new(transaction, self.time.clone(), self.keys.clone()))
    }

    async fn now(&self) -> StoreResult<UnixMillis> {
        match self.time.given() {
            Some(Stamp(now)) => Ok(now),
            None => {
                let Stamp(now) = sqlx::query_scalar(NOW).fetch_one(&self.pool).await?;
                Ok(now)
            }
        }
    }

    async fn query(&self, reference: &Reference) -> StoreResult<Option<Query>> {
        read::one(&self.pool, reference).await
    }

    async fn is_of(&self, reference: &Reference, subject: &str) -> StoreResult<bool> {
        let is_there = sqlx::query_scalar(IS_OF)
            .bind(reference.upstream.as_str())
            .bind(uuid(reference))
            .bind(subject)
            .fetch_one(&self.pool);
        Ok(is_there.await?)
    }

    async fn past_deadline(&self, deadline: UnixMillis, max: usize) -> StoreResult<Vec<Query>> {
        read::past_deadline(&self.pool, Stamp(deadline), count(max)).await
    }

    async fn past_hold(&self, now: UnixMillis, max: usize) -> StoreResult<Vec<Query>> {
        read::past_hold(&self.pool, now, count(max)).await
    }

    async fn open_queries(&self) -> StoreResult<OpenQueries> {
        let counted = sqlx::query_as(OPEN_QUERIES).fetch_one(&self.pool);
        let (collecting, held, oldest): (i64, i64, Option<Stamp>) = counted.await?;
        Ok(OpenQueries {
            collecting: collecting.cast_unsigned(),
            held: held.cast_unsigned(),
            oldest: oldest.map(|Stamp(at)| at),
        })
    }

    async fn due_to_ask(
        &self,
        now: UnixMillis,
        paused: &BTreeSet<BankId>,
        max: usize,
    ) -> StoreResult<BTreeMap<Reference, BTreeSet<BankId>>> {
        let rows = sqlx::query(DUE_TO_ASK)
            .bind(Stamp(now))
            .bind(count(max))
            .bind(PAIRS_PER_QUERY)
            .bind(paused.iter().map(BankId::as_str).collect::<Vec<_>>())
            .fetch_all(&self.pool)
            .await?;
        let mut due: BTreeMap<Reference, BTreeSet<BankId>> = BTreeMap::new();
        for row in &rows {
            let bank: &str = row.try_get("bank")?;
            due.entry(reference(row)?).or_default().insert(bank.parse().map_err(|_| Unreadable("bank"))?);
        }
        Ok(due)
    }

    async fn progress(&self, topics: &BTreeSet<String>) -> StoreResult<BTreeMap<(String, i32), Progress>> {
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let rows: Vec<(String, i32, i64, Stamp)> =
            sqlx::query_as(PROGRESS).bind(topics).fetch_all(&self.pool).await?;
        let known = rows.into_iter().map(|(topic, partition, next_offset, Stamp(append_time))| {
            ((topic, partition), Progress { next_offset, append_time })
        });
        Ok(known.collect())
    }

    async fn kept(&self, references: &BTreeSet<Reference>) -> StoreResult<BTreeMap<Reference, Kept>> {
        self.digested(references).await
    }

    async fn report(&self, reference: &Reference) -> StoreResult<Option<ReportContent>> {
        let rows: Vec<(Day, Option<String>, Vec<u8>)> = sqlx::query_as(REPORT)
            .bind(reference.upstream.as_str())
            .bind(uuid(reference))
            .fetch_all(&self.pool)
            .await?;
        let (mut coverage, mut segments) = (None, BTreeMap::new());
        for (Day(day), bank, wrapped) in rows {
            let key = self.keys.get(day)?;
            match bank {
                Some(bank) => {
                    let place = Place { column: SEGMENT, day, reference, bank: &bank };
                    let content = key.unwrap(&place, &wrapped)?;
                    segments.insert(bank.parse().map_err(|_| Unreadable("bank"))?, Bytes::from(content));
                }
                None => {
                    let place = Place { column: COVERAGE, day, reference, bank: "" };
                    let signed = wire::Signed::decode(key.unwrap(&place, &wrapped)?.as_slice());
                    coverage = Some(signed.map_err(|_| Unreadable("signed"))?);
                }
            }
        }
        Ok(coverage.map(|coverage| ReportContent { coverage, segments }))
    }

    async fn contact(&self, reference: &Reference) -> StoreResult<Option<SealedContact>> {
        let row: Option<(Day, Vec<u8>, Vec<u8>)> = sqlx::query_as(CONTACT_OF)
            .bind(reference.upstream.as_str())
            .bind(uuid(reference))
            .fetch_optional(&self.pool)
            .await?;
        let Some((Day(day), statement, sealed)) = row else { return Ok(None) };
        let key = self.keys.get(day)?;
        let place = |column| Place { column, day, reference, bank: "" };
        let statement = key.unwrap(&place(CONTACT_STATEMENT), &statement)?;
        let statement = wire::Signed::decode(statement.as_slice()).map_err(|_| Unreadable("statement"))?;
        Ok(Some(SealedContact { statement, sealed: key.unwrap(&place(CONTACT), &sealed)?.into() }))
    }

    async fn forget_refusals(&self, hour: Hour) -> StoreResult<()> {
        refusals::forget(&self.pool, hour).await
    }

    async fn forget_askings(&self, before: UnixMillis) -> StoreResult<()> {
        askings::forget(&self.pool, before).await
    }

    async fn lease_outbox(&self, max: usize, lease: Duration) -> StoreResult<Vec<LeasedRow>> {
        outbox::lease(&self.pool, max, lease, self.time.given()).await
    }

    async fn outbox_renewed(&self, ids: &[u64], lease: Duration) -> StoreResult<()> {
        outbox::renewed(&self.pool, ids, lease, self.time.given()).await
    }

    async fn outbox_published(&self, ids: &[u64]) -> StoreResult<()> {
        outbox::published(&self.pool, ids).await
    }

    async fn outbox_released(&self, ids: &[u64]) -> StoreResult<()> {
        outbox::released(&self.pool, ids).await
    }

    async fn outbox_parked(&self, id: u64, code: &str) -> StoreResult<()> {
        outbox::parked(&self.pool, id, code, self.time.given()).await
    }

    async fn outbox_depth(&self) -> StoreResult<(u64, u64)> {
        outbox::depth(&self.pool).await
    }

    async fn pauses(&self) -> StoreResult<BTreeMap<BankId, Pause>> {
        watching::pauses(&self.pool).await
    }

    async fn pause(&self, bank: &BankId, pause: &Pause) -> StoreResult<bool> {
        watching::pause(&self.pool, bank, pause).await
    }

    async fn resume(&self, bank: &BankId) -> StoreResult<Option<Pause>> {
        watching::resume(&self.pool, bank).await
    }

    async fn figures(&self, since: UnixMillis, max_pairs: usize) -> StoreResult<Figures> {
        watching::figures(&self.pool, since, max_pairs).await
    }

    async fn remarks(&self, since: Hour) -> StoreResult<Remarks> {
        watching::remarks(&self.pool, since).await
    }

    async fn fold_remarks(&self, kept: Hour, over: Hour) -> StoreResult<()> {
        watching::fold_remarks(&self.pool, kept, over).await
    }

    async fn leaves(&self, reference: &Reference) -> StoreResult<Vec<Leaf>> {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar(LEAVES)
            .bind(reference.upstream.as_str())
            .bind(uuid(reference))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|body| Ok(Leaf::decode(body).map_err(|_| Unreadable("body"))?)).collect()
    }

    async fn erase_through(&self, day: Date) -> StoreResult<()> {
        self.move_watermark(day).await
    }

    async fn erase_content(&self) -> StoreResult<()> {
        self.destroy_content().await
    }

    async fn to_erase(&self, max: usize) -> StoreResult<BTreeSet<Reference>> {
        self.ended_by_their_day(max).await
    }

    async fn erased_days(&self) -> StoreResult<Vec<ErasedDay>> {
        self.days_without_receipt().await
    }

    async fn keep_receipt(&self, day: Date, receipt: &wire::Signed) -> StoreResult<()> {
        self.write_receipt(day, receipt).await
    }

    async fn receipt(&self, day: Date) -> StoreResult<Option<wire::Signed>> {
        self.read_receipt(day).await
    }

    async fn forget_queries(&self, through: Date, max: usize) -> StoreResult<usize> {
        self.forget_over(through, max).await
    }

    async fn forget_withdrawals(&self, before: UnixMillis, max: usize) -> StoreResult<usize> {
        self.forget_early_withdrawals(before, max).await
    }
}

/// Begins a transaction in a task that nobody aborts: a begin that is cancelled leaves its transaction open on a pooled
/// connection, and whoever borrows that next writes into it (sqlx#4385). A transaction that nobody waits for any more is
/// rolled back as the task drops it.
async fn begin(pool: &PgPool, statement: &'static str) -> StoreResult<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(statement).await });
    Ok(begun.await.map_err(|error| StoreError(error.to_string()))??)
}

fn count(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}
