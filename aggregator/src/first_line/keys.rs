//! The names of all keys. They hold ids and MACs, nothing of a person.

use schemas::ids::{Reference, UpstreamId};

use crate::domain::refusals::SubjectHour;

/// Names keys under one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys(String);

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self(prefix.to_owned())
    }

    /// The status of a query: JSON.
    pub(super) fn status(&self, reference: &Reference) -> String {
        format!("{}:status:{}:{}", self.0, reference.upstream, reference.query)
    }

    /// Denied views of one person in one hour: a hash.
    pub(super) fn denials(&self, at: &SubjectHour) -> String {
        format!("{}:denied:{}:{}", self.0, at.subject, at.hour.0)
    }

    /// When the bucket of an upstream will be empty: microseconds of the server's clock.
    pub(super) fn rate(&self, upstream: Option<&UpstreamId>) -> String {
        // No upstream's id has a dash.
        format!("{}:rate:{}", self.0, upstream.map_or("-", UpstreamId::as_str))
    }
}
