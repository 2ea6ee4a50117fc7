//! The bank's keys.

use std::path::Path;

use plumbing::exit::Exit;
use plumbing::key_file::{self, KeyFileError};
use schemas::keys::{OpeningKey, SigningKey};

use crate::config::Config;

/// What must not stand in a configuration.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Signs replies.
    pub signing_key: SigningKey,
    /// Open what producers sealed: the key in force, and retired ones for 72 hours.
    pub opening_keys: Vec<OpeningKey>,
}

/// Why the keys cannot be used. Says nothing about their content.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// A key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// Nothing could be opened.
    #[error("opening_key_files: at least one is needed")]
    NoOpeningKey,
}

impl SecretsError {
    /// The exit code of a process that ends with this error.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::File(error) => error.exit(),
            Self::NoOpeningKey => Exit::Config,
        }
    }
}

impl Secrets {
    /// Reads the files that `config` names.
    ///
    /// # Errors
    /// Which file, and why.
    pub fn load(config: &Config) -> Result<Self, SecretsError> {
        Ok(Self { signing_key: signing_key(config)?, opening_keys: opening_keys(config)? })
    }

    /// What is wrong with the keys, by their settings.
    pub(crate) fn faults(config: &Config) -> Vec<String> {
        let signing = signing_key(config).err().map(|error| format!("signing_key_file: {error}"));
        let opening = opening_keys(config).err().map(|error| match error {
            SecretsError::File(error) => format!("opening_key_files: {error}"),
            SecretsError::NoOpeningKey => error.to_string(),
        });
        signing.into_iter().chain(opening).collect()
    }
}

fn signing_key(config: &Config) -> Result<SigningKey, KeyFileError> {
    let (given, path) = (config.signing_key.as_ref(), &config.signing_key_file);
    let seed = key_file::given_or_read("signing_key", given, "signing_key_file", path)?;
    Ok(SigningKey::from_seed(&seed))
}

/// Keys that the environment gives take the place of all files.
fn opening_keys(config: &Config) -> Result<Vec<OpeningKey>, SecretsError> {
    let given = config.opening_keys.iter().map(|text| {
        let raw = key_file::given_or_read("opening_keys", Some(text), "opening_key_files", Path::new(""))?;
        OpeningKey::from_raw(&raw).map_err(|_| KeyFileError::NotAKeyText("opening_keys"))
    });
    let read = config.opening_key_files.iter().map(|path| {
        let raw = key_file::read("opening_key_files", path)?;
        OpeningKey::from_raw(&raw).map_err(|_| KeyFileError::NotAKey(path.clone()))
    });
    let keys: Vec<_> = if config.opening_keys.is_empty() {
        read.collect::<Result<_, _>>()?
    } else {
        given.collect::<Result<_, _>>()?
    };
    if keys.is_empty() { Err(SecretsError::NoOpeningKey) } else { Ok(keys) }
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
        assert!(matches!(Secrets::load(&config), Err(SecretsError::File(KeyFileError::Unreadable(..)))));
    }
}
