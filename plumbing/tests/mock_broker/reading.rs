use std::sync::{Arc, Mutex};
use std::time::Duration;

use plumbing::exit::Exit;
use plumbing::kafka::{
    AppendTime, Fold, KafkaError, Position, Record, RecordReader, Watermarks, follow, read_to_end,
};
use plumbing::lifecycle::Lifecycle;
use plumbing::registry::{self, RegistryConfig};
use schemas::keys::SigningKey;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::stand::{Stand, soon};

#[tokio::test(flavor = "multi_thread")]
async fn reading_to_the_end_sees_every_record_of_every_topic() {
    let stand = Stand::new(&[("first", 3), ("second", 1), ("empty", 2)]);
    stand.fill("first", 0..50).await;
    stand.fill("second", 50..60).await;
    let seen: Arc<Mutex<Vec<u32>>> = Arc::default();
    let sink = Arc::clone(&seen);
    let topics = ["first", "second", "empty"].map(String::from);
    soon(
        "the end",
        read_to_end(&stand.kafka(), &topics, move |record: Record| {
            let value = std::str::from_utf8(&record.value).expect("text");
            sink.lock().expect("not poisoned").push(value.parse().expect("a number"));
        }),
    )
    .await
    .expect("readable");
    let mut seen = seen.lock().expect("not poisoned").clone();
    seen.sort_unstable();
    assert_eq!(seen, (0..60).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_does_not_exist_is_an_error_and_is_not_created() {
    let stand = Stand::new(&[("first", 1)]);
    for _ in 0..2 {
        let ended = soon("the end", read_to_end(&stand.kafka(), &["nothing".to_owned()], |_| {})).await;
        assert_eq!(ended, Err(KafkaError::UnknownTopic("nothing".into())));
    }
    let follower =
        follow(&stand.kafka(), vec!["nothing".into()], |_| {}, CancellationToken::new()).expect("started");
    let error = Err(KafkaError::UnknownTopic("nothing".into()));
    assert_eq!(soon("an answer", follower.caught_up()).await, error);
    assert_eq!(soon("the end", follower.stopped()).await, error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_catches_up_and_then_sees_what_comes() {
    let stand = Stand::new(&[("things", 2)]);
    stand.fill("things", 0..20).await;
    let (seen_tx, mut seen) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let follower = follow(
        &stand.kafka(),
        vec!["things".into()],
        move |record| {
            let _ = seen_tx.send(record);
        },
        stop.clone(),
    )
    .expect("started");
    soon("the end", follower.caught_up()).await.expect("readable");
    // Caught up means that `each` has had them all.
    assert_eq!(seen.len(), 20);
    stand.fill("things", ["new"]).await;
    for _ in 0..20 {
        seen.recv().await.expect("already there");
    }
    let new = soon("the new record", seen.recv()).await.expect("running");
    assert_eq!(&*new.value, b"new");
    stop.cancel();
    soon("the end", follower.stopped()).await.expect("orderly");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broken_partition_does_not_hide_the_end_offsets_of_the_others() {
    let stand = Stand::new(&[("things", 1), ("broken", 1)]);
    stand.fill("things", 0..7).await;
    stand.cluster.partition_leader("broken", 0, None).expect("leader removed");
    let ends = Watermarks::new(&stand.kafka())
        .expect("client")
        .end_offsets(&["things", "broken", "nothing"].map(String::from))
        .await;
    assert_eq!(ends.len(), 3);
    assert_eq!(ends[&("things".to_owned(), 0)], Ok(7));
    assert!(matches!(ends[&("broken".to_owned(), 0)], Err(KafkaError::Unavailable(_))));
    assert_eq!(ends[&("nothing".to_owned(), -1)], Err(KafkaError::UnknownTopic("nothing".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fold_holds_what_the_topic_says_and_catches_up_when_asked() {
    let stand = Stand::new(&[("sums", 1)]);
    stand.fill("sums", 1..=10).await;
    let stop = CancellationToken::new();
    let add = |sum: &mut u32, record: Record| {
        *sum += std::str::from_utf8(&record.value).expect("text").parse::<u32>().expect("a number");
    };
    let kafka = stand.kafka();
    let fold = Fold::start(&kafka, "sums".into(), 0, add, stop.clone());
    let fold = soon("the end", fold).await.expect("readable");
    assert_eq!(*fold.get(), 55, "everything that was there at the start");

    let before = fold.get();
    let mut changes = fold.changes();
    stand.fill("sums", 11..=20).await;
    soon("the present end", fold.catch_up()).await.expect("readable");
    assert_eq!(*fold.get(), 210);
    assert_eq!(*before, 55, "a snapshot stays what it was");
    assert!(soon("a change", changes.next()).await.is_some());

    stop.cancel();
    let ended = async { while changes.next().await.is_some() {} };
    soon("the end of changes", ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_record_is_read_again_by_its_position_and_one_that_is_not_there_is_none() {
    let stand = Stand::new(&[("things", 1), ("others", 1)]);
    stand.fill("things", 0..30).await;
    stand.fill("others", 100..130).await;
    let reader = RecordReader::new(&stand.kafka()).expect("reader");
    let at = |topic: &str, offset| Position { topic: topic.into(), partition: 0, offset };
    for (topic, offset, expected) in [
        ("things", 7, "7"),
        ("others", 7, "107"),
        ("things", 29, "29"),
        ("things", 0, "0"),
        ("things", 7, "7"),
    ] {
        let record = soon("the record", reader.read(at(topic, offset))).await.expect("readable");
        let record = record.expect("is there");
        assert_eq!(record.position, at(topic, offset));
        assert_eq!(record.value.as_ref(), expected.as_bytes());
    }
    assert_eq!(soon("an answer", reader.read(at("things", 30))).await, Ok(None));
    assert_eq!(soon("an answer", reader.read(at("things", -1))).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_folded_from_one_partition_only() {
    let stand = Stand::new(&[("things", 2)]);
    let kafka = stand.kafka();
    let started = Fold::start(&kafka, "things".into(), (), |(), _| {}, CancellationToken::new());
    let error = soon("an answer", started).await.err();
    assert_eq!(error, Some(KafkaError::Partitions("things".into(), 2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn catching_up_has_a_limit() {
    let stand = Stand::new(&[("things", 1)]);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let step = move |(): &mut (), _| {
        let _ = wait.recv();
    };
    let kafka = stand.kafka();
    let fold = Fold::start(&kafka, "things".into(), (), step, CancellationToken::new());
    let fold = soon("the start", fold).await.expect("readable");
    stand.fill("things", 0..1).await;
    let late = soon("an answer", fold.catch_up_within(Duration::from_millis(500))).await;
    assert!(matches!(late, Err(KafkaError::Unavailable(_))), "{late:?}");
    go.send(()).expect("the reader waits");
    soon("the end", fold.catch_up()).await.expect("reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_can_not_be_followed_any_more_ends_the_process() {
    let stand = Stand::new(&[("registry", 1)]);
    let roots =
        [[1; 32], [2; 32]].map(|seed| hex::encode(SigningKey::from_seed(&seed).public().to_wire().raw));
    let config = RegistryConfig { roots: roots.to_vec(), seen_file: None };
    let mut kafka = stand.kafka();
    // What the mock broker writes carries no append time, and this reader insists on one.
    kafka.append_time = AppendTime::Broker;
    let mut lifecycle = Lifecycle::new();
    let followed = registry::follow(&kafka, "registry".into(), &config, &mut lifecycle);
    soon("the registry", followed).await.expect("empty, and read to its end");
    let health = lifecycle.health();
    let failing = || {
        health.look_ready().into_iter().filter(|check| !check.ok).map(|check| check.name).collect::<Vec<_>>()
    };
    assert_eq!(failing(), ["started"]);
    stand.fill("registry", ["entry"]).await;
    let ended = soon("the end of the process", lifecycle.run_until_signal(Duration::from_secs(5))).await;
    assert_eq!(ended, Exit::Config.into());
    assert_eq!(failing(), ["started", "running", "registry"]);
}
