//! `GET /v1/queries/{id}/events`: the hub's status, asked again and again while somebody listens.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use schemas::http::QueryStatus;
use schemas::ids::QueryId;
use schemas::wire::Language;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::domain::progress::{Mark, Progress, Step};
use crate::handler::Intake;
use crate::metric_names;

const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long a query may be unknown to the hub after its record was acknowledged.
const REGISTERED_WITHIN: Duration = Duration::from_secs(30);

/// A comment is sent after so long without an event, so that nobody in between takes the stream for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a listener whose stream ended waits before it comes again.
const RETRY: Duration = Duration::from_secs(2);

/// What a listener wants.
pub(crate) struct Wanted {
    /// Which query.
    pub(crate) query: QueryId,
    /// The last event that it has, when it comes again (`Last-Event-ID`).
    pub(crate) has: Option<Mark>,
    /// Language of the words for the person in a problem.
    pub(crate) language: Language,
}

/// Events `status` (a status document) at every change of state or of answered banks, `problem` (a problem document) for a
/// query that is not there. Every event has an `id`, by which a listener that comes again is not told the same once more.
/// Ends after a final state, after a problem, after `longest`, and at shutdown.
pub(crate) fn stream(
    intake: Arc<Intake>,
    wanted: Wanted,
    longest: Duration,
    shutdown: CancellationToken,
    permit: OwnedSemaphorePermit,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut ticks = tokio::time::interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener {
        intake,
        query: wanted.query,
        progress: Progress::after(wanted.has),
        language: wanted.language,
        ticks,
        opened: Instant::now(),
        longest,
        shutdown,
        ended: false,
        _open: Open::new(permit),
    };
    let events = futures::stream::unfold(listener, |mut listener| async {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

struct Listener {
    intake: Arc<Intake>,
    query: QueryId,
    progress: Progress,
    language: Language,
    ticks: Interval,
    opened: Instant,
    longest: Duration,
    shutdown: CancellationToken,
    ended: bool,
    _open: Open,
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        let shutdown = self.shutdown.clone();
        shutdown.run_until_cancelled(self.next_change()).await.flatten()
    }

    async fn next_change(&mut self) -> Option<Event> {
        while !self.ended && self.opened.elapsed() < self.longest {
            self.ticks.tick().await;
            let answer = self.intake.status(self.query).await;
            let patient = self.opened.elapsed() < REGISTERED_WITHIN;
            match self.progress.observe(answer, patient) {
                None => {}
                Some(Step::Moved(status)) => return moved(&status),
                Some(Step::Ended(status)) => {
                    self.ended = true;
                    return moved(&status);
                }
                Some(Step::Refused(problem)) => {
                    self.ended = true;
                    return event("problem", &problem.in_language(self.language));
                }
            }
        }
        None
    }
}

fn moved(status: &QueryStatus) -> Option<Event> {
    Some(event("status", status)?.id(Mark::of(status).to_string()))
}

fn event(name: &'static str, data: &impl Serialize) -> Option<Event> {
    Event::default().retry(RETRY).event(name).json_data(data).ok()
}

/// Counts an open stream until it is dropped, whichever side ends it.
struct Open {
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!(metric_names::EVENT_STREAMS).increment(1);
        Self { _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!(metric_names::EVENT_STREAMS).decrement(1);
    }
}
