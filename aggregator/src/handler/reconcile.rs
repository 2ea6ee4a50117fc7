//! Compares the store's progress with the broker, at start and while the service runs.

use std::sync::Arc;
use std::time::Duration;

use plumbing::exit::Exit;
use plumbing::kafka::{GroupOffsets, KafkaError};
use tokio_util::sync::CancellationToken;

use super::Hub;
use crate::domain::tail::{Lost, Offsets, lost};
use crate::store::{Store, StoreError};

const EVERY: Duration = Duration::from_secs(60);

/// Store and broker contradict each other. Only the operator can tell which of them is right.
#[derive(Debug, thiserror::Error)]
#[error("records were lost: {}. Stop every aggregator and run `cardquery recover`", list(.0))]
pub struct LostTail(Vec<Lost>);

fn list(lost: &[Lost]) -> String {
    lost.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl LostTail {
    /// The exit code of a process that ends with this error. Starting again does not help.
    pub fn exit(&self) -> Exit {
        Exit::Software
    }
}

/// A comparison that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// There is a contradiction.
    #[error(transparent)]
    Lost(#[from] LostTail),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker does not answer.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

/// Compares what one group reads.
pub struct Reconciler<S> {
    hub: Arc<Hub<S>>,
    group: GroupOffsets,
}

impl<S: Store> Reconciler<S> {
    /// For one group.
    pub fn new(hub: Arc<Hub<S>>, group: GroupOffsets) -> Self {
        Self { hub, group }
    }

    /// Compares once.
    ///
    /// # Errors
    /// [`ReconcileError`].
    pub async fn check(&self, topics: &[String]) -> Result<(), ReconcileError> {
        // In this order, because all of them grow.
        let committed = self.group.committed(topics).await?;
        let stored = self.hub.store.progress(&topics.iter().cloned().collect()).await?;
        let ranges = self.hub.watermarks.ranges(topics).await;
        let stored: Offsets =
            stored.into_iter().map(|(partition, progress)| (partition, progress.next_offset)).collect();
        let ends: Offsets =
            ranges.into_iter().filter_map(|(partition, range)| Some((partition, range.ok()?.1))).collect();
        let lost = lost(&committed, &stored, &ends);
        if lost.is_empty() { Ok(()) } else { Err(LostTail(lost).into()) }
    }

    /// Compares every minute until `shutdown`. What cannot be asked just now is asked a minute later.
    ///
    /// # Errors
    /// [`LostTail`].
    pub async fn run(
        self,
        topics: impl Fn() -> Vec<String> + Send,
        shutdown: CancellationToken,
    ) -> Result<(), LostTail> {
        while shutdown.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            match self.check(&topics()).await {
                Ok(()) => {}
                Err(ReconcileError::Lost(lost)) => return Err(lost),
                Err(ReconcileError::Store(error)) => tracing::warn!(%error, "progress not compared"),
                Err(ReconcileError::Kafka(error)) => tracing::warn!(%error, "progress not compared"),
            }
        }
        Ok(())
    }
}
