//! The audit log on a real PostgreSQL: whoever is killed, restored or beside itself, there is one history or none.

use std::sync::Arc;
use std::time::Duration;

use aggregator::audit_log::AuditLog;
use aggregator::domain::audit;
use aggregator::handler::Hub;
use aggregator::store::{Clock, DayKeys, LogStore as _, PostgresStore, Store as _, Tx as _};
use cardquery_tests::audit_log;
use cardquery_tests::backup;
use cardquery_tests::hub_stage::{Stage, TestHub};
use cardquery_tests::stack::TestDatabase;
use plumbing::exit::{Exit, Failure};
use plumbing::kafka::{OutRecord, Record, read_to_end};
use plumbing::postgres::PostgresConfig;
use prost::Message as _;
use schemas::audit::{Checkpoint, Frontier, Leaf};
use schemas::ids::{Digest, Nonce, QueryId, Reference};
use schemas::time::UnixMillis;
use schemas::wire::{self, audit_record};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::stand::{Stand, until};

const MINUTE: Duration = Duration::from_secs(60);
/// Longer than an instance that was killed keeps the log.
const OVER: Duration = Duration::from_secs(6);

/// A broker, a store, and a hub on both.
struct Log {
    stage: Stage,
    stand: Stand,
    hub: TestHub<PostgresStore>,
}

/// An instance that runs.
struct Keeper {
    task: JoinHandle<Result<(), Failure>>,
    stop: CancellationToken,
}

impl Keeper {
    fn start(stage: &Stage, hub: &Arc<Hub<PostgresStore>>) -> Self {
        let stop = CancellationToken::new();
        let log = AuditLog::new(Arc::clone(hub), stage.kafka(), MINUTE);
        Self { task: tokio::spawn(log.run(stop.clone())), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("it kept the log");
    }

    /// Cut off wherever it is.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    async fn fails(self) -> Failure {
        let ended = tokio::time::timeout(crate::stand::SOON, self.task).await.expect("it ends by itself");
        ended.expect("no panic").expect_err("it must not go on")
    }
}

fn leaf() -> Leaf {
    let reference = Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
    audit::withdrawn(&reference, UnixMillis(5))
}

async fn write(store: &PostgresStore, leaves: impl IntoIterator<Item = Leaf>) {
    let mut tx = store.begin().await.expect("begun");
    for leaf in leaves {
        tx.leaf(leaf).await.expect("taken");
    }
    tx.commit().await.expect("committed");
}

async fn write_new(store: &PostgresStore, number: usize) {
    for _ in 0..number {
        write(store, [leaf()]).await;
    }
}

impl Log {
    async fn start() -> Self {
        let (stage, stand) = (Stage::start().await, Stand::new().await);
        let hub = stage.hub_on(stand.store.clone(), Arc::clone(&stand.clock), None, 1);
        Self { stage, stand, hub }
    }

    fn keeper(&self) -> Keeper {
        Keeper::start(&self.stage, &self.hub.hub)
    }

    /// The store as it is now, restored somewhere else.
    async fn restored(&self, dump: &[u8]) -> (PostgresStore, TestHub<PostgresStore>, TestDatabase) {
        let database = backup::restored(dump).await;
        let pool = PostgresConfig::new(database.url()).pool("aggregator.test", 8).expect("a pool");
        let keys = DayKeys::open(self.stand.keys.path()).expect("a directory");
        let store = PostgresStore::on_clock(pool, keys, Arc::clone(&self.stand.clock) as Arc<dyn Clock>);
        let hub = self.stage.hub_on(store.clone(), Arc::clone(&self.stand.clock), None, 1);
        (store, hub, database)
    }

    /// Returns when everything is published, and under a checkpoint.
    async fn until_covered(&self, store: &PostgresStore) {
        self.until_published(store).await;
        self.stand.clock.advance(MINUTE);
        let signed = self.stand.clock.now();
        until("a checkpoint", async || {
            store.log_lag().await.expect("read").checkpoint_at.is_some_and(|at| at >= signed)
        })
        .await;
        until("its record", async || self.read(&self.stage, &self.hub.hub).await.is_covered()).await;
    }

    async fn until_published(&self, store: &PostgresStore) {
        until("an empty queue", async || store.log_lag().await.expect("read").unpublished == 0).await;
    }

    async fn read(&self, stage: &Stage, hub: &Hub<PostgresStore>) -> audit_log::AuditLog {
        let values: Vec<_> = records(stage, hub).await.into_iter().map(|record| record.value).collect();
        let registry = hub.registry.get();
        let keys = registry.hub().expect("registered").keys();
        audit_log::AuditLog::of(&hub.topics.audit(), values.iter().map(|value| &value[..]), keys)
    }

    /// Stops, and looks at what is there: every leaf of the store is in the topic, once.
    async fn finish(self, store: &PostgresStore, leaves: usize) {
        let log = self.read(&self.stage, &self.hub.hub).await;
        assert_eq!(log.leaves.len(), leaves);
        assert_eq!(store.log_entries(0, leaves + 1).await.expect("read"), log.leaves);
        self.stage.stop().await;
    }

    /// Writes to the topic whatever it likes, as no instance does.
    async fn publish(&self, message: audit_record::Message) {
        let value = wire::AuditRecord { message: Some(message) }.encode_to_vec();
        let topic = self.hub.hub.topics.audit();
        let record = OutRecord { topic, key: None, value, headers: Vec::new() };
        self.hub.hub.producer.send(record).await.expect("acknowledged");
    }
}

async fn records(stage: &Stage, hub: &Hub<PostgresStore>) -> Vec<Record> {
    let (sender, mut found) = mpsc::unbounded_channel();
    let each = move |record| sender.send(record).expect("somebody listens");
    read_to_end(&stage.kafka(), &[hub.topics.audit()], each).await.expect("readable");
    let mut records = Vec::new();
    while let Some(record) = found.recv().await {
        records.push(record);
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_are_killed_while_leaves_are_written_leave_one_history() {
    const WRITERS: usize = 4;
    const EACH: usize = 60;
    const KILLED: usize = 6;
    let log = Log::start().await;
    let store = &log.stand.store;
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { write_new(&store, EACH).await })
        })
        .collect();
    let mut waiting = log.keeper();
    for round in 0..KILLED {
        let next = log.keeper();
        let published = (round + 1) * WRITERS * EACH / (KILLED + 2);
        until("some more", async || {
            let head = store.log_entries(0, WRITERS * EACH).await.expect("read").len();
            head >= published
        })
        .await;
        std::mem::replace(&mut waiting, next).kill().await;
        log.stand.clock.advance(OVER);
    }
    for writer in writers {
        writer.await.expect("written");
    }
    log.until_covered(store).await;
    waiting.stop().await;
    let store = store.clone();
    log.finish(&store, WRITERS * EACH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_adopts_what_was_published_since_and_goes_on() {
    let log = Log::start().await;
    let store = &log.stand.store;
    let keeper = log.keeper();
    write_new(store, 10).await;
    log.until_covered(store).await;
    let waits = leaf();
    keeper.stop().await;
    write(store, [waits.clone()]).await;
    let dump = backup::dump(&log.stand.database.url());
    let again = leaf();
    let keeper = log.keeper();
    write_new(store, 5).await;
    write(store, [again.clone()]).await;
    log.until_covered(store).await;
    keeper.stop().await;

    let (restored, hub, _database) = log.restored(&dump).await;
    // What came of the same change this time is not what was published.
    let of = again.reference().expect("of a query");
    write(&restored, [leaf(), audit::withdrawn(of, UnixMillis(6))]).await;
    let keeper = Keeper::start(&log.stage, &hub.hub);
    log.until_covered(&restored).await;
    keeper.stop().await;
    assert_eq!(restored.leaves(of).await.expect("read"), [again], "what was published stands");
    log.finish(&restored, 10 + 1 + 5 + 1 + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_another_log_than_the_topic_stops_its_instance_and_signs_nothing() {
    let log = Log::start().await;
    let store = &log.stand.store;
    let keeper = log.keeper();
    write_new(store, 3).await;
    log.until_covered(store).await;
    keeper.stop().await;
    let dump = backup::dump(&log.stand.database.url());
    let keeper = log.keeper();
    write_new(store, 2).await;
    log.until_covered(store).await;
    keeper.stop().await;

    let (forked, hub, _database) = log.restored(&dump).await;
    write(&forked, [leaf()]).await;
    let nobody = Nonce([9; 16]);
    let head = forked.keep_log(nobody, OVER).await.expect("kept").expect("nobody else has it");
    assert_eq!(forked.sequence_leaves(nobody, head.size, 9).await.expect("sequenced"), 1);
    forked.leave_log(nobody).await.expect("left");
    let before = records(&log.stage, &log.hub.hub).await.len();
    let failure = Keeper::start(&log.stage, &hub.hub).fails().await;
    assert_eq!(failure.exit(), Exit::BadData);
    assert!(failure.to_string().starts_with("the audit log forks at leaf 3:"), "{failure}");
    log.stand.clock.advance(OVER);
    assert_eq!(records(&log.stage, &log.hub.hub).await.len(), before, "nothing is published or signed");

    // Somebody else's records stop the one that has kept the log so far.
    let keeper = log.keeper();
    let leaves = wire::AuditLeaves { first: 9, leaves: vec![leaf().encode()] };
    log.publish(audit_record::Message::Leaves(leaves)).await;
    write_new(store, 1).await;
    let failure = keeper.fails().await;
    assert_eq!(
        (failure.exit(), failure.to_string()),
        (Exit::BadData, "the audit topic lacks leaves from 5 on".to_owned())
    );
    log.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_over_other_leaves_stops_whoever_reads_it_and_one_of_a_stranger_does_not() {
    let log = Log::start().await;
    let store = &log.stand.store;
    let mut other = Frontier::default();
    other.push(Digest([1; 32]));
    let note = |origin: &str| {
        let signed_at = log.stand.clock.now();
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: 0, root: other.root(), signed_at };
        let note = checkpoint.sign(&log.hub.hub.key);
        audit_record::Message::Checkpoint(wire::AuditCheckpoint { note })
    };
    log.publish(note("another.log")).await;
    let keeper = log.keeper();
    write_new(store, 2).await;
    log.until_published(store).await;
    keeper.stop().await;
    let fresh = Stand::new().await;
    let hub = log.stage.hub_on(fresh.store.clone(), Arc::clone(&fresh.clock), None, 1);
    let keeper = Keeper::start(&log.stage, &hub.hub);
    until("adopted", async || fresh.store.log_entries(0, 9).await.expect("read").len() == 2).await;
    keeper.stop().await;

    let empty = Stand::new().await;
    let stage = Stage::start().await;
    let hub = stage.hub_on(empty.store.clone(), Arc::clone(&empty.clock), None, 1);
    let log = Log { stage, stand: empty, hub };
    let topic = log.hub.hub.topics.audit();
    let checkpoint =
        Checkpoint { origin: topic, size: 0, root: other.root(), signed_at: log.stand.clock.now() };
    let note = checkpoint.sign(&log.hub.hub.key);
    log.publish(audit_record::Message::Checkpoint(wire::AuditCheckpoint { note })).await;
    let failure = log.keeper().fails().await;
    assert_eq!(failure.exit(), Exit::BadData);
    assert!(failure.to_string().contains("a checkpoint over 0 leaves"), "{failure}");
    log.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_is_filled_from_the_store() {
    let log = Log::start().await;
    let store = &log.stand.store;
    let keeper = log.keeper();
    write_new(store, 700).await;
    log.until_covered(store).await;
    keeper.stop().await;

    // Another broker: its topic is empty.
    let stage = Stage::start().await;
    let hub = stage.hub_on(store.clone(), Arc::clone(&log.stand.clock), None, 1);
    let Log { stage: lost, stand, .. } = log;
    lost.stop().await;
    let log = Log { stage, stand, hub };
    let keeper = log.keeper();
    let store = log.stand.store.clone();
    write_new(&store, 1).await;
    log.until_covered(&store).await;
    keeper.stop().await;
    log.finish(&store, 701).await;
}
