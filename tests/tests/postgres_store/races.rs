//! The races of a reply with the end of its query, each run twice: with code that looks right and loses, and with the store's.
//!
//! Every interleaving is forced: a step is taken when the one before it has ended, or waits for a lock.

use aggregator::domain::assembly::{Counted, Effect};
use aggregator::domain::query::{FinalKind, Query};
use aggregator::store::{Store as _, Tx as _};
use schemas::wire::BankOutcome;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::stand::{Stand, answer, bank, window_closed};

/// Takes a reply without a look at the query.
const CLOSE: &str = "
    UPDATE pair SET closed_outcome = 'ANSWERED', closed_segment_sha256 = sha256(convert_to(bank, 'UTF8')),
        closed_appended_at = now(), closed_partition = 0, closed_offset = 0
    WHERE query_id = $1 AND bank = $2";

const COUNT_OPEN: &str = "SELECT count(*) FROM pair WHERE query_id = $1 AND closed_outcome IS NULL";

/// Locks and reads in one statement.
const LOCK_AND_COUNT_OPEN: &str = "
    WITH locked AS MATERIALIZED (SELECT upstream, query_id FROM query WHERE query_id = $1 FOR NO KEY UPDATE)
    SELECT count(*) FROM locked JOIN pair USING (upstream, query_id) WHERE closed_outcome IS NULL";

/// Makes a report in one statement; returns what it says of alpha.
const LOCK_AND_FINALISE: &str = "
    WITH locked AS MATERIALIZED (SELECT upstream, query_id FROM query WHERE query_id = $1 FOR NO KEY UPDATE),
        outcomes AS (
            SELECT jsonb_object_agg(bank, coalesce(closed_outcome, 'NO_REPLY')) AS of_banks
            FROM locked JOIN pair USING (upstream, query_id)
        )
    UPDATE query SET state = 'FINAL', state_data = outcomes.of_banks
    FROM outcomes WHERE query_id = $1
    RETURNING state_data ->> 'alpha'";

fn id(query: &Query) -> Uuid {
    Uuid::from_bytes(*query.reference.query.as_bytes())
}

async fn begin(pool: &PgPool) -> Transaction<'static, Postgres> {
    pool.begin().await.expect("begun")
}

async fn close(connection: &mut PgConnection, query: &Query, bank: &str) {
    let closed = sqlx::query(CLOSE).bind(id(query)).bind(bank).execute(connection).await.expect("closed");
    assert_eq!(closed.rows_affected(), 1);
}

async fn open(connection: &mut PgConnection, statement: &'static str, query: &Query) -> i64 {
    sqlx::query_scalar(statement).bind(id(query)).fetch_one(connection).await.expect("a count")
}

/// Whether `query` waits for its deadline although every bank has answered.
async fn is_forgotten(stand: &Stand, query: &Query) -> bool {
    let stored = stand.store.query(&query.reference).await.expect("read").expect("is there");
    let open = stored.state.collecting();
    open.is_some_and(|open| open.pairs.values().all(|pair| pair.closed.is_some()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_takes_no_lock_is_left_out_of_the_report() {
    let stand = Stand::new().await;
    let query = stand.registered().await;
    let (finalising, _) = stand.begun(&query, window_closed()).await;
    let mut reply = begin(&stand.pool).await;
    close(&mut reply, &query, "alpha").await;
    reply.commit().await.expect("committed, and nobody was asked");
    finalising.commit().await.expect("committed");
    let outcome = stand.report(&query).await.outcomes[&bank("alpha")].outcome;
    assert_eq!(outcome, BankOutcome::NoReply, "a report without a reply that was committed before it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_of_the_store_waits_for_the_report_or_is_in_it() {
    let stand = Stand::new().await;
    let query = stand.registered().await;
    let (finalising, _) = stand.begun(&query, window_closed()).await;
    let reply = stand.spawned(&query, answer(&query, "alpha"));
    stand.until_blocked(1).await;
    finalising.commit().await.expect("committed");
    assert_eq!(reply.await.expect("no panic"), [Effect::Count(Counted::AfterEnd)], "it was not taken");

    let query = stand.registered().await;
    let (reply, effects) = stand.begun(&query, answer(&query, "alpha")).await;
    assert_eq!(effects, [Effect::KeepSegment]);
    let finalising = stand.spawned(&query, window_closed());
    stand.until_blocked(1).await;
    reply.commit().await.expect("committed");
    assert_eq!(finalising.await.expect("no panic"), [Effect::Report]);
    let outcome = stand.report(&query).await.outcomes[&bank("alpha")].outcome;
    assert_eq!(outcome, BankOutcome::Answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_made_in_one_statement_leaves_out_the_reply_it_waited_for() {
    let stand = Stand::new().await;
    let query = stand.registered().await;
    let (reply, effects) = stand.begun(&query, answer(&query, "alpha")).await;
    assert_eq!(effects, [Effect::KeepSegment]);
    let (pool, wanted) = (stand.pool.clone(), id(&query));
    let finalising = tokio::spawn(async move {
        let alpha: String =
            sqlx::query_scalar(LOCK_AND_FINALISE).bind(wanted).fetch_one(&pool).await.expect("a report");
        alpha
    });
    stand.until_blocked(1).await;
    reply.commit().await.expect("committed");
    assert_eq!(finalising.await.expect("no panic"), "NO_REPLY", "the snapshot is older than the lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_last_replies_that_only_count_leave_the_query_open() {
    let stand = Stand::new().await;
    let query = stand.registered().await;
    let (mut one, mut two) = (begin(&stand.pool).await, begin(&stand.pool).await);
    close(&mut one, &query, "alpha").await;
    close(&mut two, &query, "beta").await;
    assert_eq!(open(&mut one, COUNT_OPEN, &query).await, 1, "not the last");
    assert_eq!(open(&mut two, COUNT_OPEN, &query).await, 1, "not the last either");
    one.commit().await.expect("committed");
    two.commit().await.expect("committed");
    assert!(is_forgotten(&stand, &query).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_reply_that_locks_and_reads_in_one_statement_leaves_the_query_open() {
    let stand = Stand::new().await;
    let query = stand.registered().await;
    let (one, effects) = stand.begun(&query, answer(&query, "alpha")).await;
    assert_eq!(effects, [Effect::KeepSegment], "not the last");
    let (pool, waiting) = (stand.pool.clone(), query.clone());
    let two = tokio::spawn(async move {
        let mut two = begin(&pool).await;
        let open = open(&mut two, LOCK_AND_COUNT_OPEN, &waiting).await;
        close(&mut two, &waiting, "beta").await;
        two.commit().await.expect("committed");
        open
    });
    stand.until_blocked(1).await;
    one.commit().await.expect("committed");
    assert_eq!(two.await.expect("no panic"), 2, "it has the lock, and does not see what it waited for");
    assert!(is_forgotten(&stand, &query).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_last_replies_of_the_store_makes_the_report() {
    let stand = Stand::new().await;
    let query = stand.registered().await;
    let (one, effects) = stand.begun(&query, answer(&query, "alpha")).await;
    assert_eq!(effects, [Effect::KeepSegment]);
    let two = stand.spawned(&query, answer(&query, "beta"));
    stand.until_blocked(1).await;
    one.commit().await.expect("committed");
    assert_eq!(two.await.expect("no panic"), [Effect::KeepSegment, Effect::Report]);
    assert_eq!(stand.report(&query).await.kind, FinalKind::AllAnswered);
}
