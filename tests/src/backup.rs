//! Backups of a database, taken and restored by PostgreSQL's own tools.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::stack::{Stack, TestDatabase};

const INSTALLED: &str = "/usr/lib/postgresql";

/// A backup of the database behind `url`, as operators take it.
///
/// # Panics
/// If `pg_dump` fails.
#[must_use]
pub fn dump(url: &str) -> Vec<u8> {
    let dump =
        Command::new(tool("pg_dump")).args(["--no-owner", plain(url)]).output().expect("pg_dump starts");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    dump.stdout
}

/// A database of the caller's own that holds what a backup holds.
///
/// # Panics
/// If `psql` fails.
pub async fn restored(dump: &[u8]) -> TestDatabase {
    let database = Stack::get().database().await;
    let file = tempfile::NamedTempFile::new().expect("the temporary directory is writable");
    fs::write(file.path(), dump).expect("the temporary directory is writable");
    let mut psql = Command::new(tool("psql"));
    psql.args(["--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--file"])
        .arg(file.path())
        .arg(plain(&database.url()));
    let restored = psql.output().expect("psql starts");
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    database
}

/// Without the parameters, of which some are the driver's alone.
fn plain(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

/// Of the newest version that is installed: an older one refuses a newer server.
fn tool(name: &str) -> PathBuf {
    let versions = fs::read_dir(INSTALLED).expect("the stack's PostgreSQL is installed");
    let versions = versions.map(|version| version.expect("a readable directory").path());
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    versions.max_by_key(number).expect("a version is installed").join("bin").join(name)
}
