//! A Kafka client whose log a test can read: librdkafka says nowhere else why it cannot connect.

use std::time::Duration;

use plumbing::kafka::KafkaConfig;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, Producer};
use tokio::sync::watch;

use crate::stack::client_config;

/// A client that only asks. It is a producer, because that one has a thread which hands its log over; a consumer
/// logs only while it is polled.
pub struct LoggedClient {
    client: FutureProducer<Listener>,
    lines: watch::Receiver<Vec<String>>,
}

impl LoggedClient {
    /// Creates the client; it connects by itself once it is asked.
    ///
    /// # Panics
    /// If plumbing or librdkafka refuses the settings.
    #[must_use]
    #[track_caller]
    pub fn new(kafka: &KafkaConfig) -> Self {
        kafka.validate().expect("plumbing accepts these settings");
        let (sender, lines) = watch::channel(Vec::new());
        let client = client_config(kafka).create_with_context(Listener { lines: sender });
        Self { client: client.expect("these settings are valid"), lines }
    }

    /// Asks for the brokers; a client that is not let in waits until the time is up.
    ///
    /// # Errors
    /// As librdkafka has it.
    pub async fn ask(&self, within: Duration) -> Result<(), KafkaError> {
        let client = self.client.clone();
        let asked = tokio::task::spawn_blocking(move || client.client().fetch_metadata(None, within));
        asked.await.expect("asking does not panic").map(drop)
    }

    /// Every line so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    /// Waits for a line that contains `text`. Lines from before the call count.
    ///
    /// # Panics
    /// If the time is up; the message has all lines.
    pub async fn wait_for_line(&self, text: &str, within: Duration) {
        let mut lines = self.lines.clone();
        let found = lines.wait_for(|lines| lines.iter().any(|line| line.contains(text)));
        if tokio::time::timeout(within, found).await.is_err() {
            panic!("no line with {text:?} in {within:?}, only {:#?}", self.lines());
        }
    }
}

struct Listener {
    lines: watch::Sender<Vec<String>>,
}

impl ClientContext for Listener {
    fn log(&self, _: RDKafkaLogLevel, _: &str, text: &str) {
        self.lines.send_modify(|lines| lines.push(text.to_owned()));
    }

    fn error(&self, _: KafkaError, reason: &str) {
        self.lines.send_modify(|lines| lines.push(reason.to_owned()));
    }
}
