//! A real Kafka broker: one KRaft node in a Java process of its own, on free ports of 127.0.0.1.

mod jars;
mod programs;
mod properties;
mod server;
mod topics;

pub(crate) use programs::java_arguments;
pub use server::KafkaServer;
pub use topics::TopicSpec;
pub(crate) use topics::create as create_topics;
