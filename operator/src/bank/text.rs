//! Pure: banks for a person at a terminal.

use aggregator::edge::operations::{BankSummary, BanksFacts, PauseFacts};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// Stands for a figure that there are too few cases for.
pub(crate) const NOT_ENOUGH: &str = "not enough data";
/// The same in a narrow column.
pub(crate) const TOO_FEW: &str = "n/a";

/// All banks.
pub(crate) fn list(facts: &BanksFacts) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "BANK", "STATE", "ASKED", "ANSWERED", "RATE", "P50", "P95", "P99", "UNAVAIL", "SILENT", "REFUSED",
        "INVALID", "LATE",
    ]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for bank in &facts.banks {
        table.add_row([
            bank.bank.clone(),
            state(bank),
            bank.asked.to_string(),
            bank.answered.to_string(),
            rate(bank.answer_rate, TOO_FEW),
            milliseconds(bank.p50_ms, TOO_FEW),
            milliseconds(bank.p95_ms, TOO_FEW),
            milliseconds(bank.p99_ms, TOO_FEW),
            bank.unavailable.to_string(),
            bank.no_reply.to_string(),
            bank.refused.to_string(),
            bank.invalid_reply.to_string(),
            bank.late_replies.to_string(),
        ]);
    }
    let pauses = facts.banks.iter().filter_map(|bank| bank.paused.as_ref()).map(pause);
    let lines: Vec<String> = pauses.chain([footer(facts)]).collect();
    let table: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    format!("{}\n\n{}", table.join("\n"), lines.join("\n"))
}

/// One bank.
pub(super) fn show(bank: &BankSummary, facts: &BanksFacts) -> String {
    let line = |name: &str, value: String| format!("  {name:<22} {value}");
    let mut lines = vec![format!("{}  {}", bank.bank, state(bank))];
    lines.extend(bank.paused.as_ref().map(|paused| format!("  {}", pause(paused))));
    lines.extend([
        line("asked", bank.asked.to_string()),
        line("answered", bank.answered.to_string()),
        line("refused", bank.refused.to_string()),
        line("unavailable", bank.unavailable.to_string()),
        line("no reply", bank.no_reply.to_string()),
        line("invalid reply", bank.invalid_reply.to_string()),
        line("suspended", bank.suspended.to_string()),
        line("answer rate", rate(bank.answer_rate, NOT_ENOUGH)),
        line("reply p50", milliseconds(bank.p50_ms, NOT_ENOUGH)),
        line("reply p95", milliseconds(bank.p95_ms, NOT_ENOUGH)),
        line("reply p99", milliseconds(bank.p99_ms, NOT_ENOUGH)),
        line("replies that count", bank.replies.to_string()),
        line("reports with conflict", bank.conflicts.to_string()),
        line("late replies", bank.late_replies.to_string()),
        line("after the end", bank.replies_after_end.to_string()),
        line("duplicate replies", bank.duplicate_replies.to_string()),
        line("conflicting replies", bank.conflicting_replies.to_string()),
        line("invalid replies", bank.invalid_replies.to_string()),
        line("refused replies", bank.refused_replies.to_string()),
        String::new(),
        footer(facts),
    ]);
    lines.join("\n")
}

pub(crate) fn state(bank: &BankSummary) -> String {
    if bank.paused.is_some() { format!("{} PAUSED", bank.state) } else { bank.state.clone() }
}

/// One pause.
pub(super) fn pause(pause: &PauseFacts) -> String {
    let PauseFacts { bank, since, reason, by } = pause;
    format!("{bank} is paused since {since} by {by}: {reason}")
}

fn footer(facts: &BanksFacts) -> String {
    let BanksFacts { since, until, reports, missed, cut, .. } = facts;
    let newest = if *cut { "the newest " } else { "" };
    let cut = if *cut { "; older ones are left out" } else { "" };
    format!("{newest}{reports} reports from {since} to {until}, {missed} missed their deadline{cut}")
}

pub(crate) fn rate(rate: Option<f64>, without: &str) -> String {
    rate.map_or_else(|| without.to_owned(), |rate| format!("{:.1}%", rate * 100.0))
}

/// In the unit that a person reads it in.
pub(crate) fn milliseconds(ms: Option<u32>, without: &str) -> String {
    let Some(ms) = ms else { return without.to_owned() };
    let seconds = f64::from(ms) / 1_000.0;
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{seconds:.1}s"),
        60_000..3_600_000 => format!("{:.1}m", seconds / 60.0),
        3_600_000.. => format!("{:.1}h", seconds / 3_600.0),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn bank(id: &str) -> BankSummary {
        BankSummary {
            bank: id.to_owned(),
            state: "ACTIVE".to_owned(),
            paused: None,
            asked: 12,
            answered: 9,
            refused: 1,
            unavailable: 2,
            invalid_reply: 0,
            no_reply: 0,
            suspended: 0,
            answer_rate: None,
            replies: 10,
            p50_ms: None,
            p95_ms: None,
            p99_ms: None,
            conflicts: 0,
            late_replies: 3,
            replies_after_end: 0,
            duplicate_replies: 4,
            conflicting_replies: 0,
            invalid_replies: 5,
            refused_replies: 6,
        }
    }

    pub(crate) fn facts(banks: Vec<BankSummary>) -> BanksFacts {
        BanksFacts {
            since: "2026-11-23T08:00:00.000Z".to_owned(),
            until: "2026-11-24T08:00:00.000Z".to_owned(),
            reports: 12,
            missed: 0,
            cut: false,
            banks,
        }
    }

    #[test]
    fn a_figure_without_enough_data_says_so_and_a_pause_is_told_with_its_reason() {
        let paused = PauseFacts {
            bank: "beta".to_owned(),
            since: "2026-11-24T07:00:00.000Z".to_owned(),
            reason: "they asked for it".to_owned(),
            by: "operator".to_owned(),
        };
        let many =
            BankSummary { answer_rate: Some(0.75), p50_ms: Some(950), p95_ms: Some(61_000), ..bank("alpha") };
        let facts = facts(vec![many, BankSummary { paused: Some(paused), ..bank("beta") }]);
        let text = list(&facts);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].contains("75.0%") && lines[1].contains("950ms") && lines[1].contains("1.0m"),
            "{text}"
        );
        assert!(lines[2].contains("ACTIVE PAUSED") && lines[2].matches("n/a").count() == 4, "{text}");
        assert!(
            text.contains("beta is paused since 2026-11-24T07:00:00.000Z by operator: they asked for it"),
            "{text}"
        );
        let one = show(&facts.banks[1], &facts);
        assert_eq!(one.matches("not enough data").count(), 4, "{one}");
        assert!(
            one.contains("invalid replies        5") && one.contains("refused replies        6"),
            "{one}"
        );
    }

    #[test]
    fn figures_of_a_part_say_of_which() {
        let cut = BanksFacts { cut: true, ..facts(Vec::new()) };
        assert!(list(&cut).contains("the newest 12 reports from 2026-11-23"), "{}", list(&cut));
        assert!(list(&cut).contains("older ones are left out"));
    }

    #[test]
    fn times_have_the_unit_that_they_are_read_in() {
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1.0s"),
            (59_999, "60.0s"),
            (90_000, "1.5m"),
            (5_400_000, "1.5h"),
        ] {
            assert_eq!(milliseconds(Some(ms), ""), text);
        }
    }
}
