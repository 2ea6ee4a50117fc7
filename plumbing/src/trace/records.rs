//! Spans of records. A record's key names its query, and so its trace; one with another key has none.

use super::context::{Context, TRACEPARENT, TraceId};
use super::span::{Attribute, Kind, Span};
use super::{recorder, semconv, under_way};
use crate::kafka::{OutRecord, Record, Verdict};

/// Begins the span of a record that is produced, and puts its name into the record's headers. A process that records nothing
/// names the root, so that the trace goes on behind it.
pub(crate) fn produced(record: &mut OutRecord) -> Span {
    let named = record.headers.iter().any(|(name, _)| name == TRACEPARENT);
    let trace = record.key.as_deref().and_then(TraceId::of_key);
    // A dead letter is the record as it was.
    let Some(trace) = trace.filter(|_| !named) else { return Span::none() };
    let attributes = || {
        vec![
            Attribute::System,
            Attribute::OperationName(semconv::SEND),
            Attribute::OperationType(semconv::SEND),
            Attribute::Topic(record.topic.clone()),
        ]
    };
    let span = match recorder(trace) {
        None => Span::none(),
        Some(_) => {
            let name = format!("{} {}", semconv::SEND, record.topic);
            Span::below(trace, under_way::of(trace), Kind::Producer, name.into(), attributes())
        }
    };
    let context = span.context().unwrap_or_else(|| Context::root(trace));
    record.headers.push((TRACEPARENT.to_owned(), context.traceparent().into_bytes()));
    span
}

/// The spans of a batch that is being handled; one for each of its records, in their order.
#[derive(Debug)]
pub(crate) struct Consumed(Vec<Span>);

impl Consumed {
    /// Begins them.
    pub(crate) fn begin(batch: &[Record], group: &str) -> Self {
        Self(batch.iter().map(|record| consumed(record, group)).collect())
    }

    /// Ends them with what became of their records.
    pub(crate) fn end(self, verdicts: &[Verdict]) {
        for (mut span, verdict) in self.0.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Done => {}
                Verdict::Retry { code, .. } | Verdict::DeadLetter { code, .. } => {
                    span.say(Attribute::Error(code));
                }
            }
        }
    }
}

fn consumed(record: &Record, group: &str) -> Span {
    let trace = record.key.as_deref().and_then(TraceId::of_key);
    let Some(trace) = trace.filter(|trace| recorder(*trace).is_some()) else { return Span::none() };
    let cause = record.header(TRACEPARENT).and_then(|parent| Context::parse(parent));
    let topic = record.position.topic.to_string();
    let attributes = vec![
        Attribute::System,
        Attribute::OperationName(semconv::PROCESS),
        Attribute::OperationType(semconv::PROCESS),
        Attribute::Topic(topic.clone()),
        Attribute::Partition(record.position.partition),
        Attribute::Offset(record.position.offset),
        Attribute::Group(group.to_owned()),
    ];
    Span::below(trace, cause, Kind::Consumer, format!("{} {topic}", semconv::PROCESS).into(), attributes)
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
