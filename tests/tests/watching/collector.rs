//! Who spans are told to: OTLP over HTTP, kept in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::http::serve;

const POLL: Duration = Duration::from_millis(100);

/// A span, and the service that told of it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) service: String,
    pub(crate) span: Span,
}

/// Listens until the test ends.
#[derive(Clone)]
pub(crate) struct Collector {
    told: Arc<Mutex<Vec<Told>>>,
    pub(crate) address: SocketAddr,
}

impl Collector {
    pub(crate) async fn listen() -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&told);
        let take = move |body: &[u8]| {
            let request = ExportTraceServiceRequest::decode(body).expect("an export of spans");
            keep.lock().unwrap_or_else(PoisonError::into_inner).extend(read(request));
            200
        };
        let address = serve(take).await;
        Self { told, address }
    }

    /// Everything that was told.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until what was told is enough.
    pub(crate) async fn hears(&self, within: Duration, enough: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        let deadline = Instant::now() + within;
        loop {
            let told = self.told();
            if enough(&told) {
                return told;
            }
            let names: Vec<&str> = told.iter().map(|told| told.span.name.as_str()).collect();
            assert!(Instant::now() < deadline, "after {within:?} there are only {names:#?}");
            tokio::time::sleep(POLL).await;
        }
    }
}

fn read(request: ExportTraceServiceRequest) -> Vec<Told> {
    let mut told = Vec::new();
    for resource in request.resource_spans {
        let attributes = texts(&resource.resource.expect("a resource").attributes);
        let service = attributes.get("service.name").expect("every service has a name").clone();
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        told.extend(spans.map(|span| Told { service: service.clone(), span }));
    }
    told
}

/// Attributes as text.
pub(crate) fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        match value {
            Some(any_value::Value::StringValue(text)) => text.clone(),
            Some(any_value::Value::IntValue(number)) => number.to_string(),
            other => panic!("{}: {other:?}", attribute.key),
        }
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}
