//! The consumer as a service sees it: start it, wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::breakers::Breakers;
use super::config::KafkaConfig;
use super::consumer_loop::{self, Feed, Loop};
use super::dead_letter::DeadLetters;
use super::error::{ConsumerError, KafkaError};
use super::handler::{Commit, Handler, Lanes};
use super::lane::{self, Lane};
use super::rebalance::Context;
use super::signs::{Pulse, Reach};
use crate::health::Health;
use crate::metric_names;

/// Dropping a consumer polls until its group is left, and hangs when no broker answers
/// (rust-rdkafka#509, #611): after this long nobody waits for it any more.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// What to consume, and how.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// The consumer group.
    pub group_id: String,
    /// The explicit list of topics; it may be empty at first.
    pub topics: Vec<String>,
    /// How records are spread over tasks.
    pub lanes: Lanes,
    /// Who remembers how far the group came.
    pub commit: Commit,
    /// How long records in flight may take when partitions are given back or the consumer stops.
    /// Must be shorter than the session timeout.
    pub drain: Duration,
    /// Most records that wait in the queue of one lane.
    pub queue_max: usize,
}

/// Starts consumers.
#[derive(Debug)]
pub struct Consumer;

/// A running consumer. It ends when its shutdown token is cancelled, or with an error.
#[derive(Debug)]
pub struct ConsumerHandle {
    subscription: Subscription,
    assigned: watch::Receiver<bool>,
    ended: oneshot::Receiver<Result<(), ConsumerError>>,
    closed: oneshot::Receiver<()>,
    pulse: Pulse,
    reach: Reach,
    breakers: Option<Breakers>,
    stall: Duration,
}

impl Consumer {
    /// Starts a consumer on the current tokio runtime, with a poll thread of its own.
    ///
    /// Without `dead_letters` a dead letter is logged by its position and counted.
    pub fn start<H: Handler>(
        kafka: &KafkaConfig,
        config: ConsumerConfig,
        handler: Arc<H>,
        dead_letters: Option<DeadLetters>,
        shutdown: CancellationToken,
    ) -> Result<ConsumerHandle, KafkaError> {
        let (events_tx, events) = std::sync::mpsc::channel();
        let (reports_tx, reports) = mpsc::unbounded_channel();
        let (subscriptions_tx, subscriptions) = mpsc::unbounded_channel();
        let (assigned_tx, assigned) = watch::channel(false);
        let (ended_tx, ended) = oneshot::channel();
        let (closed_tx, closed) = oneshot::channel();
        let pulse = Pulse::new();
        let reach = Reach::default();

        let consumer: BaseConsumer<Context> = kafka
            .consumer(&config.group_id)?
            .create_with_context(Context::new(
                events_tx,
                config.group_id.clone(),
                config.commit == Commit::Broker,
                reach.clone(),
            ))
            .map_err(|error| KafkaError::sorted("consumer", &error))?;
        // An alert on a series that is not there yet sees nothing when it begins with its first event.
        metrics::counter!(metric_names::COMMIT_ERRORS).increment(0);
        metrics::counter!(metric_names::OFFSET_RESETS).increment(0);
        let handled = metrics::counter!(metric_names::RECORDS_HANDLED, "role" => config.group_id.clone());
        let breakers = dead_letters.as_ref().map(|dead_letters| dead_letters.breakers().clone());
        let lane = Arc::new(Lane {
            handler,
            dead_letters,
            reports: reports_tx,
            stall: kafka.stall_timeout(),
            group: config.group_id.clone(),
            handled,
        });
        let mut poll_loop = Loop::new(
            &config,
            kafka.append_time,
            start_lanes(&lane, &config),
            consumer_loop::Channels {
                events,
                reports,
                subscriptions,
                assigned: assigned_tx,
                shutdown,
                pulse: pulse.clone(),
                breakers: breakers.clone(),
            },
        );
        std::thread::Builder::new()
            .name(format!("kafka-poll {}", config.group_id))
            .spawn(move || {
                let result = poll_loop.run(&consumer);
                consumer_loop::leave(&consumer);
                if let Err(error) = &result {
                    tracing::error!(%error, "consumer ended");
                }
                let _ = ended_tx.send(result);
                drop(consumer);
                let _ = closed_tx.send(());
            })
            .map_err(|error| KafkaError::Client(error.to_string()))?;
        Ok(ConsumerHandle {
            subscription: Subscription(subscriptions_tx),
            assigned,
            ended,
            closed,
            pulse,
            reach,
            breakers,
            stall: kafka.stall_timeout(),
        })
    }
}

fn start_lanes<H: Handler>(lane: &Arc<Lane<H>>, config: &ConsumerConfig) -> Vec<Feed> {
    let queue = || mpsc::channel(config.queue_max.max(1));
    match config.lanes {
        Lanes::Ordered { count, batch_max } => (0..count.max(1))
            .map(|_| {
                let (feed, jobs) = queue();
                tokio::spawn(lane::ordered(Arc::clone(lane), jobs, batch_max.max(1)));
                Feed::new(feed)
            })
            .collect(),
        Lanes::Concurrent { max } => {
            let (feed, jobs) = queue();
            tokio::spawn(lane::concurrent(Arc::clone(lane), jobs, max.max(1)));
            vec![Feed::new(feed)]
        }
    }
}

/// The list of topics of a running consumer.
#[derive(Clone, Debug)]
pub struct Subscription(mpsc::UnboundedSender<Vec<String>>);

impl Subscription {
    /// Replaces the list of topics. A list that differs costs a rebalance of the whole group.
    pub fn replace(&self, topics: Vec<String>) {
        // A consumer that ended needs no topics.
        let _ = self.0.send(topics);
    }
}

impl ConsumerHandle {
    /// The way to change the list of topics while the consumer runs.
    pub fn subscription(&self) -> Subscription {
        self.subscription.clone()
    }

    /// Registers the checks of this consumer: it is live while its poll thread turns, and ready when it also has its
    /// partitions, can reach a broker, and no topic is paused for its dead letters.
    pub fn report_to(&self, health: &Health, name: &'static str) {
        let (pulse, stall) = (self.pulse.clone(), self.stall);
        health.live(name, move || pulse.live(stall));
        let (pulse, reach, assigned) = (self.pulse.clone(), self.reach.clone(), self.assigned.clone());
        let breakers = self.breakers.clone();
        health.ready(name, move || {
            pulse.ready(stall)?;
            reach.ready()?;
            if !*assigned.borrow() {
                return Err("no partitions are assigned".to_owned());
            }
            breakers.as_ref().map_or(Ok(()), |breakers| breakers.ready(Instant::now()))
        });
    }

    /// Waits until the first assignment, or the end of the consumer.
    pub async fn assigned(&self) {
        let mut assigned = self.assigned.clone();
        let _ = assigned.wait_for(|assigned| *assigned).await;
    }

    /// Waits until the consumer has ended and left its group.
    ///
    /// This also watches the poll thread: someone must await it for the whole life of the consumer.
    pub async fn stopped(mut self) -> Result<(), ConsumerError> {
        let mut look = tokio::time::interval((self.stall / 4).max(Duration::from_millis(1)));
        let result = loop {
            tokio::select! {
                ended = &mut self.ended => break ended.unwrap_or(Err(ConsumerError::Gone)),
                _ = look.tick() => if self.pulse.silence() > self.stall {
                    return Err(ConsumerError::PollStalled(self.stall));
                },
            }
        };
        if tokio::time::timeout(CLOSE_WITHIN, self.closed).await.is_err() {
            tracing::warn!("the consumer does not close, leaving it behind");
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A consumer whose poll thread has not turned for ever.
    fn stuck(stall: Duration) -> (ConsumerHandle, watch::Sender<bool>, impl Sized) {
        let (assigned_tx, assigned) = watch::channel(true);
        let ((ended_tx, ended), (closed_tx, closed)) = (oneshot::channel(), oneshot::channel());
        let (subscriptions, receiver) = mpsc::unbounded_channel();
        let handle = ConsumerHandle {
            subscription: Subscription(subscriptions),
            assigned,
            ended,
            closed,
            pulse: Pulse::new(),
            reach: Reach::default(),
            breakers: None,
            stall,
        };
        (handle, assigned_tx, (ended_tx, closed_tx, receiver))
    }

    #[tokio::test]
    async fn a_stalled_poll_thread_fails_readiness_then_liveness_and_ends_the_consumer() {
        let stall = Duration::from_millis(400);
        let (handle, _assigned, _channels) = stuck(stall);
        let health = Health::default();
        handle.report_to(&health, "consumer");
        let ok = |checks: Vec<crate::health::Checked>| checks.last().is_some_and(|check| check.ok);
        assert!(ok(health.look_ready()) && ok(health.look_live()));
        tokio::time::sleep(stall / 2).await;
        assert!(!ok(health.look_ready()) && ok(health.look_live()));
        let ended = tokio::time::timeout(10 * stall, handle.stopped()).await.expect("ends by itself");
        assert!(matches!(ended, Err(ConsumerError::PollStalled(_))), "{ended:?}");
        assert!(!ok(health.look_live()));
        assert_ne!(crate::exit::Exit::of(&ended.expect_err("stalled")).code(), 0);
    }

    #[tokio::test]
    async fn a_consumer_without_partitions_is_live_and_not_ready() {
        let (handle, assigned, _channels) = stuck(Duration::from_secs(60));
        let health = Health::default();
        handle.report_to(&health, "consumer");
        assigned.send_replace(false);
        let last = health.look_ready().pop().expect("a check");
        assert_eq!((last.ok, last.detail.as_str()), (false, "no partitions are assigned"));
        assert!(health.look_live().iter().all(|check| check.ok));
    }
}
