//! The banks of a query are those that the person chose.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aggregator::store::{Clock as _, SystemClock};
use cardquery::sample;
use cardquery_tests::system::{Setup, System};
use producer::wallet::Person;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use schemas::ids::BankId;

const QUERIES: u32 = 80;
/// Sent together, and dealt with before the next ones are sent.
const TOGETHER: usize = 16;
const SEED: u64 = 9;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_banks_are_chosen_each_of_them_is_asked_once_and_no_other() {
    // Nobody is asked a second time within the test.
    let window = Duration::from_secs(24 * 3_600);
    let banks = sample::registry::sample().banks;
    let without: BTreeSet<&'static str> =
        banks.iter().map(|bank| &*format!("bank-{}", bank.id).leak()).collect();
    let mut system = System::start(Setup { window, without, ..Setup::default() }).await;
    let (front, wang) = (system.front(), &sample::core::people()[0]);
    let mut numbers = StdRng::seed_from_u64(SEED);
    let mut chosen: BTreeMap<BankId, BTreeSet<String>> =
        banks.iter().map(|bank| (bank.id.clone(), BTreeSet::new())).collect();
    let mut queries = Vec::new();
    for number in 0..QUERIES {
        let count = numbers.random_range(1..=banks.len());
        let choice: Vec<&BankId> = banks.sample(&mut numbers, count).map(|bank| &bank.id).collect();
        let person = Person { subject: format!("person-{number}"), ..wang.into() };
        let planned = front.plan(&person, &choice, SystemClock.now());
        for bank in choice {
            chosen.get_mut(bank).expect("a sample bank").insert(planned.reference.query.to_string());
        }
        queries.push(planned);
    }
    for together in queries.chunks(TOGETHER) {
        futures::future::join_all(together.iter().map(|planned| front.send(planned))).await;
        system.settle().await;
    }

    for (bank, queries) in chosen {
        let asked = system.records(&system.local.topics().request(&bank)).await;
        let asked: Vec<String> = asked
            .into_iter()
            .map(|record| String::from_utf8(record.key.expect("a key").to_vec()).expect("a text"))
            .collect();
        assert_eq!(asked.len(), queries.len(), "{bank} is asked once for each query that names it");
        assert_eq!(asked.into_iter().collect::<BTreeSet<_>>(), queries, "{bank}");
    }
    system.finish();
}
