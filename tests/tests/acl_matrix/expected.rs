//! The table of DESIGN 3, written down once more: not from the code that makes access lists.

use std::fmt;

/// Who and what there is under one prefix.
pub(crate) struct World {
    prefix: String,
    pub(crate) users: Vec<User>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) groups: Vec<Group>,
}

/// One square of the matrix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) user: String,
    pub(crate) action: Action,
    /// A topic's name; a group's; or what else is tried.
    pub(crate) what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Read,
    Write,
    Describe,
    JoinGroup,
    CreateTopic,
    WriteIdempotently,
    UseTransactions,
    DescribeCluster,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum User {
    Aggregator,
    Notifier,
    Operator,
    Auditor,
    Bank(String),
    Upstream(String),
}

#[derive(Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Query(String),
    Event(String),
    Request(String),
    Reply(String),
    Notice,
    Sms,
    Registry,
    Audit,
    DeadQuery,
    DeadReply,
    DeadNotice,
}

#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    owner: User,
}

impl World {
    pub(crate) fn new(prefix: &str, upstreams: &[&str], banks: &[&str]) -> Self {
        let own = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let (upstreams, banks) = (own(upstreams), own(banks));
        let topic = |name: &str, kind| Topic { name: name.replace("P.", &format!("{prefix}.")), kind };
        let mut topics = vec![
            topic("P.notice.v1", Kind::Notice),
            topic("P.sms.v1", Kind::Sms),
            topic("P.registry.v1", Kind::Registry),
            topic("P.audit.v1", Kind::Audit),
            topic("dlq.P.query.v1", Kind::DeadQuery),
            topic("dlq.P.reply.v1", Kind::DeadReply),
            topic("dlq.P.notice.v1", Kind::DeadNotice),
        ];
        let group = |name: &str, owner| Group { name: name.replace("P.", &format!("{prefix}.")), owner };
        let mut groups = vec![
            group("P.aggregator", User::Aggregator),
            group("P.aggregator.query", User::Aggregator),
            group("P.aggregator.reply", User::Aggregator),
            group("P.notifier", User::Notifier),
            group("P.operator", User::Operator),
            group("P.audit", User::Auditor),
        ];
        let mut users = vec![User::Aggregator, User::Notifier, User::Operator, User::Auditor];
        for id in upstreams {
            topics.push(topic(&format!("P.query.{id}.v1"), Kind::Query(id.clone())));
            topics.push(topic(&format!("P.event.{id}.v1"), Kind::Event(id.clone())));
            groups.push(group(&format!("P.producer.{id}"), User::Upstream(id.clone())));
            users.push(User::Upstream(id));
        }
        for id in banks {
            topics.push(topic(&format!("P.request.{id}.v1"), Kind::Request(id.clone())));
            topics.push(topic(&format!("P.reply.{id}.v1"), Kind::Reply(id.clone())));
            groups.push(group(&format!("P.connector.{id}"), User::Bank(id.clone())));
            users.push(User::Bank(id));
        }
        Self { prefix: prefix.to_owned(), users, topics, groups }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What everybody may read.
    pub(crate) fn registry(&self) -> String {
        format!("{}.registry.v1", self.prefix)
    }

    /// The cells that are allowed.
    pub(crate) fn allowed(&self) -> impl Iterator<Item = Cell> {
        self.users.iter().flat_map(|user| {
            let may = |action, what: &str| Cell { user: user.to_string(), action, what: what.to_owned() };
            let topics = self.topics.iter().flat_map(move |topic| {
                let (read, write) = (may_read(user, &topic.kind), may_write(user, &topic.kind));
                let actions =
                    [(Action::Read, read), (Action::Write, write), (Action::Describe, read || write)];
                actions
                    .into_iter()
                    .filter(|(_, allowed)| *allowed)
                    .map(move |(action, _)| may(action, &topic.name))
            });
            let groups = self
                .groups
                .iter()
                .filter(move |group| group.owner == *user)
                .map(move |group| may(Action::JoinGroup, &group.name));
            // Kafka lets whoever may write any topic be an idempotent producer; it is no right of its own.
            let writes = self.topics.iter().any(|topic| may_write(user, &topic.kind));
            topics
                .chain(groups)
                .chain(writes.then(|| may(Action::WriteIdempotently, user.to_string().as_str())))
        })
    }
}

fn may_read(user: &User, topic: &Kind) -> bool {
    // Auditors replay: they may read what was said, and no dead letters.
    if *user == User::Auditor {
        return !matches!(topic, Kind::DeadQuery | Kind::DeadReply | Kind::DeadNotice);
    }
    match topic {
        Kind::Registry => true,
        // A hub compares its audit log with what it published.
        Kind::Query(_) | Kind::Reply(_) | Kind::Audit => *user == User::Aggregator,
        Kind::Event(id) => *user == User::Upstream(id.clone()),
        Kind::Request(id) => *user == User::Bank(id.clone()),
        Kind::Notice => *user == User::Notifier,
        // A notifier finds its own claims there after a crash.
        Kind::Sms => *user == User::Operator || *user == User::Notifier,
        Kind::DeadQuery | Kind::DeadReply | Kind::DeadNotice => *user == User::Operator,
    }
}

fn may_write(user: &User, topic: &Kind) -> bool {
    match topic {
        Kind::Registry => *user == User::Operator,
        Kind::Query(id) => *user == User::Upstream(id.clone()),
        Kind::Reply(id) => *user == User::Bank(id.clone()),
        Kind::Sms | Kind::DeadNotice => *user == User::Notifier,
        Kind::Event(_)
        | Kind::Request(_)
        | Kind::Notice
        | Kind::Audit
        | Kind::DeadQuery
        | Kind::DeadReply => *user == User::Aggregator,
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aggregator => f.write_str("aggregator"),
            Self::Notifier => f.write_str("notifier"),
            Self::Operator => f.write_str("operator"),
            Self::Auditor => f.write_str("auditor"),
            Self::Bank(id) => write!(f, "bank-{id}"),
            Self::Upstream(id) => write!(f, "upstream-{id}"),
        }
    }
}
