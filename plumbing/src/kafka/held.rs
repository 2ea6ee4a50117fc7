//! Records of paused topics that a lane has taken already: they wait in its memory, in their order, at most as many as its
//! queue and a batch hold.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::breakers::Breakers;
use super::lane::Job;

/// The records that one lane holds, by topic.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<Arc<str>, VecDeque<Job>>);

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether records of `topic` wait, so that another one has to wait behind them.
    pub(super) fn has(&self, topic: &str) -> bool {
        self.0.contains_key(topic)
    }

    pub(super) fn push(&mut self, job: Job) {
        self.0.entry(Arc::clone(&job.record.position.topic)).or_default().push_back(job);
    }

    /// Puts records before those of their topics that wait.
    pub(super) fn push_front(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            self.0.entry(Arc::clone(&job.record.position.topic)).or_default().push_front(job);
        }
    }

    /// Waits until a record may be handed over or has to be given back; for ever when there is none.
    pub(super) async fn due(&self, breakers: Option<&Breakers>) {
        let Some(job) = self.0.values().filter_map(VecDeque::front).next() else {
            return std::future::pending().await;
        };
        let now = Instant::now();
        let holding = breakers.map(|breakers| breakers.holding(now)).unwrap_or_default();
        let opens = self.0.keys().map(|topic| holding.get(topic).copied().unwrap_or(now)).min();
        tokio::select! {
            () = job.live.cancelled() => {}
            () = tokio::time::sleep_until(opens.unwrap_or(now).into()) => {}
        }
    }

    /// Takes out what may be handed over now, at most `max`, and all that is to be given back.
    pub(super) fn take(&mut self, breakers: Option<&Breakers>, max: usize) -> Vec<Job> {
        let holding = breakers.map(|breakers| breakers.holding(Instant::now())).unwrap_or_default();
        let mut taken = Vec::new();
        for (topic, jobs) in &mut self.0 {
            let is_held = holding.contains_key(topic);
            while let Some(job) =
                jobs.pop_front_if(|job| job.live.is_cancelled() || (!is_held && taken.len() < max))
            {
                taken.push(job);
            }
        }
        self.0.retain(|_, jobs| !jobs.is_empty());
        taken
    }
}
