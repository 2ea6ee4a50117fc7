//! Logs and metrics.
//!
//! Logs go to standard error: one line of JSON each when nobody watches, a readable form on a
//! terminal. Metrics are kept by a recorder that only renders; who serves them is the service's
//! choice.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::metric_names;

mod json_line;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStyle {
    /// One line of JSON: `ts`, `level`, `target`, `msg`, then the fields of the event.
    Json,
    /// For people, with colours if wanted.
    Human {
        /// Whether to colour.
        ansi: bool,
    },
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` is not a filter.
    #[error("RUST_LOG: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody else set up logs in this process already.
    #[error("logs are set up already")]
    Logs(#[from] tracing_subscriber::util::TryInitError),
    /// Somebody else set up metrics in this process already.
    #[error("metrics are set up already")]
    Metrics(String),
}

/// Sets up logs to standard error for the whole process: JSON unless it is a terminal, filtered by
/// `RUST_LOG`, or by `default` (`info` for a service) without it.
pub fn init_logs(default: &str) -> Result<LogFilter, TelemetryError> {
    let style = if std::io::stderr().is_terminal() {
        LogStyle::Human { ansi: std::env::var_os("NO_COLOR").is_none() }
    } else {
        LogStyle::Json
    };
    init_logs_to(std::io::stderr, style, default)
}

/// Sets up logs to `writer` for the whole process.
pub fn init_logs_to<W>(writer: W, style: LogStyle, default: &str) -> Result<LogFilter, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(filter)?,
        _ => EnvFilter::try_new(default)?,
    };
    let (filter, handle) = reload::Layer::new(filter);
    // `try_init` also takes over the `log` crate, which rdkafka's own few lines use.
    layered(writer, style, filter).try_init()?;
    Ok(LogFilter(handle))
}

/// The filter of the process's logs.
#[derive(Clone, Debug)]
pub struct LogFilter(reload::Handle<EnvFilter, Registry>);

/// Why the filter stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum LogFilterError {
    /// Not a filter.
    #[error(transparent)]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The logs are gone.
    #[error(transparent)]
    Gone(#[from] reload::Error),
}

impl LogFilter {
    /// Replaces the filter; `filter` has the form of `RUST_LOG`.
    ///
    /// # Errors
    /// [`LogFilterError`].
    pub fn set(&self, filter: &str) -> Result<(), LogFilterError> {
        let filter = EnvFilter::builder().parse(filter)?;
        Ok(self.0.reload(filter)?)
    }
}

/// The subscriber itself, for a test that sets it for one thread.
pub fn logs_to<W>(writer: W, style: LogStyle, filter: EnvFilter) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    layered(writer, style, filter)
}

fn layered<W, F>(writer: W, style: LogStyle, filter: F) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    F: Layer<Registry> + Send + Sync,
{
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match style {
        LogStyle::Json => Box::new(
            registry.with(layer.fmt_fields(json_line::SpanFields::new()).event_format(json_line::JsonLine)),
        ),
        LogStyle::Human { ansi } => Box::new(registry.with(layer.with_ansi(ansi))),
    }
}

/// The process's metrics.
#[derive(Clone)]
pub struct MetricsHandle(PrometheusHandle);

/// Says in the metrics which build of which service this is.
pub fn say_build(service: &'static str) {
    let version = env!("CARGO_PKG_VERSION");
    metrics::gauge!(metric_names::BUILD_INFO, "role" => service, "version" => version).set(1);
}

/// Upper bounds of every histogram of seconds. A bank's reply takes milliseconds or the better part of a day. Without
/// buckets each process would tell quantiles of its own, which nobody can put together.
const SECONDS: [f64; 19] = [
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 10_800.0, 21_600.0,
    43_200.0, 64_800.0, 86_400.0,
];

/// Sets up metrics for the whole process. Nothing listens: call [`MetricsHandle::render`] to serve
/// them.
pub fn install_metrics() -> Result<MetricsHandle, TelemetryError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map(MetricsHandle)
        .map_err(|error| TelemetryError::Metrics(error.to_string()))
}

impl MetricsHandle {
    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        // Histograms collect samples until someone drains them, and no listener does it here.
        self.0.run_upkeep();
        self.0.render()
    }
}

impl std::fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetricsHandle").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
