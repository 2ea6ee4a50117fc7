//! Intake for a wallet's back end: checks a query, seals the identity to each bank, signs, and publishes one record.
//! Status and report are forwarded from the hub. There is no database: what was published is Kafka's to keep.
//!
//! The query id, a UUIDv7 that the caller chooses, is the idempotency key. What a caller does with the answers to
//! `POST /v1/queries`:
//!
//! | answer | means | next |
//! |---|---|---|
//! | 202 | Kafka has the query | follow it |
//! | 503 `OUTCOME_UNKNOWN` | Kafka may have it | send the same body again, with the same id |
//! | 409 `DUPLICATE_QUERY` | the hub has this query, with this content; after `OUTCOME_UNKNOWN`: success | follow it |
//! | 409 `ID_REUSED` | the hub has another query under this id | a fresh id |
//! | 503 `KAFKA_UNAVAILABLE` | nothing was published | send the same body again after `Retry-After` |
//! | any other | nothing was published | correct it |
//!
//! A 202 may also come for a repeat that the hub has not registered yet; the hub takes the first record only.
//!
//! [`Intake`] is the service without HTTP; [`wallet`] is what a wallet does around a query.

mod config;
mod domain;
mod edge;
mod handler;
pub mod metric_names;
mod texts;
pub mod wallet;

use std::net::SocketAddr;
use std::sync::Arc;

use plumbing::http::{HttpListener, MutualTls};
use plumbing::lifecycle::Lifecycle;

pub use config::{Config, HttpConfig, HubConfig, PolicyConfig, PublishConfig, Secrets};
pub use domain::banks::{Bank, Names};
pub use domain::identity::{Identity, IdentityError, MAX_DOCUMENT_NUMBER, MAX_NAME};
pub use domain::request::{Consent, SubmitRequest};
pub use handler::{Intake, StartError, Submitted};
pub use texts::{ConsentText, consent_texts};

/// The OpenAPI document of the interface for the wallet's back end, as JSON.
pub fn openapi_document() -> &'static str {
    edge::http::document()
}

/// The service, ready to be used. It ends with its lifecycle.
#[derive(Clone)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The same service without HTTP.
    pub intake: Arc<Intake>,
}

/// Starts the service; returns when it listens and has read the registry to its end.
///
/// # Errors
/// What stands in the way; nothing listens then.
pub async fn start(
    config: Config,
    secrets: Secrets,
    lifecycle: &mut Lifecycle,
) -> Result<Running, StartError> {
    let intake = Intake::start(&config, secrets, lifecycle).await?;
    let address = config.http.listen;
    let listen = |source| StartError::Listen { address, source };
    let tls = config.http.tls.as_ref().map(MutualTls::server).transpose()?;
    let authenticated = tls.is_some();
    let listener = HttpListener::bind(address, tls).await.map_err(listen)?;
    let addr = listener.local_addr().map_err(listen)?;
    lifecycle.spawn(
        "producer http",
        edge::http::serve(listener, Arc::clone(&intake), config.http, lifecycle.token()),
    );
    tracing::info!(%addr, upstream = %config.upstream, authenticated, "listening");
    Ok(Running { addr, intake })
}
