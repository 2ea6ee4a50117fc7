//! Rows in PostgreSQL, for any number of instances.
//!
//! A change locks its row, decides by `domain::sms` with the server's clock, and writes. Leases are by that clock too,
//! so instances need not agree on the time.
//!
//! What must never happen here: a transaction that is cancelled half-way. Callers finish what they began, and what the
//! server does not answer in time it ends itself (`statement_timeout`).

use std::time::Duration;

use plumbing::postgres::PostgresError;
use schemas::codes::Code;
use schemas::ids::Reference;
use schemas::time::UnixMillis;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::row::{Row, reached};
use super::{Claim, Ended, Progress, Store, StoreError};
use crate::domain::ledger::code;
use crate::domain::sms::{Claimant, Event, Outcome, Sms, State, Terms, Told};

/// The store.
#[derive(Clone, Debug)]
pub struct Postgres {
    pool: PgPool,
}

const INSERT: &str = "
    INSERT INTO sms (upstream, query, attempt, state, announced, created_at, changed_at)
    VALUES ($1, $2, 0, 'pending', false, clock_timestamp(), clock_timestamp())
    ON CONFLICT DO NOTHING";

// The clock may be read before a lock that has to be waited for: a lease then seems to run a little longer, never shorter.
const LOCK: &str = "
    SELECT attempt, state, claimant, (extract(epoch FROM claimed_until) * 1000)::bigint AS claimed_until_ms,
        gateway_id, code, announced, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
    FROM sms
    WHERE upstream = $1 AND query = $2
    FOR UPDATE";

const UPDATE: &str = "
    UPDATE sms
    SET attempt = $3, state = $4, claimant = $5, claimed_until = to_timestamp($6::bigint / 1000.0), gateway_id = $7,
        code = $8, announced = $9, changed_at = clock_timestamp()
    WHERE upstream = $1 AND query = $2";

const FORGET: &str = "
    DELETE FROM sms
    WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM sms
        WHERE created_at <= clock_timestamp() - $1::bigint * interval '1 millisecond'
        ORDER BY created_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ))";

const PROGRESS: &str = "SELECT partition, next_offset FROM sms_progress WHERE topic = $1";

const LOCK_PROGRESS: &str =
    "SELECT partition, next_offset FROM sms_progress WHERE topic = $1 ORDER BY partition FOR UPDATE";

const ADVANCE: &str = "
    INSERT INTO sms_progress (topic, partition, next_offset)
    SELECT $1, moved.partition, moved.next_offset
    FROM unnest($2::integer[], $3::bigint[]) AS moved (partition, next_offset)
    ORDER BY moved.partition
    ON CONFLICT (topic, partition) DO UPDATE
    SET next_offset = greatest(sms_progress.next_offset, excluded.next_offset)";

/// A row that this version cannot have written.
#[derive(Debug, thiserror::Error)]
#[error("the row of {reference} is in the state `{state}` without what belongs to it")]
struct Unreadable {
    reference: Reference,
    state: String,
}

impl Postgres {
    /// The store behind `pool`, with its tables up to date.
    ///
    /// # Errors
    /// When they cannot be brought up to date.
    pub async fn open(pool: PgPool) -> Result<Self, PostgresError> {
        plumbing::postgres::migrate(&pool, "notifier", sqlx::migrate!()).await?;
        Ok(Self { pool })
    }

    async fn change<T>(
        &self,
        reference: &Reference,
        next: impl FnOnce(&Row, UnixMillis) -> Row,
        answer: impl FnOnce(&Row) -> T,
    ) -> Result<T, StoreError> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let (row, now) = lock(&mut transaction, reference).await?;
        let changed = next(&row, now);
        if changed != row {
            write(&mut transaction, reference, &changed).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(answer(&changed))
    }

    async fn happened<T>(
        &self,
        reference: &Reference,
        event: Event,
        answer: impl FnOnce(&Row) -> T,
    ) -> Result<T, StoreError> {
        self.change(reference, |row, now| row.after(event, now), answer).await
    }
}

fn failed(error: sqlx::Error) -> StoreError {
    StoreError(error.into())
}

async fn lock(connection: &mut PgConnection, reference: &Reference) -> Result<(Row, UnixMillis), StoreError> {
    let (upstream, query) = (reference.upstream.as_str(), Uuid::from_bytes(*reference.query.as_bytes()));
    sqlx::query(INSERT).bind(upstream).bind(query).execute(&mut *connection).await.map_err(failed)?;
    let found =
        sqlx::query(LOCK).bind(upstream).bind(query).fetch_one(&mut *connection).await.map_err(failed)?;
    let now = found.try_get("now_ms").map(UnixMillis).map_err(failed)?;
    let (state, row) = read(&found).map_err(failed)?;
    match row {
        Some(row) => Ok((row, now)),
        None => Err(StoreError(Unreadable { reference: reference.clone(), state }.into())),
    }
}

/// The name of the state, and the row if it is whole.
fn read(found: &PgRow) -> Result<(String, Option<Row>), sqlx::Error> {
    let name: String = found.try_get("state")?;
    let attempt: i32 = found.try_get("attempt")?;
    let claimant: Option<Uuid> = found.try_get("claimant")?;
    let claimed_until: Option<i64> = found.try_get("claimed_until_ms")?;
    let why: Option<String> = found.try_get("code")?;
    let gateway_id = found.try_get("gateway_id")?;
    let announced = found.try_get("announced")?;
    let state = match name.as_str() {
        "pending" => Some(State::Pending),
        "claimed" => claimant.zip(claimed_until).map(|(claimant, until)| State::Claimed {
            claimant: Claimant(claimant),
            until: UnixMillis(until),
        }),
        "sent" => Some(State::Ended(Outcome::Sent { gateway_id })),
        "failed" => why.map(|why| State::Ended(Outcome::Failed { code: code(&why, Code::GATEWAY_REFUSED) })),
        "unknown" => {
            why.map(|why| State::Ended(Outcome::Unknown { code: code(&why, Code::GATEWAY_OUTCOME_UNKNOWN) }))
        }
        _ => None,
    };
    let row = state
        .zip(u32::try_from(attempt).ok())
        .map(|(state, attempt)| Row { sms: Sms { attempt, state }, announced });
    Ok((name, row))
}

async fn write(connection: &mut PgConnection, reference: &Reference, row: &Row) -> Result<(), sqlx::Error> {
    let Sms { attempt, state } = &row.sms;
    let (mut claimant, mut until, mut gateway, mut why) = (None, None, None, None);
    let name = match state {
        State::Pending => "pending",
        State::Claimed { claimant: holder, until: lease } => {
            (claimant, until) = (Some(holder.0), Some(lease.0));
            "claimed"
        }
        State::Ended(Outcome::Sent { gateway_id }) => {
            gateway = gateway_id.as_deref();
            "sent"
        }
        State::Ended(Outcome::Failed { code }) => {
            why = Some(code.as_str());
            "failed"
        }
        State::Ended(Outcome::Unknown { code }) => {
            why = Some(code.as_str());
            "unknown"
        }
    };
    sqlx::query(UPDATE)
        .bind(reference.upstream.as_str())
        .bind(Uuid::from_bytes(*reference.query.as_bytes()))
        .bind(i32::try_from(*attempt).unwrap_or(i32::MAX))
        .bind(name)
        .bind(claimant)
        .bind(until)
        .bind(gateway)
        .bind(why)
        .bind(row.announced)
        .execute(connection)
        .await
        .map(|_| ())
}

impl Store for Postgres {
    async fn claim(&self, reference: &Reference, terms: Terms) -> Result<Claim, StoreError> {
        self.happened(reference, Event::Claim(terms), |row| row.claim_of(terms.claimant)).await
    }

    async fn release(&self, reference: &Reference, attempt: u32) -> Result<(), StoreError> {
        self.happened(reference, Event::Release { attempt }, |_| ()).await
    }

    async fn record(
        &self,
        reference: &Reference,
        attempt: u32,
        outcome: Outcome,
    ) -> Result<Option<Ended>, StoreError> {
        self.happened(reference, Event::End { attempt, outcome }, Row::ended).await
    }

    async fn announced(&self, reference: &Reference, outcome: &Outcome) -> Result<(), StoreError> {
        self.change(reference, |row, _| row.clone().announced(outcome), |_| ()).await
    }

    async fn told(&self, reference: &Reference, told: Told) -> Result<Option<Ended>, StoreError> {
        self.happened(reference, Event::Told(told), Row::ended).await
    }

    async fn progress(&self, topic: &str) -> Result<Progress, StoreError> {
        let rows: Vec<(i32, i64)> =
            sqlx::query_as(PROGRESS).bind(topic).fetch_all(&self.pool).await.map_err(failed)?;
        Ok(rows.into_iter().collect())
    }

    async fn advance(&self, topic: &str, known: &Progress, next: &Progress) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let rows: Vec<(i32, i64)> =
            sqlx::query_as(LOCK_PROGRESS).bind(topic).fetch_all(&mut *transaction).await.map_err(failed)?;
        if !reached(&rows.into_iter().collect(), known) {
            return Ok(false);
        }
        let (partitions, offsets): (Vec<i32>, Vec<i64>) = next.iter().unzip();
        sqlx::query(ADVANCE)
            .bind(topic)
            .bind(partitions)
            .bind(offsets)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }
    async fn forget(&self, age: Duration, max: u32) -> Result<u64, StoreError> {
        sqlx::query(FORGET)
            .bind(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
            .bind(i64::from(max))
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected())
            .map_err(failed)
    }
}
