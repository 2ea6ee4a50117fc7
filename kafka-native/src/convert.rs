//! The enumerations of access lists, from librdkafka's to ours and back.

use rdkafka::bindings as rd;

use crate::acl::{AclOperation, Pattern, Permission, ResourceKind};

pub(crate) fn read_resource(kind: rd::rd_kafka_ResourceType_t) -> ResourceKind {
    use rd::rd_kafka_ResourceType_t as Native;
    match kind {
        Native::RD_KAFKA_RESOURCE_TOPIC => ResourceKind::Topic,
        Native::RD_KAFKA_RESOURCE_GROUP => ResourceKind::Group,
        // Access lists of the cluster have the number that configurations use for a broker.
        Native::RD_KAFKA_RESOURCE_BROKER => ResourceKind::Cluster,
        Native::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID => ResourceKind::TransactionalId,
        Native::RD_KAFKA_RESOURCE_UNKNOWN
        | Native::RD_KAFKA_RESOURCE_ANY
        | Native::RD_KAFKA_RESOURCE__CNT => ResourceKind::Unknown,
    }
}

pub(crate) fn native_resource(kind: ResourceKind) -> Option<rd::rd_kafka_ResourceType_t> {
    use rd::rd_kafka_ResourceType_t as Native;
    match kind {
        ResourceKind::Topic => Some(Native::RD_KAFKA_RESOURCE_TOPIC),
        ResourceKind::Group => Some(Native::RD_KAFKA_RESOURCE_GROUP),
        ResourceKind::Cluster => Some(Native::RD_KAFKA_RESOURCE_BROKER),
        ResourceKind::TransactionalId => Some(Native::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID),
        ResourceKind::Unknown => None,
    }
}

pub(crate) fn read_pattern(pattern: rd::rd_kafka_ResourcePatternType_t) -> Pattern {
    use rd::rd_kafka_ResourcePatternType_t as Native;
    match pattern {
        Native::RD_KAFKA_RESOURCE_PATTERN_LITERAL => Pattern::Literal,
        Native::RD_KAFKA_RESOURCE_PATTERN_PREFIXED => Pattern::Prefixed,
        Native::RD_KAFKA_RESOURCE_PATTERN_UNKNOWN
        | Native::RD_KAFKA_RESOURCE_PATTERN_ANY
        | Native::RD_KAFKA_RESOURCE_PATTERN_MATCH
        | Native::RD_KAFKA_RESOURCE_PATTERN_TYPE__CNT => Pattern::Unknown,
    }
}

pub(crate) fn native_pattern(pattern: Pattern) -> Option<rd::rd_kafka_ResourcePatternType_t> {
    use rd::rd_kafka_ResourcePatternType_t as Native;
    match pattern {
        Pattern::Literal => Some(Native::RD_KAFKA_RESOURCE_PATTERN_LITERAL),
        Pattern::Prefixed => Some(Native::RD_KAFKA_RESOURCE_PATTERN_PREFIXED),
        Pattern::Unknown => None,
    }
}

pub(crate) fn read_operation(operation: rd::rd_kafka_AclOperation_t) -> AclOperation {
    use rd::rd_kafka_AclOperation_t as Native;
    match operation {
        Native::RD_KAFKA_ACL_OPERATION_ALL => AclOperation::All,
        Native::RD_KAFKA_ACL_OPERATION_READ => AclOperation::Read,
        Native::RD_KAFKA_ACL_OPERATION_WRITE => AclOperation::Write,
        Native::RD_KAFKA_ACL_OPERATION_CREATE => AclOperation::Create,
        Native::RD_KAFKA_ACL_OPERATION_DELETE => AclOperation::Delete,
        Native::RD_KAFKA_ACL_OPERATION_ALTER => AclOperation::Alter,
        Native::RD_KAFKA_ACL_OPERATION_DESCRIBE => AclOperation::Describe,
        Native::RD_KAFKA_ACL_OPERATION_CLUSTER_ACTION => AclOperation::ClusterAction,
        Native::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS => AclOperation::DescribeConfigs,
        Native::RD_KAFKA_ACL_OPERATION_ALTER_CONFIGS => AclOperation::AlterConfigs,
        Native::RD_KAFKA_ACL_OPERATION_IDEMPOTENT_WRITE => AclOperation::IdempotentWrite,
        Native::RD_KAFKA_ACL_OPERATION_UNKNOWN
        | Native::RD_KAFKA_ACL_OPERATION_ANY
        | Native::RD_KAFKA_ACL_OPERATION__CNT => AclOperation::Unknown,
    }
}

pub(crate) fn native_operation(operation: AclOperation) -> Option<rd::rd_kafka_AclOperation_t> {
    use rd::rd_kafka_AclOperation_t as Native;
    match operation {
        AclOperation::All => Some(Native::RD_KAFKA_ACL_OPERATION_ALL),
        AclOperation::Read => Some(Native::RD_KAFKA_ACL_OPERATION_READ),
        AclOperation::Write => Some(Native::RD_KAFKA_ACL_OPERATION_WRITE),
        AclOperation::Create => Some(Native::RD_KAFKA_ACL_OPERATION_CREATE),
        AclOperation::Delete => Some(Native::RD_KAFKA_ACL_OPERATION_DELETE),
        AclOperation::Alter => Some(Native::RD_KAFKA_ACL_OPERATION_ALTER),
        AclOperation::Describe => Some(Native::RD_KAFKA_ACL_OPERATION_DESCRIBE),
        AclOperation::ClusterAction => Some(Native::RD_KAFKA_ACL_OPERATION_CLUSTER_ACTION),
        AclOperation::DescribeConfigs => Some(Native::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS),
        AclOperation::AlterConfigs => Some(Native::RD_KAFKA_ACL_OPERATION_ALTER_CONFIGS),
        AclOperation::IdempotentWrite => Some(Native::RD_KAFKA_ACL_OPERATION_IDEMPOTENT_WRITE),
        AclOperation::Unknown => None,
    }
}

pub(crate) fn read_permission(permission: rd::rd_kafka_AclPermissionType_t) -> Permission {
    use rd::rd_kafka_AclPermissionType_t as Native;
    match permission {
        Native::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW => Permission::Allow,
        Native::RD_KAFKA_ACL_PERMISSION_TYPE_DENY => Permission::Deny,
        Native::RD_KAFKA_ACL_PERMISSION_TYPE_UNKNOWN
        | Native::RD_KAFKA_ACL_PERMISSION_TYPE_ANY
        | Native::RD_KAFKA_ACL_PERMISSION_TYPE__CNT => Permission::Unknown,
    }
}

pub(crate) fn native_permission(permission: Permission) -> Option<rd::rd_kafka_AclPermissionType_t> {
    use rd::rd_kafka_AclPermissionType_t as Native;
    match permission {
        Permission::Allow => Some(Native::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW),
        Permission::Deny => Some(Native::RD_KAFKA_ACL_PERMISSION_TYPE_DENY),
        Permission::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_asked_for_is_read_back_as_the_same() {
        use AclOperation as Op;
        for operation in [
            Op::All,
            Op::Read,
            Op::Write,
            Op::Create,
            Op::Delete,
            Op::Alter,
            Op::Describe,
            Op::ClusterAction,
            Op::DescribeConfigs,
            Op::AlterConfigs,
            Op::IdempotentWrite,
        ] {
            assert_eq!(native_operation(operation).map(read_operation), Some(operation));
        }
        use ResourceKind as Kind;
        for kind in [Kind::Topic, Kind::Group, Kind::Cluster, Kind::TransactionalId] {
            assert_eq!(native_resource(kind).map(read_resource), Some(kind));
        }
        for pattern in [Pattern::Literal, Pattern::Prefixed] {
            assert_eq!(native_pattern(pattern).map(read_pattern), Some(pattern));
        }
        for permission in [Permission::Allow, Permission::Deny] {
            assert_eq!(native_permission(permission).map(read_permission), Some(permission));
        }
    }

    #[test]
    fn what_is_unknown_cannot_be_asked_for() {
        assert_eq!(native_operation(AclOperation::Unknown), None);
        assert_eq!(native_resource(ResourceKind::Unknown), None);
        assert_eq!(native_pattern(Pattern::Unknown), None);
        assert_eq!(native_permission(Permission::Unknown), None);
    }
}
