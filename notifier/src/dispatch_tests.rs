//! The real dispatch over a log and a gateway in memory, which can be stopped before and after every effect.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use futures::FutureExt;
use futures::future::BoxFuture;
use proptest::prelude::*;
use prost::Message as _;
use schemas::ids::QueryId;
use schemas::notice::Header;
use schemas::time::UnixMillis;
use schemas::wire::QueryState;

use super::*;
use crate::store::memory::Memory;

/// A point at which a crash may happen, or another task may run.
async fn step() {
    let mut over = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut over, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What becomes of a write to the SMS topic.
#[derive(Clone, Copy, Debug)]
enum Ack {
    Acknowledged,
    PersistedWithoutAnswer,
    Lost,
}

/// What becomes of a call of the gateway.
#[derive(Clone, Copy, Debug)]
enum Call {
    Ok,
    Refused,
    TimeoutButSent,
    TimeoutNotSent,
}

/// What outlives a crash: the SMS topic and the phone.
#[derive(Default)]
struct World {
    topic: Mutex<Vec<(Reference, Entry)>>,
    delivered: AtomicUsize,
    claims_before_call: Mutex<Vec<bool>>,
    acks: Mutex<Vec<Ack>>,
    calls: Mutex<Vec<Call>>,
    idempotent: bool,
}

impl World {
    fn entries(&self) -> Vec<Entry> {
        self.topic.lock().expect("not poisoned").iter().map(|(_, entry)| entry.clone()).collect()
    }

    fn delivered(&self) -> usize {
        self.delivered.load(Ordering::SeqCst)
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for (reference, entry) in self.topic.lock().expect("not poisoned").iter() {
            ledger.take(&entry.record(reference, UnixMillis(0)).encode_to_vec()).expect("readable");
        }
        ledger
    }

    fn deliver_to_phone(&self) {
        // An idempotent gateway is one that does this check.
        if !self.idempotent || self.delivered() == 0 {
            self.delivered.fetch_add(1, Ordering::SeqCst);
        }
    }
}

struct Log(Arc<World>);

impl SmsLog for Log {
    async fn append(&self, reference: &Reference, entry: &Entry) -> Result<(), ProduceError> {
        step().await;
        let ack = self.0.acks.lock().expect("not poisoned").pop().unwrap_or(Ack::Acknowledged);
        if !matches!(ack, Ack::Lost) {
            self.0.topic.lock().expect("not poisoned").push((reference.clone(), entry.clone()));
        }
        step().await;
        match ack {
            Ack::Acknowledged => Ok(()),
            Ack::PersistedWithoutAnswer | Ack::Lost => Err(ProduceError::Ambiguous("no answer".into())),
        }
    }
}

struct Phones(Arc<World>);

impl Gateway for Phones {
    fn send<'a>(&'a self, _: &'a OutgoingSms) -> BoxFuture<'a, GatewayOutcome> {
        async {
            let world = &self.0;
            let claimed = world.entries().contains(&Entry::Claimed);
            world.claims_before_call.lock().expect("not poisoned").push(claimed);
            step().await;
            let call = world.calls.lock().expect("not poisoned").pop().unwrap_or(Call::Ok);
            if matches!(call, Call::Ok | Call::TimeoutButSent) {
                world.deliver_to_phone();
            }
            step().await;
            match call {
                Call::Ok => GatewayOutcome::Accepted { gateway_id: "g-1".into() },
                Call::Refused => GatewayOutcome::Refused { code: Code::GATEWAY_REFUSED },
                Call::TimeoutButSent | Call::TimeoutNotSent => {
                    GatewayOutcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN }
                }
            }
        }
        .boxed()
    }

    fn idempotent(&self) -> bool {
        self.0.idempotent
    }
}

type Real = Dispatch<Memory, Log>;

fn process(world: &Arc<World>) -> Real {
    let gateway = Arc::new(Phones(Arc::clone(world)));
    Dispatch::new(Memory::default(), Log(Arc::clone(world)), gateway, Duration::from_secs(10))
}

fn reference() -> Reference {
    Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() }
}

fn message(reference: &Reference) -> Message {
    let (reference, state) = (reference.clone(), QueryState::FinalPartial);
    Message::of(&Header { reference, state, banks: 14, answered: 12, accepted_at: UnixMillis(0) })
        .expect("final")
}

fn contact() -> Result<Contact, Code> {
    let to = Phone::parse("+8613800000001".into()).ok_or(Code::CONTACT_UNREADABLE)?;
    Ok(Contact { to, language: Language::ZhCn })
}

fn sent() -> Entry {
    Entry::Ended(Outcome::Sent { gateway_id: Some("g-1".into()) })
}

const UNKNOWN: Entry = Entry::Ended(Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN });
const FAILED: Entry = Entry::Ended(Outcome::Failed { code: Code::GATEWAY_REFUSED });

/// One life of the process: duplicates of the notice come at once, and the crash comes after so many steps.
#[derive(Clone, Debug)]
struct Life {
    /// Whose turn it is at every step; when the list is over, the process crashes.
    turns: Vec<u8>,
    duplicates: u8,
}

fn life() -> impl Strategy<Value = Life> {
    (prop::collection::vec(any::<u8>(), 0..30), 1..4_u8)
        .prop_map(|(turns, duplicates)| Life { turns, duplicates })
}

/// Lives `life` and crashes: futures are dropped where they stand, memory is gone.
fn live(world: &Arc<World>, reference: &Reference, life: &Life) {
    let process = process(world);
    let mut context = Context::from_waker(Waker::noop());
    let mut turns = life.turns.iter();
    let mut recovery = Box::pin(process.recover(world.ledger()));
    loop {
        match recovery.as_mut().poll(&mut context) {
            Poll::Ready(Ok(_)) => break,
            Poll::Ready(Err(_)) => return,
            Poll::Pending => {
                if turns.next().is_none() {
                    return;
                }
            }
        }
    }
    drop(recovery);
    type Notice<'a> = Pin<Box<dyn Future<Output = Result<(), NotNow>> + 'a>>;
    let notice = || -> Notice<'_> { Box::pin(process.deliver(reference, message(reference), contact)) };
    let mut notices: Vec<Notice<'_>> = (0..life.duplicates).map(|_| notice()).collect();
    for turn in turns {
        let index = usize::from(*turn) % notices.len();
        if notices[index].as_mut().poll(&mut context).is_ready() {
            // Done or not now: either way the topic may hand it over again.
            notices[index] = notice();
        }
    }
}

/// Nothing fails any more: the process starts once more and the notice comes until it is done.
fn heal(world: &Arc<World>, reference: &Reference) {
    world.acks.lock().expect("not poisoned").clear();
    world.calls.lock().expect("not poisoned").clear();
    let process = process(world);
    finish(process.recover(world.ledger())).expect("recovers");
    for _ in 0..2 {
        finish(process.deliver(reference, message(reference), contact)).expect("done");
    }
}

fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("the future does not end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// I3: whatever crashes when, at most one SMS reaches the phone, and every claim gets an outcome.
    #[test]
    fn at_most_one_sms_reaches_the_phone_and_every_claim_gets_an_outcome(
        lives in prop::collection::vec(life(), 0..5),
        acks in prop::collection::vec(
            prop_oneof![
                4 => Just(Ack::Acknowledged),
                1 => Just(Ack::PersistedWithoutAnswer),
                1 => Just(Ack::Lost),
            ],
            0..12,
        ),
        calls in prop::collection::vec(
            prop_oneof![
                Just(Call::Ok), Just(Call::Refused), Just(Call::TimeoutButSent), Just(Call::TimeoutNotSent),
            ],
            0..4,
        ),
        idempotent in any::<bool>(),
    ) {
        // A gateway's timeout needs a clock to exist; it never runs out here.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let _entered = runtime.enter();
        let world = Arc::new(World { acks: acks.into(), calls: calls.into(), idempotent, ..World::default() });
        let reference = reference();
        for life in &lives {
            live(&world, &reference, life);
            prop_assert!(world.delivered() <= 1, "{:?}", world.entries());
        }
        heal(&world, &reference);
        prop_assert!(world.delivered() <= 1, "{:?}", world.entries());
        let entries = world.entries();
        let claims = world.claims_before_call.lock().expect("not poisoned").clone();
        prop_assert!(claims.iter().all(|claimed| *claimed), "{entries:?}");
        let last = entries.last().expect("an outcome");
        match last {
            Entry::Ended(Outcome::Sent { .. }) => prop_assert_eq!(world.delivered(), 1),
            Entry::Ended(Outcome::Failed { .. }) => {
                // With a gateway that may be asked again, a refusal does not tell of an attempt before it.
                prop_assert!(world.delivered() == 0 || idempotent);
            }
            Entry::Ended(Outcome::Unknown { .. }) => {}
            Entry::Claimed => prop_assert!(false, "a claim stays open: {entries:?}"),
        }
        // Books that close without a finding to announce have an outcome for every claim.
        prop_assert!(world.ledger().close().all(|finding| finding.announced), "{entries:?}");
    }
}

fn world(calls: &[Call], acks: &[Ack]) -> Arc<World> {
    // Scripts are taken from their ends.
    let calls: Vec<_> = calls.iter().rev().copied().collect();
    let acks: Vec<_> = acks.iter().rev().copied().collect();
    Arc::new(World { calls: calls.into(), acks: acks.into(), ..World::default() })
}

async fn deliver(process: &Real, reference: &Reference) -> Result<(), NotNow> {
    process.deliver(reference, message(reference), contact).await
}

#[tokio::test(start_paused = true)]
async fn every_word_of_the_gateway_becomes_its_own_outcome() {
    for (call, expected) in [
        (Call::Ok, sent()),
        (Call::Refused, FAILED),
        (Call::TimeoutButSent, UNKNOWN),
        (Call::TimeoutNotSent, UNKNOWN),
    ] {
        let world = world(&[call], &[]);
        let (process, reference) = (process(&world), reference());
        for _ in 0..3 {
            deliver(&process, &reference).await.expect("done");
        }
        assert_eq!(world.entries(), [Entry::Claimed, expected], "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_claims_acknowledgement_the_gateway_is_not_called() {
    for ack in [Ack::Lost, Ack::PersistedWithoutAnswer] {
        let world = world(&[], &[ack]);
        let (process, reference) = (process(&world), reference());
        let error = deliver(&process, &reference).await.expect_err("not now");
        assert_eq!(error.code(), Code::KAFKA_UNAVAILABLE);
        assert_eq!(world.delivered(), 0);
        deliver(&process, &reference).await.expect("done");
        assert_eq!(world.delivered(), 1, "the claim was given back");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_was_not_acknowledged_is_written_again_and_nothing_is_sent_again() {
    let world = world(&[], &[Ack::Acknowledged, Ack::Lost]);
    let (process, reference) = (process(&world), reference());
    deliver(&process, &reference).await.expect_err("not now");
    assert_eq!(world.entries(), [Entry::Claimed]);
    deliver(&process, &reference).await.expect("done");
    assert_eq!(world.entries(), [Entry::Claimed, sent()]);
    assert_eq!(world.delivered(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_contact_that_does_not_open_fails_without_a_call() {
    let world = world(&[], &[]);
    let (process, reference) = (process(&world), reference());
    finish(process.deliver(&reference, message(&reference), || Err(Code::CONTACT_UNREADABLE))).expect("done");
    let failed = Entry::Ended(Outcome::Failed { code: Code::CONTACT_UNREADABLE });
    assert_eq!(world.entries(), [Entry::Claimed, failed]);
    assert_eq!(world.delivered(), 0);
}

struct Silent;

impl Gateway for Silent {
    fn send<'a>(&'a self, _: &'a OutgoingSms) -> BoxFuture<'a, GatewayOutcome> {
        std::future::pending().boxed()
    }

    fn idempotent(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_answer_in_time_leaves_the_outcome_unknown() {
    let world = world(&[], &[]);
    let reference = reference();
    let process =
        Dispatch::new(Memory::default(), Log(Arc::clone(&world)), Arc::new(Silent), Duration::from_secs(10));
    deliver(&process, &reference).await.expect("done");
    assert_eq!(world.entries(), [Entry::Claimed, UNKNOWN]);
}

#[tokio::test(start_paused = true)]
async fn two_notices_at_once_are_one_sms_and_the_second_comes_again() {
    let world = world(&[], &[]);
    let (process, reference) = (process(&world), reference());
    let mut first = Box::pin(process.deliver(&reference, message(&reference), contact));
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    let second = finish(process.deliver(&reference, message(&reference), contact));
    assert!(matches!(second, Err(NotNow::InProgress)));
    finish(first).expect("done");
    deliver(&process, &reference).await.expect("done");
    assert_eq!(world.delivered(), 1);
}

/// A store that is away for a while.
struct Away {
    inner: Memory,
    failures: AtomicUsize,
}

impl Away {
    fn check(&self) -> Result<(), StoreError> {
        let left = self.failures.load(Ordering::SeqCst);
        if left == 0 {
            return Ok(());
        }
        self.failures.store(left - 1, Ordering::SeqCst);
        Err(StoreError("connection refused".into()))
    }
}

impl Store for Away {
    async fn claim(&self, reference: &Reference, idempotent: bool) -> Result<Claim, StoreError> {
        self.inner.claim(reference, idempotent).await
    }

    async fn release(&self, reference: &Reference) -> Result<(), StoreError> {
        self.inner.release(reference).await
    }

    async fn record(&self, reference: &Reference, outcome: Outcome) -> Result<Ended, StoreError> {
        self.check()?;
        self.inner.record(reference, outcome).await
    }

    async fn announced(&self, reference: &Reference, outcome: &Outcome) -> Result<(), StoreError> {
        self.inner.announced(reference, outcome).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_waits_for_the_store_to_come_back() {
    let world = world(&[], &[]);
    let reference = reference();
    let store = Away { inner: Memory::default(), failures: AtomicUsize::new(3) };
    let gateway = Arc::new(Phones(Arc::clone(&world)));
    let process = Dispatch::new(store, Log(Arc::clone(&world)), gateway, Duration::from_secs(10));
    let start = tokio::time::Instant::now();
    process.deliver(&reference, message(&reference), contact).await.expect("done");
    assert!(start.elapsed() >= RECORD_AGAIN_AFTER * 3);
    assert_eq!(world.entries(), [Entry::Claimed, sent()]);
}

#[tokio::test(start_paused = true)]
async fn what_the_topic_says_at_start_is_neither_sent_nor_written_again() {
    let references: BTreeMap<&str, Reference> =
        ["sent", "failed", "unknown", "claimed"].into_iter().map(|name| (name, reference())).collect();
    let world = world(&[], &[]);
    {
        let mut topic = world.topic.lock().expect("not poisoned");
        for (name, reference) in &references {
            topic.push((reference.clone(), Entry::Claimed));
            match *name {
                "sent" => topic.push((reference.clone(), sent())),
                "failed" => topic.push((reference.clone(), FAILED)),
                "unknown" => topic.push((reference.clone(), UNKNOWN)),
                _ => {}
            }
        }
    }
    let before = world.entries().len();
    let process = process(&world);
    let found = finish(process.recover(world.ledger())).expect("recovered");
    assert_eq!(found, Found { ended: 4, unfinished: 1 });
    for reference in references.values() {
        deliver(&process, reference).await.expect("done");
    }
    let topic = world.topic.lock().expect("not poisoned");
    assert_eq!(topic[before..], [(references["claimed"].clone(), UNKNOWN)]);
    assert_eq!(world.delivered(), 0);
}
