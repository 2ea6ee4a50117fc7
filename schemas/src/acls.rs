//! Who may touch what at the broker: the table of topics, spelled as users and literal access lists.
//!
//! What is not listed is denied. Describe is not listed: Kafka gives it with Read and with Write.

use std::collections::BTreeSet;
use std::fmt;

use crate::ids::{BankId, UpstreamId};
use crate::topics::{Family, Holder, Role, Topics};

/// A user of the broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum User {
    Aggregator,
    Auditor,
    Bank(BankId),
    Notifier,
    Operator,
    Redrive,
    Upstream(UpstreamId),
}

impl fmt::Display for User {
    /// The name it logs in with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aggregator => f.write_str("aggregator"),
            Self::Auditor => f.write_str("auditor"),
            Self::Bank(id) => write!(f, "bank-{id}"),
            Self::Notifier => f.write_str("notifier"),
            Self::Operator => f.write_str("operator"),
            Self::Redrive => f.write_str("redrive"),
            Self::Upstream(id) => write!(f, "upstream-{id}"),
        }
    }
}

/// What an access list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A consumer group.
    Group,
    /// A topic.
    Topic,
}

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Operation {
    Read,
    Write,
    Delete,
}

impl fmt::Display for Operation {
    /// As Kafka's tools spell it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Delete => "Delete",
        })
    }
}

/// One user is allowed one operation on the one resource of exactly this name, from any host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// Who.
    pub user: User,
    /// On what kind of resource.
    pub resource: Resource,
    /// Its name.
    pub name: String,
    /// What.
    pub operation: Operation,
}

/// Every user of the broker but its administrator.
pub fn users(upstreams: &[UpstreamId], banks: &[BankId]) -> BTreeSet<User> {
    let services = [User::Aggregator, User::Auditor, User::Notifier, User::Operator, User::Redrive];
    let banks = banks.iter().cloned().map(User::Bank);
    services.into_iter().chain(banks).chain(upstreams.iter().cloned().map(User::Upstream)).collect()
}

/// Every access list.
pub fn bindings(topics: &Topics, upstreams: &[UpstreamId], banks: &[BankId]) -> BTreeSet<Binding> {
    let everyone = users(upstreams, banks);
    let mut bindings = BTreeSet::new();
    for family in Family::ALL {
        let spec = family.spec();
        for (name, holder) in topics.of_family(family, upstreams, banks) {
            let operations = [
                (Operation::Read, spec.readers),
                (Operation::Write, spec.writers),
                (Operation::Delete, spec.deleters),
            ];
            for (operation, roles) in operations {
                let allowed = everyone.iter().filter(|user| roles.iter().any(|role| role.is(user, holder)));
                bindings.extend(allowed.map(|user| Binding {
                    user: user.clone(),
                    resource: Resource::Topic,
                    name: name.clone(),
                    operation,
                }));
            }
        }
    }
    for user in everyone {
        bindings.extend(user.groups(topics).into_iter().map(|name| Binding {
            user: user.clone(),
            resource: Resource::Group,
            name,
            operation: Operation::Read,
        }));
    }
    bindings
}

impl Role {
    /// Whether `user` has this role for a topic of `holder`.
    fn is(self, user: &User, holder: Holder<'_>) -> bool {
        match self {
            Self::Upstream => {
                matches!((user, holder), (User::Upstream(id), Holder::Upstream(own)) if id == own)
            }
            Self::Bank => matches!((user, holder), (User::Bank(id), Holder::Bank(own)) if id == own),
            Self::Aggregator => *user == User::Aggregator,
            Self::Notifier => *user == User::Notifier,
            Self::Operator => *user == User::Operator,
            Self::Redrive => *user == User::Redrive,
            Self::Auditor => *user == User::Auditor,
            Self::Everyone => true,
        }
    }
}

impl User {
    /// The consumer groups that are its own. A reader that assigns itself partitions needs one as well, and uses the
    /// name of its client.
    pub fn groups(&self, topics: &Topics) -> Vec<String> {
        match self {
            Self::Aggregator => {
                ["aggregator", "aggregator.query", "aggregator.reply"].map(|name| topics.group(name)).into()
            }
            Self::Auditor => vec![topics.group("audit")],
            Self::Bank(id) => vec![topics.connector_group(id)],
            Self::Notifier => vec![topics.group("notifier")],
            Self::Operator => vec![topics.group("operator")],
            Self::Redrive => vec![topics.group("redrive")],
            Self::Upstream(id) => vec![topics.group(&format!("producer.{id}"))],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    fn ids<T: std::str::FromStr>(names: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<T> {
        names.into_iter().map(|name| name.as_ref().parse().ok().expect("an id")).collect()
    }

    fn line(binding: &Binding) -> String {
        let Binding { user, resource, name, operation } = binding;
        let resource = match resource {
            Resource::Group => "group",
            Resource::Topic => "topic",
        };
        format!("{user} {operation} {resource} {name}")
    }

    #[test]
    fn the_access_lists_are_those_of_the_design() {
        let bindings = bindings(&Topics::default(), &ids(["wallet"]), &ids(["alpha"]));
        let lines: Vec<String> = bindings.iter().map(line).collect();
        let expected = include_str!("../golden/acls.txt");
        assert_eq!(lines.join("\n"), expected.trim_end(), "golden/acls.txt is part of the contract");
    }

    #[test]
    fn a_bank_may_touch_its_mailboxes_its_group_and_the_registry_and_nothing_of_another_bank() {
        let banks: Vec<BankId> = ids((0..14).map(|n| format!("bank{n}")));
        let all = bindings(&Topics::default(), &ids(["wallet", "purse"]), &banks);
        for bank in &banks {
            let own: BTreeSet<String> =
                all.iter().filter(|binding| binding.user == User::Bank(bank.clone())).map(line).collect();
            let expected = [
                format!("bank-{bank} Read topic cardquery.request.{bank}.v1"),
                format!("bank-{bank} Read topic cardquery.registry.v1"),
                format!("bank-{bank} Write topic cardquery.reply.{bank}.v1"),
                format!("bank-{bank} Read group cardquery.connector.{bank}"),
            ];
            assert_eq!(own, expected.into(), "{bank}");
        }
    }

    /// Names that could be mistaken for a part of a topic's name, and any other.
    fn id() -> impl Strategy<Value = String> {
        let parts = "v1|query|event|request|reply|notice|sms|registry|audit|dlq|cardquery|connector|producer|operator|redrive";
        prop_oneof![parts, "[a-z0-9]{2,16}"]
    }

    proptest! {
        /// An upstream and a bank may even have the same id.
        #[test]
        fn no_id_makes_an_access_list_match_another_partys_topic_or_group(
            upstreams in btree_set(id(), 1..5),
            banks in btree_set(id(), 1..5),
        ) {
            let (upstreams, banks): (Vec<UpstreamId>, Vec<BankId>) = (ids(upstreams), ids(banks));
            let topics = Topics::default();
            let all = bindings(&topics, &upstreams, &banks);

            let mut party_of: BTreeMap<(Resource, String), User> = BTreeMap::new();
            let mailboxes = upstreams
                .iter()
                .flat_map(|id| [topics.query(id), topics.event(id)].map(|name| (name, User::Upstream(id.clone()))))
                .chain(banks.iter().flat_map(|id| {
                    [topics.request(id), topics.reply(id)].map(|name| (name, User::Bank(id.clone())))
                }));
            for (name, party) in mailboxes {
                prop_assert_eq!(party_of.insert((Resource::Topic, name), party), None, "two mailboxes of one name");
            }
            for user in users(&upstreams, &banks) {
                for name in user.groups(&topics) {
                    prop_assert_eq!(party_of.insert((Resource::Group, name), user.clone()), None, "one group of two");
                }
            }

            for binding in &all {
                prop_assert!(!binding.name.contains('*'), "a wildcard: {:?}", binding);
                if let User::Upstream(_) | User::Bank(_) = &binding.user {
                    let party = party_of.get(&(binding.resource, binding.name.clone()));
                    let registry = binding.name == topics.registry() && binding.operation == Operation::Read;
                    prop_assert!(party == Some(&binding.user) || registry, "{:?}", binding);
                }
            }
            let names: BTreeSet<String> = users(&upstreams, &banks).iter().map(User::to_string).collect();
            prop_assert_eq!(names.len(), 5 + upstreams.len() + banks.len());
        }
    }
}
