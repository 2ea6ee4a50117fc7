//! One log event as one line of JSON, with the field names that operators' tools are set up for.

use std::fmt;

use schemas::ids::QueryId;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::trace::TraceId;

/// Span fields are kept as JSON objects, and merged into each event inside of the span.
pub(super) type SpanFields = JsonFields;

/// `{"ts":…,"level":…,"target":…,"msg":…,…}`: fields of spans from the outside in, then the event's
/// own, which win.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonLine;

impl<S> FormatEvent<S, SpanFields> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, SpanFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(kept) = span.extensions().get::<FormattedFields<SpanFields>>()
                && let Ok(Value::Object(kept)) = serde_json::from_str(kept)
            {
                fields.0.extend(kept);
            }
        }
        event.record(&mut fields);

        if let Some(trace) = fields.0.get("query_id").and_then(trace_id) {
            fields.0.entry("trace_id").or_insert(trace);
        }
        let mut ts = String::new();
        SystemTime.format_time(&mut Writer::new(&mut ts))?;
        let metadata = event.metadata();
        let mut line = Map::new();
        line.insert("ts".into(), ts.into());
        line.insert("level".into(), metadata.level().as_str().into());
        line.insert("target".into(), metadata.target().into());
        line.insert("msg".into(), fields.0.remove("message").unwrap_or_default());
        line.extend(fields.0);
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// A query's trace is named by its id.
fn trace_id(query_id: &Value) -> Option<Value> {
    let query: QueryId = query_id.as_str()?.parse().ok()?;
    Some(TraceId::from(&query).to_string().into())
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}
