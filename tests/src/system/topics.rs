//! What is in the topics of a system, as the cluster's administrator sees it.

use std::collections::BTreeMap;

use plumbing::kafka::{KafkaConfig, Record, Watermarks, read_to_end};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::System;

impl System {
    /// Settings of a client that may do everything.
    ///
    /// # Panics
    /// If the stack has no administrator's password.
    #[must_use]
    pub fn admin(&self) -> KafkaConfig {
        let stack = &self.local.stack;
        KafkaConfig {
            properties: stack.client("admin").expect("the administrator's password"),
            ..KafkaConfig::new(&stack.brokers, "cardquery.test")
        }
    }

    /// The end of every partition of every topic of this system but those of the registry and of the audit log, which grows
    /// by checkpoints while nothing happens.
    ///
    /// # Panics
    /// If one cannot be read.
    pub async fn ends(&self) -> BTreeMap<(String, i32), i64> {
        let topics = self.local.topics();
        let plan = &self.local.plan;
        let all = topics.all(&plan.upstreams(), &plan.banks());
        let others = [topics.registry(), topics.audit()];
        let names: Vec<String> =
            all.into_iter().map(|(name, _)| name).filter(|name| !others.contains(name)).collect();
        let ends = Watermarks::new(&self.admin()).expect("a client").end_offsets(&names).await;
        ends.into_iter().map(|(partition, end)| (partition, end.expect("an end offset"))).collect()
    }

    /// Every record of `topic`, in the order of its partitions.
    ///
    /// # Panics
    /// If it cannot be read.
    pub async fn records(&self, topic: &str) -> Vec<Record> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let each = move |record| sender.send(record).expect("it is received below");
        read_to_end(&self.admin(), &[topic.to_owned()], each).await.expect("the topic can be read");
        receiver.into_iter().collect()
    }

    /// Has a group that nobody is a member of begin at the beginning of `topic`.
    ///
    /// # Panics
    /// If the broker refuses.
    pub async fn read_again(&self, group: String, topic: &str) {
        let kafka = self.admin();
        let ends = Watermarks::new(&kafka).expect("a client").end_offsets(&[topic.to_owned()]).await;
        let mut list = TopicPartitionList::new();
        for (topic, partition) in ends.keys() {
            list.add_partition_offset(topic, *partition, Offset::Offset(0)).expect("an offset");
        }
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &kafka.brokers).set("group.id", &group);
        config.extend(kafka.properties);
        let committed = tokio::task::spawn_blocking(move || {
            let client: BaseConsumer = config.create().expect("these settings are valid");
            client.commit(&list, CommitMode::Sync)
        });
        committed.await.expect("not abandoned").expect("a group without members takes it");
    }
}
