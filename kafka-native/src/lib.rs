//! What rdkafka leaves out of librdkafka: access lists, SCRAM users, changes of single topic settings, and the answer to
//! a commit.
//!
//! The only crate of the workspace with unsafe code, all of it in `admin.rs`, `commit.rs` and `describe.rs`; what leaves this crate is
//! plain values. A call with a `within` blocks for as long as that, so it belongs on a thread that may.

mod acl;
mod admin;
mod commit;
mod convert;
mod describe;

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;

pub use acl::{Acl, AclOperation, Pattern, Permission, ResourceKind};

/// Why the brokers did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The whole request failed, or one of its parts; the text names which.
    #[error("{text}")]
    Refused {
        /// Kafka's code.
        code: RDKafkaErrorCode,
        /// What was asked for, and Kafka's words.
        text: String,
    },
    /// A text with a zero byte, which the native interface cannot take.
    #[error("{0:?} has a zero byte")]
    ZeroByte(String),
    /// An access list with a part that this client does not know by name.
    #[error("{0} cannot be expressed by this client")]
    Inexpressible(Acl),
}

/// A setting of a topic: `None` gives it back to the broker's default.
pub type Setting = (String, Option<String>);

/// What the broker says about a topic to this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicAccess {
    /// Its name.
    pub name: String,
    /// How many partitions it has; none when it may not be described.
    pub partitions: usize,
    /// What this client may do with it.
    pub operations: BTreeSet<AclOperation>,
    /// Why nothing is said about it.
    pub refused: Option<RDKafkaErrorCode>,
}

/// What this client may do with topics. Each has an answer of its own: one that may not be described says so there.
///
/// # Errors
/// [`AdminError`] when the request as a whole fails.
pub fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    names: &[String],
    within: Duration,
) -> Result<Vec<TopicAccess>, AdminError> {
    describe::topics(client, names, within)
}

/// What this client may do with a consumer group, which need not exist. Joins nothing and changes no offset.
///
/// # Errors
/// [`AdminError`]; a denial is one.
pub fn describe_group<C: ClientContext>(
    client: &Client<C>,
    name: &str,
    within: Duration,
) -> Result<BTreeSet<AclOperation>, AdminError> {
    describe::group(client, name, within)
}

/// What librdkafka has logged as errors since this was last asked: failing to connect and to log in, above all. rdkafka's
/// admin client never reads it, and its own errors say no more than that nothing answers.
pub fn complaints<C: ClientContext>(client: &Client<C>) -> Vec<String> {
    admin::complaints(client)
}

/// Every access list of the cluster, as one broker shows it: brokers follow the controller, each in its own time.
///
/// librdkafka 2.12 drops the error of this answer: whoever may not Describe the cluster gets an empty list, and so does
/// everybody on a cluster without an authorizer. [`describe_scram_users`] needs the same right, and says so.
///
/// # Errors
/// [`AdminError`].
pub fn describe_acls<C: ClientContext>(
    client: &Client<C>,
    broker: i32,
    within: Duration,
) -> Result<Vec<Acl>, AdminError> {
    admin::describe_acls(client, broker, within)
}

/// Creates access lists; one that exists already is left as it is.
///
/// # Errors
/// [`AdminError`]; others of the lists may have been created.
pub fn create_acls<C: ClientContext>(
    client: &Client<C>,
    acls: &[Acl],
    within: Duration,
) -> Result<(), AdminError> {
    admin::create_acls(client, acls, within)
}

/// Deletes exactly these access lists; one that is gone already is no error.
///
/// # Errors
/// [`AdminError`]; others of the lists may have been deleted.
pub fn delete_acls<C: ClientContext>(
    client: &Client<C>,
    acls: &[Acl],
    within: Duration,
) -> Result<(), AdminError> {
    admin::delete_acls(client, acls, within)
}

/// The names of all users that can log in with SCRAM-SHA-512, as one broker shows them.
///
/// # Errors
/// [`AdminError`].
pub fn describe_scram_users<C: ClientContext>(
    client: &Client<C>,
    broker: i32,
    within: Duration,
) -> Result<Vec<String>, AdminError> {
    admin::describe_scram_users(client, broker, within)
}

/// Creates users that log in with SCRAM-SHA-512, or sets their passwords. The password does not leave this process;
/// what travels is salted.
///
/// # Errors
/// [`AdminError`]; others of the users may have been created.
pub fn upsert_scram_users<'a, C: ClientContext>(
    client: &Client<C>,
    users: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    within: Duration,
) -> Result<(), AdminError> {
    admin::upsert_scram_users(client, users, within)
}

/// Changes single settings of topics and leaves all others as they are.
///
/// # Errors
/// [`AdminError`]; other topics may have been changed.
pub fn alter_topic_settings<'a, C: ClientContext>(
    client: &Client<C>,
    topics: impl IntoIterator<Item = (&'a str, &'a [Setting])>,
    within: Duration,
) -> Result<(), AdminError> {
    admin::alter_topic_settings(client, topics, within)
}

/// Commits these offsets and returns at once. The answer reaches [`ConsumerContext::commit_callback`] in a later poll,
/// with the error of each partition; rdkafka's own asynchronous commit never calls it (rust-rdkafka#856).
///
/// # Errors
/// librdkafka's code when the commit was not even begun; then no answer comes.
pub fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
) -> Result<(), RDKafkaErrorCode> {
    commit::commit(consumer, offsets)
}
