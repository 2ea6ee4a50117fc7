//! The broker under a demo: in this process, or a real one with topics of its own.

use std::time::{Duration, Instant};

use plumbing::kafka::{KafkaConfig, KafkaError, Watermarks};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use schemas::topics::{Spec, Topics};

/// How long a real broker may take to make or delete topics.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// How long a real broker may take to say that it is there.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The broker that a demo runs on.
pub enum Broker {
    /// librdkafka's mock cluster: it proves nothing about durability, replay, topics or access lists.
    InProcess(MockCluster<'static, DefaultProducerContext>),
    /// A real one, and the names of the topics that were made there.
    Real {
        /// `host:port`.
        brokers: String,
        /// Deleted at the end.
        topics: Vec<String>,
    },
}

impl Broker {
    /// A mock cluster with the topics of the table.
    ///
    /// # Errors
    /// When the cluster cannot be made.
    pub fn in_process(topics: &[(String, Spec)]) -> Result<Self, KafkaError> {
        let unavailable = |error: rdkafka::error::KafkaError| KafkaError::Unavailable(error.to_string());
        let cluster = MockCluster::new(1).map_err(unavailable)?;
        for (name, spec) in topics {
            cluster.create_topic(name, spec.partitions, 1).map_err(unavailable)?;
        }
        Ok(Self::InProcess(cluster))
    }

    /// Makes the topics of the table on a real broker.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub async fn real(brokers: &str, topics: &[(String, Spec)]) -> Result<Self, KafkaError> {
        let configs: Vec<_> = topics.iter().map(|(_, spec)| spec.config()).collect();
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .zip(&configs)
            .map(|((name, spec), config)| {
                let topic = NewTopic::new(name, spec.partitions, TopicReplication::Fixed(1));
                config.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
            })
            .collect();
        let options =
            AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT));
        let admin = answering(brokers).await?;
        let made = admin
            .create_topics(&new, &options)
            .await
            .map_err(|error| KafkaError::Unavailable(error.to_string()))?;
        let broker = Self::Real {
            brokers: brokers.to_owned(),
            topics: topics.iter().map(|(name, _)| name.clone()).collect(),
        };
        let usable = match made.into_iter().find_map(Result::err) {
            None => broker.led().await,
            Some((topic, code)) => Err(KafkaError::Unavailable(format!("{topic}: {code}"))),
        };
        match usable {
            Ok(()) => Ok(broker),
            Err(error) => {
                broker.stop().await;
                Err(error)
            }
        }
    }

    /// Returns once every partition is led: the controller has made a topic before the brokers serve it.
    async fn led(&self) -> Result<(), KafkaError> {
        let Self::Real { topics, .. } = self else { return Ok(()) };
        let watermarks = Watermarks::new(&self.client("cardquery.demo"))?;
        let deadline = Instant::now() + ADMIN_TIMEOUT;
        loop {
            let ends = watermarks.end_offsets(topics).await;
            match ends.into_values().find_map(Result::err) {
                None => return Ok(()),
                Some(error) if Instant::now() > deadline => return Err(error),
                Some(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// How a client with this name reaches it.
    pub fn client(&self, client_id: &str) -> KafkaConfig {
        match self {
            Self::InProcess(cluster) => KafkaConfig::in_process(cluster.bootstrap_servers(), client_id),
            Self::Real { brokers, .. } => KafkaConfig {
                session_timeout_ms: 6_000,
                properties: [("fetch.wait.max.ms".to_owned(), "50".to_owned())].into(),
                ..KafkaConfig::new(brokers, client_id)
            },
        }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        match self {
            Self::InProcess(cluster) => cluster.bootstrap_servers(),
            Self::Real { brokers, .. } => brokers.clone(),
        }
    }

    /// Deletes the topics that were made.
    pub async fn stop(self) {
        if let Self::Real { brokers, topics } = self {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT));
            let deleted = match admin(&brokers) {
                Ok(admin) => admin.delete_topics(&names, &options).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = deleted {
                tracing::warn!(error, "the demo's topics are left on the broker");
            }
        }
    }
}

/// A client of a broker that is there: making topics would wait much longer for one that is not.
async fn answering(brokers: &str) -> Result<AdminClient<DefaultClientContext>, KafkaError> {
    let admin = admin(brokers)?;
    let asked = tokio::task::spawn_blocking(move || {
        admin.inner().fetch_metadata(None, ANSWER_WITHIN).map(|_| admin).map_err(|error| error.to_string())
    });
    let answer = asked.await.unwrap_or_else(|error| Err(error.to_string()));
    answer.map_err(|error| KafkaError::Unavailable(format!("{brokers} does not answer: {error}")))
}

fn admin(brokers: &str) -> Result<AdminClient<DefaultClientContext>, KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("client.id", "cardquery.demo")
        .create()
        .map_err(|error| KafkaError::Unavailable(error.to_string()))
}

/// Names under a prefix that no other run has.
pub fn fresh_topics() -> Topics {
    Topics::new(format!("demo-{:08x}", rand::random::<u32>()))
}
