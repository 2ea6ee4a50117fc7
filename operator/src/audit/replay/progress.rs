//! How far a replay is, on standard error: a bar on a terminal, a line for each step otherwise.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(200);

/// What is told while a replay runs.
pub(super) struct Progress {
    started: Instant,
    bar: Option<ProgressBar>,
    records: u64,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), bar: None, records: 0 }
    }

    /// So many records are expected.
    pub(super) fn expect(&mut self, records: u64) {
        if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("  {bar:22.cyan/blue} {pos}/{len} records, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(records).with_style(style);
            bar.enable_steady_tick(TICK);
            self.bar = Some(bar);
        }
    }

    /// Records were read.
    pub(super) fn read(&mut self, records: u64) {
        self.records += records;
        if let Some(bar) = &self.bar {
            bar.inc(records);
        }
    }

    /// Records so far.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// A step is over.
    pub(super) fn step(&self, text: &str) {
        let line = format!("{text}, {:.1} s", self.took().as_secs_f64());
        match &self.bar {
            Some(bar) => bar.println(line),
            // Nobody is left to be told when standard error is closed.
            None => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }

    /// Since the beginning.
    pub(super) fn took(&self) -> Duration {
        self.started.elapsed()
    }

    /// The bar makes room for what follows.
    pub(super) fn done(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
