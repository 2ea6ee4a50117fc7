//! Makes many queries at a real hub on PostgreSQL, and replays them all.
//!
//! On a running stack, after `cargo build --workspace --bins`:
//! `cargo run -p cardquery-tests --example replay_many [queries]`. Figures for people; it fails when a digest differs, an end
//! offset moves or an SMS is sent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cardquery::local::plan::Part;
use cardquery_tests::mass::{Mass, Plot};
use cardquery_tests::process::ChildProcess;
use cardquery_tests::system::{Setup, System};
use plumbing::kafka::{KafkaConfig, Watermarks};
use serde_json::Value;

const QUERIES: usize = 100_000;
/// Queries whose replies are sent before more are made: their banks have a minute.
const BLOCK: usize = 2_500;
const WITHIN: Duration = Duration::from_secs(3_600);
const POLL: Duration = Duration::from_secs(2);

fn plot(n: usize) -> Plot {
    match n % 100 {
        0..10 => Plot::OneRefuses,
        10..12 => Plot::OneSilent,
        12..15 => Plot::OneRepeats,
        _ => Plot::AllAnswer,
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it prints figures")]
async fn main() {
    let queries = std::env::args().nth(1).map_or(QUERIES, |argument| argument.parse().expect("a number"));
    let setup = Setup {
        banks: ["anhe", "beichuan"].into(),
        without: ["bank-anhe", "bank-beichuan", "notifier", "producer"].into(),
        window: Duration::from_secs(60),
        ..Setup::default()
    };
    let mut system = System::start(setup).await;
    sign_every(&mut system, 1).await;
    let began = Instant::now();
    let mut mass = Mass::new(&system);
    let mut made = 0;
    while made < queries {
        let block = BLOCK.min(queries - made);
        mass.ask(block, plot).await;
        made += block;
        println!("{made} queries asked and answered, {:.1?}", began.elapsed());
    }
    mass.ended().await;
    println!("{queries} reports are final, {:.1?}", began.elapsed());
    while !is_signed(&system, queries).await {
        tokio::time::sleep(POLL).await;
    }
    println!("the log is signed to its end, {:.1?}", began.elapsed());
    sign_every(&mut system, 36_000).await;
    let before = ends(&system).await;
    let replayed = Instant::now();
    let (exit, told) = replay(&system, &[]).await;
    println!("{exit} {told:#}");
    println!("replayed in {:.1?}", replayed.elapsed());
    let after = ends(&system).await;
    let sms: i64 = after
        .iter()
        .filter(|((topic, _), _)| *topic == system.local.topics().sms())
        .map(|(_, end)| end)
        .sum();
    println!("end offsets of {} partitions the same: {}; {sms} SMS records", before.len(), before == after);
    assert_eq!((exit, &told["equal"], &told["stored"]), (0, &queries.into(), &queries.into()));
    assert_eq!((before == after, sms), (true, 0));
    system.discard();
}

async fn sign_every(system: &mut System, seconds: u64) {
    assert_eq!(system.terminate("aggregator").await, 0);
    for hub in system.local.services.iter_mut().filter(|service| service.part == Part::Aggregator) {
        hub.env.insert("CARDQUERY_AGGREGATOR__AUDIT__CHECKPOINT_SECONDS".to_owned(), seconds.to_string());
    }
    system.spawn("aggregator");
    system.ready("aggregator").await;
}

async fn is_signed(system: &System, queries: usize) -> bool {
    let (_, plan) = replay(system, &["--plan"]).await;
    if plan["queries"] != queries {
        return false;
    }
    let from = ["--query", "wallet/01999999-0000-7000-8000-000000000000", "--without-store"];
    let (_, told) = replay_of(system, &from).await;
    told["vouched"] == told["leaves"]
}

async fn replay(system: &System, words: &[&str]) -> (i32, Value) {
    replay_of(system, &[&["--from-beginning"], words].concat()).await
}

async fn replay_of(system: &System, words: &[&str]) -> (i32, Value) {
    let config = system.local.plan.folder.join("auditor.toml");
    let config = config.to_str().expect("a path in UTF-8");
    let words = [&["audit", "replay", "--json", "-c", config], words].concat();
    let mut process = ChildProcess::spawn("cardquery", &words, &[]);
    let exit = process.wait(WITHIN).await;
    let mut told: Value = serde_json::from_str(&process.stdout()).expect("a document");
    // For a screen.
    told.as_object_mut().expect("a document").remove("ends");
    (exit, told)
}

/// End offsets of every topic, dead letters included.
async fn ends(system: &System) -> BTreeMap<(String, i32), i64> {
    let plan = &system.local.plan;
    let kafka = KafkaConfig {
        properties: system.local.stack.client("admin").expect("the administrator's password"),
        ..KafkaConfig::new(&system.local.stack.brokers, "cardquery.test")
    };
    let topics = system.local.topics().all(&plan.upstreams(), &plan.banks());
    let topics: Vec<String> = topics.into_iter().map(|(topic, _)| topic).collect();
    let ends = Watermarks::new(&kafka).expect("a client").end_offsets(&topics).await;
    ends.into_iter().map(|(partition, end)| (partition, end.expect("a leader"))).collect()
}
