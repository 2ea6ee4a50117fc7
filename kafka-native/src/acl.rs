//! Access lists as plain values. `Unknown` is what a newer broker knows and this client does not.

use std::fmt;

use serde::Serialize;

/// One access list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Acl {
    /// On what kind of resource.
    pub resource: ResourceKind,
    /// The resource's name, or the first part of it; the literal `*` is every name.
    pub name: String,
    /// How `name` is to be read.
    pub pattern: Pattern,
    /// Who, for example `User:alice`; `User:*` is everybody.
    pub principal: String,
    /// From where; `*` is everywhere.
    pub host: String,
    /// What.
    pub operation: AclOperation,
    /// Whether it allows or denies.
    pub permission: Permission,
}

/// What an access list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ResourceKind {
    Topic,
    Group,
    Cluster,
    TransactionalId,
    Unknown,
}

/// How the name of an access list is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// The whole name.
    Literal,
    /// The name's first part.
    Prefixed,
    /// Something else.
    Unknown,
}

/// What an access list is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum AclOperation {
    All,
    Read,
    Write,
    Create,
    Delete,
    Alter,
    Describe,
    ClusterAction,
    DescribeConfigs,
    AlterConfigs,
    IdempotentWrite,
    Unknown,
}

/// Whether an access list allows or denies. Who is denied is denied, whatever else allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Permission {
    Allow,
    Deny,
    Unknown,
}

impl Acl {
    /// Whether every part of it is known here by name, so that it can be created and deleted.
    pub fn is_expressible(&self) -> bool {
        self.resource != ResourceKind::Unknown
            && self.pattern != Pattern::Unknown
            && self.operation != AclOperation::Unknown
            && self.permission != Permission::Unknown
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = match self.resource {
            ResourceKind::Topic => "topic",
            ResourceKind::Group => "group",
            ResourceKind::Cluster => "cluster",
            ResourceKind::TransactionalId => "transactional id",
            ResourceKind::Unknown => "resource of an unknown kind",
        };
        let verb = match self.permission {
            Permission::Allow => "may",
            Permission::Deny => "may not",
            Permission::Unknown => "has an unknown permission for",
        };
        write!(f, "{} {verb} {:?} {resource} {}", self.principal, self.operation, self.name)?;
        match self.pattern {
            Pattern::Literal => {}
            Pattern::Prefixed => f.write_str(" and all that begins so")?,
            Pattern::Unknown => f.write_str(" by an unknown pattern")?,
        }
        if self.host != "*" { write!(f, " from {}", self.host) } else { Ok(()) }
    }
}
