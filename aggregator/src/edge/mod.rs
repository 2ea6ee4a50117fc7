//! The aggregator's ways in and out besides the two consumers.

pub mod api;
mod outbox;

pub use self::outbox::HubOutbox;
