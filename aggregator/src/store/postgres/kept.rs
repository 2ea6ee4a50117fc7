//! What is kept of queries, digested: for an auditor.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use prost::Message as _;
use schemas::ids::{Digest, Reference};
use schemas::wire;
use sqlx::Row as _;

use super::day_keys::{COVERAGE, DayKeys, Place, SEGMENT};
use super::keys::{Keys, reference};
use super::types::Day;
use super::{PostgresStore, state};
use crate::store::{Kept, StoreResult};

// One statement, so that state and content are of one moment: a withdrawal changes both.
const KEPT: &str = "
    WITH wanted AS (
        SELECT query.* FROM query JOIN unnest($1::text[], $2::uuid[]) AS asked (upstream, query_id) USING (upstream, query_id)
    )
    SELECT upstream, query_id, erase_on, state, state_data::text AS state_data, NULL AS bank, NULL::bytea AS content
    FROM wanted
    UNION ALL
    SELECT upstream, query_id, erase_on, NULL, NULL, NULL, signed
    FROM coverage JOIN wanted USING (erase_on, upstream, query_id)
    UNION ALL
    SELECT upstream, query_id, erase_on, NULL, NULL, bank, sealed
    FROM segment JOIN wanted USING (erase_on, upstream, query_id)";

impl PostgresStore {
    pub(super) async fn digested(
        &self,
        references: &BTreeSet<Reference>,
    ) -> StoreResult<BTreeMap<Reference, Kept>> {
        let keys: Keys<'_> = references.iter().collect();
        let mut rows = sqlx::query(KEPT).bind(&keys.upstreams).bind(&keys.queries).fetch(&self.pool);
        let mut kept: BTreeMap<Reference, Kept> = BTreeMap::new();
        while let Some(row) = rows.try_next().await? {
            let reference = reference(&row)?;
            let Day(day) = row.try_get("erase_on")?;
            let of_query = kept.entry(reference.clone()).or_default();
            let bank: Option<&str> = row.try_get("bank")?;
            let content: Option<&[u8]> = row.try_get("content")?;
            match (content, bank) {
                (Some(wrapped), Some(bank)) => {
                    let place = Place { column: SEGMENT, day, reference: &reference, bank };
                    let content = unwrapped(&self.keys, &place, wrapped).map(|bytes| Digest::of(&bytes));
                    of_query.segments.insert(bank.to_owned(), content.into());
                }
                (Some(wrapped), None) => {
                    let place = Place { column: COVERAGE, day, reference: &reference, bank: "" };
                    let signed = unwrapped(&self.keys, &place, wrapped)
                        .and_then(|bytes| wire::Signed::decode(bytes.as_slice()).ok());
                    of_query.coverage = Some(signed.map(|signed| Digest::of(&signed.body)).into());
                }
                (None, _) => {
                    // An open query's pairs are rows of their own, and nobody's business here.
                    let name = row.try_get("state")?;
                    of_query.state = state::decode(name, row.try_get("state_data")?, BTreeMap::new()).ok();
                }
            }
        }
        Ok(kept)
    }
}

/// Content that does not open is a finding, not a failure: whoever altered it must not hide the rest.
fn unwrapped(keys: &DayKeys, place: &Place<'_>, wrapped: &[u8]) -> Option<Vec<u8>> {
    keys.get(place.day).ok()?.unwrap(place, wrapped).ok()
}
