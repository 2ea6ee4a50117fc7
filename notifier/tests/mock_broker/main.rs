//! The service against librdkafka's in-process mock broker. Its first join of a group takes 3 s.

mod notices;
#[path = "../../../schemas/tests/refused_entries/mod.rs"]
mod refused_entries;
mod stand;
