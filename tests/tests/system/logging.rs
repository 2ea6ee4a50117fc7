//! The audit log of two aggregators, of which one after the other is killed.

use std::collections::BTreeMap;

use cardquery_tests::system::{Setup, System};
use schemas::audit::Change;

const BANKS: [&str; 2] = ["anhe", "beichuan"];
const ROUNDS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn aggregators_that_are_killed_in_turns_leave_one_log_with_each_change_once() {
    let mut system = System::start(Setup { banks: BANKS.into(), ..Setup::default() }).await;
    let another = system.start_another("aggregator").await;
    let names = ["aggregator".to_owned(), another];
    let mut queries = Vec::new();
    for round in 0..ROUNDS {
        queries.push(system.ask("wang").await);
        queries.push(system.ask("li").await);
        let name = &names[round % 2];
        system.kill_9(name);
        system.spawn(name);
        system.ready(name).await;
    }
    for query in &queries {
        system.ended(query).await;
        system.open(query).await;
    }
    system.settle().await;
    let seen = |log: &cardquery_tests::audit_log::AuditLog| {
        queries
            .iter()
            .all(|query| log.changes(&query.reference).iter().any(|change| change.kind() == "viewed"))
    };
    let log = system.until_logged("every view", seen).await;
    for query in &queries {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for change in log.changes(&query.reference) {
            *kinds.entry(change.kind()).or_default() += 1;
            if let Change::Final(report) = &change {
                assert_eq!(report.outcomes.len(), BANKS.len());
            }
        }
        let once = ["final", "registered", "replies", "risk", "viewed"].map(|kind| (kind, 1));
        assert_eq!(kinds, once.into());
    }
    system.finish();
}
