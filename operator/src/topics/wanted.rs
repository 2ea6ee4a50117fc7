//! What a cluster should hold, from the table of topics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_native::{Acl, AclOperation, Pattern, Permission, ResourceKind};
use schemas::acls::{self, Binding, Operation, Resource};

use super::scope::Scope;
use crate::config::Estate;

/// What a cluster should hold.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The topics by name.
    pub topics: BTreeMap<String, WantedTopic>,
    /// The access lists, and no others on these names.
    pub acls: BTreeSet<Acl>,
    /// Names of the users.
    pub users: BTreeSet<String>,
    pub(super) scope: Scope,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedTopic {
    /// How many partitions.
    pub partitions: usize,
    /// How many replicas of each.
    pub replicas: usize,
    /// Where sealed content lies: how long after a query's acceptance it may still be written.
    pub sealed_until: Option<Duration>,
    /// Settings as the broker spells them; no others may be set on the topic.
    pub settings: BTreeMap<String, String>,
}

impl Wanted {
    /// The table for these parties.
    pub fn new(estate: &Estate) -> Self {
        let Estate { topics, upstreams, banks, cluster } = estate;
        let users: BTreeSet<String> = acls::users(upstreams, banks).iter().map(ToString::to_string).collect();
        let min_insync = ("min.insync.replicas", cluster.min_insync_replicas.to_string());
        Self {
            topics: topics
                .all(upstreams, banks)
                .into_iter()
                .map(|(name, spec)| {
                    let settings = spec.config().into_iter().chain([min_insync.clone()]);
                    let topic = WantedTopic {
                        partitions: usize::try_from(spec.partitions).unwrap_or_default(),
                        replicas: cluster.replication_factor.into(),
                        sealed_until: spec.sealed_until,
                        settings: settings.map(|(key, value)| (key.to_owned(), value)).collect(),
                    };
                    (name, topic)
                })
                .collect(),
            acls: acls::bindings(topics, upstreams, banks).iter().map(acl).collect(),
            scope: Scope::new(topics.prefix(), &users),
            users,
        }
    }
}

/// A binding as the broker keeps it.
pub fn acl(binding: &Binding) -> Acl {
    Acl {
        resource: match binding.resource {
            Resource::Topic => ResourceKind::Topic,
            Resource::Group => ResourceKind::Group,
        },
        name: binding.name.clone(),
        pattern: Pattern::Literal,
        principal: principal(&binding.user.to_string()),
        host: "*".to_owned(),
        operation: match binding.operation {
            Operation::Read => AclOperation::Read,
            Operation::Write => AclOperation::Write,
            Operation::Delete => AclOperation::Delete,
        },
        permission: Permission::Allow,
    }
}

/// A user as access lists name it.
pub(super) fn principal(user: &str) -> String {
    format!("User:{user}")
}
