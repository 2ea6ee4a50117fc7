//! Where a bank's cards come from.
//!
//! | file | role |
//! |---|---|
//! | `sql.rs` | a database, by configuration; `sql_config.rs` its settings, `sql_row.rs` its columns |
//! | `sql_address.rs`, `sql_guard.rs` | what keeps a session and an account from writing |
//! | `several.rs` | several internal sources behind one |

pub mod several;
pub mod sql;
mod sql_address;
pub mod sql_config;
mod sql_guard;
mod sql_row;

use futures::future::BoxFuture;

use crate::domain::found::Found;
use crate::domain::identity::Identity;

/// A bank's own system, asked for one person at a time.
///
/// The future may be dropped before it ends, when the time for a request is over.
pub trait CardSource: Send + Sync + 'static {
    /// Everything on file under the document number of `identity`. Whether it is the same person is not for the source.
    fn look_up<'a>(&'a self, identity: &'a Identity) -> BoxFuture<'a, Result<Found, SourceError>>;

    /// Whether the source can be used at all, asked once before the first lookup. `Misfit` is a reason not to start.
    fn probe(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Before a database's code in the text of [`SourceError::Unavailable`].
const DATABASE_CODE: &str = "database code ";

impl SourceError {
    /// The code of the database that refused, SQLSTATE for PostgreSQL.
    pub fn database_code(&self) -> Option<&str> {
        match self {
            Self::Unavailable(text) => text.strip_prefix(DATABASE_CODE),
            Self::TimedOut | Self::Misfit(_) => None,
        }
    }
}

/// Why a source did not answer. Holds no text from the source: it could repeat what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It cannot be reached or refuses to work now.
    #[error("the source is unavailable ({0})")]
    Unavailable(String),
    /// It did not answer in time.
    #[error("the source did not answer in time")]
    TimedOut,
    /// It answered something that the configuration does not fit, for example no such column.
    #[error("the source does not fit its configuration: {0}")]
    Misfit(String),
}
