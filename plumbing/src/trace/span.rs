//! A span while it lasts, and when it is over.

use std::borrow::Cow;
use std::time::SystemTime;

use schemas::ids::QueryId;

use super::context::{Context, SpanId, TraceId};
use super::placed::{Placed, placed};
use super::under_way::UnderWay;
use super::{recorder, semconv, under_way};

/// What a span tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Work of the process itself.
    Internal,
    /// A request that came.
    Server,
    /// A request to another system.
    Client,
    /// A record that is produced.
    Producer,
    /// A record that is consumed.
    Consumer,
}

/// All that may be said about a span besides its name and its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// The messaging system.
    System,
    /// What was done with the record: [`semconv::SEND`] or [`semconv::PROCESS`].
    OperationName(&'static str),
    /// The same as a kind of operation.
    OperationType(&'static str),
    /// The topic.
    Topic(String),
    /// The partition.
    Partition(i32),
    /// The offset.
    Offset(i64),
    /// The consumer group.
    Group(String),
    /// Why it failed, from a fixed list.
    Error(&'static str),
}

impl Attribute {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::System => semconv::MESSAGING_SYSTEM_NAME,
            Self::OperationName(_) => semconv::MESSAGING_OPERATION_NAME,
            Self::OperationType(_) => semconv::MESSAGING_OPERATION_TYPE,
            Self::Topic(_) => semconv::MESSAGING_DESTINATION_NAME,
            Self::Partition(_) => semconv::MESSAGING_DESTINATION_PARTITION_ID,
            Self::Offset(_) => semconv::KAFKA_OFFSET,
            Self::Group(_) => semconv::MESSAGING_CONSUMER_GROUP_NAME,
            Self::Error(_) => semconv::ERROR_TYPE,
        }
    }
}

/// A span that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Itself.
    pub context: Context,
    /// The span above it; `None` for a root.
    pub parent: Option<SpanId>,
    /// A span of another trace that it is there for.
    pub link: Option<Context>,
    /// What it tells of.
    pub kind: Kind,
    /// What was done.
    pub name: Cow<'static, str>,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// What else is said.
    pub attributes: Vec<Attribute>,
}

/// A span that lasts until it is dropped. One that is not recorded is nothing.
#[derive(Debug)]
#[must_use = "a span lasts until it is dropped"]
pub struct Span(Option<Box<Lasting>>);

#[derive(Debug)]
struct Lasting {
    span: Finished,
    // Ends with the span: what is produced after it is not its work.
    _under_way: UnderWay,
}

impl Span {
    /// The root of a query's trace: the request that began it. `cause` is the caller's own span; when it is of another
    /// trace, it is linked.
    pub fn root(name: &'static str, query: &QueryId, cause: Option<Context>) -> Self {
        let root = Context::root(query.into());
        let link = cause.filter(|cause| cause.trace != root.trace);
        Self::begin(root, None, link, root.trace, (Kind::Server, name.into()), Vec::new())
    }

    /// A span of a query's trace, below what is under way for it, else below its root.
    pub fn of(kind: Kind, name: &'static str, query: &QueryId) -> Self {
        let trace = query.into();
        Self::below(trace, under_way::of(trace), kind, name.into(), Vec::new())
    }

    /// Work that comes long after what it is about: a trace of its own, linked to the query's. What is produced meanwhile
    /// belongs to the query's trace, and is linked back.
    pub fn behind_a_wait(name: &'static str, query: &QueryId) -> Self {
        let about = TraceId::from(query);
        // Asked of the query's trace, so that both are there or none.
        if recorder(about).is_none() {
            return Self::none();
        }
        let context = Context { trace: TraceId::random(), span: SpanId::random(), sampled: true };
        let link = Context { sampled: true, ..Context::root(about) };
        Self::begin(context, None, Some(link), about, (Kind::Internal, name.into()), Vec::new())
    }

    /// A span of `trace`, caused by `cause`.
    pub(super) fn below(
        trace: TraceId,
        cause: Option<Context>,
        kind: Kind,
        name: Cow<'static, str>,
        attributes: Vec<Attribute>,
    ) -> Self {
        let Placed { parent, link } = placed(trace, cause);
        let context = Context { trace, span: SpanId::random(), sampled: true };
        Self::begin(context, Some(parent.span), link, trace, (kind, name), attributes)
    }

    fn begin(
        context: Context,
        parent: Option<SpanId>,
        link: Option<Context>,
        about: TraceId,
        (kind, name): (Kind, Cow<'static, str>),
        attributes: Vec<Attribute>,
    ) -> Self {
        if recorder(about).is_none() {
            return Self::none();
        }
        let context = Context { sampled: true, ..context };
        let began = SystemTime::now();
        let under_way = UnderWay::begin(about, context);
        let span = Finished { context, parent, link, kind, name, began, ended: began, attributes };
        Self(Some(Box::new(Lasting { span, _under_way: under_way })))
    }

    /// A span that is not recorded.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// How others name it; `None` when it is not recorded.
    pub fn context(&self) -> Option<Context> {
        self.0.as_ref().map(|lasting| lasting.span.context)
    }

    /// Says something more.
    pub fn say(&mut self, attribute: Attribute) {
        if let Some(lasting) = &mut self.0 {
            lasting.span.attributes.push(attribute);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(lasting) = self.0.take() else { return };
        let Lasting { mut span, _under_way } = *lasting;
        span.ended = SystemTime::now();
        // Only a span that is recorded gets here, and the recorder stays for the whole process.
        if let Some(recorder) = super::RECORDER.get() {
            recorder.sink.take(span);
        }
    }
}
