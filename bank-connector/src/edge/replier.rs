//! Signs and publishes replies: those that are ready at the same time get one signature.
//!
//! In: unsigned replies, each with a way to tell its handler that Kafka has it. What must never happen here: a handler is
//! told so although the acknowledgement is missing.

use std::sync::Arc;
use std::time::Duration;

use plumbing::kafka::{OutRecord, ProduceError, Producer};
use prost::Message;
use schemas::batch::{self, MAX_TREE_SIZE};
use schemas::cloud_events::CloudEvent;
use schemas::codes::Code;
use schemas::ids::{BankId, Nonce, Reference};
use schemas::keys::SigningKey;
use schemas::reply::Unsigned;
use schemas::request::Header;
use schemas::time::UnixMillis;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use crate::metric_names;

/// Between attempts at a record whose acknowledgement did not come.
const SEND_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What became of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Kafka has it.
    Acknowledged,
    /// It was not acknowledged before the time to reply was over.
    TooLate,
}

struct Job {
    reply: Unsigned,
    about: About,
    done: oneshot::Sender<Sent>,
}

/// What the record around a reply says.
struct About {
    reference: Reference,
    attempt: u32,
    reply_by: UnixMillis,
}

/// Hands replies over. Clones share one replier.
#[derive(Clone)]
pub(crate) struct Outbox(mpsc::Sender<Job>);

impl Outbox {
    /// Waits until Kafka has the reply; `None` when the service stops first.
    pub(crate) async fn send(&self, request: &Header, reply: Unsigned) -> Option<Sent> {
        let (done, sent) = oneshot::channel();
        let about = About {
            reference: request.reference.clone(),
            attempt: request.attempt,
            reply_by: request.reply_by,
        };
        self.0.send(Job { reply, about, done }).await.ok()?;
        sent.await.ok()
    }
}

/// Why the replier ended. The process should exit; its supervisor restarts it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplierError {
    /// Kafka will never take a reply.
    #[error("a reply cannot be published")]
    Produce(#[from] ProduceError),
    /// A batch cannot be signed.
    #[error("a batch cannot be signed: {0}")]
    Sign(Code),
    /// A task of the replier panicked.
    #[error("a reply was lost on its way")]
    Lost(#[from] JoinError),
}

/// Everything a batch needs besides its replies.
pub(crate) struct Replier {
    pub(crate) bank: BankId,
    pub(crate) topic: String,
    pub(crate) key: SigningKey,
    pub(crate) producer: Producer,
    pub(crate) clock: Clock,
    pub(crate) linger: Duration,
}

impl Replier {
    /// The way in and the part to run, which ends when `drained` is cancelled.
    pub(crate) fn start(
        self,
        capacity: usize,
        drained: CancellationToken,
    ) -> (Outbox, impl Future<Output = Result<(), ReplierError>> + Send) {
        let (outbox, jobs) = mpsc::channel(capacity.max(1));
        (Outbox(outbox), Arc::new(self).run(jobs, drained))
    }

    async fn run(
        self: Arc<Self>,
        mut jobs: mpsc::Receiver<Job>,
        drained: CancellationToken,
    ) -> Result<(), ReplierError> {
        let mut sending = JoinSet::new();
        loop {
            tokio::select! {
                // What was sent is reported before new work is taken.
                biased;
                Some(sent) = sending.join_next() => sent??,
                () = drained.cancelled() => break,
                job = jobs.recv() => match job {
                    Some(first) => self.publish(collect(first, &mut jobs, self.linger).await, &mut sending)?,
                    None => break,
                },
            }
        }
        // Whoever still waits has left its offset open: the request is read again.
        sending.shutdown().await;
        Ok(())
    }

    fn publish(
        self: &Arc<Self>,
        batch: Vec<Job>,
        sending: &mut JoinSet<Result<(), ProduceError>>,
    ) -> Result<(), ReplierError> {
        let headers: Vec<_> = batch.iter().map(|job| job.reply.header.clone()).collect();
        let now = (self.clock)();
        let proofs = batch::sign_batch(&self.bank, &self.key, Nonce(rand::random()), &headers, now)
            .map_err(ReplierError::Sign)?;
        metrics::counter!(metric_names::BATCHES, "bank" => self.bank.to_string()).increment(1);
        for (job, proof) in batch.into_iter().zip(proofs) {
            let record = self.record(&job.about, job.reply.with_proof(proof).encode_to_vec(), now);
            sending.spawn(Arc::clone(self).deliver(record, job.about.reply_by, job.done));
        }
        Ok(())
    }

    fn record(&self, about: &About, value: Vec<u8>, now: UnixMillis) -> OutRecord {
        let event = CloudEvent {
            // The attempt is part of the id: a second answer to a second question is no re-emission.
            id: about.reference.message_id(&format!("reply/{}/{}", self.bank, about.attempt)),
            kind: "CardReply",
            source: &format!("bank/{}", self.bank),
            time: now,
            reference: &about.reference,
            expires_at: None,
        };
        OutRecord {
            topic: self.topic.clone(),
            key: Some(about.reference.query.to_string().into_bytes()),
            value,
            headers: event.headers(),
        }
    }

    /// Sends the same bytes until they are acknowledged: an ambiguous outcome may have been a success.
    async fn deliver(
        self: Arc<Self>,
        record: OutRecord,
        reply_by: UnixMillis,
        done: oneshot::Sender<Sent>,
    ) -> Result<(), ProduceError> {
        let sent = loop {
            match self.producer.send(record.clone()).await {
                Ok(_) => break Sent::Acknowledged,
                Err(error @ (ProduceError::Permanent(_) | ProduceError::Fatal(_))) => return Err(error),
                Err(ProduceError::Ambiguous(text)) => {
                    tracing::warn!(bank = %self.bank, text, "reply not acknowledged");
                    if (self.clock)() > reply_by {
                        break Sent::TooLate;
                    }
                    tokio::time::sleep(SEND_AGAIN_AFTER).await;
                }
            }
        };
        // A handler that has gone wants no word.
        let _ = done.send(sent);
        Ok(())
    }
}

/// What is ready now and within `linger`, as many as one tree holds.
async fn collect(first: Job, jobs: &mut mpsc::Receiver<Job>, linger: Duration) -> Vec<Job> {
    let mut batch = vec![first];
    let until = Instant::now() + linger;
    while batch.len() < MAX_TREE_SIZE as usize {
        match tokio::time::timeout_at(until, jobs.recv()).await {
            Ok(Some(job)) => batch.push(job),
            Ok(None) | Err(_) => break,
        }
    }
    batch
}
