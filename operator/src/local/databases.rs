//! Databases of a local system and the roles that may use them.

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::secret_file::password;

/// A name of a role or database, as it is written into statements: lower-case letters, digits and underscores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// PostgreSQL cuts longer names off.
const MAX_NAME: usize = 63;

/// A name that cannot be one of a role or database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name of up to {MAX_NAME} lower-case letters, digits and underscores")]
pub struct InvalidName(String);

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=MAX_NAME).contains(&text.len())
            && !text.starts_with(|first: char| first.is_ascii_digit())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidName(text.to_owned())) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A role with its password.
#[derive(Clone, Debug)]
pub struct Login {
    role: Name,
    password: SecretString,
}

impl Login {
    fn new(role: Name) -> Self {
        Self { role, password: password().into() }
    }
}

/// A database, its owner, and a role that may only read it.
#[derive(Clone, Debug)]
pub struct Database {
    name: Name,
    owner: Login,
    reader: Option<Login>,
}

/// Why a database is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The stack's address is none.
    #[error("the stack's PostgreSQL address cannot be used")]
    Address,
    /// A name does not fit.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The server does not do it.
    #[error("PostgreSQL, {what}")]
    Server {
        /// What was asked of it.
        what: String,
        /// Why not.
        source: sqlx::Error,
    },
}

fn failed(what: impl fmt::Display) -> impl FnOnce(sqlx::Error) -> DatabaseError {
    move |source| DatabaseError::Server { what: what.to_string(), source }
}

impl Database {
    /// A database whose owner has its name. Passwords are new ones.
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn named(name: &str) -> Result<Self, InvalidName> {
        let name: Name = name.parse()?;
        Ok(Self { owner: Login::new(name.clone()), reader: None, name })
    }

    /// The same with a role `<name>_reader`, which sees every table that the owner makes from now on.
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn with_reader(self) -> Result<Self, InvalidName> {
        let reader = format!("{}_reader", self.name).parse()?;
        Ok(Self { reader: Some(Login::new(reader)), ..self })
    }

    /// The owner's address of it.
    pub fn owner_url(&self, server: &Server) -> SecretString {
        server.url(&self.name, &self.owner)
    }

    /// The reader's address of it, or the owner's when there is no reader.
    pub fn reader_url(&self, server: &Server) -> SecretString {
        server.url(&self.name, self.reader.as_ref().unwrap_or(&self.owner))
    }

    /// What makes a new database private and lets its reader read, run inside it.
    fn rights(&self) -> Vec<String> {
        let Self { name, owner, .. } = self;
        let mut statements = vec![format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC")];
        if let Some(reader) = &self.reader {
            let (owner, reader) = (&owner.role, &reader.role);
            statements.push(format!("GRANT CONNECT ON DATABASE {name} TO {reader}"));
            statements.push(format!(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {reader}"
            ));
        }
        statements
    }

    fn logins(&self) -> impl Iterator<Item = &Login> {
        [&self.owner].into_iter().chain(&self.reader)
    }
}

/// A PostgreSQL server, as a role that may make databases and roles.
#[derive(Clone)]
pub struct Server {
    admin: PgConnectOptions,
}

impl Server {
    /// The server at `url`.
    ///
    /// # Errors
    /// [`DatabaseError::Address`].
    pub fn new(url: &SecretString) -> Result<Self, DatabaseError> {
        let admin = PgConnectOptions::from_str(url.expose_secret()).map_err(|_| DatabaseError::Address)?;
        Ok(Self { admin: admin.disable_statement_logging() })
    }

    /// Makes what is missing of `databases` and their roles. A role that exists gets the new password, a database that
    /// exists keeps its content.
    ///
    /// # Errors
    /// [`DatabaseError::Server`].
    pub async fn ensure(&self, databases: &[Database]) -> Result<(), DatabaseError> {
        let mut session = self.session(None).await?;
        for database in databases {
            for login in database.logins() {
                let verb = if session.has_role(&login.role).await? { "ALTER" } else { "CREATE" };
                let password = login.password.expose_secret();
                session.run(format!("{verb} ROLE {} LOGIN PASSWORD '{password}'", login.role)).await?;
                // Who is no superuser gives a database to its own roles only, and ends the sessions of no others.
                session.run(format!("GRANT {} TO CURRENT_USER", login.role)).await?;
            }
            let Database { name, owner, .. } = database;
            if !session.has_database(name).await? {
                session.run(format!("CREATE DATABASE {name} OWNER {}", owner.role)).await?;
            }
            let mut inside = self.session(Some(name)).await?;
            for statement in database.rights() {
                inside.run(statement).await?;
            }
            inside.close().await;
        }
        session.close().await;
        Ok(())
    }

    /// Drops `databases` and their roles, and ends whatever uses them.
    ///
    /// # Errors
    /// [`DatabaseError::Server`].
    pub async fn remove(&self, databases: &[Database]) -> Result<(), DatabaseError> {
        let mut session = self.session(None).await?;
        for database in databases {
            session.run(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", database.name)).await?;
            for login in database.logins() {
                session.run(format!("DROP ROLE IF EXISTS {}", login.role)).await?;
            }
        }
        session.close().await;
        Ok(())
    }

    fn url(&self, database: &Name, login: &Login) -> SecretString {
        let options = self.admin.clone().database(&database.0).username(&login.role.0);
        options.password(login.password.expose_secret()).to_url_lossy().to_string().into()
    }

    async fn session(&self, database: Option<&Name>) -> Result<Session, DatabaseError> {
        let options = match database {
            Some(name) => self.admin.clone().database(&name.0),
            None => self.admin.clone(),
        };
        PgConnection::connect_with(&options).await.map(Session).map_err(failed("connecting"))
    }
}

struct Session(PgConnection);

impl Session {
    /// Names are [`Name`]s and passwords hex, so that a statement is what it looks like. Only its first three words are ever
    /// told: a password may follow.
    async fn run(&mut self, statement: String) -> Result<(), DatabaseError> {
        let what = statement.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut self.0).await.map(|_| ()).map_err(failed(what))
    }

    async fn has_role(&mut self, role: &Name) -> Result<bool, DatabaseError> {
        self.has("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role).await
    }

    async fn has_database(&mut self, database: &Name) -> Result<bool, DatabaseError> {
        self.has("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database).await
    }

    async fn has(&mut self, question: &'static str, name: &Name) -> Result<bool, DatabaseError> {
        sqlx::query_scalar(question).bind(&name.0).fetch_one(&mut self.0).await.map_err(failed(question))
    }

    async fn close(self) {
        // It has done what it was for; how it goes does not matter.
        let _closed = self.0.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_carry_anything_into_a_statement() {
        for good in ["cardquery_aggregator", "a", &"x".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "A", "1a", "a b", "a;", "a'", "a\"", "a-b", "é", &"x".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert!(Database::named(&"x".repeat(60)).expect("fits").with_reader().is_err());
    }

    #[test]
    fn owner_and_reader_have_addresses_of_their_own_and_neither_prints() {
        let server = Server::new(&"postgres://admin:hunter2@127.0.0.1:5433/postgres".to_owned().into());
        let server = server.expect("an address");
        let database = Database::named("bank_anhe").and_then(Database::with_reader).expect("a name");
        let owner = database.owner_url(&server).expose_secret().to_owned();
        let reader = database.reader_url(&server).expose_secret().to_owned();
        assert!(owner.starts_with("postgres://bank_anhe:"), "{owner}");
        assert!(reader.starts_with("postgres://bank_anhe_reader:"), "{reader}");
        assert!(owner.contains("@127.0.0.1:5433/bank_anhe?") && !owner.contains("hunter2"), "{owner}");
        let password = database.owner.password.expose_secret();
        assert!(owner.contains(password) && !reader.contains(password));
        assert!(!format!("{database:?}").contains(password));
    }
}
