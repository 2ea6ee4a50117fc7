//! Several internal sources behind one: debit cards here, credit cards there.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use schemas::wire::MissingSource;

use super::{CardSource, SourceError};
use crate::domain::found::Found;
use crate::domain::identity::Identity;

/// One internal source and the cards that it answers for.
#[derive(Clone)]
pub struct Part {
    /// What is missing from an answer when this source does not answer.
    pub covers: BTreeSet<MissingSource>,
    /// The source.
    pub source: Arc<dyn CardSource>,
}

/// All internal sources of a bank. They are asked at the same time. When some answer and others do not, what those cover
/// is marked missing; when none does, the source as a whole is unavailable.
pub struct Several(Vec<Part>);

impl Several {
    /// Behind one.
    pub fn new(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    async fn ask(&self, identity: &Identity) -> Result<Found, SourceError> {
        let answers = join_all(self.0.iter().map(|part| part.source.look_up(identity))).await;
        let mut merged = Found::default();
        let mut failure = None;
        let mut answered = false;
        for (part, answer) in self.0.iter().zip(answers) {
            match answer {
                Ok(found) => {
                    answered = true;
                    merged.merge(found);
                }
                Err(error) => {
                    merged.missing.extend(&part.covers);
                    failure.get_or_insert(error);
                }
            }
        }
        match failure {
            Some(error) if !answered => Err(error),
            Some(error) => {
                tracing::warn!(%error, "an internal source is missing from an answer");
                Ok(merged)
            }
            None => Ok(merged),
        }
    }

    /// One that does not fit weighs more than any number that cannot be reached.
    async fn probe_all(&self) -> Result<(), SourceError> {
        let probes = join_all(self.0.iter().map(|part| part.source.probe())).await;
        let (misfits, others): (Vec<_>, Vec<_>) = probes
            .into_iter()
            .filter_map(Result::err)
            .partition(|error| matches!(error, SourceError::Misfit(_)));
        misfits.into_iter().chain(others).next().map_or(Ok(()), Err)
    }
}

impl CardSource for Several {
    fn look_up<'a>(&'a self, identity: &'a Identity) -> BoxFuture<'a, Result<Found, SourceError>> {
        Box::pin(self.ask(identity))
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(self.probe_all())
    }
}

impl fmt::Debug for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Several").field(&self.0.len()).finish()
    }
}
