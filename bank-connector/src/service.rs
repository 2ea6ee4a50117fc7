//! Puts the parts together.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz;
use plumbing::config::Faults;
use plumbing::exit::Exit;
use plumbing::kafka::{
    Commit, Consumer, ConsumerConfig, ConsumerError, ConsumerHandle, KafkaError, Lanes, Producer,
};
use plumbing::lifecycle::Lifecycle;
use plumbing::registry::{self, RegistryError};
use schemas::topics::Topics;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::cancelled::Cancelled;
use crate::edge::clock::{Clock, system_clock};
use crate::edge::lookup::Lookups;
use crate::edge::replier::Replier;
use crate::handler::Connector;
use crate::secrets::Secrets;
use crate::source::CardSource;

/// Records in flight have this share of the session timeout to finish when partitions are given back.
const DRAIN_SHARE: u32 = 2;
const LONGEST_DRAIN: Duration = Duration::from_secs(20);

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("the configuration is wrong:\n{0}")]
    Config(#[from] Faults),
    /// The registry cannot be followed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A Kafka client cannot be created.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

impl StartError {
    /// The exit code of a process that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Config,
            Self::Registry(error) => error.exit(),
            Self::Kafka(error) => error.exit(),
        }
    }
}

/// A connector that runs.
#[derive(Clone, Debug)]
pub struct Running {
    assigned: watch::Receiver<bool>,
}

impl Running {
    /// Waits until the consumer has its partitions for the first time, or has ended. Requests that were published before
    /// are answered as well, so nobody needs to wait for this before asking.
    pub async fn assigned(&self) {
        let _ = self.assigned.clone().wait_for(|assigned| *assigned).await;
    }
}

/// Starts the connector of `config.bank`; every part of it is one of `lifecycle`. Returns when the registry is read and the
/// consumer joins its group.
///
/// # Errors
/// [`StartError`].
pub async fn start(
    config: Config,
    secrets: Secrets,
    source: Arc<dyn CardSource>,
    lifecycle: &mut Lifecycle,
) -> Result<Running, StartError> {
    start_with_clock(config, secrets, source, system_clock(), lifecycle).await
}

/// As [`start`], with another clock than the machine's.
///
/// # Errors
/// [`StartError`].
pub async fn start_with_clock(
    config: Config,
    secrets: Secrets,
    source: Arc<dyn CardSource>,
    clock: Clock,
    lifecycle: &mut Lifecycle,
) -> Result<Running, StartError> {
    config.check()?;
    let Config { bank, kafka, limits, .. } = config;
    let topics = Topics::new(config.prefix);
    let shutdown = lifecycle.token();
    // Not with the others: replies in the making are still sent while the consumer drains.
    let drained = CancellationToken::new();

    let registry = registry::follow(&kafka, topics.registry(), &config.registry, lifecycle).await?;
    let replier = Replier {
        bank: bank.clone(),
        topic: topics.reply(&bank),
        key: secrets.signing_key,
        producer: Producer::new(&kafka)?,
        clock: Arc::clone(&clock),
        linger: limits.linger(),
    };
    let (outbox, replying) = replier.start(limits.requests, drained.clone());
    let connector = Connector {
        bank: bank.clone(),
        registry,
        opening_keys: secrets.opening_keys,
        max_factor_age: Duration::from_secs(config.max_factor_age),
        offset: tz::offset(config.utc_offset_hours),
        lookups: Lookups::new(bank.clone(), source, &limits, Arc::clone(&clock), shutdown.clone()),
        outbox,
        cancelled: Mutex::new(Cancelled::new(limits.cancellations)),
        clock,
    };
    let consuming = ConsumerConfig {
        group_id: topics.connector_group(&bank),
        topics: vec![topics.request(&bank)],
        lanes: Lanes::Concurrent { max: limits.requests },
        commit: Commit::Broker,
        drain: LONGEST_DRAIN.min(Duration::from_millis(kafka.session_timeout_ms.into()) / DRAIN_SHARE),
        queue_max: limits.requests,
    };
    let consumer = Consumer::start(&kafka, consuming, Arc::new(connector), None, shutdown)?;
    let (assigned_tx, assigned) = watch::channel(false);
    consumer.report_to(&lifecycle.health(), "request consumer");
    lifecycle.spawn("bank-connector replier", replying);
    lifecycle.spawn("bank-connector consumer", consume(consumer, assigned_tx, drained));
    tracing::info!(%bank, group = topics.connector_group(&bank), "bank connector started");
    Ok(Running { assigned })
}

async fn consume(
    consumer: ConsumerHandle,
    assigned: watch::Sender<bool>,
    drained: CancellationToken,
) -> Result<(), ConsumerError> {
    let _drained = drained.drop_guard();
    consumer.assigned().await;
    assigned.send_replace(true);
    consumer.stopped().await
}
