//! Secret keys in files: 64 hex digits, 32 bytes.

use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

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
