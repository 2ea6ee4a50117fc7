//! How a request of the HTTP interface ends when it ends without what was asked for.

use std::time::Duration;

use schemas::codes::Code;

use crate::store::StoreError;

/// Why nothing is given, and when asking again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub code: Code,
    /// The time to wait, where it is known.
    pub retry_after: Option<Duration>,
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self { code, retry_after: None }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Code::from(error).into()
    }
}
