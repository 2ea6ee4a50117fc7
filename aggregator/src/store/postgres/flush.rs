//! Writes what a transaction was told, one statement per table. Upserts find their rows by unique index whatever the
//! planner believes about the size of a table.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;
use prost::Message as _;
use schemas::audit::Leaf;
use schemas::ids::{BankId, MessageId, Nonce, Reference};
use sqlx::PgConnection;

use super::day_keys::{CONTACT, CONTACT_STATEMENT, COVERAGE, DayKey, Place, SEGMENT};
use super::keys::{Keys, uuid};
use super::outbox;
use super::state::{closing_name, encode};
use super::tx::{Consent, Held, Writes};
use super::types::{Day, Stamp};
use crate::domain::query::{Pair, Query, State};
use crate::store::{OutboxRow, Progress, StoreError, StoreResult};

const WITHDRAW: &str = "
    UPDATE consent SET withdrawn_at = news.withdrawn_at
    FROM unnest($1::text[], $2::uuid[], $3::timestamptz[]) AS news (upstream, query_id, withdrawn_at)
    WHERE consent.upstream = news.upstream AND consent.query_id = news.query_id";

const GIVE_BACK: &str = "
    DELETE FROM consent USING unnest($1::text[], $2::uuid[]) AS unused (upstream, query_id)
    WHERE consent.upstream = unused.upstream AND consent.query_id = unused.query_id";

const USE_NONCES: &str = "
    INSERT INTO nonce (nonce, upstream, query_id)
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::uuid[])
    ON CONFLICT DO NOTHING";

const INSERT_QUERIES: &str = "
    INSERT INTO query (upstream, query_id, subject, content_digest, report_key, record_topic, record_partition,
        record_offset, accepted_at, reply_by, deadline_at, erase_on, state, state_data)
    SELECT upstream, query_id, subject, content_digest, report_key, record_topic, record_partition,
        record_offset, accepted_at, reply_by, deadline_at, erase_on, state, state_data::jsonb
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bytea[], $5::bytea[], $6::text[], $7::integer[],
        $8::bigint[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::date[], $13::text[],
        $14::text[])
        AS new (upstream, query_id, subject, content_digest, report_key, record_topic, record_partition,
        record_offset, accepted_at, reply_by, deadline_at, erase_on, state, state_data)";

const UPDATE_QUERIES: &str = "
    UPDATE query SET state = news.state, state_data = news.state_data::jsonb,
        asked_at = CASE WHEN news.asked THEN coalesce($6, clock_timestamp()) ELSE asked_at END
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::boolean[])
        AS news (upstream, query_id, state, state_data, asked)
    WHERE query.upstream = news.upstream AND query.query_id = news.query_id";

// What a release changes beside the state.
const MOVE_QUERIES: &str = "
    UPDATE query SET record_topic = news.record_topic, record_partition = news.record_partition,
        record_offset = news.record_offset, accepted_at = news.accepted_at, reply_by = news.reply_by,
        deadline_at = news.deadline_at, erase_on = news.erase_on
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::integer[], $5::bigint[], $6::timestamptz[], $7::timestamptz[],
        $8::timestamptz[], $9::date[])
        AS news (upstream, query_id, record_topic, record_partition, record_offset, accepted_at, reply_by, deadline_at,
        erase_on)
    WHERE query.upstream = news.upstream AND query.query_id = news.query_id";

const END_PAIRS: &str = "
    DELETE FROM pair USING unnest($1::text[], $2::uuid[]) AS ended (upstream, query_id)
    WHERE pair.upstream = ended.upstream AND pair.query_id = ended.query_id";

const SAVE_PAIRS: &str = "
    INSERT INTO pair (upstream, query_id, bank, statement_sha256, attempts, ask_again_at, closed_outcome,
        closed_segment_sha256, closed_appended_at, closed_partition, closed_offset, unavailable, invalid, conflict,
        read_to)
    SELECT upstream, query_id, bank, statement_sha256, attempts, ask_again_at, closed_outcome,
        closed_segment_sha256, closed_appended_at, closed_partition, closed_offset, unavailable, invalid, conflict,
        read_to::jsonb
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bytea[], $5::integer[], $6::timestamptz[], $7::text[],
        $8::bytea[], $9::timestamptz[], $10::integer[], $11::bigint[], $12::boolean[], $13::boolean[],
        $14::boolean[], $15::text[])
        AS news (upstream, query_id, bank, statement_sha256, attempts, ask_again_at, closed_outcome,
        closed_segment_sha256, closed_appended_at, closed_partition, closed_offset, unavailable, invalid, conflict,
        read_to)
    ON CONFLICT (upstream, query_id, bank) DO UPDATE SET
        attempts = excluded.attempts, ask_again_at = excluded.ask_again_at,
        closed_outcome = excluded.closed_outcome, closed_segment_sha256 = excluded.closed_segment_sha256,
        closed_appended_at = excluded.closed_appended_at, closed_partition = excluded.closed_partition,
        closed_offset = excluded.closed_offset, unavailable = excluded.unavailable, invalid = excluded.invalid,
        conflict = excluded.conflict, read_to = excluded.read_to";

// The watermark cannot move between here and the commit: this transaction holds its table in ROW SHARE mode.
const KEEP_SEGMENTS: &str = "
    INSERT INTO segment (erase_on, upstream, query_id, bank, sealed)
    SELECT * FROM unnest($1::date[], $2::text[], $3::uuid[], $4::text[], $5::bytea[])
        AS kept (erase_on, upstream, query_id, bank, sealed)
    WHERE erase_on > (SELECT erased_through FROM watermark)
    ON CONFLICT (erase_on, upstream, query_id, bank) DO UPDATE SET sealed = excluded.sealed";

const KEEP_COVERAGES: &str = "
    INSERT INTO coverage (erase_on, upstream, query_id, signed)
    SELECT * FROM unnest($1::date[], $2::text[], $3::uuid[], $4::bytea[])
        AS kept (erase_on, upstream, query_id, signed)
    WHERE erase_on > (SELECT erased_through FROM watermark)
    ON CONFLICT (erase_on, upstream, query_id) DO UPDATE SET signed = excluded.signed";

const KEEP_CONTACTS: &str = "
    INSERT INTO contact (erase_on, upstream, query_id, statement, sealed)
    SELECT * FROM unnest($1::date[], $2::text[], $3::uuid[], $4::bytea[], $5::bytea[])
        AS kept (erase_on, upstream, query_id, statement, sealed)
    WHERE erase_on > (SELECT erased_through FROM watermark)
    ON CONFLICT (erase_on, upstream, query_id) DO UPDATE
    SET statement = excluded.statement, sealed = excluded.sealed";

const DROP_SEGMENTS: &str = "
    DELETE FROM segment USING query JOIN unnest($1::text[], $2::uuid[]) AS gone (upstream, query_id)
        USING (upstream, query_id)
    WHERE segment.erase_on = query.erase_on AND segment.upstream = query.upstream
        AND segment.query_id = query.query_id";

const DROP_COVERAGES: &str = "
    DELETE FROM coverage USING query JOIN unnest($1::text[], $2::uuid[]) AS gone (upstream, query_id)
        USING (upstream, query_id)
    WHERE coverage.erase_on = query.erase_on AND coverage.upstream = query.upstream
        AND coverage.query_id = query.query_id";

const DROP_CONTACTS: &str = "
    DELETE FROM contact USING query JOIN unnest($1::text[], $2::uuid[]) AS gone (upstream, query_id)
        USING (upstream, query_id)
    WHERE contact.erase_on = query.erase_on AND contact.upstream = query.upstream
        AND contact.query_id = query.query_id";

// Ids are drawn in the order of the rows, and under the lock of the query: within a query they are in its order.
const ENQUEUE: &str = "
    INSERT INTO outbox (upstream, query_id, kind, event, bank)
    SELECT upstream, query_id, kind, event, bank
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bytea[], $5::text[]) WITH ORDINALITY
        AS new (upstream, query_id, kind, event, bank, place)
    ORDER BY place";

const LEAVES: &str = "
    INSERT INTO audit_leaf (leaf_id, upstream, query_id, body)
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::uuid[], $4::bytea[])
    ON CONFLICT DO NOTHING";

const PROGRESS: &str = "
    INSERT INTO progress (topic, partition, next_offset, append_time)
    SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::timestamptz[])
    ON CONFLICT (topic, partition) DO UPDATE
    SET next_offset = excluded.next_offset, append_time = excluded.append_time
    WHERE progress.next_offset < excluded.next_offset";

pub(super) async fn consents(
    connection: &mut PgConnection,
    consents: &BTreeMap<Reference, Consent>,
) -> StoreResult<()> {
    let news = || consents.iter().filter(|(_, consent)| consent.news);
    let keys: Keys<'_> = news().map(|(reference, _)| reference).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let at: Vec<Option<Stamp>> = news().map(|(_, consent)| consent.withdrawn_at.map(Stamp)).collect();
    sqlx::query(WITHDRAW).bind(keys.upstreams).bind(keys.queries).bind(at).execute(connection).await?;
    Ok(())
}

/// A consent that was taken for a query that was not registered then leaves no row: the query of an erased day, for one.
pub(super) async fn unused_consents(
    connection: &mut PgConnection,
    consents: &BTreeMap<Reference, Consent>,
    queries: &BTreeMap<Reference, Held>,
) -> StoreResult<()> {
    let unused = consents
        .iter()
        .filter(|(reference, consent)| consent.withdrawn_at.is_none() && !queries.contains_key(reference));
    let keys: Keys<'_> = unused.map(|(reference, _)| reference).collect();
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query(GIVE_BACK).bind(keys.upstreams).bind(keys.queries).execute(connection).await?;
    Ok(())
}

pub(super) async fn nonces(
    connection: &mut PgConnection,
    nonces: &BTreeMap<Nonce, Reference>,
) -> StoreResult<()> {
    if nonces.is_empty() {
        return Ok(());
    }
    let raw: Vec<&[u8]> = nonces.keys().map(|nonce| nonce.0.as_slice()).collect();
    let keys: Keys<'_> = nonces.values().collect();
    let used =
        sqlx::query(USE_NONCES).bind(raw).bind(keys.upstreams).bind(keys.queries).execute(connection).await?;
    if used.rows_affected() == nonces.len() as u64 {
        return Ok(());
    }
    Err(StoreError("a consent was used by another transaction meanwhile".to_owned()))
}

pub(super) async fn queries(
    connection: &mut PgConnection,
    queries: &BTreeMap<Reference, Held>,
    now: Option<Stamp>,
) -> StoreResult<()> {
    let new: Vec<&Query> =
        queries.values().filter(|held| held.stored.is_none()).map(|held| &held.query).collect();
    insert_queries(connection, &new).await?;
    update_queries(connection, queries, now).await?;
    move_queries(connection, queries).await?;
    let was_open = |held: &&Held| matches!(&held.stored, Some(Query { state: State::Collecting(_), .. }));
    let ended = queries.values().filter(was_open).filter(|held| open_pairs(&held.query.state).is_none());
    end_pairs(connection, ended.map(|held| &held.query.reference).collect()).await?;
    save_pairs(connection, queries.values()).await
}

async fn insert_queries(connection: &mut PgConnection, new: &[&Query]) -> StoreResult<()> {
    if new.is_empty() {
        return Ok(());
    }
    let keys: Keys<'_> = new.iter().map(|query| &query.reference).collect();
    let column = |of: fn(&Query) -> Stamp| -> Vec<Stamp> { new.iter().map(|query| of(query)).collect() };
    let states: Vec<_> = new.iter().map(|query| encode(&query.state)).collect();
    sqlx::query(INSERT_QUERIES)
        .bind(keys.upstreams)
        .bind(keys.queries)
        .bind(new.iter().map(|query| query.subject.as_str()).collect::<Vec<_>>())
        .bind(new.iter().map(|query| query.content_digest.0.as_slice()).collect::<Vec<_>>())
        .bind(new.iter().map(|query| query.report_key.0.as_slice()).collect::<Vec<_>>())
        .bind(new.iter().map(|query| &*query.record.topic).collect::<Vec<_>>())
        .bind(new.iter().map(|query| query.record.partition).collect::<Vec<_>>())
        .bind(new.iter().map(|query| query.record.offset).collect::<Vec<_>>())
        .bind(column(|query| Stamp(query.times.accepted_at)))
        .bind(column(|query| Stamp(query.times.reply_by)))
        .bind(column(|query| Stamp(query.times.deadline_at)))
        .bind(new.iter().map(|query| Day(query.times.erase_on)).collect::<Vec<_>>())
        .bind(states.iter().map(|(name, _)| *name).collect::<Vec<_>>())
        .bind(states.iter().map(|(_, data)| data.as_deref()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Only rows whose own columns change: while a query is open its replies touch its pairs alone.
async fn update_queries(
    connection: &mut PgConnection,
    queries: &BTreeMap<Reference, Held>,
    now: Option<Stamp>,
) -> StoreResult<()> {
    let mut keys = Keys::default();
    let (mut names, mut data, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    for held in queries.values() {
        let state = encode(&held.query.state);
        let changed = held.stored.as_ref().is_some_and(|stored| encode(&stored.state) != state);
        if changed || held.newly_asked {
            keys.push(&held.query.reference);
            names.push(state.0);
            data.push(state.1);
            asked.push(held.newly_asked);
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query(UPDATE_QUERIES)
        .bind(keys.upstreams)
        .bind(keys.queries)
        .bind(names)
        .bind(data)
        .bind(asked)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

async fn move_queries(connection: &mut PgConnection, queries: &BTreeMap<Reference, Held>) -> StoreResult<()> {
    let moved = |held: &&Held| held.stored.as_ref().is_some_and(|stored| stored.record != held.query.record);
    let moved: Vec<&Query> = queries.values().filter(moved).map(|held| &held.query).collect();
    if moved.is_empty() {
        return Ok(());
    }
    let keys: Keys<'_> = moved.iter().map(|query| &query.reference).collect();
    let column = |of: fn(&Query) -> Stamp| -> Vec<Stamp> { moved.iter().map(|query| of(query)).collect() };
    sqlx::query(MOVE_QUERIES)
        .bind(keys.upstreams)
        .bind(keys.queries)
        .bind(moved.iter().map(|query| &*query.record.topic).collect::<Vec<_>>())
        .bind(moved.iter().map(|query| query.record.partition).collect::<Vec<_>>())
        .bind(moved.iter().map(|query| query.record.offset).collect::<Vec<_>>())
        .bind(column(|query| Stamp(query.times.accepted_at)))
        .bind(column(|query| Stamp(query.times.reply_by)))
        .bind(column(|query| Stamp(query.times.deadline_at)))
        .bind(moved.iter().map(|query| Day(query.times.erase_on)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

async fn end_pairs(connection: &mut PgConnection, ended: Keys<'_>) -> StoreResult<()> {
    if ended.is_empty() {
        return Ok(());
    }
    sqlx::query(END_PAIRS).bind(ended.upstreams).bind(ended.queries).execute(connection).await?;
    Ok(())
}

fn open_pairs(state: &State) -> Option<&BTreeMap<BankId, Pair>> {
    state.collecting().map(|open| &open.pairs)
}

/// Only pairs that changed: a query may have hundreds of banks, and a reply touches one.
async fn save_pairs<'a>(
    connection: &mut PgConnection,
    queries: impl Iterator<Item = &'a Held>,
) -> StoreResult<()> {
    let mut keys = Keys::default();
    let (mut banks, mut changed) = (Vec::new(), Vec::new());
    for held in queries {
        let Some(pairs) = open_pairs(&held.query.state) else { continue };
        let stored = held.stored.as_ref().and_then(|stored| open_pairs(&stored.state));
        for (bank, pair) in pairs {
            if stored.and_then(|stored| stored.get(bank)) != Some(pair) {
                keys.push(&held.query.reference);
                banks.push(bank.as_str());
                changed.push(pair);
            }
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    let closed = || changed.iter().map(|pair| pair.closed.as_ref());
    let flag = |of: fn(&Pair) -> bool| -> Vec<bool> { changed.iter().map(|pair| of(pair)).collect() };
    sqlx::query(SAVE_PAIRS)
        .bind(keys.upstreams)
        .bind(keys.queries)
        .bind(banks)
        .bind(changed.iter().map(|pair| pair.statement_sha256.0.as_slice()).collect::<Vec<_>>())
        .bind(changed.iter().map(|pair| pair.attempts.cast_signed()).collect::<Vec<_>>())
        .bind(changed.iter().map(|pair| pair.ask_again_at.map(Stamp)).collect::<Vec<_>>())
        .bind(closed().map(|closed| closed.map(|closed| closing_name(closed.outcome))).collect::<Vec<_>>())
        .bind(
            closed()
                .map(|closed| closed.map(|closed| closed.segment_sha256.0.as_slice()))
                .collect::<Vec<_>>(),
        )
        .bind(closed().map(|closed| closed.map(|closed| Stamp(closed.appended_at))).collect::<Vec<_>>())
        .bind(closed().map(|closed| closed.map(|closed| closed.at.0)).collect::<Vec<_>>())
        .bind(closed().map(|closed| closed.map(|closed| closed.at.1)).collect::<Vec<_>>())
        .bind(flag(|pair| pair.unavailable))
        .bind(flag(|pair| pair.invalid))
        .bind(flag(|pair| pair.conflict))
        .bind(changed.iter().map(|pair| read_to(&pair.read_to)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

fn read_to(read_to: &BTreeMap<i32, i64>) -> String {
    serde_json::to_string(read_to).expect("numbers under numbers are JSON")
}

/// The keys of the days that content is written into; an erased day has none.
pub(super) type WrapKeys = BTreeMap<Date, Arc<DayKey>>;

/// Returns how many rows were not kept because their day is erased.
pub(super) async fn content(
    connection: &mut PgConnection,
    writes: &Writes,
    keys: &WrapKeys,
) -> StoreResult<u64> {
    if !writes.dropped.is_empty() {
        let gone: Keys<'_> = writes.dropped.iter().collect();
        for statement in [DROP_SEGMENTS, DROP_COVERAGES, DROP_CONTACTS] {
            sqlx::query(statement)
                .bind(&gone.upstreams)
                .bind(&gone.queries)
                .execute(&mut *connection)
                .await?;
        }
    }
    let asked = writes.segments.len() + writes.coverages.len() + writes.contacts.len();
    let kept = segments(connection, writes, keys).await?
        + coverages(connection, writes, keys).await?
        + contacts(connection, writes, keys).await?;
    Ok((asked as u64).saturating_sub(kept))
}

async fn segments(connection: &mut PgConnection, writes: &Writes, keys: &WrapKeys) -> StoreResult<u64> {
    let (mut of, mut days, mut banks, mut wrapped) = (Keys::default(), Vec::new(), Vec::new(), Vec::new());
    for ((reference, bank), (day, sealed)) in &writes.segments {
        let Some(key) = keys.get(day) else { continue };
        let place = Place { column: SEGMENT, day: *day, reference, bank: bank.as_str() };
        of.push(reference);
        days.push(Day(*day));
        banks.push(bank.as_str());
        wrapped.push(key.wrap(&place, sealed));
    }
    if of.is_empty() {
        return Ok(0);
    }
    let kept = sqlx::query(KEEP_SEGMENTS)
        .bind(days)
        .bind(of.upstreams)
        .bind(of.queries)
        .bind(banks)
        .bind(wrapped)
        .execute(connection)
        .await?;
    Ok(kept.rows_affected())
}

async fn coverages(connection: &mut PgConnection, writes: &Writes, keys: &WrapKeys) -> StoreResult<u64> {
    let (mut of, mut days, mut wrapped) = (Keys::default(), Vec::new(), Vec::new());
    for (reference, (day, signed)) in &writes.coverages {
        let Some(key) = keys.get(day) else { continue };
        let place = Place { column: COVERAGE, day: *day, reference, bank: "" };
        of.push(reference);
        days.push(Day(*day));
        wrapped.push(key.wrap(&place, &signed.encode_to_vec()));
    }
    if of.is_empty() {
        return Ok(0);
    }
    let kept = sqlx::query(KEEP_COVERAGES)
        .bind(days)
        .bind(of.upstreams)
        .bind(of.queries)
        .bind(wrapped)
        .execute(connection)
        .await?;
    Ok(kept.rows_affected())
}

async fn contacts(connection: &mut PgConnection, writes: &Writes, keys: &WrapKeys) -> StoreResult<u64> {
    let (mut of, mut days) = (Keys::default(), Vec::new());
    let (mut statements, mut contacts) = (Vec::new(), Vec::new());
    for (reference, (day, contact)) in &writes.contacts {
        let Some(key) = keys.get(day) else { continue };
        let place = |column| Place { column, day: *day, reference, bank: "" };
        of.push(reference);
        days.push(Day(*day));
        statements.push(key.wrap(&place(CONTACT_STATEMENT), &contact.statement.encode_to_vec()));
        contacts.push(key.wrap(&place(CONTACT), &contact.sealed));
    }
    if of.is_empty() {
        return Ok(0);
    }
    let kept = sqlx::query(KEEP_CONTACTS)
        .bind(days)
        .bind(of.upstreams)
        .bind(of.queries)
        .bind(statements)
        .bind(contacts)
        .execute(connection)
        .await?;
    Ok(kept.rows_affected())
}

pub(super) async fn outbox(connection: &mut PgConnection, rows: &[OutboxRow]) -> StoreResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let keys: Keys<'_> = rows.iter().map(|row| &row.reference).collect();
    let columns: Vec<_> = rows.iter().map(|row| outbox::encode(&row.message)).collect();
    sqlx::query(ENQUEUE)
        .bind(keys.upstreams)
        .bind(keys.queries)
        .bind(columns.iter().map(|columns| columns.kind).collect::<Vec<_>>())
        .bind(columns.iter().map(|columns| columns.event.as_deref()).collect::<Vec<_>>())
        .bind(columns.iter().map(|columns| columns.bank).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn leaves(
    connection: &mut PgConnection,
    leaves: &BTreeMap<MessageId, Leaf>,
) -> StoreResult<()> {
    if leaves.is_empty() {
        return Ok(());
    }
    let references = || leaves.values().map(Leaf::reference);
    sqlx::query(LEAVES)
        .bind(leaves.keys().map(|id| id.0.as_slice()).collect::<Vec<_>>())
        .bind(references().map(|of| of.map(|of| of.upstream.as_str())).collect::<Vec<_>>())
        .bind(references().map(|of| of.map(uuid)).collect::<Vec<_>>())
        .bind(leaves.values().map(|leaf| leaf.encode().to_vec()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn progress(
    connection: &mut PgConnection,
    progress: &BTreeMap<(String, i32), Progress>,
) -> StoreResult<()> {
    if progress.is_empty() {
        return Ok(());
    }
    sqlx::query(PROGRESS)
        .bind(progress.keys().map(|(topic, _)| topic.as_str()).collect::<Vec<_>>())
        .bind(progress.keys().map(|(_, partition)| *partition).collect::<Vec<_>>())
        .bind(progress.values().map(|known| known.next_offset).collect::<Vec<_>>())
        .bind(progress.values().map(|known| Stamp(known.append_time)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
