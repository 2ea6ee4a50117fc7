use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plumbing::kafka::{Lanes, Verdict};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::sync::Semaphore;

use crate::stand::{Script, Stand, config, soon};

#[tokio::test(flavor = "multi_thread")]
async fn records_are_handled_in_the_order_of_their_partition() {
    let stand = Stand::new(&[("things", 4)]);
    stand.fill("things", 0..300).await;
    let script = Script::new(async |_| Verdict::Done);
    let running = stand.consume(&["things"], Lanes::Ordered { count: 3, batch_max: 16 }, &script);
    soon("an assignment", running.handle.assigned()).await;
    script.until("all records", |script| script.finished().len() == 300).await;
    running.stop().await;

    let ends = stand.ends("things").await;
    for (partition, end) in &ends {
        let expected: Vec<i64> = (0..*end).collect();
        assert_eq!(script.offsets("things", *partition), expected);
    }
    let committed = stand.committed("things", 4).await;
    let ends: BTreeMap<_, _> = ends.into_iter().filter(|(_, end)| *end > 0).collect();
    assert_eq!(committed, ends);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handler_pauses_its_partitions_and_loses_nothing() {
    let stand = Stand::new(&[("things", 2)]);
    stand.fill("things", 0..200).await;
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::new({
        let gate = Arc::clone(&gate);
        move |_| {
            let gate = Arc::clone(&gate);
            async move {
                drop(gate.acquire().await);
                Verdict::Done
            }
        }
    });
    let mut kafka = stand.kafka();
    let max_poll = Duration::from_millis(6_000);
    kafka.properties.insert("max.poll.interval.ms".into(), max_poll.as_millis().to_string());
    let mut config = config(&["things"], Lanes::Ordered { count: 1, batch_max: 3 });
    config.queue_max = 4;
    let running = stand.consume_with(kafka, config, &script, None);
    script.until("the first record", |script| !script.handed().is_empty()).await;
    // Nothing announces that a consumer was not thrown out: the time for it must pass.
    tokio::time::sleep(max_poll + Duration::from_secs(1)).await;
    assert_eq!(script.handed().len(), 1);
    gate.add_permits(Semaphore::MAX_PERMITS >> 1);
    script.until("all records", |script| script.finished().len() >= 200).await;
    running.stop().await;

    // Each one once: a consumer that had stopped polling would have been thrown out and would have
    // read them again.
    for (partition, end) in stand.ends("things").await {
        let expected: Vec<i64> = (0..end).collect();
        assert_eq!(script.offsets("things", partition), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_comes_before_the_later_records_of_its_partition() {
    let stand = Stand::new(&[("things", 1)]);
    stand.fill("things", 0..10).await;
    let attempts = Arc::new(AtomicUsize::new(0));
    let script = Script::new({
        let attempts = Arc::clone(&attempts);
        move |record| {
            let retry = record.position.offset == 3 && attempts.fetch_add(1, Ordering::SeqCst) < 2;
            async move {
                if retry {
                    Verdict::Retry { after: Duration::from_millis(20), code: "NOT_YET" }
                } else {
                    Verdict::Done
                }
            }
        }
    });
    let running = stand.consume(&["things"], Lanes::Ordered { count: 2, batch_max: 1 }, &script);
    script.until("all records", |script| script.finished().len() == 10).await;
    running.stop().await;
    assert_eq!(script.offsets("things", 0), [0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(stand.committed("things", 1).await, BTreeMap::from([(0, 10)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_records_overtake_a_stuck_one_but_its_offset_holds_the_frontier() {
    let stand = Stand::new(&[("things", 1)]);
    stand.fill("things", 0..20).await;
    let at_once = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let script = Script::new({
        let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
        move |record| {
            let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
            async move {
                if record.position.offset == 5 {
                    return Verdict::Retry { after: Duration::from_secs(3600), code: "NOT_YET" };
                }
                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
                at_once.fetch_sub(1, Ordering::SeqCst);
                Verdict::Done
            }
        }
    });
    let running = stand.consume(&["things"], Lanes::Concurrent { max: 4 }, &script);
    script.until("all others", |script| script.finished().len() == 19).await;
    running.stop().await;
    assert!((2..=4).contains(&most.load(Ordering::SeqCst)));
    assert_eq!(stand.committed("things", 1).await, BTreeMap::from([(0, 5)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_added_at_runtime_is_consumed() {
    let stand = Stand::new(&[("first", 1), ("second", 1)]);
    stand.fill("first", ["a"]).await;
    stand.fill("second", ["b"]).await;
    let script = Script::new(async |_| Verdict::Done);
    let running = stand.consume(&[], Lanes::Concurrent { max: 1 }, &script);
    running.handle.subscription().replace(vec!["first".into()]);
    script.until("the first topic", |script| script.finished().len() == 1).await;
    running.handle.subscription().replace(vec!["first".into(), "second".into()]);
    script.until("the second topic", |script| script.finished().len() == 2).await;
    running.stop().await;
    assert_eq!(script.offsets("first", 0), [0]);
    assert_eq!(script.offsets("second", 0), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_a_committed_offset_is_counted() {
    let metrics = plumbing::telemetry::install_metrics().expect("only here");
    let stand = Stand::new(&[("things", 1)]);
    stand.fill("things", 0..3).await;
    stand.commit("things", 0, 1_000).await;
    let script = Script::new(async |_| Verdict::Done);
    let running = stand.consume(&["things"], Lanes::Concurrent { max: 1 }, &script);
    script.until("all records again", |script| script.finished().len() == 3).await;
    running.stop().await;
    let rendered = metrics.render();
    assert!(rendered.contains("cardquery_offset_resets_total 1"), "{rendered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_refused_is_sent_again() {
    let stand = Stand::new(&[("things", 1)]);
    stand.fill("things", 0..1).await;
    stand.cluster.request_errors(
        RDKafkaApiKey::OffsetCommit,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE],
    );
    let script = Script::new(async |_| Verdict::Done);
    let running = stand.consume(&["things"], Lanes::Concurrent { max: 1 }, &script);
    script.until("the record", |script| script.finished().len() == 1).await;
    soon("the second commit", async {
        while stand.committed("things", 1).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    running.stop().await;
    assert_eq!(stand.committed("things", 1).await, BTreeMap::from([(0, 1)]));
}
