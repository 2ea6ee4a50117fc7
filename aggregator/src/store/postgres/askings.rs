//! How often people ask. The row of a person whose query is registered is taken at once; that of a person whose query ends
//! is taken at the commit, as a hot path ends many.

use std::collections::BTreeMap;

use schemas::ids::{QueryId, Reference};
use schemas::time::UnixMillis;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::error::Unreadable;
use super::keys::uuid;
use super::types::Stamp;
use crate::domain::asking::Asking;
use crate::domain::subject::SubjectMac;
use crate::store::StoreResult;

/// Takes the row, whether it is there or not; a plain `DO NOTHING` would not lock one that is.
const TAKE: &str = "
    INSERT INTO asking (subject_mac) SELECT * FROM unnest($1::bytea[])
    ON CONFLICT (subject_mac) DO UPDATE SET subject_mac = excluded.subject_mac
    RETURNING subject_mac, open_upstream, open_query_id, reported_at";

const TAKE_KNOWN: &str = "
    SELECT subject_mac, open_upstream, open_query_id, reported_at FROM asking
    WHERE subject_mac = ANY($1) ORDER BY subject_mac FOR NO KEY UPDATE";

const SAVE: &str = "
    UPDATE asking SET open_upstream = news.open_upstream, open_query_id = news.open_query_id,
        reported_at = news.reported_at
    FROM unnest($1::bytea[], $2::text[], $3::uuid[], $4::timestamptz[])
        AS news (subject_mac, open_upstream, open_query_id, reported_at)
    WHERE asking.subject_mac = news.subject_mac";

// A registration that takes a row meanwhile is waited for, and the row looked at again.
const FORGET: &str = "
    DELETE FROM asking WHERE open_query_id IS NULL AND (reported_at IS NULL OR reported_at < $1)";

/// Queries of one person that ended, each with the time of its report.
pub(super) type Ended = Vec<(Reference, Option<UnixMillis>)>;

/// A person whose row this transaction has taken.
pub(super) struct Taken {
    stored: Asking,
    pub(super) asking: Asking,
}

/// Takes the rows of these people, in order.
pub(super) async fn take(
    connection: &mut PgConnection,
    subjects: &[SubjectMac],
) -> StoreResult<BTreeMap<SubjectMac, Taken>> {
    if subjects.is_empty() {
        return Ok(BTreeMap::new());
    }
    taken(&sqlx::query(TAKE).bind(raw(subjects.iter())).fetch_all(connection).await?)
}

/// Ends queries of people whose rows are not taken yet; of others nothing is counted.
pub(super) async fn end(
    connection: &mut PgConnection,
    ended: &BTreeMap<SubjectMac, Ended>,
) -> StoreResult<BTreeMap<SubjectMac, Taken>> {
    if ended.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut known = taken(&sqlx::query(TAKE_KNOWN).bind(raw(ended.keys())).fetch_all(connection).await?)?;
    for (subject, taken) in &mut known {
        for (query, reported_at) in ended.get(subject).into_iter().flatten() {
            taken.asking.end(query, *reported_at);
        }
    }
    Ok(known)
}

/// Writes those that changed.
pub(super) async fn save<'a>(
    connection: &mut PgConnection,
    taken: impl Iterator<Item = (&'a SubjectMac, &'a Taken)>,
) -> StoreResult<()> {
    let changed: Vec<(&SubjectMac, &Asking)> = taken
        .filter(|(_, taken)| taken.stored != taken.asking)
        .map(|(subject, taken)| (subject, &taken.asking))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let open = || changed.iter().map(|(_, asking)| asking.open.as_ref());
    sqlx::query(SAVE)
        .bind(raw(changed.iter().map(|(subject, _)| *subject)))
        .bind(open().map(|open| open.map(|query| query.upstream.as_str())).collect::<Vec<_>>())
        .bind(open().map(|open| open.map(uuid)).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, asking)| asking.reported_at.map(Stamp)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn forget(pool: &PgPool, before: UnixMillis) -> StoreResult<()> {
    sqlx::query(FORGET).bind(Stamp(before)).execute(pool).await?;
    Ok(())
}

fn raw<'a>(subjects: impl Iterator<Item = &'a SubjectMac>) -> Vec<&'a [u8]> {
    subjects.map(|subject| subject.0.as_slice()).collect()
}

fn taken(rows: &[PgRow]) -> StoreResult<BTreeMap<SubjectMac, Taken>> {
    rows.iter().map(|row| Ok((subject(row)?, Taken::as_stored(row)?))).collect()
}

fn subject(row: &PgRow) -> StoreResult<SubjectMac> {
    let raw: &[u8] = row.try_get("subject_mac")?;
    Ok(SubjectMac(raw.try_into().map_err(|_| Unreadable("subject_mac"))?))
}

impl Taken {
    fn as_stored(row: &PgRow) -> StoreResult<Self> {
        let upstream: Option<&str> = row.try_get("open_upstream")?;
        let query: Option<Uuid> = row.try_get("open_query_id")?;
        let reported_at: Option<Stamp> = row.try_get("reported_at")?;
        let open = match (upstream, query) {
            (Some(upstream), Some(query)) => Some(Reference {
                upstream: upstream.parse().map_err(|_| Unreadable("open_upstream"))?,
                query: QueryId::from_bytes(query.as_bytes()).map_err(|_| Unreadable("open_query_id"))?,
            }),
            (Some(_), None) | (None, Some(_)) | (None, None) => None,
        };
        let stored = Asking { open, reported_at: reported_at.map(|Stamp(at)| at) };
        Ok(Self { asking: stored.clone(), stored })
    }
}
