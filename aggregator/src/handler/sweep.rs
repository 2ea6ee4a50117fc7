//! What time does: closes windows, asks banks again, and erases days. All are rows that are swept, never sleeping tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use plumbing::kafka::KafkaError;
use plumbing::trace::Span;
use prost::Message as _;
use schemas::codes::Code;
use schemas::ids::{BankId, Reference};
use schemas::submission;
use schemas::time::UnixMillis;
use schemas::topics::Owner;
use schemas::wire::{self, query_record};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Hub;
use super::ask::AskError;
use crate::domain::assembly::Event;
use crate::domain::query::Query;
use crate::domain::read_past::ReadPast;
use crate::domain::refusals::Hour;
use crate::metric_names;
use crate::store::{Store, StoreError, Tx};

/// Days are looked at once a second of a whole day, and as much more often as they are shorter.
const SECONDS_PER_DAY: u32 = 24 * 3600;
/// How often what is over is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// How often open queries are counted: more often than metrics are usually read, and rarely enough to cost nothing.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// How often this instance looks which banks are paused.
const PAUSES_EVERY: Duration = Duration::from_secs(1);
/// Remarks on replies are kept as long as reports are there to be compared with.
const REMARKS_KEPT: Duration = Duration::from_secs(8 * 24 * 3600);
/// Queries taken up in one round.
const ROUND: usize = 500;

/// Sweeps for one instance of the aggregator. Several instances may sweep: the rule makes a second sweep do nothing.
pub struct Sweeper<S> {
    hub: Arc<Hub<S>>,
    read_past: ReadPast,
}

/// A round that failed; the next one tries again.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the record of a query cannot be used: {0}")]
    Record(Code),
}

impl<S: Store> Sweeper<S> {
    /// A sweeper on `hub`.
    pub fn new(hub: Arc<Hub<S>>) -> Self {
        Self { hub, read_past: ReadPast::default() }
    }

    /// Sweeps every `interval` until `shutdown`. The sweeps do not wait for each other: asking reads records from
    /// Kafka, and a slow read must not delay a deadline.
    pub async fn run(mut self, interval: Duration, shutdown: CancellationToken) {
        let hub = Arc::clone(&self.hub);
        let asking = async {
            let mut tick = ticks(interval);
            while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
                if let Err(error) = hub.ask_again().await {
                    tracing::warn!(%error, "banks not asked again");
                }
            }
        };
        let closing = async {
            let mut tick = ticks(interval);
            while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
                if let Err(error) = self.close_windows().await {
                    tracing::warn!(%error, "windows not closed");
                }
            }
        };
        let ending = async {
            let (mut tick, mut read_past) = (ticks(interval), ReadPast::default());
            while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
                if let Err(error) = hub.end_holds(&mut read_past).await {
                    tracing::warn!(%error, "holds not ended");
                }
            }
        };
        let second = hub.window.calendar.day_length() / SECONDS_PER_DAY;
        let erasing = async {
            let mut tick = ticks(interval.max(second));
            while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
                if let Err(error) = hub.erase().await {
                    tracing::warn!(%error, "what is over is not erased yet");
                }
            }
        };
        let forgetting = async {
            let mut tick = ticks(FORGET_EVERY);
            while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
                if let Err(error) = hub.forget_refusals().await {
                    tracing::warn!(%error, "refused grants of past hours not forgotten");
                }
                if let Err(error) = hub.forget_askings().await {
                    tracing::warn!(%error, "people who may ask again not forgotten");
                }
                if let Err(error) = hub.fold_remarks().await {
                    tracing::warn!(%error, "remarks on replies not put together");
                }
            }
        };
        let counting = async {
            let mut tick = ticks(COUNT_EVERY);
            while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
                if let Err(error) = hub.count_open().await {
                    tracing::warn!(%error, "open queries and the outbox not counted");
                }
            }
        };
        let pausing = async {
            let mut tick = ticks(PAUSES_EVERY);
            while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
                if let Err(error) = hub.read_pauses().await {
                    tracing::warn!(%error, "not known whether pauses have changed");
                }
            }
        };
        // Only between two rounds is the token looked at: a round holds transactions and is never cut off.
        tokio::join!(asking, closing, ending, erasing, forgetting, counting, pausing);
    }

    /// Makes reports final whose asked banks' reply topics have been read past the deadline.
    async fn close_windows(&mut self) -> Result<(), SweepError> {
        let now = self.hub.store.now().await?;
        let grace = self.hub.window.grace;
        let due = self.hub.store.past_deadline(now.before(grace), ROUND).await?;
        let Some(latest) = due.last().map(|query| query.times.deadline_at + grace) else { return Ok(()) };
        let topics: BTreeSet<String> = due.iter().flat_map(|query| self.reply_topics(query)).collect();
        self.hub.look(&mut self.read_past, &topics, latest, now).await?;
        for query in due {
            let topics = self.reply_topics(&query);
            let past = query.times.deadline_at + grace;
            if self.read_past.is_past(topics.iter().map(String::as_str), past) {
                self.close(&query.reference, now).await?;
            }
        }
        Ok(())
    }

    async fn close(&self, reference: &Reference, now: UnixMillis) -> Result<(), SweepError> {
        let _span = Span::behind_a_wait("close window", &reference.query);
        let suspended = self.suspended();
        let mut tx = self.hub.store.begin().await?;
        let Some(query) = tx.lock(&BTreeSet::from([reference.clone()])).await?.remove(reference) else {
            return Ok(());
        };
        let (_, after) =
            self.hub.apply(&mut tx, query, [Event::WindowClosed { suspended }], None, now).await?;
        tx.commit().await?;
        self.hub.settle(&after, now).await;
        Ok(())
    }

    fn suspended(&self) -> BTreeSet<BankId> {
        let registry = self.hub.registry.get();
        // A bank that has left is not called silent either: it does not take part.
        let suspended = registry.banks().filter(|(_, party)| !party.is_active());
        suspended.map(|(bank, _)| bank).collect()
    }

    fn reply_topics(&self, query: &Query) -> Vec<String> {
        let banks = query.state.collecting().into_iter().flat_map(|open| open.pairs.keys());
        banks.map(|bank| self.hub.topics.reply(bank)).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
fn gauge(gauge: metrics::Gauge, count: u64) {
    gauge.set(count as f64);
}

/// Ticks that fall behind are not made up for.
fn ticks(interval: Duration) -> Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl<S: Store> Hub<S> {
    /// Looks how far `topics` have been read, to know about `instant`.
    async fn look(
        &self,
        read_past: &mut ReadPast,
        topics: &BTreeSet<String>,
        instant: UnixMillis,
        now: UnixMillis,
    ) -> Result<(), SweepError> {
        let unasked: Vec<String> =
            topics.iter().filter(|topic| read_past.needs_ends(topic, instant)).cloned().collect();
        for (partition, end) in self.watermarks.end_offsets(&unasked).await {
            // A topic whose partitions nobody lists says nothing of them: this instance may be the one that is cut off,
            // while others read on.
            if partition.1 < 0 && !matches!(end, Err(KafkaError::UnknownTopic(_))) {
                continue;
            }
            read_past.asked(partition, end.ok(), now);
        }
        let progress = self.store.progress(topics).await?;
        read_past.progressed(|partition| progress.get(partition).map_or(0, |known| known.next_offset));
        Ok(())
    }

    /// Cancels held queries whose upstream's topic was read past the time for a release: one that came in time is never
    /// too late because the hub was down.
    async fn end_holds(&self, read_past: &mut ReadPast) -> Result<(), SweepError> {
        let now = self.store.now().await?;
        let due = self.store.past_hold(now.before(self.window.grace), ROUND).await?;
        let over = |query: &Query| query.state.held().map(|held| held.release_until + self.window.grace);
        let Some(latest) = due.iter().filter_map(over).max() else { return Ok(()) };
        let topics: BTreeSet<String> = due.iter().map(|query| query.record.topic.to_string()).collect();
        self.look(read_past, &topics, latest, now).await?;
        for query in due {
            if over(&query).is_none_or(|over| !read_past.is_past([&*query.record.topic].into_iter(), over)) {
                continue;
            }
            let mut tx = self.store.begin().await?;
            let locked = tx.lock(&BTreeSet::from([query.reference.clone()])).await?.remove(&query.reference);
            let Some(query) = locked else { continue };
            let (_, after) = self.apply(&mut tx, query, [Event::HoldOver], None, now).await?;
            tx.commit().await?;
            self.settle(&after, now).await;
        }
        Ok(())
    }

    /// Says in the metrics how many queries are open and since when, and how many messages wait.
    async fn count_open(&self) -> Result<(), StoreError> {
        let (open, now) = (self.store.open_queries().await?, self.store.now().await?);
        let age = open.oldest.map_or(0, |oldest| (now.0 - oldest.0).max(0));
        metrics::gauge!(metric_names::QUERY_AGE)
            .set(Duration::from_millis(age.cast_unsigned()).as_secs_f64());
        for (state, count) in [("COLLECTING", open.collecting), ("HELD", open.held)] {
            gauge(metrics::gauge!(metric_names::OPEN_QUERIES, "code" => state), count);
        }
        let (pending, parked) = self.store.outbox_depth().await?;
        gauge(metrics::gauge!(metric_names::OUTBOX_PENDING), pending);
        gauge(metrics::gauge!(metric_names::OUTBOX_PARKED), parked);
        Ok(())
    }

    /// Forgets people who may ask again.
    async fn forget_askings(&self) -> Result<(), StoreError> {
        let interval = self.policy.get().asking.requery_interval;
        self.store.forget_askings(self.store.now().await?.before(interval)).await
    }

    async fn fold_remarks(&self) -> Result<(), StoreError> {
        let now = self.store.now().await?;
        self.store.fold_remarks(Hour::of(now.before(REMARKS_KEPT)), Hour::of(now)).await
    }

    /// Forgets refused grants of hours that are over for every clock: another server's may be a little behind.
    async fn forget_refusals(&self) -> Result<(), StoreError> {
        let hour = Hour::of(self.store.now().await?);
        self.store.forget_refusals(hour.previous()).await
    }

    /// Asks the banks of due pairs again, with the same request id.
    async fn ask_again(&self) -> Result<(), SweepError> {
        let now = self.store.now().await?;
        let paused: BTreeSet<BankId> = self.paused.get().keys().cloned().collect();
        for (reference, banks) in self.store.due_to_ask(now, &paused, ROUND).await? {
            let mut tx = self.store.begin().await?;
            let Some(query) = tx.lock(&BTreeSet::from([reference.clone()])).await?.remove(&reference) else {
                continue;
            };
            let due = banks.into_iter().map(|bank| Event::AskDue { bank });
            let (query, after) = self.apply(&mut tx, query, due, None, now).await?;
            tx.commit().await?;
            if after.asks.is_empty() {
                continue;
            }
            let _span = Span::behind_a_wait("ask again", &reference.query);
            // A failure is one of this query only, and repaired by the next interval of its pairs.
            if let Err(error) = self.ask_with_record(&query, &after.asks).await {
                tracing::warn!(query_id = %reference.query, %error, "banks not asked again");
            }
        }
        Ok(())
    }

    async fn ask_with_record(&self, query: &Query, asks: &[(BankId, u32)]) -> Result<(), SweepError> {
        let shares = self.shares(query).await?;
        Ok(self.ask(query, asks, &shares).await?)
    }

    /// Reads the query's record again: sealed identities are not stored a second time.
    async fn shares(&self, query: &Query) -> Result<BTreeMap<BankId, submission::BankShare>, SweepError> {
        let record = self.records.read(query.record.clone()).await?;
        let record = record.ok_or(SweepError::Record(Code::QUERY_UNKNOWN))?;
        let Some(Owner::Query(upstream)) = self.topics.owner(&record.position.topic) else {
            return Err(SweepError::Record(Code::WRONG_TOPIC));
        };
        let message = wire::QueryRecord::decode(record.value.clone())
            .map_err(|_| SweepError::Record(Code::MESSAGE_MALFORMED))?;
        let submitted = match message.message {
            Some(query_record::Message::Submitted(submitted)) => Some(submitted),
            Some(query_record::Message::Released(released)) => released.submission,
            Some(query_record::Message::Revoked(_)) | None => None,
        };
        let submitted = submitted.ok_or(SweepError::Record(Code::MESSAGE_MALFORMED))?;
        let key = record.key.as_deref().unwrap_or_default();
        let registry = self.registry.get();
        let party = registry.upstream(&upstream).ok_or(SweepError::Record(Code::UPSTREAM_UNKNOWN))?;
        submission::open(&upstream, key, &submitted, party, UnixMillis(record.append_time_ms))
            .map(|submission| submission.banks)
            .map_err(SweepError::Record)
    }
}
