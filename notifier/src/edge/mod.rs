//! The SMS topic, read and written, and the clock.

pub(crate) mod callbacks;
pub mod sms_topic;

use std::time::{SystemTime, UNIX_EPOCH};

use schemas::time::UnixMillis;

/// The time by this machine's clock.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
