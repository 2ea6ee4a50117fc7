//! Offset commits whose answer comes back.

#![expect(unsafe_code, reason = "rdkafka 0.39 asks librdkafka for no answer to an asynchronous commit")]

use std::ptr;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;

pub(crate) fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
) -> Result<(), RDKafkaErrorCode> {
    let rk = consumer.client().native_ptr();
    // SAFETY: the consumer is live.
    let queue = unsafe { rd::rd_kafka_queue_get_consumer(rk) };
    if queue.is_null() {
        return Err(RDKafkaErrorCode::UnknownGroup);
    }
    // SAFETY: the pointers are live. librdkafka copies the offsets and takes a reference of its own to the queue before
    // it returns. Without a callback the answer becomes an event of the queue, which owns what it carries.
    let code = unsafe {
        let code = rd::rd_kafka_commit_queue(rk, offsets.ptr(), queue, None, ptr::null_mut());
        rd::rd_kafka_queue_destroy(queue);
        code
    };
    let code = RDKafkaErrorCode::from(code);
    if code == RDKafkaErrorCode::NoError { Ok(()) } else { Err(code) }
}
