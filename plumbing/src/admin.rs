//! The listener for whoever runs the process: health, metrics, log level, stopping.
//!
//! | request | answer |
//! |---|---|
//! | `GET /health/live`, `/health/ready`, `/health/startup` | 200 or 503, and the checks as a JSON list |
//! | `GET /metrics` | Prometheus text |
//! | `GET /version` | service, version, librdkafka |
//! | `PUT /admin/log?level=debug` | the log filter from now on, in the form of `RUST_LOG` |
//! | `POST /admin/drain` | stops as SIGTERM does |
//!
//! It has neither TLS nor callers with names. What changes the process is therefore taken from the same machine only,
//! and never from a page in a browser there.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::health::{Checked, Health};
use crate::lifecycle::Lifecycle;
use crate::telemetry::{LogFilter, MetricsHandle};

/// The `[admin]` section of every service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("admin.listen: cannot listen on {address}")]
pub struct AdminError {
    address: SocketAddr,
    source: std::io::Error,
}

/// What the listener speaks for.
#[derive(Clone, Debug)]
pub struct Process {
    /// The service.
    pub service: &'static str,
    /// Its metrics.
    pub metrics: MetricsHandle,
    /// Its log filter.
    pub log: LogFilter,
}

#[derive(Clone)]
struct Shared {
    process: Process,
    health: Health,
    stop: CancellationToken,
}

/// Listens as long as the process lives, also while it drains.
///
/// # Errors
/// [`AdminError`].
pub async fn start(
    config: &AdminConfig,
    process: Process,
    lifecycle: &mut Lifecycle,
) -> Result<SocketAddr, AdminError> {
    let failed = |source| AdminError { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let shared = Shared { process, health: lifecycle.health(), stop: lifecycle.token() };
    let service = router(shared).into_make_service_with_connect_info::<SocketAddr>();
    lifecycle.attend(async move {
        if let Err(error) = axum::serve(listener, service).await {
            tracing::error!(%error, "admin listener ended");
        }
    });
    tracing::info!(listen = %address, "admin listener");
    Ok(address)
}

fn router(shared: Shared) -> Router {
    let changing = Router::new()
        .route("/admin/log", put(set_log))
        .route("/admin/drain", post(drain))
        .layer(from_fn(only_from_here));
    Router::new()
        .route("/health/live", get(async |State(shared): State<Shared>| checks(shared.health.look_live())))
        .route("/health/ready", get(async |State(shared): State<Shared>| checks(shared.health.look_ready())))
        .route("/health/startup", get(startup))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .merge(changing)
        .with_state(shared)
}

fn checks(checks: Vec<Checked>) -> (StatusCode, Json<Vec<Checked>>) {
    let well = checks.iter().all(|check| check.ok);
    (if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(checks))
}

async fn startup(State(shared): State<Shared>) -> StatusCode {
    if shared.health.is_started() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shared.process.metrics.render()).into_response()
}

#[derive(Serialize)]
struct Version {
    service: &'static str,
    version: &'static str,
    librdkafka: String,
}

async fn version(State(shared): State<Shared>) -> Json<Version> {
    Json(Version {
        service: shared.process.service,
        version: env!("CARGO_PKG_VERSION"),
        librdkafka: rdkafka::util::get_rdkafka_version().1,
    })
}

#[derive(Deserialize)]
struct Level {
    level: String,
}

async fn set_log(State(shared): State<Shared>, Query(Level { level }): Query<Level>) -> Response {
    match shared.process.log.set(&level) {
        Ok(()) => {
            tracing::info!(level, "log filter changed");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

async fn drain(State(shared): State<Shared>) -> StatusCode {
    tracing::info!("asked to stop");
    shared.stop.cancel();
    StatusCode::ACCEPTED
}

async fn only_from_here(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if !peer.ip().is_loopback() || request.headers().contains_key(header::ORIGIN) {
        return StatusCode::FORBIDDEN.into_response();
    }
    next.run(request).await
}
