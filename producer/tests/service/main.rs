//! The service over HTTP, on the broker in this process, beside a hub that says what the test wants.

mod forwarding;
mod outcomes;
mod publishing;
mod refusals;
#[path = "../../../schemas/tests/refused_entries/mod.rs"]
mod refused_entries;
mod registry;
mod releasing;
mod stand;
mod starting;
mod texts;
