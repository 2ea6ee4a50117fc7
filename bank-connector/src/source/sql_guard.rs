//! What a PostgreSQL account is asked about itself before it is used: a card source must not be able to write.

use sqlx::{AnyConnection, Row};

use super::SourceError;
use super::sql::sorted;

/// A read-only session can be left by a statement, and a pooler may not pass on what makes it one; so the account's own
/// rights count too, and a superuser may write every table. Every user may update `pg_settings`, which changes a session
/// and nothing else: `pg_catalog` does not count.
const RIGHTS: &str = "
    SELECT current_setting('transaction_read_only') = 'on' AS read_only,
           EXISTS (
               SELECT FROM pg_catalog.pg_class AS relation
               JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = relation.relnamespace
               WHERE relation.relkind IN ('r', 'p', 'v', 'f')
                 AND namespace.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
                 AND (has_table_privilege(relation.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                      OR has_any_column_privilege(relation.oid, 'INSERT, UPDATE'))
           ) AS writes";

/// Refuses a session or an account that could write.
pub(super) async fn refuse_writers(connection: &mut AnyConnection) -> Result<(), SourceError> {
    let row = sqlx::query(RIGHTS).fetch_one(connection).await.map_err(|error| sorted(&error))?;
    let says = |column| row.try_get::<bool, _>(column).map_err(|error| sorted(&error));
    let refused = |reason: &str| Err(SourceError::Misfit(reason.to_owned()));
    if says("writes")? {
        return refused("the database account may write: use one that can only read");
    }
    if !says("read_only")? {
        return refused("the session is not read-only: does a pooler drop the startup options?");
    }
    Ok(())
}
