//! One run of a doctor.

use std::time::Duration;

use cardquery_tests::process::ChildProcess;
use serde::Deserialize;

/// Longer than a run may ever take; how long it takes is nothing that a test decides.
const WITHIN: Duration = Duration::from_secs(90);

#[derive(Debug, Deserialize)]
struct Finding {
    check: String,
    what: String,
    state: String,
    #[serde(default)]
    fix: String,
}

#[derive(Debug, Deserialize)]
struct Document {
    findings: Vec<Finding>,
    exit: i32,
}

/// What a doctor said.
pub(crate) struct Examined {
    document: Document,
    exit: i32,
    printed: String,
}

/// What has to be said about a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    /// The name of the check.
    pub(crate) check: &'a str,
    /// Part of what was seen.
    pub(crate) what: &'a str,
    /// Part of what to do.
    pub(crate) fix: &'a str,
    /// The exit code of the run.
    pub(crate) exit: i32,
}

impl Examined {
    /// Runs a binary's doctor with these arguments.
    pub(crate) async fn by(binary: &str, args: &[&str]) -> Self {
        let args: Vec<&str> = ["doctor", "--json"].into_iter().chain(args.iter().copied()).collect();
        let mut process = ChildProcess::spawn(binary, &args, &[]);
        let exit = process.wait(WITHIN).await;
        let printed = process.stdout();
        let document = serde_json::from_str(&printed)
            .unwrap_or_else(|error| panic!("{binary} {args:?}: {error}: {printed}{}", process.stderr()));
        let printed = printed + &process.stderr();
        Self { document, exit, printed }
    }

    /// That nothing failed or was left out, and that nothing is warned of but these.
    #[track_caller]
    pub(crate) fn is_well_but_for(&self, warnings: &[&str]) {
        for finding in &self.document.findings {
            match finding.state.as_str() {
                "ok" => {}
                "warning" if warnings.iter().any(|known| finding.what.contains(known)) => {}
                _ => panic!("{finding:?}"),
            }
        }
        assert_eq!((self.exit, self.document.exit), (0, 0));
    }

    /// That a fault is named with its fix, in the state that its exit code asks for.
    #[track_caller]
    pub(crate) fn names(&self, expected: &Expected<'_>) {
        let state = if expected.exit == 0 { "warning" } else { "failed" };
        let named = self.document.findings.iter().any(|finding| {
            finding.check == expected.check
                && finding.state == state
                && finding.what.contains(expected.what)
                && finding.fix.contains(expected.fix)
        });
        assert!(named, "{expected:?} is not among {:#?}", self.document.findings);
        assert_eq!((self.exit, self.document.exit), (expected.exit, expected.exit), "{}", self.printed);
    }

    /// That something is warned of, whatever else failed.
    #[track_caller]
    pub(crate) fn warns(&self, check: &str, what: &str, fix: &str) {
        let named = self.document.findings.iter().any(|finding| {
            finding.check == check
                && finding.state == "warning"
                && finding.what.contains(what)
                && finding.fix.contains(fix)
        });
        assert!(named, "{check}: {what} is not among {:#?}", self.document.findings);
    }

    /// That none of these texts was printed.
    #[track_caller]
    pub(crate) fn tells_none_of(&self, secrets: &[String]) {
        for (index, secret) in secrets.iter().enumerate() {
            assert!(secret.len() >= 16, "secret {index} is too short to be looked for");
            assert!(!self.printed.contains(secret), "secret {index} is printed");
        }
    }

    /// What was printed.
    pub(crate) fn printed(&self) -> &str {
        &self.printed
    }
}
