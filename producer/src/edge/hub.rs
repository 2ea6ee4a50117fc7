//! The aggregator's own API, asked on behalf of the wallet's back end.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use plumbing::http::{self, TlsError};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Response};
use schemas::codes::Code;
use schemas::http::{PROTOBUF, Problem, QueryStatus};
use schemas::ids::{QueryId, UpstreamId};
use schemas::submission::MAX_BANKS;

use crate::config::HubConfig;

/// Largest report in bytes that is passed on: a segment and a registry entry (64 KiB at most) per bank, the coverage.
const MAX_REPORT: usize = (MAX_BANKS + 2) * 80 * 1024;
/// Largest status or problem document in bytes.
const MAX_DOCUMENT: usize = 64 * 1024;

/// A client of the hub.
pub(crate) struct Hub {
    client: Client,
    queries: String,
    timeout: Duration,
}

impl Hub {
    /// A client for the hub, asking for the queries of `upstream`.
    ///
    /// # Errors
    /// When the files of `hub.tls` cannot be used.
    pub(crate) fn new(config: &HubConfig, upstream: &UpstreamId) -> Result<Self, TlsError> {
        let queries = format!("{}/v1/upstreams/{upstream}/queries", config.url.trim_end_matches('/'));
        Ok(Self {
            client: http::client(config.tls.as_ref())?,
            queries,
            timeout: Duration::from_millis(config.timeout_ms),
        })
    }

    /// The status of a query.
    ///
    /// # Errors
    /// The hub's own problem document, or `HUB_UNAVAILABLE`.
    pub(crate) async fn status(&self, query: QueryId) -> Result<QueryStatus, Problem> {
        self.status_within(query, self.timeout).await
    }

    /// The status of a query, asked for at most `within`.
    pub(crate) async fn status_within(
        &self,
        query: QueryId,
        within: Duration,
    ) -> Result<QueryStatus, Problem> {
        let request = self.client.get(format!("{}/{query}", self.queries)).timeout(within);
        let document = answer(request, MAX_DOCUMENT).await?;
        serde_json::from_slice(&document).map_err(|error| unavailable(&error))
    }

    /// Presents a view grant; returns the encoded report.
    ///
    /// # Errors
    /// The hub's own problem document, or `HUB_UNAVAILABLE`.
    pub(crate) async fn report(&self, query: QueryId, grant: Bytes) -> Result<Bytes, Problem> {
        let request = self.client.post(format!("{}/{query}/report", self.queries));
        let request = request.timeout(self.timeout).header(CONTENT_TYPE, PROTOBUF).body(grant);
        answer(request, MAX_REPORT).await
    }
}

async fn answer(request: RequestBuilder, max: usize) -> Result<Bytes, Problem> {
    let response = request.send().await.map_err(|error| unavailable(&error.without_url()))?;
    let status = response.status();
    if status.is_success() {
        return body(response, max).await;
    }
    let document = body(response, MAX_DOCUMENT).await?;
    let problem: Problem = serde_json::from_slice(&document).map_err(|error| unavailable(&error))?;
    // Something between here and the hub may answer too; its word is not the hub's.
    if problem.status != status.as_u16() || status.as_u16() < 400 {
        return Err(unavailable(&"the problem document has another status than its answer"));
    }
    Err(problem)
}

async fn body(mut response: Response, max: usize) -> Result<Bytes, Problem> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(&error.without_url()))? {
        if body.len() + chunk.len() > max {
            return Err(unavailable(&"the answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn unavailable(error: &dyn std::fmt::Display) -> Problem {
    tracing::warn!(%error, "the hub did not answer");
    Problem::of(Code::HUB_UNAVAILABLE)
}
