//! Passwords of the broker's users: one file per user, readable by its owner alone. Never printed.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use plumbing::exit::Exit;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// Bytes of a new password, before they are spelled as hex.
const LENGTH: usize = 32;

/// Why a password cannot be had. Never holds one.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// No folder is configured.
    #[error("users.passwords_dir is not set, and there are users to create")]
    NotSet,
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds nothing.
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
}

impl PasswordError {
    /// The exit code of a command that ends with this error.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::NotSet => Exit::Config,
            Self::Io { .. } => Exit::CannotCreate,
            Self::Empty(_) => Exit::BadData,
        }
    }
}

/// The passwords of `users`: what is in their files, and a new one in a new file for whoever has none.
pub(super) fn read_or_make(
    folder: &Path,
    users: &[String],
) -> Result<BTreeMap<String, Zeroizing<String>>, PasswordError> {
    if users.is_empty() {
        return Ok(BTreeMap::new());
    }
    if folder.as_os_str().is_empty() {
        return Err(PasswordError::NotSet);
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| PasswordError::Io { path: folder.to_owned(), source })?;
    users.iter().map(|user| Ok((user.clone(), password(folder, user)?))).collect()
}

fn password(folder: &Path, user: &str) -> Result<Zeroizing<String>, PasswordError> {
    let path = folder.join(format!("{user}.password"));
    let io = |source| PasswordError::Io { path: path.clone(), source };
    if !path.try_exists().map_err(io)? {
        make(folder, &path).map_err(io)?;
    }
    let text = Zeroizing::new(fs::read_to_string(&path).map_err(io)?);
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(PasswordError::Empty(path));
    }
    Ok(Zeroizing::new(password.to_owned()))
}

/// The file appears whole or not at all. One that somebody else makes meanwhile counts, so that two who apply at the same
/// time set the same password.
fn make(folder: &Path, path: &Path) -> io::Result<()> {
    let secret = Zeroizing::new(rand::random::<[u8; LENGTH]>());
    let password = Zeroizing::new(hex::encode(secret.as_slice()));
    // A temporary file is readable by its owner alone.
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(password.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(failed) => Err(failed.error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn users(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_missing_password_is_made_once_for_its_owner_alone_and_an_old_one_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let passwords = folder.path().join("passwords");
        fs::create_dir(&passwords).expect("made");
        fs::write(passwords.join("old.password"), "from before\n").expect("written");

        let first = read_or_make(&passwords, &users(&["new", "old", "other"])).expect("passwords");

        assert_eq!(first["old"].as_str(), "from before");
        assert_eq!(first["new"].len(), 2 * LENGTH);
        assert_ne!(first["new"], first["other"]);
        let mode = fs::metadata(passwords.join("new.password")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(read_or_make(&passwords, &users(&["new", "old", "other"])).expect("passwords"), first);
        assert_eq!(fs::read_dir(&passwords).expect("readable").count(), 3, "nothing else is left there");
    }

    #[test]
    fn an_empty_password_and_a_missing_setting_are_errors_only_when_somebody_needs_one() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("nobody.password"), "\n").expect("written");
        let empty = read_or_make(folder.path(), &users(&["nobody"]));
        assert!(matches!(empty, Err(PasswordError::Empty(_))));
        assert!(matches!(read_or_make(Path::new(""), &users(&["some"])), Err(PasswordError::NotSet)));
        assert!(read_or_make(Path::new(""), &[]).expect("nobody needs one").is_empty());
    }
}
