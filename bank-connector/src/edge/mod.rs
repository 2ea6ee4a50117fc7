//! Where the connector meets the outside: clock, source, Kafka.

pub(crate) mod clock;
pub(crate) mod lookup;
pub(crate) mod replier;
