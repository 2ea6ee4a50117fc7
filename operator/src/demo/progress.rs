//! What a demo says while it runs, on standard error: a bar on a terminal, lines otherwise.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

/// Tells a person how far the demo is.
pub(crate) struct Progress {
    started: Instant,
    bar: Option<ProgressBar>,
    last: String,
}

impl Progress {
    /// Starts the clock.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), bar: None, last: String::new() }
    }

    /// What runs here, before anything takes time.
    pub(crate) fn title(&self, text: &str) {
        self.line(text);
    }

    /// A phase is over.
    pub(crate) fn step(&self, label: &str, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.line(&format!("  {label:<11} {text}  {seconds:.1} s"));
    }

    /// So many banks have answered; `waiting` names the others.
    pub(crate) fn answered(&mut self, answered: u32, banks: u32) {
        let text = format!("{answered} of {banks} answered");
        if text == self.last {
            return;
        }
        self.last.clone_from(&text);
        if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| bar(banks));
            bar.set_message(text);
            bar.set_position(u64::from(answered));
        } else {
            self.step("banks", &text);
        }
    }

    /// The bar makes room for what follows.
    pub(crate) fn done(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            // Nobody is left to be told when standard error is closed.
            None => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

fn bar(banks: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:22.cyan/blue} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("██░");
    ProgressBar::new(u64::from(banks)).with_style(style)
}
