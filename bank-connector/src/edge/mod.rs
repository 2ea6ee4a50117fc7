//! Where the connector meets the outside: clock, registry, source, Kafka.

pub(crate) mod clock;
pub(crate) mod lookup;
pub(crate) mod registry;
pub(crate) mod replier;
mod seen_file;
