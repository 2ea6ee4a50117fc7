//! Days pass: what was promised to be gone is gone, and the hub signs for it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aggregator::store::{Clock as _, DayKeys, PostgresStore, Store as _, SystemClock};
use cardquery::demo::wallet::WalletError;
use cardquery::local::plan::Part;
use cardquery::sample;
use cardquery_tests::backup;
use cardquery_tests::system::{Setup, System};
use plumbing::postgres::PostgresConfig;
use prost::Message as _;
use schemas::acls::User;
use schemas::erasure;
use schemas::registry::{Registry, SeenVersions};
use schemas::time::UnixMillis;
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
    let backup = backup::dump(url.expose_secret());
    let kept_key = fs::read(&key_file).expect("its day has a key");

    assert_eq!(system.asker().erased(&query).await.erase_on, status.erase_on);
    match system.wallet().fetch(&query, SystemClock.now()).await {
        Err(WalletError::Refused(problem)) => assert_eq!(problem.code, "REPORT_ERASED"),
        other => panic!("{other:?}"),
    }
    assert!(!key_file.exists());
    let store = |url: &str, keys: &Path| {
        let pool = PostgresConfig::new(url).pool("aggregator.test", 2).expect("a pool");
        PostgresStore::new(pool, DayKeys::open(keys).expect("a directory"))
    };
    let live = store(url.expose_secret(), &key_dir);
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

    let receipt = receipt(&live, &status.erase_on).await;
    assert_eq!((receipt.queries, receipt.day.as_str()), (1, status.erase_on.as_str()));
    assert_eq!(receipt.tables, ["contact", "coverage", "segment"]);
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

/// The receipt of a day, verified with the hub's entry of the sample registry.
async fn receipt(store: &PostgresStore, day: &str) -> erasure::Receipt {
    let day = day.parse().expect("a date");
    let found = async {
        loop {
            if let Some(receipt) = store.receipt(day).await.expect("read") {
                return receipt;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let signed =
        tokio::time::timeout(DAY * 5, found).await.expect("a receipt soon after the day's last query");
    let mut registry = Registry::new(sample::keys::roots(), SeenVersions::default());
    for (key, value) in sample::registry::records() {
        registry.apply(key.as_bytes(), &value, UnixMillis(0)).expect("the sample's entry");
    }
    erasure::open(&signed, registry.hub().expect("the sample has a hub")).expect("the hub's word")
}
