//! Which span the work for a query is under at the moment, so that a record that is produced for it, in whatever task, goes
//! below that.
//!
//! One entry per query that is being handled, gone with its span. Several parts of a process may handle the same query at
//! once; then records go below the one that began last, and the trace stays whole.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::context::{Context, TraceId};

static SPANS: LazyLock<Mutex<HashMap<TraceId, Vec<Context>>>> = LazyLock::new(Mutex::default);

fn spans() -> MutexGuard<'static, HashMap<TraceId, Vec<Context>>> {
    SPANS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The span that is under way for `trace`.
pub(super) fn of(trace: TraceId) -> Option<Context> {
    spans().get(&trace)?.last().copied()
}

/// As long as this lives, work for a trace is under a span.
#[derive(Debug)]
pub(super) struct UnderWay {
    trace: TraceId,
    context: Context,
}

impl UnderWay {
    pub(super) fn begin(trace: TraceId, context: Context) -> Self {
        spans().entry(trace).or_default().push(context);
        Self { trace, context }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut spans = spans();
        let Some(lasting) = spans.get_mut(&self.trace) else { return };
        lasting.retain(|context| *context != self.context);
        if lasting.is_empty() {
            spans.remove(&self.trace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::context::SpanId;

    #[test]
    fn spans_may_end_in_any_order_and_leave_nothing_behind() {
        let trace = TraceId([0xab; 16]);
        let context = |span| Context { trace, span: SpanId([span; 8]), sampled: true };
        let first = UnderWay::begin(trace, context(1));
        let second = UnderWay::begin(trace, context(2));
        assert_eq!(of(trace), Some(context(2)));
        drop(first);
        assert_eq!(of(trace), Some(context(2)));
        drop(second);
        assert!(!spans().contains_key(&trace));
    }
}
