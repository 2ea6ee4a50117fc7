//! Hostile input: nothing panics, and nothing hostile reaches a place that cannot bear it.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use schemas::batch::VerifiedRoots;
use schemas::codes::Code;
use schemas::ids::{Digest, QueryId};
use schemas::keys::SealingKey;
use schemas::registry::{self, Applied, Registry, SeenVersions};
use schemas::seal::{self, Binding, Kind};
use schemas::sign::{self, Tag};
use schemas::time::UnixMillis;
use schemas::wire::{self, KeyAlgorithm, PartyKind, QueryState};
use schemas::{notice, reply, request, rules, submission, view};

use crate::world::{self, ACCEPTED, EXPIRES, FINAL, REPLIED};

/// Gives bytes to everything that reads bytes from outside; returns whether anything took them.
fn offer(bytes: &Bytes, registry: &Registry, query: &world::Query) -> bool {
    let alpha = world::bank_id("alpha");
    let party = world::party(registry, "alpha");
    let key = query.key();
    let mut taken = Vec::new();
    for record_key in [key.as_bytes(), bytes] {
        let roots = &mut VerifiedRoots::default();
        taken.push(reply::open(&alpha, record_key, bytes.clone(), party, REPLIED, roots).is_ok());
        taken.push(notice::open(record_key, bytes.clone(), registry, FINAL).is_ok());
        taken.push(registry.clone().apply(record_key, bytes, FINAL) == Ok(Applied::Changed));
        let upstream = &query.reference.upstream;
        let wallet = registry.upstream(upstream).expect("registered");
        if let Ok(submitted) = wire::QuerySubmitted::decode(bytes.clone()) {
            taken.push(submission::open(upstream, record_key, &submitted, wallet, ACCEPTED).is_ok());
        }
        if let Ok(revoked) = wire::ConsentRevoked::decode(bytes.clone()) {
            taken.push(submission::open_revocation(upstream, record_key, &revoked, wallet, ACCEPTED).is_ok());
        }
    }
    taken.push(request::open(&alpha, bytes.clone(), registry.hub().expect("a hub"), REPLIED).is_ok());
    taken.push(view::open(bytes.clone(), registry, FINAL).is_ok());
    taken.push(world::view_having_seen(query, bytes.clone(), &SeenVersions::default()).is_ok());
    let reference = &query.reference;
    let binding =
        Binding { reference, party: "alpha", expires_at: EXPIRES, context: bytes.get(..9).unwrap_or(&[]) };
    for kind in Kind::ALL {
        taken.push(seal::open(kind, &world::bank_opening("alpha"), &binding, bytes).is_ok());
    }
    let _ = (seal::recipient(bytes), QueryId::from_key(bytes), QueryId::from_bytes(bytes));
    taken.contains(&true)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_bytes_are_refused_everywhere_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (registry, query) = shared();
        prop_assert!(!offer(&bytes.into(), registry, query));
    }

    /// Bytes that look like fields reach deeper than random ones.
    #[test]
    fn random_fields_are_refused_everywhere_without_a_panic(
        fields in prop::collection::vec((1u8..16, prop::collection::vec(any::<u8>(), 0..40), 0u8..3), 0..12),
    ) {
        let mut bytes = Vec::new();
        for (number, content, form) in fields {
            match form {
                0 => bytes.extend([number << 3, 1]),
                1 => {
                    bytes.extend([number << 3 | 2, u8::try_from(content.len()).expect("short")]);
                    bytes.extend(content);
                }
                _ => {
                    bytes.extend([number << 3 | 2, u8::try_from(content.len() + 2).expect("short")]);
                    bytes.extend([10, u8::try_from(content.len()).expect("short")]);
                    bytes.extend(content);
                }
            }
        }
        let (registry, query) = shared();
        prop_assert!(!offer(&bytes.into(), registry, query));
    }

    /// Any two genuine messages cut and joined anywhere are taken as neither's reader's business.
    #[test]
    fn genuine_messages_cut_and_joined_do_not_panic(
        one in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        join in any::<prop::sample::Index>(),
    ) {
        let (registry, query) = shared();
        let genuine = genuine();
        let (one, other) = (&genuine[one.index(genuine.len())], &genuine[other.index(genuine.len())]);
        let joined = [&one[..cut.index(one.len())], &other[join.index(other.len())..]].concat();
        prop_assume!(!genuine.contains(&joined));
        // Taken is only what keeps all its signed bytes; that nothing else is, is for the tests of mutants.
        offer(&joined.into(), registry, query);
    }
}

fn shared() -> (&'static Registry, &'static world::Query) {
    static SHARED: std::sync::LazyLock<(Registry, world::Query)> =
        std::sync::LazyLock::new(|| (world::registry(), world::query("wallet", 1, &["alpha"])));
    (&SHARED.0, &SHARED.1)
}

fn genuine() -> &'static [Vec<u8>] {
    static GENUINE: std::sync::LazyLock<Vec<Vec<u8>>> = std::sync::LazyLock::new(|| {
        let query = &shared().1;
        let notice = notice::notify(&world::notice_header(query), &query.submission().contact, &world::hub());
        vec![
            query.submitted.encode_to_vec(),
            query.request("alpha").encode_to_vec(),
            world::reply_to(query, "alpha", query.answered("alpha", &world::answer(1))).encode_to_vec(),
            notice.encode_to_vec(),
            submission::revoke(&query.reference, ACCEPTED, &query.signer).encode_to_vec(),
            world::signed_entry(&world::bank_entry("alpha")).encode_to_vec(),
        ]
    });
    &GENUINE
}

/// Re-signs the hub's statement of a query after a change: an upstream may sign what it likes.
fn resubmitted(query: &world::Query, change: impl FnOnce(&mut wire::HubStatement)) -> wire::QuerySubmitted {
    let mut submitted = query.submitted.clone();
    let signed = submitted.hub_statement.as_mut().expect("signed");
    let mut word = wire::HubStatement::decode(signed.body.clone()).expect("a statement");
    change(&mut word);
    *signed = sign::sign(Tag::HubStatement, &word, &query.signer);
    submitted
}

#[test]
fn a_signed_text_that_no_later_step_can_bear_is_refused_when_it_is_opened() {
    let (registry, query) = shared();
    for subject in ["", "with space", "nul\0", "人", &"s".repeat(65), &"s".repeat(70_000)] {
        let submitted = resubmitted(query, |word| word.subject = subject.to_owned());
        let opened = query.open(registry, &submitted).map(|submission| submission.query.content_digest());
        assert_eq!(opened, Err(Code::FIELD_INVALID), "a subject of {} bytes", subject.len());
    }
    for region in ["", "31000", "3100000", "31000x", "３１００００", &"3".repeat(70_000)] {
        let submitted = resubmitted(query, |word| word.region = region.to_owned());
        let opened = query.open(registry, &submitted).map(|submission| submission.query.content_digest());
        assert_eq!(opened, Err(Code::FIELD_INVALID), "a region of {} bytes", region.len());
    }
    assert!(query.open(registry, &query.submitted).is_ok());
}

#[test]
fn a_report_key_of_small_order_is_refused_before_any_bank_is_asked() {
    // The points of order 1, 2, 4 and 8 with their second spellings; the top bit is ignored by X25519.
    let small = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let (registry, query) = shared();
    for point in small {
        for top_bit in [0, 0x80] {
            let mut raw = hex::decode(point).expect("hex");
            raw[31] |= top_bit;
            let key = wire::PublicKey { algorithm: KeyAlgorithm::X25519.into(), raw: raw.into() };
            assert_eq!(SealingKey::from_wire(&key).map(|_| ()), Err(Code::KEY_INVALID), "{point}");
            let submitted = resubmitted(query, |word| word.report_key = Some(key));
            assert_eq!(query.open(registry, &submitted).map(|_| ()), Err(Code::KEY_INVALID));
        }
    }
    for n in 0..50 {
        assert!(SealingKey::from_wire(&world::opening(n).public().to_wire()).is_ok());
    }
}

#[test]
fn a_notice_about_a_query_that_is_not_final_is_refused() {
    let (registry, query) = shared();
    for n in 0..=9 {
        let state = QueryState::try_from(n).expect("a state");
        let header = notice::Header { state, ..world::notice_header(query) };
        let value = notice::notify(&header, &query.submission().contact, &world::hub()).encode_to_vec();
        let opened = notice::open(query.key().as_bytes(), value.into(), registry, FINAL);
        assert_eq!(opened.is_ok(), state.as_str_name().starts_with("QUERY_STATE_FINAL"), "{state:?}");
    }
}

#[test]
fn times_of_a_signed_statement_may_be_anything_without_a_panic() {
    let (registry, query) = shared();
    let policy = rules::Policy {
        open_regions: ["310000".to_owned()].into(),
        consent_texts: [Digest::of("同意书".as_bytes())].into(),
        max_factor_age: world::FACTOR_AGE,
    };
    let mut hub_query = query.submission().query;
    assert_eq!(rules::check_query(&hub_query, &policy, registry, ACCEPTED), Ok(()));
    let extremes = [i64::MIN, -1, 0, 1, ACCEPTED.0, i64::MAX];
    for issued in extremes {
        for expires in extremes {
            for at in extremes {
                hub_query.terms.issued_at = UnixMillis(issued);
                hub_query.terms.expires_at = UnixMillis(expires);
                hub_query.terms.factors[0].at_ms = at;
                let verdict = rules::check_query(&hub_query, &policy, registry, UnixMillis(at));
                let valid = issued == ACCEPTED.0 && expires == ACCEPTED.0 && at == ACCEPTED.0;
                assert_eq!(verdict.is_ok(), valid, "{issued} {expires} {at}");
            }
        }
    }
}

#[test]
fn a_party_without_a_signing_key_can_still_change_its_sealing_key() {
    let mut registry = world::registry();
    let mut entry = world::notifier_entry();
    entry.version += 1;
    entry.keys.push(wire::PartyKey { valid_from_ms: ACCEPTED.0, ..world::seal_key(&world::opening(51)) });
    assert_eq!(world::apply(&mut registry, &world::signed_entry(&entry), ACCEPTED), Ok(Applied::Changed));
    let notifier = registry.notifier().expect("registered");
    assert_eq!(notifier.sealing_key(ACCEPTED), Ok(world::opening(51).public()));

    // A party that has one needs its word, also for a sealing key, and also when it counts no longer.
    let mut entry = world::bank_entry("alpha");
    entry.version += 1;
    entry.keys.push(world::seal_key(&world::opening(51)));
    let refused = world::apply(&mut registry, &world::signed_entry(&entry), ACCEPTED);
    assert_eq!(refused, Err(Code::REGISTRY_ROTATION_UNSIGNED));
    let mut revoked = world::bank_entry("alpha");
    revoked.version += 1;
    revoked.keys[0].revoked = true;
    world::apply(&mut registry, &world::signed_entry(&revoked), ACCEPTED).expect("taken");
    revoked.version += 1;
    revoked.keys.push(world::seal_key(&world::opening(51)));
    let refused = world::apply(&mut registry, &world::signed_entry(&revoked), REPLIED);
    assert_eq!(refused, Err(Code::REGISTRY_ROTATION_UNSIGNED));
}

#[test]
fn an_entry_that_lists_a_key_twice_is_refused() {
    let mut registry = Registry::new(world::pinned(), SeenVersions::default());
    let mut entry = world::bank_entry("alpha");
    let again = wire::PartyKey { revoked: true, ..entry.keys[0].clone() };
    entry.keys.push(again);
    let refused = world::apply(&mut registry, &world::signed_entry(&entry), ACCEPTED);
    assert_eq!(refused, Err(Code::MESSAGE_MALFORMED), "revoked or not would depend on the order");
}

#[test]
fn every_entry_and_record_key_names_one_party() {
    let (registry, _) = shared();
    let record = world::signed_entry(&world::bank_entry("alpha")).encode_to_vec();
    let mut registry = registry.clone();
    for key in ["bank/beta", "upstream/alpha", "bank/alpha ", "BANK/alpha", "alpha", ""] {
        assert_eq!(registry.apply(key.as_bytes(), &record, FINAL), Err(Code::WRONG_RECORD_KEY), "{key}");
    }
    for kind in [PartyKind::Unspecified, PartyKind::Notifier, PartyKind::Hub] {
        let entry = wire::RegistryEntry { kind: kind.into(), ..world::bank_entry("alpha") };
        assert_eq!(registry::record_key(&entry), Err(Code::MESSAGE_MALFORMED));
    }
}
