//! Reads topics from their beginning without a group: registry, taps, inboxes.
//!
//! Every reader sees every record, nothing is committed, and no rebalance can interfere: partitions
//! are assigned once. [`read_to_end`] is the same reader that ends when it has caught up.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message;
use rdkafka::statistics::Statistics;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::config::KafkaConfig;
use super::error::{KafkaError, is_denied, is_unknown_topic};
use super::logs;
use super::record::{Position, Record};
use super::signs::{Pulse, Reach};
use super::watermarks;
use crate::health::Health;

/// How long one poll waits; the delay with which a shutdown is seen.
const POLL: Duration = Duration::from_millis(100);
/// How long a partition may be without a leader when reading starts.
const LEADER_WITHIN: Duration = Duration::from_secs(30);

/// A reader that runs until its shutdown token is cancelled.
#[derive(Debug)]
pub struct Follower {
    progress: watch::Receiver<Progress>,
    pulse: Pulse,
    reach: Reach,
    stall: Duration,
    ended: oneshot::Receiver<Result<(), KafkaError>>,
}

/// What a reader does after a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Reads on.
    On,
    /// Reads everything once more, from what is the beginning now.
    FromBeginning,
}

#[derive(Clone, Debug)]
enum Progress {
    Reading,
    CaughtUp,
    Failed(KafkaError),
}

/// Follows all partitions of `topics` from their beginning and hands every record to `each`, on a
/// thread of its own. Partitions that are added later are not seen.
pub fn follow(
    kafka: &KafkaConfig,
    topics: Vec<String>,
    each: impl FnMut(Record) + Send + 'static,
    shutdown: CancellationToken,
) -> Result<Follower, KafkaError> {
    follow_again(kafka, topics, always_on(each), shutdown)
}

/// As [`follow`]; `each` may ask for everything once more.
pub(super) fn follow_again(
    kafka: &KafkaConfig,
    topics: Vec<String>,
    each: impl FnMut(Record) -> Next + Send + 'static,
    shutdown: CancellationToken,
) -> Result<Follower, KafkaError> {
    start(kafka, topics, From::Beginning, each, shutdown, Until::Shutdown)
}

/// Where a tap begins in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapFrom {
    /// At the first record that is there.
    Beginning,
    /// At the last so many offsets, which may hold fewer records.
    Last(u32),
    /// At the next record to come.
    End,
}

/// Looks at all partitions of `topics` and hands records to `each`: those that are there at the call, and those that come
/// until `shutdown` if `goes_on`.
pub fn tap(
    kafka: &KafkaConfig,
    topics: Vec<String>,
    from: TapFrom,
    each: impl FnMut(Record) + Send + 'static,
    goes_on: bool,
    shutdown: CancellationToken,
) -> Result<Follower, KafkaError> {
    let from = match from {
        TapFrom::Beginning => From::Beginning,
        TapFrom::Last(n) => From::Last(n),
        TapFrom::End => From::Last(0),
    };
    let until = if goes_on { Until::Shutdown } else { Until::End };
    start(kafka, topics, from, always_on(each), shutdown, until)
}

/// Reads all partitions of `topics` from their beginning to the end offsets found at the call. A
/// topic that does not exist is an error.
pub async fn read_to_end(
    kafka: &KafkaConfig,
    topics: &[String],
    each: impl FnMut(Record) + Send + 'static,
) -> Result<(), KafkaError> {
    read(kafka, topics.to_vec(), From::Beginning, each).await
}

/// Reads all partitions of `topic` to the end offsets found at the call, each from its offset in `from`. A partition that
/// has none there, or one that it does not hold, is read from its beginning.
pub async fn read_from(
    kafka: &KafkaConfig,
    topic: String,
    from: BTreeMap<i32, i64>,
    each: impl FnMut(Record) + Send + 'static,
) -> Result<(), KafkaError> {
    read(kafka, vec![topic], From::Offsets(from), each).await
}

/// Reads these offsets of `topic` and no others. What a partition does not hold any more, or not yet, is passed over.
pub async fn read_ranges(
    kafka: &KafkaConfig,
    topic: String,
    ranges: BTreeMap<i32, Range<i64>>,
    mut each: impl FnMut(Record) + Send + 'static,
) -> Result<(), KafkaError> {
    let wanted = ranges.clone();
    let each = move |record: Record| {
        // The client has fetched more when the last one is there.
        let Position { partition, offset, .. } = record.position;
        if wanted.get(&partition).is_some_and(|range| range.contains(&offset)) {
            each(record);
        }
    };
    read(kafka, vec![topic], From::Within(ranges), each).await
}

async fn read(
    kafka: &KafkaConfig,
    topics: Vec<String>,
    from: From,
    each: impl FnMut(Record) + Send + 'static,
) -> Result<(), KafkaError> {
    let shutdown = CancellationToken::new();
    // Whoever stops waiting also stops the thread.
    let _stop = shutdown.clone().drop_guard();
    start(kafka, topics, from, always_on(each), shutdown, Until::End)?.stopped().await
}

fn always_on(mut each: impl FnMut(Record) + Send + 'static) -> impl FnMut(Record) -> Next + Send + 'static {
    move |record| {
        each(record);
        Next::On
    }
}

impl Follower {
    /// Waits until the end offsets that were found at the start are reached.
    pub async fn caught_up(&self) -> Result<(), KafkaError> {
        let mut progress = self.progress.clone();
        let seen = progress
            .wait_for(|progress| !matches!(progress, Progress::Reading))
            .await
            .map_err(|_| KafkaError::Stopped)?;
        match &*seen {
            Progress::CaughtUp => Ok(()),
            Progress::Failed(error) => Err(error.clone()),
            Progress::Reading => Err(KafkaError::Stopped),
        }
    }

    /// Registers the checks of this reader: it is live while it turns, and ready when it also has caught up and can reach
    /// a broker.
    pub(super) fn report_to(&self, health: &Health, name: &'static str) {
        let (pulse, stall) = (self.pulse.clone(), self.stall);
        health.live(name, move || pulse.live(stall));
        let (pulse, reach, progress) = (self.pulse.clone(), self.reach.clone(), self.progress.clone());
        health.ready(name, move || {
            pulse.ready(stall)?;
            reach.ready()?;
            match &*progress.borrow() {
                Progress::CaughtUp => Ok(()),
                Progress::Reading => Err("not read to its end yet".to_owned()),
                Progress::Failed(error) => Err(error.to_string()),
            }
        });
    }

    /// Waits until the reader has failed, or has ended by its shutdown token. In contrast to [`Follower::stopped`] any
    /// number of tasks can wait.
    pub(super) async fn failed(&self) -> Result<(), KafkaError> {
        let mut progress = self.progress.clone();
        match progress.wait_for(|progress| matches!(progress, Progress::Failed(_))).await.as_deref() {
            Ok(Progress::Failed(error)) => Err(error.clone()),
            // The reader is gone and has not failed.
            Ok(Progress::Reading | Progress::CaughtUp) | Err(_) => Ok(()),
        }
    }

    /// Waits until the reader has ended: by its shutdown token, or with an error.
    pub async fn stopped(self) -> Result<(), KafkaError> {
        self.ended.await.unwrap_or(Err(KafkaError::Stopped))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    Shutdown,
}

/// Where reading begins, and where it ends.
enum From {
    Beginning,
    Last(u32),
    /// By partition; one without an offset, or with one that it does not hold, at its beginning.
    Offsets(BTreeMap<i32, i64>),
    /// By partition; nothing of one without a range.
    Within(BTreeMap<i32, Range<i64>>),
}

impl From {
    /// What to read of a partition that holds `low..end`.
    fn range(&self, partition: i32, low: i64, end: i64) -> Option<Range<i64>> {
        let first = match self {
            Self::Beginning => low,
            Self::Last(n) => low.max(end - i64::from(*n)),
            Self::Offsets(offsets) => {
                offsets.get(&partition).copied().filter(|offset| (low..=end).contains(offset)).unwrap_or(low)
            }
            Self::Within(ranges) => {
                let wanted = ranges.get(&partition)?;
                let held = wanted.start.max(low)..wanted.end.min(end);
                return (!held.is_empty()).then_some(held);
            }
        };
        Some(first..end)
    }
}

fn start(
    kafka: &KafkaConfig,
    topics: Vec<String>,
    from: From,
    each: impl FnMut(Record) -> Next + Send + 'static,
    shutdown: CancellationToken,
    until: Until,
) -> Result<Follower, KafkaError> {
    let (pulse, reach) = (Pulse::new(), Reach::default());
    let consumer = kafka
        .follower()?
        .create_with_context(FollowContext(reach.clone()))
        .map_err(|error| KafkaError::sorted("follower", &error))?;
    let (progress_tx, progress) = watch::channel(Progress::Reading);
    let (ended_tx, ended) = oneshot::channel();
    let mut reader = Reader {
        consumer,
        kafka: kafka.clone(),
        shutdown,
        until,
        progress: progress_tx,
        unread: HashMap::new(),
        names: HashSet::new(),
        pulse: pulse.clone(),
    };
    std::thread::Builder::new()
        .name("kafka-follow".into())
        .spawn(move || {
            let result = reader.run(&topics, &from, each);
            if let Err(error) = &result {
                reader.progress.send_replace(Progress::Failed(error.clone()));
            }
            // Closing can take a while when the broker is away; nobody needs to wait for it.
            let _ = ended_tx.send(result);
        })
        .map_err(|error| KafkaError::Client(error.to_string()))?;
    Ok(Follower { progress, pulse, reach, stall: kafka.stall_timeout(), ended })
}

/// Callbacks of a reader.
struct FollowContext(Reach);

impl ClientContext for FollowContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        logs::forward(level, facility, text);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.counted(&statistics);
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.0.failed(&error);
        logs::survived(&error, reason);
    }
}

impl ConsumerContext for FollowContext {}

struct Reader {
    consumer: BaseConsumer<FollowContext>,
    kafka: KafkaConfig,
    shutdown: CancellationToken,
    until: Until,
    progress: watch::Sender<Progress>,
    /// The end offsets found at the start that are not reached yet.
    unread: HashMap<Arc<str>, HashMap<i32, i64>>,
    names: HashSet<Arc<str>>,
    pulse: Pulse,
}

impl Reader {
    fn run(
        &mut self,
        topics: &[String],
        from: &From,
        mut each: impl FnMut(Record) -> Next,
    ) -> Result<(), KafkaError> {
        self.assign(topics, from)?;
        let mut moved = Instant::now();
        while !self.shutdown.is_cancelled() {
            self.pulse.beat(Instant::now());
            if self.unread.is_empty() {
                self.progress.send_if_modified(|progress| {
                    let first = matches!(progress, Progress::Reading);
                    *progress = Progress::CaughtUp;
                    first
                });
                if self.until == Until::End {
                    return Ok(());
                }
            } else if moved.elapsed() > self.kafka.stall_timeout() {
                return Err(KafkaError::Unavailable(format!(
                    "nothing read for {:?}, and the end is not reached",
                    self.kafka.stall_timeout()
                )));
            }
            let record = match self.consumer.poll(POLL) {
                None => continue,
                Some(Ok(message)) => {
                    let topic = self
                        .names
                        .get(message.topic())
                        .map_or_else(|| Arc::from(message.topic()), Arc::clone);
                    Record::copied(&message, topic, self.kafka.append_time)?
                }
                Some(Err(ClientError::PartitionEOF(partition))) => {
                    moved = Instant::now();
                    self.end_of(partition);
                    continue;
                }
                Some(Err(error)) => {
                    self.survive(&error)?;
                    continue;
                }
            };
            moved = Instant::now();
            let position = record.position.clone();
            match each(record) {
                Next::On => self.read(&position.topic, position.partition, position.offset + 1),
                // Whoever was told that this reader has caught up was told the truth then.
                Next::FromBeginning => self.assign(topics, &From::Beginning)?,
            }
        }
        if self.until == Until::End {
            return Err(KafkaError::Stopped);
        }
        Ok(())
    }

    fn assign(&mut self, topics: &[String], from: &From) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for topic in topics {
            let name: Arc<str> = Arc::from(topic.as_str());
            for partition in watermarks::partitions(&self.consumer, topic)? {
                let (low, end) = self.ends(topic, partition.id)?;
                let Some(Range { start: first, end }) = from.range(partition.id, low, end) else { continue };
                // By name, so that what retention takes away meanwhile is no hole.
                let at = if first == low { Offset::Beginning } else { Offset::Offset(first) };
                list.add_partition_offset(topic, partition.id, at)
                    .map_err(|error| KafkaError::sorted(topic, &error))?;
                if first < end {
                    self.unread.entry(Arc::clone(&name)).or_default().insert(partition.id, end);
                }
            }
            self.names.insert(name);
        }
        self.consumer.assign(&list).map_err(|error| KafkaError::sorted("assign", &error))
    }

    /// A leader that moves, or a topic that was made a moment ago, answers after a while.
    fn ends(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
        let started = Instant::now();
        loop {
            match watermarks::watermarks(&self.consumer, topic, partition) {
                Err(KafkaError::Unavailable(_))
                    if started.elapsed() < LEADER_WITHIN && !self.shutdown.is_cancelled() =>
                {
                    self.pulse.beat(Instant::now());
                    std::thread::sleep(POLL);
                }
                answer => return answer,
            }
        }
    }

    fn read(&mut self, topic: &Arc<str>, partition: i32, next: i64) {
        // Caught up for good is the common case, and costs one look at an empty map.
        if let Some(partitions) = self.unread.get_mut(topic) {
            if partitions.get(&partition).is_some_and(|end| next >= *end) {
                partitions.remove(&partition);
            }
            if partitions.is_empty() {
                self.unread.remove(topic);
            }
        }
    }

    /// The last offsets before the end may hold no record (compaction), so a position alone might
    /// never arrive. rdkafka names the partition of an end but not its topic, so this helps only
    /// where there is one topic.
    fn end_of(&mut self, partition: i32) {
        if self.names.len() == 1 {
            self.unread.retain(|_, partitions| {
                partitions.remove(&partition);
                !partitions.is_empty()
            });
        }
    }

    fn survive(&self, error: &ClientError) -> Result<(), KafkaError> {
        use rdkafka::types::RDKafkaErrorCode as Code;
        match (error, error.rdkafka_error_code()) {
            (ClientError::MessageConsumptionFatal(_), _) => Err(KafkaError::Fatal(error.to_string())),
            // The group is never joined, so nothing is lost when its coordinator refuses.
            (_, Some(Code::GroupAuthorizationFailed)) => Ok(()),
            (_, Some(code)) if is_denied(code) || is_unknown_topic(code) => {
                Err(KafkaError::sorted("follow", error))
            }
            // librdkafka retries by itself and has told the context already.
            (_, Some(_) | None) => Ok(()),
        }
    }
}
