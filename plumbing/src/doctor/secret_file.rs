//! Who may read a file of secrets.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::report::{Report, State};
use crate::exit::Exit;

const EVERYBODY: u32 = 0o007;

/// Whether these files, each with the setting that names it, are there and not everybody's. A file of a group is left
/// alone: services are given theirs by it.
pub fn secret_files<'a, K: fmt::Display>(
    files: impl IntoIterator<Item = (K, &'a Path)>,
    report: &mut Report,
) {
    for (key, path) in files {
        let shown = path.display();
        let (what, state) = match std::fs::metadata(path) {
            Err(error) => {
                let exit = if error.kind() == std::io::ErrorKind::PermissionDenied {
                    Exit::Denied
                } else {
                    Exit::Config
                };
                let fix = format!("{key}: name a file that this user may read");
                (format!("{shown}: {error}"), State::failed(exit, fix))
            }
            Ok(metadata) if metadata.permissions().mode() & EVERYBODY != 0 => {
                let mode = metadata.permissions().mode() & 0o777;
                let what = format!("{shown} is open to everybody (mode {mode:03o})");
                (
                    what,
                    State::failed(Exit::Denied, format!("chmod o-rwx {shown}, then replace what was in it")),
                )
            }
            Ok(_) => (format!("{shown} is not everybody's"), State::Ok),
        };
        report.add("files", what, state);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_secret_that_everybody_may_read_fails_and_one_of_a_group_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        std::fs::write(&path, "secret").expect("written");
        let missing = folder.path().join("none");
        for (path, mode, expected) in
            [(&path, 0o600, 0), (&path, 0o640, 0), (&path, 0o644, 77), (&path, 0o601, 77), (&missing, 0, 78)]
        {
            if path.exists() {
                std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
            }
            let mut report = Report::default();
            secret_files([("signing_key_file", path.as_path())], &mut report);
            assert_eq!(report.exit().code(), expected, "{mode:o}");
        }
    }
}
