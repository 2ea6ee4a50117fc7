//! Puts the aggregator together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use plumbing::config::Faults;
use plumbing::exit::Exit;
use plumbing::http::{HttpListener, MutualTls, Peer, TlsError};
use plumbing::in_force::InForce;
use plumbing::kafka::{
    Changes, Commit, Consumer, ConsumerConfig, ConsumerHandle, DeadLetters, GroupOffsets, KafkaConfig,
    KafkaError, Lanes, Producer, Record, RecordReader, Subscription, Watermarks, read_to_end,
};
use plumbing::lifecycle::Lifecycle;
use plumbing::outbox::relay;
use plumbing::postgres::{self, PostgresConfig, PostgresError, UP_WITHIN, wait_until_up};
use plumbing::registry::{self, RegistryError};
use schemas::registry::Registry;
use schemas::topics::Topics;
use tokio::sync::{Notify, mpsc};

use crate::audit_log::AuditLog;
use crate::config::{Config, InvalidSetting, Secrets, StoreKind};
use crate::domain::policy::Policy;
use crate::domain::window::Window;
use crate::edge::{HubOutbox, api};
use crate::first_line::{FirstLine, Redis, RedisUrl};
use crate::handler::{Assembler, Hub, LostTail, ReconcileError, Reconciler, Registrar, Sweeper};
use crate::store::{DayKeys, DaysError, MemoryStore, PostgresStore, Store, StoreError, SystemClock};

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
    /// Settings contradict each other or what is possible.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// The broker does not do what is needed.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The database cannot be had.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The days of content, or their keys, are not there.
    #[error(transparent)]
    Days(#[from] DaysError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Store and broker contradict each other.
    #[error(transparent)]
    LostTail(#[from] LostTail),
    /// The registry cannot be followed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// Without TLS nobody is authenticated, so the interface must not leave the machine.
    #[error("listen: {0} is not a loopback address, and there is no [tls]")]
    NotLoopback(SocketAddr),
    /// The files of `tls` cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl From<ReconcileError> for StartError {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::Lost(error) => error.into(),
            ReconcileError::Store(error) => error.into(),
            ReconcileError::Kafka(error) => error.into(),
        }
    }
}

impl StartError {
    /// The exit code of a process that did not start.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Setting(_) | Self::Faults(_) | Self::NotLoopback(_) => Exit::Config,
            Self::Days(DaysError::Key(error)) => error.exit(),
            Self::Kafka(error) => error.exit(),
            Self::Registry(error) => error.exit(),
            Self::Postgres(error) => error.exit(),
            Self::Store(_) | Self::Days(DaysError::Store(_)) => Exit::Unavailable,
            Self::LostTail(error) => error.exit(),
            Self::Listen(..) => Exit::CannotCreate,
            Self::Tls(error) => error.exit(),
        }
    }
}

/// One store by a way for each role, so that none of them waits for connections that another holds.
#[derive(Clone, Debug)]
pub struct Stores<S> {
    /// Records of queries and replies.
    pub records: S,
    /// Deadlines, second questions and the outbox.
    pub sweeps: S,
    /// The HTTP interface.
    pub api: S,
}

impl<S: Clone> Stores<S> {
    /// The same way for all.
    pub fn shared(store: S) -> Self {
        Self { records: store.clone(), sweeps: store.clone(), api: store }
    }
}

/// The aggregator, at work. It ends with its lifecycle.
#[derive(Clone, Debug)]
pub struct Running {
    /// Where its HTTP interface listens.
    pub addr: SocketAddr,
    /// What is in force, and may be replaced.
    pub policy: InForce<Policy>,
}

/// Starts the aggregator on the store that the settings name; returns when it consumes.
///
/// # Errors
/// [`StartError`].
pub async fn start(
    config: Config,
    secrets: Secrets,
    lifecycle: &mut Lifecycle,
) -> Result<Running, StartError> {
    match config.store {
        StoreKind::Memory => {
            let stores = Stores::shared(MemoryStore::new(Arc::new(SystemClock)));
            start_on(stores, config, secrets, lifecycle).await
        }
        StoreKind::Postgres => {
            let stores = open_postgres(&config, lifecycle).await?;
            start_on(stores, config, secrets, lifecycle).await
        }
    }
}

/// Opens the store, and keeps its days.
async fn open_postgres(
    config: &Config,
    lifecycle: &mut Lifecycle,
) -> Result<Stores<PostgresStore>, StartError> {
    let keys = DayKeys::open(&config.erasure.key_dir).map_err(DaysError::from)?;
    let PostgresConfig { connections, .. } = config.postgres;
    let pool = |role: &str| config.postgres.pool(&format!("aggregator.{role}"), connections);
    let records = pool("records")?;
    wait_until_up(&records, UP_WITHIN).await?;
    PostgresStore::migrate(&records).await?;
    postgres::watch(records.clone(), lifecycle);
    let stores = Stores {
        records: PostgresStore::new(records, keys.clone()),
        sweeps: PostgresStore::new(pool("sweeps")?, keys.clone()),
        api: PostgresStore::new(pool("api")?, keys),
    };
    let Window { calendar, .. } = config.window.window()?;
    stores.sweeps.make_days(&calendar).await?;
    let days = stores.sweeps.clone().keep_days(calendar, lifecycle.token());
    lifecycle.spawn("days of content", async move {
        days.await;
        Ok::<_, StoreError>(())
    });
    Ok(stores)
}

/// Starts the aggregator on these stores, whatever the settings say; otherwise as [`start`].
///
/// # Errors
/// [`StartError`].
pub async fn start_on<S: Store>(
    stores: Stores<S>,
    config: Config,
    secrets: Secrets,
    lifecycle: &mut Lifecycle,
) -> Result<Running, StartError> {
    if config.tls.is_none() && !config.listen.ip().is_loopback() {
        return Err(StartError::NotLoopback(config.listen));
    }
    Faults::check(config.redis.faults().into_iter().chain(config.limits.faults()).collect())?;
    let kafka = &config.kafka;
    let topics = Topics::new(&config.prefix);
    let hub = Arc::new(Hub {
        store: stores.records,
        registry: registry::follow(kafka, topics.registry(), &config.registry, lifecycle).await?,
        producer: Producer::new(kafka)?,
        records: RecordReader::new(kafka)?,
        watermarks: Watermarks::new(kafka)?,
        key: secrets.signing_key,
        subjects: secrets.subject_key,
        first_line: Arc::new(first_line(&config, secrets.redis.as_ref())?),
        policy: InForce::new(config.policy.policy()?),
        paused: InForce::new(BTreeMap::new()),
        window: config.window.window()?,
        outbox: Arc::new(Notify::new()),
        topics,
    });
    // Before anything is consumed: a bank that was paused before this start is not asked by it.
    hub.take_over_pauses(hub.store.pauses().await?);
    let registrar = Arc::new(Registrar::new(Arc::clone(&hub)));
    let assembler = Arc::new(Assembler::new(Arc::clone(&hub)));
    if S::LASTS {
        reconcile(kafka, &hub, lifecycle).await?;
    } else {
        rebuild(kafka, &hub, &registrar, &assembler).await?;
    }

    let queries = consume(kafka, &hub, Source::Queries, Arc::clone(&registrar), lifecycle)?;
    let replies = consume(kafka, &hub, Source::Replies, Arc::clone(&assembler), lifecycle)?;
    let tls = config.tls.as_ref().map(MutualTls::server).transpose()?;
    let listener = HttpListener::bind(config.listen, tls)
        .await
        .map_err(|error| StartError::Listen(config.listen, error))?;
    let addr = listener.local_addr().map_err(|error| StartError::Listen(config.listen, error))?;
    let token = lifecycle.token();
    let router = api::router(Arc::new(hub.on(stores.api)));
    lifecycle.spawn("http", async move {
        let service = router.into_make_service_with_connect_info::<Peer>();
        axum::serve(listener, service).with_graceful_shutdown(token.cancelled_owned()).await
    });
    let sweeps = Arc::new(hub.on(stores.sweeps));
    let checkpoint_every = Duration::from_secs(config.audit.checkpoint_seconds);
    let log = AuditLog::new(Arc::clone(&sweeps), config.kafka.clone(), checkpoint_every);
    lifecycle.spawn("audit log", log.run(lifecycle.token()));
    let outbox = Arc::new(HubOutbox(Arc::clone(&sweeps)));
    let (producer, wake) = (hub.producer.clone(), Arc::clone(&hub.outbox));
    lifecycle.spawn("outbox", relay(outbox, producer, wake, RELAY_IDLE, lifecycle.token()));
    let sweeper =
        Sweeper::new(sweeps).run(Duration::from_millis(config.sweep_interval_ms), lifecycle.token());
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
    lifecycle.spawn("subscriptions", async move {
        match token.run_until_cancelled(follow).await {
            Some(ended) if !token.is_cancelled() => ended,
            // At shutdown the registry's reader ends as well, and may be seen first.
            Some(_) | None => Ok(()),
        }
    });
    lifecycle.spawn("query consumer", queries.stopped());
    lifecycle.spawn("reply consumer", replies.stopped());
    Ok(Running { addr, policy: hub.policy.clone() })
}

fn first_line(config: &Config, url: Option<&RedisUrl>) -> Result<FirstLine, Faults> {
    // The client's own words may repeat the password.
    let no_url = |_| Faults::one("redis.url_file: does not hold a URL like redis://:password@host:6379/");
    let redis = url.map(|url| Redis::new(url, &config.redis)).transpose().map_err(no_url)?;
    Ok(FirstLine::new(redis, config.limits.rate()))
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

    fn reconciler(self) -> &'static str {
        match self {
            Source::Queries => "query progress",
            Source::Replies => "reply progress",
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
        commit: if S::LASTS { Commit::Broker } else { Commit::Never },
        drain: DRAIN,
        queue_max: QUEUE_MAX,
    };
    Consumer::start(kafka, config, handler, Some(dead_letters), lifecycle.token())
}

/// Compares progress and broker before anything is read, and goes on doing so.
async fn reconcile<S: Store>(
    kafka: &KafkaConfig,
    hub: &Arc<Hub<S>>,
    lifecycle: &mut Lifecycle,
) -> Result<(), StartError> {
    for source in [Source::Queries, Source::Replies] {
        let group = GroupOffsets::new(kafka, hub.topics.group(source.service()))?;
        let reconciler = Reconciler::new(Arc::clone(hub), group);
        reconciler.check(&source.topics(hub)).await?;
        let topics = {
            let hub = Arc::clone(hub);
            move || source.topics(&hub)
        };
        lifecycle.spawn(source.reconciler(), reconciler.run(topics, lifecycle.token()));
    }
    Ok(())
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
