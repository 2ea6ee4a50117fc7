//! One query through the system of processes is one trace, from its submission to its SMS.

use std::collections::BTreeSet;
use std::time::Duration;

use cardquery::sample;
use cardquery_tests::system::{Setup, System};
use opentelemetry_proto::tonic::trace::v1::Span;
use plumbing::trace::semconv;

use crate::collector::{Collector, Told, texts};

/// Banks are asked for the second time after a 144th of it.
const WINDOW: Duration = Duration::from_secs(30);
const WITHIN: Duration = Duration::from_secs(60);
const ANSWERS: &str = "anhe";
const SILENT: &str = "taihe";

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_one_trace_from_its_submission_to_its_sms_with_links_across_the_wait() {
    let collector = Collector::listen().await;
    let endpoint = format!("http://{}/v1/traces", collector.address);
    let setup = Setup {
        window: WINDOW,
        banks: [ANSWERS, SILENT].into(),
        without: ["bank-taihe"].into(),
        env: [("CARDQUERY__TELEMETRY__ENDPOINT".to_owned(), endpoint)].into(),
        ..Setup::default()
    };
    let mut system = System::start(setup).await;
    let query = system.ask("wang").await;
    assert_eq!(system.ended(&query).await.state, "FINAL_PARTIAL");

    let id = query.reference.query;
    let is_of_query = |told: &&Told| told.span.trace_id == id.as_bytes();
    let is_linked = |told: &Told| told.span.links.iter().any(|link| link.trace_id == id.as_bytes());
    let complete = |told: &[Told]| {
        let spans: Vec<&Told> = told.iter().filter(is_of_query).collect();
        let known: BTreeSet<&[u8]> = spans.iter().map(|told| told.span.span_id.as_slice()).collect();
        let hangs = |told: &&Told| {
            !told.span.parent_span_id.is_empty() && !known.contains(&*told.span.parent_span_id)
        };
        let behind_a_wait = |name: &str| told.iter().any(|told| told.span.name == name && is_linked(told));
        spans.iter().any(|told| told.span.name == "send sms")
            && behind_a_wait("close window")
            && behind_a_wait("ask again")
            && !spans.iter().any(hangs)
    };
    // Nothing of the trace hangs in the air: every parent is told of.
    let told = collector.hears(WITHIN, complete).await;
    let topics = system.local.topics();
    let (upstream, bank) = (system.local.plan.upstream().clone(), ANSWERS.parse().expect("an id"));
    let spans: Vec<&Told> = told.iter().filter(is_of_query).collect();
    let the = |service: &str, name: &str| -> &Span {
        let found: Vec<_> =
            spans.iter().filter(|told| told.service == service && told.span.name == name).collect();
        let [only] = found[..] else { panic!("{} spans `{name}` of {service}: {spans:#?}", found.len()) };
        &only.span
    };

    let root = the("producer", "submit query");
    assert!(root.parent_span_id.is_empty(), "nothing is above the submission");
    assert_eq!(root.span_id, id.as_bytes()[8..], "everybody can name it");
    // A bank that is asked a second time has more of them: each is found below the one above it.
    let below = |above: &Span, service: &str, name: String| -> &Span {
        let is_it = |told: &&&Told| {
            told.service == service && told.span.name == name && told.span.parent_span_id == above.span_id
        };
        let found = spans.iter().find(is_it);
        &found.unwrap_or_else(|| panic!("no `{name}` of {service} below `{}`: {spans:#?}", above.name)).span
    };
    let mut above = root;
    for (topic, from, to) in [
        (topics.query(&upstream), "producer", "aggregator"),
        (topics.request(&bank), "aggregator", "bank-connector"),
        (topics.reply(&bank), "bank-connector", "aggregator"),
    ] {
        let produced = below(above, from, format!("send {topic}"));
        above = below(produced, to, format!("process {topic}"));
    }
    // The notice comes out of the outbox when the deadline is over: below the root again.
    let notice = topics.notice();
    let produced = the("aggregator", &format!("send {notice}"));
    let consumed = the("notifier", &format!("process {notice}"));
    assert_eq!(produced.parent_span_id, root.span_id);
    assert_eq!(consumed.parent_span_id, produced.span_id);
    assert_eq!(the("notifier", "send sms").parent_span_id, consumed.span_id);

    let behind_a_wait = |name: &str| -> Vec<&Span> {
        told.iter().filter(|told| told.span.name == name && is_linked(told)).map(|told| &told.span).collect()
    };
    for waited in [behind_a_wait("close window"), behind_a_wait("ask again")].concat() {
        assert_ne!(waited.trace_id, id.as_bytes(), "{} is a trace of its own", waited.name);
        assert_eq!(waited.links[0].span_id, root.span_id);
    }
    for again in behind_a_wait("ask again") {
        let back = |told: &&&Told| told.span.links.iter().any(|link| link.span_id == again.span_id);
        let asked = spans.iter().find(back).expect("what it produced is linked back");
        assert!(asked.span.name.starts_with("send "), "{}", asked.span.name);
    }

    nothing_is_said_of_people(&told);
    let logged = format!("\"trace_id\":\"{}\"", id.to_string().replace('-', ""));
    let log = system.process("producer").stderr();
    assert!(log.contains(&logged), "a line about the query names no trace:\n{log}");
    system.finish();
}

fn nothing_is_said_of_people(told: &[Told]) {
    let people = sample::core::people();
    let person = people.iter().find(|known| known.key == "wang").expect("a sample person");
    for told in told {
        for (name, value) in texts(&told.span.attributes) {
            assert!(semconv::ATTRIBUTES.contains(&name.as_str()), "{name} is no name of ours");
            for secret in [&person.phone, &person.name, &person.document_number] {
                assert!(!value.contains(secret.as_str()), "{}: {name}", told.span.name);
            }
        }
        assert!(told.span.events.is_empty());
    }
}
