//! What this client may do at the brokers, and should.
//!
//! The brokers are asked what they would allow; nothing is read, joined or written to find out.

use std::collections::{BTreeMap, BTreeSet};

use kafka_native::{AclOperation, ResourceKind};

use super::report::{Report, State};
use super::session::Session;
use crate::exit::Exit;
use crate::kafka::KafkaError;

const CHECK: &str = "acl";

/// One operation that the client needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// A topic or a group.
    pub resource: ResourceKind,
    /// Its name.
    pub name: String,
    /// What.
    pub operation: AclOperation,
}

impl Need {
    /// On a topic.
    pub fn topic(name: impl Into<String>, operation: AclOperation) -> Self {
        Self { resource: ResourceKind::Topic, name: name.into(), operation }
    }

    /// To be a member of a group.
    pub fn group(name: impl Into<String>) -> Self {
        Self { resource: ResourceKind::Group, name: name.into(), operation: AclOperation::Read }
    }

    fn what(&self) -> String {
        let kind = if self.resource == ResourceKind::Group { "group " } else { "" };
        format!("{:<5} {kind}{}", format!("{:?}", self.operation).to_uppercase(), self.name)
    }

    fn command(&self, principal: &str) -> String {
        let kind = if self.resource == ResourceKind::Group { "group" } else { "topic" };
        format!(
            "kafka-acls --add --allow-principal {principal} --operation {:?} --{kind} {}",
            self.operation, self.name
        )
    }
}

/// What a broker says about one resource.
type Allowed = Result<BTreeSet<AclOperation>, KafkaError>;

/// Whether the client may do what it needs, and no more; a line per need and per surplus. Returns the partitions of the
/// topics that it may use.
pub async fn access(
    session: &Session,
    needs: &BTreeSet<Need>,
    report: &mut Report,
) -> BTreeMap<String, usize> {
    let names: BTreeSet<String> = of(needs, ResourceKind::Topic);
    let mut allowed: BTreeMap<(ResourceKind, String), Allowed> = BTreeMap::new();
    let mut partitions = BTreeMap::new();
    match session.topics(names.iter().cloned().collect()).await {
        Ok(topics) => {
            for topic in topics {
                if topic.partitions > 0 {
                    partitions.insert(topic.name.clone(), topic.partitions);
                }
                let seen = match topic.refused {
                    Some(code) => {
                        Err(KafkaError::sorted(&topic.name, &rdkafka::error::KafkaError::AdminOp(code)))
                    }
                    None => Ok(topic.operations),
                };
                allowed.insert((ResourceKind::Topic, topic.name), seen);
            }
        }
        Err(error) => {
            allowed.extend(names.into_iter().map(|name| ((ResourceKind::Topic, name), Err(error.clone()))));
        }
    }
    for name in of(needs, ResourceKind::Group) {
        let seen = session.group(name.clone()).await;
        allowed.insert((ResourceKind::Group, name), seen);
    }
    let principal = session.principal();
    for need in needs {
        let seen = allowed.get(&(need.resource, need.name.clone()));
        let (what, state) = judged(need, seen, &principal);
        report.add(CHECK, what, state);
    }
    for ((resource, name), seen) in &allowed {
        let wanted = needs.iter().filter(|need| need.resource == *resource && need.name == *name);
        let wanted: BTreeSet<AclOperation> = wanted.map(|need| need.operation).collect();
        let surplus = seen.as_ref().map_or_else(|_| BTreeSet::new(), |seen| surplus(seen, &wanted));
        if !surplus.is_empty() {
            let words: Vec<String> = surplus.iter().map(|operation| format!("{operation:?}")).collect();
            let words = words.join(", ");
            let fix = format!("ask the operator to take it away: it needs no {words} there");
            report.add(CHECK, format!("may also {words} {name}"), State::warning(fix));
        }
    }
    partitions
}

/// Warns of topics with this prefix that the client is shown and has nothing to do with: it may read or write them.
pub fn overreach(session: &Session, prefix: &str, needs: &BTreeSet<Need>, report: &mut Report) {
    let own = of(needs, ResourceKind::Topic);
    let others: Vec<&str> = session
        .visible
        .iter()
        .filter(|name| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')))
        .filter(|name| !own.contains(*name))
        .map(String::as_str)
        .collect();
    if let Some(first) = others.first() {
        let more = if others.len() > 1 { format!(" and {} more", others.len() - 1) } else { String::new() };
        let fix = "ask the operator to run cardquery topics plan: this user may touch what is not its own";
        report.add(CHECK, format!("is shown {first}{more}"), State::warning(fix));
    }
}

fn of(needs: &BTreeSet<Need>, resource: ResourceKind) -> BTreeSet<String> {
    needs.iter().filter(|need| need.resource == resource).map(|need| need.name.clone()).collect()
}

fn judged(need: &Need, seen: Option<&Allowed>, principal: &str) -> (String, State) {
    let denied = || State::failed(Exit::Denied, format!("ask the operator for: {}", need.command(principal)));
    match seen {
        Some(Ok(operations)) if operations.contains(&need.operation) => (need.what(), State::Ok),
        // Some clusters have no access lists, and say nothing about operations.
        Some(Ok(operations)) if operations.is_empty() => {
            let fix = "the brokers do not say what this user may do: are they asked for access lists at all?";
            (need.what(), State::warning(fix))
        }
        Some(Ok(_)) => (format!("{}  DENIED", need.what()), denied()),
        Some(Err(KafkaError::Denied(_))) => (format!("{}  DENIED", need.what()), denied()),
        Some(Err(KafkaError::UnknownTopic(_))) => (
            format!("{}  no such topic", need.what()),
            State::failed(
                Exit::Unavailable,
                "correct the prefix, or ask the operator for: cardquery topics apply --execute",
            ),
        ),
        Some(Err(error)) => (
            format!("{}  {error}", need.what()),
            State::failed(error.exit(), "try again; if it stays so, ask the operator how the brokers are"),
        ),
        None => (
            format!("{}  no answer", need.what()),
            State::failed(
                Exit::Unavailable,
                "try again; if it stays so, ask the operator how the brokers are",
            ),
        ),
    }
}

/// What is allowed beyond what is needed; Describe comes with Read and with Write.
fn surplus(allowed: &BTreeSet<AclOperation>, needed: &BTreeSet<AclOperation>) -> BTreeSet<AclOperation> {
    let harmless = [AclOperation::Describe, AclOperation::Unknown];
    allowed.difference(needed).filter(|operation| !harmless.contains(operation)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_the_command_that_allows() {
        let need = Need::topic("cardquery.reply.alpha.v1", AclOperation::Write);
        let denied = Ok(BTreeSet::from([AclOperation::Describe]));
        let (what, state) = judged(&need, Some(&denied), "User:bank-alpha");
        assert_eq!(what, "WRITE cardquery.reply.alpha.v1  DENIED");
        let fix = "ask the operator for: kafka-acls --add --allow-principal User:bank-alpha --operation Write --topic \
                   cardquery.reply.alpha.v1";
        assert_eq!(state, State::failed(Exit::Denied, fix));
        let refused = Err(KafkaError::Denied("group".to_owned()));
        let (what, state) = judged(&Need::group("g"), Some(&refused), "User:u");
        assert_eq!(what, "READ  group g  DENIED");
        assert!(matches!(state, State::Failed { exit: Exit::Denied, .. }));
    }

    #[test]
    fn describe_comes_with_read_and_anything_else_is_surplus() {
        use AclOperation::{Delete, Describe, Read, Write};
        let needed = BTreeSet::from([Read]);
        assert_eq!(surplus(&BTreeSet::from([Read, Describe]), &needed), BTreeSet::new());
        assert_eq!(surplus(&BTreeSet::from([Read, Write, Delete]), &needed), BTreeSet::from([Write, Delete]));
    }
}
