//! A bank's database as a card source: two statements and a mapping, all of it configuration.
//!
//! This is the only module that uses `AssertSqlSafe`: the statements come from the bank's own configuration file, and what
//! comes from a request is only ever a bound parameter.
//!
//! A session cannot write: SQLite opens the file read-only, PostgreSQL the session, and a PostgreSQL account that could
//! write is refused.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use futures::future::BoxFuture;
use schemas::wire::MissingSource;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, AssertSqlSafe, Column, ConnectOptions, Executor, SqlSafeStr, Statement};
use tokio::sync::OnceCell;

use super::sql_address::{AddressError, Database};
use super::sql_config::SqlConfig;
use super::sql_guard::refuse_writers;
use super::sql_row::Reader;
use super::{CardSource, DATABASE_CODE, SourceError};
use crate::domain::dormancy::Rule;
use crate::domain::found::{Defect, Found};
use crate::domain::identity::Identity;

/// A person has one record per source; more than a few are a statement that selects too much.
const MAX_CUSTOMERS: usize = 4;
/// PostgreSQL ended a statement at its `statement_timeout`.
const QUERY_CANCELED: &str = "57014";

/// A SQL source.
pub struct SqlSource {
    pool: AnyPool,
    database: Database,
    /// Set once the account is known not to write.
    guarded: OnceCell<()>,
    config: SqlConfig,
    customer_statement: Arc<str>,
    cards_statement: Arc<str>,
    covers: BTreeSet<MissingSource>,
    dormancy: Option<Arc<Rule>>,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SqlConfigError(String);

impl SqlSource {
    /// Prepares the source; it connects when it is asked. `covers` is what is missing from an answer when a row cannot be
    /// read.
    ///
    /// # Errors
    /// Everything that is wrong with the settings.
    pub fn new(config: SqlConfig, covers: BTreeSet<MissingSource>) -> Result<Self, SqlConfigError> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(SqlConfigError(faults.join("\n")));
        }
        sqlx::any::install_default_drivers();
        let unusable = |error: AddressError| SqlConfigError(error.to_string());
        let url = config.said().read().map_err(unusable)?;
        let database = Database::of(&url).map_err(unusable)?;
        let url = database.read_only(&url, config.statement_timeout_ms).map_err(unusable)?;
        let options = AnyConnectOptions::from_str(&url)
            .map_err(|_| SqlConfigError("url: not the address of a database".into()))?
            // A slow statement would be logged with its text, which is configuration and can be long.
            .disable_statement_logging();
        let pool = AnyPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(Duration::from_millis(config.connect_timeout_ms))
            .connect_lazy_with(options);
        Ok(Self {
            pool,
            database,
            guarded: OnceCell::new(),
            customer_statement: config.customer_statement.as_str().into(),
            cards_statement: config.cards_statement.as_str().into(),
            dormancy: config.dormancy_rule().map(Arc::new),
            config,
            covers,
        })
    }

    /// Both statements run whether there is such a person or not, so that the time taken says nothing.
    async fn ask(&self, identity: &Identity) -> Result<Found, SourceError> {
        let mut found = Found::default();
        let (customers, more) = self.rows(&self.customer_statement, identity, MAX_CUSTOMERS).await?;
        if more {
            return Err(SourceError::Misfit("the customer statement selects several persons".into()));
        }
        let (cards, more) = self.rows(&self.cards_statement, identity, self.config.max_rows).await?;
        if more {
            found.defects.insert(Defect::RowLimit);
        }
        let values = &self.config.values;
        for row in &customers {
            let customer =
                Reader { row, values, defects: &mut found.defects }.customer(&self.config.customer)?;
            found.customers.push(customer);
        }
        for row in &cards {
            let mut reader = Reader { row, values, defects: &mut found.defects };
            found.cards.extend(reader.card(&self.config.cards, self.dormancy.as_ref())?);
        }
        if found.customers.is_empty() {
            // Cards of nobody on file are not this person's.
            found.cards.clear();
        } else if found.defects.contains(&Defect::CardNumber) || found.defects.contains(&Defect::RowLimit) {
            found.missing.extend(&self.covers);
        }
        Ok(found)
    }

    /// Prepares both statements and compares their columns with the mapping, for which no row is needed.
    ///
    /// # Errors
    /// `Misfit` with the first column that is missing, or why the database refuses.
    pub async fn examine(&self) -> Result<(), SourceError> {
        let SqlConfig { customer, cards, .. } = &self.config;
        for (key, statement, mapped) in [
            ("customer", &self.customer_statement, customer.mapped()),
            ("cards", &self.cards_statement, cards.mapped()),
        ] {
            let mut connection = self.connection().await?;
            let text = AssertSqlSafe(Arc::clone(statement)).into_sql_str();
            let within = Duration::from_millis(self.config.statement_timeout_ms);
            let prepared = match tokio::time::timeout(within, connection.prepare(text)).await {
                Err(_) => return Err(SourceError::TimedOut),
                Ok(prepared) => prepared.map_err(|error| sorted(&error))?,
            };
            let told = prepared.columns();
            let missing =
                mapped.into_iter().find(|(_, column)| told.iter().all(|told| told.name() != *column));
            if let Some((field, column)) = missing {
                return Err(SourceError::Misfit(format!(
                    "{key}_statement selects no column `{column}`, which {key}.{field} names"
                )));
            }
        }
        Ok(())
    }

    /// A connection whose account was found to be one that cannot write, now or earlier.
    async fn connection(&self) -> Result<PoolConnection<Any>, SourceError> {
        let mut connection = self.pool.acquire().await.map_err(|error| sorted(&error))?;
        match self.database {
            Database::Sqlite => {}
            Database::Postgres => {
                self.guarded.get_or_try_init(|| refuse_writers(&mut connection)).await?;
            }
        }
        Ok(connection)
    }

    /// At most `limit` rows, and whether there are more. A single statement without a transaction may be dropped at any
    /// await; `pool.begin()` may not (transact-rs/sqlx#4385), and is not used.
    async fn rows(
        &self,
        statement: &Arc<str>,
        identity: &Identity,
        limit: usize,
    ) -> Result<(Vec<AnyRow>, bool), SourceError> {
        let mut connection = self.connection().await?;
        let read = async {
            let query =
                sqlx::query(AssertSqlSafe(Arc::clone(statement))).bind(identity.document_number().to_owned());
            let mut stream = query.fetch(&mut *connection);
            let mut rows = Vec::new();
            while let Some(row) = stream.try_next().await? {
                if rows.len() == limit {
                    return Ok((rows, true));
                }
                rows.push(row);
            }
            Ok((rows, false))
        };
        let within = Duration::from_millis(self.config.statement_timeout_ms);
        match tokio::time::timeout(within, read).await {
            Ok(result) => result.map_err(|error| sorted(&error)),
            Err(_) => Err(SourceError::TimedOut),
        }
    }
}

impl CardSource for SqlSource {
    fn look_up<'a>(&'a self, identity: &'a Identity) -> BoxFuture<'a, Result<Found, SourceError>> {
        Box::pin(self.ask(identity))
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async { self.connection().await.map(|_| ()) })
    }
}

impl fmt::Debug for SqlSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlSource").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A database's own text may repeat what was asked for, so only its code goes on.
pub(super) fn sorted(error: &sqlx::Error) -> SourceError {
    if let sqlx::Error::Database(error) = error {
        if error.code().as_deref() == Some(QUERY_CANCELED) {
            return SourceError::TimedOut;
        }
        return SourceError::Unavailable(format!("{DATABASE_CODE}{}", error.code().unwrap_or("none".into())));
    }
    if matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::AnyDriverError(_)) {
        return SourceError::Misfit("a column has a type that cannot be read: cast it to text".into());
    }
    if matches!(error, sqlx::Error::PoolTimedOut) {
        return SourceError::Unavailable("no connection in time".into());
    }
    SourceError::Unavailable("the connection failed".into())
}
