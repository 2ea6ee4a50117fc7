//! The SMS topic, read and written.

pub mod sms_topic;
