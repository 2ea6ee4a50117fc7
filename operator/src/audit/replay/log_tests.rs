use jiff::civil::date;
use schemas::audit::leaf::Place;
use schemas::ids::{Digest, KeyId};
use schemas::keys::SigningKey;
use schemas::time::UnixMillis;

use super::*;
use crate::audit::replay::history::History;
use crate::sample;

const ORIGIN: &str = "cardquery.audit.v1";

fn reference(n: u8) -> Reference {
    let query = format!("0192f0c1-2d3e-7000-8000-0000000000{n:02x}").parse().expect("a version 7 id");
    Reference { upstream: "wallet".parse().expect("an id"), query }
}

fn registered(n: u8, accepted_at: i64) -> Bytes {
    let accepted = Accepted {
        content_digest: Digest([1; 32]),
        report_key: KeyId([2; 16]),
        record: Place { topic: "cardquery.query.wallet.v1".into(), partition: 3, offset: 42 },
        accepted_at: UnixMillis(accepted_at),
        reply_by: UnixMillis(4),
        deadline_at: UnixMillis(5),
        erase_on: date(2026, 12, 2),
        statements: BTreeMap::new(),
    };
    Leaf::Query(reference(n), Change::Registered(accepted)).encode()
}

fn report(n: u8) -> Bytes {
    let report = Final {
        state: 3,
        finalised_at: UnixMillis(11),
        coverage: Digest([12; 32]),
        registry_offset: 13,
        outcomes: BTreeMap::new(),
    };
    Leaf::Query(reference(n), Change::Final(report)).encode()
}

fn withdrawn(n: u8) -> Bytes {
    Leaf::Query(reference(n), Change::Withdrawn { at: UnixMillis(9) }).encode()
}

fn leaves(first: u64, leaves: &[Bytes]) -> Vec<u8> {
    let leaves = wire::AuditLeaves { first, leaves: leaves.to_vec() };
    wire::AuditRecord { message: Some(audit_record::Message::Leaves(leaves)) }.encode_to_vec()
}

fn checkpoint(of: &[Bytes], key: &SigningKey) -> Vec<u8> {
    let mut tree = Frontier::default();
    for leaf in of {
        tree.push(merkle::leaf_hash(leaf));
    }
    let checkpoint = Checkpoint {
        origin: ORIGIN.to_owned(),
        size: tree.size(),
        root: tree.root(),
        signed_at: UnixMillis(1_795_420_800_000),
    };
    let checkpoint = wire::AuditCheckpoint { note: checkpoint.sign(key) };
    wire::AuditRecord { message: Some(audit_record::Message::Checkpoint(checkpoint)) }.encode_to_vec()
}

fn hub() -> SigningKey {
    sample::keys::signing(&schemas::registry::PartyName::hub())
}

fn log(selection: Selection, records: &[Vec<u8>]) -> Log {
    let registry: Vec<plumbing::kafka::Record> = (0i64..)
        .zip(sample::registry::records())
        .map(|(offset, (key, value))| plumbing::kafka::Record {
            position: plumbing::kafka::Position { topic: "registry".into(), partition: 0, offset },
            append_time_ms: 0,
            key: Some(key.into_bytes().into()),
            value: value.into(),
            headers: Vec::new(),
        })
        .collect();
    let history = History::new(sample::keys::roots(), &registry);
    let keys = history.newest().hub().expect("the sample has a hub").keys().to_vec();
    let mut log = Log::new(ORIGIN.to_owned(), keys, selection);
    for record in records {
        log.take(record);
    }
    log
}

fn codes(log: &Log) -> Vec<Code> {
    log.findings().map(|finding| finding.code).collect()
}

#[test]
fn what_the_hub_signed_is_vouched_for_and_repeats_change_nothing() {
    let all = [registered(1, 3), report(1), registered(2, 3), withdrawn(2)];
    let log = log(
        Selection::All,
        &[
            checkpoint(&[], &hub()),
            leaves(0, &all[..2]),
            checkpoint(&all[..2], &hub()),
            leaves(1, &all[1..]),
            leaves(0, &all),
            checkpoint(&all, &hub()),
        ],
    );
    assert_eq!(codes(&log), []);
    assert_eq!((log.size(), log.vouched(), log.is_whole()), (4, Some(4), true));
    let told = log.told();
    assert_eq!(told[&reference(1)].report().expect("a report").registry_offset, 13);
    assert_eq!(told[&reference(1)].accepted().expect("accepted").accepted_at, UnixMillis(3));
    assert_eq!(
        (told[&reference(2)].ended, told[&reference(2)].report.is_some()),
        (Some(Ended::Withdrawn), false)
    );
}

#[test]
fn a_log_that_is_not_the_one_that_was_signed_is_named() {
    let all = [registered(1, 3), report(1)];
    let other = [registered(1, 4), report(1)];
    let of = |records: &[Vec<u8>]| codes(&log(Selection::All, records));
    assert_eq!(of(&[leaves(0, &other), checkpoint(&all, &hub())]), [Code::ROOT_MISMATCH]);
    assert_eq!(of(&[checkpoint(&all, &hub()), leaves(0, &other)]), [Code::ROOT_MISMATCH]);
    assert_eq!(of(&[leaves(0, &all[..1]), checkpoint(&all, &hub())]), [Code::LOG_CUT_SHORT]);
    assert_eq!(
        of(&[leaves(0, &all), checkpoint(&all, &SigningKey::from_seed(&[1; 32]))]),
        [Code::CHECKPOINT_FORGED]
    );
    assert_eq!(of(&[checkpoint(&[], &hub())]), []);
    assert_eq!(of(&[leaves(0, &all[..1]), leaves(2, &all[1..])]), [Code::LOG_GAP]);
    assert_eq!(of(&[leaves(0, &[report(1), report(1)])]), [Code::LEAF_REPEATED]);
}

#[test]
fn only_the_chosen_queries_are_kept_whatever_order_their_leaves_have() {
    let span = || Selection::Accepted { from: UnixMillis(10), to: UnixMillis(20) };
    let records = [leaves(
        7,
        &[registered(1, 9), report(2), registered(2, 10), report(1), registered(3, 20), withdrawn(3)],
    )];
    let spanned = log(span(), &records);
    assert_eq!(spanned.told().keys().collect::<Vec<_>>(), [&reference(2)]);
    assert!(spanned.told()[&reference(2)].report().is_some());
    assert!(spanned.passed_over.is_empty(), "and what was passed over is forgotten");
    assert_eq!((spanned.is_whole(), spanned.vouched(), codes(&spanned)), (false, None, vec![]));
    let named = log(Selection::Queries([reference(3)].into()), &records);
    assert_eq!(named.told().keys().collect::<Vec<_>>(), [&reference(3)]);
    let tail = log(Selection::Queries([reference(3)].into()), &[leaves(12, &[withdrawn(3), withdrawn(2)])]);
    assert_eq!(tail.told()[&reference(3)].ended, Some(Ended::Withdrawn));
    assert_eq!(tail.told().len(), 1);
}

#[test]
fn what_this_version_cannot_read_is_counted() {
    let log =
        log(Selection::All, &[b"\xff".to_vec(), leaves(0, &[Bytes::from_static(b"a leaf of tomorrow")])]);
    assert_eq!((log.unreadable(), log.size()), (2, 1));
}
