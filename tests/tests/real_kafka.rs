//! The flow on Apache Kafka itself: what the in-process broker of the demo cannot show. Topics and their settings,
//! partitions, and an aggregator that is killed at any moment.

#[path = "real_kafka/witness.rs"]
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

use aggregator::store::{Clock, SystemClock};
use bytes::Bytes;
use cardquery::demo::wallet::{Submitted, Wallet, WalletError};
use cardquery::demo::world::{Plan, World};
use cardquery::sample;
use cardquery_tests::hub_process::HubProcess;
use cardquery_tests::java::java_partitions;
use cardquery_tests::kafka::{KafkaServer, TopicSpec};
use cardquery_tests::process::ChildProcess;
use cardquery_tests::stack::Stack;
use prost::Message;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Timestamp};
use schemas::ids::BankId;
use schemas::report::OpenedReport;
use schemas::topics::Spec;
use schemas::wire::{self, BankOutcome, QueryState, event_record, sms_record};
use serde_json::Value;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use self::witness::{Seen, Witness};

const WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
const REGION: &str = "310000";
const DOWN: &str = "yunhe";
const SILENT: &str = "taihe";

/// One query of all fourteen banks that ends at its deadline, and others beside it, so that more than one key is seen.
#[tokio::test(flavor = "multi_thread")]
async fn the_whole_flow_passes_and_keys_lie_where_the_java_client_puts_them() {
    let server = KafkaServer::shared();
    let plan = Plan {
        brokers: Some(server.bootstrap().to_owned()),
        window: Duration::from_secs(15),
        down: [bank(DOWN)].into(),
        silent: [bank(SILENT)].into(),
        ..Plan::new()
    };
    let mut world = World::start(&plan).await.expect("the world starts on a real broker");
    let all = bank_ids(&world);
    let table = world.topics.all(std::slice::from_ref(&world.upstream), &all);
    let names: Vec<String> = table.iter().map(|(name, _)| name.clone()).collect();
    topics_are_those_of_the_table(server, world.topics.prefix(), &table).await;

    let wallet = Wallet::new(world.upstream.clone(), world.producer);
    let query = submit(&wallet, "wang", &all).await;
    let honest: Vec<BankId> =
        all.iter().filter(|bank| !plan.down.contains(bank) && !plan.silent.contains(bank)).cloned().collect();
    let mut others = Vec::new();
    for (index, person) in ["wang", "li", "zhang", "chen"].iter().cycle().take(11).enumerate() {
        others.push(submit(&wallet, person, &honest[index..=index + 1]).await);
    }

    for other in &others {
        final_state(&wallet, other, "FINAL_ALL_ANSWERED").await;
    }
    final_state(&wallet, &query, "FINAL_PARTIAL").await;
    let (_, report) = view(&wallet, &query).await;
    assert_eq!(report.coverage.state, QueryState::FinalPartial);
    assert!(
        report.coverage.finalised_at > report.coverage.deadline_at,
        "only time ends a query with a silent bank"
    );
    assert!(!report.complete);
    let outcome = |bank: &BankId| report.coverage.banks[bank].0;
    assert_eq!(report.coverage.banks.keys().collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
    assert!(honest.iter().all(|bank| outcome(bank) == BankOutcome::Answered));
    assert_eq!(honest.len(), 12);
    assert_ne!(outcome(&bank(DOWN)), BankOutcome::Answered);
    assert_ne!(outcome(&bank(SILENT)), BankOutcome::Answered);
    let opened = report.banks.iter().filter(|bank| bank.verified == Some(Ok(())) && bank.answer.is_some());
    assert_eq!(opened.count(), 12);

    let queries: Vec<&Submitted> = others.iter().chain([&query]).collect();
    let mut witness = Witness::of(server.bootstrap(), &names);
    let sms = world.topics.sms();
    witness
        .until("an accepted SMS per query", WITHIN, |seen| accepted(seen, &sms).len() >= queries.len())
        .await;
    let seen = witness.read_to_end().await;
    one_sms_per_query(seen, &sms, &queries);
    for _ in &queries {
        world.inbox.try_recv().expect("an accepted SMS has arrived");
    }
    world.inbox.try_recv().expect_err("no further SMS");
    no_dead_letters(seen);
    for record in seen {
        assert!(
            matches!(record.timestamp, Timestamp::LogAppendTime(_)),
            "{} {:?}",
            record.topic,
            record.timestamp
        );
    }
    keys_lie_where_the_java_client_puts_them(server, seen, &table, &queries).await;
    world.stop().await;
}

/// On a broker of its own, so that every topic there is the demo's.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_on_a_real_broker_prints_its_document_and_leaves_no_topic() {
    let server = tokio::task::block_in_place(KafkaServer::start);
    let arguments = ["demo", "--json", "--window", "10s", "--brokers", server.bootstrap()];
    let mut demo = ChildProcess::spawn("cardquery", &arguments, &[]);
    let admin = admin(&server);
    eventually("the demo makes its 37 topics", || topics(&admin, "").len() >= 37 || !demo.is_running()).await;
    assert!(demo.is_running(), "the demo ended early:\n{}", demo.stderr());

    assert_eq!(demo.wait(WITHIN).await, 0, "{}", demo.stderr());

    let document: Value = serde_json::from_str(&demo.stdout()).expect("standard output is one JSON document");
    assert_eq!(document["state"], "FINAL_PARTIAL");
    assert_eq!(document["complete"], false);
    assert_eq!(document["coverage"].as_array().map(Vec::len), Some(14));
    assert_eq!(document["report"]["banks"].as_array().map(Vec::len), Some(12));
    assert_eq!(document["sms"].as_array().map(Vec::len), Some(1));
    // The broker has answered that they are deleted; its metadata follow a little later.
    eventually("no topic is left", || topics(&admin, "").keys().all(|name| name.starts_with("__"))).await;
}

/// Five queries of fourteen banks, and an aggregator that is killed with SIGKILL before the first reply, between
/// replies, between all replies and the SMS, and after everything.
async fn killed_at_any_moment(
    new_hub: impl FnOnce(&World, &Plan) -> HubProcess,
    store_lasts: bool,
) -> Survived {
    let server = KafkaServer::shared();
    let mut plan = Plan {
        brokers: Some(server.bootstrap().to_owned()),
        // So long that neither a deadline nor asking again repairs what a restart must.
        window: Duration::from_secs(4 * 3600),
        aggregator: false,
        ..Plan::new()
    };
    let all: Vec<BankId> = sample::registry::sample().banks.into_iter().map(|bank| bank.id).collect();
    plan.silent = all.iter().cloned().collect();
    let mut world = World::start(&plan).await.expect("the world starts on a real broker");
    let names: Vec<String> = world
        .topics
        .all(std::slice::from_ref(&world.upstream), &all)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let mut witness = Witness::of(server.bootstrap(), &names);
    let mut hub = new_hub(&world, &plan);
    let wallet = Wallet::new(world.upstream.clone(), world.producer);
    let [event, notice, sms] =
        [world.topics.event(&world.upstream), world.topics.notice(), world.topics.sms()];
    let replies: BTreeSet<String> = all.iter().map(|bank| world.topics.reply(bank)).collect();
    let requests: BTreeSet<String> = all.iter().map(|bank| world.topics.request(bank)).collect();
    let in_topics = |seen: &[Seen], topics: &BTreeSet<String>| -> BTreeSet<(String, String)> {
        let records = seen.iter().filter(|record| topics.contains(&record.topic));
        records.map(|record| (record.topic.clone(), record.key.clone())).collect()
    };
    let mut ready = BTreeMap::new();

    ready.insert("1 first start, only the registry", hub.start().await);
    let mut queries = Vec::new();
    for person in ["wang", "li", "zhang", "chen"] {
        queries.push(submit(&wallet, person, &all).await);
    }
    witness
        .until("every query is registered", WITHIN, |seen| events(seen, &event, is_accepted).len() == 4)
        .await;
    hub.kill_9();
    // Found in the topic by a restart: registered then, and asked by nobody before.
    queries.push(submit(&wallet, "wang", &all).await);
    assert!(
        in_topics(witness.read_to_end().await, &replies).is_empty(),
        "no bank has replied before the first kill"
    );

    ready.insert("2 killed before the first reply", hub.start().await);
    witness
        .until("every bank is asked about every query", WITHIN, |seen| {
            in_topics(seen, &requests).len() == queries.len() * all.len()
        })
        .await;
    let (early, late) = all.split_at(all.len() / 2);
    // Their replies come in while the process dies: it is killed as the first one is seen in a topic.
    let (started, ()) = tokio::join!(world.start_banks(&plan, early), async {
        witness.until("a first reply", WITHIN, |seen| !in_topics(seen, &replies).is_empty()).await;
        hub.kill_9();
    });
    started.expect("connectors start without an aggregator");

    ready.insert("3 killed as the first reply came", hub.start().await);
    let half = u32::try_from(early.len()).expect("fourteen banks");
    for query in &queries {
        status_until(&wallet, query, |status| status.answered == half).await;
    }
    hub.kill_9();
    world.start_banks(&plan, late).await.expect("connectors start without an aggregator");
    witness
        .until("every bank's reply to every query", WITHIN, |seen| {
            in_topics(seen, &replies).len() == queries.len() * all.len()
        })
        .await;
    assert_eq!(
        events(witness.seen(), &event, is_report_ready).len(),
        0,
        "nobody makes reports while it is down"
    );

    let started = Instant::now();
    hub.spawn();
    witness.until("a first report", WITHIN, |seen| !events(seen, &event, is_report_ready).is_empty()).await;
    hub.kill_9();
    ready.insert("4 killed after a first report (to the report)", started.elapsed());

    ready.insert("5 killed between reports and SMS", hub.start().await);
    witness
        .until("an accepted SMS per query", WITHIN, |seen| accepted(seen, &sms).len() >= queries.len())
        .await;
    let mut before = Vec::new();
    for query in &queries {
        final_state(&wallet, query, "FINAL_ALL_ANSWERED").await;
        before.push(view(&wallet, query).await);
    }
    let notices = on(witness.read_to_end().await, &notice).count();
    hub.kill_9();

    ready.insert("6 killed after everything", hub.start().await);
    for (query, (coverage, report)) in queries.iter().zip(&before) {
        final_state(&wallet, query, "FINAL_ALL_ANSWERED").await;
        let (coverage_again, report_again) = view(&wallet, query).await;
        assert_eq!(coverage_again, *coverage, "the hub signs the same coverage again");
        assert_eq!(report_again.coverage, report.coverage);
        assert_eq!(report_again.coverage.banks.keys().cloned().collect::<Vec<_>>(), all);
        assert!(report_again.banks.iter().all(|bank| bank.verified == Some(Ok(()))));
        assert_eq!(answers(&report_again), answers(report));
    }
    if !store_lasts {
        witness
            .until("the notices of a store that was rebuilt", WITHIN, |seen| {
                on(seen, &notice).count() >= notices + queries.len()
            })
            .await;
    }
    // The hub still works; and while this query goes its whole way, a second SMS of another has time to be seen.
    queries.push(submit(&wallet, "li", &all[..1]).await);
    let last = queries.last().map(|query| query.reference.query.to_string()).unwrap_or_default();
    witness.until("the SMS of a last query", WITHIN, |seen| accepted(seen, &sms).contains(&last)).await;
    assert_eq!(hub.terminate().await, 0);

    ready.insert("7 ended with SIGTERM", hub.start().await);
    assert_eq!(hub.terminate().await, 0);
    if store_lasts {
        let told = on(witness.read_to_end().await, &notice).count();
        assert_eq!(told, notices + 1, "after everything a restart tells nothing again");
    }

    let seen = witness.read_to_end().await;
    one_sms_per_query(seen, &sms, &queries.iter().collect::<Vec<_>>());
    no_dead_letters(seen);
    one_report_id_per_query(seen, &event, &queries);
    assert_eq!(std::iter::from_fn(|| world.inbox.try_recv().ok()).count(), queries.len());
    for (after, took) in ready {
        // The handle, because the test framework does not capture it.
        writeln!(std::io::stderr(), "aggregator ready in {took:.1?}: {after}")
            .expect("standard error is open");
    }
    Survived { world, hub }
}

/// What is left when everything is over.
struct Survived {
    world: World,
    hub: HubProcess,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_in_memory_killed_at_any_moment_makes_one_report_and_one_sms_per_query() {
    let Survived { world, .. } = killed_at_any_moment(HubProcess::new, false).await;
    world.stop().await;
}

/// Then its database goes back in time, as after a restore: it does not start on that.
#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_on_postgres_killed_at_any_moment_makes_one_report_and_one_sms_per_query() {
    const GO_BACK: &str = "UPDATE progress SET next_offset = next_offset - 1 WHERE next_offset > 0";
    let database = Stack::get().database().await;
    let url = database.url();
    let new_hub = |world: &World, plan: &Plan| HubProcess::on_postgres(world, plan, &url);
    let Survived { world, mut hub } = killed_at_any_moment(new_hub, true).await;
    let mut connection = PgConnection::connect_with(&database.options()).await.expect("the database");
    sqlx::query(GO_BACK).execute(&mut connection).await.expect("gone back");
    connection.close().await.expect("closed");
    let (code, said) = hub.run_to_its_end().await;
    assert_eq!(code, 70, "{said}");
    assert!(said.contains("cardquery recover"), "{said}");
    world.stop().await;
}

// What a wallet does.

fn bank(id: &str) -> BankId {
    id.parse().expect("an id")
}

fn bank_ids(world: &World) -> Vec<BankId> {
    world.sample.banks.iter().map(|bank| bank.id.clone()).collect()
}

async fn submit(wallet: &Wallet, person: &str, banks: &[BankId]) -> Submitted {
    let people = sample::core::people();
    let person = people.iter().find(|known| known.key == person).expect("a sample person");
    let banks = banks.iter().map(|bank| bank.as_str().to_owned()).collect();
    let submitted = wallet.submit(&person.into(), person.real_name, REGION, &banks, SystemClock.now()).await;
    submitted.expect("the query is taken")
}

async fn final_state(wallet: &Wallet, query: &Submitted, state: &str) {
    let status = status_until(wallet, query, |status| status.state != "COLLECTING").await;
    assert_eq!(status.state, state, "{status:?}");
}

/// Asks for the status until it is `good`. A hub that is down or has not read so far is asked again.
async fn status_until(
    wallet: &Wallet,
    query: &Submitted,
    good: impl Fn(&schemas::http::QueryStatus) -> bool,
) -> schemas::http::QueryStatus {
    let deadline = Instant::now() + WITHIN;
    loop {
        let last = match wallet.status(query).await {
            Ok(status) if good(&status) => return status,
            Err(WalletError::Refused(problem)) if ![404, 503].contains(&problem.status) => {
                panic!("{problem:?}")
            }
            other => other,
        };
        assert!(Instant::now() < deadline, "query {} stays: {last:?}", query.reference.query);
        tokio::time::sleep(POLL).await;
    }
}

/// The signed coverage as it is, and the report as the device opens it.
async fn view(wallet: &Wallet, query: &Submitted) -> (wire::Signed, OpenedReport) {
    let report: Bytes = wallet.fetch(query, SystemClock.now()).await.expect("a final report is shown");
    let coverage = wire::Report::decode(report.clone()).expect("a report").coverage.expect("a coverage");
    (coverage, wallet.open(query, report).expect("the report opens"))
}

fn answers(report: &OpenedReport) -> Vec<(&BankId, &wire::Answer)> {
    report
        .banks
        .iter()
        .map(|bank| (&bank.bank, bank.answer.as_ref().expect("every bank has answered")))
        .collect()
}

// What lies in the topics.

fn on<'a>(seen: &'a [Seen], topic: &'a str) -> impl Iterator<Item = &'a Seen> {
    seen.iter().filter(move |record| record.topic == topic)
}

/// Keys of the queries that have such an event.
fn events(seen: &[Seen], topic: &str, wanted: fn(&event_record::Message) -> bool) -> BTreeSet<String> {
    let message = |record: &Seen| wire::EventRecord::decode(&*record.value).expect("an event").message;
    let events = on(seen, topic).filter(|record| message(record).as_ref().is_some_and(wanted));
    events.map(|record| record.key.clone()).collect()
}

fn is_accepted(message: &event_record::Message) -> bool {
    matches!(message, event_record::Message::Accepted(_))
}

fn is_report_ready(message: &event_record::Message) -> bool {
    matches!(message, event_record::Message::ReportReady(_))
}

fn sms_messages<'a>(seen: &'a [Seen], sms: &'a str) -> impl Iterator<Item = (String, sms_record::Message)> {
    on(seen, sms).map(|record| {
        let message = wire::SmsRecord::decode(&*record.value).expect("an SMS record").message;
        (record.key.clone(), message.expect("a message that is known"))
    })
}

/// Keys of all SmsAccepted, one entry for each.
fn accepted(seen: &[Seen], sms: &str) -> Vec<String> {
    let accepted =
        sms_messages(seen, sms).filter(|(_, message)| matches!(message, sms_record::Message::Accepted(_)));
    accepted.map(|(key, _)| key).collect()
}

#[track_caller]
fn one_sms_per_query(seen: &[Seen], sms: &str, queries: &[&Submitted]) {
    let mut keys = accepted(seen, sms);
    keys.sort();
    let mut expected: Vec<String> = queries.iter().map(|query| query.reference.query.to_string()).collect();
    expected.sort();
    assert_eq!(keys, expected, "exactly one SmsAccepted per query");
    for (key, message) in sms_messages(seen, sms) {
        let fine = matches!(message, sms_record::Message::Claimed(_) | sms_record::Message::Accepted(_));
        assert!(fine, "{key}: {message:?}");
    }
}

#[track_caller]
fn one_report_id_per_query(seen: &[Seen], event: &str, queries: &[Submitted]) {
    let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut repeated = 0;
    for record in on(seen, event) {
        let message = wire::EventRecord::decode(&*record.value).expect("an event").message;
        if message.as_ref().is_some_and(is_report_ready) {
            ids.entry(&record.key).or_default().insert(record.ce_id.as_deref().expect("an event has an id"));
            repeated += 1;
        }
    }
    assert!(repeated > queries.len(), "a store that was rebuilt tells again");
    assert_eq!(ids.len(), queries.len());
    assert!(ids.values().all(|ids| ids.len() == 1), "a reader recognises what is told again: {ids:?}");
    let different: BTreeSet<_> = ids.values().flatten().collect();
    assert_eq!(different.len(), queries.len());
}

#[track_caller]
fn no_dead_letters(seen: &[Seen]) {
    let dead: Vec<_> =
        seen.iter().filter(|record| record.topic.starts_with("dlq.")).map(|record| &record.key).collect();
    assert!(dead.is_empty(), "dead letters: {dead:?}");
}

async fn keys_lie_where_the_java_client_puts_them(
    server: &KafkaServer,
    seen: &[Seen],
    table: &[(String, Spec)],
    queries: &[&Submitted],
) {
    let mut by_partitions: BTreeMap<i32, Vec<&Seen>> = BTreeMap::new();
    for record in seen {
        let (_, spec) = table.iter().find(|(name, _)| *name == record.topic).expect("a topic of the table");
        by_partitions.entry(spec.partitions).or_default().push(record);
    }
    assert_eq!(by_partitions.keys().copied().collect::<Vec<_>>(), [1, 3, 12]);
    for partitions in [3, 12] {
        let topic = format!("java-{partitions}");
        server.create_topics(&[TopicSpec { name: &topic, partitions, configs: &[] }]).await;
        let records = &by_partitions[&partitions];
        let keys: BTreeSet<&str> = records.iter().map(|record| record.key.as_str()).collect();
        assert_eq!(keys.len(), queries.len(), "every query has records in topics of {partitions} partitions");
        let keys: Vec<&str> = keys.into_iter().collect();
        let java = tokio::task::block_in_place(|| java_partitions(server, &topic, &keys));
        assert!(
            java.values().collect::<BTreeSet<_>>().len() > 1,
            "keys that agree on one partition show nothing"
        );
        for record in records {
            assert_eq!(record.partition, java[&record.key], "{} {}", record.topic, record.key);
        }
    }
}

// What the broker says of its topics.

fn admin(server: &KafkaServer) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", server.bootstrap()).create().expect("the settings are valid")
}

/// Names that begin with `prefix`, and how many partitions they have.
fn topics(admin: &AdminClient<DefaultClientContext>, prefix: &str) -> BTreeMap<String, usize> {
    let metadata = tokio::task::block_in_place(|| admin.inner().fetch_metadata(None, WITHIN));
    let metadata = metadata.expect("the broker answers");
    let ours = metadata.topics().iter().filter(|topic| topic.name().starts_with(prefix));
    ours.map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect()
}

async fn topics_are_those_of_the_table(server: &KafkaServer, prefix: &str, table: &[(String, Spec)]) {
    let admin = admin(server);
    let mut found = topics(&admin, &format!("{prefix}."));
    found.extend(topics(&admin, &format!("dlq.{prefix}.")));
    let expected: BTreeMap<String, usize> = table
        .iter()
        .map(|(name, spec)| (name.clone(), usize::try_from(spec.partitions).expect("a positive number")))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(table.len(), 37);

    let resources: Vec<_> = table.iter().map(|(name, _)| ResourceSpecifier::Topic(name)).collect();
    let described =
        admin.describe_configs(&resources, &AdminOptions::new()).await.expect("the broker answers");
    assert_eq!(described.len(), table.len());
    for (resource, (name, spec)) in described.into_iter().zip(table) {
        let resource = resource.expect("the topic is there");
        assert_eq!(resource.specifier, rdkafka::admin::OwnedResourceSpecifier::Topic(name.clone()));
        let has = resource.entry_map();
        let timestamps = has["message.timestamp.type"].value.as_deref();
        assert_eq!(timestamps, Some("LogAppendTime"), "{name}");
        for (key, value) in spec.config() {
            assert_eq!(has[key].value.as_deref(), Some(value.as_str()), "{name} {key}");
        }
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {WITHIN:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}
