//! Compares the topic with the store, from the noted offset on. What the topic has beyond the store is adopted: what was
//! published stands. What the store has beyond the topic is published again.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use plumbing::kafka::{KafkaError, Record, read_from};
use prost::Message as _;
use schemas::audit::{Checkpoint, Leaf};
use schemas::merkle;
use schemas::wire::{self, audit_record};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{AuditLog, Contradiction, LEASE, LogError, PAGE, Sent, records};
use crate::store::{LogHead, Store, StoreError};

/// Records that wait for the comparison.
const AHEAD: usize = 64;
/// Records looked at first when the end of the topic is lost.
const TAIL: i64 = 64;
/// The log is prolonged this often.
const PROLONG: Duration = Duration::from_secs(1);

impl<S: Store> AuditLog<S> {
    /// Brings `head` to the end of the topic, and notes it.
    pub(super) async fn compare(&mut self, head: &mut LogHead) -> Result<(), LogError> {
        let (low, end) = self.range().await?;
        if end < head.next_offset {
            return self.fill_up(head, low, end).await;
        }
        if head.next_offset < end {
            let before = head.size;
            self.read(head, head.next_offset).await?;
            if before < head.size {
                tracing::warn!(
                    leaves = head.size - before,
                    "the audit topic has leaves that the store had not: they are adopted"
                );
            }
        }
        self.note(head).await
    }

    async fn range(&self) -> Result<(i64, i64), LogError> {
        let ranges = self.hub.watermarks.ranges(std::slice::from_ref(&self.topic)).await;
        if ranges.len() != 1 {
            return Err(KafkaError::Partitions(self.topic.clone(), ranges.len()).into());
        }
        let range = ranges.into_values().next();
        Ok(range.unwrap_or_else(|| Err(KafkaError::UnknownTopic(self.topic.clone())))?)
    }

    /// The topic lost its end, or all of it. What is left of it is a beginning.
    async fn fill_up(&mut self, head: &mut LogHead, low: i64, end: i64) -> Result<(), LogError> {
        tracing::error!(
            end,
            expected = head.next_offset,
            "the audit topic lost its end: it is published again"
        );
        let mut window = TAIL;
        let held = loop {
            let from = low.max(end.saturating_sub(window));
            let held = if from < end { self.read(head, from).await? } else { 0 };
            if held > 0 || from == low {
                break held;
            }
            window = window.saturating_mul(16);
        };
        head.next_offset = end;
        let mut next = held;
        let mut prolonged = Instant::now();
        while next < head.published.size() {
            let left = usize::try_from(head.published.size() - next).unwrap_or(PAGE);
            let entries = self.hub.store.log_entries(next, left.min(PAGE)).await?;
            for batch in records::pack(next, entries) {
                if let Sent::BehindOthers = self.send(head, batch.record(&self.topic)).await? {
                    return Err(StoreError("somebody else publishes the audit log".to_owned()).into());
                }
                next += batch.leaves.len() as u64;
            }
            self.prolong(&mut prolonged).await?;
        }
        self.note(head).await
    }

    /// Compares the records from `from` to the end; returns behind which leaf they end.
    async fn read(&self, head: &mut LogHead, from: i64) -> Result<u64, LogError> {
        let (sender, mut records) = mpsc::channel::<Record>(AHEAD);
        let each = move |record| {
            // Nobody listens when the comparison has ended with an error.
            let _ = sender.blocking_send(record);
        };
        let compare = async {
            let mut held = 0;
            let mut prolonged = Instant::now();
            while let Some(record) = records.recv().await {
                held = self.take(head, &record).await?.unwrap_or(held);
                head.next_offset = record.position.offset + 1;
                self.prolong(&mut prolonged).await?;
            }
            Ok::<_, LogError>(held)
        };
        let topic = self.topic.clone();
        let read = async { Ok(read_from(&self.kafka, topic, BTreeMap::from([(0, from)]), each).await?) };
        let ((), held) = futures::future::try_join(read, compare).await?;
        Ok(held)
    }

    async fn prolong(&self, prolonged: &mut Instant) -> Result<(), LogError> {
        if prolonged.elapsed() >= PROLONG {
            self.hub.store.keep_log(self.keeper, LEASE).await?.ok_or_else(StoreError::log_lost)?;
            *prolonged = Instant::now();
        }
        Ok(())
    }

    /// Compares one record; returns behind which leaf it ends, when it has leaves.
    async fn take(&self, head: &mut LogHead, record: &Record) -> Result<Option<u64>, LogError> {
        let message = wire::AuditRecord::decode(record.value.clone()).ok().and_then(|record| record.message);
        match message {
            Some(audit_record::Message::Leaves(wire::AuditLeaves { first, leaves })) => {
                self.take_leaves(head, first, &leaves).await?;
                Ok(Some(first + leaves.len() as u64))
            }
            Some(audit_record::Message::Checkpoint(wire::AuditCheckpoint { note })) => {
                self.take_checkpoint(head, &note).await?;
                Ok(None)
            }
            None => {
                tracing::warn!(position = %record.position, "a record of the audit topic cannot be read");
                Ok(None)
            }
        }
    }

    async fn take_leaves(&self, head: &mut LogHead, first: u64, leaves: &[Bytes]) -> Result<(), LogError> {
        if first > head.published.size() {
            return Err(Contradiction::Gap(head.published.size()).into());
        }
        let known = self.hub.store.log_entries(first, leaves.len()).await?;
        let other = (first..).zip(known.iter().zip(leaves)).find(|(_, (known, leaf))| known != leaf);
        if let Some((position, _)) = other {
            return Err(Contradiction::Fork(position).into());
        }
        let beyond = &leaves[known.len()..];
        if !beyond.is_empty() {
            let size = first + known.len() as u64;
            let read = |(position, leaf): (u64, &Bytes)| {
                Leaf::decode(leaf).map_err(|_| Contradiction::Unreadable(position))
            };
            let beyond = (size..).zip(beyond).map(read).collect::<Result<Vec<_>, _>>()?;
            if !self.hub.store.adopt_leaves(self.keeper, size, &beyond).await? {
                return Err(Contradiction::Fork(size).into());
            }
            head.size = size + beyond.len() as u64;
        }
        for (position, leaf) in (first..).zip(leaves) {
            if position == head.published.size() {
                head.published.push(merkle::leaf_hash(leaf));
            }
        }
        Ok(())
    }

    /// A checkpoint over fewer leaves than are compared already was compared when it was written.
    async fn take_checkpoint(&self, head: &LogHead, note: &str) -> Result<(), LogError> {
        let open = |registry: &schemas::registry::Registry| {
            Checkpoint::open(note, &self.topic, registry.hub()?.keys())
        };
        match self.hub.judged(open).await? {
            Ok(checkpoint) if checkpoint.size > head.published.size() => {
                Err(Contradiction::Gap(head.published.size()).into())
            }
            Ok(Checkpoint { size, root, .. })
                if size == head.published.size() && root != head.published.root() =>
            {
                Err(Contradiction::Checkpoint(size).into())
            }
            Ok(_) => Ok(()),
            Err(code) => {
                tracing::warn!(%code, "a checkpoint of the audit topic says nothing");
                Ok(())
            }
        }
    }
}
