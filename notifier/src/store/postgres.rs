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
use schemas::ids::{MessageId, QueryId, Reference};
use schemas::time::UnixMillis;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::row::{Row, reached};
use super::{Due, NoticeAt, Progress, Standing, Store, StoreError};
use crate::domain::ledger::code;
use crate::domain::phone_limit::{PhoneLimit, PhoneMac};
use crate::domain::sms::{self, Claimant, Event, Outcome, Sms, State};

/// The store.
#[derive(Clone, Debug)]
pub struct Postgres {
    pool: PgPool,
}

const INSERT: &str = "
    INSERT INTO sms (upstream, query, out_id, attempt, state, announced, created_at, changed_at)
    VALUES ($1, $2, $3, 0, 'pending', false, clock_timestamp(), clock_timestamp())
    ON CONFLICT DO NOTHING";

// The clock may be read before a lock that has to be waited for: a lease then seems to run a little longer, never shorter.
const LOCK: &str = "
    SELECT upstream, query, attempt, state, claimant, (extract(epoch FROM claimed_until) * 1000)::bigint AS claimed_until_ms,
        gateway_id, code, announced, notice_partition, notice_offset, evidence::text AS evidence, counted,
        (extract(epoch FROM waits_until) * 1000)::bigint AS waits_until_ms,
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
    FROM sms
    WHERE upstream = $1 AND query = $2
    FOR UPDATE";

const UPDATE: &str = "
    UPDATE sms
    SET attempt = $3, state = $4, claimant = $5, claimed_until = to_timestamp($6::bigint / 1000.0), gateway_id = $7,
        code = $8, announced = $9, due_at = to_timestamp($10::bigint / 1000.0), notice_partition = $11,
        notice_offset = $12, evidence = $13::jsonb, counted = $14, waits_until = to_timestamp($15::bigint / 1000.0),
        changed_at = clock_timestamp()
    WHERE upstream = $1 AND query = $2";

// Whoever takes a row up has it for as long as `due_at` says; one that is locked is being changed just now.
const DUE: &str = "
    UPDATE sms
    SET due_at = clock_timestamp() + $2::bigint * interval '1 millisecond'
    FROM (
        SELECT upstream, query FROM sms
        WHERE due_at <= clock_timestamp()
        ORDER BY due_at
        LIMIT $1
        FOR UPDATE SKIP LOCKED
    ) AS ripe
    WHERE sms.upstream = ripe.upstream AND sms.query = ripe.query
    RETURNING sms.upstream, sms.query, attempt, state, claimant,
        (extract(epoch FROM claimed_until) * 1000)::bigint AS claimed_until_ms, gateway_id, code, announced,
        notice_partition, notice_offset, evidence::text AS evidence, counted,
        (extract(epoch FROM waits_until) * 1000)::bigint AS waits_until_ms";

const FIND: &str = "SELECT upstream, query FROM sms WHERE out_id = $1";

// Two that count for one phone wait for each other at its row.
const ADMIT: &str = "
    INSERT INTO sms_per_phone AS counted (phone, day, sent)
    VALUES ($1, $2::date, 1)
    ON CONFLICT (day, phone) DO UPDATE SET sent = counted.sent + 1 WHERE counted.sent < $3";

const FORGET_DAYS: &str = "
    DELETE FROM sms_per_phone
    WHERE day < (clock_timestamp() - $1::bigint * interval '1 millisecond')::date - 1";

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

    async fn change(
        &self,
        reference: &Reference,
        next: impl FnOnce(&Row, UnixMillis) -> Row,
    ) -> Result<Standing, StoreError> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let (row, now) = lock(&mut transaction, reference).await?;
        let changed = next(&row, now);
        if changed != row {
            write(&mut transaction, reference, &changed, now).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(changed.standing())
    }
}

fn failed(error: sqlx::Error) -> StoreError {
    StoreError(error.into())
}

async fn lock(connection: &mut PgConnection, reference: &Reference) -> Result<(Row, UnixMillis), StoreError> {
    let (upstream, query) = (reference.upstream.as_str(), Uuid::from_bytes(*reference.query.as_bytes()));
    sqlx::query(INSERT)
        .bind(upstream)
        .bind(query)
        .bind(Uuid::from_bytes(sms::out_id(reference).0))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    let found =
        sqlx::query(LOCK).bind(upstream).bind(query).fetch_one(&mut *connection).await.map_err(failed)?;
    let now = found.try_get("now_ms").map(UnixMillis).map_err(failed)?;
    let (state, row) = read(&found).map_err(failed)?;
    match row {
        Some(row) => Ok((row, now)),
        None => Err(StoreError(Unreadable { reference: reference.clone(), state }.into())),
    }
}

/// Whose row it is; `None` when it is nobody's.
fn reference(found: &PgRow) -> Result<Option<Reference>, sqlx::Error> {
    let (upstream, query): (String, Uuid) = (found.try_get("upstream")?, found.try_get("query")?);
    let reference = upstream.parse().ok().zip(QueryId::from_bytes(query.as_bytes()).ok());
    Ok(reference.map(|(upstream, query)| Reference { upstream, query }))
}

/// The name of the state, and the row if it is whole.
fn read(found: &PgRow) -> Result<(String, Option<Row>), sqlx::Error> {
    let name: String = found.try_get("state")?;
    let attempt: i32 = found.try_get("attempt")?;
    let claimant: Option<Uuid> = found.try_get("claimant")?;
    let claimed_until: Option<i64> = found.try_get("claimed_until_ms")?;
    let waits_until: Option<i64> = found.try_get("waits_until_ms")?;
    let why: Option<String> = found.try_get("code")?;
    let gateway_id: Option<String> = found.try_get("gateway_id")?;
    let announced = found.try_get("announced")?;
    let partition: Option<i32> = found.try_get("notice_partition")?;
    let offset: Option<i64> = found.try_get("notice_offset")?;
    let evidence: String = found.try_get("evidence")?;
    let counted = found.try_get("counted")?;
    let state = match name.as_str() {
        "pending" => Some(State::Pending),
        "waiting" => waits_until.map(|due| State::Waiting { due: UnixMillis(due) }),
        "claimed" => claimant.zip(claimed_until).map(|(claimant, until)| State::Claimed {
            claimant: Claimant(claimant),
            until: UnixMillis(until),
        }),
        "sent" => gateway_id.map(|gateway_id| State::Ended(Outcome::Sent { gateway_id })),
        "delivered" => Some(State::Ended(Outcome::Delivered)),
        "undelivered" => Some(State::Ended(Outcome::Undelivered)),
        "failed" => why.map(|why| State::Ended(Outcome::Failed { code: code(&why, Code::GATEWAY_REFUSED) })),
        "unknown" => {
            why.map(|why| State::Ended(Outcome::Unknown { code: code(&why, Code::GATEWAY_OUTCOME_UNKNOWN) }))
        }
        _ => None,
    };
    let notice = partition.zip(offset).map(|(partition, offset)| NoticeAt { partition, offset });
    let row = state.zip(u32::try_from(attempt).ok()).zip(serde_json::from_str(&evidence).ok()).map(
        |((state, attempt), evidence)| Row {
            sms: Sms { attempt, state, evidence },
            announced,
            notice,
            counted,
        },
    );
    Ok((name, row))
}

async fn write(
    connection: &mut PgConnection,
    reference: &Reference,
    row: &Row,
    now: UnixMillis,
) -> Result<(), sqlx::Error> {
    let Sms { attempt, state, evidence } = &row.sms;
    let (mut claimant, mut until, mut gateway, mut why, mut waits) = (None, None, None, None, None);
    let name = match state {
        State::Pending => "pending",
        State::Waiting { due } => {
            waits = Some(due.0);
            "waiting"
        }
        State::Claimed { claimant: holder, until: lease } => {
            (claimant, until) = (Some(holder.0), Some(lease.0));
            "claimed"
        }
        State::Ended(Outcome::Sent { gateway_id }) => {
            gateway = Some(gateway_id.as_str());
            "sent"
        }
        State::Ended(Outcome::Delivered) => "delivered",
        State::Ended(Outcome::Undelivered) => "undelivered",
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
        .bind(row.due(now).map(|due| due.0))
        .bind(row.notice.map(|notice| notice.partition))
        .bind(row.notice.map(|notice| notice.offset))
        .bind(serde_json::to_string(evidence).map_err(|error| sqlx::Error::Encode(error.into()))?)
        .bind(row.counted)
        .bind(waits)
        .execute(connection)
        .await
        .map(|_| ())
}

impl Store for Postgres {
    async fn happened(
        &self,
        reference: &Reference,
        event: Event,
        notice: Option<NoticeAt>,
    ) -> Result<Standing, StoreError> {
        let next = |row: &Row, now| {
            let changed = row.after(event, now);
            Row { notice: notice.or(changed.notice), ..changed }
        };
        self.change(reference, next).await
    }

    async fn due(&self, max: u32, hold: Duration) -> Result<Vec<Due>, StoreError> {
        let found = sqlx::query(DUE)
            .bind(i64::from(max))
            .bind(i64::try_from(hold.as_millis()).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        let mut due = Vec::with_capacity(found.len());
        for row in &found {
            match (reference(row).map_err(failed)?, read(row).map_err(failed)?) {
                (Some(reference), (_, Some(row))) => due.push(row.looked_after(reference)),
                // The others are not held up; whoever delivers its notice is told the same.
                (reference, (state, _)) => tracing::error!(?reference, state, "row that cannot be read"),
            }
        }
        Ok(due)
    }

    async fn find(&self, out_id: MessageId) -> Result<Option<Reference>, StoreError> {
        let found = sqlx::query(FIND)
            .bind(Uuid::from_bytes(out_id.0))
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?;
        found.as_ref().map_or(Ok(None), reference).map_err(failed)
    }

    async fn admit(
        &self,
        reference: &Reference,
        phone: PhoneMac,
        limit: &PhoneLimit,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let (row, now) = lock(&mut transaction, reference).await?;
        if row.counted {
            return Ok(true);
        }
        let admitted = sqlx::query(ADMIT)
            .bind(phone.0.as_slice())
            .bind(limit.day(now).to_string())
            .bind(i32::try_from(limit.max).unwrap_or(i32::MAX))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?
            .rows_affected()
            > 0;
        if admitted {
            write(&mut transaction, reference, &Row { counted: true, ..row }, now).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(admitted)
    }

    async fn announced(&self, reference: &Reference, outcome: &Outcome) -> Result<(), StoreError> {
        self.change(reference, |row, _| row.clone().announced(outcome)).await.map(|_| ())
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
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        sqlx::query(FORGET_DAYS).bind(age).execute(&self.pool).await.map_err(failed)?;
        sqlx::query(FORGET)
            .bind(age)
            .bind(i64::from(max))
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected())
            .map_err(failed)
    }
}
