//! Whose business a topic or an access list is.

use std::collections::BTreeSet;

use kafka_native::{Acl, Pattern, ResourceKind};

use super::wanted::principal;

/// The names and users of one prefix.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// What every name begins with.
    beginnings: [String; 2],
    principals: BTreeSet<String>,
}

/// What an access list has to do with a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It is about nothing but names or users of the prefix.
    Within,
    /// It is about them and about others.
    Beyond,
    /// It is about others.
    Elsewhere,
}

impl Scope {
    /// The names under `prefix`, and the users of its parties.
    pub(super) fn new(prefix: &str, users: &BTreeSet<String>) -> Self {
        Self {
            beginnings: [format!("{prefix}."), format!("dlq.{prefix}.")],
            principals: users.iter().map(|user| principal(user)).collect(),
        }
    }

    /// Whether a topic or group of this name is the prefix's.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.beginnings.iter().any(|beginning| name.starts_with(beginning))
    }

    /// What an access list has to do with this prefix.
    ///
    /// Users are the cluster's: what one may do under another prefix is that prefix's business. But no prefix gives a
    /// party rights on the cluster or on transactions.
    pub(super) fn reach(&self, acl: &Acl) -> Reach {
        match acl.resource {
            ResourceKind::Topic | ResourceKind::Group => self.reach_of_name(acl),
            ResourceKind::Cluster | ResourceKind::TransactionalId | ResourceKind::Unknown => {
                if self.principals.contains(&acl.principal) {
                    Reach::Within
                } else if acl.principal == principal("*") {
                    Reach::Beyond
                } else {
                    Reach::Elsewhere
                }
            }
        }
    }

    fn reach_of_name(&self, acl: &Acl) -> Reach {
        let covers_ours = match acl.pattern {
            Pattern::Literal => acl.name == "*",
            Pattern::Prefixed => self.beginnings.iter().any(|beginning| beginning.starts_with(&acl.name)),
            Pattern::Unknown => true,
        };
        if self.holds(&acl.name) {
            Reach::Within
        } else if covers_ours {
            Reach::Beyond
        } else {
            Reach::Elsewhere
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_native::{AclOperation, Permission};

    use super::*;

    fn reach(resource: ResourceKind, pattern: Pattern, name: &str, principal: &str) -> Reach {
        let acl = Acl {
            resource,
            name: name.to_owned(),
            pattern,
            principal: principal.to_owned(),
            host: "*".to_owned(),
            operation: AclOperation::Read,
            permission: Permission::Allow,
        };
        Scope::new("cardquery", &["bank-alpha".to_owned()].into()).reach(&acl)
    }

    #[test]
    fn an_access_list_is_ours_by_its_name_whoever_it_is_for() {
        use {Pattern::*, Reach::*, ResourceKind::*};
        for (pattern, name, expected) in [
            (Literal, "cardquery.reply.alpha.v1", Within),
            (Literal, "dlq.cardquery.reply.v1", Within),
            (Prefixed, "cardquery.", Within),
            (Prefixed, "cardquery.reply", Within),
            (Prefixed, "dlq.cardquery.", Within),
            (Literal, "*", Beyond),
            (Prefixed, "cardquery", Beyond),
            (Prefixed, "card", Beyond),
            (Prefixed, "dlq.", Beyond),
            (Literal, "cardquery", Elsewhere),
            (Literal, "cardquery2.reply.alpha.v1", Elsewhere),
            (Literal, "dlq.other.reply.v1", Elsewhere),
            (Prefixed, "cardquery2", Elsewhere),
            (Prefixed, "dlq.other", Elsewhere),
        ] {
            for who in ["User:bank-alpha", "User:stranger", "User:*"] {
                assert_eq!(reach(Topic, pattern, name, who), expected, "{pattern:?} {name} {who}");
                assert_eq!(reach(Group, pattern, name, who), expected, "{pattern:?} {name} {who}");
            }
        }
    }

    #[test]
    fn rights_on_the_cluster_or_on_transactions_are_our_business_by_who_has_them() {
        use {Pattern::*, Reach::*, ResourceKind::*};
        for resource in [Cluster, TransactionalId] {
            assert_eq!(reach(resource, Literal, "kafka-cluster", "User:bank-alpha"), Within);
            assert_eq!(reach(resource, Literal, "kafka-cluster", "User:*"), Beyond);
            assert_eq!(reach(resource, Literal, "kafka-cluster", "User:admin"), Elsewhere);
        }
    }
}
