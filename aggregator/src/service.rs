//! Puts the aggregator together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use plumbing::exit::Exit;
use plumbing::kafka::{
    Changes, Commit, Consumer, ConsumerConfig, ConsumerHandle, DeadLetters, KafkaConfig, KafkaError, Lanes,
    Producer, Record, RecordReader, Subscription, Watermarks, read_to_end,
};
use plumbing::lifecycle::Lifecycle;
use plumbing::outbox::relay;
use plumbing::registry::{self, RegistryError};
use schemas::registry::Registry;
use schemas::topics::Topics;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

use crate::config::{Config, InvalidSetting, Secrets, StoreKind};
use crate::edge::{HubOutbox, api};
use crate::handler::{Assembler, Hub, Registrar, Sweeper};
use crate::store::{MemoryStore, Store, SystemClock};

/// How long a revoked partition may take to finish what is in flight.
const DRAIN: Duration = Duration::from_secs(4);
/// Records that wait in front of a lane at most.
const QUEUE_MAX: usize = 5_000;
/// Records in one transaction at most.
const BATCH_MAX: usize = 500;
/// A record older than this is counted by position and not copied to the dead letters.
const DEAD_LETTER_MAX_AGE: Duration = Duration::from_secs(2 * 24 * 3600);
/// The relay also looks by itself this often: a wake can be lost.
const RELAY_IDLE: Duration = Duration::from_millis(500);

/// Why the aggregator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting has no meaning.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The broker does not do what is needed.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The registry cannot be followed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The interface has no TLS yet, so it must not leave the machine.
    #[error("listen: {0} is not a loopback address, and this interface has no TLS")]
    NotLoopback(SocketAddr),
}

impl StartError {
    /// The exit code of a process that did not start.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Setting(_) | Self::NotLoopback(_) => Exit::Config,
            Self::Kafka(error) => error.exit(),
            Self::Registry(error) => error.exit(),
            Self::Listen(..) => Exit::CannotCreate,
        }
    }
}

/// An aggregator that runs.
pub struct Running {
    /// Where its HTTP interface listens.
    pub addr: SocketAddr,
    /// Its store.
    pub store: MemoryStore,
}

/// Starts the aggregator; returns when it consumes.
///
/// # Errors
/// [`StartError`].
pub async fn start(
    config: Config,
    secrets: Secrets,
    lifecycle: &mut Lifecycle,
) -> Result<Running, StartError> {
    if !config.listen.ip().is_loopback() {
        return Err(StartError::NotLoopback(config.listen));
    }
    let store = match config.store {
        StoreKind::Memory => MemoryStore::new(Arc::new(SystemClock)),
    };
    let kafka = &config.kafka;
    let topics = Topics::new(&config.prefix);
    let hub = Arc::new(Hub {
        store: store.clone(),
        registry: registry::follow(kafka, topics.registry(), &config.registry, lifecycle).await?,
        producer: Producer::new(kafka)?,
        records: RecordReader::new(kafka)?,
        watermarks: Watermarks::new(kafka)?,
        key: secrets.signing_key,
        policy: config.policy.policy()?,
        window: config.window.window()?,
        outbox: Arc::new(Notify::new()),
        topics,
    });
    let registrar = Arc::new(Registrar::new(Arc::clone(&hub)));
    let assembler = Arc::new(Assembler::new(Arc::clone(&hub)));
    rebuild(kafka, &hub, &registrar, &assembler).await?;

    let queries = consume(kafka, &hub, Source::Queries, Arc::clone(&registrar), lifecycle)?;
    let replies = consume(kafka, &hub, Source::Replies, Arc::clone(&assembler), lifecycle)?;
    let listener =
        TcpListener::bind(config.listen).await.map_err(|error| StartError::Listen(config.listen, error))?;
    let addr = listener.local_addr().map_err(|error| StartError::Listen(config.listen, error))?;
    let token = lifecycle.token();
    let router = api::router(Arc::clone(&hub));
    lifecycle.spawn("http", async move {
        axum::serve(listener, router).with_graceful_shutdown(token.cancelled_owned()).await
    });
    let outbox = Arc::new(HubOutbox(Arc::clone(&hub)));
    let (producer, wake) = (hub.producer.clone(), Arc::clone(&hub.outbox));
    lifecycle.spawn("outbox", relay(outbox, producer, wake, RELAY_IDLE, lifecycle.token()));
    let sweeper = Sweeper::new(Arc::clone(&hub))
        .run(Duration::from_millis(config.sweep_interval_ms), lifecycle.token());
    lifecycle.spawn("sweeper", async move {
        sweeper.await;
        Ok::<_, KafkaError>(())
    });
    queries.report_to(&lifecycle.health(), "query consumer");
    replies.report_to(&lifecycle.health(), "reply consumer");
    queries.assigned().await;
    replies.assigned().await;
    let subscriptions =
        [(Source::Queries, queries.subscription()), (Source::Replies, replies.subscription())];
    let follow = resubscribe(Arc::clone(&hub), hub.registry.changes(), subscriptions);
    let token = lifecycle.token();
    lifecycle
        .spawn("subscriptions", async move { token.run_until_cancelled(follow).await.unwrap_or(Ok(())) });
    lifecycle.spawn("query consumer", queries.stopped());
    lifecycle.spawn("reply consumer", replies.stopped());
    Ok(Running { addr, store })
}

/// What one of the two consumers reads.
#[derive(Clone, Copy)]
enum Source {
    Queries,
    Replies,
}

impl Source {
    fn topics<S>(self, hub: &Hub<S>) -> Vec<String> {
        let registry = hub.registry.get();
        match self {
            Source::Queries => {
                registry.upstreams().map(|(upstream, _)| hub.topics.query(&upstream)).collect()
            }
            // Also of banks that are suspended or left: what they said in time counts.
            Source::Replies => registry.banks().map(|(bank, _)| hub.topics.reply(&bank)).collect(),
        }
    }

    fn service(self) -> &'static str {
        match self {
            Source::Queries => "aggregator.query",
            Source::Replies => "aggregator.reply",
        }
    }
}

fn consume<S: Store>(
    kafka: &KafkaConfig,
    hub: &Hub<S>,
    source: Source,
    handler: Arc<impl plumbing::kafka::Handler>,
    lifecycle: &Lifecycle,
) -> Result<ConsumerHandle, KafkaError> {
    let group_id = hub.topics.group(source.service());
    let topics = hub.topics.clone();
    let topic_for = Arc::new(move |topic: &str| topics.dead_letter(topic));
    let dead_letters = DeadLetters::new(hub.producer.clone(), &group_id, topic_for, DEAD_LETTER_MAX_AGE);
    let config = ConsumerConfig {
        group_id,
        topics: source.topics(hub),
        lanes: Lanes::Ordered { count: 1, batch_max: BATCH_MAX },
        commit: Commit::Never,
        drain: DRAIN,
        queue_max: QUEUE_MAX,
    };
    Consumer::start(kafka, config, handler, Some(dead_letters), lifecycle.token())
}

/// Rebuilds the store in memory: queries to their end first, so that no reply is one to an unknown query; then replies.
async fn rebuild<S: Store>(
    kafka: &KafkaConfig,
    hub: &Hub<S>,
    registrar: &Registrar<S>,
    assembler: &Assembler<S>,
) -> Result<(), KafkaError> {
    for source in [Source::Queries, Source::Replies] {
        let (sender, mut records) = mpsc::channel::<Record>(QUEUE_MAX);
        let topics = source.topics(hub);
        let each = move |record| {
            // The receiver lives until the reader has ended.
            let _ = sender.blocking_send(record);
        };
        let take = async {
            let mut batch = Vec::new();
            while records.recv_many(&mut batch, BATCH_MAX).await > 0 {
                match source {
                    Source::Queries => {
                        for record in &batch {
                            registrar.rebuild(record).await?;
                        }
                    }
                    Source::Replies => {
                        plumbing::kafka::Handler::handle(assembler, &batch).await;
                    }
                }
                batch.clear();
            }
            Ok::<_, KafkaError>(())
        };
        futures::future::try_join(read_to_end(kafka, &topics, each), take).await?;
    }
    Ok(())
}

/// Follows the registry: a bank that joins is read from without a restart.
async fn resubscribe<S: Store>(
    hub: Arc<Hub<S>>,
    mut changes: Changes<Registry>,
    subscriptions: [(Source, Subscription); 2],
) -> Result<(), KafkaError> {
    let mut known = subscriptions.each_ref().map(|(source, _)| source.topics(&hub));
    while changes.next().await.is_some() {
        for (known, (source, subscription)) in known.iter_mut().zip(&subscriptions) {
            let now = source.topics(&hub);
            if *known != now {
                subscription.replace(now.clone());
                *known = now;
            }
        }
    }
    // Why the registry's reader ended is told by its own part.
    Ok(())
}
