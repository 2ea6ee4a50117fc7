//! What was found, and which exit code says it.

use std::time::Duration;

use serde::Serialize;

use crate::exit::Exit;

/// Of several failures the first of these decides, so that what a script does on the exit code is right for all of
/// them: 69 alone means that trying again may help.
const PRECEDENCE: [Exit; 5] = [Exit::Software, Exit::Config, Exit::Denied, Exit::BadData, Exit::Unavailable];

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check, a word for scripts.
    pub check: &'static str,
    /// What was looked at, and what was seen.
    pub what: String,
    /// How it stands.
    #[serde(flatten)]
    pub state: State,
    /// How long the answer took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
}

/// How something stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    /// As it should.
    Ok,
    /// It works, and something should be done.
    Warning {
        /// What.
        fix: String,
    },
    /// It does not work.
    Failed {
        /// What to do about it.
        fix: String,
        /// The exit code of this failure alone.
        #[serde(serialize_with = "code")]
        exit: Exit,
    },
    /// It was not looked at.
    Skipped {
        /// What it needs.
        needs: String,
    },
}

fn code<S: serde::Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

/// How many lines of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Summary {
    pub ok: usize,
    pub warnings: usize,
    pub failed: usize,
    pub skipped: usize,
}

/// The report as one JSON document.
#[derive(Clone, Debug, Serialize)]
pub struct Document<'a> {
    findings: &'a [Finding],
    summary: Summary,
    exit: u8,
}

/// Everything that was found, in the order in which it was looked at.
#[derive(Clone, Debug, Default)]
pub struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// Adds a line that needs no time of its own.
    pub fn add(&mut self, check: &'static str, what: impl Into<String>, state: State) {
        self.push(check, what.into(), state, None);
    }

    /// Adds a line about something that answered after `took`.
    pub fn timed(&mut self, check: &'static str, what: impl Into<String>, state: State, took: Duration) {
        self.push(check, what.into(), state, u64::try_from(took.as_millis()).ok());
    }

    /// Adds a line about something that is as it should be.
    pub fn ok(&mut self, check: &'static str, what: impl Into<String>) {
        self.add(check, what, State::Ok);
    }

    /// Adds a line about something that was not looked at.
    pub fn skip(&mut self, check: &'static str, what: impl Into<String>, needs: impl Into<String>) {
        self.add(check, what, State::Skipped { needs: needs.into() });
    }

    /// Adds the lines of another report.
    pub fn append(&mut self, mut other: Self) {
        self.findings.append(&mut other.findings);
    }

    /// Adds a line for each of these checks, which all need `needs`.
    pub fn skip_all(&mut self, checks: &[&'static str], needs: &str) {
        for check in checks {
            self.skip(check, "not looked at", needs);
        }
    }

    fn push(&mut self, check: &'static str, what: String, state: State, ms: Option<u64>) {
        let what = one_line(&what);
        self.findings.push(Finding { check, what, state, ms });
    }

    /// The lines.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many lines of which kind.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for finding in &self.findings {
            match finding.state {
                State::Ok => summary.ok += 1,
                State::Warning { .. } => summary.warnings += 1,
                State::Failed { .. } => summary.failed += 1,
                State::Skipped { .. } => summary.skipped += 1,
            }
        }
        summary
    }

    /// The exit code: 0 unless something failed, else the weightiest failure's.
    pub fn exit(&self) -> Exit {
        exit_of(self.findings.iter().filter_map(|finding| match finding.state {
            State::Failed { exit, .. } => Some(exit),
            State::Ok | State::Warning { .. } | State::Skipped { .. } => None,
        }))
    }

    /// The report as a JSON document.
    pub fn document(&self) -> Document<'_> {
        Document { findings: &self.findings, summary: self.summary(), exit: self.exit().code() }
    }
}

impl State {
    /// It does not work.
    pub fn failed(exit: Exit, fix: impl Into<String>) -> Self {
        Self::Failed { fix: one_line(&fix.into()), exit: sorted(exit) }
    }

    /// It works, and something should be done.
    pub fn warning(fix: impl Into<String>) -> Self {
        Self::Warning { fix: one_line(&fix.into()) }
    }
}

/// What another program says may have several lines; one of ours is one line.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

/// The codes of a doctor are few: a file that the settings name and that is not there is a mistake in the settings.
const fn sorted(exit: Exit) -> Exit {
    match exit {
        Exit::Usage | Exit::NoInput | Exit::CannotCreate => Exit::Config,
        Exit::TryAgain => Exit::Unavailable,
        Exit::Ok | Exit::Software => Exit::Software,
        Exit::BadData | Exit::Unavailable | Exit::Denied | Exit::Config => exit,
    }
}

fn exit_of(failures: impl Iterator<Item = Exit>) -> Exit {
    let rank = |exit: &Exit| PRECEDENCE.iter().position(|known| known == exit).unwrap_or(0);
    failures.min_by_key(rank).unwrap_or(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_failures_the_one_that_waiting_does_not_mend_decides() {
        for (failures, expected) in [
            (vec![], 0),
            (vec![Exit::Unavailable], 69),
            (vec![Exit::Unavailable, Exit::BadData], 65),
            (vec![Exit::BadData, Exit::Denied, Exit::Unavailable], 77),
            (vec![Exit::Denied, Exit::Config, Exit::Unavailable], 78),
            (vec![Exit::Config, Exit::Software], 70),
        ] {
            assert_eq!(exit_of(failures.into_iter()).code(), expected);
        }
    }

    #[test]
    fn warnings_and_what_was_not_looked_at_do_not_fail_a_run() {
        let mut report = Report::default();
        report.ok("build", "librdkafka");
        report.add("tls", "12 days left", State::warning("renew"));
        report.skip("acl", "topic", "sasl");
        assert_eq!(report.exit(), Exit::Ok);
        assert_eq!(report.summary(), Summary { ok: 1, warnings: 1, failed: 0, skipped: 1 });
        report.add("key", "no file", State::failed(Exit::NoInput, "write it"));
        let document = serde_json::to_value(report.document()).expect("a document");
        assert_eq!(document["exit"], 78);
        assert_eq!(document["findings"][3]["state"], "failed");
        assert_eq!(document["findings"][3]["exit"], 78);
        assert_eq!(document["findings"][2]["needs"], "sasl");
    }
}
