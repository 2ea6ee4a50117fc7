//! Traces: one per query, from its submission to its SMS.
//!
//! ```text
//!  submit query ─ send query ─▶ process query ─ send request ─▶ process request ─ send reply ─▶ process reply
//!       │ root span                                                                         (notice) ─▶ process notice ─ send sms
//!       └──────── links ◀── ask again, close window: traces of their own, behind a wait
//! ```
//!
//! The trace id of a query **is** its query id, and the id of its root span is the last half of it. Nothing has to be
//! remembered for hours to find a trace again, every part decides alike what is sampled, and no header can put a span
//! into another query's trace: what a `traceparent` of another trace caused is linked to it, and nothing more.
//!
//! | file | role |
//! |---|---|
//! | `context.rs` | trace ids, span ids, `traceparent`, strictly |
//! | `placed.rs` | pure: under which parent, with which link |
//! | `span.rs` | a span while it lasts, and when it is over |
//! | `under_way.rs` | which span a query's work is under at the moment |
//! | `records.rs` | spans of records that are produced and consumed |
//! | `semconv.rs` | every name |
//! | `config.rs` | the `[telemetry]` section |
//! | `otlp.rs` | the way out, with the feature `otlp` |
//!
//! What must never happen here: contents, persons or phones in a span. An attribute is one of
//! [`Attribute`], and there is no other way to set one.

mod config;
mod context;
#[cfg(feature = "otlp")]
mod otlp;
mod placed;
mod records;
pub mod semconv;
mod span;
mod under_way;

use std::sync::OnceLock;

pub use self::config::{Exporting, TelemetryConfig, TraceError, export};
pub use self::context::{Context, SpanId, TRACEPARENT, TraceId};
pub(crate) use self::records::{Consumed, produced};
pub use self::span::{Attribute, Finished, Kind, Span};

/// Takes spans that are over.
pub(crate) trait Sink: Send + Sync {
    /// Takes one; it must not wait.
    fn take(&self, span: Finished);
}

/// What of the process is recorded, and where it goes.
struct Recorder {
    ratio: config::Ratio,
    sink: Box<dyn Sink>,
}

static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// The recorder, if this trace is sampled.
fn recorder(trace: TraceId) -> Option<&'static Recorder> {
    RECORDER.get().filter(|recorder| recorder.ratio.takes(trace))
}
