//! Both doctors beside a system that runs: a healthy one, and one planted fault after the other. Every fault has to be
//! named in a line of its own, with its fix and its exit code.

mod bank;
mod examined;
mod hub;

use std::path::Path;

use cardquery_tests::system::{Setup, System};
use secrecy::ExposeSecret;

/// Two banks are enough to be a stranger to one.
const BANKS: [&str; 2] = ["anhe", "taihe"];
const BANK: &str = "anhe";

async fn system() -> System {
    System::start(Setup { banks: BANKS.into(), ..Setup::default() }).await
}

/// The settings of a process or of the operator.
fn settings(system: &System, name: &str) -> toml::Table {
    let path = system.local.plan.folder.join(format!("{name}.toml"));
    let text = std::fs::read_to_string(path).expect("the system's settings");
    text.parse().expect("TOML")
}

/// Sets a value by its dotted path; a table on the way is made. A part in quotes may have dots.
fn set(settings: &mut toml::Table, path: &[&str], value: impl Into<toml::Value>) {
    let (last, way) = path.split_last().expect("a path");
    let mut table = settings;
    for part in way {
        let next = table.entry(*part).or_insert_with(|| toml::Table::new().into());
        // Of a list of tables the first.
        let next = if next.is_array() { &mut next[0] } else { next };
        table = next.as_table_mut().expect("a table");
    }
    table.insert((*last).to_owned(), value.into());
}

/// Everything of a system that no output may show.
fn secrets(system: &System) -> Vec<String> {
    let stack = &system.local.stack;
    let mut secrets: Vec<String> = ["admin", "bank-anhe", "bank-taihe"]
        .map(|user| stack.password(user).expect("it has a password").expose_secret().to_owned())
        .into();
    let keys = system.local.plan.folder.join("keys");
    for file in std::fs::read_dir(keys).expect("the system's keys") {
        let path = file.expect("a file").path();
        secrets.extend(secrets_in(&path));
    }
    secrets
}

/// What of a file of secrets must not be shown: a key as a whole, the password of an address.
fn secrets_in(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let text = text.trim();
    match path.extension()?.to_str()? {
        "pem" => None,
        "postgres" | "redis" => {
            let (user, _) = text.split_once('@')?;
            Some(user.rsplit_once(':')?.1.to_owned())
        }
        _ => Some(text.lines().nth(1).unwrap_or(text).to_owned()),
    }
}
