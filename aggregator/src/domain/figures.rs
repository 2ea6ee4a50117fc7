//! What the last reports say of each bank. Added up when it is asked for: nothing is counted while replies are taken.

use std::collections::BTreeMap;

use schemas::ids::BankId;
use schemas::time::UnixMillis;
use schemas::wire::BankOutcome;

use super::query::Final;
use super::window::Times;

/// A report that is final later than this after its deadline is missed.
pub const MISSED_AFTER: std::time::Duration = std::time::Duration::from_secs(60);

/// Fewer cases say nothing about a share or a middle: one more or less moves it by more than five points.
pub const ENOUGH: usize = 20;

/// A quantile needs so many values that at least one lies beyond it.
const fn needed(per_mille: usize) -> usize {
    let beyond = 1_000usize.div_ceil(1_000 - per_mille);
    if beyond > ENOUGH { beyond } else { ENOUGH }
}

/// Banks in the last reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Reports.
    pub reports: u64,
    /// Those that became final more than [`MISSED_AFTER`] after their deadline.
    pub missed: u64,
    /// Pairs of query and bank in them.
    pub pairs: usize,
    /// Each bank.
    pub banks: BTreeMap<BankId, BankFigures>,
    /// When the oldest of these reports became final.
    pub oldest: Option<UnixMillis>,
    /// There were older ones in the time asked for, and they were left out.
    pub cut: bool,
}

/// One bank in the last reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BankFigures {
    /// Final outcomes.
    pub outcomes: BTreeMap<BankOutcome, u64>,
    /// Reports in which a later reply contradicted the first.
    pub conflicts: u64,
    /// From acceptance to the reply that counts, milliseconds, unordered.
    reply_ms: Vec<u32>,
}

impl Figures {
    /// Takes up one report.
    pub fn add(&mut self, times: &Times, report: &Final) {
        self.reports += 1;
        self.missed += u64::from(report.finalised_at.since(times.deadline_at) > MISSED_AFTER);
        self.pairs += report.outcomes.len();
        self.oldest = Some(self.oldest.map_or(report.finalised_at, |oldest| oldest.min(report.finalised_at)));
        for (bank, outcome) in &report.outcomes {
            let figures = self.banks.entry(bank.clone()).or_default();
            *figures.outcomes.entry(outcome.outcome).or_default() += 1;
            figures.conflicts += u64::from(outcome.conflict);
            if let Some(reply) = &outcome.reply {
                let took = reply.appended_at.since(times.accepted_at).as_millis();
                figures.reply_ms.push(u32::try_from(took).unwrap_or(u32::MAX));
            }
        }
    }
}

impl BankFigures {
    /// How often it had this outcome.
    pub fn count(&self, outcome: BankOutcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or_default()
    }

    /// How often it was asked. A suspended bank was not.
    pub fn asked(&self) -> u64 {
        let asked = self.outcomes.iter().filter(|(outcome, _)| **outcome != BankOutcome::Suspended);
        asked.map(|(_, n)| n).sum()
    }

    /// The share of questions that it answered; `None` when there were fewer than [`ENOUGH`].
    pub fn answer_rate(&self) -> Option<f64> {
        let asked = self.asked();
        (asked >= ENOUGH as u64).then(|| self.count(BankOutcome::Answered) as f64 / asked as f64)
    }

    /// How many replies count.
    pub fn replies(&self) -> usize {
        self.reply_ms.len()
    }

    /// The times below which so many thousandths of its replies came, in milliseconds, by the nearest rank; `None` for one
    /// that there are not enough replies for.
    pub fn reply_ms<const N: usize>(&self, per_mille: [usize; N]) -> [Option<u32>; N] {
        let mut sorted = self.reply_ms.clone();
        sorted.sort_unstable();
        per_mille.map(|per_mille| {
            let rank = (sorted.len() * per_mille).div_ceil(1_000);
            (sorted.len() >= needed(per_mille)).then(|| sorted[rank - 1])
        })
    }
}

/// Why a reply changed nothing that a person sees: what is remembered of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remark {
    /// Appended after the deadline.
    Late,
    /// The query had ended.
    AfterEnd,
    /// The same outcome again.
    Duplicate,
    /// Another outcome after the first.
    Conflict,
    /// It was meant for a query that asked the bank, and failed a check.
    Invalid,
    /// It is about no query that asked the bank.
    Refused,
}

impl Remark {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Late, Self::AfterEnd, Self::Duplicate, Self::Conflict, Self::Invalid, Self::Refused];

    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::AfterEnd => "after_end",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Refused => "refused",
        }
    }

    /// The kind that is stored as `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::tz::TimeZone;
    use schemas::ids::Digest;
    use schemas::time::Calendar;

    use super::*;
    use crate::domain::query::{Closed, Closing, FinalKind, Outcome};
    use crate::domain::window::Window;

    fn times() -> Times {
        let calendar = Calendar::Civil(TimeZone::UTC);
        let window =
            Window { length: Duration::from_secs(24 * 3600), grace: Duration::from_secs(5), calendar };
        window.times(UnixMillis(1_795_420_800_000))
    }

    fn report(times: &Times, outcome: BankOutcome, took: Option<u64>, late: u64) -> Final {
        let reply = took.map(|took| Closed {
            outcome: Closing::Answered,
            segment_sha256: Digest([1; 32]),
            appended_at: times.accepted_at + Duration::from_millis(took),
            at: (0, 1),
        });
        Final {
            kind: FinalKind::Partial,
            finalised_at: times.deadline_at + Duration::from_millis(late),
            outcomes: [("alpha".parse().expect("an id"), Outcome { outcome, reply, conflict: late > 0 })]
                .into(),
        }
    }

    fn figures(replies: u64) -> Figures {
        let (times, mut figures) = (times(), Figures::default());
        // Out of order: 100 values come as 1, 38, 75, …
        for n in 0..replies {
            let took = n * 37 % replies + 1;
            figures.add(&times, &report(&times, BankOutcome::Answered, Some(took), 0));
        }
        figures
    }

    #[test]
    fn a_quantile_is_said_only_when_a_reply_lies_beyond_it() {
        for (replies, expected) in [
            (19, [None, None, None]),
            (20, [Some(10), Some(19), None]),
            (99, [Some(50), Some(95), None]),
            (100, [Some(50), Some(95), Some(99)]),
            (1_000, [Some(500), Some(950), Some(990)]),
        ] {
            let figures = figures(replies);
            assert_eq!(figures.banks.values().next().expect("a bank").reply_ms([500, 950, 990]), expected);
        }
        assert_eq!(BankFigures::default().reply_ms([500]), [None]);
    }

    #[test]
    fn a_suspended_bank_was_not_asked_and_few_questions_make_no_rate() {
        let (times, mut figures) = (times(), figures(15));
        for outcome in [BankOutcome::NoReply, BankOutcome::Refused, BankOutcome::Unavailable] {
            figures.add(&times, &report(&times, outcome, None, 0));
        }
        figures.add(&times, &report(&times, BankOutcome::Suspended, None, 0));
        let rate = |figures: &Figures| figures.banks.values().next().map(BankFigures::answer_rate);
        assert_eq!(rate(&figures), Some(None), "18 questions");
        for _ in 0..2 {
            figures.add(&times, &report(&times, BankOutcome::InvalidReply, None, 0));
        }
        assert_eq!(rate(&figures), Some(Some(0.75)), "15 of 20");
    }

    #[test]
    fn a_report_is_missed_after_a_minute_and_the_oldest_is_known() {
        let (times, mut figures) = (times(), Figures::default());
        for late in [60_001, 60_000, 0] {
            figures.add(&times, &report(&times, BankOutcome::NoReply, None, late));
        }
        assert_eq!((figures.reports, figures.missed, figures.pairs), (3, 1, 3));
        assert_eq!(figures.oldest, Some(times.deadline_at));
        assert_eq!(figures.banks.values().map(|bank| bank.conflicts).sum::<u64>(), 2);
    }

    #[test]
    fn every_remark_comes_back_from_its_name() {
        for kind in Remark::ALL {
            assert_eq!(Remark::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(Remark::parse("replayed"), None);
    }
}
