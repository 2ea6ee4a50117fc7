//! The whole system in one process: broker, hub, notifier, producer and the sample banks.
//!
//! The demo runs one query through it; the end-to-end tests build on it too, so that what a newcomer sees is what is
//! tested.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aggregator::Stores;
use aggregator::domain::subject::SubjectKey;
use aggregator::store::{MemoryStore, SystemClock};
use bank_connector::source::CardSource;
use bank_connector::source::sql::SqlSource;
use notifier::gateway::{Gateway, Inbox, Received};
use plumbing::exit::{Exit, Failure};
use plumbing::kafka::{KafkaConfig, OutRecord, Producer};
use plumbing::lifecycle::Lifecycle;
use schemas::ids::{BankId, UpstreamId};
use schemas::keys::VerifyingKey;
use schemas::registry::PartyName;
use schemas::topics::Topics;
use schemas::wire::MissingSource;
use tokio::sync::mpsc;

use super::broker::{Broker, fresh_topics};
use super::sources::{Down, Slow};
use crate::sample;

/// How long services may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// A real Kafka, or `None` for the in-process broker.
    pub brokers: Option<String>,
    /// Stands for the 24 hours.
    pub window: Duration,
    /// Decides the sample's card numbers.
    pub seed: u64,
    /// Banks whose core system is down.
    pub down: BTreeSet<BankId>,
    /// Banks whose connector does not run.
    pub silent: BTreeSet<BankId>,
    /// Banks that answer late within the window.
    pub slow: BTreeSet<BankId>,
    /// Whether the aggregator runs in this process.
    pub aggregator: bool,
    /// What stands before the banks' own sources, for example a counter.
    pub wrap: Option<Wrap>,
}

/// Puts a source of the caller's around a bank's own.
#[derive(Clone)]
pub struct Wrap(pub Arc<WrapSource>);

/// From a bank and its source to the one that its connector asks.
pub type WrapSource = dyn Fn(&BankId, Arc<dyn CardSource>) -> Arc<dyn CardSource> + Send + Sync;

impl fmt::Debug for Wrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wrap")
    }
}

impl Plan {
    /// Everybody behaves; in-process broker, a window of 20 s.
    pub fn new() -> Self {
        Self {
            brokers: None,
            window: Duration::from_secs(20),
            seed: 7,
            down: BTreeSet::new(),
            silent: BTreeSet::new(),
            slow: BTreeSet::new(),
            aggregator: true,
            wrap: None,
        }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

/// The running system.
pub struct World {
    /// Names of topics.
    pub topics: Topics,
    /// The wallet.
    pub upstream: UpstreamId,
    /// Where the producer listens.
    pub producer: SocketAddr,
    /// Where the aggregator listens or will listen.
    pub hub: SocketAddr,
    /// The aggregator's store, when it runs in this process.
    pub store: Option<MemoryStore>,
    /// SMS that arrived.
    pub inbox: mpsc::UnboundedReceiver<Received>,
    /// The sample's parties.
    pub sample: sample::registry::Sample,
    broker: Broker,
    lifecycles: Vec<Lifecycle>,
    folder: tempfile::TempDir,
}

impl World {
    /// Starts everything; returns when a query can be submitted.
    ///
    /// # Errors
    /// With the exit code of what stands in the way.
    pub async fn start(plan: &Plan) -> Result<Self, Failure> {
        let sample = sample::registry::sample();
        let topics = fresh_topics();
        let upstream = sample.upstreams[0].id.clone();
        let banks: Vec<BankId> = sample.banks.iter().map(|bank| bank.id.clone()).collect();
        let table = topics.all(std::slice::from_ref(&upstream), &banks);
        let broker = match &plan.brokers {
            None => Broker::in_process(&table).map_err(|error| error.exit().because(error))?,
            Some(brokers) => {
                Broker::real(brokers, &table).await.map_err(|error| error.exit().because(error))?
            }
        };
        let folder = tempfile::tempdir().map_err(|error| Exit::CannotCreate.because(error))?;
        let (inbox_sender, inbox) = Inbox::new();
        let hub = free_address().map_err(|error| Exit::CannotCreate.because(error))?;
        let mut world = Self {
            topics,
            upstream,
            producer: hub,
            hub,
            store: None,
            inbox,
            sample,
            broker,
            lifecycles: Vec::new(),
            folder,
        };
        match world.start_services(plan, &banks, Arc::new(inbox_sender)).await {
            Ok(()) => Ok(world),
            Err(failure) => {
                world.stop().await;
                Err(failure)
            }
        }
    }

    async fn start_services(
        &mut self,
        plan: &Plan,
        banks: &[BankId],
        gateway: Arc<dyn Gateway>,
    ) -> Result<(), Failure> {
        self.publish_registry().await?;
        let running = banks.iter().filter(|bank| !plan.silent.contains(*bank));
        let connectors = running.map(|bank| self.connector(plan, bank));
        let (hub, notifier, connectors) = futures::future::join3(
            self.aggregator(plan),
            self.notifier(gateway),
            futures::future::join_all(connectors),
        )
        .await;
        let mut started = vec![notifier];
        started.extend(connectors);
        let mut failed = None;
        match hub {
            Ok(Some((lifecycle, store))) => {
                self.lifecycles.push(lifecycle);
                self.store = Some(store);
            }
            Ok(None) => {}
            Err(failure) => failed = Some(failure),
        }
        for service in started {
            match service {
                Ok(lifecycle) => self.lifecycles.push(lifecycle),
                Err(failure) => failed = Some(failure),
            }
        }
        if let Some(failure) = failed {
            return Err(failure);
        }
        let (lifecycle, addr) = self.producer().await?;
        self.lifecycles.push(lifecycle);
        self.producer = addr;
        Ok(())
    }

    /// Starts connectors of banks that the plan left silent; returns when they can be asked.
    ///
    /// # Errors
    /// With the exit code of what stands in the way.
    pub async fn start_banks(&mut self, plan: &Plan, banks: &[BankId]) -> Result<(), Failure> {
        let started =
            futures::future::try_join_all(banks.iter().map(|bank| self.connector(plan, bank))).await?;
        self.lifecycles.extend(started);
        Ok(())
    }

    /// How a client with this name reaches the broker.
    pub fn kafka(&self, client_id: &str) -> KafkaConfig {
        self.broker.client(client_id)
    }

    /// Where the broker listens.
    pub fn broker_address(&self) -> String {
        self.broker.address()
    }

    /// The pinned roots.
    pub fn roots(&self) -> Vec<VerifyingKey> {
        sample::keys::roots()
    }

    /// Stops every service, then the broker.
    pub async fn stop(self) {
        let Self { lifecycles, broker, folder, .. } = self;
        futures::future::join_all(lifecycles.into_iter().map(|lifecycle| lifecycle.stop(GRACE))).await;
        broker.stop().await;
        drop(folder);
    }

    async fn publish_registry(&self) -> Result<(), Failure> {
        let producer =
            Producer::new(&self.kafka("cardquery.operator")).map_err(|error| error.exit().because(error))?;
        for (key, value) in sample::registry::records() {
            let record = OutRecord {
                topic: self.topics.registry(),
                key: Some(key.into_bytes()),
                value,
                headers: Vec::new(),
            };
            producer.send(record).await.map_err(|error| Exit::Unavailable.because(error))?;
        }
        Ok(())
    }

    /// The aggregator's settings in this world.
    pub fn aggregator_config(&self, plan: &Plan) -> Result<aggregator::Config, Failure> {
        let mut config = aggregator::Config::load(None).map_err(|error| error.exit().because(error))?;
        config.prefix = self.topics.prefix().to_owned();
        config.listen = self.hub;
        config.kafka = self.kafka("cardquery.aggregator");
        config.registry.roots = root_texts();
        config.registry.allow_sample_roots = true;
        config.policy.open_regions =
            self.sample.upstreams.iter().flat_map(|upstream| upstream.regions.clone()).collect();
        config.policy.consent_texts =
            producer::consent_texts().iter().map(|text| text.sha256.to_string()).collect();
        // A few people ask all the time here, and nobody waits for hours to release a query.
        config.policy.one_open_query = false;
        config.policy.requery_interval_seconds = 0;
        config.policy.cooling_off_seconds = plan.window.as_secs() / 12;
        config.policy.hold_seconds = 3 * plan.window.as_secs().max(1);
        config.window.length_seconds = plan.window.as_secs_f64();
        // 5 s of 24 h would be nothing here; what is needed is that appended records are visible.
        config.window.grace_ms = 250;
        config.sweep_interval_ms = 100;
        Ok(config)
    }

    async fn aggregator(&self, plan: &Plan) -> Result<Option<(Lifecycle, MemoryStore)>, Failure> {
        if !plan.aggregator {
            return Ok(None);
        }
        let mut lifecycle = Lifecycle::new();
        let secrets = aggregator::Secrets {
            signing_key: sample::keys::signing(&PartyName::hub()),
            subject_key: SubjectKey::ephemeral(),
            redis: None,
        };
        let store = MemoryStore::new(Arc::new(SystemClock));
        let stores = Stores::shared(store.clone());
        aggregator::start_on(stores, self.aggregator_config(plan)?, secrets, &mut lifecycle)
            .await
            .map(|_| Some((lifecycle, store)))
            .map_err(|error| error.exit().because(error))
    }

    async fn notifier(&self, gateway: Arc<dyn Gateway>) -> Result<Lifecycle, Failure> {
        let mut lifecycle = Lifecycle::new();
        let mut config = notifier::Config::load(None).map_err(|error| error.exit().because(error))?;
        config.prefix = self.topics.prefix().to_owned();
        config.kafka = self.kafka("cardquery.notifier");
        config.registry.roots = root_texts();
        config.store = notifier::config::StoreConfig::Memory;
        config.notices.commit = notifier::config::CommitConfig::Never;
        // Within the session timeout of the in-process broker.
        config.gateway.timeout_ms = 2_000;
        config.notices.drain_ms = 4_000;
        config.registry.allow_sample_roots = true;
        let secrets = notifier::Secrets::to_open(vec![sample::keys::opening(&PartyName::notifier())]);
        notifier::start(config, secrets, gateway, &mut lifecycle)
            .await
            .map(|_| lifecycle)
            .map_err(|error| error.exit().because(error))
    }

    async fn connector(&self, plan: &Plan, bank: &BankId) -> Result<Lifecycle, Failure> {
        let mut lifecycle = Lifecycle::new();
        let name = PartyName::bank(bank);
        let mut config = bank_connector::Config::defaults(bank);
        config.prefix = self.topics.prefix().to_owned();
        config.kafka = self.kafka(&format!("cardquery.connector.{bank}"));
        config.registry.roots = root_texts();
        config.registry.allow_sample_roots = true;
        config.registry.seen_file = Some(self.folder.path().join(format!("{bank}-registry-seen.json")));
        let secrets = bank_connector::Secrets {
            signing_key: sample::keys::signing(&name),
            opening_keys: vec![sample::keys::opening(&name)],
        };
        let source = source(plan, bank, self.folder.path()).await?;
        bank_connector::start(config, secrets, source, &mut lifecycle)
            .await
            .map(|_| lifecycle)
            .map_err(|error| error.exit().because(error))
    }

    async fn producer(&self) -> Result<(Lifecycle, SocketAddr), Failure> {
        let mut lifecycle = Lifecycle::new();
        let mut config = producer::Config::load(None).map_err(|error| error.exit().because(error))?;
        config.prefix = self.topics.prefix().to_owned();
        config.upstream = self.upstream.clone();
        config.dev = true;
        config.http.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.hub.url = format!("http://{}", self.hub);
        // Everything shares two cores here: a hub that is slow to answer must not turn a repeat into a second record.
        config.hub.repeat_check_ms = 5_000;
        config.kafka = self.kafka("cardquery.producer");
        config.registry.roots = root_texts();
        config.registry.allow_sample_roots = true;
        config.registry.seen_file = Some(self.folder.path().join("producer-registry-seen.json"));
        let signing_key = sample::keys::signing(&PartyName::upstream(&self.upstream));
        let running = producer::start(config, producer::Secrets { signing_key }, &mut lifecycle)
            .await
            .map_err(|error| error.exit().because(error))?;
        Ok((lifecycle, running.addr))
    }
}

async fn source(plan: &Plan, bank: &BankId, folder: &Path) -> Result<Arc<dyn CardSource>, Failure> {
    let url = sample::core::fill(folder, bank, plan.seed)
        .await
        .map_err(|error| Exit::CannotCreate.because(error))?;
    let covers = [MissingSource::Debit, MissingSource::Credit, MissingSource::Prepaid].into();
    let core = SqlSource::new(sample::core::source_config(&url), covers);
    let core = Arc::new(core.map_err(|error| Exit::Config.because(error))?);
    let source: Arc<dyn CardSource> = if plan.down.contains(bank) {
        Arc::new(Down)
    } else if plan.slow.contains(bank) {
        Arc::new(Slow::new(core, plan.window / 8))
    } else {
        core
    };
    Ok(match &plan.wrap {
        Some(Wrap(wrap)) => wrap(bank, source),
        None => source,
    })
}

fn root_texts() -> Vec<String> {
    sample::keys::roots().iter().map(|root| hex::encode(root.to_wire().raw)).collect()
}

/// An address that nobody listens on: the producer must know it before the aggregator is up.
fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}
