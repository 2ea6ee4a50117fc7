//! The units of `deploy/systemd`, and the settings that stand beside them.
//!
//! Nothing is started: a machine that runs tests need not run systemd. `systemd-analyze` reads the units as systemd would,
//! with the built programs in the place of the installed ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use cardquery::sample;
use cardquery_tests::process::{ChildProcess, binaries};
use plumbing::exit::Exit;
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(60);
const INSTALLED: &str = "/usr/lib/cardquery";
/// In tenths, as `systemd-analyze security --threshold` counts. What is left: the network is not private, and nothing can
/// say here which addresses a service may reach.
const MOST_EXPOSED: &str = "12";

/// A unit as it is started, the file it comes from, its program, and the settings that show how.
const UNITS: [(&str, &str, &str, &str); 4] = [
    ("cardquery-aggregator.service", "cardquery-aggregator.service", "aggregator", "aggregator.toml"),
    ("cardquery-notifier.service", "cardquery-notifier.service", "notifier", "notifier.toml"),
    ("cardquery-producer@wallet.service", "cardquery-producer@.service", "producer", "producer-wallet.toml"),
    (
        "cardquery-bank-connector@anhe.service",
        "cardquery-bank-connector@.service",
        "bank-connector",
        "bank-connector-anhe.toml",
    ),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The units as they are started, with the drop-ins that they share.
fn started_from() -> TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for (unit, file, _, _) in UNITS {
        let text = read(&folder().join(file)).replace(INSTALLED, &binaries().display().to_string());
        fs::write(copy.path().join(unit), text).expect("written");
    }
    let shared = copy.path().join("cardquery-.service.d");
    fs::create_dir(&shared).expect("made");
    for entry in fs::read_dir(folder().join("cardquery-.service.d")).expect("readable") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, shared.join(path.file_name().expect("a name"))).expect("copied");
    }
    copy
}

fn systemd_analyze(units: &TempDir, arguments: &[&str]) -> Output {
    let ran = Command::new("systemd-analyze").args(arguments).current_dir(units.path()).output();
    ran.expect("systemd-analyze runs: it is in Debian's package systemd")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn systemd_finds_nothing_wrong_with_any_unit() {
    let units = started_from();
    for (unit, _, _, _) in UNITS {
        let verified = systemd_analyze(&units, &["verify", "--man=no", &format!("./{unit}")]);
        assert!(verified.status.success() && said(&verified).is_empty(), "{unit}: {}", said(&verified));
    }
}

#[test]
fn every_unit_is_confined() {
    let units = started_from();
    for (unit, _, _, _) in UNITS {
        let threshold = format!("--threshold={MOST_EXPOSED}");
        let judged =
            systemd_analyze(&units, &["security", "--offline=true", &threshold, &format!("./{unit}")]);
        assert!(judged.status.success(), "{unit}: {}", said(&judged));
    }
}

#[test]
fn a_process_is_started_again_unless_somebody_has_to_mend_something_first() {
    let supervision = read(&folder().join("cardquery-.service.d/10-supervision.conf"));
    let codes: BTreeSet<u8> = values(&supervision, "RestartPreventExitStatus")
        .flat_map(str::split_whitespace)
        .map(|code| code.parse().expect("a number"))
        .collect();
    let people = [Exit::Usage, Exit::BadData, Exit::NoInput, Exit::Denied, Exit::Config].map(Exit::code);
    assert_eq!(codes, BTreeSet::from(people));

    let seconds: u64 = values(&supervision, "TimeoutStopSec").next().expect("set").parse().expect("a number");
    for (_, file, _, _) in UNITS {
        let unit = read(&folder().join(file));
        let line = values(&unit, "ExecStart").next().expect("a command");
        let (_, grace) = line.split_once("--grace ").expect("a grace");
        assert!(grace.parse::<u64>().expect("a number") < seconds, "{file} would be killed while it drains");
    }
}

/// The values of a key in a unit file.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='))
}

#[tokio::test]
async fn the_settings_beside_a_unit_are_right_and_name_the_credentials_that_it_loads() {
    let roots: Vec<_> = sample::keys::roots().iter().map(|root| hex::encode(root.to_wire().raw)).collect();
    for (unit, file, program, settings) in UNITS {
        let here = tempfile::tempdir().expect("a folder");
        let credentials = format!("/run/credentials/{unit}/");
        let text = read(&folder().join("settings").join(settings));
        let named: BTreeSet<_> = text
            .split(&credentials)
            .skip(1)
            .map(|rest| rest.split_once('"').expect("a text ends").0.to_owned())
            .collect();
        let instance = unit.split_once('@').and_then(|(_, rest)| rest.strip_suffix(".service"));
        let unit_text = read(&folder().join(file)).replace("%i", instance.unwrap_or_default());
        let loaded: BTreeMap<_, _> = values(&unit_text, "LoadCredential")
            .map(|value| value.split_once(':').expect("name:path"))
            .collect();
        assert_eq!(named, loaded.keys().map(|name| (*name).to_owned()).collect(), "{unit}");
        for (name, path) in loaded {
            assert!(path.starts_with("/etc/cardquery/credentials/") && path.ends_with(name), "{path}");
            let content = match name.rsplit_once('.') {
                Some((_, "url")) => "postgres://reader:hunter2@db.example/cards".to_owned(),
                Some((_, "password")) => "hunter2".to_owned(),
                _ => hex::encode([7; 32]),
            };
            fs::write(here.path().join(name), content).expect("written");
        }
        let state = here.path().join("state");
        fs::create_dir_all(state.join("cardquery/aggregator/day-keys")).expect("made");
        let text = text
            .replace(&credentials, &format!("{}/", here.path().display()))
            .replace("/var/lib", &state.display().to_string());
        let path = here.path().join(settings);

        fs::write(&path, &text).expect("written");
        let arguments = ["config", "check", "-c", path.to_str().expect("UTF-8")];
        let mut unedited = ChildProcess::spawn(program, &arguments, &[]);
        assert_eq!(unedited.wait(WITHIN).await, 78, "{unit}: nobody's roots are believed");

        fs::write(&path, text.replace("FIRST_ROOT", &roots[0]).replace("SECOND_ROOT", &roots[1]))
            .expect("written");
        let arguments = [&arguments[..], &["--set", "registry.allow_sample_roots=true"]].concat();
        let mut checked = ChildProcess::spawn(program, &arguments, &[]);
        assert_eq!(checked.wait(WITHIN).await, 0, "{unit}: {}", checked.stderr());
        assert!(unit_text.contains(&format!("{INSTALLED}/{program} --config /etc/cardquery/{settings} ")));
    }
}
