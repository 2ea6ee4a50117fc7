//! Refused grants, counted by person and hour. Written at once: the number is the answer, and the row's lock is held until
//! the end of the transaction.

use schemas::ids::Digest;
use sqlx::PgConnection;
use sqlx::postgres::PgPool;

use crate::domain::refusals::{Hour, SubjectHour};
use crate::store::StoreResult;

const COUNT: &str = "SELECT cardinality(grants) FROM refusal WHERE hour = $1 AND subject_mac = $2";

const ADD: &str = "
    INSERT INTO refusal (hour, subject_mac, grants) VALUES ($1, $2, ARRAY[$3])
    ON CONFLICT (hour, subject_mac) DO UPDATE
    SET grants = CASE WHEN $3 = ANY(refusal.grants) THEN refusal.grants ELSE refusal.grants || $3 END
    RETURNING cardinality(grants)";

const FORGET: &str = "DELETE FROM refusal WHERE hour < $1";

pub(super) async fn count(connection: &mut PgConnection, at: &SubjectHour) -> StoreResult<u32> {
    let count: Option<i32> = sqlx::query_scalar(COUNT)
        .bind(at.hour.0)
        .bind(at.subject.0.as_slice())
        .fetch_optional(connection)
        .await?;
    Ok(count.map_or(0, i32::cast_unsigned))
}

pub(super) async fn add(connection: &mut PgConnection, at: &SubjectHour, grant: Digest) -> StoreResult<u32> {
    let count: i32 = sqlx::query_scalar(ADD)
        .bind(at.hour.0)
        .bind(at.subject.0.as_slice())
        .bind(grant.0.as_slice())
        .fetch_one(connection)
        .await?;
    Ok(count.cast_unsigned())
}

pub(super) async fn forget(pool: &PgPool, hour: Hour) -> StoreResult<()> {
    sqlx::query(FORGET).bind(hour.0).execute(pool).await?;
    Ok(())
}
