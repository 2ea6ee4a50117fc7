//! Days pass: what was promised to be gone is gone, and the hub signs for it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aggregator::store::{Clock as _, DayKeys, PostgresStore, ReportContent, Store as _, SystemClock};
use cardquery::demo::wallet::WalletError;
use cardquery::local::plan::Part;
use cardquery_tests::backup;
use cardquery_tests::scan::run::record_items;
use cardquery_tests::scan::{Item, Needles, Scanner};
use cardquery_tests::system::{Setup, System};
use jiff::civil::Date;
use plumbing::postgres::PostgresConfig;
use prost::Message as _;
use schemas::acls::User;
use schemas::audit::leaf::Word;
use schemas::audit::{Change, Leaf};
use schemas::erasure;
use schemas::ids::{BankId, Digest, Reference};
use schemas::registry::{Party, Registry};
use schemas::wire::{self, event_record};
use secrecy::ExposeSecret as _;

/// A query is erased 28 to 32 s after it was accepted.
const DAY: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn after_its_seventh_day_a_report_is_nowhere_and_the_hub_signs_for_it() {
    let banks = ["anhe", "beichuan", "changning"];
    let setup =
        Setup { window: Duration::from_secs(10), day: Some(DAY), banks: banks.into(), ..Setup::default() };
    let mut system = System::start(setup).await;
    // Whoever of the two sees the end of a day first erases it.
    system.start_another("aggregator").await;
    let query = system.ask("wang").await;
    let status = system.ended(&query).await;
    assert_eq!(status.state, "FINAL_ALL_ANSWERED");
    assert!(system.open(&query).await.complete);
    let url = system.local.database_url(&Part::Aggregator).expect("it has a database");
    let key_dir = system.local.plan.folder.join("day-keys");
    let key_file = key_dir.join(format!("{}.key", status.erase_on));
    let store = |url: &str, keys: &Path| {
        let pool = PostgresConfig::new(url).pool("aggregator.test", 2).expect("a pool");
        PostgresStore::new(pool, DayKeys::open(keys).expect("a directory"))
    };
    let live = store(url.expose_secret(), &key_dir);
    let content = live.report(&query.reference).await.expect("read").expect("there is a report");
    let backup = backup::dump(url.expose_secret());
    let kept_key = fs::read(&key_file).expect("its day has a key");

    assert_eq!(system.asker().erased(&query).await.erase_on, status.erase_on);
    match system.wallet().fetch(&query, SystemClock.now()).await {
        Err(WalletError::Refused(problem)) => assert_eq!(problem.code, "REPORT_ERASED"),
        other => panic!("{other:?}"),
    }
    assert!(!key_file.exists());
    assert_eq!(live.report(&query.reference).await.expect("read"), None);
    assert_eq!(live.contact(&query.reference).await.expect("read"), None);

    let restored = backup::restored(&backup).await;
    let left = fs::read_dir(&key_dir).expect("readable").map(|key| fs::read(key.expect("an entry").path()));
    let left: Vec<Vec<u8>> = left.filter_map(Result::ok).collect();
    assert!(left.len() >= 14, "{} keys are left", left.len());
    let opens = async |key: &[u8]| {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(key_file.file_name().expect("a name")), key).expect("written");
        store(&restored.url(), folder.path()).report(&query.reference).await
    };
    let report = opens(&kept_key).await.expect("the key that was destroyed would open it");
    assert_eq!(report.expect("is there").segments.len(), banks.len());
    for key in &left {
        opens(key).await.expect_err("no key that is left opens it");
    }

    the_log_proves_what_was_there(&system, &query.reference, &status.erase_on, &content).await;
    system.settle().await;
    let topics = system.local.topics();
    let upstream = system.local.plan.upstream().clone();
    let events = system.console(&User::Upstream(upstream.clone()), &topics.event(&upstream));
    let erased = events.iter().filter(|record| {
        let event = wire::EventRecord::decode(record.value.as_slice()).expect("an event");
        matches!(event.message, Some(event_record::Message::Erased(_)))
    });
    assert_eq!(
        erased.map(|record| record.key.clone()).collect::<Vec<_>>(),
        [query.reference.query.to_string()]
    );
    system.finish();
}

/// From the audit topic and the registry alone: that each bank answered, that the report held exactly these answers, and
/// when they were erased. `content` is what the report held; nothing of it is left in the log.
async fn the_log_proves_what_was_there(
    system: &System,
    reference: &Reference,
    erase_on: &str,
    content: &ReportContent,
) {
    let day: Date = erase_on.parse().expect("a date");
    let is_receipt = |leaf: &Leaf| matches!(leaf, Leaf::Receipt(of, _) if *of == day);
    let log = system.until_logged("the receipt", |log| log.decoded().iter().any(is_receipt)).await;
    let registry = system.registry();
    let changes = log.changes(reference);
    for change in &changes {
        log.assert_included(&Leaf::Query(reference.clone(), change.clone()));
    }
    let find = |kind| changes.iter().find(|change| change.kind() == kind).expect("it is in the log");
    let (
        Change::Registered(accepted),
        Change::Final(report),
        Change::Replies(proofs),
        Change::Erased { erase_on, .. },
    ) = (find("registered"), find("final"), find("replies"), find("erased"))
    else {
        panic!("{changes:?}")
    };
    assert_eq!(*erase_on, day);
    assert!(proofs.keys().eq(accepted.statements.keys()), "every bank's word is proven");
    for (bank, proof) in proofs {
        let chosen = report.outcomes[bank].reply.as_ref().expect("it answered");
        let party = registry.bank(bank).expect("registered");
        let proven = proof.open(reference, bank, party, chosen.appended_at).expect("the bank's word");
        assert_eq!((proven.word, proven.statement), (Word::Answered, accepted.statements[bank]));
        let segment = &content.segments[bank];
        assert_eq!(chosen.segment, Digest::of(segment));
        let sealed = wire::Segment::decode(segment.clone()).expect("a segment").sealed_answer;
        assert_eq!(proven.sealed, Digest::of(&sealed), "it is the answer that the report held");
        let others = party_of_another(&registry, bank);
        assert!(proof.open(reference, bank, others, chosen.appended_at).is_err(), "by its own key alone");
    }

    let leaves = log.decoded();
    let receipts: Vec<&Leaf> = leaves.iter().filter(|leaf| is_receipt(leaf)).collect();
    let [Leaf::Receipt(_, signed)] = receipts[..] else { panic!("{receipts:?}") };
    log.assert_included(receipts[0]);
    let receipt =
        erasure::open(signed, registry.hub().expect("the sample has a hub")).expect("the hub's word");
    assert_eq!((receipt.queries, receipt.day), (1, day.to_string()));
    assert_eq!(receipt.tables, ["contact", "coverage", "segment"]);

    let records = system.records(&system.local.topics().audit()).await;
    for record in &records {
        for segment in content.segments.values() {
            let sealed = wire::Segment::decode(segment.clone()).expect("a segment").sealed_answer;
            // Any part of what is sealed: no sixteen bytes of it are anywhere by chance.
            let part = |part: &[u8]| record.value.windows(part.len()).any(|bytes| bytes == part);
            assert!(!sealed.chunks_exact(16).any(part), "sealed bytes in {}", record.position);
        }
    }
    let items: Vec<Item> = records.iter().flat_map(record_items).collect();
    let findings = Scanner::new(&Needles::of_sample(system.local.plan.seed).with_sealed_words()).scan(&items);
    assert!(findings.is_empty(), "{findings:#?}");
}

fn party_of_another<'a>(registry: &'a Registry, bank: &BankId) -> &'a Party {
    registry.banks().find(|(other, _)| other != bank).expect("there are several").1
}
