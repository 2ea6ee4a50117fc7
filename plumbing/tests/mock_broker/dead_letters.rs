use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plumbing::health::Health;
use plumbing::kafka::{BreakerConfig, DeadLetters, ErrorClass, Lanes, Record, Verdict, WhenOpen, follow};
use tokio_util::sync::CancellationToken;

use crate::stand::{GROUP, Script, Stand, config, soon};

/// Two topics can fall into one ordered lane, where the one would wait for the other.
const LANES: Lanes = Lanes::Concurrent { max: 4 };

async fn verdict(record: Record) -> Verdict {
    if &*record.value == b"poison" {
        Verdict::DeadLetter { code: "UNREADABLE", class: ErrorClass::Poison }
    } else {
        Verdict::Done
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_acknowledged_before_its_offset_completes() {
    let stand = Stand::new(&[("things", 1), ("others", 1), ("dlq.things", 1)]);
    stand.fill("things", ["good", "poison", "good"]).await;
    // Nobody takes dead letters for now.
    stand.cluster.partition_leader("dlq.things", 0, None).expect("leader removed");
    let script = Script::new(verdict);
    let dead_letters = DeadLetters::new(
        stand.producer.clone(),
        GROUP,
        Arc::new(|topic| Some(format!("dlq.{topic}"))),
        Duration::from_secs(3600),
    );
    let running =
        stand.consume_with(stand.kafka(), config(&["things", "others"], LANES), &script, Some(dead_letters));
    script.until("the poison", |script| script.offsets("things", 0).contains(&1)).await;
    // A commit after that proves that the clock ticked with the poison in flight.
    stand.fill("others", ["good"]).await;
    soon("a commit", async { while stand.committed("others", 1).await.is_empty() {} }).await;
    assert_eq!(stand.committed("things", 1).await, BTreeMap::from([(0, 1)]));

    stand.cluster.partition_leader("dlq.things", 0, Some(1)).expect("leader back");
    soon("the commit behind it", async {
        while stand.committed("things", 1).await != BTreeMap::from([(0, 3)]) {}
    })
    .await;
    running.stop().await;

    let copies: Arc<Mutex<Vec<Record>>> = Arc::default();
    let sink = Arc::clone(&copies);
    let stop = CancellationToken::new();
    let follower = follow(
        &stand.kafka(),
        vec!["dlq.things".into()],
        move |record| sink.lock().expect("not poisoned").push(record),
        stop.clone(),
    )
    .expect("started");
    soon("the end", follower.caught_up()).await.expect("readable");
    stop.cancel();
    let copies = copies.lock().expect("not poisoned");
    assert_eq!(copies.len(), 1);
    assert_eq!(&*copies[0].value, b"poison");
    let header = |name: &str| {
        let value = copies[0].header(name).expect(name);
        std::str::from_utf8(value).expect("text").to_owned()
    };
    assert_eq!(header("__dlq.errors.topic"), "things");
    assert_eq!(header("__dlq.errors.offset"), "1");
    assert_eq!(header("__dlq.errors.group"), GROUP);
    assert_eq!(header("__dlq.errors.delivery.count"), "1");
    assert_eq!(header("cardquery-error-class"), "poison");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_place_for_dead_letters_they_are_counted_and_complete() {
    let stand = Stand::new(&[("things", 1)]);
    stand.fill("things", ["poison", "good"]).await;
    let script = Script::new(verdict);
    let running = stand.consume(&["things"], LANES, &script);
    script.until("the record behind it", |script| script.finished().len() == 1).await;
    running.stop().await;
    assert_eq!(stand.committed("things", 1).await, BTreeMap::from([(0, 2)]));
}

/// A row of five is a flood, and is tried again soon.
const LIMITS: BreakerConfig = BreakerConfig {
    window_seconds: 1,
    min_records: 1_000,
    max_ratio: 1.0,
    max_consecutive: 5,
    pause_seconds: 1,
};

const PATIENT: BreakerConfig = BreakerConfig { pause_seconds: 3600, ..LIMITS };

fn limited(stand: &Stand, limits: BreakerConfig, when_open: WhenOpen) -> DeadLetters {
    let topic_for = Arc::new(|topic: &str| Some(format!("dlq.{topic}")));
    DeadLetters::new(stand.producer.clone(), GROUP, topic_for, Duration::from_secs(3600))
        .limited(limits, when_open)
}

fn readiness(health: &Health) -> String {
    health.look_ready().pop().expect("the consumer's check").detail
}

async fn sum(stand: &Stand, topic: &str) -> usize {
    let ends: i64 = stand.ends(topic).await.into_values().sum();
    usize::try_from(ends).expect("not negative")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_holds_its_topic_while_others_go_on_and_what_is_mended_is_no_dead_letter() {
    for lanes in [Lanes::Ordered { count: 1, batch_max: 8 }, Lanes::Concurrent { max: 4 }] {
        let stand = Stand::new(&[("things", 2), ("others", 1), ("dlq.things", 1), ("dlq.others", 1)]);
        stand.fill("things", (0..40).map(|number| format!("poison-{number}"))).await;
        let mended = Arc::new(AtomicBool::new(false));
        let script = Script::new({
            let mended = Arc::clone(&mended);
            move |record: Record| {
                let dead = record.value.starts_with(b"poison") && !mended.load(Ordering::SeqCst);
                async move {
                    if dead {
                        Verdict::DeadLetter { code: "KEY_UNKNOWN", class: ErrorClass::Rejected }
                    } else {
                        Verdict::Done
                    }
                }
            }
        });
        // A held record keeps its place among the concurrent ones: there the other topic gets a turn on trial only.
        let config = config(&["things", "others"], lanes);
        let dead_letters = limited(&stand, LIMITS, WhenOpen::Pause);
        let running = stand.consume_with(stand.kafka(), config, &script, Some(dead_letters));
        let health = Health::default();
        running.handle.report_to(&health, "consumer");
        soon("the pause", async {
            while !readiness(&health).starts_with("things is paused, 5 dead letters in a row") {
                tokio::task::yield_now().await;
            }
        })
        .await;
        stand.fill("others", ["good"]).await;
        if let Lanes::Ordered { .. } = lanes {
            let others = |script: &Script<_>| script.finished().iter().any(|(topic, ..)| topic == "others");
            script.until("the other topic", others).await;
        }

        mended.store(true, Ordering::SeqCst);
        stand.fill("things", ["good", "good"]).await;
        let of_things =
            |script: &Script<_>| script.finished().iter().filter(|(topic, ..)| topic == "things").count();
        let copied = soon("every record", async {
            loop {
                let copied = sum(&stand, "dlq.things").await;
                if of_things(&script) + copied >= 42 {
                    break copied;
                }
            }
        })
        .await;
        assert_eq!(of_things(&script) + copied, 42, "each is finished, or a dead letter, once");
        assert!((5..40).contains(&copied), "a row per pause, and not all: {copied}");
        let ends = stand.ends("things").await;
        soon("the commit behind them", async { while stand.committed("things", 2).await != ends {} }).await;
        soon("readiness", async {
            while !readiness(&health).is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_given_back_when_the_consumer_stops_and_read_again() {
    let stand = Stand::new(&[("things", 1), ("dlq.things", 1)]);
    stand.fill("things", (0..12).map(|number| format!("poison-{number}"))).await;
    let script =
        Script::new(async |_| Verdict::DeadLetter { code: "KEY_UNKNOWN", class: ErrorClass::Rejected });
    let lanes = Lanes::Ordered { count: 1, batch_max: 100 };
    let dead_letters = limited(&stand, PATIENT, WhenOpen::Pause);
    let running = stand.consume_with(stand.kafka(), config(&["things"], lanes), &script, Some(dead_letters));
    let health = Health::default();
    running.handle.report_to(&health, "consumer");
    soon("the pause", async {
        while !readiness(&health).starts_with("things is paused") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    running.stop().await;
    assert_eq!(stand.committed("things", 1).await, BTreeMap::from([(0, 5)]), "the sixth is unfinished");

    let script = Script::new(async |_| Verdict::Done);
    let running = stand.consume(&["things"], lanes, &script);
    script.until("the rest", |script| script.finished().len() == 7).await;
    running.stop().await;
    assert_eq!(script.offsets("things", 0), (5..12).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_may_be_paused_a_flood_is_not_copied_and_the_topic_goes_on() {
    let stand = Stand::new(&[("things", 1), ("dlq.things", 1)]);
    stand.fill("things", (0..40).map(|_| "poison").chain(["good"])).await;
    let script = Script::new(verdict);
    let lanes = Lanes::Ordered { count: 1, batch_max: 100 };
    let dead_letters = limited(&stand, PATIENT, WhenOpen::Count);
    let running = stand.consume_with(stand.kafka(), config(&["things"], lanes), &script, Some(dead_letters));
    let health = Health::default();
    running.handle.report_to(&health, "consumer");
    script.until("what is behind the flood", |script| script.finished().len() == 1).await;
    assert_eq!(readiness(&health), "");
    running.stop().await;
    assert_eq!(stand.committed("things", 1).await, BTreeMap::from([(0, 41)]));
    assert_eq!(sum(&stand, "dlq.things").await, 5);
}
