//! Where a span of a query's trace goes: the one rule for records that come in and records that go out.

use super::context::{Context, TraceId};

/// The place of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// The span above it.
    pub(super) parent: Context,
    /// The span of another trace that it is there for.
    pub(super) link: Option<Context>,
}

/// A span of `trace` goes below what caused it when that is of the same trace, and below the root otherwise, with a link
/// to what caused it. So a header can say what it likes: nothing gets into the trace of another query.
pub(super) fn placed(trace: TraceId, cause: Option<Context>) -> Placed {
    match cause {
        Some(cause) if cause.trace == trace => Placed { parent: cause, link: None },
        link => Placed { parent: Context::root(trace), link },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::context::SpanId;

    #[test]
    fn a_cause_of_the_same_trace_is_the_parent_and_any_other_one_a_link() {
        let trace = TraceId([7; 16]);
        let within = Context { trace, span: SpanId([1; 8]), sampled: true };
        let without = Context { trace: TraceId([9; 16]), ..within };
        let root = Context::root(trace);
        assert_eq!(placed(trace, None), Placed { parent: root, link: None });
        assert_eq!(placed(trace, Some(within)), Placed { parent: within, link: None });
        assert_eq!(placed(trace, Some(without)), Placed { parent: root, link: Some(without) });
    }
}
