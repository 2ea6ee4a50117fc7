//! Files in and out. Nothing is ever overwritten: an entry that was signed exists once.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::RegistryCommandError;

pub(super) fn read(path: &Path) -> Result<String, RegistryCommandError> {
    let unreadable = |source| RegistryCommandError::Unreadable { path: path.to_owned(), source };
    fs::read_to_string(path).map_err(unreadable)
}

pub(super) fn wrong(path: &Path, text: impl Into<String>) -> RegistryCommandError {
    RegistryCommandError::WrongFile { path: path.to_owned(), text: text.into() }
}

/// A file for everybody.
pub(super) fn write(path: &Path, text: &str) -> Result<(), RegistryCommandError> {
    let write = || fs::File::create_new(path)?.write_all(text.as_bytes());
    write().map_err(|source| RegistryCommandError::Unwritable { path: path.to_owned(), source })
}

/// A file for its owner alone. It appears whole or not at all.
pub(super) fn write_secret(path: &Path, secret: &[u8]) -> Result<(), RegistryCommandError> {
    let write = || {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(secret)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        Ok(())
    };
    write().map_err(|source| RegistryCommandError::Unwritable { path: path.to_owned(), source })
}
