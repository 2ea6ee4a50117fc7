use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plumbing::kafka::{Lanes, Verdict};
use tokio_util::sync::CancellationToken;

use crate::stand::{Script, Stand, config, soon};

const PARTITIONS: i32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn when_a_member_leaves_with_records_in_flight_nothing_is_lost_or_skipped() {
    let stand = Stand::new(&[("things", PARTITIONS)]);
    stand.fill("things", 0..300).await;

    // What is finished, by whomever; noted before the verdict is returned.
    let finished: Arc<Mutex<BTreeSet<(i32, i64)>>> = Arc::default();
    let member = || {
        let finished = Arc::clone(&finished);
        Script::new(move |record| {
            let finished = Arc::clone(&finished);
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let position = record.position;
                finished.lock().expect("not poisoned").insert((position.partition, position.offset));
                Verdict::Done
            }
        })
    };
    let mut config = config(&["things"], Lanes::Ordered { count: 2, batch_max: 5 });
    config.queue_max = 10;
    let (leaver, stayer) = (member(), member());
    let leaving = stand.consume_with(stand.kafka(), config.clone(), &leaver, None);
    let staying = stand.consume_with(stand.kafka(), config, &stayer, None);
    leaver.until("a record at the leaver", |script| !script.handed().is_empty()).await;
    stayer.until("a record at the stayer", |script| !script.handed().is_empty()).await;

    // A witness asks the broker all the time.
    let over = CancellationToken::new();
    let witness = async {
        let mut looks = 0;
        while !over.is_cancelled() {
            let committed = stand.committed("things", PARTITIONS).await;
            let finished = finished.lock().expect("not poisoned").clone();
            for (partition, next) in committed {
                for offset in 0..next {
                    assert!(
                        finished.contains(&(partition, offset)),
                        "{partition}:{offset} is skipped, {next} is committed"
                    );
                }
            }
            looks += 1;
        }
        looks
    };
    let play = async {
        leaving.stop().await;
        soon("all records", async {
            while finished.lock().expect("not poisoned").len() < 300 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        staying.stop().await;
        over.cancel();
    };
    let (looks, ()) = tokio::join!(witness, play);
    assert!(looks > 3, "the witness slept");

    let ends: BTreeMap<_, _> = stand.ends("things").await.into_iter().filter(|(_, end)| *end > 0).collect();
    assert_eq!(stand.committed("things", PARTITIONS).await, ends);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_finished_after_its_partition_was_taken_away_does_not_complete() {
    let stand = Stand::new(&[("things", 1)]);
    stand.fill("things", 0..3).await;
    let (entered, leave) = (CancellationToken::new(), CancellationToken::new());
    let script = Script::new({
        let (entered, leave) = (entered.clone(), leave.clone());
        move |_| {
            let (entered, leave) = (entered.clone(), leave.clone());
            async move {
                entered.cancel();
                leave.cancelled().await;
                Verdict::Done
            }
        }
    });
    let mut config = config(&["things"], Lanes::Concurrent { max: 1 });
    config.drain = Duration::from_millis(200);
    let running = stand.consume_with(stand.kafka(), config, &script, None);
    soon("the record in flight", entered.cancelled()).await;
    // Longer in flight than the drain may take.
    running.stop().await;
    leave.cancel();
    assert_eq!(stand.committed("things", 1).await, BTreeMap::new());
}
