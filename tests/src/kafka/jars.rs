//! The broker's jars: fetched once with Maven, into the workspace's target directory.

use std::env;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory under `target/`; the versions of the jars themselves are pinned in `deploy/kafka/pom.xml`.
const DIRECTORY: &str = "kafka-4.3.1";

/// `deploy/kafka/` of this workspace.
pub(super) fn deploy_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka")
}

/// The jars' directory; runs Maven if it is not there or was made from another `pom.xml`.
///
/// Test binaries run in parallel, so the fetch holds a file lock, and the directory appears by a rename: it
/// is either complete or absent.
pub(super) fn ensure() -> Result<PathBuf, String> {
    let target = target_directory()?;
    let jars = target.join(DIRECTORY);
    let pom_path = deploy_directory().join("pom.xml");
    let pom = fs::read(&pom_path).map_err(|error| format!("cannot read {}: {error}", pom_path.display()))?;
    if is_made_from(&jars, &pom) {
        return Ok(jars);
    }

    let lock_path = target.join(format!("{DIRECTORY}.lock"));
    let lock = File::create(&lock_path)
        .map_err(|error| format!("cannot create {}: {error}", lock_path.display()))?;
    lock.lock().map_err(|error| format!("cannot lock {}: {error}", lock_path.display()))?;
    if is_made_from(&jars, &pom) {
        return Ok(jars);
    }

    let scratch = tempfile::Builder::new()
        .prefix("kafka-fetch-")
        .tempdir_in(&target)
        .map_err(|error| format!("cannot create a directory in {}: {error}", target.display()))?;
    let fetched = scratch.path().join("new");
    fetch(&pom_path, &fetched)?;
    let publish = || {
        fs::write(fetched.join("pom.xml"), &pom)?;
        if jars.exists() {
            fs::rename(&jars, scratch.path().join("old"))?;
        }
        fs::rename(&fetched, &jars)
    };
    publish().map_err(|error| format!("cannot put the jars into {}: {error}", jars.display()))?;
    Ok(jars)
}

/// Whether the directory was filled from exactly this `pom.xml`, of which it keeps a copy.
fn is_made_from(jars: &Path, pom: &[u8]) -> bool {
    fs::read(jars.join("pom.xml")).is_ok_and(|kept| kept == pom)
}

fn fetch(pom: &Path, into: &Path) -> Result<(), String> {
    let output = Command::new("mvn")
        .args(["-q", "-B", "-C", "-f"])
        .arg(pom)
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", into.display()))
        .arg("-DincludeScope=runtime")
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "Maven could not fetch Kafka's jars (the first run needs the network), {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err("mvn was not found: install maven, which fetches Kafka's jars on the first run".to_owned())
        }
        Err(error) => Err(format!("cannot run mvn: {error}")),
    }
}

/// Cargo's target directory: the ancestor of the test executable that Cargo marked as a cache.
fn target_directory() -> Result<PathBuf, String> {
    let executable =
        env::current_exe().map_err(|error| format!("cannot find the test executable: {error}"))?;
    executable
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").is_file())
        .map(Path::to_path_buf)
        .ok_or_else(|| format!("{} is not inside a Cargo target directory", executable.display()))
}
