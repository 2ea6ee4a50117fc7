//! What this build can do, and logging in at a broker.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_native::{AclOperation, AdminError, TopicAccess};
use rdkafka::admin::AdminClient;
use rdkafka::client::Client;
use rdkafka::error::KafkaError as ClientError;

use super::report::{Report, State};
use crate::exit::Exit;
use crate::kafka::{KafkaConfig, KafkaError, PlainContext};

const LOGIN_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A line about librdkafka and what it was built with.
pub fn build(report: &mut Report) {
    let version = librdkafka();
    let features = features().join(" ");
    report.ok("build", format!("{} librdkafka {version}  features: {features}", env!("CARGO_PKG_VERSION")));
}

/// The version of librdkafka.
pub fn librdkafka() -> String {
    rdkafka::util::get_rdkafka_version().1
}

/// What librdkafka was built with.
fn features() -> Vec<String> {
    let told = KafkaConfig::new("", "").native_property("builtin.features").unwrap_or_default();
    told.split(',').map(|feature| feature.trim().to_owned()).collect()
}

/// What the settings need and this build lacks: without it, librdkafka speaks of a provider that nobody has heard of.
fn lacking(kafka: &KafkaConfig) -> Option<&'static str> {
    let features = features();
    needed(kafka).into_iter().find(|need| !features.iter().any(|had| had == need))
}

/// The features that the settings need.
fn needed(kafka: &KafkaConfig) -> Vec<&'static str> {
    let property = |name: &str| kafka.property(name).ok().flatten().unwrap_or_default().to_uppercase();
    let protocol = property("security.protocol");
    let mechanism = Some(property("sasl.mechanism")).filter(|name| !name.is_empty());
    let mechanism = mechanism.unwrap_or_else(|| property("sasl.mechanisms"));
    let sasl = match mechanism.as_str() {
        _ if !protocol.starts_with("SASL") => None,
        "PLAIN" => Some("sasl_plain"),
        "OAUTHBEARER" => Some("sasl_oauthbearer"),
        scram if scram.starts_with("SCRAM") => Some("sasl_scram"),
        _ => Some("sasl_gssapi"),
    };
    protocol.ends_with("SSL").then_some("ssl").into_iter().chain(sasl).collect()
}

/// A client that a broker has let in.
#[derive(Clone)]
pub struct Session {
    client: Arc<AdminClient<PlainContext>>,
    /// The topics that it is shown.
    pub visible: BTreeSet<String>,
    /// The user that it logged in as; none when it has a certificate or nothing.
    pub user: Option<String>,
}

/// Logs in; one line.
pub async fn log_in(kafka: &KafkaConfig, report: &mut Report) -> Option<Session> {
    let user = kafka.property("sasl.username").ok().flatten();
    let mechanism = ["sasl.mechanism", "sasl.mechanisms"]
        .into_iter()
        .find_map(|name| kafka.property(name).ok().flatten())
        .unwrap_or_else(|| "no password".to_owned());
    let who = match &user {
        Some(user) => format!("{mechanism} as {user}"),
        None => format!("{mechanism}, by certificate or as anybody"),
    };
    if let Some(feature) = lacking(kafka) {
        let fix = format!(
            "this build has no {feature}: use one that has, or another sasl.mechanism or security.protocol"
        );
        report.add("sasl", who, State::failed(Exit::Config, fix));
        return None;
    }
    let begun = Instant::now();
    let entered = match kafka.admin() {
        Ok(client) => {
            let client = Arc::new(client);
            let asking = Arc::clone(&client);
            let asked = tokio::task::spawn_blocking(move || enter(asking.inner())).await;
            asked.unwrap_or(Err(KafkaError::Stopped)).map(|visible| (client, visible))
        }
        Err(error) => Err(error),
    };
    let took = begun.elapsed();
    match entered {
        Ok((client, visible)) => {
            report.timed("sasl", who, State::Ok, took);
            Some(Session { client, visible, user })
        }
        Err(error) => {
            let exit = error.exit();
            let fix = if exit == Exit::Denied {
                "correct kafka.properties sasl.username and the password in kafka.property_files, or ask the operator \
                 for a new one"
            } else {
                "the port answers and no broker does: compare security.protocol and sasl.mechanism with what the \
                 operator gave"
            };
            report.timed("sasl", format!("{who}: {error}"), State::failed(exit, fix), took);
            None
        }
    }
}

/// The topics that the client is shown. Its first answer says whether it was let in: a client that is never polled
/// calls a refused password an unavailable broker, so what librdkafka logs is read as well.
fn enter(client: &Client<PlainContext>) -> Result<BTreeSet<String>, KafkaError> {
    let deadline = Instant::now() + LOGIN_WITHIN;
    let mut complaints = Vec::new();
    loop {
        let error = match client.fetch_metadata(None, POLL) {
            Ok(metadata) => {
                return Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect());
            }
            Err(error) => error,
        };
        complaints.extend(kafka_native::complaints(client));
        if let Some(refused) = complaints.iter().find(|text| text.contains("authentication error")) {
            return Err(KafkaError::Denied(refused.clone()));
        }
        if Instant::now() > deadline {
            let why = complaints.into_iter().next().unwrap_or_else(|| error.to_string());
            return Err(KafkaError::Unavailable(why));
        }
    }
}

impl Session {
    /// Who it is, as access lists write it.
    pub fn principal(&self) -> String {
        format!("User:{}", self.user.as_deref().unwrap_or("<name in the certificate>"))
    }

    /// What it may do with topics.
    ///
    /// # Errors
    /// [`KafkaError`] when nobody answers.
    pub async fn topics(&self, names: Vec<String>) -> Result<Vec<TopicAccess>, KafkaError> {
        self.ask(move |client| kafka_native::describe_topics(client, &names, ANSWER_WITHIN)).await
    }

    /// What it may do with a group.
    ///
    /// # Errors
    /// [`KafkaError::Denied`], or another one when nobody answers.
    pub async fn group(&self, name: String) -> Result<BTreeSet<AclOperation>, KafkaError> {
        self.ask(move |client| kafka_native::describe_group(client, &name, ANSWER_WITHIN)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client<PlainContext>) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let client = Arc::clone(&self.client);
        let asked = tokio::task::spawn_blocking(move || question(client.inner())).await;
        match asked {
            Err(_) => Err(KafkaError::Stopped),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(AdminError::Refused { code, text })) => {
                Err(KafkaError::sorted(&text, &ClientError::AdminOp(code)))
            }
            Ok(Err(error)) => Err(KafkaError::Client(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_build_that_lacks_what_the_settings_need_is_told_before_anybody_is_asked() {
        let mut kafka = KafkaConfig::new("localhost:1", "test");
        kafka.properties.insert("security.protocol".into(), "sasl_ssl".into());
        kafka.properties.insert("sasl_mechanism".into(), "SCRAM-SHA-512".into());
        assert_eq!(lacking(&kafka), None);
        kafka.properties.insert("sasl_mechanism".into(), "GSSAPI".into());
        assert_eq!(lacking(&kafka), Some("sasl_gssapi"));
        let mut report = Report::default();
        assert!(log_in(&kafka, &mut report).await.is_none());
        assert!(report.to_string().contains("no sasl_gssapi") && report.exit() == Exit::Config, "{report}");
    }
}
