use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plumbing::kafka::{AppendTime, ConsumerError, KafkaError, Lanes, Verdict};
use tokio_util::sync::CancellationToken;

use crate::stand::{Script, Stand, config, soon};

const ONE_BY_ONE: Lanes = Lanes::Ordered { count: 1, batch_max: 1 };

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_finishes_what_is_in_flight_and_gives_back_what_waits() {
    let stand = Stand::new(&[("things", 1)]);
    stand.fill("things", 0..5).await;
    let (entered, leave) = (CancellationToken::new(), CancellationToken::new());
    let script = Script::new({
        let (entered, leave) = (entered.clone(), leave.clone());
        move |_| {
            let (entered, leave) = (entered.clone(), leave.clone());
            async move {
                entered.cancel();
                leave.cancelled().await;
                // The loop must wait for this.
                tokio::time::sleep(Duration::from_millis(300)).await;
                Verdict::Done
            }
        }
    });
    let running = stand.consume(&["things"], ONE_BY_ONE, &script);
    soon("the record in flight", entered.cancelled()).await;
    running.shutdown.cancel();
    leave.cancel();
    running.stop().await;
    assert_eq!(script.offsets("things", 0), [0]);
    assert_eq!(stand.committed("things", 1).await, BTreeMap::from([(0, 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_does_not_wait_for_a_retry() {
    let stand = Stand::new(&[("things", 1)]);
    stand.fill("things", 0..2).await;
    let script = Script::new(async |_| Verdict::Retry { after: Duration::from_secs(3600), code: "NOT_YET" });
    let running = stand.consume(&["things"], ONE_BY_ONE, &script);
    script.until("the first attempt", |script| !script.handed().is_empty()).await;
    let start = Instant::now();
    running.stop().await;
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(stand.committed("things", 1).await, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_handler_ends_the_consumer_and_its_record_comes_again() {
    let stand = Stand::new(&[("things", 1)]);
    stand.fill("things", 0..4).await;
    let script = Script::new(async |record: plumbing::kafka::Record| {
        assert!(record.position.offset != 2, "on purpose");
        Verdict::Done
    });
    let running = stand.consume(&["things"], ONE_BY_ONE, &script);
    let ended = soon("the end", running.handle.stopped()).await;
    assert!(
        matches!(&ended, Err(ConsumerError::HandlerPanicked(position)) if position.offset == 2),
        "{ended:?}"
    );
    assert_eq!(script.offsets("things", 0), [0, 1, 2]);
    assert_eq!(stand.committed("things", 1).await, BTreeMap::from([(0, 2)]));

    let script = Script::new(async |_| Verdict::Done);
    let running = stand.consume(&["things"], ONE_BY_ONE, &script);
    script.until("the rest", |script| script.finished().len() == 2).await;
    running.stop().await;
    assert_eq!(script.offsets("things", 0), [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_never_ends_ends_the_consumer() {
    let stand = Stand::new(&[("things", 1)]);
    stand.fill("things", 0..2).await;
    let script = Script::new(|_| std::future::pending::<Verdict>());
    let mut kafka = stand.kafka();
    kafka.stall_timeout_ms = 500;
    let mut config = config(&["things"], ONE_BY_ONE);
    config.drain = Duration::from_millis(100);
    let running = stand.consume_with(kafka, config, &script, None);
    let ended = soon("the end", running.handle.stopped()).await;
    assert!(matches!(ended, Err(ConsumerError::LaneStalled { .. })), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_the_brokers_time_ends_the_consumer() {
    let stand = Stand::new(&[("things", 1)]);
    stand.fill("things", 0..1).await;
    let script = Script::new(async |_| Verdict::Done);
    let mut kafka = stand.kafka();
    kafka.append_time = AppendTime::Broker;
    let running = stand.consume_with(kafka, config(&["things"], ONE_BY_ONE), &script, None);
    let ended = soon("the end", running.handle.stopped()).await;
    assert!(matches!(ended, Err(ConsumerError::Kafka(KafkaError::CreateTime(_)))), "{ended:?}");
    assert_eq!(script.handed().len(), 0);
}
