//! The store in memory: the executable specification, and what the demo runs on.
//!
//! Nothing survives the process. The aggregator rebuilds it from the topics when it starts, so no offsets may be
//! committed with it.

mod log;

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use jiff::civil::Date;
use plumbing::kafka::Position;
use schemas::audit::Leaf;
use schemas::ids::{BankId, Digest, MessageId, Nonce, Reference};
use schemas::time::UnixMillis;
use schemas::wire;
use tokio::sync::{Mutex, OwnedMutexGuard};

use self::log::Log;
use super::{
    Content, ErasedDay, GrantUse, Kept, LeasedRow, NewQuery, OpenQueries, OutboxRow, Pause, Plan, Progress,
    Registered, Remarked, Remarks, ReportContent, SealedContact, Store, StoreResult, Tx,
};
use crate::domain::asking::Asking;
use crate::domain::figures::{Figures, Remark};
use crate::domain::query::{Collecting, Final, Query, State};
use crate::domain::refusals::{Hour, SubjectHour};
use crate::domain::subject::SubjectMac;
use crate::domain::window::Times;

/// Where the store in memory takes the time from.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> UnixMillis;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The store in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    tables: Arc<Mutex<Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    queries: BTreeMap<Reference, Row>,
    nonces: HashMap<Nonce, Reference>,
    withdrawals: BTreeMap<Reference, UnixMillis>,
    contacts: BTreeMap<Reference, SealedContact>,
    segments: BTreeMap<Reference, BTreeMap<BankId, Bytes>>,
    coverages: BTreeMap<Reference, wire::Signed>,
    grants: HashMap<Nonce, (Reference, Digest)>,
    refusals: BTreeMap<SubjectHour, BTreeSet<Digest>>,
    askings: BTreeMap<SubjectMac, Asking>,
    outbox: BTreeMap<u64, Leasable>,
    parked: HashMap<u64, (OutboxRow, String)>,
    next_row: u64,
    progress: BTreeMap<(String, i32), Progress>,
    pauses: BTreeMap<BankId, Pause>,
    remarks: BTreeMap<(Hour, BankId, Remark), u64>,
    leaves: BTreeMap<MessageId, Leaf>,
    log: Log,
    erased_through: Option<Date>,
    receipts: BTreeMap<Date, wire::Signed>,
}

/// Whether nothing happens to the query any more.
fn is_over(state: &State) -> bool {
    match state {
        State::Rejected(_) | State::Erased { .. } => true,
        State::Held(_)
        | State::Collecting(_)
        | State::Final(_)
        | State::Withdrawn { .. }
        | State::Cancelled { .. } => false,
    }
}

impl Tables {
    /// Whether the day of a query is erased; that of a query without a row is not known.
    fn is_erased(&self, reference: &Reference) -> bool {
        let day = self.queries.get(reference).map(|row| row.query.times.erase_on);
        day.is_some_and(|day| Some(day) <= self.erased_through)
    }
}

#[derive(Debug)]
struct Row {
    query: Query,
    asked: bool,
}

#[derive(Debug)]
struct Leasable {
    row: OutboxRow,
    leased_until: UnixMillis,
}

impl MemoryStore {
    /// An empty store on `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tables: Arc::default() }
    }

    /// Everything that is stored, as text, for a scan of what the hub can see.
    pub async fn dump(&self) -> String {
        let tables = self.tables.lock().await;
        let raw: Vec<String> = tables
            .segments
            .values()
            .flat_map(BTreeMap::values)
            .chain(tables.contacts.values().map(|contact| &contact.sealed))
            .map(hex::encode)
            .collect();
        format!("{tables:?}\n{}", raw.join("\n"))
    }
}

impl Store for MemoryStore {
    type Tx = MemoryTx;

    const LASTS: bool = false;

    async fn begin(&self) -> StoreResult<MemoryTx> {
        let tables = Arc::clone(&self.tables).lock_owned().await;
        Ok(MemoryTx { tables, undo: Vec::new() })
    }

    async fn now(&self) -> StoreResult<UnixMillis> {
        Ok(self.clock.now())
    }

    async fn query(&self, reference: &Reference) -> StoreResult<Option<Query>> {
        Ok(self.tables.lock().await.queries.get(reference).map(|row| row.query.clone()))
    }

    async fn is_of(&self, reference: &Reference, subject: &str) -> StoreResult<bool> {
        let tables = self.tables.lock().await;
        Ok(tables.queries.get(reference).is_some_and(|row| row.query.subject == subject))
    }

    async fn past_deadline(&self, deadline: UnixMillis, max: usize) -> StoreResult<Vec<Query>> {
        let tables = self.tables.lock().await;
        let mut due: Vec<&Query> = tables
            .queries
            .values()
            .map(|row| &row.query)
            .filter(|query| {
                matches!(query.state, State::Collecting(_)) && query.times.deadline_at <= deadline
            })
            .collect();
        due.sort_by_key(|query| query.times.deadline_at);
        Ok(due.into_iter().take(max).cloned().collect())
    }

    async fn past_hold(&self, now: UnixMillis, max: usize) -> StoreResult<Vec<Query>> {
        let tables = self.tables.lock().await;
        let mut due: Vec<(UnixMillis, &Query)> = tables
            .queries
            .values()
            .filter_map(|row| Some((row.query.state.held()?.release_until, &row.query)))
            .filter(|(until, _)| *until < now)
            .collect();
        due.sort_by_key(|(until, _)| *until);
        Ok(due.into_iter().take(max).map(|(_, query)| query.clone()).collect())
    }

    async fn open_queries(&self) -> StoreResult<OpenQueries> {
        let tables = self.tables.lock().await;
        let mut open = OpenQueries::default();
        for query in tables.queries.values().map(|row| &row.query) {
            if query.state.collecting().is_some() {
                open.collecting += 1;
                let accepted_at = query.times.accepted_at;
                open.oldest = Some(open.oldest.map_or(accepted_at, |oldest| oldest.min(accepted_at)));
            } else if query.state.held().is_some() {
                open.held += 1;
            }
        }
        Ok(open)
    }

    async fn due_to_ask(
        &self,
        now: UnixMillis,
        paused: &BTreeSet<BankId>,
        max: usize,
    ) -> StoreResult<BTreeMap<Reference, BTreeSet<BankId>>> {
        let tables = self.tables.lock().await;
        let mut due: BTreeMap<Reference, BTreeSet<BankId>> = BTreeMap::new();
        let open = tables.queries.iter();
        let pairs =
            open.filter_map(|(reference, row)| Some((reference, &row.query.state.collecting()?.pairs)));
        for (reference, pairs) in pairs {
            let due_now = pairs.iter().filter(|(_, pair)| pair.ask_again_at.is_some_and(|at| at <= now));
            for (bank, _) in due_now.filter(|(bank, _)| !paused.contains(*bank)) {
                due.entry(reference.clone()).or_default().insert(bank.clone());
            }
            if due.len() >= max {
                break;
            }
        }
        Ok(due)
    }

    async fn progress(&self, topics: &BTreeSet<String>) -> StoreResult<BTreeMap<(String, i32), Progress>> {
        let tables = self.tables.lock().await;
        let of_topics = tables.progress.iter().filter(|((topic, _), _)| topics.contains(topic));
        Ok(of_topics.map(|(partition, progress)| (partition.clone(), *progress)).collect())
    }

    async fn kept(&self, references: &BTreeSet<Reference>) -> StoreResult<BTreeMap<Reference, Kept>> {
        let tables = self.tables.lock().await;
        let of_query = |reference: &Reference| {
            let state = match &tables.queries.get(reference)?.query.state {
                State::Collecting(_) => State::Collecting(Collecting::default()),
                ended @ (State::Held(_)
                | State::Final(_)
                | State::Withdrawn { .. }
                | State::Rejected(_)
                | State::Cancelled { .. }
                | State::Erased { .. }) => ended.clone(),
            };
            let coverage = tables.coverages.get(reference);
            let segments = tables.segments.get(reference).into_iter().flatten();
            Some(Kept {
                state: Some(state),
                coverage: coverage.map(|signed| Content::Sha256(Digest::of(&signed.body))),
                segments: segments
                    .map(|(bank, segment)| (bank.to_string(), Content::Sha256(Digest::of(segment))))
                    .collect(),
            })
        };
        Ok(references
            .iter()
            .filter_map(|reference| Some((reference.clone(), of_query(reference)?)))
            .collect())
    }

    async fn report(&self, reference: &Reference) -> StoreResult<Option<ReportContent>> {
        let tables = self.tables.lock().await;
        Ok(tables.coverages.get(reference).map(|coverage| ReportContent {
            coverage: coverage.clone(),
            segments: tables.segments.get(reference).cloned().unwrap_or_default(),
        }))
    }

    async fn contact(&self, reference: &Reference) -> StoreResult<Option<SealedContact>> {
        Ok(self.tables.lock().await.contacts.get(reference).cloned())
    }

    async fn forget_refusals(&self, hour: Hour) -> StoreResult<()> {
        self.tables.lock().await.refusals.retain(|at, _| at.hour >= hour);
        Ok(())
    }

    async fn forget_askings(&self, before: UnixMillis) -> StoreResult<()> {
        let keeps = |_: &SubjectMac, asking: &mut Asking| {
            asking.open.is_some() || asking.reported_at.is_some_and(|reported_at| reported_at >= before)
        };
        self.tables.lock().await.askings.retain(keeps);
        Ok(())
    }

    async fn lease_outbox(&self, max: usize, lease: Duration) -> StoreResult<Vec<LeasedRow>> {
        let now = self.clock.now();
        let mut tables = self.tables.lock().await;
        // A row waits for an older one of its query, leased or not: order within a query is kept.
        let mut waiting: HashSet<Reference> = HashSet::new();
        let mut leased = Vec::new();
        for (id, leasable) in &mut tables.outbox {
            if leased.len() == max {
                break;
            }
            let first = waiting.insert(leasable.row.reference.clone());
            if first && leasable.leased_until <= now {
                leasable.leased_until = now + lease;
                leased.push(LeasedRow { id: *id, row: leasable.row.clone() });
            }
        }
        Ok(leased)
    }

    async fn outbox_renewed(&self, ids: &[u64], lease: Duration) -> StoreResult<()> {
        let until = self.clock.now() + lease;
        let mut tables = self.tables.lock().await;
        for id in ids {
            if let Some(leasable) = tables.outbox.get_mut(id) {
                leasable.leased_until = until;
            }
        }
        Ok(())
    }

    async fn outbox_published(&self, ids: &[u64]) -> StoreResult<()> {
        let mut tables = self.tables.lock().await;
        for id in ids {
            tables.outbox.remove(id);
        }
        Ok(())
    }

    async fn outbox_released(&self, ids: &[u64]) -> StoreResult<()> {
        let mut tables = self.tables.lock().await;
        for id in ids {
            if let Some(leasable) = tables.outbox.get_mut(id) {
                leasable.leased_until = UnixMillis(0);
            }
        }
        Ok(())
    }

    async fn outbox_parked(&self, id: u64, code: &str) -> StoreResult<()> {
        let mut tables = self.tables.lock().await;
        if let Some(leasable) = tables.outbox.remove(&id) {
            tables.parked.insert(id, (leasable.row, code.to_owned()));
        }
        Ok(())
    }

    async fn outbox_depth(&self) -> StoreResult<(u64, u64)> {
        let tables = self.tables.lock().await;
        Ok((tables.outbox.len() as u64, tables.parked.len() as u64))
    }

    async fn pauses(&self) -> StoreResult<BTreeMap<BankId, Pause>> {
        Ok(self.tables.lock().await.pauses.clone())
    }

    async fn pause(&self, bank: &BankId, pause: &Pause) -> StoreResult<bool> {
        match self.tables.lock().await.pauses.entry(bank.clone()) {
            Entry::Occupied(_) => Ok(false),
            Entry::Vacant(free) => {
                free.insert(pause.clone());
                Ok(true)
            }
        }
    }

    async fn resume(&self, bank: &BankId) -> StoreResult<Option<Pause>> {
        Ok(self.tables.lock().await.pauses.remove(bank))
    }

    async fn figures(&self, since: UnixMillis, max_pairs: usize) -> StoreResult<Figures> {
        let tables = self.tables.lock().await;
        let reports = tables.queries.values().map(|row| &row.query);
        let mut reports: Vec<(&Times, &Final)> =
            reports.filter_map(|query| Some((&query.times, query.state.report()?))).collect();
        reports.retain(|(_, report)| report.finalised_at >= since);
        reports.sort_by_key(|(_, report)| Reverse(report.finalised_at));
        let mut figures = Figures::default();
        for (times, report) in reports {
            if figures.pairs >= max_pairs {
                figures.cut = true;
                break;
            }
            figures.add(times, report);
        }
        Ok(figures)
    }

    async fn remarks(&self, since: Hour) -> StoreResult<Remarks> {
        let mut remarks = Remarks::new();
        for ((hour, bank, remark), n) in &self.tables.lock().await.remarks {
            if *hour >= since {
                *remarks.entry(bank.clone()).or_default().entry(*remark).or_default() += n;
            }
        }
        Ok(remarks)
    }

    async fn fold_remarks(&self, kept: Hour, _: Hour) -> StoreResult<()> {
        self.tables.lock().await.remarks.retain(|(hour, ..), _| *hour >= kept);
        Ok(())
    }

    async fn leaves(&self, reference: &Reference) -> StoreResult<Vec<Leaf>> {
        let tables = self.tables.lock().await;
        Ok(tables.leaves.values().filter(|leaf| leaf.reference() == Some(reference)).cloned().collect())
    }

    async fn erase_through(&self, day: Date) -> StoreResult<()> {
        let mut tables = self.tables.lock().await;
        tables.erased_through = tables.erased_through.max(Some(day));
        Ok(())
    }

    async fn erase_content(&self) -> StoreResult<()> {
        let mut tables = self.tables.lock().await;
        let erased: Vec<Reference> =
            tables.queries.keys().filter(|reference| tables.is_erased(reference)).cloned().collect();
        for reference in &erased {
            tables.segments.remove(reference);
            tables.coverages.remove(reference);
            tables.contacts.remove(reference);
        }
        Ok(())
    }

    async fn to_erase(&self, max: usize) -> StoreResult<BTreeSet<Reference>> {
        let tables = self.tables.lock().await;
        let ended =
            tables.queries.values().map(|row| &row.query).filter(|query| {
                !is_over(&query.state) && Some(query.times.erase_on) <= tables.erased_through
            });
        Ok(ended.take(max).map(|query| query.reference.clone()).collect())
    }

    async fn erased_days(&self) -> StoreResult<Vec<ErasedDay>> {
        Ok(Vec::new())
    }

    async fn keep_receipt(&self, day: Date, receipt: &wire::Signed) -> StoreResult<()> {
        let mut tables = self.tables.lock().await;
        if let Entry::Vacant(place) = tables.receipts.entry(day) {
            place.insert(receipt.clone());
            tables.add_leaf(Leaf::Receipt(day, receipt.clone()));
        }
        Ok(())
    }

    async fn receipt(&self, day: Date) -> StoreResult<Option<wire::Signed>> {
        Ok(self.tables.lock().await.receipts.get(&day).cloned())
    }

    async fn forget_queries(&self, through: Date, max: usize) -> StoreResult<usize> {
        let mut tables = self.tables.lock().await;
        let over = tables.queries.values().map(|row| &row.query);
        let over = over.filter(|query| is_over(&query.state) && query.times.erase_on <= through);
        let gone: BTreeSet<Reference> = over.take(max).map(|query| query.reference.clone()).collect();
        tables.queries.retain(|reference, _| !gone.contains(reference));
        tables.withdrawals.retain(|reference, _| !gone.contains(reference));
        tables.nonces.retain(|_, reference| !gone.contains(reference));
        tables.grants.retain(|_, (reference, _)| !gone.contains(reference));
        Ok(gone.len())
    }

    async fn forget_withdrawals(&self, before: UnixMillis, max: usize) -> StoreResult<usize> {
        let mut tables = self.tables.lock().await;
        let early = tables
            .withdrawals
            .iter()
            .filter(|(reference, at)| **at < before && !tables.queries.contains_key(reference));
        let gone: BTreeSet<Reference> = early.take(max).map(|(reference, _)| reference.clone()).collect();
        tables.withdrawals.retain(|reference, _| !gone.contains(reference));
        Ok(gone.len())
    }
}

/// A transaction of the store in memory: it holds the one lock, writes at once, and takes its writes back when it is
/// dropped without a commit.
pub struct MemoryTx {
    tables: OwnedMutexGuard<Tables>,
    undo: Vec<Undo>,
}

type Undo = Box<dyn FnOnce(&mut Tables) + Send>;

impl MemoryTx {
    /// Puts `value` (or nothing) at `key` of the table that `table` selects, and remembers what was there.
    fn put<K, V, M>(&mut self, table: fn(&mut Tables) -> &mut M, key: K, value: Option<V>)
    where
        K: Clone + Send + 'static,
        V: Send + 'static,
        M: Table<K, V> + 'static,
    {
        let before = table(&mut self.tables).put(key.clone(), value);
        self.undo.push(Box::new(move |tables| {
            table(tables).put(key, before);
        }));
    }
}

impl Drop for MemoryTx {
    fn drop(&mut self) {
        for undo in std::mem::take(&mut self.undo).into_iter().rev() {
            undo(&mut self.tables);
        }
    }
}

/// What a map needs for a write that can be taken back.
trait Table<K, V> {
    fn put(&mut self, key: K, value: Option<V>) -> Option<V>;
}

impl<K: Ord, V> Table<K, V> for BTreeMap<K, V> {
    fn put(&mut self, key: K, value: Option<V>) -> Option<V> {
        match value {
            Some(value) => self.insert(key, value),
            None => self.remove(&key),
        }
    }
}

impl<K: Eq + std::hash::Hash, V> Table<K, V> for HashMap<K, V> {
    fn put(&mut self, key: K, value: Option<V>) -> Option<V> {
        match value {
            Some(value) => self.insert(key, value),
            None => self.remove(&key),
        }
    }
}

impl Tx for MemoryTx {
    /// It holds the one lock: nobody passes.
    async fn prepare(&mut self, _: &Plan) -> StoreResult<()> {
        Ok(())
    }

    async fn lock(&mut self, references: &BTreeSet<Reference>) -> StoreResult<BTreeMap<Reference, Query>> {
        let found = references.iter().filter_map(|reference| self.tables.queries.get(reference));
        Ok(found.map(|row| (row.query.reference.clone(), row.query.clone())).collect())
    }

    async fn register(&mut self, new: &NewQuery) -> StoreResult<Registered> {
        let reference = new.query.reference.clone();
        if Some(new.query.times.erase_on) <= self.tables.erased_through {
            return Ok(Registered::Erased);
        }
        if let Some(row) = self.tables.queries.get(&reference) {
            return Ok(Registered::Known { query: Box::new(row.query.clone()), asked: row.asked });
        }
        if let Some(nonce) = new.nonce {
            if self.tables.nonces.contains_key(&nonce) {
                return Ok(Registered::NonceUsed);
            }
            self.put(|tables| &mut tables.nonces, nonce, Some(reference.clone()));
        }
        if let Some(contact) = new.contact.clone() {
            self.put(|tables| &mut tables.contacts, reference.clone(), Some(contact));
        }
        let row = Row { query: new.query.clone(), asked: false };
        self.put(|tables| &mut tables.queries, reference, Some(row));
        Ok(Registered::New)
    }

    async fn is_nonce_used(&mut self, nonce: Nonce) -> StoreResult<bool> {
        Ok(self.tables.nonces.contains_key(&nonce))
    }

    async fn keep_release(
        &mut self,
        reference: &Reference,
        nonce: Nonce,
        contact: &SealedContact,
    ) -> StoreResult<()> {
        self.put(|tables| &mut tables.nonces, nonce, Some(reference.clone()));
        if !self.tables.is_erased(reference) {
            self.put(|tables| &mut tables.contacts, reference.clone(), Some(contact.clone()));
        }
        Ok(())
    }

    async fn asking(&mut self, subject: SubjectMac) -> StoreResult<Asking> {
        Ok(self.tables.askings.get(&subject).cloned().unwrap_or_default())
    }

    async fn save_asking(&mut self, subject: SubjectMac, asking: &Asking) -> StoreResult<()> {
        self.put(|tables| &mut tables.askings, subject, Some(asking.clone()));
        Ok(())
    }

    async fn end_asking(
        &mut self,
        subject: SubjectMac,
        query: &Reference,
        reported_at: Option<UnixMillis>,
    ) -> StoreResult<()> {
        // Of a query that came before anything was counted nothing is counted.
        let Some(mut asking) = self.tables.askings.get(&subject).cloned() else { return Ok(()) };
        asking.end(query, reported_at);
        self.save_asking(subject, &asking).await
    }

    async fn save(&mut self, query: &Query) -> StoreResult<()> {
        let asked = self.tables.queries.get(&query.reference).is_some_and(|row| row.asked);
        let row = Row { query: query.clone(), asked };
        self.put(|tables| &mut tables.queries, query.reference.clone(), Some(row));
        Ok(())
    }

    async fn mark_asked(&mut self, references: &[Reference]) -> StoreResult<()> {
        for reference in references {
            if let Some(row) = self.tables.queries.get(reference) {
                let row = Row { query: row.query.clone(), asked: true };
                self.put(|tables| &mut tables.queries, reference.clone(), Some(row));
            }
        }
        Ok(())
    }

    async fn is_asked(&mut self, reference: &Reference) -> StoreResult<bool> {
        Ok(self.tables.queries.get(reference).is_some_and(|row| row.asked))
    }

    async fn withdraw(&mut self, reference: &Reference, at: UnixMillis) -> StoreResult<bool> {
        if self.tables.withdrawals.contains_key(reference) {
            return Ok(false);
        }
        self.put(|tables| &mut tables.withdrawals, reference.clone(), Some(at));
        Ok(true)
    }

    async fn withdrawal(&mut self, reference: &Reference) -> StoreResult<Option<UnixMillis>> {
        Ok(self.tables.withdrawals.get(reference).copied())
    }

    async fn keep_segment(
        &mut self,
        reference: &Reference,
        bank: &BankId,
        segment: &Bytes,
    ) -> StoreResult<()> {
        if self.tables.is_erased(reference) {
            return Ok(());
        }
        let mut segments = self.tables.segments.get(reference).cloned().unwrap_or_default();
        segments.insert(bank.clone(), segment.clone());
        self.put(|tables| &mut tables.segments, reference.clone(), Some(segments));
        Ok(())
    }

    async fn segments(
        &mut self,
        reference: &Reference,
        banks: &BTreeSet<BankId>,
    ) -> StoreResult<BTreeMap<BankId, Bytes>> {
        let kept = self.tables.segments.get(reference).into_iter().flatten();
        let wanted = kept.filter(|(bank, _)| banks.contains(*bank));
        Ok(wanted.map(|(bank, segment)| (bank.clone(), segment.clone())).collect())
    }

    async fn keep_coverage(&mut self, reference: &Reference, coverage: &wire::Signed) -> StoreResult<()> {
        if self.tables.is_erased(reference) {
            return Ok(());
        }
        self.put(|tables| &mut tables.coverages, reference.clone(), Some(coverage.clone()));
        Ok(())
    }

    async fn drop_content(&mut self, reference: &Reference) -> StoreResult<()> {
        self.put(|tables| &mut tables.segments, reference.clone(), None);
        self.put(|tables| &mut tables.coverages, reference.clone(), None);
        self.put(|tables| &mut tables.contacts, reference.clone(), None);
        Ok(())
    }

    async fn use_grant(
        &mut self,
        reference: &Reference,
        nonce: Nonce,
        digest: Digest,
    ) -> StoreResult<GrantUse> {
        Ok(match self.tables.grants.get(&nonce) {
            Some(used) if *used == (reference.clone(), digest) => GrantUse::Again,
            Some(_) => GrantUse::NonceUsed,
            None => {
                self.put(|tables| &mut tables.grants, nonce, Some((reference.clone(), digest)));
                GrantUse::First
            }
        })
    }

    async fn refused(&mut self, at: &SubjectHour) -> StoreResult<u32> {
        Ok(self.tables.refusals.get(at).map_or(0, count))
    }

    async fn refuse(&mut self, at: &SubjectHour, grant: Digest) -> StoreResult<u32> {
        let mut refused = self.tables.refusals.get(at).cloned().unwrap_or_default();
        refused.insert(grant);
        let number = count(&refused);
        self.put(|tables| &mut tables.refusals, *at, Some(refused));
        Ok(number)
    }

    async fn leaf(&mut self, leaf: Leaf) -> StoreResult<()> {
        let id = leaf.id();
        if !self.tables.leaves.contains_key(&id) {
            let written = self.tables.log.next;
            self.tables.log.next += 1;
            self.put(|tables| &mut tables.log.waiting, written, Some(id));
            self.put(|tables| &mut tables.leaves, id, Some(leaf));
        }
        Ok(())
    }

    async fn enqueue(&mut self, rows: Vec<OutboxRow>) -> StoreResult<()> {
        for row in rows {
            let id = self.tables.next_row;
            self.tables.next_row += 1;
            let leasable = Leasable { row, leased_until: UnixMillis(0) };
            self.put(|tables| &mut tables.outbox, id, Some(leasable));
        }
        Ok(())
    }

    async fn remark(&mut self, remarked: Remarked) -> StoreResult<()> {
        let Position { topic, partition, offset } = remarked.at;
        let read = self.tables.progress.get(&(topic.to_string(), partition));
        if read.is_none_or(|read| read.next_offset <= offset) {
            let key = (Hour::of(remarked.appended_at), remarked.bank, remarked.remark);
            let n = self.tables.remarks.get(&key).copied().unwrap_or_default();
            self.put(|tables| &mut tables.remarks, key, Some(n + 1));
        }
        Ok(())
    }

    async fn progress(&mut self, topic: &str, partition: i32, progress: Progress) -> StoreResult<()> {
        let key = (topic.to_owned(), partition);
        let grows =
            self.tables.progress.get(&key).is_none_or(|known| known.next_offset < progress.next_offset);
        if grows {
            self.put(|tables| &mut tables.progress, key, Some(progress));
        }
        Ok(())
    }

    async fn commit(mut self) -> StoreResult<()> {
        self.undo.clear();
        Ok(())
    }
}

fn count(refused: &BTreeSet<Digest>) -> u32 {
    u32::try_from(refused.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_store_in_memory_passes_the_contract() {
        crate::store::contract::suite(async |clock| MemoryStore::new(clock)).await;
    }
}
