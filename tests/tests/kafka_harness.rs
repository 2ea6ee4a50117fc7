//! The harness itself: a broker that serves, agrees with Java, survives a kill, and never outlives its owner.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cardquery_tests::java::java_partitions;
use cardquery_tests::kafka::{KafkaServer, TopicSpec};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_produced_record_is_consumed_back() {
    let server = KafkaServer::shared();
    server.create_topics(&[TopicSpec { name: "round-trip", partitions: 3, configs: &[] }]).await;

    produce(&producer(server), "round-trip", "key", "value").await;

    assert_eq!(consume_one(server, "round-trip").await, ("key".to_owned(), "value".to_owned()));
}

#[tokio::test]
async fn a_topic_that_nobody_created_is_an_error() {
    let producer = producer(KafkaServer::shared());

    let record = FutureRecord::to("never-created").key("key").payload("value");
    let result = producer.send(record, Timeout::Never).await;

    let (error, _record) = result.expect_err("auto.create.topics.enable is false");
    assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::UnknownTopicOrPartition));
}

#[tokio::test]
async fn murmur2_random_puts_keys_where_the_java_client_does() {
    let server = KafkaServer::shared();
    let topic = "partitioner";
    server.create_topics(&[TopicSpec { name: topic, partitions: 12, configs: &[] }]).await;
    let keys = keys_of_every_shape(200);

    let producer = producer(server);
    let mut ours = BTreeMap::new();
    for key in &keys {
        ours.insert(key.clone(), produce(&producer, topic, key, "").await);
    }

    assert_eq!(ours.len(), keys.len(), "the keys differ from each other");
    assert_eq!(ours, java_partitions(server, topic, &keys));
}

#[tokio::test]
async fn a_topic_has_the_settings_it_was_created_with_and_retention_acts_within_seconds() {
    let server = KafkaServer::shared();
    let topic = "short-lived";
    let configs = [("retention.ms", "1"), ("segment.ms", "1"), ("message.timestamp.type", "LogAppendTime")];
    server.create_topics(&[TopicSpec { name: topic, partitions: 1, configs: &configs }]).await;
    produce(&producer(server), topic, "key", "value").await;

    let consumer = consumer(server);
    eventually("retention deletes the record", WITHIN, || {
        let (first, next) =
            consumer.fetch_watermarks(topic, 0, Duration::from_secs(5)).expect("the broker answers");
        next == 1 && first == 1
    });
}

#[tokio::test]
async fn an_acknowledged_record_survives_a_kill_and_a_restart_of_the_broker() {
    let mut server = KafkaServer::start();
    let bootstrap = server.bootstrap().to_owned();
    server.create_topics(&[TopicSpec { name: "durable", partitions: 1, configs: &[] }]).await;
    produce(&producer(&server), "durable", "key", "value").await;

    server.kill();
    assert!(TcpStream::connect(&bootstrap).is_err(), "a killed broker does not listen");
    server.restart();

    assert_eq!(server.bootstrap(), bootstrap);
    assert_eq!(consume_one(&server, "durable").await, ("key".to_owned(), "value".to_owned()));
    server.stop();
    assert!(TcpStream::connect(&bootstrap).is_err(), "a stopped broker does not listen");
}

/// The owner of this test's second server is this same test in a process of its own, told by its environment.
#[test]
fn the_broker_ends_when_its_owner_is_killed() {
    if env::var_os(OWNER).is_some() {
        own_a_server_for_ever();
    }
    let test = "the_broker_ends_when_its_owner_is_killed";
    let mut owner = Command::new(env::current_exe().expect("the operating system knows the test executable"))
        .args(["--exact", test, "--nocapture"])
        .env(OWNER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test executable can be started again");
    let (process_id, bootstrap, directory) = read_what_it_owns(&mut owner);
    assert!(is_running(process_id) && directory.is_dir());
    TcpStream::connect(&bootstrap).expect("the broker listens while its owner lives");

    owner.kill().expect("SIGKILL can be sent to a child");
    owner.wait().expect("a child can be waited for");

    eventually("the broker's process ends", WITHIN, || !is_running(process_id));
    // The first thread of a process is seen to end a moment before the last one closes the sockets.
    eventually("the broker's port is closed", WITHIN, || TcpStream::connect(&bootstrap).is_err());
    eventually("the broker's directory is removed", WITHIN, || !directory.exists());
}

const OWNER: &str = "KAFKA_HARNESS_OWNER";
const OWNS: &str = "owns:";

/// Never drops: the server is the static that every test binary shares. Returns from nothing but the end of
/// the test that started it, so that a failure there leaves no owner behind.
fn own_a_server_for_ever() -> ! {
    let server = KafkaServer::shared();
    let process_id = server.process_id().expect("a server that has started is up");
    let directory = server.directory().display();
    // The handle, because the test framework does not capture it.
    writeln!(io::stdout(), "\n{OWNS} {process_id} {} {directory}", server.bootstrap())
        .expect("stdout is a pipe");
    let end_of_file = io::stdin().read_to_end(&mut Vec::new());
    panic!("the test that started this process has ended: {end_of_file:?}");
}

fn read_what_it_owns(owner: &mut Child) -> (u32, String, PathBuf) {
    let stdout = BufReader::new(owner.stdout.take().expect("stdout is a pipe"));
    let line = stdout
        .lines()
        .map(|line| line.expect("stdout is text"))
        .find(|line| line.starts_with(OWNS))
        .expect("the owner says what it owns before it ends");
    let mut fields = line[OWNS.len()..].trim().splitn(3, ' ').map(str::to_owned);
    let mut field = || fields.next().expect("the line has three fields");
    let process_id = field().parse().expect("a process id is a number");
    (process_id, field(), field().into())
}

/// A process that has ended but that nobody has reaped yet is not running.
fn is_running(process_id: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(process_id.to_string()).join("stat"));
    stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X'])))
}

fn eventually(what: &str, within: Duration, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn producer(server: &KafkaServer) -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", server.bootstrap())
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0")
        .set("topic.metadata.propagation.max.ms", "1000")
        .create()
        .expect("these settings are valid")
}

fn consumer(server: &KafkaServer) -> StreamConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", server.bootstrap())
        .set("group.id", "kafka-harness")
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("these settings are valid")
}

async fn produce(producer: &FutureProducer, topic: &str, key: &str, value: &str) -> i32 {
    let record = FutureRecord::to(topic).key(key).payload(value);
    let delivery = timeout(WITHIN, producer.send(record, Timeout::Never)).await;
    delivery.expect("the broker answers in time").expect("the broker takes the record").partition
}

async fn consume_one(server: &KafkaServer, topic: &str) -> (String, String) {
    let consumer = consumer(server);
    consumer.subscribe(&[topic]).expect("a subscription is valid");
    let record = timeout(WITHIN, consumer.recv())
        .await
        .expect("a record comes in time")
        .expect("no error comes first");
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    (text(record.key()), text(record.payload()))
}

/// Query ids are 36 ASCII characters; the hash works on four bytes at a time and on what is left, and bytes
/// above 127 are where signed and unsigned arithmetic part, so lengths and alphabets vary.
fn keys_of_every_shape(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| match n % 4 {
            0 => format!("019ab1c2-7d3e-7{n:03x}-8{n:03x}-{:012x}", n * 0x0123_4567),
            1 => format!("{n}{}", "x".repeat(n % 9)),
            2 => format!("ключ-{n}{}", "ё".repeat(n % 5)),
            _ => format!("k {n}"),
        })
        .collect()
}
