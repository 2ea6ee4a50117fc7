//! Sizes: 500 banks fit one record, and no length says what a seal holds.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use schemas::codes::Code;
use schemas::ids::{BankId, Digest};
use schemas::reply::Word;
use schemas::submission::{self, Draft, MAX_BANK_PART, MAX_BANKS};
use schemas::topics::Family;
use schemas::wire;

use crate::world;

/// Key, CloudEvents headers, `traceparent` and the framing of a record batch.
const ROOM_FOR_FRAMING: usize = 4096;

/// The longest that the contract allows: ids of 16 letters, a subject of 64, a name of 100 bytes, three factors.
fn longest(factors: usize) -> Result<wire::QuerySubmitted, Code> {
    let upstream = "w".repeat(16);
    let mut reference = world::reference("wallet", 1);
    reference.upstream = upstream.parse().expect("an id");
    let report_key = world::opening(60);
    let mut terms = world::terms(0xff, &report_key);
    let factor = wire::Factor { kind: wire::FactorKind::Fingerprint.into(), at_ms: world::ISSUED.0 };
    terms.factors = vec![factor; factors];
    let key = world::opening(40);
    let banks: BTreeMap<BankId, _> =
        (0..MAX_BANKS).map(|n| (format!("bank{n:012}").parse().expect("an id"), key.public())).collect();
    let notifier = world::notifier();
    submission::submit(
        &Draft {
            reference,
            terms,
            scam_warning_acknowledged: true,
            subject: "s".repeat(64),
            region: "310000".into(),
            banks,
            notifier: notifier.public(),
            identity: wire::Identity { name: "名".repeat(33) + "x", ..world::identity() },
            contact: world::contact(),
            risk: wire::RiskSignals {
                screen_shared: true,
                on_call: true,
                remote_control: true,
                new_device: true,
                pretext: wire::Pretext::EducationCreditReturn.into(),
            },
            releases: Some(Digest([0xff; 32])),
        },
        &world::wallet(),
    )
}

#[test]
fn five_hundred_of_the_longest_parts_fit_one_record() {
    let submitted = longest(3).expect("fits");
    assert_eq!(submitted.banks.len(), 500);
    for part in &submitted.banks {
        assert!(part.encoded_len() <= MAX_BANK_PART, "a part of {} bytes", part.encoded_len());
    }
    for message in [
        wire::query_record::Message::Submitted(submitted.clone()),
        wire::query_record::Message::Released(wire::QueryReleased { submission: Some(submitted) }),
    ] {
        let length = wire::QueryRecord { message: Some(message) }.encoded_len();
        assert!(length + ROOM_FOR_FRAMING <= Family::Query.spec().max_message_bytes, "{length} bytes");
    }
}

#[test]
fn a_part_that_the_hub_would_refuse_is_not_even_signed() {
    let most = (3..40).take_while(|factors| longest(*factors).is_ok()).count();
    assert!(most < 37, "a part has a limit");
    assert_eq!(longest(3 + most).map(|_| ()), Err(Code::MESSAGE_TOO_LARGE));
    for part in longest(2 + most).expect("the longest that is signed").banks {
        assert!(part.encoded_len() <= MAX_BANK_PART);
    }
}

#[test]
fn a_request_a_notice_and_a_reply_fit_their_topics() {
    let query = world::query("wallet", 1, &["alpha"]);
    assert!(
        query.request("alpha").encoded_len() + ROOM_FOR_FRAMING <= Family::Request.spec().max_message_bytes
    );
    let longest = wire::Answer { cards: vec![world::card("0001"); 120], ..world::answer(1) };
    let record = world::reply_to(&query, "alpha", query.answered("alpha", &longest));
    assert!(record.encoded_len() + ROOM_FOR_FRAMING <= Family::Reply.spec().max_message_bytes);
    let sealed = schemas::reply::seal_answer(
        &query.accepted("alpha").query,
        Digest([0; 32]),
        &wire::Answer { cards: vec![world::card("0001"); 300], ..world::answer(1) },
    );
    assert_eq!(sealed.map(|_| ()), Err(Code::SEAL_CONTENT_TOO_LARGE));
}

#[test]
fn the_length_of_a_reply_does_not_say_what_the_bank_says() {
    let query = world::query("wallet", 1, &["alpha"]);
    let mut answers: Vec<_> = [0, 1, 2, 4].map(world::answer).into();
    for kind in 1..=7 {
        answers.push(wire::Answer { kind, ..world::answer(0) });
    }
    for as_of_ms in [0, 1, 127, 128, world::REPLIED.0, i64::MAX, -1] {
        answers.push(wire::Answer { as_of_ms, ..world::answer(1) });
    }
    let missing_sources = vec![1, 2, 3];
    answers.push(wire::Answer { missing_sources, ..world::answer(4) });
    let lengths: BTreeSet<_> = answers
        .iter()
        .map(|answer| world::reply_to(&query, "alpha", query.answered("alpha", answer)).encoded_len())
        .collect();
    assert_eq!(lengths.len(), 1, "{lengths:?}");

    // Refusals do not tell their reasons apart either; they are no secret, but their order in a batch is none.
    let refusals: BTreeSet<_> = (1..=6)
        .map(|n| wire::Refusal::try_from(n).expect("a reason"))
        .map(|reason| world::reply_to(&query, "alpha", Word::Refused(reason)).encoded_len())
        .collect();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
}

#[test]
fn the_length_of_a_sealed_identity_or_contact_does_not_say_whose_it_is() {
    let lengths: BTreeSet<_> = ["李", "王小明", "欧阳司徒上官诸葛", &"名".repeat(33)]
        .into_iter()
        .map(|name| {
            let query = world::query("wallet", 1, &["alpha"]);
            let identity = wire::Identity { name: name.into(), ..world::identity() };
            let binding = schemas::seal::Binding {
                reference: &query.reference,
                party: "alpha",
                expires_at: world::EXPIRES,
                context: &[1; 16],
            };
            let key = world::bank_opening("alpha");
            let kind = schemas::seal::Kind::Identity;
            schemas::seal::seal(kind, key.public(), &binding, &identity.encode_to_vec()).expect("fits").len()
        })
        .collect();
    assert_eq!(lengths.len(), 1);
}
