//! One transaction. What it is asked it answers from what it has read under its locks; what it is told it keeps, and
//! writes in bulk at the commit: a batch of hundreds of records is a handful of statements.
//!
//! | call | statements when it is called | at the commit |
//! |---|---|---|
//! | `prepare` | takes consents, reads the watermark, locks and reads queries, takes people, reads nonces | |
//! | `lock`, `register`, `save`, `mark_asked`, `withdraw`, `keep_…`, `drop_content`, `is_nonce_used`, `asking`, `save_asking` | none for what was prepared or locked, else as `prepare` for one | all writes |
//! | `end_asking` | none | takes people who are not taken yet; all writes |
//! | `use_grant`, `refuse` | insert at once: what they meet is the answer | |
//! | `refused` | reads | |
//! | `segments` | reads what was not kept in this transaction | |
//! | `enqueue`, `leaf`, `remark`, `progress` | none | all writes |
//!
//! Reads see the writes before them: a second registration of an id, a second use of a nonce and a lock after a save are
//! answered from here.
//!
//! Locks are taken in one order by every transaction, so none waits for another in a circle: watermark table (shared),
//! consents by id, queries by id, people, nonces, refusals, audit leaves, progress. (People whose queries are withdrawn in a
//! batch that registers other people's are taken out of order. PostgreSQL ends the circle, and the batch is done again.) A nonce that another transaction uses meanwhile shows
//! only at the commit, which then fails; the batch is done again and finds it used.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use jiff::civil::Date;
use schemas::audit::Leaf;
use schemas::ids::{BankId, Digest, MessageId, Nonce, Reference};
use schemas::time::UnixMillis;
use schemas::wire;
use sqlx::{Postgres, Row as _, Transaction};

use super::day_keys::{DayKeys, Place, SEGMENT};
use super::error::Unreadable;
use super::flush::WrapKeys;
use super::keys::{Keys, reference, uuid};
use super::types::{Day, Stamp};
use super::{Time, WATERMARK, askings, flush, read, refusals, watching};
use crate::domain::asking::Asking;
use crate::domain::query::Query;
use crate::domain::refusals::SubjectHour;
use crate::domain::subject::SubjectMac;
use crate::metric_names;
use crate::store::{
    GrantUse, NewQuery, OutboxRow, Plan, Progress, Registered, Remarked, SealedContact, StoreError,
    StoreResult, Tx,
};

/// Takes the row, whether it is there or not; a plain `DO NOTHING` would not lock one that is.
const TAKE: &str = "
    INSERT INTO consent (upstream, query_id)
    SELECT * FROM unnest($1::text[], $2::uuid[])
    ON CONFLICT (upstream, query_id) DO UPDATE SET withdrawn_at = consent.withdrawn_at
    RETURNING upstream, query_id, withdrawn_at";

const USED_NONCES: &str = "SELECT nonce FROM nonce WHERE nonce = ANY($1)";

const USE_GRANT: &str = "
    INSERT INTO grant_use (nonce, upstream, query_id, digest) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

const SAME_GRANT: &str = "
    SELECT upstream = $2 AND query_id = $3 AND digest = $4 FROM grant_use WHERE nonce = $1";

const SEGMENTS: &str = "
    SELECT bank, sealed FROM segment WHERE erase_on = $1 AND upstream = $2 AND query_id = $3 AND bank = ANY($4)";

/// A transaction of the store in PostgreSQL.
pub struct PostgresTx {
    transaction: Transaction<'static, Postgres>,
    time: Time,
    keys: DayKeys,
    erased_through: Option<Date>,
    consents: BTreeMap<Reference, Consent>,
    nonces: HashMap<Nonce, Use>,
    queries: BTreeMap<Reference, Held>,
    askings: BTreeMap<SubjectMac, askings::Taken>,
    writes: Writes,
}

/// A consent that this transaction has taken.
pub(super) struct Consent {
    pub(super) withdrawn_at: Option<UnixMillis>,
    /// Withdrawn by this transaction.
    pub(super) news: bool,
}

/// What is known of a nonce.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Free,
    Used,
}

/// A query that this transaction has locked, or registers.
pub(super) struct Held {
    /// As it is stored; `None` when this transaction registers it.
    pub(super) stored: Option<Query>,
    /// As it is to be.
    pub(super) query: Query,
    pub(super) asked: bool,
    /// Marked as asked by this transaction.
    pub(super) newly_asked: bool,
}

/// Everything else that is to be written.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) nonces: BTreeMap<Nonce, Reference>,
    pub(super) ended: BTreeMap<SubjectMac, askings::Ended>,
    pub(super) dropped: BTreeSet<Reference>,
    pub(super) segments: BTreeMap<(Reference, BankId), (Date, Bytes)>,
    pub(super) coverages: BTreeMap<Reference, (Date, wire::Signed)>,
    pub(super) contacts: BTreeMap<Reference, (Date, SealedContact)>,
    pub(super) outbox: Vec<OutboxRow>,
    pub(super) leaves: BTreeMap<MessageId, Leaf>,
    pub(super) remarks: Vec<Remarked>,
    pub(super) progress: BTreeMap<(String, i32), Progress>,
}

impl Writes {
    fn content_days(&self) -> impl Iterator<Item = Date> {
        let segments = self.segments.values().map(|(day, _)| *day);
        let coverages = self.coverages.values().map(|(day, _)| *day);
        segments.chain(coverages).chain(self.contacts.values().map(|(day, _)| *day))
    }
}

impl PostgresTx {
    pub(super) fn new(transaction: Transaction<'static, Postgres>, time: Time, keys: DayKeys) -> Self {
        Self {
            transaction,
            time,
            keys,
            erased_through: None,
            consents: BTreeMap::new(),
            nonces: HashMap::new(),
            queries: BTreeMap::new(),
            askings: BTreeMap::new(),
            writes: Writes::default(),
        }
    }

    async fn take_consents(&mut self, references: &BTreeSet<Reference>) -> StoreResult<()> {
        let new: Keys<'_> =
            references.iter().filter(|reference| !self.consents.contains_key(reference)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let taken = sqlx::query(TAKE)
            .bind(&new.upstreams)
            .bind(&new.queries)
            .fetch_all(&mut *self.transaction)
            .await?;
        for row in taken {
            let withdrawn_at: Option<Stamp> = row.try_get("withdrawn_at")?;
            let consent = Consent { withdrawn_at: withdrawn_at.map(|Stamp(at)| at), news: false };
            self.consents.insert(reference(&row)?, consent);
        }
        Ok(())
    }

    /// A query whose consent was taken before it was looked for, and that was not found, is not there: nobody else can
    /// register it before the commit.
    async fn hold<'a>(&mut self, references: impl Iterator<Item = &'a Reference>) -> StoreResult<()> {
        let new: Keys<'_> = references.filter(|reference| !self.queries.contains_key(reference)).collect();
        if new.is_empty() {
            return Ok(());
        }
        for (reference, found) in read::lock(&mut self.transaction, &new).await? {
            let held = Held {
                stored: Some(found.query.clone()),
                query: found.query,
                asked: found.asked,
                newly_asked: false,
            };
            self.queries.insert(reference, held);
        }
        Ok(())
    }

    async fn take_askings(&mut self, subjects: &BTreeSet<SubjectMac>) -> StoreResult<()> {
        let new: Vec<SubjectMac> =
            subjects.iter().filter(|subject| !self.askings.contains_key(subject)).copied().collect();
        for (subject, mut taken) in askings::take(&mut self.transaction, &new).await? {
            for (query, reported_at) in self.writes.ended.remove(&subject).unwrap_or_default() {
                taken.asking.end(&query, reported_at);
            }
            self.askings.insert(subject, taken);
        }
        Ok(())
    }

    async fn taken(&mut self, subject: SubjectMac) -> StoreResult<&mut Asking> {
        self.take_askings(&BTreeSet::from([subject])).await?;
        let taken = self.askings.get_mut(&subject).map(|taken| &mut taken.asking);
        taken.ok_or_else(|| StoreError("a person's row is not there".to_owned()))
    }

    async fn look_up_nonces(&mut self, nonces: &BTreeSet<Nonce>) -> StoreResult<()> {
        let new: Vec<Nonce> =
            nonces.iter().filter(|nonce| !self.nonces.contains_key(nonce)).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let raw: Vec<&[u8]> = new.iter().map(|nonce| nonce.0.as_slice()).collect();
        let used: Vec<Vec<u8>> =
            sqlx::query_scalar(USED_NONCES).bind(raw).fetch_all(&mut *self.transaction).await?;
        self.nonces.extend(new.into_iter().map(|nonce| (nonce, Use::Free)));
        for used in used {
            self.nonces.insert(Nonce::from_bytes(&used).map_err(|_| Unreadable("nonce"))?, Use::Used);
        }
        Ok(())
    }

    async fn erased_through(&mut self) -> StoreResult<Date> {
        if let Some(day) = self.erased_through {
            return Ok(day);
        }
        let Day(day) = sqlx::query_scalar(WATERMARK).fetch_one(&mut *self.transaction).await?;
        Ok(*self.erased_through.insert(day))
    }

    /// The keys of the days that content is to be written into. An erased day has none any more, and nobody erases another
    /// one before the commit.
    async fn wrap_keys(&mut self) -> StoreResult<WrapKeys> {
        let days: BTreeSet<Date> = self.writes.content_days().collect();
        let mut keys = WrapKeys::new();
        for day in days {
            match self.keys.find(day)? {
                Some(key) => {
                    keys.insert(day, key);
                }
                None if day <= self.erased_through().await? => {}
                None => {
                    self.keys.get(day)?;
                }
            }
        }
        Ok(keys)
    }

    async fn held(&mut self, reference: &Reference) -> StoreResult<&mut Held> {
        self.hold(std::iter::once(reference)).await?;
        let unknown = || StoreError(format!("the query {reference} is not there"));
        self.queries.get_mut(reference).ok_or_else(unknown)
    }

    async fn erase_day(&mut self, reference: &Reference) -> StoreResult<Date> {
        Ok(self.held(reference).await?.query.times.erase_on)
    }
}

impl Tx for PostgresTx {
    async fn prepare(&mut self, plan: &Plan) -> StoreResult<()> {
        self.take_consents(&plan.consents).await?;
        let all: BTreeSet<&Reference> = plan.consents.iter().chain(&plan.queries).collect();
        self.hold(all.into_iter()).await?;
        self.take_askings(&plan.subjects).await?;
        self.look_up_nonces(&plan.nonces).await
    }

    async fn lock(&mut self, references: &BTreeSet<Reference>) -> StoreResult<BTreeMap<Reference, Query>> {
        let unknown: Vec<&Reference> =
            references.iter().filter(|reference| !self.consents.contains_key(reference)).collect();
        self.hold(unknown.into_iter()).await?;
        let found = references.iter().filter_map(|reference| self.queries.get(reference));
        Ok(found.map(|held| (held.query.reference.clone(), held.query.clone())).collect())
    }

    async fn register(&mut self, new: &NewQuery) -> StoreResult<Registered> {
        let reference = &new.query.reference;
        if new.query.times.erase_on <= self.erased_through().await? {
            return Ok(Registered::Erased);
        }
        if !self.consents.contains_key(reference) {
            // Whatever was read of it before its consent was taken may have changed.
            let plan = Plan { consents: BTreeSet::from([reference.clone()]), ..Plan::default() };
            self.prepare(&plan).await?;
        }
        if let Some(held) = self.queries.get(reference) {
            let asked = held.asked || held.newly_asked;
            return Ok(Registered::Known { query: Box::new(held.query.clone()), asked });
        }
        if let Some(nonce) = new.nonce {
            self.look_up_nonces(&BTreeSet::from([nonce])).await?;
            if self.nonces.insert(nonce, Use::Used) == Some(Use::Used) {
                return Ok(Registered::NonceUsed);
            }
            self.writes.nonces.insert(nonce, reference.clone());
        }
        if let Some(contact) = new.contact.clone() {
            self.writes.contacts.insert(reference.clone(), (new.query.times.erase_on, contact));
        }
        let held = Held { stored: None, query: new.query.clone(), asked: false, newly_asked: false };
        self.queries.insert(reference.clone(), held);
        Ok(Registered::New)
    }

    async fn is_nonce_used(&mut self, nonce: Nonce) -> StoreResult<bool> {
        self.look_up_nonces(&BTreeSet::from([nonce])).await?;
        Ok(self.nonces.get(&nonce) == Some(&Use::Used))
    }

    async fn keep_release(
        &mut self,
        reference: &Reference,
        nonce: Nonce,
        contact: &SealedContact,
    ) -> StoreResult<()> {
        let day = self.erase_day(reference).await?;
        self.nonces.insert(nonce, Use::Used);
        self.writes.nonces.insert(nonce, reference.clone());
        self.writes.contacts.insert(reference.clone(), (day, contact.clone()));
        Ok(())
    }

    async fn asking(&mut self, subject: SubjectMac) -> StoreResult<Asking> {
        Ok(self.taken(subject).await?.clone())
    }

    async fn save_asking(&mut self, subject: SubjectMac, asking: &Asking) -> StoreResult<()> {
        *self.taken(subject).await? = asking.clone();
        Ok(())
    }

    async fn end_asking(
        &mut self,
        subject: SubjectMac,
        query: &Reference,
        reported_at: Option<UnixMillis>,
    ) -> StoreResult<()> {
        match self.askings.get_mut(&subject) {
            Some(taken) => taken.asking.end(query, reported_at),
            None => self.writes.ended.entry(subject).or_default().push((query.clone(), reported_at)),
        }
        Ok(())
    }

    async fn save(&mut self, query: &Query) -> StoreResult<()> {
        self.held(&query.reference).await?.query = query.clone();
        Ok(())
    }

    async fn mark_asked(&mut self, references: &[Reference]) -> StoreResult<()> {
        self.lock(&references.iter().cloned().collect()).await?;
        for reference in references {
            if let Some(held) = self.queries.get_mut(reference) {
                held.newly_asked = !held.asked;
            }
        }
        Ok(())
    }

    async fn is_asked(&mut self, reference: &Reference) -> StoreResult<bool> {
        let held = self.held(reference).await?;
        Ok(held.asked || held.newly_asked)
    }

    async fn withdraw(&mut self, reference: &Reference, at: UnixMillis) -> StoreResult<bool> {
        if self.withdrawal(reference).await?.is_some() {
            return Ok(false);
        }
        self.consents.insert(reference.clone(), Consent { withdrawn_at: Some(at), news: true });
        Ok(true)
    }

    async fn withdrawal(&mut self, reference: &Reference) -> StoreResult<Option<UnixMillis>> {
        // Taken, not only read: what is answered stays true until the commit.
        self.take_consents(&BTreeSet::from([reference.clone()])).await?;
        self.hold(std::iter::once(reference)).await?;
        Ok(self.consents.get(reference).and_then(|consent| consent.withdrawn_at))
    }

    async fn keep_segment(
        &mut self,
        reference: &Reference,
        bank: &BankId,
        segment: &Bytes,
    ) -> StoreResult<()> {
        let day = self.erase_day(reference).await?;
        self.writes.segments.insert((reference.clone(), bank.clone()), (day, segment.clone()));
        Ok(())
    }

    async fn segments(
        &mut self,
        reference: &Reference,
        banks: &BTreeSet<BankId>,
    ) -> StoreResult<BTreeMap<BankId, Bytes>> {
        let day = self.erase_day(reference).await?;
        let mut found = BTreeMap::new();
        let mut stored = Vec::new();
        for bank in banks {
            match self.writes.segments.get(&(reference.clone(), bank.clone())) {
                Some((_, segment)) => {
                    found.insert(bank.clone(), segment.clone());
                }
                None => stored.push(bank.as_str()),
            }
        }
        let dropped = self.writes.dropped.contains(reference);
        if !stored.is_empty()
            && !dropped
            && let Some(key) = self.keys.find(day)?
        {
            let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(SEGMENTS)
                .bind(Day(day))
                .bind(reference.upstream.as_str())
                .bind(uuid(reference))
                .bind(stored)
                .fetch_all(&mut *self.transaction)
                .await?;
            for (bank, wrapped) in rows {
                let place = Place { column: SEGMENT, day, reference, bank: &bank };
                let segment = key.unwrap(&place, &wrapped)?;
                found.insert(bank.parse().map_err(|_| Unreadable("bank"))?, segment.into());
            }
        }
        Ok(found)
    }

    async fn keep_coverage(&mut self, reference: &Reference, coverage: &wire::Signed) -> StoreResult<()> {
        let day = self.erase_day(reference).await?;
        self.writes.coverages.insert(reference.clone(), (day, coverage.clone()));
        Ok(())
    }

    async fn drop_content(&mut self, reference: &Reference) -> StoreResult<()> {
        let is_stored = self.held(reference).await?.stored.is_some();
        self.writes.segments.retain(|(of, _), _| of != reference);
        self.writes.coverages.remove(reference);
        self.writes.contacts.remove(reference);
        if is_stored {
            self.writes.dropped.insert(reference.clone());
        }
        Ok(())
    }

    async fn use_grant(
        &mut self,
        reference: &Reference,
        nonce: Nonce,
        digest: Digest,
    ) -> StoreResult<GrantUse> {
        let inserted = sqlx::query(USE_GRANT)
            .bind(nonce.0.as_slice())
            .bind(reference.upstream.as_str())
            .bind(uuid(reference))
            .bind(digest.0.as_slice())
            .execute(&mut *self.transaction)
            .await?;
        if inserted.rows_affected() == 1 {
            return Ok(GrantUse::First);
        }
        let same: bool = sqlx::query_scalar(SAME_GRANT)
            .bind(nonce.0.as_slice())
            .bind(reference.upstream.as_str())
            .bind(uuid(reference))
            .bind(digest.0.as_slice())
            .fetch_one(&mut *self.transaction)
            .await?;
        Ok(if same { GrantUse::Again } else { GrantUse::NonceUsed })
    }

    async fn refused(&mut self, at: &SubjectHour) -> StoreResult<u32> {
        refusals::count(&mut self.transaction, at).await
    }

    async fn refuse(&mut self, at: &SubjectHour, grant: Digest) -> StoreResult<u32> {
        refusals::add(&mut self.transaction, at, grant).await
    }

    async fn leaf(&mut self, leaf: Leaf) -> StoreResult<()> {
        self.writes.leaves.entry(leaf.id()).or_insert(leaf);
        Ok(())
    }

    async fn enqueue(&mut self, rows: Vec<OutboxRow>) -> StoreResult<()> {
        self.writes.outbox.extend(rows);
        Ok(())
    }

    async fn remark(&mut self, remarked: Remarked) -> StoreResult<()> {
        self.writes.remarks.push(remarked);
        Ok(())
    }

    async fn progress(&mut self, topic: &str, partition: i32, progress: Progress) -> StoreResult<()> {
        let known = self.writes.progress.entry((topic.to_owned(), partition)).or_insert(progress);
        if known.next_offset < progress.next_offset {
            *known = progress;
        }
        Ok(())
    }

    async fn commit(mut self) -> StoreResult<()> {
        let now = self.time.given();
        let keys = self.wrap_keys().await?;
        let connection = &mut *self.transaction;
        let ended = askings::end(connection, &self.writes.ended).await?;
        askings::save(connection, self.askings.iter().chain(&ended)).await?;
        flush::consents(connection, &self.consents).await?;
        flush::nonces(connection, &self.writes.nonces).await?;
        flush::queries(connection, &self.queries, now).await?;
        flush::unused_consents(connection, &self.consents, &self.queries).await?;
        let gone = flush::content(connection, &self.writes, &keys).await?;
        flush::outbox(connection, &self.writes.outbox).await?;
        flush::leaves(connection, &self.writes.leaves).await?;
        watching::remarks_of_new_records(connection, &self.writes.remarks).await?;
        flush::progress(connection, &self.writes.progress).await?;
        self.transaction.commit().await?;
        if gone > 0 {
            tracing::warn!(rows = gone, "content of an erased day was not kept");
            metrics::counter!(metric_names::CONTENT_ERASED).increment(gone);
        }
        Ok(())
    }
}
