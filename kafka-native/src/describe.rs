//! What this client itself may do with topics and groups, in the broker's words.
//!
//! The rules that make the calls sound are those of `admin.rs`.

#![expect(unsafe_code, reason = "rdkafka 0.39 wraps none of these calls")]

use std::collections::BTreeSet;
use std::slice;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::RDKafkaErrorCode;

use crate::acl::AclOperation;
use crate::admin::{Call, Owned, c_string, check, invalid, list, text};
use crate::convert::read_operation;
use crate::{AdminError, TopicAccess};

pub(crate) fn topics<C: ClientContext>(
    client: &Client<C>,
    names: &[String],
    within: Duration,
) -> Result<Vec<TopicAccess>, AdminError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let owned = names.iter().map(|name| c_string(name)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = owned.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the texts end with a zero and are copied, and the array has this length. The object is new and ours.
    let asked = unsafe {
        let asked = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        Owned::new(asked, rd::rd_kafka_TopicCollection_destroy)
    };
    let asked = asked.ok_or_else(|| invalid("topics", "not a list of topics"))?;
    let event =
        Call::new(client, within)?.with_operations()?.answer("describe topics", |rk, options, queue| {
            // SAFETY: all four pointers are live; rule "copies".
            unsafe { rd::rd_kafka_DescribeTopics(rk, asked.as_ptr(), options, queue) }
        })?;
    // SAFETY: rule "event"; the two functions belong together.
    let found = unsafe {
        list(&event, rd::rd_kafka_event_DescribeTopics_result, rd::rd_kafka_DescribeTopics_result_topics)?
    };
    let read = |topic: &*const rd::rd_kafka_TopicDescription_t| {
        // SAFETY: the description is live, and the counts belong to us; rules "event" and "ranges".
        unsafe {
            let (mut partitions, mut count) = (0, 0);
            rd::rd_kafka_TopicDescription_partitions(*topic, &raw mut partitions);
            let first = rd::rd_kafka_TopicDescription_authorized_operations(*topic, &raw mut count);
            let error = rd::rd_kafka_TopicDescription_error(*topic);
            let refused = if error.is_null() {
                None
            } else {
                Some(RDKafkaErrorCode::from(rd::rd_kafka_error_code(error)))
            };
            TopicAccess {
                name: text(rd::rd_kafka_TopicDescription_name(*topic)),
                partitions,
                operations: operations(first, count),
                refused: refused.filter(|code| *code != RDKafkaErrorCode::NoError),
            }
        }
    };
    Ok(found.iter().map(read).collect())
}

pub(crate) fn group<C: ClientContext>(
    client: &Client<C>,
    name: &str,
    within: Duration,
) -> Result<BTreeSet<AclOperation>, AdminError> {
    let owned = c_string(name)?;
    let mut pointers = [owned.as_ptr()];
    let event =
        Call::new(client, within)?.with_operations()?.answer("describe groups", |rk, options, queue| {
            // SAFETY: all pointers are live, and the array has this length; rule "copies".
            unsafe {
                rd::rd_kafka_DescribeConsumerGroups(
                    rk,
                    pointers.as_mut_ptr(),
                    pointers.len(),
                    options,
                    queue,
                );
            }
        })?;
    // SAFETY: rule "event"; the two functions belong together.
    let found = unsafe {
        list(
            &event,
            rd::rd_kafka_event_DescribeConsumerGroups_result,
            rd::rd_kafka_DescribeConsumerGroups_result_groups,
        )?
    };
    let group = *found.first().ok_or_else(|| invalid(name, "no answer about this group"))?;
    // SAFETY: the description is live, and the count belongs to us; rules "event" and "ranges".
    unsafe {
        check(rd::rd_kafka_ConsumerGroupDescription_error(group), || format!("group {name}"))?;
        let mut count = 0;
        let first = rd::rd_kafka_ConsumerGroupDescription_authorized_operations(group, &raw mut count);
        Ok(operations(first, count))
    }
}

/// # Safety
/// `first` is null, or the first of `count` live operations.
unsafe fn operations(first: *const rd::rd_kafka_AclOperation_t, count: usize) -> BTreeSet<AclOperation> {
    if first.is_null() || count == 0 {
        return BTreeSet::new();
    }
    // SAFETY: by the contract of this function; rule "ranges".
    let operations = unsafe { slice::from_raw_parts(first, count) };
    operations.iter().map(|operation| read_operation(*operation)).collect()
}
