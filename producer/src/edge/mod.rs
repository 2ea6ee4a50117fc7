//! Where the intake meets the world: Kafka, the hub's API, the wallet's back end.

pub(crate) mod http;
pub(crate) mod hub;
pub(crate) mod publisher;
