//! What leaves say is checked as well.

use bytes::Bytes;
use cardquery::audit::codes::Code;
use cardquery::sample::keys;
use schemas::audit::{Change, Leaf};
use schemas::fields::Fields;
use schemas::ids::KeyId;
use schemas::keys::SigningKey;
use schemas::registry::PartyName;
use schemas::reply;

use crate::world::{
    Copy, DAY, bank_proof, banks, erased, finalised, hub, receipt, reference, registered, replies, viewed,
    withdrawn,
};

fn found(leaves: &[Leaf]) -> Vec<(Code, Option<u64>)> {
    let leaves: Vec<Bytes> = leaves.iter().map(Leaf::encode).collect();
    found_in(&leaves)
}

fn found_in(leaves: &[Bytes]) -> Vec<(Code, Option<u64>)> {
    let report = Copy::of(leaves, &[]).verify();
    assert_eq!(report.verified, report.faults.is_empty());
    report.faults.iter().chain(&report.notes).map(|finding| (finding.code, finding.entry)).collect()
}

#[test]
fn leaves_that_tell_of_no_story_are_named() {
    let cases = [
        (vec![registered(1), finalised(1), viewed(1), withdrawn(1)], vec![]),
        (vec![finalised(1), registered(1)], vec![(Code::LEAF_OUT_OF_ORDER, Some(0))]),
        (vec![registered(2), finalised(1)], vec![(Code::LEAF_OUT_OF_ORDER, Some(1))]),
        (vec![registered(1), viewed(1)], vec![(Code::LEAF_OUT_OF_ORDER, Some(1))]),
        (vec![registered(1), registered(2), registered(1)], vec![(Code::LEAF_REPEATED, Some(2))]),
        (
            vec![receipt(DAY, &hub()), withdrawn(1), receipt(DAY, &hub())],
            vec![(Code::LEAF_REPEATED, Some(2))],
        ),
        (vec![erased(1), erased(2)], vec![(Code::ERASED_WITHOUT_RECEIPT, Some(0))]),
        (vec![erased(1), receipt(DAY, &hub())], vec![]),
    ];
    for (leaves, expected) in cases {
        assert_eq!(found(&leaves), expected);
    }
}

#[test]
fn a_receipt_that_the_hub_did_not_sign_for_that_day_is_named() {
    let tomorrow = DAY.tomorrow().unwrap();
    let stranger = SigningKey::from_seed(&[1; 32]);
    for leaf in [receipt(tomorrow, &hub()), receipt(DAY, &stranger)] {
        assert_eq!(found(&[withdrawn(1), leaf]), [(Code::RECEIPT_INVALID, Some(1))]);
    }
}

#[test]
fn a_reply_that_its_bank_did_not_sign_or_that_did_not_count_is_named() {
    let banks = banks();
    let answered =
        || reply::Word::Answered { report_key: KeyId([2; 16]), sealed_answer: Bytes::from_static(b"sealed") };
    let own = |bank| keys::signing(&PartyName::bank(bank));
    let of = |n: u32, bank: usize, key: &SigningKey, word| {
        let proof = bank_proof(n, &banks[bank], word, key);
        Leaf::Query(reference(1), Change::Replies([(banks[bank].clone(), proof)].into()))
    };
    let good = of(1, 0, &own(&banks[0]), answered());
    assert_eq!(found(&[registered(1), finalised(1), good.clone()]), []);
    // One commit has no order.
    assert_eq!(found(&[registered(1), good.clone(), finalised(1)]), []);
    let bad = [
        of(1, 0, &own(&banks[1]), answered()),
        of(2, 0, &own(&banks[0]), answered()),
        of(1, 1, &own(&banks[1]), answered()),
        of(1, 2, &own(&banks[2]), answered()),
    ];
    for leaf in bad {
        let expected = [(Code::REPLY_INVALID, Some(2))];
        assert_eq!(found(&[registered(1), finalised(1), leaf.clone()]), expected);
        let expected = [(Code::REPLY_INVALID, Some(1))];
        assert_eq!(found(&[registered(1), leaf, finalised(1)]), expected);
    }
    assert_eq!(found(&[registered(1), good]), [(Code::REPLY_INVALID, Some(1))]);
    assert_eq!(found(&[registered(1), finalised(1), replies(1)]), []);
}

#[test]
fn a_leaf_of_a_kind_to_come_is_a_note_and_one_that_is_none_is_a_fault() {
    let kind = |form: &str, kind: &str| {
        let fields = Fields::new().text(form).text(kind).text("wallet").bytes(&[7; 16]);
        Bytes::copy_from_slice(fields.as_bytes())
    };
    let cases = [
        (kind("audit-leaf/v1", "lighted"), Code::LEAF_KIND_UNKNOWN),
        (kind("audit-leaf/v2", "registered"), Code::LEAF_KIND_UNKNOWN),
        (kind("audit-leaf/v1", "registered"), Code::LEAF_MALFORMED),
        (kind("other/v1", "lighted"), Code::LEAF_MALFORMED),
        (Bytes::from_static(b""), Code::LEAF_MALFORMED),
        (Bytes::from_static(b"words"), Code::LEAF_MALFORMED),
    ];
    for (leaf, code) in cases {
        assert_eq!(found_in(&[withdrawn(1).encode(), leaf]), [(code, Some(1))]);
    }
}
