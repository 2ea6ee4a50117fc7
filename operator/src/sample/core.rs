//! The sample banks' own systems: one SQLite file per bank, from `deploy/sample/core`.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bank_connector::config::{SourceConfig, SqlConfig};
use bank_connector::domain::pan::check_digit;
use schemas::fields::Fields;
use schemas::ids::{BankId, Digest};
use schemas::wire::{self, DocumentType};
use serde::Deserialize;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

const PEOPLE: &str = include_str!("../../../deploy/sample/core/people.toml");
const CARDS: &str = include_str!("../../../deploy/sample/core/cards.toml");
const SCHEMA: &str = include_str!("../../../deploy/sample/core/schema.sql");
const CONNECTOR: &str = include_str!("../../../deploy/sample/core/connector.toml");

/// In the place of a document's last day.
const NEVER_EXPIRES: &str = "长期";

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
    /// The file cannot be written.
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
    let file = file();
    if !file.issuer.contains_key(bank) {
        return Err(FillError::UnknownBank(bank.clone()));
    }
    let path = dir.join(format!("{bank}.db"));
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(FillError::Io { path, source });
        }
        Ok(()) | Err(_) => {}
    }
    let options =
        SqliteConnectOptions::new().filename(&path).create_if_missing(true).disable_statement_logging();
    let mut connection = options.connect().await?;
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
    let people: BTreeMap<_, _> = people().into_iter().map(|person| (person.key.clone(), person)).collect();
    for (index, (customer, cards)) in customers(&file, bank, seed).enumerate() {
        let number = format!("C{:06}", index + 1);
        insert_customer(&mut connection, &number, customer, &people[&customer.person]).await?;
        for Drawn { card, issuer, number: pan } in &cards {
            insert_card(&mut connection, &number, pan, card, issuer).await?;
        }
    }
    connection.close().await?;
    Ok(format!("sqlite://{}", path.display()))
}

/// The full card numbers of `person` that [`fill`] writes with `seed`, by bank: what must never be seen outside a bank.
///
/// # Panics
/// When the compiled-in data are damaged, which a test excludes.
pub fn card_numbers(person: &Person, seed: u64) -> BTreeMap<BankId, Vec<String>> {
    let file = file();
    let numbers = |bank| {
        let own = customers(&file, bank, seed).filter(|(customer, _)| customer.person == person.key);
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
    #[derive(Deserialize)]
    struct File {
        source: Vec<SourceConfig>,
    }
    let file: File = toml::from_str(CONNECTOR).expect("connector.toml is valid");
    let source = file.source.into_iter().next().expect("connector.toml has a source");
    SqlConfig { url: url.to_owned(), ..source.sql }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    issuer: BTreeMap<BankId, BTreeMap<String, Issuer>>,
    customer: Vec<Customer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issuer {
    prefix: String,
    length: usize,
    product: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Customer {
    bank: BankId,
    person: String,
    cust_name: Option<String>,
    mobile: Option<String>,
    cert_expiry: Option<String>,
    cardless_flag: Option<String>,
    hold_code: Option<String>,
    #[serde(default)]
    cards: Vec<Card>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    #[serde(rename = "type")]
    card_type: String,
    class: Option<String>,
    status: String,
    opened: String,
    last_used: Option<String>,
}

/// A card with the number that was drawn for it.
struct Drawn<'a> {
    card: &'a Card,
    issuer: &'a Issuer,
    number: String,
}

/// What a bank has on file. A number depends on the person's cards there and on nobody else's.
fn customers<'a>(
    file: &'a File,
    bank: &'a BankId,
    seed: u64,
) -> impl Iterator<Item = (&'a Customer, Vec<Drawn<'a>>)> {
    let mut ordinals = BTreeMap::new();
    file.customer.iter().filter(move |customer| customer.bank == *bank).map(move |customer| {
        let ordinal: &mut u64 = ordinals.entry(&customer.person).or_default();
        let drawn = customer.cards.iter().map(|card| {
            let issuer = &file.issuer[bank][&card.card_type];
            let number = card_number(issuer, seed, bank, &customer.person, *ordinal);
            *ordinal += 1;
            Drawn { card, issuer, number }
        });
        (customer, drawn.collect())
    })
}

fn file() -> File {
    toml::from_str(CARDS).expect("cards.toml is valid")
}

async fn insert_customer(
    connection: &mut SqliteConnection,
    number: &str,
    customer: &Customer,
    person: &Person,
) -> Result<(), sqlx::Error> {
    let phone = customer.mobile.as_deref().unwrap_or(&person.phone);
    sqlx::query(
        "INSERT INTO customer (cust_no, cert_no, cust_name, mobile, cert_expiry, cardless_flag, hold_code) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(number)
    .bind(&person.document_number)
    .bind(customer.cust_name.as_deref().unwrap_or(&person.name))
    .bind((!phone.is_empty()).then_some(phone))
    .bind(customer.cert_expiry.as_deref().unwrap_or(NEVER_EXPIRES))
    .bind(customer.cardless_flag.as_deref().unwrap_or("Y"))
    .bind(customer.hold_code.as_deref().unwrap_or_default())
    .execute(connection)
    .await
    .map(|_| ())
}

async fn insert_card(
    connection: &mut SqliteConnection,
    customer: &str,
    pan: &str,
    card: &Card,
    issuer: &Issuer,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO card (card_no, cust_no, card_type, acct_class, card_status, product_code, open_date, \
         last_txn_date) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(pan)
    .bind(customer)
    .bind(&card.card_type)
    .bind(&card.class)
    .bind(&card.status)
    .bind(&issuer.product)
    .bind(&card.opened)
    .bind(&card.last_used)
    .execute(connection)
    .await
    .map(|_| ())
}

/// The issuer's digits, then digits of a digest, then the check digit.
fn card_number(issuer: &Issuer, seed: u64, bank: &BankId, person: &str, ordinal: u64) -> String {
    let fields =
        Fields::new().text("sample-card/v1").integer(seed).text(bank.as_str()).text(person).integer(ordinal);
    let drawn = Digest::of(fields.as_bytes());
    let digits = drawn.0.iter().map(|byte| char::from(b'0' + byte % 10));
    let missing = issuer.length - 1 - issuer.prefix.len();
    let partial: String = issuer.prefix.chars().chain(digits.take(missing)).collect();
    let check = check_digit(&partial);
    partial + &check.to_string()
}
