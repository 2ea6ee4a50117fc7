//! `cardquery audit`: what an auditor does with the log of what happened.
//!
//! ```text
//!  topics ──export──▶ folder ──verify──▶ findings
//!                        └─────prove───▶ proof.json ──check──▶ what it shows
//! ```
//!
//! | file | role |
//! |---|---|
//! | `layout.rs`, `notes.rs`, `registry_file.rs` | pure: the form of an export |
//! | `folder.rs` | an export on a disk |
//! | `export/` | the topics into an export |
//! | `verify/` | an export against root keys |
//! | `compare.rs` | two exports |
//! | `proof.rs`, `reply.rs` | proofs for third parties |
//! | `consistency.rs` | two checkpoints |
//! | `codes.rs`, `finding.rs` | what a check can find, with help, and how it is told |
//! | `sorter.rs`, `hexed.rs` | sorting on disk, bytes in documents |
//! | `options.rs` | the command line |
//! | `replay/` | every report once more from the topics |
//!
//! All but `export/` works without a network. What must never happen here: anything is written to a topic, or an offset is
//! committed.

pub mod codes;
pub mod compare;
pub mod consistency;
pub mod export;
pub mod finding;
pub mod folder;
mod hexed;
pub mod layout;
pub mod notes;
pub mod options;
pub mod proof;
pub mod registry_file;
pub mod replay;
mod reply;
mod sorter;
pub mod verify;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use plumbing::exit::{Exit, Failure};
use plumbing::registry::RegistryConfig;
use schemas::keys::VerifyingKey;
use serde_json::json;

use self::finding::Finding;
use self::folder::Folder;
use self::options::{Check, Command, Consistency, EvidenceCommand, Export, Options, Prove, Verify};
use self::verify::Witnessed;

/// Runs the command and prints.
///
/// # Errors
/// With the exit code of what stands in the way.
pub async fn run(options: Options) -> Result<ExitCode, Failure> {
    match options.command {
        Command::Check(args) => check(&args),
        Command::Codes { json: true } => say(&codes::json().to_string()),
        Command::Codes { json: false } => say(&codes::text()),
        Command::Evidence(EvidenceCommand::Check(options)) => replay::check(&options),
        Command::Replay(options) => replay::run(&options).await,
        Command::Consistency(args) => consistency(&args),
        Command::Export(args) => copy(&args).await,
        Command::Prove(args) => prove(&args),
        Command::Verify(args) => verify_copy(&args),
    }
}

async fn copy(args: &Export) -> Result<ExitCode, Failure> {
    let exported = export::run(args.config.as_deref(), &args.out).await?;
    if args.json {
        return say(&json!(exported).to_string());
    }
    let export::Exported { signed, new, unsigned, checkpoints, registry, strange } = exported;
    let strange = strange.first().map_or_else(String::new, |first| {
        let count = strange.len();
        format!("\nleft out: {count} checkpoints that the hub did not sign, the first one at offset {first}")
    });
    say(&format!(
        "{}: {signed} entries under the largest checkpoint\nnew: {new} entries, {checkpoints} checkpoints, {registry} registry \
         entries; {unsigned} entries wait for a checkpoint{strange}",
        args.out.display()
    ))
}

fn verify_copy(args: &Verify) -> Result<ExitCode, Failure> {
    let roots = roots(&args.roots.roots)?;
    let witnessed = args.checkpoint.iter().map(|path| witnessed(path)).collect::<Result<Vec<_>, _>>()?;
    let folder = open(&args.log)?;
    let mut report = verify::verify(&folder, &roots, &witnessed).map_err(no_input)?;
    if let Some(path) = &args.against {
        let other = open(path)?;
        report = compare::compare(report, &folder, &other, &roots).map_err(no_input)?;
    }
    let exit = if report.verified { Exit::Ok } else { Exit::BadData };
    say(&if args.json { json!(report).to_string() } else { report.text() })?;
    Ok(exit.into())
}

fn prove(args: &Prove) -> Result<ExitCode, Failure> {
    let query = &args.query.0;
    let proof = proof::prove(&open(&args.log)?, query, args.bank.as_ref()).map_err(no_input)?;
    let proof = proof.ok_or_else(|| Exit::NoInput.because(format!("the log has nothing of {query}")))?;
    let write = || fs::File::create_new(&args.out)?.write_all(proof.to_text().as_bytes());
    write().map_err(|error: io::Error| Exit::CannotCreate.because(folder::named(&args.out, &error)))?;
    say(&format!("{}: written", args.out.display()))
}

fn check(args: &Check) -> Result<ExitCode, Failure> {
    let roots = roots(&args.roots.roots)?;
    let text = read(&args.proof)?;
    let shown = proof::Proof::parse(&text).and_then(|proof| proof.check(&roots));
    tell(shown, args.json, proof::Shown::text)
}

fn consistency(args: &Consistency) -> Result<ExitCode, Failure> {
    if args.from > args.to {
        return Err(Exit::Usage.because("--from is the earlier one"));
    }
    let roots = roots(&args.roots.roots)?;
    let proved = consistency::prove(&open(&args.log)?, &roots, args.from, args.to).map_err(no_input)?;
    tell(proved, args.json, consistency::Consistency::text)
}

fn tell<T: serde::Serialize>(
    told: Result<T, Finding>,
    json: bool,
    text: impl FnOnce(&T) -> String,
) -> Result<ExitCode, Failure> {
    let (exit, told) = match &told {
        Ok(shown) if json => (Exit::Ok, json!({ "verified": true, "shown": shown }).to_string()),
        Ok(shown) => (Exit::Ok, text(shown)),
        Err(fault) if json => (Exit::BadData, json!({ "verified": false, "fault": fault }).to_string()),
        Err(fault) => (Exit::BadData, format!("NOT VERIFIED: {}", fault.line())),
    };
    say(&told)?;
    Ok(exit.into())
}

fn open(path: &Path) -> Result<Folder, Failure> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(Folder::new(path)),
        Ok(_) => Err(Exit::NoInput.because(format!("{}: no folder", path.display()))),
        Err(error) => Err(no_input(folder::named(path, &error))),
    }
}

fn witnessed(path: &Path) -> Result<Witnessed, Failure> {
    Ok(Witnessed { name: path.display().to_string(), note: read(path)? })
}

/// A file as text; bytes that are none make no difference to what is refused.
fn read(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|error| no_input(folder::named(path, &error)))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Root keys from the command line, or from the file that it names.
fn roots(text: &str) -> Result<Vec<VerifyingKey>, Failure> {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b',');
    let (list, from_file) = if hex(text) { (text.to_owned(), false) } else { (read(Path::new(text))?, true) };
    let keys = list
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(|line| line.split(','))
        .map(|key| key.trim().to_owned())
        .filter(|key| !key.is_empty())
        .collect();
    // Whoever names them here knows whose they are.
    let config = RegistryConfig { roots: keys, allow_sample_roots: true, seen_file: None };
    let exit = if from_file { Exit::Config } else { Exit::Usage };
    config.roots().map_err(|error| exit.because(error))
}

fn no_input(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
    Exit::NoInput.because(error)
}

fn say(text: &str) -> Result<ExitCode, Failure> {
    writeln!(io::stdout(), "{}", text.trim_end())
        .map(|()| Exit::Ok.into())
        .map_err(|error| Exit::CannotCreate.because(error))
}
