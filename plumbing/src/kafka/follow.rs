//! Reads topics from their beginning without a group: registry, taps, inboxes.
//!
//! Every reader sees every record, nothing is committed, and no rebalance can interfere: partitions
//! are assigned once. [`read_to_end`] is the same reader that ends when it has caught up.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::config::KafkaConfig;
use super::error::{KafkaError, is_denied, is_unknown_topic};
use super::logs::PlainContext;
use super::record::Record;
use super::watermarks;

/// How long one poll waits; the delay with which a shutdown is seen.
const POLL: Duration = Duration::from_millis(100);
/// How long a partition may be without a leader when reading starts.
const LEADER_WITHIN: Duration = Duration::from_secs(30);

/// A reader that runs until its shutdown token is cancelled.
#[derive(Debug)]
pub struct Follower {
    progress: watch::Receiver<Progress>,
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
    mut each: impl FnMut(Record) + Send + 'static,
    shutdown: CancellationToken,
) -> Result<Follower, KafkaError> {
    let each = move |record| {
        each(record);
        Next::On
    };
    start(kafka, topics, each, shutdown, Until::Shutdown)
}

/// As [`follow`]; `each` may ask for everything once more.
pub(super) fn follow_again(
    kafka: &KafkaConfig,
    topics: Vec<String>,
    each: impl FnMut(Record) -> Next + Send + 'static,
    shutdown: CancellationToken,
) -> Result<Follower, KafkaError> {
    start(kafka, topics, each, shutdown, Until::Shutdown)
}

/// Reads all partitions of `topics` from their beginning to the end offsets found at the call. A
/// topic that does not exist is an error.
pub async fn read_to_end(
    kafka: &KafkaConfig,
    topics: &[String],
    mut each: impl FnMut(Record) + Send + 'static,
) -> Result<(), KafkaError> {
    let each = move |record| {
        each(record);
        Next::On
    };
    let shutdown = CancellationToken::new();
    // Whoever stops waiting also stops the thread.
    let _stop = shutdown.clone().drop_guard();
    start(kafka, topics.to_vec(), each, shutdown, Until::End)?.stopped().await
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

fn start(
    kafka: &KafkaConfig,
    topics: Vec<String>,
    each: impl FnMut(Record) -> Next + Send + 'static,
    shutdown: CancellationToken,
    until: Until,
) -> Result<Follower, KafkaError> {
    let consumer = kafka
        .follower()?
        .create_with_context(PlainContext)
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
    };
    std::thread::Builder::new()
        .name("kafka-follow".into())
        .spawn(move || {
            let result = reader.run(&topics, each);
            if let Err(error) = &result {
                reader.progress.send_replace(Progress::Failed(error.clone()));
            }
            // Closing can take a while when the broker is away; nobody needs to wait for it.
            let _ = ended_tx.send(result);
        })
        .map_err(|error| KafkaError::Client(error.to_string()))?;
    Ok(Follower { progress, ended })
}

struct Reader {
    consumer: BaseConsumer<PlainContext>,
    kafka: KafkaConfig,
    shutdown: CancellationToken,
    until: Until,
    progress: watch::Sender<Progress>,
    /// The end offsets found at the start that are not reached yet.
    unread: HashMap<Arc<str>, HashMap<i32, i64>>,
    names: HashSet<Arc<str>>,
}

impl Reader {
    fn run(&mut self, topics: &[String], mut each: impl FnMut(Record) -> Next) -> Result<(), KafkaError> {
        self.assign(topics)?;
        let mut moved = Instant::now();
        while !self.shutdown.is_cancelled() {
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
                Next::FromBeginning => self.assign(topics)?,
            }
        }
        if self.until == Until::End {
            return Err(KafkaError::Stopped);
        }
        Ok(())
    }

    fn assign(&mut self, topics: &[String]) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for topic in topics {
            let name: Arc<str> = Arc::from(topic.as_str());
            for partition in watermarks::partitions(&self.consumer, topic)? {
                let (low, end) = self.ends(topic, partition.id)?;
                list.add_partition_offset(topic, partition.id, Offset::Beginning)
                    .map_err(|error| KafkaError::sorted(topic, &error))?;
                if low < end {
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
