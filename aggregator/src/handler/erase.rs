//! The end of a day: its content is destroyed, its queries end, a receipt says so, and two weeks later its rows go.
//!
//! Every step is found in the store, so several instances may do this, and a killed one is finished by the next round.

use jiff::ToSpan as _;
use schemas::erasure::{self, Receipt};
use schemas::time::UnixMillis;

use super::Hub;
use crate::domain::assembly::Event;
use crate::store::{ErasedDay, Store, StoreResult, Tx as _};

/// Queries in one transaction.
const BATCH: usize = 500;
/// Batches in one round: a process that is to stop waits for no more.
const BATCHES: usize = 10;
/// Days that rows of queries stay after the day of their erasure.
const KEPT: i32 = 14;
/// The longest time from a query's acceptance to the day when its rows go, in days. A withdrawal without a query is kept
/// that long: its query would have come within five days.
const KEPT_IN_ALL: u32 = 8 + KEPT.unsigned_abs() + 1;

impl<S: Store> Hub<S> {
    /// One round.
    ///
    /// # Errors
    /// When the store does not answer, or others are in the way for too long. What was done stays done.
    pub async fn erase(&self) -> StoreResult<()> {
        let now = self.store.now().await?;
        let today = self.window.calendar.day(now);
        self.store.erase_through(today).await?;
        // A day that cannot be erased yet keeps back no other.
        let destroyed = self.store.erase_content().await;
        self.end_erased_queries(now).await?;
        for day in self.store.erased_days().await? {
            let receipt = erasure::sign(&receipt(&day, self.store.now().await?), &self.key);
            self.store.keep_receipt(day.day, &receipt).await?;
        }
        let over = today.saturating_sub(KEPT.days());
        let early = now.before(self.window.calendar.day_length() * KEPT_IN_ALL);
        for _ in 0..BATCHES {
            let queries = self.store.forget_queries(over, BATCH).await?;
            let withdrawals = self.store.forget_withdrawals(early, BATCH).await?;
            if queries.max(withdrawals) < BATCH {
                break;
            }
        }
        destroyed
    }

    async fn end_erased_queries(&self, now: UnixMillis) -> StoreResult<()> {
        for _ in 0..BATCHES {
            let due = self.store.to_erase(BATCH).await?;
            if due.is_empty() {
                break;
            }
            let mut tx = self.store.begin().await?;
            let mut done = super::write::After::default();
            for query in tx.lock(&due).await?.into_values() {
                done.extend(self.apply(&mut tx, query, [Event::Erased], None, now).await?.1);
            }
            tx.commit().await?;
            self.settle(&done, now).await;
        }
        Ok(())
    }
}

fn receipt(day: &ErasedDay, signed_at: UnixMillis) -> Receipt {
    let mut tables: Vec<String> = day.tables.iter().map(ToString::to_string).collect();
    tables.sort();
    Receipt {
        day: day.day.to_string(),
        tables,
        key_id: day.key_id,
        queries: day.queries,
        closed_at: day.closed_at,
        dropped_at: day.dropped_at,
        key_destroyed_at: day.key_destroyed_at,
        signed_at,
    }
}
