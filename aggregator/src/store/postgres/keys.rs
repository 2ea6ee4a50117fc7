//! Ids of queries as arrays, for `unnest`: one statement for any number of them.

use schemas::ids::{QueryId, Reference};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::error::Unreadable;
use crate::store::StoreResult;

/// Two arrays of the same length.
#[derive(Default)]
pub(super) struct Keys<'a> {
    pub(super) upstreams: Vec<&'a str>,
    pub(super) queries: Vec<Uuid>,
}

impl Keys<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }
}

impl<'a> Keys<'a> {
    pub(super) fn push(&mut self, reference: &'a Reference) {
        self.upstreams.push(reference.upstream.as_str());
        self.queries.push(uuid(reference));
    }
}

impl<'a> FromIterator<&'a Reference> for Keys<'a> {
    fn from_iter<I: IntoIterator<Item = &'a Reference>>(references: I) -> Self {
        let mut keys = Self::default();
        for reference in references {
            keys.push(reference);
        }
        keys
    }
}

/// The query's id.
pub(super) fn uuid(reference: &Reference) -> Uuid {
    Uuid::from_bytes(*reference.query.as_bytes())
}

/// The reference in a row.
pub(super) fn reference(row: &PgRow) -> StoreResult<Reference> {
    let upstream: &str = row.try_get("upstream")?;
    let query: Uuid = row.try_get("query_id")?;
    Ok(Reference {
        upstream: upstream.parse().map_err(|_| Unreadable("upstream"))?,
        query: QueryId::from_bytes(query.as_bytes()).map_err(|_| Unreadable("query_id"))?,
    })
}
