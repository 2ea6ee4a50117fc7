//! Every field of every message altered one by one, without knowing any message: an encoded message is a list of
//! fields, and some of them are messages again.

use std::ops::Range;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use prost::encoding::{decode_varint, encode_varint};
use schemas::registry::{self, Applied, Registry, SeenVersions};
use schemas::reply::Word;
use schemas::time::UnixMillis;
use schemas::{notice, submission, view, wire};

use crate::world::{self, ACCEPTED, FINAL, REPLIED};

struct Field {
    wire_type: u64,
    whole: Range<usize>,
    value: Range<usize>,
}

/// The fields of an encoded message, or nothing when the bytes are not one.
fn fields(bytes: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let start = bytes.len() - rest.len();
        let tag = decode_varint(&mut rest).ok()?;
        if tag >> 3 == 0 {
            return None;
        }
        let value = match tag & 7 {
            0 => {
                let start = bytes.len() - rest.len();
                decode_varint(&mut rest).ok()?;
                start..bytes.len() - rest.len()
            }
            2 => {
                let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                let start = bytes.len() - rest.len();
                rest = rest.get(length..)?;
                start..start + length
            }
            _ => return None,
        };
        let end = value.end;
        fields.push(Field { wire_type: tag & 7, whole: start..end, value });
    }
    Some(fields)
}

/// What a mutant keeps of the meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Content is altered, cut, grown, doubled or gone.
    Content,
    /// A field of a later version was added: in what nobody signed, that changes nothing.
    UnknownField,
}

struct Mutant {
    change: Change,
    name: String,
    bytes: Vec<u8>,
}

/// A field of number 1000 with the content `hi`.
const UNKNOWN: [u8; 5] = [0xc2, 0x3e, 0x02, b'h', b'i'];

/// Every mutant of a message: of each field, and of each field of the messages within it.
fn mutants(message: &[u8]) -> Vec<Mutant> {
    let mut all = Vec::new();
    collect(message, "", &|bytes| bytes, &mut all);
    all
}

fn collect(message: &[u8], path: &str, embed: &dyn Fn(Vec<u8>) -> Vec<u8>, all: &mut Vec<Mutant>) {
    let mut add =
        |change, name: String, bytes: Vec<u8>| all.push(Mutant { change, name, bytes: embed(bytes) });
    add(Change::UnknownField, format!("{path} with an unknown field"), [message, &UNKNOWN].concat());
    let fields = fields(message).expect("a message");
    for (n, field) in fields.iter().enumerate() {
        let name = format!("{path}/{n}");
        let (before, after) = (&message[..field.whole.start], &message[field.whole.end..]);
        add(Change::Content, format!("{name} removed"), [before, after].concat());
        let value = &message[field.value.clone()];
        let tag = &message[field.whole.start..];
        let tag_length = if tag[0] & 0x80 == 0 { 1 } else { 2 };
        let with = |value: &[u8]| {
            let mut new = [before, &tag[..tag_length]].concat();
            if field.wire_type == 2 {
                encode_varint(value.len() as u64, &mut new);
            }
            new.extend_from_slice(value);
            new.extend_from_slice(after);
            new
        };
        for at in [0, value.len() / 2, value.len().saturating_sub(1)] {
            if let Some(byte) = value.get(at) {
                let mut altered = value.to_vec();
                altered[at] = byte ^ 1;
                add(Change::Content, format!("{name} altered at {at}"), with(&altered));
            }
        }
        if field.wire_type == 2 {
            add(Change::Content, format!("{name} emptied"), with(&[]));
            add(Change::Content, format!("{name} grown"), with(&[value, &[0]].concat()));
            if let Some((_, cut)) = value.split_last() {
                add(Change::Content, format!("{name} cut"), with(cut));
            }
        }
    }
    for (n, field) in fields.iter().enumerate() {
        let value = &message[field.value.clone()];
        if field.wire_type == 2 && !value.is_empty() && self::fields(value).is_some() {
            let (before, after) = (&message[..field.whole.start], &message[field.whole.end..]);
            let tag = &message[field.whole.start..];
            let tag_length = if tag[0] & 0x80 == 0 { 1 } else { 2 };
            let inner = |value: Vec<u8>| {
                let mut new = [before, &tag[..tag_length]].concat();
                encode_varint(value.len() as u64, &mut new);
                new.extend_from_slice(&value);
                new.extend_from_slice(after);
                embed(new)
            };
            collect(value, &format!("{path}/{n}"), &inner, all);
        }
    }
}

/// Refuses every mutant of `original`, and every single flipped bit of every third byte, and takes the original
/// before and afterwards. `take` returns all that a reader gets from the message, or nothing when it refuses.
fn assert_nothing_can_be_altered(original: &Bytes, take: impl Fn(Bytes) -> Option<String>) {
    let wanted = take(original.clone()).expect("the untouched message is taken");
    let mutants = mutants(original);
    assert!(mutants.len() > 20, "the message has fields");
    let mut with_unknown_fields = 0;
    for Mutant { change, name, bytes } in mutants {
        if bytes == *original {
            continue;
        }
        match (change, take(bytes.into())) {
            (_, None) => {}
            (Change::UnknownField, Some(taken)) => {
                assert_eq!(taken, wanted, "{name}");
                with_unknown_fields += 1;
            }
            (Change::Content, Some(_)) => panic!("taken: {name}"),
        }
    }
    assert!(with_unknown_fields > 0, "later versions may add fields to what is not signed");
    for at in 0..original.len() {
        let mut flipped = original.to_vec();
        flipped[at] ^= 1 << (at % 8);
        assert_eq!(take(flipped.into()), None, "byte {at} flipped");
    }
    for length in (0..original.len()).step_by(7) {
        assert_eq!(take(original.slice(..length)), None, "cut to {length} bytes");
    }
    for rest in [&[0u8][..], &[0, 0], &[0x0a], &[0xff; 11]] {
        assert_eq!(take([original, rest].concat().into()), None, "with {rest:?} behind it");
    }
    assert_eq!(take(original.clone()), Some(wanted), "the untouched message is still taken");
}

#[test]
fn nothing_in_a_submission_can_be_altered() {
    let registry = world::registry();
    let query = world::query("wallet", 1, &["alpha", "beta"]);
    assert_nothing_can_be_altered(&query.submitted.encode_to_vec().into(), |bytes| {
        let submitted = wire::QuerySubmitted::decode(bytes).ok()?;
        query.open(&registry, &submitted).ok().map(|submission| format!("{submission:?}"))
    });
}

#[test]
fn nothing_in_a_revocation_can_be_altered() {
    let registry = world::registry();
    let query = world::query("wallet", 1, &["alpha"]);
    let upstream = &query.reference.upstream;
    let party = registry.upstream(upstream).expect("registered");
    let revoked = submission::revoke(&query.reference, ACCEPTED, &query.signer).encode_to_vec();
    assert_nothing_can_be_altered(&revoked.into(), |bytes| {
        let revoked = wire::ConsentRevoked::decode(bytes).ok()?;
        let key = query.key();
        let reference =
            submission::open_revocation(upstream, key.as_bytes(), &revoked, party, ACCEPTED).ok()?;
        Some(reference.to_string())
    });
}

#[test]
fn nothing_in_a_request_can_be_altered() {
    let registry = world::registry();
    let query = world::query("wallet", 1, &["alpha", "beta"]);
    assert_nothing_can_be_altered(&query.request("beta").encode_to_vec().into(), |bytes| {
        let (request, accepted) = world::accept("beta", bytes, &registry).ok()?;
        let identity = accepted.identity.encode_to_vec();
        Some(format!("{:?} {:?} {identity:?}", request.header, accepted.query))
    });
}

#[test]
fn nothing_in_a_cancellation_can_be_altered() {
    let registry = world::registry();
    let query = world::query("wallet", 1, &["alpha"]);
    let alpha = world::bank_id("alpha");
    let cancelled = schemas::request::cancel(&query.reference, &alpha, &world::hub()).encode_to_vec();
    assert_nothing_can_be_altered(&cancelled.into(), |bytes| {
        let opened = schemas::request::open(&alpha, bytes, registry.hub().ok()?, REPLIED).ok()?;
        Some(format!("{opened:?}"))
    });
}

#[test]
fn nothing_in_a_reply_of_any_outcome_can_be_altered() {
    let registry = world::registry();
    let query = world::query("wallet", 1, &["alpha", "beta"]);
    let words = [
        query.answered("alpha", &world::answer(2)),
        Word::Refused(wire::Refusal::AssuranceTooLow),
        Word::RetryLater,
    ];
    for word in words {
        let record = world::reply_to(&query, "alpha", word).encode_to_vec();
        assert_nothing_can_be_altered(&record.into(), |bytes| {
            world::believe(&query, "alpha", bytes, &registry).ok().map(|reply| format!("{reply:?}"))
        });
    }
}

#[test]
fn nothing_in_a_notice_can_be_altered() {
    let registry = world::registry();
    let query = world::query("wallet", 1, &["alpha"]);
    let header = world::notice_header(&query);
    let record = notice::notify(&header, &query.submission().contact, &world::hub()).encode_to_vec();
    assert_nothing_can_be_altered(&record.into(), |bytes| {
        let notice = notice::open(query.key().as_bytes(), bytes, &registry, FINAL).ok()?;
        let contact = notice.contact(&[world::notifier()]).ok()?;
        Some(format!("{:?} {:?}", notice.header, contact.encode_to_vec()))
    });
}

#[test]
fn nothing_in_a_view_grant_can_be_altered() {
    let registry = world::registry();
    let query = world::query("wallet", 1, &["alpha"]);
    let grant = view::grant(&world_grant(&query), &query.signer);
    assert_nothing_can_be_altered(&grant, |bytes| {
        view::open(bytes, &registry, FINAL).ok().map(|opened| format!("{opened:?}"))
    });
}

fn world_grant(query: &world::Query) -> view::Grant {
    view::Grant {
        reference: query.reference.clone(),
        subject: "subject-1".into(),
        report_key: query.report_key.id(),
        issued_at: UnixMillis(FINAL.0 - 1_000),
        expires_at: UnixMillis(FINAL.0 + 100_000),
        nonce: schemas::ids::Nonce([5; 16]),
    }
}

#[test]
fn nothing_in_a_registry_entry_can_be_altered() {
    let first = world::bank_entry("alpha");
    let mut rotated = first.clone();
    rotated.version += 1;
    rotated.keys.push(world::sign_key(&world::signing(99)));
    rotated.keys[0].revoked = true;
    let record =
        registry::sign_entry(&rotated, &world::roots(), Some(&world::bank_signing("alpha"))).encode_to_vec();
    assert_nothing_can_be_altered(&record.into(), |bytes| {
        let mut registry = Registry::new(world::pinned(), SeenVersions::default());
        world::apply(&mut registry, &world::signed_entry(&first), ACCEPTED).ok()?;
        let applied = registry.apply(b"bank/alpha", &bytes, REPLIED).ok()?;
        (applied == Applied::Changed).then(|| registry::fingerprint(&registry).to_string())
    });
}

#[test]
fn nothing_in_a_report_can_be_altered_without_leaving_it_incomplete() {
    let query = world::query("wallet", 1, &["alpha", "beta"]);
    let segments = ["alpha", "beta"]
        .map(|bank| {
            let record =
                world::reply_to(&query, bank, query.answered(bank, &world::answer(1))).encode_to_vec();
            let reply = world::believe(&query, bank, record.into(), &world::registry()).expect("believed");
            (world::bank_id(bank), reply.segment)
        })
        .into();
    let (_, report) = world::report_over(&query, &segments);
    assert_nothing_can_be_altered(&report.encode_to_vec().into(), |bytes| {
        let opened = world::view_having_seen(&query, bytes, &SeenVersions::default()).ok()?;
        let answers: Vec<_> =
            opened.banks.iter().map(|bank| bank.answer.as_ref().map(Message::encode_to_vec)).collect();
        opened.complete.then(|| format!("{:?} {answers:?} {:?}", opened.coverage, opened.seen))
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A batch of 1 to 20 replies to as many queries: each is believed, and none for another, nor with any part of
    /// another.
    #[test]
    fn parts_of_two_replies_of_a_batch_do_not_mix(
        size in 2usize..=20,
        one in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        part in 0usize..6,
    ) {
        let registry = world::registry();
        let queries: Vec<_> =
            (0..size).map(|n| world::query("wallet", u8::try_from(n).expect("few"), &["alpha"])).collect();
        let words = queries
            .iter()
            .enumerate()
            .map(|(n, query)| (query.header("alpha"), query.answered("alpha", &world::answer(n % 4))))
            .collect();
        let records = world::batch_of("alpha", &world::bank_signing("alpha"), REPLIED, words);
        for (query, record) in queries.iter().zip(&records) {
            prop_assert!(world::believe(query, "alpha", record.encode_to_vec().into(), &registry).is_ok());
        }
        let (one, other) = (one.index(size), other.index(size));
        prop_assume!(one != other);
        let reply = |n: usize| {
            let Some(wire::reply_record::Message::Reply(reply)) = records[n].message.clone() else {
                unreachable!("a record of a reply")
            };
            reply
        };
        let (mut mixed, donor) = (reply(one), reply(other));
        let (proof, from) = (mixed.proof.as_mut().expect("a proof"), donor.proof.expect("a proof"));
        match part {
            0 => mixed.header = donor.header,
            1 => mixed.sealed_answer = donor.sealed_answer,
            2 => proof.index = from.index,
            3 => proof.path = from.path,
            4 => (proof.index, proof.path) = (from.index, from.path),
            _ => proof.path.reverse(),
        }
        let mixed = wire::ReplyRecord { message: Some(wire::reply_record::Message::Reply(mixed)) };
        prop_assume!(mixed != records[one]);
        prop_assert!(world::believe(&queries[one], "alpha", mixed.encode_to_vec().into(), &registry).is_err());
        let whole = records[other].encode_to_vec();
        prop_assert!(world::believe(&queries[one], "alpha", whole.into(), &registry).is_err());
        prop_assert!(world::believe(&queries[one], "alpha", records[one].encode_to_vec().into(), &registry).is_ok());
    }
}
