//! The intake: where the rules meet Kafka, the registry and the hub.
//!
//! ```text
//! SubmitRequest ─▶ known to the hub? ─▶ gates ─▶ seal, sign ─▶ one record ─▶ acknowledged ─▶ Submitted
//!                        │                │                        │
//!                 DUPLICATE_QUERY    refused, nothing       OUTCOME_UNKNOWN: send
//!                 or ID_REUSED       is written             the same id again
//! ```
//!
//! What must never happen here: `Submitted` without Kafka's acknowledgement, or a record for a query that a gate refuses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use plumbing::config::Faults;
use plumbing::exit::Exit;
use plumbing::http::TlsError;
use plumbing::in_force::InForce;
use plumbing::kafka::{Fold, KafkaError, Position, ProduceError};
use plumbing::lifecycle::Lifecycle;
use plumbing::registry::{self, RegistryError};
use schemas::codes::Code;
use schemas::http::{Problem, QueryStatus};
use schemas::ids::{KeyId, QueryId, Reference, UpstreamId};
use schemas::keys::SigningKey;
use schemas::registry::Registry;
use schemas::rules::Policy;
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use tokio::sync::Semaphore;

use crate::config::{Config, Secrets};
use crate::domain::banks::{self, Bank};
use crate::domain::record::Intent;
use crate::domain::request::SubmitRequest;
use crate::domain::{gates, record, repeat};
use crate::edge::hub::Hub;
use crate::edge::publisher::Publisher;
use crate::metric_names;

/// How long the registry may take to be read to its end when it lacks something.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(2);

/// Takes queries for one upstream. Usable without HTTP.
pub struct Intake {
    upstream: UpstreamId,
    signing_key: Arc<SigningKey>,
    policy: InForce<Policy>,
    registry: Fold<Registry>,
    publisher: Publisher,
    hub: Hub,
    repeat_check: Duration,
    in_flight: Semaphore,
    max_in_flight: u32,
}

/// What the hub says of an id.
enum Known {
    Status(Box<QueryStatus>),
    Nothing,
    /// No answer in time: the record is published and the hub decides.
    Unanswered,
}

/// A query that Kafka has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Its id.
    pub query: QueryId,
    /// Where its record stands.
    pub position: Position,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration breaks rules.
    #[error(transparent)]
    Config(#[from] Faults),
    /// The registry cannot be followed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The upstream's query topic cannot be reached.
    #[error("the query topic cannot be reached")]
    Kafka(#[from] KafkaError),
    /// The files of `http.tls` or `hub.tls` cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl StartError {
    /// The exit code of a process that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Config,
            Self::Registry(error) => error.exit(),
            Self::Kafka(error) => error.exit(),
            Self::Tls(error) => error.exit(),
            Self::Listen { source, .. } => Exit::of(source),
        }
    }
}

impl Intake {
    /// Checks the configuration, reads the registry to its end and connects to Kafka.
    ///
    /// # Errors
    /// What stands in the way of taking queries.
    pub async fn start(
        config: &Config,
        secrets: Secrets,
        lifecycle: &mut Lifecycle,
    ) -> Result<Arc<Self>, StartError> {
        let policy = InForce::new(config.policy()?);
        let topics = Topics::new(config.prefix.as_str());
        let milliseconds = Duration::from_millis;
        let hub = Hub::new(&config.hub, &config.upstream)?;
        let registry =
            registry::follow(&config.kafka, topics.registry(), &config.registry, lifecycle).await?;
        let timeout = milliseconds(config.publish.timeout_ms);
        let publisher = Publisher::connect(&config.kafka, topics.query(&config.upstream), timeout).await?;
        let intake = Arc::new(Self {
            upstream: config.upstream.clone(),
            signing_key: Arc::new(secrets.signing_key),
            policy,
            registry,
            publisher,
            hub,
            repeat_check: milliseconds(config.hub.repeat_check_ms),
            in_flight: Semaphore::new(config.http.max_in_flight as usize),
            max_in_flight: config.http.max_in_flight,
        });
        if let Err(code) = gates::check_signer(intake.signer(), &intake.registry.get(), now()) {
            tracing::warn!(%code, upstream = %intake.upstream, "the signing key does not count: every query is refused");
        }
        intake.spawn_parts(timeout, lifecycle);
        Ok(intake)
    }

    fn spawn_parts(self: &Arc<Self>, flush_within: Duration, lifecycle: &mut Lifecycle) {
        let (intake, token) = (Arc::clone(self), lifecycle.token());
        lifecycle.spawn("producer publisher", async move {
            tokio::select! {
                error = intake.publisher.died() => return Err(error),
                () = token.cancelled() => {}
            }
            intake.drain(flush_within).await;
            Ok::<(), ProduceError>(())
        });
    }

    /// Waits until submissions under way have ended, then for records whose callers have gone.
    async fn drain(&self, within: Duration) {
        // An error means that nobody can be under way.
        drop(self.in_flight.acquire_many(self.max_in_flight).await);
        if let Err(error) = self.publisher.flush(within).await {
            tracing::warn!(%error, "records may be left without an acknowledgement");
        }
    }

    /// Checks, seals, signs and publishes a query. `Ok` means that Kafka has it.
    ///
    /// A repeat is told before the gates are asked: a caller who sends the same id again after `OUTCOME_UNKNOWN` must
    /// not hear that its factors are too old when the query is running.
    ///
    /// # Errors
    /// A code of the gates, `DUPLICATE_QUERY`, `ID_REUSED`, `MESSAGE_TOO_LARGE`, `KAFKA_UNAVAILABLE`: nothing was
    /// published. `OUTCOME_UNKNOWN`: send the same id again; `DUPLICATE_QUERY` then means success.
    pub async fn submit(&self, request: SubmitRequest) -> Result<Submitted, Code> {
        self.observed(request, Intent::Ask).await
    }

    /// Checks, seals, signs and publishes the release of a held query: the same content under the same id, with a consent
    /// and factors of its own. `Ok` means that Kafka has it; whether it is taken, the hub decides.
    ///
    /// # Errors
    /// As [`Intake::submit`], and `NOT_HELD`, `HOLD_NOT_OVER`, `HOLD_EXPIRED`: nothing was published. `OUTCOME_UNKNOWN`:
    /// ask for the status, and send a release again when the query is still held.
    pub async fn release(&self, request: SubmitRequest) -> Result<Submitted, Code> {
        let held = request.content_digest();
        self.observed(request, Intent::Release(held)).await
    }

    async fn observed(&self, request: SubmitRequest, intent: Intent) -> Result<Submitted, Code> {
        let (started, query) = (Instant::now(), request.query);
        let result = self.take(request, intent).await;
        observe(result.as_ref().err().copied(), started);
        match &result {
            Ok(submitted) => tracing::info!(query_id = %query, position = %submitted.position, "submitted"),
            Err(code) => tracing::info!(query_id = %query, %code, "not submitted"),
        }
        result
    }

    async fn take(&self, request: SubmitRequest, intent: Intent) -> Result<Submitted, Code> {
        // The semaphore is never closed.
        let _permit = self.in_flight.acquire().await.map_err(|_| Code::INTERNAL)?;
        let query = request.query;
        let (at, known) = (now(), self.known(query).await);
        match (intent, known) {
            (Intent::Ask, Known::Status(known)) => {
                return Err(repeat::refusal(&known, request.content_digest()));
            }
            (Intent::Release(held), Known::Status(known)) => repeat::may_release(&known, held, at)?,
            (Intent::Release(_), Known::Nothing) => return Err(Code::NOT_HELD),
            (Intent::Ask, Known::Nothing) | (Intent::Ask | Intent::Release(_), Known::Unanswered) => {}
        }
        let policy = self.policy.get();
        let registry = self
            .fresh(|registry| {
                gates::check(&request, self.signer(), &policy, registry, at).map(|()| registry.clone())
            })
            .await?;
        let reference = Reference { upstream: self.upstream.clone(), query };
        let (topic, key) = (self.publisher.topic().to_owned(), Arc::clone(&self.signing_key));
        // Up to 500 seals and signatures: tens of milliseconds that no other task should wait for.
        let sealed = tokio::task::spawn_blocking(move || {
            record::submitted(request, intent, &reference, &topic, &registry, &key, at)
        });
        let record = sealed.await.map_err(|_| Code::INTERNAL)??;
        let position = self.publisher.publish(record).await?;
        Ok(Submitted { query, position })
    }

    /// What the hub has under this id.
    async fn known(&self, query: QueryId) -> Known {
        match self.hub.status_within(query, self.repeat_check).await {
            Ok(status) => Known::Status(Box::new(status)),
            Err(problem) if problem.code == Code::QUERY_NOT_FOUND.as_str() => Known::Nothing,
            Err(problem) => {
                tracing::warn!(query_id = %query, code = problem.code, "not known whether this is a repeat");
                Known::Unanswered
            }
        }
    }

    /// Asks the registry; once more after reading it to its end when it lacks something.
    async fn fresh<T>(&self, ask: impl Fn(&Arc<Registry>) -> Result<T, Code>) -> Result<T, Code> {
        match ask(&self.registry.get()) {
            Err(code) if gates::may_be_news(code) => {
                match tokio::time::timeout(CATCH_UP_WITHIN, self.registry.catch_up()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "the registry may not be read to its end"),
                    Err(_) => tracing::warn!("the registry may not be read to its end"),
                }
                ask(&self.registry.get())
            }
            answer => answer,
        }
    }

    /// From now on asks the gates of these settings, which break no rule.
    ///
    /// # Errors
    /// Every rule that they break; what was in force stays.
    pub fn reload(&self, config: &Config) -> Result<(), Faults> {
        self.policy.replace(config.policy()?);
        Ok(())
    }

    /// Publishes the withdrawal of a consent. Works whether or not the query is known here or at the hub.
    ///
    /// # Errors
    /// `KAFKA_UNAVAILABLE`, `OUTCOME_UNKNOWN`, or a code for a signing key that does not count.
    pub async fn revoke(&self, query: QueryId) -> Result<(), Code> {
        let _permit = self.in_flight.acquire().await.map_err(|_| Code::INTERNAL)?;
        let at = now();
        self.fresh(|registry| gates::check_signer(self.signer(), registry, at)).await?;
        let reference = Reference { upstream: self.upstream.clone(), query };
        let record = record::revoked(&reference, self.publisher.topic(), &self.signing_key, at)?;
        let position = self.publisher.publish(record).await?;
        tracing::info!(query_id = %query, %position, "withdrawal submitted");
        Ok(())
    }

    /// The status of a query, as the hub knows it.
    ///
    /// # Errors
    /// `QUERY_NOT_FOUND`, `HUB_UNAVAILABLE`.
    pub async fn status(&self, query: QueryId) -> Result<QueryStatus, Problem> {
        self.hub.status(query).await
    }

    /// Presents an encoded view grant; returns the encoded report.
    ///
    /// # Errors
    /// The hub's problem document, or `HUB_UNAVAILABLE`.
    pub async fn report(&self, query: QueryId, grant: Bytes) -> Result<Bytes, Problem> {
        self.hub.report(query, grant).await
    }

    /// The banks of the registry, or those that take part in `region`.
    pub fn banks(&self, region: Option<&str>) -> Vec<Bank> {
        banks::list(&self.registry.get(), region)
    }

    fn signer(&self) -> (&UpstreamId, KeyId) {
        (&self.upstream, self.signing_key.id())
    }
}

/// Counts a submission; `refused` is the code it ended with.
pub(crate) fn observe(refused: Option<Code>, started: Instant) {
    let outcome = match refused {
        None => "accepted",
        Some(Code::INTERNAL) => "failed",
        Some(code) if code.status() >= 500 => "unavailable",
        Some(_) => "refused",
    };
    let code = refused.map_or("SUBMITTED", Code::as_str);
    metrics::counter!(metric_names::INTAKE, "outcome" => outcome, "code" => code).increment(1);
    metrics::histogram!(metric_names::INTAKE_SECONDS, "outcome" => outcome)
        .record(started.elapsed().as_secs_f64());
}

fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}
