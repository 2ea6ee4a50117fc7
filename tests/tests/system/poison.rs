//! What ends as a dead letter: records of several kinds, some of them sound but for a key that nobody knows yet.

use std::collections::BTreeMap;

use aggregator::store::{Clock as _, SystemClock};
use cardquery::sample;
use cardquery_tests::attacker::{Asked, HandBank, query_record, reply_record};
use cardquery_tests::system::{Front, Planned, System};
use futures::future::join_all;
use plumbing::kafka::{OutRecord, Position, Producer};
use schemas::ids::{BankId, QueryId};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::registry::PartyName;
use schemas::submission::{self, Draft};
use schemas::wire;

/// Where the wallet and the sample banks take part.
pub(crate) const PERSON: &str = "wang";

/// A record that its reader refuses, and how.
#[derive(Clone)]
pub(crate) struct Poison {
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) code: &'static str,
    pub(crate) class: &'static str,
}

impl Poison {
    pub(crate) fn malformed(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            key: QueryId::generate().to_string(),
            value: vec![0xff; 44],
            code: "MESSAGE_MALFORMED",
            class: "poison",
        }
    }

    fn refused(topic: &str, key: QueryId, value: Vec<u8>, code: &'static str) -> Self {
        Self { topic: topic.to_owned(), key: key.to_string(), value, code, class: "rejected" }
    }

    /// The query of a person whose upstream signs with this key.
    pub(crate) fn query(topic: &str, planned: &Planned, key: &SigningKey) -> Self {
        let value = query_record(signed(planned, key));
        Self::refused(topic, planned.reference.query, value, "KEY_UNKNOWN")
    }

    /// A query whose signature was altered.
    pub(crate) fn altered(topic: &str, planned: &Planned, key: &SigningKey) -> Self {
        let mut submitted = signed(planned, key);
        submitted.hub_statement.as_mut().expect("signed").signature = vec![7; 64].into();
        Self::refused(topic, planned.reference.query, query_record(submitted), "SIGNATURE_INVALID")
    }

    /// The answer "no cards" to a request, by whoever signs for this bank.
    pub(crate) fn reply(topic: &str, bank: &HandBank, asked: &Asked) -> Self {
        let answer = wire::Answer {
            kind: wire::AnswerKind::NoCards.into(),
            as_of_ms: SystemClock.now().0,
            ..wire::Answer::default()
        };
        let reply = bank.reply(asked, bank.answered(asked, &answer), SystemClock.now());
        Self::refused(topic, asked.header.reference.query, reply_record(reply), "KEY_UNKNOWN")
    }
}

/// A query that is not sent.
pub(crate) fn plan(front: &Front, banks: &[impl ToString]) -> Planned {
    let people = sample::core::people();
    let person = people.iter().find(|person| person.key == PERSON).expect("a sample person");
    front.plan(&person.into(), banks, SystemClock.now())
}

/// What the producer would write, signed with any key.
fn signed(planned: &Planned, key: &SigningKey) -> wire::QuerySubmitted {
    let request = &planned.prepared.request;
    let people = sample::core::people();
    let person = people.iter().find(|person| person.key == PERSON).expect("a sample person");
    let keys: BTreeMap<BankId, OpeningKey> = request
        .banks
        .iter()
        .map(|bank| (bank.clone(), sample::keys::opening(&PartyName::bank(bank))))
        .collect();
    let notifier = sample::keys::opening(&PartyName::notifier());
    let draft = Draft {
        reference: planned.reference.clone(),
        terms: request.terms(),
        scam_warning_acknowledged: request.consent.scam_warning_acknowledged,
        banks: keys.iter().map(|(bank, key)| (bank.clone(), key.public())).collect(),
        notifier: notifier.public(),
        identity: person.identity(),
        contact: wire::Contact { phone: person.phone_e164(), language: request.consent.language.into() },
        risk: request.risk,
        releases: None,
        subject: request.subject.clone(),
        region: request.region.clone(),
    };
    submission::submit(&draft, key).expect("it is sealed and signed")
}

/// Writes records at once, in the name of the cluster's administrator; returns where each stands.
pub(crate) async fn write(system: &System, records: Vec<OutRecord>) -> Vec<Position> {
    let producer = Producer::new(&system.admin()).expect("a producer");
    let sent = join_all(records.into_iter().map(|record| producer.send(record))).await;
    sent.into_iter().map(|sent| sent.expect("the broker takes it")).collect()
}

/// Writes poison; returns where each stands.
pub(crate) async fn poison(system: &System, poison: &[Poison]) -> Vec<Position> {
    let record = |poison: &Poison| OutRecord {
        topic: poison.topic.clone(),
        key: Some(poison.key.clone().into_bytes()),
        value: poison.value.clone(),
        headers: vec![("ce_id".to_owned(), b"made-up".to_vec())],
    };
    write(system, poison.iter().map(record).collect()).await
}
