//! What every test here stands on: a broker, a way to fill it, handlers that tell what they see.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plumbing::kafka::{
    Commit, Consumer, ConsumerConfig, ConsumerHandle, DeadLetters, Handler, KafkaConfig, Lanes, OutRecord,
    Producer, Record, Verdict,
};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

/// Nothing here takes nearly as long; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const GROUP: &str = "test.group";

/// Waits for `future`, and fails the test when it does not come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

pub(crate) struct Stand {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
    pub(crate) producer: Producer,
}

impl Stand {
    pub(crate) fn new(topics: &[(&str, i32)]) -> Self {
        let cluster = MockCluster::new(1).expect("mock cluster");
        for (topic, partitions) in topics {
            cluster.create_topic(topic, *partitions, 1).expect("topic created");
        }
        let producer =
            Producer::new(&KafkaConfig::in_process(cluster.bootstrap_servers(), "test")).expect("producer");
        Self { cluster, producer }
    }

    pub(crate) fn kafka(&self) -> KafkaConfig {
        KafkaConfig::in_process(self.cluster.bootstrap_servers(), "test")
    }

    /// Writes records with the keys `keys`, in order, each with its key as its value.
    pub(crate) async fn fill<K: ToString>(&self, topic: &str, keys: impl IntoIterator<Item = K>) {
        for key in keys {
            let key = key.to_string().into_bytes();
            let record =
                OutRecord { topic: topic.into(), key: Some(key.clone()), value: key, headers: Vec::new() };
            self.producer.send(record).await.expect("acknowledged");
        }
    }

    pub(crate) fn consume<H: Handler>(&self, topics: &[&str], lanes: Lanes, handler: &Arc<H>) -> Running {
        self.consume_with(self.kafka(), config(topics, lanes), handler, None)
    }

    pub(crate) fn consume_with<H: Handler>(
        &self,
        kafka: KafkaConfig,
        config: ConsumerConfig,
        handler: &Arc<H>,
        dead_letters: Option<DeadLetters>,
    ) -> Running {
        let shutdown = CancellationToken::new();
        let handle = Consumer::start(&kafka, config, Arc::clone(handler), dead_letters, shutdown.clone())
            .expect("started");
        Running { handle, shutdown }
    }

    /// What the group has committed: the next offset of each partition that has one.
    pub(crate) async fn committed(&self, topic: &str, partitions: i32) -> BTreeMap<i32, i64> {
        let client = self.group_client();
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, partitions - 1);
        tokio::task::spawn_blocking(move || {
            client
                .committed_offsets(asked, Duration::from_secs(10))
                .expect("committed offsets")
                .elements()
                .iter()
                .filter_map(|element| {
                    let Offset::Offset(next) = element.offset() else {
                        return None;
                    };
                    Some((element.partition(), next))
                })
                .collect()
        })
        .await
        .expect("asked")
    }

    /// Commits for the group, as if a consumer before had come this far.
    pub(crate) async fn commit(&self, topic: &str, partition: i32, next: i64) {
        let client = self.group_client();
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(next)).expect("an offset");
        tokio::task::spawn_blocking(move || {
            client.commit(&offsets, CommitMode::Sync).expect("committed");
        })
        .await
        .expect("asked");
    }

    fn group_client(&self) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", GROUP)
            .set("enable.auto.commit", "false")
            .create()
            .expect("client")
    }

    /// The number of records in each partition.
    pub(crate) async fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        plumbing::kafka::Watermarks::new(&self.kafka())
            .expect("client")
            .end_offsets(&[topic.to_owned()])
            .await
            .into_iter()
            .map(|((_, partition), end)| (partition, end.expect("readable")))
            .collect()
    }
}

pub(crate) fn config(topics: &[&str], lanes: Lanes) -> ConsumerConfig {
    ConsumerConfig {
        group_id: GROUP.into(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        lanes,
        commit: Commit::Broker,
        drain: Duration::from_secs(5),
        queue_max: 100,
    }
}

pub(crate) struct Running {
    pub(crate) handle: ConsumerHandle,
    pub(crate) shutdown: CancellationToken,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        soon("the consumer to stop", self.handle.stopped()).await.expect("an orderly end");
    }
}

/// A handler made of a function that is asked for each record; it notes what it was handed and what
/// it finished, in order.
pub(crate) struct Script<F> {
    verdict: F,
    log: Mutex<Log>,
    changed: tokio::sync::watch::Sender<usize>,
}

#[derive(Default)]
struct Log {
    handed: Vec<Record>,
    finished: Vec<(String, i32, i64)>,
}

impl<F, Fut> Script<F>
where
    F: Fn(Record) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Verdict> + Send + 'static,
{
    pub(crate) fn new(verdict: F) -> Arc<Self> {
        Arc::new(Self { verdict, log: Mutex::default(), changed: tokio::sync::watch::channel(0).0 })
    }
}

impl<F> Script<F> {
    pub(crate) fn handed(&self) -> Vec<Record> {
        self.log.lock().expect("not poisoned").handed.clone()
    }

    /// Offsets that were handed over, of one partition, in order, repeats included.
    pub(crate) fn offsets(&self, topic: &str, partition: i32) -> Vec<i64> {
        self.handed()
            .iter()
            .map(|record| &record.position)
            .filter(|position| &*position.topic == topic && position.partition == partition)
            .map(|position| position.offset)
            .collect()
    }

    pub(crate) fn finished(&self) -> Vec<(String, i32, i64)> {
        self.log.lock().expect("not poisoned").finished.clone()
    }

    /// Waits until `enough` says so; asked after every record.
    pub(crate) async fn until(&self, what: &str, mut enough: impl FnMut(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        soon(what, async {
            while !enough(self) {
                changed.changed().await.expect("the script is alive");
            }
        })
        .await;
    }
}

impl<F, Fut> Handler for Script<F>
where
    F: Fn(Record) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Verdict> + Send + 'static,
{
    async fn handle(&self, batch: &[Record]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for record in batch {
            self.log.lock().expect("not poisoned").handed.push(record.clone());
            self.changed.send_modify(|turns| *turns += 1);
            let verdict = (self.verdict)(record.clone()).await;
            if verdict == Verdict::Done {
                let position = &record.position;
                self.log.lock().expect("not poisoned").finished.push((
                    position.topic.to_string(),
                    position.partition,
                    position.offset,
                ));
                self.changed.send_modify(|turns| *turns += 1);
            }
            verdicts.push(verdict);
        }
        verdicts
    }
}
