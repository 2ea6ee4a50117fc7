//! Rows in memory, restored from the SMS topic at every start. For one instance only: a second one would not see the
//! claims of the first.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemas::ids::Reference;
use schemas::time::UnixMillis;
use tokio::time::Instant;

use super::row::Row;
use super::{Claim, Ended, Progress, Store, StoreError};
use crate::domain::sms::{Event, Outcome, Terms, Told};

/// The store.
pub struct Memory {
    tables: Mutex<Tables>,
    now: Box<dyn Fn() -> UnixMillis + Send + Sync>,
}

#[derive(Debug, Default)]
struct Tables {
    /// With the time of their making.
    rows: HashMap<Reference, (UnixMillis, Row)>,
    progress: BTreeMap<String, Progress>,
}

impl Default for Memory {
    /// Without rows, and with a clock that nobody sets.
    fn default() -> Self {
        let start = Instant::now();
        Self::with_clock(move || UnixMillis(0) + start.elapsed())
    }
}

impl Memory {
    /// Without rows. `now` decides when a lease is over.
    pub fn with_clock(now: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        Self { tables: Mutex::default(), now: Box::new(now) }
    }

    /// No row is ever left half-changed, so a panic elsewhere spoils nothing.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(
        &self,
        reference: &Reference,
        next: impl FnOnce(&Row, UnixMillis) -> Row,
        answer: impl FnOnce(&Row) -> T,
    ) -> T {
        let now = (self.now)();
        let mut tables = self.tables();
        let (_, row) = tables.rows.entry(reference.clone()).or_insert_with(|| (now, Row::default()));
        *row = next(row, now);
        answer(row)
    }

    fn happened<T>(&self, reference: &Reference, event: Event, answer: impl FnOnce(&Row) -> T) -> T {
        self.change(reference, |row, now| row.after(event, now), answer)
    }
}

impl Store for Memory {
    async fn claim(&self, reference: &Reference, terms: Terms) -> Result<Claim, StoreError> {
        Ok(self.happened(reference, Event::Claim(terms), |row| row.claim_of(terms.claimant)))
    }

    async fn release(&self, reference: &Reference, attempt: u32) -> Result<(), StoreError> {
        self.happened(reference, Event::Release { attempt }, |_| ());
        Ok(())
    }

    async fn record(
        &self,
        reference: &Reference,
        attempt: u32,
        outcome: Outcome,
    ) -> Result<Option<Ended>, StoreError> {
        Ok(self.happened(reference, Event::End { attempt, outcome }, Row::ended))
    }

    async fn announced(&self, reference: &Reference, outcome: &Outcome) -> Result<(), StoreError> {
        self.change(reference, |row, _| row.clone().announced(outcome), |_| ());
        Ok(())
    }

    async fn told(&self, reference: &Reference, told: Told) -> Result<Option<Ended>, StoreError> {
        Ok(self.happened(reference, Event::Told(told), Row::ended))
    }

    async fn progress(&self, topic: &str) -> Result<Progress, StoreError> {
        Ok(self.tables().progress.get(topic).cloned().unwrap_or_default())
    }

    async fn advance(&self, topic: &str, known: &Progress, next: &Progress) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let progress = tables.progress.entry(topic.to_owned()).or_default();
        if !super::row::reached(progress, known) {
            return Ok(false);
        }
        for (partition, next) in next {
            let offset = progress.entry(*partition).or_default();
            *offset = (*offset).max(*next);
        }
        Ok(true)
    }

    async fn forget(&self, age: Duration, max: u32) -> Result<u64, StoreError> {
        let before = (self.now)().before(age);
        let mut tables = self.tables();
        let mut old: Vec<_> = tables
            .rows
            .iter()
            .filter(|(_, (made, _))| *made <= before)
            .map(|(reference, (made, _))| (*made, reference.clone()))
            .collect();
        old.sort();
        old.truncate(usize::try_from(max).unwrap_or(usize::MAX));
        for (_, reference) in &old {
            tables.rows.remove(reference);
        }
        Ok(old.len() as u64)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("tables", &self.tables).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_store_in_memory_keeps_the_contract() {
        crate::store::contract::check(async || Memory::default()).await;
    }
}
