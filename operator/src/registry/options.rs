//! What can be asked about the registry.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use plumbing::key_file;
use schemas::ids::KeyId;
use schemas::keys::SigningKey;
use schemas::registry::PartyName;
use schemas::time::UnixMillis;

use super::document::{Document, Key, Texts, Use};
use super::draft::{self, Change};
use super::entry_file::EntryFile;
pub use super::key::Kind;
use super::{RegistryCommandError, files};
use crate::topics::options::ConfigPath;

/// Writes, signs, publishes and shows registry entries.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Makes keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Writes the next entry of a party, unsigned, for people to review. Needs no network.
    #[command(subcommand)]
    Draft(Draft),
    /// Adds a signature: of a root key, or of the party's own key from before a rotation. Needs no network.
    Sign(Sign),
    /// Prints what an entry would change and whether its signatures hold; with --execute, publishes it.
    Publish(Publish),
    /// Prints every party with its keys, and the records that readers refuse.
    Show(Show),
}

/// Keys.
#[derive(Clone, Debug, Subcommand)]
pub enum KeyCommand {
    /// Makes a key in a new file that only its owner can read, and prints the public half.
    New {
        /// What it is for.
        #[arg(long, value_enum)]
        kind: Kind,
        /// The new file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// The next entry of a party.
#[derive(Clone, Debug, Subcommand)]
pub enum Draft {
    /// A party's first entry.
    Join {
        /// For example bank/anhe.
        party: PartyName,
        /// Administrative division code in which it takes part; may be repeated.
        #[arg(long = "region", value_name = "CODE")]
        regions: Vec<String>,
        /// TOML file with name, phone, closing and products of a bank.
        #[arg(long, value_name = "FILE")]
        texts: Option<PathBuf>,
        #[command(flatten)]
        #[allow(missing_docs)]
        keys: NewKeys,
        #[command(flatten)]
        #[allow(missing_docs)]
        out: Out,
    },
    /// It takes no part for a while.
    Suspend(FromTo),
    /// It takes part again.
    Resume(FromTo),
    /// It takes no part any more.
    Leave(FromTo),
    /// Adds keys; the old ones go on counting.
    RotateKey {
        #[command(flatten)]
        #[allow(missing_docs)]
        files: FromTo,
        #[command(flatten)]
        #[allow(missing_docs)]
        keys: NewKeys,
    },
    /// A key counts no more, from this entry's publication on. The only key of its use is replaced in the same entry.
    RevokeKey {
        #[command(flatten)]
        #[allow(missing_docs)]
        files: FromTo,
        /// The key's id.
        #[arg(long = "key", value_name = "ID", value_parser = key_id)]
        key: KeyId,
        #[command(flatten)]
        #[allow(missing_docs)]
        keys: NewKeys,
    },
    /// Other regions or other texts. Without either: the same again, which tells devices when a key was revoked.
    Amend {
        #[command(flatten)]
        #[allow(missing_docs)]
        files: FromTo,
        /// Replaces all regions; may be repeated.
        #[arg(long = "region", value_name = "CODE")]
        regions: Vec<String>,
        /// TOML file with name, phone, closing and products of a bank.
        #[arg(long, value_name = "FILE")]
        texts: Option<PathBuf>,
    },
}

/// Public halves of new keys.
#[derive(Args, Clone, Debug)]
pub struct NewKeys {
    /// Public half of a signing key, 64 hex digits.
    #[arg(long, value_name = "PUBLIC")]
    sign: Vec<String>,
    /// Public half of an opening key, 64 hex digits.
    #[arg(long, value_name = "PUBLIC")]
    seal: Vec<String>,
    /// When they begin to count, for example 2026-11-23T08:00:00Z. Left out: always.
    #[arg(long, value_name = "TIME", value_parser = time)]
    valid_from: Option<UnixMillis>,
}

/// From one entry to the next.
#[derive(Args, Clone, Debug)]
pub struct FromTo {
    /// The entry that is in force: what `registry show --party … --draft` prints.
    from: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    out: Out,
}

/// The result.
#[derive(Args, Clone, Debug)]
pub struct Out {
    /// The new file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Adds a signature.
#[derive(Args, Clone, Debug)]
pub struct Sign {
    /// A draft, or an entry that others have signed.
    entry: PathBuf,
    /// Secret root key.
    #[arg(long, value_name = "FILE")]
    root_key: Option<PathBuf>,
    /// The party's secret signing key from before the rotation.
    #[arg(long, value_name = "FILE")]
    party_key: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    out: Out,
}

/// Publishes.
#[derive(Args, Clone, Debug)]
pub struct Publish {
    /// The signed entry.
    pub entry: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigPath,
    /// Publishes it and waits until readers have it.
    #[arg(long)]
    pub execute: bool,
}

/// Shows.
#[derive(Args, Clone, Debug)]
pub struct Show {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigPath,
    /// This party only.
    #[arg(long, value_name = "PARTY")]
    pub party: Option<PartyName>,
    /// Prints one JSON document.
    #[arg(long, conflicts_with = "draft")]
    pub json: bool,
    /// Prints the party's entry as a draft to go on from.
    #[arg(long, requires = "party")]
    pub draft: bool,
}

fn key_id(text: &str) -> Result<KeyId, String> {
    let raw = hex::decode(text).ok().and_then(|raw| KeyId::from_bytes(&raw).ok());
    raw.ok_or_else(|| "not a key id, 32 hex digits".to_owned())
}

fn time(text: &str) -> Result<UnixMillis, String> {
    UnixMillis::parse(text).ok_or_else(|| "not a time such as 2026-11-23T08:00:00Z".to_owned())
}

impl NewKeys {
    fn keys(&self) -> Vec<Key> {
        let of = |r#use, publics: &[String]| {
            let key = |public: &String| Key::new(r#use, public.to_lowercase(), self.valid_from);
            publics.iter().map(key).collect::<Vec<_>>()
        };
        [of(Use::Sign, &self.sign), of(Use::Seal, &self.seal)].concat()
    }
}

impl Draft {
    /// Writes the draft, and says what it is.
    pub(super) fn write(self) -> Result<String, RegistryCommandError> {
        let (document, out) = match self {
            Self::Join { party, regions, texts, keys, out } => {
                let regions = regions.into_iter().collect();
                (
                    draft::join(&party, &regions, texts.as_deref().map(read_texts).transpose()?, keys.keys()),
                    out,
                )
            }
            Self::Suspend(files) => files.changed(Change::Suspend)?,
            Self::Resume(files) => files.changed(Change::Resume)?,
            Self::Leave(files) => files.changed(Change::Leave)?,
            Self::RotateKey { files, keys } => files.changed(Change::Rotate(keys.keys()))?,
            Self::RevokeKey { files, key, keys } => files.changed(Change::Revoke(key, keys.keys()))?,
            Self::Amend { files, regions, texts } => {
                let regions: Option<BTreeSet<String>> =
                    (!regions.is_empty()).then(|| regions.into_iter().collect());
                files.changed(Change::Amend(regions, texts.as_deref().map(read_texts).transpose()?))?
            }
        };
        // A draft that could not be signed is not written.
        document.to_entry()?;
        let text = document.to_toml()?;
        files::write(&out.out, &text)?;
        Ok(text)
    }
}

impl FromTo {
    fn changed(self, change: Change) -> Result<(Document, Out), RegistryCommandError> {
        let text = files::read(&self.from)?;
        let previous: Document =
            toml::from_str(&text).map_err(|error| files::wrong(&self.from, error.to_string().trim_end()))?;
        Ok((draft::next(&previous, change)?, self.out))
    }
}

impl Sign {
    /// Writes the entry with one signature more, and says what was signed.
    pub(super) fn write(self) -> Result<String, RegistryCommandError> {
        let mut entry = EntryFile::read(&self.entry)?;
        let mut told = entry.document().to_toml()?;
        if self.root_key.is_none() && self.party_key.is_none() {
            return Err(RegistryCommandError::NoKey);
        }
        if let Some(path) = &self.root_key {
            let key = SigningKey::from_seed(&*key_file::read("--root-key", path)?);
            entry.sign_as_root(&key)?;
            told += &format!("\nsigned by root {}\n", key.id());
        }
        if let Some(path) = &self.party_key {
            let key = SigningKey::from_seed(&*key_file::read("--party-key", path)?);
            entry.sign_as_party(&key)?;
            told += &format!("\nsigned by the party's key {}\n", key.id());
        }
        entry.write(&self.out.out)?;
        Ok(told)
    }
}

fn read_texts(path: &Path) -> Result<Texts, RegistryCommandError> {
    toml::from_str(&files::read(path)?).map_err(|error| files::wrong(path, error.to_string().trim_end()))
}
