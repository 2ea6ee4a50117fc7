//! The result, for a person and for a program.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use serde::Serialize;

use super::finding::Finding;
use super::source::Ends;

/// What is going to be read.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Plan {
    /// Queries whose reports are made once more.
    pub(super) queries: u64,
    /// Queries that are under way.
    pub(super) in_progress: u64,
    /// Queries that ended without a report.
    pub(super) ended: u64,
    /// Queries that were asked for, and are not in the log.
    pub(super) unknown: Vec<String>,
    /// Records to be read, per topic: an upper bound, by time.
    pub(super) records: BTreeMap<String, u64>,
    /// At 2,000 records a second.
    pub(super) seconds: u64,
}

/// What 100,000 queries took a build without optimisation on two busy cores, signatures and the hub's answers included.
const RECORDS_PER_SECOND: u64 = 2_000;

impl Plan {
    pub(super) fn total(&self) -> u64 {
        self.records.values().sum()
    }

    pub(super) fn estimate(&mut self) {
        self.seconds = self.total().div_ceil(RECORDS_PER_SECOND);
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "plan: {} queries, {} records of {} topics, about {} s",
            self.queries,
            self.total(),
            self.records.len(),
            self.seconds
        );
        let _ = write!(text, "; {} under way, {} ended without a report", self.in_progress, self.ended);
        for query in &self.unknown {
            let _ = write!(text, "\n  not in the log: {query}");
        }
        text
    }
}

/// What was counted.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Counts {
    /// Queries whose reports were made once more.
    pub(super) compared: u64,
    /// Of those, without a fault.
    pub(super) equal: u64,
    /// Of those, with one.
    pub(super) different: u64,
    /// Of those, ones of which retention removed records.
    pub(super) gone: u64,
    /// Queries that are under way.
    pub(super) in_progress: u64,
    /// Queries that ended without a report.
    pub(super) ended: u64,
    /// Queries that were compared with the hub's store.
    pub(super) stored: u64,
    /// Records read, the log's and the registry's included.
    pub(super) records: u64,
    /// Records written.
    pub(super) written: u64,
    /// Leaves of the log, by the index of the last one.
    pub(super) leaves: u64,
    /// So many of them, from the first on, are those that a checkpoint vouches for.
    pub(super) vouched: Option<u64>,
    /// Leaves and records of the log that this version cannot read.
    pub(super) unreadable: u64,
    /// How long it took.
    pub(super) seconds: f64,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Document {
    #[serde(flatten)]
    pub(super) counts: Counts,
    /// Queries that were asked for, and are not in the log.
    pub(super) unknown: Vec<String>,
    /// Whether every topic's end offsets are the same before and after.
    pub(super) ends_same: bool,
    /// End offset of every topic's partition before, and after.
    pub(super) ends: BTreeMap<String, (i64, Option<i64>)>,
    /// What was found.
    pub(super) findings: Vec<Finding>,
}

/// End offsets before and after.
pub(super) fn both(before: &Ends, after: &Ends) -> BTreeMap<String, (i64, Option<i64>)> {
    let end = |partition| after.get(partition).map(|(_, end)| *end);
    before
        .iter()
        .map(|(partition, (_, before))| {
            (format!("{}:{}", partition.0, partition.1), (*before, end(partition)))
        })
        .collect()
}

impl Document {
    pub(super) fn is_different(&self) -> bool {
        self.findings.iter().any(Finding::is_fault)
    }

    pub(super) fn text(&self) -> String {
        let Counts { compared, equal, different, gone, in_progress, ended, stored, .. } = &self.counts;
        let Counts { records, leaves, vouched, seconds, .. } = &self.counts;
        let mut lines = vec![
            format!("{compared} queries replayed: {equal} equal, {different} different"),
            format!(
                "  {stored} compared with the store; {in_progress} under way, {ended} ended without a report"
            ),
            format!("  {records} records read in {seconds:.1} s, none written"),
        ];
        if *gone > 0 {
            lines.push(format!("  {gone} with records that are no longer there: what is left was compared"));
        }
        lines.push(match vouched {
            Some(vouched) => format!("  log: {leaves} leaves, {vouched} of them vouched for by a checkpoint"),
            None => format!(
                "  log: {leaves} leaves, not compared with a checkpoint: not read from the first one on"
            ),
        });
        let moved: Vec<_> = self.ends.iter().filter(|(_, (before, after))| Some(*before) != *after).collect();
        lines.push(if moved.is_empty() {
            format!("  end offsets of {} partitions: the same before and after", self.ends.len())
        } else {
            format!(
                "  end offsets of {} partitions: {} moved, by other writers",
                self.ends.len(),
                moved.len()
            )
        });
        for (partition, (before, after)) in moved {
            let after = after.map_or_else(|| "gone".to_owned(), |after| after.to_string());
            lines.push(format!("    {partition}  {before} -> {after}"));
        }
        lines.extend(self.unknown.iter().map(|query| format!("  not in the log: {query}")));
        if !self.findings.is_empty() {
            lines.push(self.table());
        }
        lines.push(if self.is_different() { "DIFFERENT".to_owned() } else { "MATCH".to_owned() });
        lines.join("\n")
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY).set_header(["code", "query", "bank", "record", "detail"]);
        for finding in &self.findings {
            let Finding { code, upstream, query_id, bank, at, detail } = finding;
            let query = upstream.iter().zip(query_id).map(|(upstream, id)| format!("{upstream}/{id}"));
            table.add_row([
                code.to_string(),
                query.collect(),
                bank.clone().unwrap_or_default(),
                at.clone().unwrap_or_default(),
                detail.clone(),
            ]);
        }
        table.to_string()
    }
}
