//! Schema and rows of a sample bank, in SQLite and PostgreSQL alike.

use std::collections::BTreeMap;
use std::str::FromStr;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Connection};

use super::Person;
use super::data::{Card, Customer, Drawn, Issuer};

const SCHEMA: &str = include_str!("../../../../deploy/sample/core/schema.sql");
const WITHOUT_TABLES: &str = "DROP TABLE IF EXISTS card; DROP TABLE IF EXISTS customer;";

/// In the place of a document's last day.
const NEVER_EXPIRES: &str = "长期";

/// Makes the tables anew and fills them.
pub(super) async fn replace<'a>(
    url: &str,
    customers: impl Iterator<Item = (&'a Customer, Vec<Drawn<'a>>)>,
    people: &BTreeMap<String, Person>,
) -> Result<(), sqlx::Error> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnectOptions::from_str(url)?.disable_statement_logging().connect().await?;
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(WITHOUT_TABLES).execute(&mut *transaction).await?;
    sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
    for (index, (customer, cards)) in customers.enumerate() {
        let number = format!("C{:06}", index + 1);
        insert_customer(&mut transaction, &number, customer, &people[&customer.person]).await?;
        for Drawn { card, issuer, number: pan } in &cards {
            insert_card(&mut transaction, &number, pan, card, issuer).await?;
        }
    }
    transaction.commit().await?;
    connection.close().await
}

async fn insert_customer(
    connection: &mut AnyConnection,
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
    connection: &mut AnyConnection,
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
