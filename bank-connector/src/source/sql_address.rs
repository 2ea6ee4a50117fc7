//! Where a bank's database is, and what keeps a session on it from writing.

use std::path::PathBuf;

use zeroize::Zeroizing;

/// Kinds of database that a source can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Database {
    Sqlite,
    Postgres,
}

/// An address that cannot be used. Never holds the address: it can hold a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddressError {
    #[error("url: one of url, url_file and url_env is needed, and only one")]
    NotOne,
    #[error("url_file: {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("url_env: {0} is not set")]
    NotInEnvironment(String),
    #[error("url: only sqlite: and postgres: are supported")]
    Scheme,
    #[error("url: a card source is opened with mode=ro")]
    Mode,
}

/// The three ways to say where a database is.
pub(super) struct Said<'a> {
    pub(super) url: &'a str,
    pub(super) file: Option<&'a PathBuf>,
    pub(super) env: Option<&'a str>,
}

impl Said<'_> {
    /// Whether it is said exactly once.
    pub(super) fn check(&self) -> Result<(), AddressError> {
        let said = [!self.url.is_empty(), self.file.is_some(), self.env.is_some()];
        if said.into_iter().filter(|said| *said).count() == 1 { Ok(()) } else { Err(AddressError::NotOne) }
    }

    /// The address itself.
    pub(super) fn read(&self) -> Result<Zeroizing<String>, AddressError> {
        self.check()?;
        if let Some(path) = self.file {
            let text = std::fs::read_to_string(path)
                .map(Zeroizing::new)
                .map_err(|source| AddressError::Unreadable { path: path.clone(), source })?;
            return Ok(Zeroizing::new(text.trim().to_owned()));
        }
        if let Some(name) = self.env {
            let url = std::env::var(name).map_err(|_| AddressError::NotInEnvironment(name.to_owned()))?;
            return Ok(Zeroizing::new(url));
        }
        Ok(Zeroizing::new(self.url.to_owned()))
    }
}

impl Database {
    /// By the address's scheme.
    pub(super) fn of(url: &str) -> Result<Self, AddressError> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            Some(_) | None => Err(AddressError::Scheme),
        }
    }

    /// The address with what makes its sessions read-only, and ends their statements where the database itself can.
    pub(super) fn read_only(
        self,
        url: &str,
        statement_timeout_ms: u64,
    ) -> Result<Zeroizing<String>, AddressError> {
        let (_, query) = url.split_once('?').unwrap_or((url, ""));
        let separator = if url.contains('?') { '&' } else { '?' };
        let ours = match self {
            Self::Sqlite => match query.split('&').find_map(|part| part.strip_prefix("mode=")) {
                None => "mode=ro".to_owned(),
                Some("ro") => return Ok(Zeroizing::new(url.to_owned())),
                Some(_) => return Err(AddressError::Mode),
            },
            // Of an option that is given twice the server takes the last.
            Self::Postgres => format!(
                "options=-c%20default_transaction_read_only%3Don%20-c%20statement_timeout%3D{statement_timeout_ms}"
            ),
        };
        Ok(Zeroizing::new(format!("{url}{separator}{ours}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_only(url: &str) -> Result<String, String> {
        let database = Database::of(url).map_err(|error| error.to_string())?;
        database.read_only(url, 700).map(|url| url.as_str().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_session_is_read_only_whatever_the_address_says() {
        assert_eq!(read_only("sqlite:///core.db").as_deref(), Ok("sqlite:///core.db?mode=ro"));
        assert_eq!(
            read_only("sqlite:///core.db?cache=private").as_deref(),
            Ok("sqlite:///core.db?cache=private&mode=ro")
        );
        assert_eq!(read_only("sqlite:///core.db?mode=ro").as_deref(), Ok("sqlite:///core.db?mode=ro"));
        assert!(read_only("sqlite:///core.db?mode=rwc").is_err());
        let ours = "options=-c%20default_transaction_read_only%3Don%20-c%20statement_timeout%3D700";
        assert_eq!(read_only("postgres://u:p@h/d"), Ok(format!("postgres://u:p@h/d?{ours}")));
        let theirs = "postgresql://h/d?options=-c%20default_transaction_read_only%3Doff";
        assert_eq!(read_only(theirs), Ok(format!("{theirs}&{ours}")));
        for other in ["mysql://h/d", "core.db", ""] {
            assert!(read_only(other).is_err(), "{other}");
        }
    }

    #[test]
    fn an_address_comes_from_one_place_and_never_shows_in_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("url");
        std::fs::write(&path, "postgres://core:hunter2@h/d\n").expect("written");
        let said = |url: &'static str, file, env| Said { url, file, env };
        let read = |said: Said<'_>| said.read().map(|url| url.as_str().to_owned());
        assert_eq!(read(said("", Some(&path), None)).expect("read"), "postgres://core:hunter2@h/d");
        assert_eq!(read(said("sqlite:x", None, None)).expect("read"), "sqlite:x");
        assert_eq!(read(said("", None, Some("PATH"))).expect("read"), std::env::var("PATH").expect("set"));
        for twice in
            [said("", None, None), said("sqlite:x", Some(&path), None), said("x", None, Some("PATH"))]
        {
            assert!(matches!(twice.read(), Err(AddressError::NotOne)));
        }
        let unset = said("", None, Some("CARDQUERY_NO_SUCH_VARIABLE")).read();
        assert!(matches!(unset, Err(AddressError::NotInEnvironment(_))));
        let missing = said("", Some(&folder.path().join("none")), None).read();
        assert!(matches!(missing, Err(AddressError::Unreadable { .. })));
    }
}
