//! The service over HTTP, on the broker in this process, beside a hub that says what the test wants.

mod forwarding;
mod outcomes;
mod publishing;
mod refusals;
mod stand;
mod starting;
