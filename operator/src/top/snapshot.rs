//! Pure: what is seen at a moment, and how bad it is.

use std::cmp::Ordering;

use aggregator::edge::operations::{BankSummary, BanksFacts, Overview};
use serde::Serialize;

use crate::bank::text;

/// What is seen at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// The hub.
    pub overview: Overview,
    /// The banks, the worst first.
    pub banks: BanksFacts,
}

impl Snapshot {
    /// With the banks in order.
    pub fn new(overview: Overview, mut banks: BanksFacts) -> Self {
        banks.banks.sort_by(worst_first);
        Self { overview, banks }
    }

    /// The hub in a few lines.
    pub fn lines(&self) -> Vec<String> {
        let Overview {
            at,
            collecting,
            held,
            oldest_age_seconds,
            overdue,
            overdue_more,
            outbox_waiting,
            outbox_parked,
            lag,
            partitions,
            paused,
            ..
        } = &self.overview;
        let more = if *overdue_more { " or more" } else { "" };
        let unknown = partitions.iter().filter(|of| of.lag.is_none()).count();
        let unknown = if unknown > 0 { format!(", {unknown} partitions not known") } else { String::new() };
        let behind = partitions.iter().max_by_key(|of| of.lag).filter(|of| of.lag > Some(0));
        let behind = behind.map_or_else(String::new, |of| {
            format!(", most in {}:{} ({})", of.topic, of.partition, of.lag.unwrap_or_default())
        });
        vec![
            format!("at       {at}"),
            format!(
                "queries  {collecting} collecting, oldest {}, {held} held, {overdue}{more} overdue",
                oldest_age_seconds.map_or_else(|| "none".to_owned(), age)
            ),
            format!("reports  {}, {} missed their deadline", self.banks.reports, self.banks.missed),
            format!("lag      {lag} records{behind}{unknown}"),
            format!("outbox   {outbox_waiting} waiting, {outbox_parked} parked"),
            format!("paused   {}", names(paused.iter().map(|pause| pause.bank.as_str()))),
        ]
    }

    /// Whether somebody should look.
    pub fn is_bad(&self) -> bool {
        let Overview { overdue, outbox_parked, .. } = self.overview;
        overdue > 0 || outbox_parked > 0 || self.banks.missed > 0
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// `3d04h`, `5h07m`, `2m09s`, `12s`.
pub(super) fn age(seconds: u64) -> String {
    let (d, h, m, s) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, _) => format!("{m}m{s:02}s"),
        (0, _, _) => format!("{h}h{m:02}m"),
        _ => format!("{d}d{h:02}h"),
    }
}

/// By the share that was not answered; of the same, the slower; banks of which too little is known come last.
fn worst_first(a: &BankSummary, b: &BankSummary) -> Ordering {
    let rate = |bank: &BankSummary| bank.answer_rate.unwrap_or(f64::INFINITY);
    rate(a)
        .total_cmp(&rate(b))
        .then_with(|| b.p95_ms.cmp(&a.p95_ms))
        .then_with(|| (b.asked - b.answered.min(b.asked)).cmp(&(a.asked - a.answered.min(a.asked))))
        .then_with(|| a.bank.cmp(&b.bank))
}

/// One bank's cells, under [`COLUMNS`].
pub(super) fn cells(bank: &BankSummary) -> [String; COLUMNS.len()] {
    [
        bank.bank.clone(),
        text::state(bank),
        bank.asked.to_string(),
        text::rate(bank.answer_rate, text::TOO_FEW),
        text::milliseconds(bank.p50_ms, text::TOO_FEW),
        text::milliseconds(bank.p95_ms, text::TOO_FEW),
        text::milliseconds(bank.p99_ms, text::TOO_FEW),
        bank.unavailable.to_string(),
        bank.no_reply.to_string(),
        (bank.late_replies + bank.replies_after_end).to_string(),
        (bank.invalid_replies + bank.refused_replies).to_string(),
    ]
}

/// What the cells are.
pub(super) const COLUMNS: [&str; 11] =
    ["BANK", "STATE", "ASKED", "RATE", "P50", "P95", "P99", "UNAVAIL", "SILENT", "LATE", "INVALID"];

#[cfg(test)]
pub(super) mod tests {
    use aggregator::edge::operations::PartitionFacts;

    use super::*;
    use crate::bank::text::tests::{bank, facts};

    pub(crate) fn snapshot() -> Snapshot {
        let partition = |partition, lag: Option<u64>| PartitionFacts {
            topic: "cardquery.reply.alpha.v1".to_owned(),
            partition,
            next_offset: Some(5),
            read_to: None,
            end_offset: lag.map(|lag| 5 + i64::try_from(lag).expect("small")),
            lag,
        };
        let overview = Overview {
            at: "2026-11-24T08:00:00.000Z".to_owned(),
            collecting: 7,
            held: 2,
            oldest_accepted_at: Some("2026-11-24T02:53:00.000Z".to_owned()),
            oldest_age_seconds: Some(18_420),
            overdue: 0,
            overdue_more: false,
            outbox_waiting: 1,
            outbox_parked: 0,
            lag: 12,
            partitions: vec![partition(0, Some(2)), partition(1, Some(10)), partition(2, None)],
            paused: Vec::new(),
        };
        let with = |id: &str, rate, p95_ms| BankSummary { answer_rate: rate, p95_ms, ..bank(id) };
        let banks = vec![
            with("good", Some(1.0), Some(900)),
            with("new", None, None),
            with("slow", Some(1.0), Some(90_000)),
            with("bad", Some(0.25), Some(10)),
        ];
        Snapshot::new(overview, facts(banks))
    }

    #[test]
    fn the_worst_bank_is_first_and_one_that_little_is_known_of_last() {
        let order: Vec<String> = snapshot().banks.banks.iter().map(|bank| bank.bank.clone()).collect();
        assert_eq!(order, ["bad", "slow", "good", "new"]);
    }

    #[test]
    fn the_hub_is_told_in_lines_and_what_is_not_known_is_said() {
        let mut snapshot = snapshot();
        let text = snapshot.lines().join("\n");
        assert!(text.contains("7 collecting, oldest 5h07m, 2 held, 0 overdue"), "{text}");
        assert!(
            text.contains("12 records, most in cardquery.reply.alpha.v1:1 (10), 1 partitions not known"),
            "{text}"
        );
        assert!(!snapshot.is_bad());
        snapshot.overview.outbox_parked = 1;
        assert!(snapshot.is_bad());
    }

    #[test]
    fn ages_are_told_in_their_two_greatest_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (129, "2m09s"), (18_420, "5h07m"), (273_600, "3d04h")]
        {
            assert_eq!(age(seconds), text);
        }
    }
}
