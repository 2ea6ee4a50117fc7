//! Banks that the operator has paused: they are not asked, and what they say is taken as ever.
//!
//! A pause is a row; every instance reads the rows again every second. A pair of a paused bank stays due, so that it is
//! asked when the pause ends, if there is still time.

use std::collections::BTreeMap;

use schemas::codes::Code;
use schemas::ids::BankId;

use super::{Hub, Refused};
use crate::metric_names;
use crate::store::{Pause, Store, StoreError};

/// Characters of a reason at most.
const MAX_REASON: usize = 200;

impl<S> Hub<S> {
    /// Whether this bank is not asked now.
    pub(super) fn is_paused(&self, bank: &BankId) -> bool {
        self.paused.get().contains_key(bank)
    }

    /// Takes over which banks are paused, and says so in the metrics.
    pub(crate) fn take_over_pauses(&self, pauses: BTreeMap<BankId, Pause>) {
        let before = self.paused.get();
        if *before == pauses {
            return;
        }
        for bank in before.keys().filter(|bank| !pauses.contains_key(*bank)) {
            metrics::gauge!(metric_names::BANK_PAUSED, "bank" => bank.to_string()).set(0.0);
            tracing::info!(%bank, "bank is asked again");
        }
        for (bank, Pause { since, reason, by }) in &pauses {
            metrics::gauge!(metric_names::BANK_PAUSED, "bank" => bank.to_string()).set(1.0);
            if !before.contains_key(bank) {
                tracing::warn!(%bank, %since, reason, by, "bank is paused and not asked");
            }
        }
        self.paused.replace(pauses);
    }
}

impl<S: Store> Hub<S> {
    pub(super) async fn read_pauses(&self) -> Result<(), StoreError> {
        self.take_over_pauses(self.store.pauses().await?);
        Ok(())
    }

    /// Pauses a bank of the registry, and returns the pause that holds and whether it is new: one that is there stays.
    ///
    /// # Errors
    /// `BANK_UNKNOWN`; `FIELD_INVALID` for a reason that is empty, too long or not one line; `INTERNAL`.
    pub async fn pause(&self, bank: &BankId, reason: &str, by: &str) -> Result<(Pause, bool), Refused> {
        let reason = reason.trim();
        let is_line = !reason.is_empty()
            && reason.chars().count() <= MAX_REASON
            && !reason.chars().any(char::is_control);
        if !is_line {
            return Err(Code::FIELD_INVALID.into());
        }
        self.registry.get().bank(bank).ok_or(Code::BANK_UNKNOWN)?;
        let since = self.store.now().await?;
        let pause = Pause { since, reason: reason.to_owned(), by: by.to_owned() };
        let new = self.store.pause(bank, &pause).await?;
        self.read_pauses().await?;
        let holds = self.paused.get().get(bank).cloned();
        Ok((holds.unwrap_or(pause), new))
    }

    /// Ends a bank's pause, and returns what it was; `None` when there was none.
    ///
    /// # Errors
    /// `BANK_UNKNOWN`, `INTERNAL`.
    pub async fn resume(&self, bank: &BankId, by: &str) -> Result<Option<Pause>, Refused> {
        self.registry.get().bank(bank).ok_or(Code::BANK_UNKNOWN)?;
        let ended = self.store.resume(bank).await?;
        if let Some(Pause { since, reason, .. }) = &ended {
            tracing::warn!(%bank, %since, reason, by, "pause ended");
        }
        self.read_pauses().await?;
        Ok(ended)
    }
}
