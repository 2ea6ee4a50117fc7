use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plumbing::kafka::{DeadLetters, ErrorClass, Lanes, Record, Verdict, follow};
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
