//! Files that only their owner may read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file or folder cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct WriteError {
    path: PathBuf,
    source: io::Error,
}

/// Makes a folder, with its parents, that nobody else may enter.
pub(super) fn folder(path: &Path) -> Result<(), WriteError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| WriteError { path: path.to_owned(), source })
}

/// Writes a file that nobody else may read. It appears whole: a reader never sees half of it.
pub(super) fn write(path: &Path, text: &str) -> Result<(), WriteError> {
    let beside = path.with_extension("new");
    let written = || {
        // What was left behind keeps its mode, so it goes first.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&beside, path)
    };
    written().map_err(|source| WriteError { path: path.to_owned(), source })
}

/// 32 random bytes in hex: safe in an address, a statement and a settings file.
pub(super) fn password() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_file_is_its_owners_alone_also_when_it_replaces_an_open_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let inner = dir.path().join("a/b");
        folder(&inner).expect("made");
        let path = inner.join("x.password");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened to all");
        write(&path, "new").expect("replaced");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&inner)), (0o600, 0o700));
        assert_eq!(fs::read_to_string(&path).expect("read"), "new");
    }
}
