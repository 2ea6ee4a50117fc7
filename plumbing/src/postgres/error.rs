//! What an error of PostgreSQL means for the process.

use std::io::ErrorKind;
use std::path::PathBuf;

use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnectOptions;

use crate::config::Faults;
use crate::exit::Exit;

/// Why a service cannot have its store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] Faults),
    /// The file with the url cannot be read.
    #[error("postgres.url_file {}: {source}", path.display())]
    UrlFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What stands in the file is no url of PostgreSQL.
    #[error("the url in postgres.url_file {0}")]
    Url(String),
    /// The server cannot be reached, or it refuses this user or database.
    #[error("PostgreSQL at {at}")]
    Connect {
        /// Host, port, database and user.
        at: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The schema cannot be brought up to date.
    #[error("the schema cannot be brought up to date")]
    Migration(#[source] MigrateError),
}

impl PostgresError {
    /// The exit code of a process that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Settings(_) | Self::Url(_) => Exit::Config,
            Self::UrlFile { source, .. } if source.kind() == ErrorKind::PermissionDenied => Exit::Denied,
            Self::UrlFile { .. } => Exit::NoInput,
            Self::Connect { source, .. } => exit(source).unwrap_or(Exit::Unavailable),
            Self::Migration(error) => Exit::of(error),
        }
    }

    pub(super) fn connect(options: &PgConnectOptions, source: sqlx::Error) -> Self {
        Self::Connect { at: place(options), source }
    }
}

/// Where a pool connects to, without its password.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let user = options.get_username();
    let database = options.get_database().unwrap_or(user);
    format!("{}:{}, database {database}, user {user}", options.get_host(), options.get_port())
}

/// The exit code of a process that ends with `error`, where the error says something about the process.
pub fn exit(error: &sqlx::Error) -> Option<Exit> {
    if let sqlx::Error::Io(error) = error {
        let denied = error.kind() == ErrorKind::PermissionDenied;
        return Some(if denied { Exit::Denied } else { Exit::Unavailable });
    }
    if let sqlx::Error::Database(error) = error {
        return error.code().and_then(|code| exit_of_state(&code));
    }
    if matches!(error, sqlx::Error::Configuration(_) | sqlx::Error::Tls(_)) {
        return Some(Exit::Config);
    }
    let gone =
        matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed);
    gone.then_some(Exit::Unavailable)
}

/// By SQLSTATE: its first two characters are the class.
fn exit_of_state(state: &str) -> Option<Exit> {
    match state {
        // No such database; no such schema.
        "3D000" | "3F000" => Some(Exit::Config),
        // Insufficient privilege.
        "42501" => Some(Exit::Denied),
        // A lock that was not to be had in time.
        "55P03" => Some(Exit::TryAgain),
        _ => match state.get(..2)? {
            // Invalid authorization.
            "28" => Some(Exit::Denied),
            // Transaction rolled back: serialisation, deadlock.
            "40" => Some(Exit::TryAgain),
            // Connection, resources, operator's intervention (also a statement's timeout), system.
            "08" | "53" | "57" | "58" => Some(Exit::Unavailable),
            _ => None,
        },
    }
}

/// Whether a server that is starting may mend this by itself.
pub(super) fn may_come_up(error: &sqlx::Error) -> bool {
    if let sqlx::Error::Io(error) = error {
        return error.kind() != ErrorKind::PermissionDenied;
    }
    // Starting up, shutting down or recovering; no connection left.
    let states = ["57P01", "57P02", "57P03", "53300"];
    matches!(error, sqlx::Error::Database(error)
        if error.code().is_some_and(|code| states.contains(&code.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_decides_by_itself_or_by_its_class() {
        for (state, expected) in [
            ("28P01", Some(Exit::Denied)),
            ("42501", Some(Exit::Denied)),
            ("3D000", Some(Exit::Config)),
            ("57P03", Some(Exit::Unavailable)),
            ("53300", Some(Exit::Unavailable)),
            ("40001", Some(Exit::TryAgain)),
            ("55P03", Some(Exit::TryAgain)),
            ("23505", None),
            ("", None),
        ] {
            assert_eq!(exit_of_state(state), expected, "{state}");
        }
    }

    #[test]
    fn an_error_of_the_driver_decides_deep_in_a_chain() {
        let refused = std::io::Error::from(ErrorKind::ConnectionRefused);
        let migration = PostgresError::Migration(MigrateError::Execute(sqlx::Error::Io(refused)));
        assert_eq!(Exit::of(&migration), Exit::Unavailable);
        assert_eq!(Exit::of(&PostgresError::Migration(MigrateError::Dirty(1))), Exit::Software);
        assert_eq!(Exit::of(&sqlx::Error::PoolTimedOut), Exit::Unavailable);
        assert_eq!(Exit::of(&sqlx::Error::RowNotFound), Exit::Software);
    }
}
