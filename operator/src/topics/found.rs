//! What a cluster holds.

use std::collections::{BTreeMap, BTreeSet};

use kafka_native::Acl;

/// What a cluster holds, as far as it was asked.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// All topics by name; settings only of those that are wanted.
    pub topics: BTreeMap<String, FoundTopic>,
    /// All access lists.
    pub acls: BTreeSet<Acl>,
    /// All users that can log in with SCRAM-SHA-512.
    pub users: BTreeSet<String>,
}

/// One topic.
#[derive(Clone, Debug, Default)]
pub struct FoundTopic {
    /// How many partitions.
    pub partitions: usize,
    /// How many replicas they have; several numbers when they differ.
    pub replicas: BTreeSet<usize>,
    /// Whether every partition has a leader.
    pub led: bool,
    /// What holds for the topic, wherever it is set.
    pub settings: BTreeMap<String, FoundSetting>,
}

/// One setting of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSetting {
    /// Its value.
    pub value: String,
    /// Whether it is set on the topic itself, and not for the whole cluster.
    pub on_topic: bool,
}
