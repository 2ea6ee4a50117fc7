//! What time it is: asked here and nowhere else.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use schemas::time::UnixMillis;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// The machine's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}
