//! Creating topics, and knowing when they can be used.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

const CREATED_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// A topic to create. Its replication is the brokers' default.
#[derive(Clone, Copy, Debug)]
pub struct TopicSpec<'a> {
    /// The topic's full name.
    pub name: &'a str,
    /// The number of partitions.
    pub partitions: i32,
    /// Settings of the topic by Kafka's names, such as `("retention.ms", "60000")`.
    pub configs: &'a [(&'a str, &'a str)],
}

/// Creates the topics and returns once each partition has a leader. A topic that exists is an error.
pub(crate) async fn create(
    admin: &AdminClient<DefaultClientContext>,
    topics: &[TopicSpec<'_>],
) -> Result<(), String> {
    let new_topics: Vec<NewTopic<'_>> = topics.iter().map(new_topic).collect();
    let options =
        AdminOptions::new().request_timeout(Some(CREATED_WITHIN)).operation_timeout(Some(CREATED_WITHIN));
    let results = admin
        .create_topics(&new_topics, &options)
        .await
        .map_err(|error| format!("cannot ask for new topics: {error}"))?;
    for result in results {
        result.map_err(|(name, code)| format!("cannot create topic {name}: {code}"))?;
    }

    // The controller has answered; the broker learns of the partitions a little later.
    let deadline = Instant::now() + CREATED_WITHIN;
    for topic in topics {
        while !has_leaders(admin, topic) {
            if Instant::now() > deadline {
                return Err(format!(
                    "topic {} was created but has no leaders after {CREATED_WITHIN:?}",
                    topic.name
                ));
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}

/// What stands for the brokers' default in the protocol (KIP-464).
const DEFAULT_REPLICATION: i32 = -1;

fn new_topic<'a>(spec: &TopicSpec<'a>) -> NewTopic<'a> {
    let topic = NewTopic::new(spec.name, spec.partitions, TopicReplication::Fixed(DEFAULT_REPLICATION));
    spec.configs.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
}

fn has_leaders(admin: &AdminClient<DefaultClientContext>, spec: &TopicSpec<'_>) -> bool {
    let Ok(metadata) = admin.inner().fetch_metadata(Some(spec.name), Duration::from_secs(1)) else {
        return false;
    };
    metadata.topics().iter().any(|topic| {
        topic.name() == spec.name
            && topic.partitions().len() == usize::try_from(spec.partitions).unwrap_or(0)
            && topic.partitions().iter().all(|partition| partition.leader() >= 0)
    })
}
