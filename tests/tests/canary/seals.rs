//! Who opens what: every sealed part of the run, tried with every key that somebody could try.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cardquery::sample;
use cardquery_tests::scan::run::{DOWN, Run, shared};
use plumbing::kafka::Record;
use prost::Message;
use schemas::fields::Fields;
use schemas::ids::{BankId, Digest, Reference};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::registry::{NOTIFIER, PartyName};
use schemas::seal::{self, Binding};
use schemas::time::UnixMillis;
use schemas::wire::{self, AnswerKind, ReplyOutcome};

/// A sealed part as it was found, with everything that is public about it.
struct Sealed {
    place: String,
    kind: seal::Kind,
    reference: Reference,
    party: String,
    expires_at: UnixMillis,
    context: Vec<u8>,
    envelope: Bytes,
}

impl Sealed {
    /// Tries `key` on the envelope as it is, and again as if it were addressed to that key, so that not the address
    /// decides but the cryptography.
    fn open(&self, key: &OpeningKey) -> Option<Vec<u8>> {
        let binding = Binding {
            reference: &self.reference,
            party: &self.party,
            expires_at: self.expires_at,
            context: &self.context,
        };
        let mut readdressed = wire::Sealed::decode(self.envelope.clone()).expect("an envelope");
        readdressed.key_id = key.id().to_wire();
        let envelopes = [self.envelope.clone(), readdressed.encode_to_vec().into()];
        envelopes
            .iter()
            .find_map(|envelope| seal::open(self.kind, key, &binding, envelope).ok())
            .map(|c| c.to_vec())
    }
}

fn statement<M: Message + Default>(signed: Option<&wire::Signed>) -> M {
    M::decode(signed.expect("it is signed").body.clone()).expect("a statement")
}

fn replies(run: &Run) -> Vec<(&Record, wire::ReplyHeader, wire::CardReply)> {
    let topics: BTreeSet<String> = run.banks.iter().map(|bank| run.topics.reply(bank)).collect();
    let records = run.records.iter().filter(|record| topics.contains(&*record.position.topic));
    let parsed = records.filter_map(|record| {
        let Some(wire::reply_record::Message::Reply(reply)) =
            wire::ReplyRecord::decode(record.value.clone()).ok()?.message
        else {
            return None;
        };
        Some((record, wire::ReplyHeader::decode(reply.header.clone()).expect("a header"), reply))
    });
    parsed.collect()
}

fn answer(run: &Run, place: String, header: &wire::ReplyHeader, envelope: &Bytes) -> Sealed {
    let reference = Reference::try_from(header.reference.as_ref()).expect("a reference");
    let query = run.queries.iter().find(|query| query.reference == reference).expect("one of ours");
    Sealed {
        place,
        kind: seal::Kind::Answer,
        reference,
        party: header.bank_id.clone(),
        expires_at: query.expires_at,
        context: header.statement_sha256.to_vec(),
        envelope: envelope.clone(),
    }
}

/// Every sealed answer on a reply topic or in the store.
fn answers(run: &Run) -> Vec<Sealed> {
    let mut all = Vec::new();
    for (record, header, reply) in replies(run) {
        if header.outcome() == ReplyOutcome::Answered {
            all.push(answer(run, record.position.to_string(), &header, &reply.sealed_answer));
        }
    }
    let on_topics = all.len();
    for (reference, (content, _)) in &run.stored {
        for (bank, segment) in &content.segments {
            let segment = wire::Segment::decode(segment.clone()).expect("a segment");
            let header = wire::ReplyHeader::decode(segment.header.clone()).expect("a header");
            all.push(answer(run, format!("store {reference} {bank}"), &header, &segment.sealed_answer));
        }
    }
    // Four queries to 13 banks, one to two of which one is down.
    assert!(on_topics > 4 * 13, "{on_topics}");
    assert_eq!(all.len() - on_topics, 4 * 13 + 1);
    all
}

/// Every sealed identity on a request topic, with its bank.
fn identities(run: &Run) -> Vec<(BankId, Sealed)> {
    let mut all = Vec::new();
    for bank in &run.banks {
        for record in run.of(&run.topics.request(bank)) {
            let message = wire::RequestRecord::decode(record.value.clone()).expect("a request").message;
            let Some(wire::request_record::Message::Request(request)) = message else { continue };
            let word: wire::BankStatement = statement(request.statement.as_ref());
            let sealed = Sealed {
                place: record.position.to_string(),
                kind: seal::Kind::Identity,
                reference: Reference::try_from(word.reference.as_ref()).expect("a reference"),
                party: word.bank_id,
                expires_at: UnixMillis(word.expires_at_ms),
                context: word.nonce.to_vec(),
                envelope: request.sealed_identity,
            };
            all.push((bank.clone(), sealed));
        }
    }
    assert!(all.len() >= 4 * 13 + 2, "{}", all.len());
    all
}

/// Every sealed contact on the notice topic or in the store.
fn contacts(run: &Run) -> Vec<Sealed> {
    let sealed = |place: String, signed: Option<&wire::Signed>, envelope: &Bytes| {
        let word: wire::NotifierStatement = statement(signed);
        Sealed {
            place,
            kind: seal::Kind::Contact,
            reference: Reference::try_from(word.reference.as_ref()).expect("a reference"),
            party: NOTIFIER.to_owned(),
            expires_at: UnixMillis(word.expires_at_ms),
            context: word.nonce.to_vec(),
            envelope: envelope.clone(),
        }
    };
    let topic = run.topics.notice();
    let on_topic = run.of(&topic).filter_map(|record| {
        let message = wire::NoticeRecord::decode(record.value.clone()).ok()?.message?;
        let wire::notice_record::Message::ReportReady(notice) = message;
        Some(sealed(record.position.to_string(), notice.statement.as_ref(), &notice.sealed_contact))
    });
    let mut all: Vec<Sealed> = on_topic.collect();
    assert!(all.len() >= run.queries.len(), "{}", all.len());
    all.extend(run.stored.iter().map(|(reference, (_, contact))| {
        sealed(format!("store {reference}"), Some(&contact.statement), &contact.sealed)
    }));
    all
}

/// Everything that could be a key in the hub's hands: the notifier's, and the hub's signing seed in both ways in which
/// it could serve as an X25519 key.
fn hub_keys() -> Vec<OpeningKey> {
    let hub = PartyName::hub();
    let fields =
        Fields::new().text("cardquery sample key, never for production").text(hub.as_str()).text("sign");
    let seed = Digest::of(fields.as_bytes()).0;
    assert_eq!(SigningKey::from_seed(&seed).id(), sample::keys::signing(&hub).id(), "this is the hub's seed");
    vec![
        OpeningKey::from_raw(&seed).expect("32 bytes are a key"),
        OpeningKey::derive(&seed),
        sample::keys::opening(&hub),
        sample::keys::opening(&PartyName::notifier()),
    ]
}

#[test]
fn the_device_opens_every_answer_and_all_keys_of_the_hub_together_open_none() {
    let run = shared();
    let hub = hub_keys();
    for sealed in answers(run) {
        for query in &run.queries {
            let opened = sealed.open(&query.report_key);
            if query.reference == sealed.reference {
                let content = opened.unwrap_or_else(|| panic!("{} does not open", sealed.place));
                let answer = wire::Answer::decode(content.as_slice()).expect("an answer");
                assert_ne!(answer.kind(), AnswerKind::Unspecified);
            } else {
                assert!(opened.is_none(), "{} opens with the key of {}", sealed.place, query.reference);
            }
        }
        for key in &hub {
            assert!(sealed.open(key).is_none(), "{} opens with a key of the hub", sealed.place);
        }
    }
}

#[test]
fn the_notifier_opens_the_contact_and_nothing_else_and_a_bank_its_own_identity_only() {
    let run = shared();
    let phones: BTreeMap<_, _> =
        run.people.iter().map(|person| (person.key.clone(), person.phone_e164())).collect();
    let notifier = sample::keys::opening(&PartyName::notifier());
    let hub = hub_keys();
    let banks: Vec<(BankId, OpeningKey)> =
        run.banks.iter().map(|bank| (bank.clone(), sample::keys::opening(&PartyName::bank(bank)))).collect();

    for sealed in contacts(run) {
        let content = sealed.open(&notifier).unwrap_or_else(|| panic!("{} does not open", sealed.place));
        let contact = wire::Contact::decode(content.as_slice()).expect("a contact");
        let query =
            run.queries.iter().find(|query| query.reference == sealed.reference).expect("one of ours");
        assert!(contact.phone == phones[&query.person], "{}: another phone", sealed.place);
        let others = banks.iter().map(|(_, key)| key).chain(&hub[..3]);
        assert!(others.into_iter().all(|key| sealed.open(key).is_none()), "{}", sealed.place);
    }
    for (bank, sealed) in identities(run) {
        for (other, key) in &banks {
            let opened = sealed.open(key);
            assert_eq!(opened.is_some(), *other == bank, "{} with the key of {other}", sealed.place);
            let Some(content) = opened else { continue };
            let identity = wire::Identity::decode(content.as_slice()).expect("an identity");
            let query =
                run.queries.iter().find(|query| query.reference == sealed.reference).expect("one of ours");
            assert!(identity.phone == phones[&query.person], "{}: another identity", sealed.place);
        }
        assert!(
            hub.iter().all(|key| sealed.open(key).is_none()),
            "{} opens with a key of the hub",
            sealed.place
        );
    }
    for sealed in answers(run) {
        assert!(
            banks.iter().all(|(_, key)| sealed.open(key).is_none()),
            "{} opens with a bank's key",
            sealed.place
        );
    }
}

#[test]
fn a_reply_with_no_card_one_and_four_look_the_same_from_outside() {
    let run = shared();
    let cards: BTreeMap<(Reference, BankId), usize> = run
        .queries
        .iter()
        .flat_map(|query| query.report.banks.iter().map(move |bank| (query, bank)))
        .filter_map(|(query, bank)| {
            Some(((query.reference.clone(), bank.bank.clone()), bank.answer.as_ref()?.cards.len()))
        })
        .collect();
    let mut shapes: BTreeMap<String, BTreeMap<usize, BTreeSet<Shape>>> = BTreeMap::new();
    for (record, header, _) in replies(run) {
        if header.outcome() != ReplyOutcome::Answered {
            continue;
        }
        let reference = Reference::try_from(header.reference.as_ref()).expect("a reference");
        let count = cards[&(reference, header.bank_id.parse().expect("an id"))];
        shapes.entry(header.bank_id).or_default().entry(count).or_default().insert(shape(record));
    }
    assert_eq!(shapes["dongli"].keys().copied().collect::<Vec<_>>(), [0, 1, 4]);
    for (bank, by_count) in &shapes {
        let different: BTreeSet<&Shape> = by_count.values().flatten().collect();
        assert_eq!(different.len(), 1, "{bank}: {by_count:#?}");
    }
    // Two banks whose ids differ in length are told apart, so the measure is one that sees.
    assert_ne!(shapes["anhe"], shapes["dongli"]);
    assert!(
        run.of(&run.topics.reply(&DOWN.parse().expect("an id"))).next().is_some(),
        "the bank that is down speaks"
    );
}

/// Length of the value, length of the key, and names and lengths of the headers in their order.
type Shape = (usize, Option<usize>, Vec<(String, usize)>);

fn shape(record: &Record) -> Shape {
    let headers = record.headers.iter().map(|(name, value)| (name.clone(), value.len()));
    (record.value.len(), record.key.as_ref().map(Bytes::len), headers.collect())
}
