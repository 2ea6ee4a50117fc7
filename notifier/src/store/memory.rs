//! Rows in memory, restored from the SMS topic at every start. For one instance only: a second one would not see the
//! claims of the first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use schemas::ids::Reference;

use super::{Claim, Ended, Store, StoreError};
use crate::domain::sms::{self, Event, Outcome, State};

/// The store.
#[derive(Debug, Default)]
pub struct Memory {
    rows: Mutex<HashMap<Reference, Row>>,
}

#[derive(Debug, Default)]
struct Row {
    state: State,
    announced: bool,
}

impl Memory {
    /// No row is ever left half-changed, so a panic elsewhere spoils nothing.
    fn rows(&self) -> MutexGuard<'_, HashMap<Reference, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_claim(&self, reference: &Reference, idempotent: bool) -> Claim {
        let mut rows = self.rows();
        let row = rows.entry(reference.clone()).or_default();
        if let Some(claimed) = sms::claim(&row.state, idempotent) {
            *row = Row { state: claimed, announced: false };
            return Claim::Granted;
        }
        match &row.state {
            State::Pending | State::Claimed => Claim::InProgress,
            State::Ended(outcome) => {
                Claim::Ended(Ended { outcome: outcome.clone(), announced: row.announced })
            }
        }
    }

    fn end(&self, reference: &Reference, outcome: Outcome) -> Ended {
        let mut rows = self.rows();
        let row = rows.entry(reference.clone()).or_default();
        let next = sms::apply(row.state.clone(), Event::End(outcome.clone()));
        if next != row.state {
            *row = Row { state: next, announced: false };
        }
        let counts = match &row.state {
            State::Ended(counts) => counts.clone(),
            State::Pending | State::Claimed => outcome,
        };
        Ended { outcome: counts, announced: row.announced }
    }
}

impl Store for Memory {
    async fn claim(&self, reference: &Reference, idempotent: bool) -> Result<Claim, StoreError> {
        Ok(self.try_claim(reference, idempotent))
    }

    async fn release(&self, reference: &Reference) -> Result<(), StoreError> {
        if let Some(row) = self.rows().get_mut(reference) {
            row.state = sms::apply(std::mem::take(&mut row.state), Event::Release);
        }
        Ok(())
    }

    async fn record(&self, reference: &Reference, outcome: Outcome) -> Result<Ended, StoreError> {
        Ok(self.end(reference, outcome))
    }

    async fn announced(&self, reference: &Reference, outcome: &Outcome) -> Result<(), StoreError> {
        if let Some(row) = self.rows().get_mut(reference)
            && matches!(&row.state, State::Ended(counts) if counts == outcome)
        {
            row.announced = true;
        }
        Ok(())
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
