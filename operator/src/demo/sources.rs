//! Banks that do not behave, played by sources around the sample's.

use std::sync::Arc;
use std::time::Duration;

use bank_connector::domain::found::Found;
use bank_connector::domain::identity::Identity;
use bank_connector::source::{CardSource, SourceError};
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// A core system that is down.
#[derive(Clone, Copy, Debug)]
pub struct Down;

impl CardSource for Down {
    fn look_up<'a>(&'a self, _: &'a Identity) -> BoxFuture<'a, Result<Found, SourceError>> {
        async { Err(SourceError::Unavailable("connection refused".to_owned())) }.boxed()
    }
}

/// A core system that takes its time.
pub struct Slow {
    core: Arc<dyn CardSource>,
    delay: Duration,
}

impl Slow {
    /// `core`, `delay` later.
    pub fn new(core: Arc<dyn CardSource>, delay: Duration) -> Self {
        Self { core, delay }
    }
}

impl CardSource for Slow {
    fn look_up<'a>(&'a self, identity: &'a Identity) -> BoxFuture<'a, Result<Found, SourceError>> {
        async {
            tokio::time::sleep(self.delay).await;
            self.core.look_up(identity).await
        }
        .boxed()
    }
}
