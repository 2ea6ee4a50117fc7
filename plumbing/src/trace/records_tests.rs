use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use schemas::ids::QueryId;

use super::*;
use crate::kafka::Position;
use crate::trace::config::Ratio;
use crate::trace::{Finished, RECORDER, Recorder, Sink};

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Finished>>>);

impl Sink for Kept {
    fn take(&self, span: Finished) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(span);
    }
}

/// One recorder for the whole process, as in a service; each test looks at the traces of its own queries.
fn kept() -> &'static Kept {
    static KEPT: std::sync::LazyLock<Kept> = std::sync::LazyLock::new(|| {
        let kept = Kept::default();
        let sink = Box::new(kept.clone());
        assert!(RECORDER.set(Recorder { ratio: Ratio::ALL, sink }).is_ok(), "nobody else records here");
        kept
    });
    &KEPT
}

fn finished(about: TraceId) -> Vec<Finished> {
    let kept = kept().0.lock().unwrap_or_else(PoisonError::into_inner);
    let is_about = |span: &&Finished| {
        span.context.trace == about || span.link.as_ref().is_some_and(|link| link.trace == about)
    };
    kept.iter().filter(is_about).cloned().collect()
}

fn out(query: &QueryId) -> OutRecord {
    OutRecord {
        topic: "things.v1".into(),
        key: Some(query.to_string().into_bytes()),
        value: b"secret".to_vec(),
        headers: Vec::new(),
    }
}

/// The same record, as it is read.
fn read(record: &OutRecord) -> Record {
    Record {
        position: Position { topic: record.topic.as_str().into(), partition: 3, offset: 42 },
        append_time_ms: 0,
        key: record.key.clone().map(Bytes::from),
        value: record.value.clone().into(),
        headers: record.headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect(),
    }
}

fn header(record: &OutRecord) -> Option<Context> {
    Context::parse(read(record).header(TRACEPARENT)?)
}

#[test]
fn a_query_is_one_trace_through_any_number_of_records() {
    kept();
    let query = QueryId::generate();
    let root = Span::root("submit", &query, None);
    let mut first = out(&query);
    drop(produced(&mut first));
    drop(root);

    let handling = Consumed::begin(&[read(&first)], "group");
    let mut second = out(&query);
    drop(produced(&mut second));
    handling.end(&[Verdict::Done]);

    let spans = finished((&query).into());
    let [sent, root, sent_on, processed] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(root.parent, None);
    assert_eq!(root.context.span, Context::root((&query).into()).span, "everybody can name it");
    assert_eq!(sent.parent, Some(root.context.span));
    assert_eq!(processed.parent, Some(sent.context.span));
    assert_eq!(sent_on.parent, Some(processed.context.span));
    assert_eq!(header(&second).as_ref(), Some(&sent_on.context));
    assert!(spans.iter().all(|span| span.link.is_none()));
}

#[test]
fn a_header_of_another_trace_is_a_link_and_a_broken_one_is_nothing() {
    kept();
    for (header, linked) in [
        ("00-11111111111111111111111111111111-2222222222222222-01", true),
        ("00-11111111111111111111111111111111-2222222222222222-zz", false),
    ] {
        let query = QueryId::generate();
        let mut record = read(&out(&query));
        record.headers.push((TRACEPARENT.to_owned(), header.into()));
        Consumed::begin(&[record], "group").end(&[Verdict::Done]);
        let [span] = &finished((&query).into())[..] else { panic!("one span of the query's own trace") };
        assert_eq!(span.parent, Some(Context::root((&query).into()).span));
        assert_eq!(span.link.is_some(), linked);
    }
}

#[test]
fn work_behind_a_wait_is_a_trace_of_its_own_that_is_linked_both_ways() {
    kept();
    let query = QueryId::generate();
    let waited = Span::behind_a_wait("ask again", &query);
    let mut record = out(&query);
    drop(produced(&mut record));
    drop(waited);
    let [sent, waited] = &finished((&query).into())[..] else { panic!("two spans") };
    assert_ne!(waited.context.trace, sent.context.trace);
    assert_eq!(waited.link.as_ref().map(|link| link.trace), Some((&query).into()));
    assert_eq!(sent.context.trace, (&query).into());
    assert_eq!(sent.link.as_ref(), Some(&waited.context));
}

#[test]
fn a_record_that_failed_says_why_by_its_code() {
    kept();
    let query = QueryId::generate();
    let verdict = Verdict::Retry { after: std::time::Duration::ZERO, code: "STORE_UNAVAILABLE" };
    Consumed::begin(&[read(&out(&query))], "group").end(&[verdict]);
    let [span] = &finished((&query).into())[..] else { panic!("one span") };
    assert!(span.attributes.contains(&Attribute::Error("STORE_UNAVAILABLE")));
    assert!(!format!("{span:?}").contains("secret"));
}

#[test]
fn a_record_without_a_query_or_with_a_parent_already_is_left_as_it_is() {
    kept();
    let mut registry = OutRecord { key: Some(b"bank/alpha".to_vec()), ..out(&QueryId::generate()) };
    drop(produced(&mut registry));
    assert!(registry.headers.is_empty());
    let mut copy = out(&QueryId::generate());
    copy.headers.push((TRACEPARENT.to_owned(), b"as it was".to_vec()));
    let before = copy.clone();
    drop(produced(&mut copy));
    assert_eq!(copy, before);
}
