//! `docs/PROMISES.md` names tests that are there, and `tests/promises-kept` notices when one of them did not pass.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A row of the table.
struct Promise {
    number: usize,
    /// Name and file of each test.
    tests: Vec<(String, String)>,
    /// Why there is none.
    reason: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's folder").to_owned()
}

fn promises() -> Vec<Promise> {
    let text = fs::read_to_string(root().join("docs/PROMISES.md")).expect("it can be read");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let number = cells[0].parse().ok()?;
        let [_, _, _, tests, _] = cells[..] else { panic!("promise {number} has {} cells", cells.len()) };
        let reason = tests.strip_prefix("No test: ").map(str::to_owned);
        let tests = if reason.is_some() { Vec::new() } else { named(number, tests) };
        Some(Promise { number, tests, reason })
    });
    rows.collect()
}

/// `` `a`, `b` in `file`; `c` in `other` ``
fn named(row: usize, cell: &str) -> Vec<(String, String)> {
    let mut tests = Vec::new();
    for group in cell.split("; ") {
        let (names, file) =
            group.split_once(" in ").unwrap_or_else(|| panic!("promise {row} names no file: {group}"));
        let unquoted = |text: &str| {
            let inner = text.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
            inner.unwrap_or_else(|| panic!("promise {row} does not quote {text}")).to_owned()
        };
        tests.extend(names.split(", ").map(|name| (unquoted(name), unquoted(file))));
    }
    tests
}

/// Whether `text` has a function of that name under an attribute that makes it a test.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    lines.iter().enumerate().any(|(place, line)| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let is_it = line.strip_prefix("fn ").is_some_and(|rest| rest.starts_with(&format!("{name}(")));
        let attributes = lines[..place].iter().rev().take_while(|line| line.starts_with("#["));
        is_it
            && attributes
                .into_iter()
                .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn there_are_24_promises_and_every_test_that_they_name_is_in_the_named_file() {
    let promises = promises();
    assert_eq!(
        promises.iter().map(|promise| promise.number).collect::<Vec<_>>(),
        (1..=24).collect::<Vec<_>>()
    );
    for promise in promises {
        match promise.reason {
            Some(reason) => assert!(reason.len() > 40, "promise {} gives no reason", promise.number),
            None => assert!(!promise.tests.is_empty(), "promise {} has no test", promise.number),
        }
        for (name, file) in promise.tests {
            let text = fs::read_to_string(root().join(&file));
            let text = text.unwrap_or_else(|error| panic!("promise {}: {file}: {error}", promise.number));
            assert!(has_test(&text, &name), "promise {}: no test {name} in {file}", promise.number);
        }
    }
}

#[test]
fn a_run_in_which_a_named_test_did_not_pass_keeps_no_promises() {
    let names: BTreeSet<String> =
        promises().into_iter().flat_map(|promise| promise.tests).map(|(name, _)| name).collect();
    let log = |verdict: &dyn Fn(&str) -> Option<&'static str>| {
        let lines =
            names.iter().filter_map(|name| Some(format!("test module::{name} ... {}\n", verdict(name)?)));
        judged(&lines.collect::<String>())
    };
    let kept = log(&|_| Some("ok"));
    assert!(kept.status.success(), "{kept:?}");
    let one = names.first().expect("there are tests");
    for verdict in [None, Some("FAILED"), Some("ignored")] {
        let broken = log(&|name| if name == one { verdict } else { Some("ok") });
        assert!(!broken.status.success(), "{verdict:?}: {broken:?}");
        let said = String::from_utf8(broken.stderr).expect("a text");
        assert!(said.contains(&format!("{one}: {}", verdict.unwrap_or("not run"))), "{said}");
    }
    // The same name passed in one package and failed in another.
    let mut twice: String = names.iter().map(|name| format!("test {name} ... ok\n")).collect();
    twice.push_str(&format!("test other::{one} ... FAILED\n"));
    assert!(!judged(&twice).status.success());
}

fn judged(log: &str) -> Output {
    let mut file = tempfile::NamedTempFile::new().expect("the temporary directory is writable");
    file.write_all(log.as_bytes()).expect("written");
    Command::new(root().join("tests/promises-kept")).arg(file.path()).output().expect("bash is there")
}
