use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing_subscriber::EnvFilter;

use super::*;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(style: LogStyle, filter: &str, talk: impl FnOnce()) -> String {
    let sink = Sink::default();
    let writer = sink.clone();
    let logs = logs_to(move || writer.clone(), style, EnvFilter::new(filter));
    tracing::subscriber::with_default(logs, talk);
    let bytes = sink.0.lock().expect("not poisoned").clone();
    String::from_utf8(bytes).expect("text")
}

#[test]
fn a_json_line_has_the_published_names_and_the_fields_of_its_spans() {
    let text = logged(LogStyle::Json, "info", || {
        let _span = tracing::info_span!("work", query_id = "q-1", code = "OUTER").entered();
        tracing::warn!(target: "things", partition = 3, code = "INNER", "two\nlines");
    });
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    let line: Value = serde_json::from_str(&text).expect("JSON");
    assert!(line["ts"].as_str().is_some_and(|ts| ts.ends_with('Z')));
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["target"], "things");
    assert_eq!(line["msg"], "two\nlines");
    assert_eq!(line["query_id"], "q-1");
    assert_eq!(line["partition"], 3);
    assert_eq!(line["code"], "INNER");
}

#[test]
fn a_line_about_a_query_names_its_trace() {
    let query = "0199d3c0-a1b2-7cde-8f00-112233445566";
    let text = logged(LogStyle::Json, "info", || {
        let _span = tracing::info_span!("record", query_id = %query).entered();
        tracing::info!("inside");
    });
    let line: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(line["query_id"], query);
    assert_eq!(line["trace_id"], "0199d3c0a1b27cde8f00112233445566");
}

#[test]
fn the_filter_decides_what_is_logged() {
    let text = logged(LogStyle::Human { ansi: false }, "warn", || {
        tracing::info!("quiet");
        tracing::warn!("loud");
    });
    assert!(!text.contains("quiet"), "{text}");
    assert!(text.contains("loud"), "{text}");
}

#[test]
fn rendered_metrics_contain_what_was_counted() {
    let handle = install_metrics().expect("first in this process");
    metrics::counter!(crate::metric_names::COMMIT_ERRORS).increment(2);
    metrics::histogram!("cardquery_things_seconds").record(7_000.0);
    let text = handle.render();
    assert!(text.contains("cardquery_commit_errors_total 2"), "{text}");
    assert!(text.contains("cardquery_things_seconds_bucket{le=\"3600\"} 0"), "{text}");
    assert!(text.contains("cardquery_things_seconds_bucket{le=\"10800\"} 1"), "{text}");
    assert!(matches!(install_metrics(), Err(TelemetryError::Metrics(_))));
}
