//! Secret keys in files, or in the environment: 64 hex digits, 32 bytes.

use std::fs;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::exit::Exit;

/// Why a key cannot be had. Never holds the content.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// No file is configured.
    #[error("{0} is not set")]
    NotSet(&'static str),
    /// It cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// It is not a key.
    #[error("{0} does not hold 64 hex digits")]
    NotAKey(PathBuf),
    /// What the environment gives is not a key.
    #[error("{0} is not 64 hex digits")]
    NotAKeyText(&'static str),
}

impl KeyFileError {
    /// The exit code of a process that ends with this error.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::NotSet(_) | Self::NotAKeyText(_) => Exit::Config,
            Self::Unreadable(..) => Exit::NoInput,
            Self::NotAKey(_) => Exit::BadData,
        }
    }
}

/// The 32 bytes that the environment gives as the setting `key`, or else those in the file that the setting
/// `<key>_file` names.
///
/// # Errors
/// [`KeyFileError`].
pub fn given_or_read(
    key: &'static str,
    given: Option<&SecretString>,
    key_file: &'static str,
    path: &Path,
) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    match given {
        Some(text) => decode(text.expose_secret().trim()).ok_or(KeyFileError::NotAKeyText(key)),
        None => read(key_file, path),
    }
}

/// Reads the 32 bytes in the file that the setting `key` names.
///
/// # Errors
/// [`KeyFileError`].
pub fn read(key: &'static str, path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    if path.as_os_str().is_empty() {
        return Err(KeyFileError::NotSet(key));
    }
    let text = fs::read_to_string(path).map_err(|error| KeyFileError::Unreadable(path.to_owned(), error))?;
    let text = Zeroizing::new(text);
    decode(text.trim()).ok_or_else(|| KeyFileError::NotAKey(path.to_owned()))
}

fn decode(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text, key.as_mut()).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_environment_wins_over_its_file_and_is_never_told() {
        let key = |text: &str| given_or_read("k", Some(&text.into()), "k_file", Path::new("/no/such/file"));
        assert_eq!(key(&"0b".repeat(32)).expect("a key").as_ref(), [11; 32]);
        assert_eq!(key("hunter2").expect_err("no key").to_string(), "k is not 64 hex digits");
        let missing = given_or_read("k", None, "k_file", Path::new("")).expect_err("no file");
        assert_eq!(missing.to_string(), "k_file is not set");
    }

    #[test]
    fn a_key_file_holds_64_hex_digits_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        fs::write(&path, format!("{}\n", "0a".repeat(32))).expect("written");
        assert_eq!(read("k", &path).expect("a key").as_ref(), [10; 32]);
        for wrong in ["", "0a", &"0g".repeat(32), &"0a".repeat(33), &"é".repeat(32)] {
            fs::write(&path, wrong).expect("written");
            let error = read("k", &path).expect_err("not a key").to_string();
            assert!(error.ends_with("does not hold 64 hex digits"), "{error}");
        }
        assert!(matches!(read("k", Path::new("")), Err(KeyFileError::NotSet("k"))));
        assert!(matches!(read("k", &folder.path().join("none")), Err(KeyFileError::Unreadable(..))));
    }
}
