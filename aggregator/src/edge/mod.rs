//! The aggregator's ways in and out besides the two consumers.

pub mod api;
pub mod audit;
pub mod operations;
mod outbox;

pub use self::outbox::HubOutbox;
