//! Replies around the deadline against the sweep that makes reports final at it, by the hub's own handlers.
//!
//! ```text
//!  a race: one query, three banks
//!    −1 ms ─┐
//!     0 ms ─┼─▶ Assembler, a transaction per batch ─┐
//!    +1 ms ─┘                                       ├─▶ the query's row, the topics' progress
//!              Sweeper, a transaction per query ────┘
//! ```
//!
//! A race begins when its deadline is over and its punctual replies are in the topics, unread. Half of the late replies are
//! appended only then, so that nothing makes the sweep wait for them. The broker in this process gives offsets and ends;
//! append times are the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aggregator::domain::query::{Collecting, FinalKind, Pair, Query, State};
use aggregator::handler::{Assembler, Hub, Sweeper};
use aggregator::store::contract::ManualClock;
use aggregator::store::{NewQuery, Registered, Store, Tx as _};
use bytes::Bytes;
use cardquery::sample;
use cardquery_tests::hub_stage::{self, Stage, TestHub};
use cardquery_tests::stack::Stack;
use futures::future::join_all;
use plumbing::kafka::{Handler as _, OutRecord, Position, Record, Verdict};
use plumbing::postgres::PostgresConfig;
use prost::Message as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use schemas::audit::Leaf;
use schemas::batch;
use schemas::ids::{BankId, Digest, Nonce, QueryId, Reference, UpstreamId};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::registry::PartyName;
use schemas::reply::{Unsigned, Word};
use schemas::request::Header;
use schemas::seal::{self, Binding, Kind};
use schemas::time::UnixMillis;
use schemas::wire::BankOutcome;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::stand::{self, SOON, until};

const RACES: usize = 10_000;
/// Banks of one query.
const TRIO: usize = 3;
/// Trios that race at the same time, each on topics of its own.
const TRIOS: usize = 4;
/// Races of one trio that begin together.
const TOGETHER: usize = 5;
const SEED: u64 = 1;
const CONNECTIONS: u32 = 8;
const LEASE: Duration = Duration::from_secs(60);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Three banks that are asked together.
struct Trio {
    banks: [(BankId, SigningKey); TRIO],
    upstream: UpstreamId,
    report_key: OpeningKey,
    /// The hub cannot look into it, so all answers may be the same one.
    sealed: Bytes,
}

/// A query whose deadline is over.
struct Race {
    query: Query,
    /// Per bank, milliseconds from the deadline to the append time of its reply.
    appended: [i64; TRIO],
}

/// A reply that is not in its topic yet.
struct Reply {
    topic: String,
    key: String,
    value: Vec<u8>,
    appended_at: UnixMillis,
}

impl Trio {
    fn all(upstream: &UpstreamId) -> Vec<Self> {
        let banks: Vec<_> = sample::registry::sample()
            .banks
            .into_iter()
            .map(|bank| {
                let key = sample::keys::signing(&PartyName::bank(&bank.id));
                (bank.id, key)
            })
            .collect();
        banks
            .as_chunks::<TRIO>()
            .0
            .iter()
            .take(TRIOS)
            .map(|banks| Self::of(banks.clone(), upstream))
            .collect()
    }

    fn of(banks: [(BankId, SigningKey); TRIO], upstream: &UpstreamId) -> Self {
        let report_key = OpeningKey::derive(b"report");
        let reference = Reference { upstream: upstream.clone(), query: QueryId::generate() };
        let binding =
            Binding { reference: &reference, party: "bank", expires_at: UnixMillis(0), context: b"context" };
        let sealed = seal::seal(Kind::Answer, report_key.public(), &binding, b"answer").expect("seals");
        Self { banks, upstream: upstream.clone(), report_key, sealed }
    }

    /// Draws a race: all three sides of the deadline in any order, or, one time in four, nobody is late.
    fn draw(&self, deadline: UnixMillis, numbers: &mut StdRng) -> Race {
        let mut appended = if numbers.random_ratio(1, 4) { [-1, 0, 0] } else { [-1, 0, 1] };
        appended.shuffle(numbers);
        let window = hub_stage::window();
        let times = window.times(deadline.before(window.length));
        assert_eq!(times.deadline_at, deadline);
        let pair = Pair { attempts: 1, ..Pair::new(Digest::of(b"statement"), None) };
        let pairs = self.banks.iter().map(|(bank, _)| (bank.clone(), pair.clone())).collect();
        let query = Query {
            reference: Reference { upstream: self.upstream.clone(), query: QueryId::generate() },
            subject: "subject".into(),
            content_digest: Digest::of(b"content"),
            report_key: self.report_key.id(),
            record: Position { topic: "cardquery.query.wallet.v1".into(), partition: 0, offset: 0 },
            times,
            state: State::Collecting(Collecting { pairs }),
        };
        Race { query, appended }
    }

    fn reply<S>(&self, hub: &Hub<S>, race: &Race, place: usize) -> Reply {
        let (bank, key) = &self.banks[place];
        let times = race.query.times;
        let header = Header {
            reference: race.query.reference.clone(),
            bank: bank.clone(),
            statement_sha256: Digest::of(b"statement"),
            accepted_at: times.accepted_at,
            reply_by: times.reply_by,
            attempt: 1,
        };
        let word = Word::answered(self.report_key.public(), self.sealed.clone());
        let unsigned = Unsigned::new(&header, word);
        let headers = std::slice::from_ref(&unsigned.header);
        let batch_id = Nonce(*race.query.reference.query.as_bytes());
        let proof = batch::sign_batch(bank, key, batch_id, headers, times.reply_by).expect("signs").remove(0);
        Reply {
            topic: hub.topics.reply(bank),
            key: race.query.reference.query.to_string(),
            value: unsigned.with_proof(proof).encode_to_vec(),
            appended_at: UnixMillis(times.deadline_at.0 + race.appended[place]),
        }
    }
}

/// Puts a reply into its topic; what comes back is what a consumer would read.
async fn append<S>(hub: &Hub<S>, reply: Reply) -> Record {
    let Reply { topic, key, value, appended_at } = reply;
    let record =
        OutRecord { topic, key: Some(key.clone().into()), value: value.clone(), headers: Vec::new() };
    let position = hub.producer.send(record).await.expect("the broker takes it");
    Record {
        position,
        append_time_ms: appended_at.0,
        key: Some(key.into_bytes().into()),
        value: value.into(),
        headers: Vec::new(),
    }
}

/// Lets others go first, as often as drawn.
async fn give_way(times: u32) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// Reads what is in a bank's topic, then what is appended while others race.
async fn read<S: Store>(
    hub: &Hub<S>,
    assembler: &Assembler<S>,
    mut there: Vec<Record>,
    to_come: Vec<Reply>,
    mut numbers: StdRng,
) {
    there.sort_by_key(|record| (record.position.partition, record.position.offset));
    while !there.is_empty() {
        give_way(numbers.random_range(0..64)).await;
        let batch: Vec<Record> = there.drain(..numbers.random_range(1..=there.len())).collect();
        assert_eq!(assembler.handle(&batch).await, vec![Verdict::Done; batch.len()]);
    }
    for reply in to_come {
        give_way(numbers.random_range(0..64)).await;
        let record = append(hub, reply).await;
        assert_eq!(assembler.handle(&[record]).await, [Verdict::Done]);
    }
}

async fn register<S: Store>(hub: &Hub<S>, races: &[Race]) {
    let mut tx = hub.store.begin().await.expect("begun");
    for race in races {
        let new = NewQuery { query: race.query.clone(), nonce: None, contact: None };
        assert_eq!(tx.register(&new).await.expect("registered"), Registered::New);
    }
    tx.commit().await.expect("committed");
}

/// Races of one trio that begin together: returns when all their reports are final and as they must be.
async fn together<S: Store>(
    hub: &TestHub<S>,
    assembler: &Assembler<S>,
    trio: &Trio,
    numbers: &mut StdRng,
) -> Vec<Reference> {
    let (clock, hub) = (&hub.clock, &*hub.hub);
    // Over as soon as the clock moves on, and no end of these topics has been asked for so late an instant.
    let deadline = (hub.store.now().await.expect("a clock") + MILLISECOND).before(hub.window.grace);
    let races: Vec<Race> = (0..TOGETHER).map(|_| trio.draw(deadline, numbers)).collect();
    let mut lanes = Vec::new();
    for place in 0..TRIO {
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for race in &races {
            let is_behind = race.appended[place] > 0 && numbers.random();
            if is_behind { &mut behind } else { &mut before }.push(trio.reply(hub, race, place));
        }
        before.shuffle(numbers);
        let there = join_all(before.into_iter().map(|reply| append(hub, reply))).await;
        lanes.push((there, behind));
    }
    register(hub, &races).await;
    clock.advance(MILLISECOND);
    let lanes = lanes.into_iter().map(|(there, to_come)| {
        read(hub, assembler, there, to_come, StdRng::seed_from_u64(numbers.random()))
    });
    join_all(lanes).await;
    for race in &races {
        until("a final report", async || {
            let stored = hub.store.query(&race.query.reference).await.expect("read").expect("is there");
            !matches!(stored.state, State::Collecting(_))
        })
        .await;
        check(hub, trio, race).await;
    }
    races.into_iter().map(|race| race.query.reference).collect()
}

/// The punctual replies are in the report, with their content; the late one is not.
async fn check<S: Store>(hub: &Hub<S>, trio: &Trio, race: &Race) {
    let Query { reference, times, .. } = &race.query;
    let stored = hub.store.query(reference).await.expect("read").expect("is there");
    let State::Final(report) = stored.state else { panic!("is not final: {:?}", stored.state) };
    let mut digests = BTreeMap::new();
    for ((bank, _), appended) in trio.banks.iter().zip(race.appended) {
        let said = &report.outcomes[bank];
        let at = said.reply.as_ref().map(|reply| reply.appended_at.0 - times.deadline_at.0);
        let expected = if appended <= 0 {
            (BankOutcome::Answered, Some(appended))
        } else {
            (BankOutcome::NoReply, None)
        };
        assert_eq!((said.outcome, at), expected, "{bank}, appended at {appended:+} ms");
        digests.extend(said.reply.as_ref().map(|reply| (bank.clone(), reply.segment_sha256)));
    }
    let nobody_late = race.appended.iter().all(|appended| *appended <= 0);
    assert_eq!(report.kind, if nobody_late { FinalKind::AllAnswered } else { FinalKind::Partial });
    let content = hub.store.report(reference).await.expect("read").expect("it has content");
    let kept = content.segments.iter().map(|(bank, segment)| (bank.clone(), Digest::of(segment)));
    assert_eq!(kept.collect::<BTreeMap<_, _>>(), digests);
    let leaves = hub.store.leaves(reference).await.expect("read");
    let kinds: BTreeSet<_> = leaves.iter().map(Leaf::kind).collect();
    assert_eq!((leaves.len(), kinds), (2, ["final", "replies"].into()), "it is final once");
}

/// What the relay would have told: reports said to be ready, and notices, per query.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    ready: usize,
    notices: usize,
}

/// Takes rows out of the outbox until it is empty and `over`.
async fn relay<S: Store>(store: &S, over: &CancellationToken) -> BTreeMap<Reference, Told> {
    let mut told: BTreeMap<Reference, Told> = BTreeMap::new();
    loop {
        let is_over = over.is_cancelled();
        let rows = store.lease_outbox(200, LEASE).await.expect("leased");
        if rows.is_empty() && is_over {
            return told;
        }
        for leased in &rows {
            let told = told.entry(leased.row.reference.clone()).or_default();
            match leased.row.message.kind().as_str() {
                "event/report-ready" => told.ready += 1,
                "notice" => told.notices += 1,
                other => panic!("nobody should be told: {other}"),
            }
        }
        let ids: Vec<u64> = rows.iter().map(|row| row.id).collect();
        store.outbox_published(&ids).await.expect("published");
        if rows.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn race<S: Store>(hub: TestHub<S>, upstream: &UpstreamId) {
    let (swept, over) = (CancellationToken::new(), CancellationToken::new());
    let sweeper = tokio::spawn(Sweeper::new(Arc::clone(&hub.hub)).run(MILLISECOND, swept.clone()));
    let assembler = Arc::new(Assembler::new(Arc::clone(&hub.hub)));
    let hub = Arc::new(hub);
    let relay = tokio::spawn({
        let (hub, over) = (Arc::clone(&hub.hub), over.clone());
        async move { relay(&hub.store, &over).await }
    });
    let lanes = Trio::all(upstream).into_iter().zip(SEED..).map(|(trio, seed)| {
        let (hub, assembler, runtime) = (Arc::clone(&hub), Arc::clone(&assembler), Handle::current());
        // On threads of their own, so that trios race each other too.
        tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                let mut numbers = StdRng::seed_from_u64(seed);
                let mut raced = Vec::new();
                while raced.len() < RACES / TRIOS {
                    raced.extend(together(&hub, &assembler, &trio, &mut numbers).await);
                }
                raced
            })
        })
    });
    let mut raced = BTreeSet::new();
    for lane in lanes.collect::<Vec<_>>() {
        raced.extend(lane.await.expect("no panic"));
    }
    assert_eq!(raced.len(), RACES);
    swept.cancel();
    tokio::time::timeout(SOON, sweeper).await.expect("ends with its round").expect("no panic");
    over.cancel();
    let told = relay.await.expect("no panic");
    let once = raced.into_iter().map(|reference| (reference, Told { ready: 1, notices: 1 }));
    assert_eq!(told, once.collect(), "one report and one notice each");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_queries_whose_replies_race_the_sweep_each_has_one_report_with_the_punctual_ones_in_postgres()
 {
    let stage = Stage::start().await;
    let database = Stack::get().database().await;
    // Nothing here asks what a crash leaves behind.
    database.execute(&format!("ALTER DATABASE {} SET synchronous_commit TO off", database.name())).await;
    let pool = PostgresConfig::new(database.url()).pool("aggregator.test", CONNECTIONS).expect("a pool");
    let clock = Arc::new(ManualClock::new());
    let keys = tempfile::tempdir().expect("a folder");
    let store = stand::store(&pool, keys.path(), Arc::clone(&clock) as _).await;
    let hub = stage.hub_on(store, clock, None, 1);
    race(hub, &stage.reference(0).upstream).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_queries_whose_replies_race_the_sweep_each_has_one_report_with_the_punctual_ones_in_memory()
 {
    let stage = Stage::start().await;
    race(stage.hub(None, 1), &stage.reference(0).upstream).await;
    stage.stop().await;
}
