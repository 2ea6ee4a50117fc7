//! A plan as a file: the plan, and its SHA-256, so that a plan that was edited by hand is not carried out.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use schemas::topics::Topics;
use serde::{Deserialize, Serialize};

use super::DlqError;
use super::plan::Plan;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    plan: Plan,
    sha256: String,
}

/// Writes a new file for its owner alone.
pub(super) fn write(path: &Path, plan: &Plan) -> Result<(), DlqError> {
    let form = |error: serde_json::Error| DlqError::Form(error.to_string());
    let document = Document { plan: plan.clone(), sha256: plan.sha256().map_err(form)? };
    let text = serde_json::to_string_pretty(&document).map_err(form)?;
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    written().map_err(|source| DlqError::Unwritable { path: path.to_owned(), source })
}

/// Reads a plan for this prefix that is as it was written.
pub(super) fn read(path: &Path, topics: &Topics) -> Result<Plan, DlqError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| DlqError::Unreadable { path: path.to_owned(), source })?;
    let wrong = |text: String| DlqError::WrongFile { path: path.to_owned(), text };
    let Document { plan, sha256 } =
        serde_json::from_str(&text).map_err(|error| wrong(format!("not a plan: {error}")))?;
    if plan.version != Plan::VERSION {
        return Err(wrong(format!("a plan of version {}, not {}", plan.version, Plan::VERSION)));
    }
    if plan.sha256().map_err(|error| DlqError::Form(error.to_string()))? != sha256 {
        return Err(wrong("PLAN_ALTERED: its sha256 is not that of the plan".to_owned()));
    }
    if plan.prefix != topics.prefix() {
        return Err(wrong(format!("a plan for the prefix `{}`, not `{}`", plan.prefix, topics.prefix())));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::dlq::plan::Step;

    fn plan() -> Plan {
        let mut plan = Plan::new("run-1".to_owned(), &Topics::default(), 50, 3);
        plan.steps.push(Step {
            at: "dlq.cardquery.reply.v1:1:42".to_owned(),
            to: "cardquery.reply.alpha.v1".to_owned(),
            code: None,
            replay: 1,
            sha256: "00".repeat(32),
        });
        plan
    }

    #[test]
    fn a_plan_comes_back_as_it_was_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plan.json");
        write(&path, &plan()).expect("written");
        assert_eq!(read(&path, &Topics::default()).expect("read"), plan());
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(matches!(write(&path, &plan()), Err(DlqError::Unwritable { .. })), "never overwritten");
    }

    #[test]
    fn an_edited_plan_a_plan_for_another_prefix_and_no_plan_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plan.json");
        write(&path, &plan()).expect("written");
        let other = read(&path, &Topics::new("other")).expect_err("another prefix").to_string();
        assert!(other.contains("a plan for the prefix `cardquery`"), "{other}");
        let text = std::fs::read_to_string(&path).expect("read");
        for (from, to, told) in [
            ("reply.alpha", "reply.beta", "PLAN_ALTERED"),
            ("\"rate\": 50", "\"rate\": 5000", "PLAN_ALTERED"),
            ("\"version\": 1", "\"version\": 2", "a plan of version 2"),
            ("\"rate\"", "\"speed\"", "not a plan"),
        ] {
            let edited = text.replacen(from, to, 1);
            assert_ne!(edited, text);
            std::fs::write(&path, edited).expect("written");
            let error = read(&path, &Topics::default()).expect_err(told).to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
