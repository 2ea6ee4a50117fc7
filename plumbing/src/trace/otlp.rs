//! The way out: OTLP over HTTP, protobuf, with the HTTP client that everything here uses.
//!
//! The SDK's own batch processor keeps spans in a bounded queue on a thread of its own and drops what it has no room for.
//! Nothing here ever waits for a collector.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};
use reqwest::Client;
use tokio::runtime::Handle;

use super::config::TraceError;
use super::context::Context;
use super::span::{Attribute, Finished, Kind};
use super::{Sink, semconv};
use crate::metric_names;

/// How long a span waits for others.
const DELAY: Duration = Duration::from_secs(1);
/// How long one export may take.
const EXPORT_WITHIN: Duration = Duration::from_secs(10);
/// How long the end of the process waits for the last spans.
const END_WITHIN: Duration = Duration::from_secs(3);

/// Exports spans. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Exporter {
    processor: Arc<BatchSpanProcessor>,
    scope: InstrumentationScope,
}

impl Exporter {
    /// On the current tokio runtime.
    pub(super) fn new(endpoint: &str, client: Client, service: &'static str) -> Result<Self, TraceError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Http { client, runtime: Handle::current() })
            .with_endpoint(endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_WITHIN)
            .build()
            .map_err(|error| TraceError::Exporter(error.to_string()))?;
        let config = BatchConfigBuilder::default().with_scheduled_delay(DELAY).build();
        let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let version = env!("CARGO_PKG_VERSION");
        let attributes =
            [KeyValue::new(semconv::SERVICE_NAME, service), KeyValue::new(semconv::SERVICE_VERSION, version)];
        processor.set_resource(&Resource::builder_empty().with_attributes(attributes).build());
        for outcome in ["exported", "failed"] {
            metrics::counter!(metric_names::TRACE_EXPORTS, "outcome" => outcome).increment(0);
        }
        let scope = InstrumentationScope::builder("cardquery")
            .with_version(version)
            .with_schema_url(semconv::SCHEMA_URL)
            .build();
        Ok(Self { processor: Arc::new(processor), scope })
    }

    pub(super) async fn end(self) {
        // It blocks until its thread has exported, and that needs this runtime.
        let ended = tokio::task::spawn_blocking(move || self.processor.shutdown_with_timeout(END_WITHIN));
        if let Ok(Err(error)) = ended.await {
            tracing::warn!(%error, "the last spans are not exported");
        }
    }
}

impl Sink for Exporter {
    fn take(&self, span: Finished) {
        self.processor.on_end(data(span, self.scope.clone()));
    }
}

fn data(span: Finished, scope: InstrumentationScope) -> SpanData {
    let failed = span.attributes.iter().find_map(|attribute| match attribute {
        Attribute::Error(code) => Some(Status::error(*code)),
        Attribute::System
        | Attribute::OperationName(_)
        | Attribute::OperationType(_)
        | Attribute::Topic(_)
        | Attribute::Partition(_)
        | Attribute::Offset(_)
        | Attribute::Group(_) => None,
    });
    let mut links = SpanLinks::default();
    links.links.extend(span.link.as_ref().map(|link| Link::with_context(remote(*link))));
    let parent = span.parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.0));
    SpanData {
        span_context: remote(span.context),
        parent_span_id: parent,
        parent_span_is_remote: span.kind == Kind::Consumer,
        span_kind: match span.kind {
            Kind::Internal => SpanKind::Internal,
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
            Kind::Producer => SpanKind::Producer,
            Kind::Consumer => SpanKind::Consumer,
        },
        name: span.name,
        start_time: span.began,
        end_time: span.ended,
        attributes: span.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status: failed.unwrap_or_default(),
        instrumentation_scope: scope,
    }
}

fn attribute(attribute: Attribute) -> KeyValue {
    let name = attribute.name();
    let value: Value = match attribute {
        Attribute::System => semconv::KAFKA.into(),
        Attribute::OperationName(word) | Attribute::OperationType(word) | Attribute::Error(word) => {
            word.into()
        }
        Attribute::Topic(text) | Attribute::Group(text) => text.into(),
        // A text by the convention: other systems have partitions with names.
        Attribute::Partition(number) => number.to_string().into(),
        Attribute::Offset(offset) => offset.into(),
    };
    KeyValue::new(name, value)
}

fn remote(context: Context) -> SpanContext {
    let flags = if context.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, span) = (TraceId::from_bytes(context.trace.0), SpanId::from_bytes(context.span.0));
    SpanContext::new(trace, span, flags, true, TraceState::default())
}

/// The processor has a thread without a runtime; requests run on the process's own.
struct Http {
    client: Client,
    runtime: Handle,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl HttpClient for Http {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> BoxFuture<'b, Result<Response<Bytes>, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        let (client, runtime) = (self.client.clone(), self.runtime.clone());
        async move {
            let result = runtime.spawn(exchange(client, request)).await?;
            let taken = result.as_ref().is_ok_and(|response| response.status().is_success());
            let outcome = if taken { "exported" } else { "failed" };
            metrics::counter!(metric_names::TRACE_EXPORTS, "outcome" => outcome).increment(1);
            result
        }
        .boxed()
    }
}

async fn exchange(client: Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let answer = client.execute(request.try_into()?).await?;
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        headers.clone_from(answer.headers());
    }
    Ok(response.body(answer.bytes().await?)?)
}
