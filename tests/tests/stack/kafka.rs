//! The brokers: one way in, and nothing that comes into being by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use cardquery_tests::kafka::TopicSpec;
use cardquery_tests::logged_client::LoggedClient;
use cardquery_tests::stack::{Stack, fresh_prefix};
use plumbing::kafka::{KafkaConfig, KafkaError, OutRecord, Producer, Watermarks};
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::util::Timeout;

const WITHIN: Duration = Duration::from_secs(30);
/// A client tries again and again, so its question is answered only by the end of its time.
const WITHIN_REFUSAL: Duration = Duration::from_secs(3);

/// A broker does not tell a stranger why.
const HUNG_UP: &str = "connection closed by peer";

#[tokio::test]
async fn a_topic_has_as_many_replicas_as_there_are_brokers_and_all_but_a_minority_must_acknowledge() {
    let stack = Stack::get();
    let topic = fresh_prefix();

    stack.create_topics(&[TopicSpec { name: &topic, partitions: 2, configs: &[] }]).await;

    let admin: AdminClient<DefaultClientContext> =
        stack.client("admin", "cardquery.test.replicas").create().expect("these settings are valid");
    let metadata = admin.inner().fetch_metadata(Some(&topic), WITHIN).expect("the brokers answer");
    for partition in metadata.topics()[0].partitions() {
        assert_eq!(partition.replicas().len(), stack.broker_count());
    }
    let described = admin
        .describe_configs(&[ResourceSpecifier::Topic(&topic)], &AdminOptions::new())
        .await
        .expect("the brokers answer")
        .remove(0)
        .expect("admin may describe");
    let in_sync = described.get("min.insync.replicas").and_then(|entry| entry.value.clone());
    assert_eq!(in_sync, Some((stack.broker_count() / 2 + 1).to_string()));
}

#[tokio::test]
async fn a_record_that_admin_writes_is_counted_by_the_broker() {
    let stack = Stack::get();
    let topic = fresh_prefix();
    let configs = [("message.timestamp.type", "LogAppendTime")];
    stack.create_topics(&[TopicSpec { name: &topic, partitions: 1, configs: &configs }]).await;
    let kafka = stack.kafka("admin", "cardquery.test.round-trip");

    let producer = Producer::new(&kafka).expect("these settings are valid");
    producer.send(record(&topic)).await.expect("admin may write");

    assert_eq!(ends(&kafka, &topic).await, BTreeMap::from([((topic, 0), Ok(1))]));
}

/// Plumbing's clients never ask for a topic to be created; any other producer does.
#[tokio::test]
async fn a_topic_that_nobody_created_does_not_come_into_being() {
    let stack = Stack::get();
    let topic = fresh_prefix();
    let producer: FutureProducer = stack
        .client("admin", "cardquery.test.no-topic")
        .set("topic.metadata.propagation.max.ms", "1000")
        .create()
        .expect("these settings are valid");

    let sent = producer.send(FutureRecord::to(&topic).key("key").payload("value"), Timeout::Never).await;

    let (error, _record) = sent.expect_err("a record for a topic that nobody created was accepted");
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::UnknownTopicOrPartition));
}

#[tokio::test]
async fn a_client_without_tls_is_refused() {
    let stack = Stack::get();
    let kafka = KafkaConfig::new(stack.brokers(), "cardquery.test.plaintext");

    assert_refused(&kafka, HUNG_UP).await;
}

#[tokio::test]
async fn a_client_without_a_password_is_refused() {
    let stack = Stack::get();
    let mut kafka = stack.kafka("admin", "cardquery.test.anonymous");
    kafka.properties.insert("security.protocol".to_owned(), "ssl".to_owned());

    assert_refused(&kafka, HUNG_UP).await;
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let kafka = Stack::get().kafka_with("admin", "wrong", "cardquery.test.wrong-password");

    assert_refused(&kafka, "invalid credentials with SASL mechanism SCRAM-SHA-512").await;
}

#[tokio::test]
async fn a_user_that_does_not_exist_is_refused() {
    let kafka = Stack::get().kafka_with("nobody", "wrong", "cardquery.test.no-user");

    assert_refused(&kafka, "invalid credentials with SASL mechanism SCRAM-SHA-512").await;
}

async fn assert_refused(kafka: &KafkaConfig, reason: &str) {
    let client = LoggedClient::new(kafka);

    client.ask(WITHIN_REFUSAL).await.expect_err("a client that must not get in was answered");

    client.wait_for_line(reason, WITHIN).await;
}

async fn ends(kafka: &KafkaConfig, topic: &str) -> BTreeMap<(String, i32), Result<i64, KafkaError>> {
    let watermarks = Watermarks::new(kafka).expect("these settings are valid");
    watermarks.end_offsets(&[topic.to_owned()]).await
}

fn record(topic: &str) -> OutRecord {
    OutRecord { topic: topic.into(), key: None, value: b"value".to_vec(), headers: Vec::new() }
}
