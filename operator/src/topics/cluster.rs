//! A cluster: asking it what it holds, and changing it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_native::{Acl, AdminError, Setting};
use plumbing::exit::Exit;
use plumbing::kafka::{KafkaConfig, KafkaError, PlainContext};
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::Client;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::metadata::MetadataBroker;
use rdkafka::types::RDKafkaErrorCode;

use super::diff::{Difference, Plan, diff};
use super::found::{Found, FoundSetting, FoundTopic};
use super::passwords::{self, PasswordError};
use super::wanted::Wanted;

/// How long brokers may take for one request.
const WITHIN: Duration = Duration::from_secs(30);
/// How long the first answer may take: whoever mistyped an address should not wait long.
const FIRST_WITHIN: Duration = Duration::from_secs(10);
const FIRST_POLL: Duration = Duration::from_secs(1);
/// How long brokers may take to show what the controller has decided.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

/// Why a cluster was not read or changed. What was changed before stays; to apply again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The brokers.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A request of this client.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The brokers do not show what they acknowledged.
    #[error("applied, but after {SETTLED_WITHIN:?} the brokers do not show it: {0}")]
    NotSettled(String),
    /// The brokers show different things.
    #[error("the brokers have not agreed with each other for {SETTLED_WITHIN:?}")]
    Disagree,
    /// A thread ended early.
    #[error("a request was abandoned: {0}")]
    Abandoned(String),
}

impl ApplyError {
    /// The exit code of a command that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Kafka(error) => error.exit(),
            Self::Admin(AdminError::Refused { code, text }) => {
                KafkaError::sorted(text, &ClientError::AdminOp(*code)).exit()
            }
            Self::Admin(AdminError::ZeroByte(_) | AdminError::Inexpressible(_)) | Self::Abandoned(_) => {
                Exit::Software
            }
            Self::Password(error) => error.exit(),
            Self::NotSettled(_) | Self::Disagree => Exit::Unavailable,
        }
    }
}

/// A client that may alter the cluster.
pub struct Cluster {
    admin: Arc<AdminClient<PlainContext>>,
    passwords: PathBuf,
}

impl Cluster {
    /// A client of these brokers; new users' passwords go to `passwords`.
    ///
    /// # Errors
    /// When a property is refused.
    pub fn new(kafka: &KafkaConfig, passwords: &Path) -> Result<Self, KafkaError> {
        Ok(Self { admin: Arc::new(kafka.admin()?), passwords: passwords.to_owned() })
    }

    /// What differs, once all brokers show the same: each follows the controller in its own time, and what only one of them
    /// shows is out of date or about to be.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn plan(&self, wanted: &Wanted) -> Result<Plan, ApplyError> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        loop {
            match self.agreed(wanted).await? {
                Some(plan) => return Ok(plan),
                None if Instant::now() > deadline => return Err(ApplyError::Disagree),
                None => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// What differs, if all brokers show the same.
    async fn agreed(&self, wanted: &Wanted) -> Result<Option<Plan>, ApplyError> {
        let Overview { brokers, topics } = self.blocking(overview).await?;
        let mut plans = Vec::new();
        for broker in brokers {
            let found = self.read(wanted, broker, topics.clone()).await?;
            plans.push(diff(wanted, &found));
        }
        plans.dedup();
        Ok(if plans.len() == 1 { plans.pop() } else { None })
    }

    /// What a broker shows of the cluster. A topic that it does not know yet has no settings.
    async fn read(
        &self,
        wanted: &Wanted,
        broker: i32,
        mut topics: BTreeMap<String, FoundTopic>,
    ) -> Result<Found, ApplyError> {
        let asked: Vec<&String> = wanted.topics.keys().filter(|name| topics.contains_key(*name)).collect();
        let mut settings = self.settings(broker, &asked).await?;
        for (name, topic) in &mut topics {
            topic.settings = settings.remove(name).unwrap_or_default();
        }
        let acls = self.blocking(move |client| kafka_native::describe_acls(client, broker, WITHIN)).await?;
        let users =
            self.blocking(move |client| kafka_native::describe_scram_users(client, broker, WITHIN)).await?;
        Ok(Found { topics, acls: acls.into_iter().collect(), users: users.into_iter().collect() })
    }

    /// Carries out a plan, and returns what still differs once the brokers show it: topics first, then what is allowed on
    /// them, then who may log in.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn apply(&self, wanted: &Wanted, plan: &Plan) -> Result<Plan, ApplyError> {
        let steps = Steps::of(plan);
        // Before anything is changed: a folder that is missing is best known now.
        let passwords = passwords::read_or_make(&self.passwords, &steps.users)?;
        self.create_topics(wanted, &steps.topics).await?;
        let Steps { settings, new_acls, old_acls, .. } = steps;
        if !settings.is_empty() {
            self.blocking(move |client| {
                let settings = settings.iter().map(|(topic, settings)| (topic.as_str(), settings.as_slice()));
                kafka_native::alter_topic_settings(client, settings, WITHIN)
            })
            .await?;
        }
        if !new_acls.is_empty() {
            self.blocking(move |client| kafka_native::create_acls(client, &new_acls, WITHIN)).await?;
        }
        if !old_acls.is_empty() {
            self.blocking(move |client| kafka_native::delete_acls(client, &old_acls, WITHIN)).await?;
        }
        if !passwords.is_empty() {
            self.blocking(move |client| {
                let users = passwords.iter().map(|(user, password)| (user.as_str(), password.as_bytes()));
                kafka_native::upsert_scram_users(client, users, WITHIN)
            })
            .await?;
        }
        self.settled(wanted).await
    }

    /// Waits until the brokers show what the controller decided, and every topic is led.
    async fn settled(&self, wanted: &Wanted) -> Result<Plan, ApplyError> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        loop {
            let rest = self.plan(wanted).await?;
            let topics = self.blocking(overview).await?.topics;
            let waiting = wanted.topics.keys().find(|name| topics.get(*name).is_some_and(|topic| !topic.led));
            if rest.is_applied() && waiting.is_none() {
                return Ok(rest);
            }
            if Instant::now() > deadline {
                let what = waiting.map_or_else(|| rest.to_string(), |topic| format!("{topic} has no leader"));
                return Err(ApplyError::NotSettled(what));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn create_topics(&self, wanted: &Wanted, names: &[String]) -> Result<(), ApplyError> {
        if names.is_empty() {
            return Ok(());
        }
        let topics = names.iter().filter_map(|name| wanted.topics.get_key_value(name));
        let new: Vec<NewTopic<'_>> = topics
            .map(|(name, topic)| {
                let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
                let replicas = i32::try_from(topic.replicas).unwrap_or(i32::MAX);
                let new = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
                topic.settings.iter().fold(new, |new, (key, value)| new.set(key, value))
            })
            .collect();
        let created = self.admin.create_topics(&new, &options()).await;
        for result in created.map_err(|error| KafkaError::sorted("create topics", &error))? {
            match result {
                Ok(_) => {}
                // Somebody else, or the first of two tries, made it. Whether it is right is seen when it is read again.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    let error = ClientError::AdminOp(code);
                    return Err(KafkaError::sorted(&format!("create topic {topic}"), &error).into());
                }
            }
        }
        Ok(())
    }

    /// The settings that hold for topics.
    async fn settings(
        &self,
        broker: i32,
        topics: &[&String],
    ) -> Result<BTreeMap<String, BTreeMap<String, FoundSetting>>, ApplyError> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let asked: Vec<ResourceSpecifier<'_>> =
            topics.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let told = self.admin.describe_configs(&asked, &options().broker_id(broker)).await;
        let told = told.map_err(|error| KafkaError::sorted("describe topics", &error))?;
        let mut settings = BTreeMap::new();
        for resource in told {
            let resource = resource
                .map_err(|code| KafkaError::sorted("describe topics", &ClientError::AdminOp(code)))?;
            let OwnedResourceSpecifier::Topic(topic) = resource.specifier else { continue };
            let entries = resource.entries.into_iter().filter_map(|entry| {
                let on_topic = entry.source == ConfigSource::DynamicTopic;
                Some((entry.name, FoundSetting { value: entry.value?, on_topic }))
            });
            settings.insert(topic, entries.collect());
        }
        Ok(settings)
    }

    /// Asks on a thread that may wait.
    async fn blocking<T: Send + 'static, E: Into<ApplyError> + Send + 'static>(
        &self,
        ask: impl FnOnce(&Client<PlainContext>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, ApplyError> {
        let admin = Arc::clone(&self.admin);
        let asked = tokio::task::spawn_blocking(move || ask(admin.inner()));
        asked.await.map_err(|error| ApplyError::Abandoned(error.to_string()))?.map_err(Into::into)
    }
}

/// What the metadata of a cluster tells.
struct Overview {
    brokers: Vec<i32>,
    topics: BTreeMap<String, FoundTopic>,
}

/// A plan, by what is asked of the cluster.
#[derive(Default)]
struct Steps {
    topics: Vec<String>,
    settings: Vec<(String, Vec<Setting>)>,
    new_acls: Vec<Acl>,
    old_acls: Vec<Acl>,
    users: Vec<String>,
}

impl Steps {
    fn of(plan: &Plan) -> Self {
        let mut steps = Self::default();
        for difference in &plan.differences {
            match difference {
                Difference::CreateTopic { topic, .. } => steps.topics.push(topic.clone()),
                Difference::ChangeTopic { topic, settings } => {
                    let settings = settings.iter().map(|change| (change.key.clone(), change.to.clone()));
                    steps.settings.push((topic.clone(), settings.collect()));
                }
                Difference::CreateAcl { acl } => steps.new_acls.push(acl.clone()),
                Difference::RemoveAcl { acl } => steps.old_acls.push(acl.clone()),
                Difference::CreateUser { user } => steps.users.push(user.clone()),
                Difference::Unchangeable { .. }
                | Difference::OutlivesErasure { .. }
                | Difference::UnremovableAcl { .. }
                | Difference::UnknownTopic { .. } => {}
            }
        }
        steps
    }
}

/// The brokers, and every topic without its settings. The first thing that is asked, so its error says why nobody answers.
fn overview(client: &Client<PlainContext>) -> Result<Overview, KafkaError> {
    let deadline = Instant::now() + FIRST_WITHIN;
    let mut complaints = Vec::new();
    let metadata = loop {
        let error = match client.fetch_metadata(None, FIRST_POLL) {
            Ok(metadata) => break metadata,
            Err(error) => error,
        };
        complaints.extend(kafka_native::complaints(client));
        if let Some(refused) = complaints.iter().find(|text| text.contains("authentication error")) {
            return Err(KafkaError::Denied(refused.clone()));
        }
        if Instant::now() > deadline {
            // The first is the cause; the last only counts the brokers that are down.
            let why = complaints.into_iter().next().unwrap_or_else(|| error.to_string());
            return Err(KafkaError::Unavailable(why));
        }
    };
    let topics = metadata.topics().iter().map(|topic| {
        let partitions = topic.partitions();
        let found = FoundTopic {
            partitions: partitions.len(),
            replicas: partitions.iter().map(|partition| partition.replicas().len()).collect(),
            led: !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0),
            settings: BTreeMap::new(),
        };
        (topic.name().to_owned(), found)
    });
    Ok(Overview {
        brokers: metadata.brokers().iter().map(MetadataBroker::id).collect(),
        topics: topics.collect(),
    })
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(WITHIN)).operation_timeout(Some(WITHIN))
}
