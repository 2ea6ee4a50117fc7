//! State folded from a topic of one partition, for example who takes part.
//!
//! A reader without a group hands every record to a step function, from the beginning and then for ever. Whoever
//! asks gets a snapshot; nobody waits for a writer.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Follower, KafkaConfig, KafkaError, Record, Watermarks, follow};

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
    /// Folds `topic` into `initial`; returns when the end that was found at the call is reached.
    ///
    /// # Errors
    /// When the topic does not exist, the broker does not answer, or the reader ended.
    pub async fn start(
        kafka: &KafkaConfig,
        topic: String,
        initial: T,
        mut step: impl FnMut(&mut T, Record) + Send + 'static,
        shutdown: CancellationToken,
    ) -> Result<Self, KafkaError> {
        let (changed, seen) = watch::channel(Seen { state: Arc::new(initial), next_offset: 0 });
        let each = move |record: Record| {
            changed.send_modify(|seen| {
                seen.next_offset = record.position.offset + 1;
                step(Arc::make_mut(&mut seen.state), record);
            });
        };
        let follower = Arc::new(follow(kafka, vec![topic.clone()], each, shutdown)?);
        follower.caught_up().await?;
        Ok(Self { topic, seen, watermarks: Watermarks::new(kafka)?, follower })
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
    /// When the broker does not answer or the reader ended.
    pub async fn catch_up(&self) -> Result<(), KafkaError> {
        let ends = self.watermarks.end_offsets(std::slice::from_ref(&self.topic)).await;
        for end in ends.into_values() {
            let end = end?;
            let mut seen = self.seen.clone();
            seen.wait_for(|seen| seen.next_offset >= end).await.map_err(|_| KafkaError::Stopped)?;
        }
        Ok(())
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
