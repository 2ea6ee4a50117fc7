//! What a system has not dealt with yet.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use cardquery::local::Local;
use cardquery::local::plan::Part;
use plumbing::kafka::{KafkaConfig, Watermarks};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, TopicPartitionList};
use secrecy::{ExposeSecret, SecretString};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What is left to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Rows of outboxes that were not published.
    pub outbox: i64,
    /// Partitions that a group has not finished: group, topic, partition, and how many records.
    pub lag: Vec<(String, String, i32, i64)>,
    /// Records in the dead-letter topics.
    pub dead_letters: i64,
}

impl Remains {
    /// Whether nothing is left but so many dead letters.
    #[must_use]
    pub fn is_nothing_but(&self, dead_letters: i64) -> bool {
        *self == Self { dead_letters, ..Self::default() }
    }
}

impl fmt::Display for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} outbox rows, {} dead letters", self.outbox, self.dead_letters)?;
        for (group, topic, partition, records) in &self.lag {
            write!(f, ", {records} records of {topic}:{partition} before {group}")?;
        }
        Ok(())
    }
}

/// Asks brokers and databases, as their administrators.
pub(super) async fn of(local: &Local, banks: &BTreeSet<String>) -> Remains {
    let topics = local.topics();
    let (upstreams, all_banks) = (local.plan.upstreams(), local.plan.banks());
    let kafka = KafkaConfig {
        properties: local.stack.client("admin").expect("the administrator's password"),
        ..KafkaConfig::new(&local.stack.brokers, "cardquery.test")
    };
    let mut groups = vec![
        (topics.group("aggregator.query"), upstreams.iter().map(|id| topics.query(id)).collect()),
        (topics.group("aggregator.reply"), all_banks.iter().map(|id| topics.reply(id)).collect()),
        (topics.group("notifier"), vec![topics.notice()]),
    ];
    for bank in all_banks.iter().filter(|bank| banks.contains(bank.as_str())) {
        groups.push((topics.connector_group(bank), vec![topics.request(bank)]));
    }
    let watermarks = Watermarks::new(&kafka).expect("a client");
    let mut remains = Remains { outbox: outbox(local).await, ..Remains::default() };
    for (group, topics) in groups {
        remains.lag.extend(lag(&kafka, &watermarks, group, topics).await);
    }
    let dead: BTreeSet<String> = [topics.query(&upstreams[0]), topics.reply(&all_banks[0]), topics.notice()]
        .iter()
        .filter_map(|topic| topics.dead_letter(topic))
        .collect();
    let ends = watermarks.end_offsets(&dead.into_iter().collect::<Vec<_>>()).await;
    remains.dead_letters = ends.into_values().map(|end| end.expect("an end offset")).sum();
    remains
}

/// What lies between a group's committed offsets and the ends of its topics.
async fn lag(
    kafka: &KafkaConfig,
    watermarks: &Watermarks,
    group: String,
    topics: Vec<String>,
) -> Vec<(String, String, i32, i64)> {
    let ends = watermarks.end_offsets(&topics).await;
    let mut list = TopicPartitionList::new();
    for (topic, partition) in ends.keys() {
        list.add_partition(topic, *partition);
    }
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.brokers).set("group.id", &group);
    config.extend(kafka.properties.clone());
    let committed = tokio::task::spawn_blocking(move || {
        let client: BaseConsumer = config.create().expect("these settings are valid");
        client.committed_offsets(list, ANSWER_WITHIN).expect("the group's coordinator answers")
    });
    let committed = committed.await.expect("not abandoned").to_topic_map();
    ends.into_iter()
        .filter_map(|((topic, partition), end)| {
            let end = end.expect("an end offset");
            let done = committed.get(&(topic.clone(), partition)).and_then(|offset| offset.to_raw());
            // A group that has committed nothing has -1001 for an offset.
            let left = end - done.unwrap_or_default().max(0);
            (left > 0).then(|| (group.clone(), topic, partition, left))
        })
        .collect()
}

/// Rows that wait to be published, and those that never can be.
async fn outbox(local: &Local) -> i64 {
    count(
        local.database_url(&Part::Aggregator),
        "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM outbox_parked)",
    )
    .await
        + count(local.database_url(&Part::Notifier), "SELECT count(*) FROM sms WHERE NOT announced").await
}

async fn count(url: Option<SecretString>, question: &'static str) -> i64 {
    let url = url.expect("it has a database");
    let mut session = PgConnection::connect(url.expose_secret()).await.expect("the stack's PostgreSQL");
    let count = sqlx::query_scalar(question).fetch_one(&mut session).await;
    session.close().await.expect("closed");
    count.unwrap_or_else(|error| panic!("{question}: {error}"))
}
