//! State folded from a topic of one partition, for example who takes part.
//!
//! A reader without a group hands every record to a step function, from the beginning and then for ever. Whoever
//! asks gets a snapshot; nobody waits for a writer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::follow::follow_again;
use super::{Follower, KafkaConfig, KafkaError, Next, Record, Watermarks};
use crate::health::Health;

/// How long the end may take to be reached. Whoever waits holds up records.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(10);

/// State of type `T`, kept up with one topic. Clones share it.
pub struct Fold<T> {
    topic: String,
    seen: watch::Receiver<Seen<T>>,
    watermarks: Watermarks,
    follower: Arc<Follower>,
}

struct Seen<T> {
    state: Arc<T>,
    next_offset: i64,
}

impl<T: Clone + Send + Sync + 'static> Fold<T> {
    /// Folds `topic` into `initial`; returns when the end that was found at the call is reached. A `step` that asks for the
    /// beginning is given every record that is there once more; until then nobody is told that the end is reached.
    ///
    /// # Errors
    /// When the topic does not exist, the broker does not answer, or the reader ended.
    pub async fn start(
        kafka: &KafkaConfig,
        topic: String,
        initial: T,
        mut step: impl FnMut(&mut T, Record) -> Next + Send + 'static,
        shutdown: CancellationToken,
    ) -> Result<Self, KafkaError> {
        let (changed, seen) = watch::channel(Seen { state: Arc::new(initial), next_offset: 0 });
        let each = move |record: Record| {
            let mut next = Next::On;
            changed.send_modify(|seen| {
                let after = record.position.offset + 1;
                next = step(Arc::make_mut(&mut seen.state), record);
                seen.next_offset = match next {
                    Next::On => after,
                    Next::FromBeginning => 0,
                };
            });
            next
        };
        let watermarks = Watermarks::new(kafka)?;
        let follower = Arc::new(follow_again(kafka, vec![topic.clone()], each, shutdown)?);
        follower.caught_up().await?;
        let partitions = watermarks.end_offsets(std::slice::from_ref(&topic)).await.len();
        if partitions > 1 {
            return Err(KafkaError::Partitions(topic, partitions));
        }
        Ok(Self { topic, seen, watermarks, follower })
    }

    /// The state now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.seen.borrow().state)
    }

    /// The offset of the next record: which state this is, for whoever has to name it.
    pub fn next_offset(&self) -> i64 {
        self.seen.borrow().next_offset
    }

    /// Waits until the end that the topic has now is reached.
    ///
    /// # Errors
    /// When the broker does not answer, the reader ended, or the end is not reached within ten seconds.
    pub async fn catch_up(&self) -> Result<(), KafkaError> {
        self.catch_up_within(CATCH_UP_WITHIN).await
    }

    /// As [`Fold::catch_up`], with another limit.
    ///
    /// # Errors
    /// When the broker does not answer, the reader ended, or the end is not reached in time.
    pub async fn catch_up_within(&self, limit: Duration) -> Result<(), KafkaError> {
        let late = |_| KafkaError::Unavailable(format!("{}: end not reached within {limit:?}", self.topic));
        tokio::time::timeout(limit, self.reach_end()).await.map_err(late)?
    }

    async fn reach_end(&self) -> Result<(), KafkaError> {
        let ends = self.watermarks.end_offsets(std::slice::from_ref(&self.topic)).await;
        for end in ends.into_values() {
            let end = end?;
            let mut seen = self.seen.clone();
            seen.wait_for(|seen| seen.next_offset >= end).await.map_err(|_| KafkaError::Stopped)?;
        }
        Ok(())
    }

    /// Waits until the reader has failed, or its shutdown token is cancelled. Until then [`Fold::get`] is kept up;
    /// after a failure it is not, so somebody must wait for this.
    ///
    /// # Errors
    /// Why the reader ended.
    pub async fn failed(&self) -> Result<(), KafkaError> {
        self.follower.failed().await
    }

    /// Registers the checks of the reader.
    pub fn report_to(&self, health: &Health, name: &'static str) {
        self.follower.report_to(health, name);
    }

    /// Waits until another record was read after the last call on this `changes`.
    pub fn changes(&self) -> Changes<T> {
        Changes { seen: self.seen.clone() }
    }
}

/// Tells when a [`Fold`] has moved on.
pub struct Changes<T> {
    seen: watch::Receiver<Seen<T>>,
}

impl<T> Changes<T> {
    /// Waits for the next change and returns the state after it; `None` when the reader ended.
    pub async fn next(&mut self) -> Option<Arc<T>> {
        self.seen.changed().await.ok()?;
        Some(Arc::clone(&self.seen.borrow_and_update().state))
    }
}

impl<T> Clone for Fold<T> {
    fn clone(&self) -> Self {
        Self {
            topic: self.topic.clone(),
            seen: self.seen.clone(),
            watermarks: self.watermarks.clone(),
            follower: Arc::clone(&self.follower),
        }
    }
}
