//! The whole system as processes on the stack: while its surroundings change (Redis goes, a bank comes, the hub is away,
//! days pass), and under what people and strangers do to it.

mod auditing;
mod canary;
mod dead_letters;
mod downtime;
mod erasing;
mod ids;
mod joining;
mod logging;
mod poison;
mod redis;
mod replaying;
mod scope;
mod watching;
mod withdrawing;

use std::collections::BTreeMap;

use cardquery_tests::console_consumer::ConsoleRecord;
use prost::Message;
use schemas::ids::QueryId;
use schemas::wire::{self, event_record, sms_record};

/// How many SMS the gateway took, by query.
fn accepted_sms(records: &[ConsoleRecord]) -> BTreeMap<String, usize> {
    let mut accepted = BTreeMap::new();
    for record in records {
        let sms = wire::SmsRecord::decode(record.value.as_slice()).expect("an SMS record");
        if matches!(sms.message, Some(sms_record::Message::Accepted(_))) {
            *accepted.entry(record.key.clone()).or_default() += 1;
        }
    }
    accepted
}

/// How often a report was said to be ready, by query.
fn reports_ready(records: &[ConsoleRecord]) -> BTreeMap<String, usize> {
    let mut ready = BTreeMap::new();
    for record in records {
        let event = wire::EventRecord::decode(record.value.as_slice()).expect("an event");
        if matches!(event.message, Some(event_record::Message::ReportReady(_))) {
            *ready.entry(record.key.clone()).or_default() += 1;
        }
    }
    ready
}

/// One of these queries, and none for another.
fn one_each<'a>(queries: impl Iterator<Item = &'a QueryId>) -> BTreeMap<String, usize> {
    queries.map(|query| (query.to_string(), 1)).collect()
}
