//! What the last reports say of the banks. Pure: from figures, remarks, registry and pauses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemas::ids::BankId;
use schemas::registry::{Party, Registry};
use schemas::time::UnixMillis;
use schemas::wire::{BankOutcome, PartyState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::overview::PauseFacts;
use crate::domain::figures::{Figures, Remark};
use crate::store::{Pause, Remarks};

/// Banks in the last reports. Times are RFC 3339, UTC, three decimals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BanksFacts {
    /// Reports that became final from then on.
    pub since: String,
    /// Until then, by the store's clock.
    pub until: String,
    /// So many reports.
    pub reports: u64,
    /// Of them, those that became final more than a minute after their deadline.
    pub missed: u64,
    /// There are more reports than are added up: these are the newest, and go back to `since`.
    pub cut: bool,
    /// Each bank of the registry or of a report.
    pub banks: Vec<BankSummary>,
}

/// One bank in the last reports. A figure that is not there has not enough data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BankSummary {
    /// Party id.
    pub bank: String,
    /// What the registry says: `ACTIVE`, `SUSPENDED`, `LEFT`, or `UNKNOWN`.
    pub state: String,
    /// Its pause, while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseFacts>,
    /// Reports in which it is named and was not suspended.
    pub asked: u64,
    /// Outcomes `ANSWERED`.
    pub answered: u64,
    /// Outcomes `REFUSED`.
    pub refused: u64,
    /// Outcomes `UNAVAILABLE`.
    pub unavailable: u64,
    /// Outcomes `INVALID_REPLY`.
    pub invalid_reply: u64,
    /// Outcomes `NO_REPLY`.
    pub no_reply: u64,
    /// Outcomes `SUSPENDED`.
    pub suspended: u64,
    /// Answered of asked, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_rate: Option<f64>,
    /// Replies that count.
    pub replies: u64,
    /// Half of them came within so many milliseconds of the query's acceptance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<u32>,
    /// 95 of a hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<u32>,
    /// 99 of a hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<u32>,
    /// Reports in which a later reply contradicted the first.
    pub conflicts: u64,
    /// Replies that changed nothing, of whole hours: appended after the deadline.
    pub late_replies: u64,
    /// After the query had ended.
    pub replies_after_end: u64,
    /// The same outcome again.
    pub duplicate_replies: u64,
    /// Another outcome after the first.
    pub conflicting_replies: u64,
    /// Meant for a query that asked the bank, and wrong.
    pub invalid_replies: u64,
    /// About no query that asked the bank.
    pub refused_replies: u64,
}

/// What was asked.
pub(super) struct Seen<'a> {
    pub(super) now: UnixMillis,
    pub(super) span: Duration,
    pub(super) figures: &'a Figures,
    pub(super) remarks: &'a Remarks,
    pub(super) registry: &'a Registry,
    pub(super) pauses: &'a BTreeMap<BankId, Pause>,
}

pub(super) fn banks(seen: &Seen<'_>) -> BanksFacts {
    let Figures { reports, missed, oldest, cut, .. } = *seen.figures;
    let since = match oldest {
        Some(oldest) if cut => oldest,
        Some(_) | None => seen.now.before(seen.span),
    };
    let ids: BTreeSet<BankId> = seen
        .registry
        .banks()
        .map(|(bank, _)| bank)
        .chain(seen.figures.banks.keys().cloned())
        .chain(seen.remarks.keys().cloned())
        .collect();
    BanksFacts {
        since: since.to_string(),
        until: seen.now.to_string(),
        reports,
        missed,
        cut,
        banks: ids.iter().map(|id| bank(id, seen)).collect(),
    }
}

fn bank(id: &BankId, seen: &Seen<'_>) -> BankSummary {
    let none = crate::domain::figures::BankFigures::default();
    let figures = seen.figures.banks.get(id).unwrap_or(&none);
    let remarked =
        |remark| seen.remarks.get(id).and_then(|remarks| remarks.get(&remark)).copied().unwrap_or_default();
    let [p50_ms, p95_ms, p99_ms] = figures.reply_ms([500, 950, 990]);
    BankSummary {
        bank: id.to_string(),
        state: state(seen.registry.bank(id)).to_owned(),
        paused: seen.pauses.get(id).map(|pause| PauseFacts::of(id, pause)),
        asked: figures.asked(),
        answered: figures.count(BankOutcome::Answered),
        refused: figures.count(BankOutcome::Refused),
        unavailable: figures.count(BankOutcome::Unavailable),
        invalid_reply: figures.count(BankOutcome::InvalidReply),
        no_reply: figures.count(BankOutcome::NoReply),
        suspended: figures.count(BankOutcome::Suspended),
        answer_rate: figures.answer_rate(),
        replies: figures.replies() as u64,
        p50_ms,
        p95_ms,
        p99_ms,
        conflicts: figures.conflicts,
        late_replies: remarked(Remark::Late),
        replies_after_end: remarked(Remark::AfterEnd),
        duplicate_replies: remarked(Remark::Duplicate),
        conflicting_replies: remarked(Remark::Conflict),
        invalid_replies: remarked(Remark::Invalid),
        refused_replies: remarked(Remark::Refused),
    }
}

fn state(party: Option<&Party>) -> &'static str {
    match party.map(|party| party.state) {
        Some(PartyState::Active) => "ACTIVE",
        Some(PartyState::Suspended) => "SUSPENDED",
        Some(PartyState::Left) => "LEFT",
        Some(PartyState::Unspecified) | None => "UNKNOWN",
    }
}
