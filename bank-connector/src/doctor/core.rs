//! The bank's own system, asked for a person who does not exist.

use std::time::Instant;

use plumbing::doctor::{Report, State};
use plumbing::exit::Exit;

use super::rehearsal;
use crate::config::{Config, SourceConfig};
use crate::source::sql::SqlSource;
use crate::source::{CardSource, SourceError};

const CHECK: &str = "core";

/// Looks at every source. Returns whether all of them can answer.
pub(super) async fn look(config: &Config, report: &mut Report) -> bool {
    let mut all = true;
    for (index, source) in config.source.iter().enumerate() {
        all &= look_at(index, source, report).await;
    }
    all
}

async fn look_at(index: usize, source: &SourceConfig, report: &mut Report) -> bool {
    let key = format!("source[{index}]");
    let sql = match SqlSource::new(source.sql.clone(), source.covers.clone()) {
        Ok(sql) => sql,
        Err(error) => {
            let fix = format!("{key}.sql: say where the database is in a file that this user may read");
            report.add(CHECK, format!("{key}.sql.{error}"), State::failed(Exit::Config, fix));
            return false;
        }
    };
    if let Err(error) = sql.examine().await {
        let (what, state) = judged(&key, &error);
        report.add(CHECK, what, state);
        return false;
    }
    report
        .ok(CHECK, format!("{key}: read-only account and session, both statements have every mapped column"));
    let begun = Instant::now();
    let looked = sql.look_up(&rehearsal::nobody()).await;
    let took = begun.elapsed();
    let (what, state) = match looked {
        Ok(found) if found.customers.is_empty() => {
            (format!("{key}: both statements run; nobody is on file under a number of nobody"), State::Ok)
        }
        Ok(_) => (
            format!("{key}: somebody is on file under a number that nobody can have"),
            State::warning("customer_statement: does it compare the document number with its parameter?"),
        ),
        Err(error) => judged(&key, &error),
    };
    let answers = !matches!(state, State::Failed { .. });
    report.timed(CHECK, what, state, took);
    answers
}

/// What a source's error means, and what to do. SQLSTATE classes: 28 authorization, 3D no such database, 42 a statement
/// that does not fit, of which 42501 is a missing right.
fn judged(key: &str, error: &SourceError) -> (String, State) {
    let state = match (error.database_code(), error) {
        (Some("42501"), _) => {
            State::failed(Exit::Denied, "grant the account SELECT on the tables of both statements")
        }
        (Some(code), _) if code.starts_with("28") => State::failed(
            Exit::Denied,
            format!("{key}.sql: correct user and password in the database's address"),
        ),
        (Some(code), _) if code.starts_with("3D") => {
            State::failed(Exit::Config, format!("{key}.sql: correct the database's name in its address"))
        }
        (Some(code), _) if code.starts_with("42") => State::failed(
            Exit::Config,
            format!("{key}.sql: run both statements by hand: a table, a column or a word is wrong"),
        ),
        (_, SourceError::Misfit(_)) => {
            State::failed(Exit::Config, format!("{key}.sql: correct the setting that it names"))
        }
        (_, SourceError::TimedOut) => State::failed(
            Exit::Unavailable,
            format!("an index on the document number, or a greater {key}.sql.statement_timeout_ms"),
        ),
        (_, SourceError::Unavailable(_)) => State::failed(
            Exit::Unavailable,
            format!("{key}.sql: correct host and port in the database's address, or start the database"),
        ),
    };
    (format!("{key}: {error}"), state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_a_database_has_its_own_fix_and_code() {
        let code = |code: &str| SourceError::Unavailable(format!("database code {code}"));
        for (error, exit, word) in [
            (code("28P01"), 77, "password"),
            (code("3D000"), 78, "name"),
            (code("42703"), 78, "by hand"),
            (code("42501"), 77, "SELECT"),
            (code("57P03"), 69, "start the database"),
            (SourceError::Unavailable("no connection in time".into()), 69, "host and port"),
            (SourceError::TimedOut, 69, "index"),
            (SourceError::Misfit("the database account may write".into()), 78, "setting"),
        ] {
            let (_, state) = judged("source[0]", &error);
            let State::Failed { fix, exit: got } = state else { panic!("{error} fails") };
            assert_eq!(got.code(), exit, "{error}");
            assert!(fix.contains(word), "{error}: {fix}");
        }
    }
}
