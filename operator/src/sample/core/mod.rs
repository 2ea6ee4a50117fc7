//! The sample banks' own systems: a SQLite file or a PostgreSQL database per bank, from `deploy/sample/core`.
//!
//! | file | role |
//! |---|---|
//! | `data.rs` | who has which cards where |
//! | `tables.rs` | schema and rows, in any database |

mod data;
mod tables;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bank_connector::config::{SourceConfig, SqlConfig};
use schemas::ids::BankId;
use schemas::wire::{self, DocumentType};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const PEOPLE: &str = include_str!("../../../../deploy/sample/core/people.toml");
const CONNECTOR: &str = include_str!("../../../../deploy/sample/core/connector.toml");

/// A made-up person. Does not print, so that nobody gets used to printing persons.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// How commands name the person, for example `wang`.
    pub key: String,
    /// Name.
    pub name: String,
    /// GB 11643 resident identity number.
    pub document_number: String,
    /// Phone number, national form.
    pub phone: String,
    /// Whether the upstream has verified the name.
    #[serde(default = "verified")]
    pub real_name: bool,
}

fn verified() -> bool {
    true
}

impl Person {
    /// The identity that an upstream has verified.
    pub fn identity(&self) -> wire::Identity {
        wire::Identity {
            name: self.name.clone(),
            document_type: DocumentType::ResidentId.into(),
            document_number: self.document_number.clone(),
            phone: self.phone_e164(),
        }
    }

    /// Phone number in E.164.
    pub fn phone_e164(&self) -> String {
        format!("+86{}", self.phone)
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Person({})", self.key)
    }
}

/// Why a sample bank's system could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// The sample data do not know the bank.
    #[error("there is no sample bank `{0}`")]
    UnknownBank(BankId),
    /// An older file cannot be removed, or the folder cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database cannot be written.
    #[error("the sample database cannot be written")]
    Sql(#[from] sqlx::Error),
}

/// Everyone in the sample data.
///
/// # Panics
/// When the compiled-in data are damaged, which a test excludes.
pub fn people() -> Vec<Person> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        person: Vec<Person>,
    }
    toml::from_str::<File>(PEOPLE).expect("people.toml is valid").person
}

/// Makes `<dir>/<bank>.db` and returns its address for [`source_config`]. A file of that name is replaced. The same `seed`
/// gives the same card numbers.
///
/// # Errors
/// [`FillError`].
pub async fn fill(dir: &Path, bank: &BankId, seed: u64) -> Result<String, FillError> {
    let path = dir.join(format!("{bank}.db"));
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(FillError::Io { path, source });
        }
        Ok(()) | Err(_) => {}
    }
    let url = format!("sqlite://{}", path.display());
    fill_database(&format!("{url}?mode=rwc"), bank, seed).await?;
    Ok(url)
}

/// Puts the tables of `bank` into the SQLite or PostgreSQL database at `url`. Those of an earlier time are replaced in one
/// transaction, so that readers see either. The same `seed` gives the same card numbers, in both kinds of database.
///
/// # Errors
/// [`FillError`].
pub async fn fill_database(url: &str, bank: &BankId, seed: u64) -> Result<(), FillError> {
    let file = data::file();
    if !file.issuer.contains_key(bank) {
        return Err(FillError::UnknownBank(bank.clone()));
    }
    let people: BTreeMap<_, _> = people().into_iter().map(|person| (person.key.clone(), person)).collect();
    Ok(tables::replace(url, data::customers(&file, bank, seed), &people).await?)
}

/// The full card numbers of `person` that [`fill`] writes with `seed`, by bank: what must never be seen outside a bank.
///
/// # Panics
/// When the compiled-in data are damaged, which a test excludes.
pub fn card_numbers(person: &Person, seed: u64) -> BTreeMap<BankId, Vec<String>> {
    let file = data::file();
    let numbers = |bank| {
        let own = data::customers(&file, bank, seed).filter(|(customer, _)| customer.person == person.key);
        own.flat_map(|(_, cards)| cards).map(|drawn| drawn.number).collect::<Vec<_>>()
    };
    let banks = file.issuer.keys().map(|bank| (bank.clone(), numbers(bank)));
    banks.filter(|(_, numbers)| !numbers.is_empty()).collect()
}

/// The settings of a connector whose source is the file behind `url`: `deploy/sample/core/connector.toml`.
///
/// # Panics
/// When the compiled-in settings are damaged, which a test excludes.
pub fn source_config(url: &str) -> SqlConfig {
    let source: SourceConfig = sources().into_iter().next().expect("connector.toml has a source");
    SqlConfig { url: url.to_owned(), ..source.sql }
}

/// The same settings as they stand in the file, to be written into another one.
///
/// # Panics
/// When the compiled-in settings are damaged, which a test excludes.
pub fn source_settings() -> serde_json::Value {
    sources().into_iter().next().expect("connector.toml has a source")
}

fn sources<T: DeserializeOwned>() -> Vec<T> {
    #[derive(Deserialize)]
    struct File<T> {
        source: Vec<T>,
    }
    toml::from_str::<File<T>>(CONNECTOR).expect("connector.toml is valid").source
}
