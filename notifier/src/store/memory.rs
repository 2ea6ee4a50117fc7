//! Rows in memory, restored from the SMS topic at every start. For one instance only: a second one would not see the
//! claims of the first.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use schemas::ids::{MessageId, Reference};
use schemas::time::UnixMillis;
use tokio::time::Instant;

use super::row::Row;
use super::{Due, NoticeAt, Progress, Standing, Store, StoreError};
use crate::domain::phone_limit::{PhoneLimit, PhoneMac};
use crate::domain::sms::{self, Event, Outcome};

/// The store.
pub struct Memory {
    tables: Mutex<Tables>,
    now: Box<dyn Fn() -> UnixMillis + Send + Sync>,
}

#[derive(Debug, Default)]
struct Tables {
    rows: HashMap<Reference, Kept>,
    progress: BTreeMap<String, Progress>,
    /// SMS per phone and day.
    phones: BTreeMap<(Date, [u8; 32]), u32>,
}

#[derive(Debug)]
struct Kept {
    made_at: UnixMillis,
    /// When somebody has to look after it.
    due: Option<UnixMillis>,
    row: Row,
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

    fn change(&self, reference: &Reference, next: impl FnOnce(&Row, UnixMillis) -> Row) -> Standing {
        let now = (self.now)();
        let mut tables = self.tables();
        let kept = kept(&mut tables, reference, now);
        let changed = next(&kept.row, now);
        if changed != kept.row {
            kept.due = changed.due(now);
            kept.row = changed;
        }
        kept.row.standing()
    }
}

fn kept<'a>(tables: &'a mut Tables, reference: &Reference, now: UnixMillis) -> &'a mut Kept {
    tables.rows.entry(reference.clone()).or_insert_with(|| Kept {
        made_at: now,
        due: None,
        row: Row::default(),
    })
}

impl Store for Memory {
    async fn happened(
        &self,
        reference: &Reference,
        event: Event,
        notice: Option<NoticeAt>,
    ) -> Result<Standing, StoreError> {
        Ok(self.change(reference, |row, now| {
            let changed = row.after(event, now);
            Row { notice: notice.or(changed.notice), ..changed }
        }))
    }

    async fn due(&self, max: u32, hold: Duration) -> Result<Vec<Due>, StoreError> {
        let now = (self.now)();
        let mut tables = self.tables();
        let due = tables.rows.iter_mut().filter(|(_, kept)| kept.due.is_some_and(|due| due <= now));
        let held = due.take(usize::try_from(max).unwrap_or(usize::MAX)).map(|(reference, kept)| {
            kept.due = Some(now + hold);
            kept.row.clone().looked_after(reference.clone())
        });
        Ok(held.collect())
    }

    async fn find(&self, out_id: MessageId) -> Result<Option<Reference>, StoreError> {
        Ok(self.tables().rows.keys().find(|reference| sms::out_id(reference) == out_id).cloned())
    }

    async fn admit(
        &self,
        reference: &Reference,
        phone: PhoneMac,
        limit: &PhoneLimit,
    ) -> Result<bool, StoreError> {
        let now = (self.now)();
        let mut tables = self.tables();
        if kept(&mut tables, reference, now).row.counted {
            return Ok(true);
        }
        let sent = tables.phones.entry((limit.day(now), phone.0)).or_default();
        if *sent >= limit.max {
            return Ok(false);
        }
        *sent += 1;
        kept(&mut tables, reference, now).row.counted = true;
        Ok(true)
    }

    async fn announced(&self, reference: &Reference, outcome: &Outcome) -> Result<(), StoreError> {
        self.change(reference, |row, _| row.clone().announced(outcome));
        Ok(())
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
            .filter(|(_, kept)| kept.made_at <= before)
            .map(|(reference, kept)| (kept.made_at, reference.clone()))
            .collect();
        old.sort();
        old.truncate(usize::try_from(max).unwrap_or(usize::MAX));
        for (_, reference) in &old {
            tables.rows.remove(reference);
        }
        // Days of any zone: one more than the age never cuts short a day that still counts.
        let day =
            Timestamp::from_millisecond(before.0).unwrap_or(Timestamp::MIN).to_zoned(TimeZone::UTC).date();
        tables.phones.retain(|(counted, _), _| *counted >= day.saturating_sub(1.day()));
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
