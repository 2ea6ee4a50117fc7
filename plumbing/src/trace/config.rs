//! The `[telemetry]` section of every service.

use std::net::IpAddr;

use reqwest::Url;
use serde::Deserialize;

use super::context::TraceId;
use crate::http::{MutualTls, TlsError};

/// Traces: where they go, and how many.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Where spans are posted to (OTLP over HTTP, protobuf); nowhere when it is left out.
    pub endpoint: Option<String>,
    /// The share of queries whose spans are recorded, 0 to 1.
    pub ratio: f64,
    /// Who this side is, and whose certificates it believes.
    pub tls: Option<MutualTls>,
}

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The files of `telemetry.tls` cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The exporter cannot be made.
    #[error("spans cannot be exported: {0}")]
    Exporter(String),
}

impl TelemetryConfig {
    /// What is wrong with it.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if Ratio::new(self.ratio).is_none() {
            faults.push("telemetry.ratio: must be between 0 and 1".to_owned());
        }
        let Some(endpoint) = &self.endpoint else { return faults };
        if cfg!(not(feature = "otlp")) {
            faults.push("telemetry.endpoint: this program was built without the feature `otlp`".to_owned());
        }
        let reaches = Url::parse(endpoint).is_ok_and(|url| match &self.tls {
            Some(_) => url.scheme() == "https",
            None => url.scheme() == "http" && is_loopback(&url),
        });
        if !reaches {
            faults.push(
                "telemetry.endpoint: must be http:// with a loopback address, or https:// with [telemetry.tls]"
                    .to_owned(),
            );
        }
        faults
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Which traces are recorded. Every process decides alike, by the trace id alone: nobody can ask for more by a header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio {
    /// Traces that fall below it are left out.
    threshold: u64,
}

/// What a share is counted in.
const WHOLE: u64 = 1 << 56;

impl Ratio {
    #[cfg(test)]
    pub(super) const ALL: Self = Self { threshold: 0 };

    pub(super) fn new(ratio: f64) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "between 0 and 2^56, and a share need not be exact"
        )]
        let threshold = |ratio: f64| ((1.0 - ratio) * WHOLE as f64) as u64;
        (0.0..=1.0).contains(&ratio).then(|| Self { threshold: threshold(ratio) })
    }

    pub(super) fn takes(self, trace: TraceId) -> bool {
        trace.spread() >= self.threshold
    }
}

/// Keeps the exporter until the end of the process.
#[derive(Debug, Default)]
pub struct Exporting {
    #[cfg(feature = "otlp")]
    exporter: Option<super::otlp::Exporter>,
}

/// Records spans of the whole process from now on, and exports them, if the settings say where to.
///
/// # Errors
/// [`TraceError`].
#[cfg_attr(not(feature = "otlp"), expect(clippy::unnecessary_wraps, reason = "nothing is exported"))]
pub fn export(config: &TelemetryConfig, service: &'static str) -> Result<Exporting, TraceError> {
    #[cfg(feature = "otlp")]
    if let (Some(endpoint), Some(ratio)) = (&config.endpoint, Ratio::new(config.ratio)) {
        let client = crate::http::client(config.tls.as_ref())?;
        let exporter = super::otlp::Exporter::new(endpoint, client, service)?;
        let sink = Box::new(exporter.clone());
        // Only the first one counts; a process has one.
        let _ = super::RECORDER.set(super::Recorder { ratio, sink });
        return Ok(Exporting { exporter: Some(exporter) });
    }
    let _ = (config, service);
    Ok(Exporting::default())
}

impl Exporting {
    /// Exports what is over by now, for a few seconds at most.
    pub async fn end(self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = self.exporter {
            exporter.end().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::ids::QueryId;

    use super::*;

    #[test]
    fn about_the_wanted_share_of_queries_is_recorded() {
        let queries: Vec<TraceId> = (0..4_000).map(|_| TraceId::from(&QueryId::generate())).collect();
        let taken = |ratio: f64| {
            let ratio = Ratio::new(ratio).expect("a share");
            queries.iter().filter(|trace| ratio.takes(**trace)).count()
        };
        assert_eq!((taken(0.0), taken(1.0)), (0, 4_000));
        let quarter = taken(0.25);
        assert!((800..1_200).contains(&quarter), "{quarter}");
        assert_eq!((Ratio::new(1.1), Ratio::new(-0.1), Ratio::new(f64::NAN)), (None, None, None));
    }

    #[test]
    fn spans_go_to_this_machine_or_over_tls_with_names() {
        let config =
            |endpoint: &str| TelemetryConfig { endpoint: Some(endpoint.into()), ratio: 1.0, tls: None };
        for refused in
            ["https://collector.example/v1/traces", "http://collector.example/v1/traces", "nowhere"]
        {
            let faults = config(refused).faults();
            assert!(faults.iter().any(|fault| fault.contains("loopback")), "{refused}: {faults:?}");
        }
        let faults = config("http://[::1]:4318/v1/traces").faults();
        assert!(!faults.iter().any(|fault| fault.contains("loopback")), "{faults:?}");
        let none = TelemetryConfig { endpoint: None, ratio: 7.0, tls: None };
        assert_eq!(none.faults(), ["telemetry.ratio: must be between 0 and 1"]);
    }
}
