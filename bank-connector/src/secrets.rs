//! The bank's keys.

use std::io;
use std::path::{Path, PathBuf};

use schemas::keys::{OpeningKey, SigningKey};
use zeroize::Zeroizing;

use crate::config::Config;

/// What must not stand in a configuration.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Signs replies.
    pub signing_key: SigningKey,
    /// Open what producers sealed: the key in force, and retired ones for 72 hours.
    pub opening_keys: Vec<OpeningKey>,
}

/// Why a secret cannot be used. Says nothing about its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not hold a key.
    #[error("{}: must hold 64 hex digits that are a key", .0.display())]
    NotAKey(PathBuf),
    /// Nothing could be opened.
    #[error("opening_key_files: at least one is needed")]
    NoOpeningKey,
}

impl Secrets {
    /// Reads the files that `config` names.
    ///
    /// # Errors
    /// Which file, and why.
    pub fn load(config: &Config) -> Result<Self, SecretsError> {
        let signing_key = SigningKey::from_seed(&*raw_key(&config.signing_key_file)?);
        let opening_keys = config
            .opening_key_files
            .iter()
            .map(|path| {
                OpeningKey::from_raw(&*raw_key(path)?).map_err(|_| SecretsError::NotAKey(path.clone()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if opening_keys.is_empty() {
            return Err(SecretsError::NoOpeningKey);
        }
        Ok(Self { signing_key, opening_keys })
    }
}

fn raw_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, SecretsError> {
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|source| SecretsError::Unreadable { path: path.to_owned(), source })?;
    let mut raw = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), raw.as_mut()).map_err(|_| SecretsError::NotAKey(path.to_owned()))?;
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_files_and_what_is_none_is_refused_without_repeating_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            path
        };
        let opening = [OpeningKey::derive(&[1; 32]), OpeningKey::derive(&[2; 32])];
        let mut config = Config::defaults(&"anhe".parse().expect("an id"));
        config.signing_key_file = write("signing", &format!("{}\n", hex::encode([7; 32])));
        config.opening_key_files = Vec::new();
        assert!(matches!(Secrets::load(&config), Err(SecretsError::NoOpeningKey)));
        config.opening_key_files =
            opening.iter().map(|key| write(&key.id().to_string(), &hex::encode(*key.to_raw()))).collect();
        let secrets = Secrets::load(&config).expect("keys");
        assert_eq!(secrets.signing_key.id(), SigningKey::from_seed(&[7; 32]).id());
        assert_eq!(
            secrets.opening_keys.iter().map(OpeningKey::id).collect::<Vec<_>>(),
            opening.map(|k| k.id())
        );

        config.signing_key_file = write("wrong", "hunter2");
        let refused = Secrets::load(&config).expect_err("no key").to_string();
        assert!(refused.contains("wrong") && !refused.contains("hunter2"), "{refused}");
        config.signing_key_file = folder.path().join("none");
        assert!(matches!(Secrets::load(&config), Err(SecretsError::Unreadable { .. })));
    }
}
