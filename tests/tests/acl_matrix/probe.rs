//! Trying everything as one user. A try ends in one of two ways, done or denied; anything else is a failure of the test.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, FutureProducer, FutureRecord, Producer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::Handle;

use crate::expected::{Action, Cell, World};
use cardquery_tests::stack::Stack;

const WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Each is a client of its own, with threads and connections.
const GROUPS_AT_A_TIME: usize = 8;
/// Where every topic has a record.
const PARTITION: i32 = 0;

/// Puts a record into every topic, so that reading can be seen to work.
pub(crate) async fn seed(world: &World) {
    let producer: FutureProducer = config("admin").create().expect("these settings are valid");
    let sent = world.topics.iter().map(|topic| {
        let record = FutureRecord::to(&topic.name).partition(PARTITION).key("seed").payload("seed");
        producer.send(record, Timeout::Never)
    });
    for result in join_all(sent).await {
        result.expect("the administrator may write everywhere");
    }
}

/// One user, trying.
pub(crate) struct Probe<'a> {
    world: &'a World,
    user: String,
    config: ClientConfig,
    runtime: Handle,
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Denied,
}

impl<'a> Probe<'a> {
    pub(crate) fn new(world: &'a World, user: impl ToString, runtime: Handle) -> Self {
        let user = user.to_string();
        let config = config(&user);
        Self { world, user, config, runtime }
    }

    /// Everything that was done and not denied.
    pub(crate) fn allowed(&self) -> Vec<Cell> {
        let described = self.describe_everything();
        let written = self.write_everywhere();
        let tried = [
            (Action::WriteIdempotently, self.write_idempotently(&written)),
            (Action::Write, written),
            (Action::Read, self.read_everywhere(&described)),
            (Action::DeleteRecords, self.delete_records(&described)),
            (Action::Describe, described),
            (Action::JoinGroup, self.join_every_group()),
            (Action::CreateTopic, self.create_topics()),
            (Action::UseTransactions, self.use_transactions()),
            (Action::DescribeCluster, self.describe_cluster()),
        ];
        let cells = tried.into_iter().flat_map(|(action, outcomes)| {
            let done = outcomes.into_iter().filter(|(_, outcome)| *outcome == Outcome::Done);
            done.map(move |(what, _)| Cell { user: self.user.clone(), action, what })
        });
        cells.collect()
    }

    /// A record to every topic; what counts is its delivery report.
    fn write_everywhere(&self) -> BTreeMap<String, Outcome> {
        let producer: FutureProducer = self.config.create().expect("these settings are valid");
        let sent = self.world.topics.iter().map(|topic| async {
            let record = FutureRecord::to(&topic.name).key("try").payload("try");
            let sent = producer.send(record, Timeout::Never).await;
            let refusal = sent.err().map(|(error, _record)| error);
            (topic.name.clone(), self.outcome(refusal, Code::TopicAuthorizationFailed, &topic.name))
        });
        self.runtime.block_on(join_all(sent)).into_iter().collect()
    }

    /// As a producer that the brokers give an id, to a topic that it may write; without any such topic it gets no id.
    fn write_idempotently(&self, written: &BTreeMap<String, Outcome>) -> BTreeMap<String, Outcome> {
        let mut config = self.config.clone();
        let config = config.set("enable.idempotence", "true");
        let producer: FutureProducer = config.create().expect("these settings are valid");
        let outcome = match written.iter().find(|(_, outcome)| **outcome == Outcome::Done) {
            Some((topic, _)) => {
                let record = FutureRecord::to(topic).key("try").payload("try");
                let sent = self.runtime.block_on(producer.send(record, Timeout::Never));
                let refusal = sent.err().map(|(error, _record)| error);
                self.outcome(refusal, Code::ClusterAuthorizationFailed, topic)
            }
            None => {
                let deadline = Instant::now() + WITHIN;
                let (code, _text) = loop {
                    if let Some(fatal) = producer.client().fatal_error() {
                        break fatal;
                    }
                    assert!(Instant::now() < deadline, "{}: no word of a producer id", self.user);
                    thread::sleep(POLL);
                };
                self.outcome(
                    Some(KafkaError::Global(code)),
                    Code::ClusterAuthorizationFailed,
                    "a producer id",
                )
            }
        };
        [(self.user.clone(), outcome)].into()
    }

    /// A partition of every topic at once; each has a queue of its own, because an error does not say where it is from.
    ///
    /// A topic that may not be described has no leader for this user: its reader has been denied already, and librdkafka
    /// says nothing more about it.
    fn read_everywhere(&self, described: &BTreeMap<String, Outcome>) -> BTreeMap<String, Outcome> {
        let mut outcomes = described.clone();
        let mut config = self.config.clone();
        config.set("group.id", "none").set("enable.auto.commit", "false");
        let consumer: Arc<BaseConsumer> = Arc::new(config.create().expect("these settings are valid"));
        let known = described.iter().filter(|(_, outcome)| **outcome == Outcome::Done);
        let mut waiting: Vec<&String> = known.map(|(topic, _)| topic).collect();
        let mut assignment = TopicPartitionList::new();
        for topic in &waiting {
            assignment.add_partition_offset(topic, PARTITION, Offset::Offset(0)).expect("an offset");
        }
        consumer.assign(&assignment).expect("assigned");
        let queue = |topic: &String| consumer.split_partition_queue(topic, PARTITION).expect("assigned");
        let queues: BTreeMap<&String, _> = waiting.iter().map(|topic| (*topic, queue(topic))).collect();
        let deadline = Instant::now() + WITHIN;
        while !waiting.is_empty() {
            assert!(Instant::now() < deadline, "{}: no word of {waiting:?}", self.user);
            // Only that the group is not its own can be said here; every partition has its own queue.
            if let Some(stray) = consumer.poll(POLL) {
                self.outcome(Some(stray.expect_err("no record")), Code::GroupAuthorizationFailed, "none");
            }
            waiting.retain(|topic| {
                let Some(polled) = queues[topic].poll(Duration::ZERO) else { return true };
                let outcome = self.outcome(polled.err(), Code::TopicAuthorizationFailed, topic);
                outcomes.insert((*topic).clone(), outcome);
                false
            });
        }
        outcomes
    }

    /// Every topic by name, and the list of all.
    fn describe_everything(&self) -> BTreeMap<String, Outcome> {
        let client: BaseConsumer = self.config.create().expect("these settings are valid");
        let listed = client.fetch_metadata(None, WITHIN).expect("an answer");
        let listed: Vec<&str> = listed.topics().iter().map(|topic| topic.name()).collect();
        let topics = self.world.topics.iter().map(|topic| {
            let told = client.fetch_metadata(Some(&topic.name), WITHIN).expect("an answer");
            let error = told.topics()[0].error().map(|code| KafkaError::MetadataFetch(code.into()));
            let outcome = self.outcome(error, Code::TopicAuthorizationFailed, &topic.name);
            let is_listed = listed.contains(&topic.name.as_str());
            assert_eq!(is_listed, outcome == Outcome::Done, "{} {}", self.user, topic.name);
            (topic.name.clone(), outcome)
        });
        topics.collect()
    }

    /// Up to the beginning of every topic: nothing is lost by it. A topic that may not be described has no leader for this
    /// user, as in reading.
    fn delete_records(&self, described: &BTreeMap<String, Outcome>) -> BTreeMap<String, Outcome> {
        let admin: &AdminClient<DefaultClientContext> =
            &self.config.create().expect("these settings are valid");
        let known = described.iter().filter(|(_, outcome)| **outcome == Outcome::Done);
        let tried = known.map(|(topic, _)| async move {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, PARTITION, Offset::Offset(0)).expect("an offset");
            let told = admin.delete_records(&list, &AdminOptions::new().request_timeout(Some(WITHIN))).await;
            let error = match told {
                Ok(list) => list.elements()[0].error().err(),
                Err(error) => Some(error),
            };
            (topic.clone(), self.outcome(error, Code::TopicAuthorizationFailed, topic))
        });
        let mut outcomes = described.clone();
        outcomes.extend(self.runtime.block_on(join_all(tried)));
        outcomes
    }

    /// Every group, to read what everybody may read: a member of the group gets the record.
    fn join_every_group(&self) -> BTreeMap<String, Outcome> {
        let groups: Vec<&str> = self.world.groups.iter().map(|group| group.name.as_str()).collect();
        groups.chunks(GROUPS_AT_A_TIME).flat_map(|groups| self.join(groups)).collect()
    }

    fn join(&self, groups: &[&str]) -> BTreeMap<String, Outcome> {
        let member = |group: &&str| {
            let mut config = self.config.clone();
            config
                .set("group.id", *group)
                .set("enable.auto.commit", "false")
                .set("auto.offset.reset", "earliest")
                .set("session.timeout.ms", "6000");
            let consumer: BaseConsumer = config.create().expect("these settings are valid");
            consumer.subscribe(&[&self.world.registry()]).expect("subscribed");
            ((*group).to_owned(), consumer)
        };
        let mut waiting: BTreeMap<String, BaseConsumer> = groups.iter().map(member).collect();
        let mut outcomes = BTreeMap::new();
        let deadline = Instant::now() + WITHIN;
        while !waiting.is_empty() {
            assert!(Instant::now() < deadline, "{}: no word of {:?}", self.user, waiting.keys());
            waiting.retain(|group, consumer| {
                let Some(polled) = consumer.poll(POLL) else { return true };
                let outcome = self.outcome(polled.err(), Code::GroupAuthorizationFailed, group);
                outcomes.insert(group.clone(), outcome);
                false
            });
        }
        outcomes
    }

    /// A topic of its own prefix, and one of nobody.
    fn create_topics(&self) -> BTreeMap<String, Outcome> {
        let admin: AdminClient<DefaultClientContext> =
            self.config.create().expect("these settings are valid");
        let names = [format!("{}.reply.{}.v1", self.world.prefix(), self.user), format!("x-{}", self.user)];
        let new = names.each_ref().map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1)));
        let done = self.runtime.block_on(admin.create_topics(&new, &AdminOptions::new())).expect("an answer");
        let outcomes = done.into_iter().map(|result| match result {
            Ok(name) => (name, Outcome::Done),
            Err((name, code)) => {
                let error = KafkaError::Global(code);
                let outcome = self.outcome(Some(error), Code::TopicAuthorizationFailed, &name);
                (name, outcome)
            }
        });
        outcomes.collect()
    }

    fn use_transactions(&self) -> BTreeMap<String, Outcome> {
        let id = format!("{}.{}", self.world.prefix(), self.user);
        let mut config = self.config.clone();
        let producer: BaseProducer =
            config.set("transactional.id", &id).create().expect("these settings are valid");
        let begun = producer.init_transactions(WITHIN);
        let outcome = self.outcome(begun.err(), Code::TransactionalIdAuthorizationFailed, &id);
        [(id, outcome)].into()
    }

    fn describe_cluster(&self) -> BTreeMap<String, Outcome> {
        let client: AdminClient<DefaultClientContext> =
            self.config.create().expect("these settings are valid");
        let broker = client.inner().fetch_metadata(None, WITHIN).expect("an answer").brokers()[0].id();
        let users = kafka_native::describe_scram_users(client.inner(), broker, WITHIN);
        let outcome = match users {
            Ok(_) => Outcome::Done,
            Err(kafka_native::AdminError::Refused { code: Code::ClusterAuthorizationFailed, .. }) => {
                Outcome::Denied
            }
            Err(error) => panic!("{}: {error}", self.user),
        };
        [("users".to_owned(), outcome)].into()
    }

    fn outcome(&self, error: Option<KafkaError>, denied: Code, what: impl Debug) -> Outcome {
        match error {
            None => Outcome::Done,
            Some(error) if error.rdkafka_error_code() == Some(denied) => Outcome::Denied,
            Some(error) => panic!("{}: {what:?} ended in neither way: {error}", self.user),
        }
    }
}

fn config(user: &str) -> ClientConfig {
    let mut config = Stack::get().client(user, "cardquery.test");
    config
        .set("allow.auto.create.topics", "false")
        .set("fetch.wait.max.ms", "100")
        .set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg);
    config
}
