//! Keeps the audit log: gives leaves their positions, publishes them in order, and signs checkpoints.
//!
//! ```text
//!         ┌ topic and log were compared before? no ▶ compare: adopt what was published, stop at a contradiction
//!  keep ──┤
//!         └▶ sequence ──▶ publish, one record after the other ──▶ note it ──▶ checkpoint, once a minute
//! ```
//!
//! Any number of instances run this; one of them has the log, for a few seconds at a time. When it is killed the next one
//! goes on: it publishes again what was not noted, and says of no position anything else. Every record before the noted
//! offset was compared with the store, or written by who noted it. When the store went back behind what this instance knows
//! (a restored backup, a server that fell behind and took over), the rest of the topic is compared first.
//!
//! What must never happen here: two histories. No position is given, and no checkpoint signed, before the store was compared
//! with all that was published.

mod compare;
mod records;

use std::sync::Arc;
use std::time::Duration;

use plumbing::exit::{Exit, Failure};
use plumbing::kafka::{KafkaConfig, KafkaError, OutRecord, ProduceError};
use schemas::audit::Checkpoint;
use schemas::ids::Nonce;
use schemas::merkle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::handler::Hub;
use crate::metric_names;
use crate::store::{LogHead, Store, StoreError};

/// How long an instance that was killed keeps others from the log.
const LEASE: Duration = Duration::from_secs(5);
/// How often leaves are looked for that wait.
const LOOK: Duration = Duration::from_millis(200);
/// After an error.
const REST: Duration = Duration::from_secs(1);
/// Leaves that get their positions in one transaction.
const SEQUENCED_MAX: usize = 2_000;
/// Leaves read at once.
const PAGE: usize = 500;
/// After this long the log is kept anew before more is published.
const ROUND: Duration = Duration::from_secs(2);
/// How often is told how far the log is behind.
const TELL: Duration = Duration::from_secs(5);

/// Store and topic contradict each other. Only the operator can tell which of them is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// They have different leaves, or the store has this one elsewhere.
    #[error(
        "the audit log forks at leaf {0}: the topic has another one than the store. Nothing more is signed"
    )]
    Fork(u64),
    /// The topic says of a position behind the end.
    #[error("the audit topic lacks leaves from {0} on")]
    Gap(u64),
    /// A checkpoint was signed over other leaves.
    #[error(
        "the audit log is not the one that a checkpoint over {0} leaves was signed for. Nothing more is signed"
    )]
    Checkpoint(u64),
    /// A leaf of a kind that this version does not know.
    #[error(
        "leaf {0} of the audit topic cannot be read: it was written by a newer version, or by nobody of ours"
    )]
    Unreadable(u64),
}

#[derive(Debug, thiserror::Error)]
enum LogError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Produce(#[from] ProduceError),
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
}

impl LogError {
    /// Whether the same may go well the next time.
    fn passes(&self) -> bool {
        match self {
            Self::Store(_) => true,
            Self::Kafka(error) => !matches!(error.exit(), Exit::Config | Exit::Denied),
            Self::Produce(error) => !matches!(error, ProduceError::Fatal(_)),
            Self::Contradiction(_) => false,
        }
    }

    fn failure(self) -> Failure {
        let exit = match &self {
            Self::Contradiction(_) => Exit::BadData,
            Self::Store(_) | Self::Kafka(_) | Self::Produce(_) => Exit::of(&self),
        };
        exit.because(self)
    }
}

/// One instance's part.
pub struct AuditLog<S> {
    hub: Arc<Hub<S>>,
    kafka: KafkaConfig,
    topic: String,
    keeper: Nonce,
    checkpoint_every: Duration,
    /// What the store has noted when this instance noted something last.
    noted: Option<Noted>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Noted {
    published: u64,
    next_offset: i64,
}

impl Noted {
    fn of(head: &LogHead) -> Self {
        Self { published: head.published.size(), next_offset: head.next_offset }
    }
}

impl<S: Store> AuditLog<S> {
    /// The part of `hub` that keeps the log, and signs a checkpoint every so often.
    pub fn new(hub: Arc<Hub<S>>, kafka: KafkaConfig, checkpoint_every: Duration) -> Self {
        let topic = hub.topics.audit();
        Self { hub, kafka, topic, keeper: Nonce(rand::random()), checkpoint_every, noted: None }
    }

    /// Keeps the log until `shutdown`.
    ///
    /// # Errors
    /// When store and topic contradict each other (exit code 65), or the topic may not be read or written.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Failure> {
        let hub = Arc::clone(&self.hub);
        let told = shutdown.child_token();
        let _ends = told.clone().drop_guard();
        tokio::spawn(async move { told.run_until_cancelled(tell(&hub)).await });
        let mut rest = Duration::ZERO;
        while shutdown.run_until_cancelled(tokio::time::sleep(rest)).await.is_some() {
            rest = match self.round(&shutdown).await {
                Ok(More::Yes) => Duration::ZERO,
                Ok(More::No) => LOOK,
                Err(error) if error.passes() => {
                    // What was done is not known any more.
                    self.noted = None;
                    tracing::warn!(%error, "the audit log rests");
                    REST
                }
                Err(error) => return Err(error.failure()),
            };
        }
        if let Err(error) = self.hub.store.leave_log(self.keeper).await {
            tracing::debug!(%error, "the audit log is left by its time");
        }
        Ok(())
    }

    async fn round(&mut self, shutdown: &CancellationToken) -> Result<More, LogError> {
        let hub = Arc::clone(&self.hub);
        let Some(mut head) = hub.store.keep_log(self.keeper, LEASE).await? else {
            self.noted = None;
            return Ok(More::No);
        };
        if self.noted != Some(Noted::of(&head)) {
            // Whatever it has begun, it can be done again.
            return match shutdown.run_until_cancelled(self.compare(&mut head)).await {
                Some(compared) => compared.map(|()| More::Yes),
                None => Ok(More::No),
            };
        }
        let sequenced = hub.store.sequence_leaves(self.keeper, head.size, SEQUENCED_MAX).await?;
        head.size += sequenced as u64;
        self.publish(&mut head).await?;
        if self.noted == Some(Noted::of(&head)) {
            self.sign(&mut head).await?;
        }
        let more = sequenced == SEQUENCED_MAX || head.published.size() < head.size;
        Ok(if more { More::Yes } else { More::No })
    }

    /// Publishes what has a position and is not published, one record after the other: a record that is lost leaves no gap.
    async fn publish(&mut self, head: &mut LogHead) -> Result<(), LogError> {
        let begun = Instant::now();
        while head.published.size() < head.size && begun.elapsed() < ROUND {
            let first = head.published.size();
            let entries = self.hub.store.log_entries(first, PAGE).await?;
            for batch in records::pack(first, entries) {
                let sent = self.send(head, batch.record(&self.topic)).await;
                if !matches!(sent, Ok(Sent::AsExpected)) {
                    // What went before is there for sure.
                    self.note(head).await?;
                }
                match sent? {
                    Sent::AsExpected => {}
                    Sent::BehindOthers => {
                        self.noted = None;
                        return Ok(());
                    }
                }
                for leaf in &batch.leaves {
                    head.published.push(merkle::leaf_hash(leaf));
                }
                metrics::counter!(metric_names::AUDIT_LEAVES).increment(batch.leaves.len() as u64);
            }
            self.note(head).await?;
        }
        Ok(())
    }

    /// Signs a checkpoint over what is published, when it is time. It is kept before it is published: whoever comes next
    /// signs none too soon.
    async fn sign(&mut self, head: &mut LogHead) -> Result<(), LogError> {
        let now = self.hub.store.now().await?;
        if head.checkpoint_at.is_some_and(|at| now.since(at) < self.checkpoint_every) {
            return Ok(());
        }
        let checkpoint = Checkpoint {
            origin: self.topic.clone(),
            size: head.published.size(),
            root: head.published.root(),
            signed_at: now,
        };
        let note = checkpoint.sign(&self.hub.key);
        self.hub.store.keep_checkpoint(self.keeper, checkpoint.size, &note, now).await?;
        match self.send(head, records::checkpoint(&self.topic, note)).await? {
            Sent::AsExpected => self.note(head).await,
            Sent::BehindOthers => {
                self.noted = None;
                Ok(())
            }
        }
    }

    async fn send(&self, head: &mut LogHead, record: OutRecord) -> Result<Sent, LogError> {
        let position = self.hub.producer.send(record).await?;
        if position.offset != head.next_offset {
            return Ok(Sent::BehindOthers);
        }
        head.next_offset += 1;
        Ok(Sent::AsExpected)
    }

    async fn note(&mut self, head: &LogHead) -> Result<(), LogError> {
        self.hub.store.log_published(self.keeper, &head.published, head.next_offset).await?;
        self.noted = Some(Noted::of(head));
        Ok(())
    }
}

enum More {
    Yes,
    No,
}

enum Sent {
    /// Right behind what was noted.
    AsExpected,
    /// There is something in between: another instance's, or this one's, of which it heard nothing.
    BehindOthers,
}

/// Tells how far the log is behind, whoever keeps it.
async fn tell<S: Store>(hub: &Hub<S>) {
    let mut tick = tokio::time::interval(TELL);
    loop {
        tick.tick().await;
        let (Ok(lag), Ok(now)) = (hub.store.log_lag().await, hub.store.now().await) else { continue };
        // A log is at most as large as what a float holds exactly.
        #[allow(clippy::cast_precision_loss)]
        metrics::gauge!(metric_names::AUDIT_UNPUBLISHED).set(lag.unpublished as f64);
        if let Some(at) = lag.checkpoint_at {
            metrics::gauge!(metric_names::AUDIT_CHECKPOINT_AGE).set(now.since(at).as_secs_f64());
        }
    }
}
