//! The service as its process, or the demo, starts it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use plumbing::config::Faults;
use plumbing::exit::Exit;
use plumbing::http::{HttpListener, MutualTls, TlsError};
use plumbing::kafka::{
    Consumer, ConsumerConfig, DeadLetters, KafkaError, Lanes, ProduceError, Producer, RecordReader,
    Watermarks, WhenOpen,
};
use plumbing::lifecycle::Lifecycle;
use plumbing::postgres::{self, PostgresError, UP_WITHIN, wait_until_up};
use plumbing::registry::{self, RegistryError};

use crate::config::{CallbacksConfig, Config, Secrets, StoreConfig};
use crate::dispatch::{self, Dispatch, Found, Manners, NotNow, SmsLog};
use crate::edge::sms_topic::SmsTopic;
use crate::edge::{callbacks, sms_topic};
use crate::gateway::Gateway;
use crate::gateway::file::{FileGateway, FileGatewayError};
use crate::gateway::http::{Declared, HttpGateway};
use crate::gateway::signature::GatewaySecret;
use crate::handler::Notices;
use crate::store::memory::Memory;
use crate::store::postgres::Postgres;
use crate::store::{Store, StoreError};
use crate::sweep::Sweep;
use crate::upkeep::{self, Rewound};

/// Older records leave no copy among the dead letters, which would outlive the sealed contact.
const DEAD_LETTER_MAX_AGE: Duration = Duration::from_secs(2 * 24 * 3600);

/// A running service. It stops with its lifecycle.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Running {
    /// What the SMS topic said at start that the store was not known to reflect.
    pub found: Found,
    /// Where delivery receipts are taken, if anywhere.
    pub callbacks: Option<SocketAddr>,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] Faults),
    /// No way to the phone.
    #[error("no SMS gateway is configured")]
    NoGateway,
    /// The file gateway refuses.
    #[error(transparent)]
    FileGateway(#[from] FileGatewayError),
    /// The files of `gateway.http.tls` or `callbacks.tls` cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address for delivery receipts cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The registry cannot be followed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Kafka cannot be used.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The store cannot be had.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// What was found in the SMS topic cannot be written down.
    #[error("what the SMS topic says cannot be written down")]
    Recovery(#[from] NotNow),
    /// How far the store reflects the SMS topic cannot be read or written down.
    #[error("the progress in the SMS topic cannot be kept")]
    Progress(#[from] StoreError),
    /// Somebody restores the store just now.
    #[error(transparent)]
    Rewound(#[from] Rewound),
}

impl StartError {
    /// The exit code of a process that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::NoGateway | Self::FileGateway(FileGatewayError::NotInDevelopment) => {
                Exit::Config
            }
            Self::FileGateway(FileGatewayError::Open { .. }) | Self::Listen(..) => Exit::CannotCreate,
            Self::Tls(error) => error.exit(),
            Self::Registry(error) => error.exit(),
            Self::Kafka(error) => error.exit(),
            Self::Postgres(error) => error.exit(),
            Self::Recovery(_) | Self::Progress(_) => Exit::Unavailable,
            Self::Rewound(_) => Exit::TryAgain,
        }
    }
}

/// The gateway that `config` names.
///
/// # Errors
/// When there is none, or when it may not be used.
pub async fn gateway(config: &Config, secrets: &Secrets) -> Result<Arc<dyn Gateway>, StartError> {
    if let Some((http, secret)) = config.gateway.http.as_ref().zip(secrets.gateway.clone()) {
        let url = http.address().ok_or(StartError::NoGateway)?;
        let declared = Declared { idempotent: http.idempotent, inquiries: http.inquiries };
        let timeout = config.limits().gateway_timeout;
        let gateway = HttpGateway::new(url, http.tls.as_ref(), secret, declared, timeout, http.connections)?;
        return Ok(Arc::new(gateway));
    }
    let path = config.gateway.file.as_deref().ok_or(StartError::NoGateway)?;
    Ok(Arc::new(FileGateway::open(path, config.dev).await?))
}

/// Starts the service. It first reads what its store may not know of the SMS topic, and subscribes to notices only when
/// every claim that it found there has an outcome or a holder. Notices that were published before or are published after
/// the return are handled.
///
/// # Errors
/// When a setting cannot be used, or Kafka or PostgreSQL does not answer.
pub async fn start(
    config: Config,
    secrets: Secrets,
    gateway: Arc<dyn Gateway>,
    lifecycle: &mut Lifecycle,
) -> Result<Running, StartError> {
    Faults::check(config.faults())?;
    match config.store {
        StoreConfig::Memory => {
            start_on(Arc::new(Memory::default()), config, secrets, gateway, lifecycle).await
        }
        StoreConfig::Postgres => {
            let pool = config.postgres.pool("notifier.store", config.postgres.connections)?;
            wait_until_up(&pool, UP_WITHIN).await?;
            postgres::watch(pool.clone(), lifecycle);
            let store = Postgres::open(pool).await?;
            start_on(store, config, secrets, gateway, lifecycle).await
        }
    }
}

async fn start_on<S: Store + Clone>(
    store: S,
    config: Config,
    secrets: Secrets,
    gateway: Arc<dyn Gateway>,
    lifecycle: &mut Lifecycle,
) -> Result<Running, StartError> {
    dispatch::count_from_zero();
    let topics = config.topics();
    let sms = topics.sms();
    let kafka = &config.kafka;
    let registry = registry::follow(kafka, topics.registry(), &config.registry, lifecycle).await?;

    let producer = Producer::new(kafka)?;
    let (log, broken) = SmsTopic::new(producer.clone(), sms.clone());
    let manners = Manners {
        quiet: config.quiet().map_err(Faults::one)?,
        per_phone: config.phone_limit().map_err(Faults::one)?.zip(secrets.phone_key),
    };
    let dispatch = Dispatch::new(store.clone(), log, gateway, config.limits(), manners);
    let known = store.progress(&sms).await?;
    let (ledger, read) = sms_topic::read(kafka, sms.clone(), known.clone()).await?;
    let found = dispatch.recover(ledger).await?;
    let known = upkeep::advance(&store, &sms, &known, read).await?.ok_or(Rewound)?;
    tracing::info!(ended = found.ended, unfinished = found.unfinished, "SMS topic read");

    let group_id = topics.group("notifier");
    let notice: Arc<str> = topics.notice().into();
    let dead_letter_topic = move |source: &str| topics.dead_letter(source);
    let dead_letters =
        DeadLetters::new(producer, group_id.clone(), Arc::new(dead_letter_topic), DEAD_LETTER_MAX_AGE)
            .limited(config.dead_letters, WhenOpen::Pause);
    let consumer = ConsumerConfig {
        group_id,
        topics: vec![notice.to_string()],
        lanes: Lanes::Concurrent { max: config.notices.concurrent },
        commit: config.notices.commit.into(),
        drain: config.drain(),
        queue_max: config.notices.concurrent,
    };
    let handler = Arc::new(Notices::new(registry, secrets.opening_keys, dispatch));
    let sweep = Sweep::new(Arc::clone(&handler), RecordReader::new(kafka)?, notice);
    let every = Duration::from_millis(config.notices.sweep_ms);
    let stopping = lifecycle.token().cancelled_owned();
    lifecycle.spawn("notifier-sweep", async move {
        sweep.run(every, stopping).await;
        Ok::<_, KafkaError>(())
    });
    let callbacks = match (config.callbacks, secrets.gateway) {
        (Some(config), Some(secret)) => Some(receive(config, secret, Arc::clone(&handler), lifecycle).await?),
        (None, _) | (Some(_), None) => None,
    };
    let consumer = Consumer::start(kafka, consumer, handler, Some(dead_letters), lifecycle.token())?;
    consumer.report_to(&lifecycle.health(), "notice consumer");
    lifecycle.spawn("notifier-consumer", consumer.stopped());
    let stopping = lifecycle.token().cancelled_owned();
    let upkeep = upkeep::keep(store, Watermarks::new(kafka)?, sms, known, stopping);
    lifecycle
        .spawn("notifier-upkeep", async { upkeep.await.map_err(|rewound| Exit::TryAgain.because(rewound)) });
    lifecycle.spawn("notifier-sms-topic", watch(broken, lifecycle.token().cancelled_owned()));
    Ok(Running { found, callbacks })
}

/// Listens for delivery receipts.
async fn receive<S: Store, L: SmsLog>(
    config: CallbacksConfig,
    secret: GatewaySecret,
    notices: Arc<Notices<S, L>>,
    lifecycle: &mut Lifecycle,
) -> Result<SocketAddr, StartError> {
    let failed = |error| StartError::Listen(config.listen, error);
    let tls = config.tls.as_ref().map(MutualTls::server).transpose()?;
    let listener = HttpListener::bind(config.listen, tls).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tracing::info!(listen = %address, "listener for delivery receipts");
    let router = callbacks::router(notices, secret);
    let stopping = lifecycle.token().cancelled_owned();
    lifecycle.spawn("notifier-callbacks", async move {
        axum::serve(listener, router).with_graceful_shutdown(stopping).await
    });
    Ok(address)
}

/// Ends with the first error that no later attempt can mend.
async fn watch(
    mut broken: tokio::sync::mpsc::UnboundedReceiver<ProduceError>,
    stopping: impl Future<Output = ()>,
) -> Result<(), ProduceError> {
    tokio::select! {
        error = broken.recv() => error.map_or(Ok(()), Err),
        () = stopping => Ok(()),
    }
}
