use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::*;
use crate::kafka::Refusal;

/// A store in memory that notes what became of each row.
#[derive(Default)]
struct Store {
    waiting: Mutex<BTreeMap<u64, OutRecord>>,
    leased: Mutex<BTreeMap<u64, OutRecord>>,
    renewed: Mutex<BTreeMap<u64, Instant>>,
    published: Mutex<BTreeSet<u64>>,
    parked: Mutex<BTreeMap<u64, &'static str>>,
    broken_leases: Mutex<u32>,
    broken_marks: Mutex<u32>,
}

impl Store {
    fn with(values: &[&str]) -> Self {
        let store = Self::default();
        store.add(values);
        store
    }

    fn add(&self, values: &[&str]) {
        let mut waiting = self.waiting.lock().expect("not poisoned");
        for value in values {
            let id = waiting.len() as u64 + self.published.lock().expect("not poisoned").len() as u64;
            waiting.insert(id, record(value));
        }
    }

    fn published(&self) -> Vec<u64> {
        self.published.lock().expect("not poisoned").iter().copied().collect()
    }
}

fn record(value: &str) -> OutRecord {
    OutRecord { topic: "things.v1".into(), key: None, value: value.as_bytes().to_vec(), headers: Vec::new() }
}

impl Outbox for Store {
    async fn lease(&self, max: usize, _: Duration) -> Result<Vec<Leased>, OutboxError> {
        {
            let mut broken = self.broken_leases.lock().expect("not poisoned");
            if *broken > 0 {
                *broken -= 1;
                return Err(OutboxError::new("connection lost"));
            }
        }
        let mut waiting = self.waiting.lock().expect("not poisoned");
        let mut leased = self.leased.lock().expect("not poisoned");
        let mut rows = Vec::new();
        while let Some((id, record)) = waiting.pop_first() {
            leased.insert(id, record.clone());
            rows.push(Leased { id, record });
            if rows.len() == max {
                break;
            }
        }
        Ok(rows)
    }

    async fn renew(&self, ids: &[u64], lease: Duration) -> Result<(), OutboxError> {
        let mut renewed = self.renewed.lock().expect("not poisoned");
        for id in ids {
            assert!(self.leased.lock().expect("not poisoned").contains_key(id), "row {id} is not leased");
            let until = Instant::now() + lease;
            assert!(renewed.insert(*id, until) < Some(until), "a lease is not cut short");
        }
        Ok(())
    }

    async fn published(&self, ids: &[u64]) -> Result<(), OutboxError> {
        {
            let mut broken = self.broken_marks.lock().expect("not poisoned");
            if *broken > 0 {
                *broken -= 1;
                return Err(OutboxError::new("connection lost"));
            }
        }
        for id in ids {
            let row = self.leased.lock().expect("not poisoned").remove(id);
            assert!(row.is_some(), "row {id} is marked without a lease");
            self.published.lock().expect("not poisoned").insert(*id);
        }
        Ok(())
    }

    async fn park(&self, id: u64, code: &'static str) -> Result<(), OutboxError> {
        self.leased.lock().expect("not poisoned").remove(&id);
        self.parked.lock().expect("not poisoned").insert(id, code);
        Ok(())
    }

    async fn release(&self, ids: &[u64]) -> Result<(), OutboxError> {
        for id in ids {
            if let Some(row) = self.leased.lock().expect("not poisoned").remove(id) {
                self.waiting.lock().expect("not poisoned").insert(*id, row);
            }
        }
        Ok(())
    }
}

/// Answers by the record's value, and notes every record that was sent.
#[derive(Default)]
struct Broker {
    sent: Mutex<Vec<String>>,
    /// Values whose first answer is lost.
    ambiguous_once: Mutex<BTreeSet<String>>,
    wait: Duration,
    /// Values whose partition has no leader.
    leaderless: BTreeSet<&'static str>,
}

impl Sink for Broker {
    async fn send(&self, record: OutRecord) -> Result<Position, ProduceError> {
        let value = String::from_utf8(record.value).expect("text");
        self.sent.lock().expect("not poisoned").push(value.clone());
        tokio::time::sleep(self.wait).await;
        if self.leaderless.contains(value.as_str()) {
            tokio::time::sleep(MESSAGE_TIMEOUT).await;
            return Err(ProduceError::Ambiguous("timed out".into()));
        }
        if self.ambiguous_once.lock().expect("not poisoned").remove(&value) {
            return Err(ProduceError::Ambiguous("timed out".into()));
        }
        match value.as_str() {
            "huge" => Err(ProduceError::Permanent(Refusal::TooLarge("huge".into()))),
            "denied" => Err(ProduceError::Permanent(Refusal::Denied("no ACL".into()))),
            "deadly" => Err(ProduceError::Fatal("fenced".into())),
            _ => Ok(Position { topic: record.topic.into(), partition: 0, offset: 0 }),
        }
    }
}

const IDLE: Duration = Duration::from_secs(10);
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs the relay for `time` (of tokio's paused clock), then asks it to stop.
async fn relay_for(store: &Store, broker: &Broker, time: Duration) -> Result<(), RelayError> {
    let (wake, shutdown) = (Notify::new(), CancellationToken::new());
    let stop = async {
        tokio::time::sleep(time).await;
        shutdown.cancel();
    };
    tokio::join!(relay_into(store, broker, &wake, IDLE, &shutdown), stop).0
}

#[tokio::test(start_paused = true)]
async fn rows_are_marked_after_their_acknowledgement() {
    let (store, broker) = (Store::with(&["a", "b"]), Broker::default());
    relay_for(&store, &broker, Duration::from_secs(1)).await.expect("orderly");
    assert_eq!(store.published(), [0, 1]);
    assert_eq!(*broker.sent.lock().expect("not poisoned"), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_can_never_be_written_is_parked_and_the_others_go_on() {
    let (store, broker) = (Store::with(&["huge", "b"]), Broker::default());
    relay_for(&store, &broker, Duration::from_secs(1)).await.expect("orderly");
    assert_eq!(store.published(), [1]);
    let parked = store.parked.lock().expect("not poisoned").clone();
    assert_eq!(parked, BTreeMap::from([(0, "too-large")]));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_an_access_list_denies_waits_until_it_is_allowed() {
    let (store, broker) = (Store::with(&["denied", "b"]), Broker::default());
    relay_for(&store, &broker, IDLE / 2).await.expect("orderly");
    assert_eq!(store.published(), [1]);
    assert!(store.parked.lock().expect("not poisoned").is_empty());
    assert!(store.waiting.lock().expect("not poisoned").contains_key(&0));
}

#[tokio::test(start_paused = true)]
async fn a_row_with_an_unknown_outcome_is_sent_again_after_a_rest() {
    let store = Store::with(&["a", "b"]);
    let broker = Broker::default();
    broker.ambiguous_once.lock().expect("not poisoned").insert("a".into());
    relay_for(&store, &broker, IDLE / 2).await.expect("orderly");
    assert_eq!(store.published(), [1]);
    relay_for(&store, &broker, IDLE / 2).await.expect("orderly");
    assert_eq!(store.published(), [0, 1]);
    assert_eq!(*broker.sent.lock().expect("not poisoned"), ["a", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_producer_ends_the_relay_and_releases_its_row() {
    let (store, broker) = (Store::with(&["a", "deadly"]), Broker::default());
    let ended = relay_for(&store, &broker, Duration::from_secs(1)).await;
    assert!(matches!(ended, Err(RelayError::Producer(ProduceError::Fatal(_)))));
    assert_eq!(store.published(), [0]);
    assert!(store.waiting.lock().expect("not poisoned").contains_key(&1));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_at_the_shutdown_is_finished_and_marked() {
    let store = Store::with(&["a"]);
    let broker = Broker { wait: Duration::from_secs(30), ..Broker::default() };
    relay_for(&store, &broker, Duration::from_secs(1)).await.expect("orderly");
    assert_eq!(store.published(), [0]);
}

#[tokio::test(start_paused = true)]
async fn new_rows_are_found_without_a_wake() {
    let (store, broker) = (Store::default(), Broker::default());
    let add = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        store.add(&["a"]);
    };
    let (ended, ()) = tokio::join!(relay_for(&store, &broker, 2 * IDLE), add);
    ended.expect("orderly");
    assert_eq!(store.published(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_wake_is_answered_before_the_idle_time_is_over() {
    let (store, broker) = (Store::default(), Broker::default());
    let (wake, shutdown) = (Notify::new(), CancellationToken::new());
    let act = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        store.add(&["a"]);
        wake.notify_one();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(store.published(), [0]);
        shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(relay_into(&store, &broker, &wake, IDLE, &shutdown), act);
    ended.expect("orderly");
}

#[tokio::test(start_paused = true)]
async fn a_full_lease_is_followed_by_the_next_at_once() {
    let values: Vec<String> = (0..LEASE_MAX + 1).map(|n| n.to_string()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let (store, broker) = (Store::with(&values), Broker::default());
    relay_for(&store, &broker, IDLE / 2).await.expect("orderly");
    assert_eq!(store.published().len(), LEASE_MAX + 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_recovers_is_forgiven_and_one_that_does_not_ends_the_relay() {
    let (store, broker) = (Store::with(&["a"]), Broker::default());
    *store.broken_leases.lock().expect("not poisoned") = STORE_FAILURES_MAX - 1;
    relay_for(&store, &broker, IDLE * STORE_FAILURES_MAX).await.expect("orderly");
    assert_eq!(store.published(), [0]);

    *store.broken_leases.lock().expect("not poisoned") = STORE_FAILURES_MAX;
    let ended = relay_for(&store, &broker, IDLE * (STORE_FAILURES_MAX + 1)).await;
    assert!(matches!(ended, Err(RelayError::Outbox(_))));
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_a_leader_holds_up_its_own_rows_only() {
    let store = Store::with(&["stuck", "b"]);
    let broker = Broker { leaderless: BTreeSet::from(["stuck"]), ..Broker::default() };
    let (wake, shutdown) = (Notify::new(), CancellationToken::new());
    let act = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(store.published(), [1]);
        store.waiting.lock().expect("not poisoned").insert(7, record("c"));
        wake.notify_one();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(store.published(), [1, 7]);
        shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(relay_into(&store, &broker, &wake, IDLE, &shutdown), act);
    ended.expect("orderly");
    assert!(store.waiting.lock().expect("not poisoned").contains_key(&0), "released after its timeout");
    assert_eq!(*broker.sent.lock().expect("not poisoned"), ["stuck", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_answer_is_bounded() {
    let values = vec!["stuck"; IN_FLIGHT_MAX + 1];
    let store = Store::with(&values);
    let broker = Broker { leaderless: BTreeSet::from(["stuck"]), ..Broker::default() };
    relay_for(&store, &broker, MESSAGE_TIMEOUT / 2).await.expect("orderly");
    assert_eq!(broker.sent.lock().expect("not poisoned").len(), IN_FLIGHT_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_the_store_did_not_take_is_made_again() {
    let (store, broker) = (Store::with(&["a"]), Broker::default());
    *store.broken_marks.lock().expect("not poisoned") = 2;
    relay_for(&store, &broker, 3 * IDLE).await.expect("orderly");
    assert_eq!(store.published(), [0]);
    assert_eq!(*broker.sent.lock().expect("not poisoned"), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_row_in_flight_is_renewed_before_it_is_over() {
    let store = Store::with(&["slow"]);
    let broker = Broker { wait: LEASE * 4, ..Broker::default() };
    let (wake, shutdown) = (Notify::new(), CancellationToken::new());
    let watch = async {
        let leased_at = Instant::now();
        while store.published().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let renewed = store.renewed.lock().expect("not poisoned").get(&0).copied();
            assert!(renewed.unwrap_or(leased_at + LEASE) > Instant::now());
        }
        shutdown.cancel();
    };
    tokio::join!(relay_into(&store, &broker, &wake, IDLE, &shutdown), watch).0.expect("orderly");
    assert_eq!(*broker.sent.lock().expect("not poisoned"), ["slow"]);
}
