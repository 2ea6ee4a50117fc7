//! What is inside the seals is nowhere in what the hub's servers and processes keep and say.

use cardquery::local::plan::Part;
use cardquery_tests::scan::run::record_items;
use cardquery_tests::scan::{Item, Needles, Scanner};
use cardquery_tests::system::{Setup, System};
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const PEOPLE: [&str; 4] = ["wang", "li", "zhang", "chen"];
const BANKS: [&str; 4] = ["anhe", "beichuan", "changning", "mingyue"];
const HUB: [&str; 3] = ["aggregator", "notifier", "producer"];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_from_inside_the_seals_is_in_any_table_topic_log_or_metric_of_running_services() {
    let mut system = System::start(Setup { banks: BANKS.into(), ..Setup::default() }).await;
    for person in PEOPLE {
        let query = system.ask(person).await;
        assert_eq!(system.ended(&query).await.state, "FINAL_ALL_ANSWERED");
        assert_eq!(system.open(&query).await.banks.len(), BANKS.len());
    }
    system.settle().await;

    let people = Needles::of_sample(system.local.plan.seed);
    // A bank may say in its log what words its own settings are translated to.
    let (of_banks, of_hub) = (Scanner::new(&people), Scanner::new(&people.with_sealed_words()));

    let mut items = tables(&system, &Part::Aggregator).await;
    items.extend(tables(&system, &Part::Notifier).await);
    assert!(items.iter().any(|item| item.name.starts_with("segment")), "answers are stored");
    let mut topics: std::collections::BTreeSet<String> =
        system.ends().await.into_keys().map(|key| key.0).collect();
    topics.insert(system.local.topics().audit());
    for topic in topics {
        items.extend(system.records(&topic).await.iter().flat_map(record_items));
    }
    for name in HUB {
        items.push(Item::new(format!("metrics of {name}"), system.metrics(name).await));
    }
    let mut logs_of_banks = Vec::new();
    for name in system.names().collect::<Vec<_>>() {
        let process = system.process(&name);
        let said = process.stdout() + &process.stderr();
        assert!(said.len() > 100, "{name} logs something");
        let log = Item::new(format!("log of {name}"), said);
        if HUB.contains(&name.as_str()) { &mut items } else { &mut logs_of_banks }.push(log);
    }
    let findings = [of_hub.scan(&items), of_banks.scan(&logs_of_banks)].concat();
    assert!(findings.is_empty(), "{} findings: {:#?}", findings.len(), &findings[..findings.len().min(20)]);

    // The same eyes see it where it belongs.
    let bank = Part::Connector(BANKS[0].parse().expect("an id"));
    assert!(!of_hub.scan(&tables(&system, &bank).await).is_empty(), "a bank's own tables hold it");
    system.finish();
}

/// Every row of every table of a part's database, as text.
async fn tables(system: &System, part: &Part) -> Vec<Item> {
    const NAMES: &str =
        "SELECT tablename::text FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    let url = system.local.database_url(part).expect("it has a database");
    let mut session = PgConnection::connect(url.expose_secret()).await.expect("connected");
    let names: Vec<String> = sqlx::query_scalar(NAMES).fetch_all(&mut session).await.expect("read");
    let mut items = Vec::new();
    for name in names {
        let rows = format!("SELECT of_table::text FROM {name} AS of_table");
        let rows: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(rows)).fetch_all(&mut session).await.expect("read");
        items.extend(rows.into_iter().map(|row| Item::new(format!("{name} of {}", part.name()), row)));
    }
    session.close().await.expect("closed");
    items
}
