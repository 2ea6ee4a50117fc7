//! What can go wrong with a row.

use crate::store::StoreError;

/// A row that this version cannot have written.
#[derive(Debug, thiserror::Error)]
#[error("unreadable row: {0}")]
pub(super) struct Unreadable(pub(super) &'static str);

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<Unreadable> for StoreError {
    fn from(error: Unreadable) -> Self {
        Self(error.to_string())
    }
}
