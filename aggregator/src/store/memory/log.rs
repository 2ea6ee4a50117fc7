//! The audit log in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use schemas::audit::{Frontier, Leaf};
use schemas::ids::{MessageId, Nonce};
use schemas::time::UnixMillis;

use super::{MemoryStore, Tables};
use crate::store::{LogHead, LogLag, LogStore, StoreError, StoreResult};

/// The order of leaves, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Leaves without a position, in the order in which they were written.
    pub(super) waiting: BTreeMap<u64, MessageId>,
    pub(super) next: u64,
    order: Vec<MessageId>,
    published: Frontier,
    next_offset: i64,
    keeper: Option<(Nonce, UnixMillis)>,
    checkpoint: Option<(String, UnixMillis)>,
}

impl Log {
    fn size(&self) -> u64 {
        self.order.len() as u64
    }

    /// Nobody changes it but its keeper, and no keeper that believes something else of it.
    fn keep(&mut self, keeper: Nonce, as_believed: impl Fn(&Self) -> bool) -> StoreResult<&mut Self> {
        let kept = self.keeper.is_some_and(|(by, _)| by == keeper) && as_believed(self);
        if kept { Ok(self) } else { Err(StoreError::log_lost()) }
    }
}

impl Tables {
    pub(super) fn add_leaf(&mut self, leaf: Leaf) {
        let id = leaf.id();
        if self.leaves.insert(id, leaf).is_none() {
            self.log.waiting.insert(self.log.next, id);
            self.log.next += 1;
        }
    }
}

impl LogStore for MemoryStore {
    async fn keep_log(&self, keeper: Nonce, lease: Duration) -> StoreResult<Option<LogHead>> {
        let now = self.clock.now();
        let log = &mut self.tables.lock().await.log;
        if log.keeper.is_some_and(|(by, until)| by != keeper && until > now) {
            return Ok(None);
        }
        log.keeper = Some((keeper, now + lease));
        Ok(Some(LogHead {
            size: log.size(),
            published: log.published.clone(),
            next_offset: log.next_offset,
            checkpoint_at: log.checkpoint.as_ref().map(|(_, at)| *at),
        }))
    }

    async fn leave_log(&self, keeper: Nonce) -> StoreResult<()> {
        let log = &mut self.tables.lock().await.log;
        log.keeper = log.keeper.filter(|(by, _)| *by != keeper);
        Ok(())
    }

    async fn sequence_leaves(&self, keeper: Nonce, size: u64, max: usize) -> StoreResult<usize> {
        let mut tables = self.tables.lock().await;
        let log = tables.log.keep(keeper, |log| log.size() == size)?;
        let before = log.order.len();
        while log.order.len() - before < max
            && let Some((_, id)) = log.waiting.pop_first()
        {
            log.order.push(id);
        }
        Ok(log.order.len() - before)
    }

    async fn log_entries(&self, from: u64, max: usize) -> StoreResult<Vec<Bytes>> {
        let tables = self.tables.lock().await;
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let ids = tables.log.order.iter().skip(from).take(max);
        Ok(ids.filter_map(|id| tables.leaves.get(id)).map(Leaf::encode).collect())
    }

    async fn adopt_leaves(&self, keeper: Nonce, size: u64, leaves: &[Leaf]) -> StoreResult<bool> {
        let mut tables = self.tables.lock().await;
        let log = tables.log.keep(keeper, |log| log.size() == size)?;
        let ids: Vec<MessageId> = leaves.iter().map(Leaf::id).collect();
        if ids.iter().any(|id| log.order.contains(id)) {
            return Ok(false);
        }
        log.waiting.retain(|_, id| !ids.contains(id));
        log.order.extend(&ids);
        tables.leaves.extend(ids.into_iter().zip(leaves.iter().cloned()));
        Ok(true)
    }

    async fn log_published(&self, keeper: Nonce, published: &Frontier, next_offset: i64) -> StoreResult<()> {
        let mut tables = self.tables.lock().await;
        let log = tables.log.keep(keeper, |log| log.published.size() <= published.size())?;
        log.published = published.clone();
        log.next_offset = next_offset;
        Ok(())
    }

    async fn keep_checkpoint(
        &self,
        keeper: Nonce,
        size: u64,
        note: &str,
        signed_at: UnixMillis,
    ) -> StoreResult<()> {
        let mut tables = self.tables.lock().await;
        let log = tables.log.keep(keeper, |log| log.published.size() == size)?;
        log.checkpoint = Some((note.to_owned(), signed_at));
        Ok(())
    }

    async fn checkpoint(&self) -> StoreResult<Option<String>> {
        Ok(self.tables.lock().await.log.checkpoint.as_ref().map(|(note, _)| note.clone()))
    }

    async fn log_lag(&self) -> StoreResult<LogLag> {
        let log = &self.tables.lock().await.log;
        Ok(LogLag {
            unpublished: log.size() - log.published.size() + log.waiting.len() as u64,
            checkpoint_at: log.checkpoint.as_ref().map(|(_, at)| *at),
        })
    }
}
