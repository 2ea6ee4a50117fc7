//! A report as a person reads it, and pastes it into a ticket.

use std::fmt;

use super::report::{Finding, Report, State, Summary};

/// A line that is longer pushes its state to the right.
const WIDEST: usize = 100;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.findings().iter().map(|finding| finding.what.chars().count());
        let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or(0);
        for finding in self.findings() {
            line(f, finding, width)?;
        }
        let exit = self.exit().code();
        write!(f, "{:<width$}  exit {exit}", self.summary().to_string(), width = width + 10)
    }
}

fn line(f: &mut fmt::Formatter<'_>, finding: &Finding, width: usize) -> fmt::Result {
    let Finding { check, what, state, ms } = finding;
    let ms = ms.map_or_else(String::new, |ms| format!("{ms} ms"));
    write!(f, "{check:<9} {what:<width$} {ms:>9}  ")?;
    match state {
        State::Ok => writeln!(f, "ok"),
        State::Warning { fix } => writeln!(f, "WARN     → {fix}"),
        State::Failed { fix, .. } => writeln!(f, "FAILED   → {fix}"),
        State::Skipped { needs } => writeln!(f, "skipped  needs: {needs}"),
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ok, warnings, failed, skipped } = self;
        let s = if *warnings == 1 { "" } else { "s" };
        write!(f, "{ok} ok, {warnings} warning{s}, {failed} failed")?;
        if *skipped > 0 { write!(f, ", {skipped} skipped") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::exit::Exit;

    #[test]
    fn states_stand_below_each_other_and_every_trouble_has_its_fix() {
        let mut report = Report::default();
        report.ok("build", "librdkafka");
        report.timed("dns/tcp", "kafka-1:9094 → 10.2.3.4", State::Ok, Duration::from_millis(11));
        report.add("acl", "WRITE reply", State::failed(Exit::Denied, "ask\nthe operator"));
        report.skip("rehearsal", "a card\nof nobody", "core");
        let expected = "\
build     librdkafka                         ok
dns/tcp   kafka-1:9094 → 10.2.3.4     11 ms  ok
acl       WRITE reply                        FAILED   → ask; the operator
rehearsal a card; of nobody                  skipped  needs: core
2 ok, 0 warnings, 1 failed, 1 skipped  exit 77";
        assert_eq!(report.to_string(), expected);
    }
}
