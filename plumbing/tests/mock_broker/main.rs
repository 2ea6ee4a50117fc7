//! The Kafka edges against librdkafka's in-process mock broker.
//!
//! The mock broker proves the loop's own behaviour. It proves nothing about durability, append
//! time or access lists. Its first join of a group takes 3 s, and so does every test with a group.

mod consuming;
mod dead_letters;
mod producing;
mod reading;
mod rebalancing;
mod stand;
mod stopping;
