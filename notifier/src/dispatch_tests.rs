//! The real dispatch over a log and a gateway in memory, which can be stopped before and after every effect.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
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
use crate::store::Progress;
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
#[derive(Debug, Default)]
struct World {
    topic: Mutex<Vec<(Reference, u32, Entry)>>,
    delivered: AtomicUsize,
    claims_before_call: Mutex<Vec<bool>>,
    acks: Mutex<Vec<Ack>>,
    calls: Mutex<Vec<Call>>,
    idempotent: bool,
}

impl World {
    fn entries(&self) -> Vec<Entry> {
        self.topic.lock().expect("not poisoned").iter().map(|(_, _, entry)| entry.clone()).collect()
    }

    fn delivered(&self) -> usize {
        self.delivered.load(Ordering::SeqCst)
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for (reference, attempt, entry) in self.topic.lock().expect("not poisoned").iter() {
            ledger.take(&entry.record(reference, *attempt, UnixMillis(0)).encode_to_vec()).expect("readable");
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
    async fn append(&self, reference: &Reference, attempt: u32, entry: &Entry) -> Result<(), ProduceError> {
        step().await;
        let ack = self.0.acks.lock().expect("not poisoned").pop().unwrap_or(Ack::Acknowledged);
        if !matches!(ack, Ack::Lost) {
            self.0.topic.lock().expect("not poisoned").push((reference.clone(), attempt, entry.clone()));
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

type Real = Dispatch<Arc<Memory>, Log>;

const LIMITS: Limits = Limits { gateway_timeout: Duration::from_secs(10), lease: Duration::from_secs(60) };

fn process(world: &Arc<World>) -> Real {
    process_on(&Arc::default(), world)
}

fn process_on(store: &Arc<Memory>, world: &Arc<World>) -> Real {
    let gateway = Arc::new(Phones(Arc::clone(world)));
    Dispatch::new(Arc::clone(store), Log(Arc::clone(world)), gateway, LIMITS)
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

type Notice<'a> = Pin<Box<dyn Future<Output = Result<(), NotNow>> + 'a>>;

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
fn live(process: &Real, world: &Arc<World>, reference: &Reference, life: &Life) {
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
    take_turns(process, reference, life.duplicates, turns);
}

/// Duplicates of the notice run side by side, as `turns` say, and are dropped where they stand.
fn take_turns<'a>(
    process: &Real,
    reference: &Reference,
    duplicates: u8,
    turns: impl Iterator<Item = &'a u8>,
) {
    let mut context = Context::from_waker(Waker::noop());
    let notice = || -> Notice<'_> { Box::pin(process.deliver(reference, message(reference), contact)) };
    let mut notices: Vec<Notice<'_>> = (0..duplicates).map(|_| notice()).collect();
    for turn in turns {
        let index = usize::from(*turn) % notices.len();
        if notices[index].as_mut().poll(&mut context).is_ready() {
            // Done or not now: either way the topic may hand it over again.
            notices[index] = notice();
        }
    }
}

/// Nothing fails any more: the process starts once more and the notice comes until it is done.
fn heal(process: &Real, world: &Arc<World>, reference: &Reference) {
    world.acks.lock().expect("not poisoned").clear();
    world.calls.lock().expect("not poisoned").clear();
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

/// A world in which the topic and the gateway fail now and then.
fn failing_world() -> impl Strategy<Value = World> {
    let ack = prop_oneof![
        4 => Just(Ack::Acknowledged),
        1 => Just(Ack::PersistedWithoutAnswer),
        1 => Just(Ack::Lost),
    ];
    let call = prop_oneof![
        Just(Call::Ok),
        Just(Call::Refused),
        Just(Call::TimeoutButSent),
        Just(Call::TimeoutNotSent),
    ];
    let scripts = (prop::collection::vec(ack, 0..12), prop::collection::vec(call, 0..4), any::<bool>());
    scripts.prop_map(|(acks, calls, idempotent)| World {
        acks: acks.into(),
        calls: calls.into(),
        idempotent,
        ..World::default()
    })
}

/// What holds at the end of every history.
fn check_end(world: &World) -> Result<(), TestCaseError> {
    prop_assert!(world.delivered() <= 1, "{:?}", world.entries());
    let entries = world.entries();
    let claims = world.claims_before_call.lock().expect("not poisoned").clone();
    prop_assert!(claims.iter().all(|claimed| *claimed), "{entries:?}");
    let told: Vec<Told> = world.ledger().close().map(|(_, told)| told).collect();
    prop_assert_eq!(told.len(), 1);
    match &told[0].outcome {
        Some(Outcome::Sent { .. }) => prop_assert_eq!(world.delivered(), 1),
        Some(Outcome::Failed { .. }) => {
            // With a gateway that may be asked again, a refusal does not tell of an attempt before it.
            prop_assert!(world.delivered() == 0 || world.idempotent);
        }
        Some(Outcome::Unknown { .. }) => {}
        None => prop_assert!(false, "a claim stays open: {entries:?}"),
    }
    Ok(())
}

/// A gateway's timeout needs a clock to exist; it never runs out here.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

/// What happens next among several instances on one store.
#[derive(Clone, Debug)]
enum Turn {
    /// This task takes a step. One that is never chosen again sleeps as a zombie does.
    Step(u8),
    /// This task's instance is killed, and the notice comes to the next one.
    Kill(u8),
    /// So much time passes, in tenths of a lease.
    Pass(u8),
    /// An instance starts and reads the SMS topic.
    Start,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        12 => any::<u8>().prop_map(Turn::Step),
        1 => any::<u8>().prop_map(Turn::Kill),
        1 => (0..12_u8).prop_map(Turn::Pass),
        1 => Just(Turn::Start),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// I3: whatever crashes when, at most one SMS reaches the phone, and every claim gets an outcome.
    #[test]
    fn at_most_one_sms_reaches_the_phone_and_every_claim_gets_an_outcome(
        lives in prop::collection::vec(life(), 0..5),
        world in failing_world(),
    ) {
        let runtime = runtime();
        let _entered = runtime.enter();
        let (world, reference) = (Arc::new(world), reference());
        for life in &lives {
            live(&process(&world), &world, &reference, life);
            prop_assert!(world.delivered() <= 1, "{:?}", world.entries());
        }
        heal(&process(&world), &world, &reference);
        check_end(&world)?;
    }

    /// I3 for several instances on one store that survives them, with zombies whose leases run out.
    #[test]
    fn instances_that_share_a_store_send_one_sms_and_every_claim_gets_an_outcome(
        turns in prop::collection::vec(turn(), 0..60),
        world in failing_world(),
    ) {
        let runtime = runtime();
        let _entered = runtime.enter();
        let (world, reference) = (Arc::new(world), reference());
        let clock = Arc::new(AtomicI64::new(0));
        let hand = Arc::clone(&clock);
        let store = Arc::new(Memory::with_clock(move || UnixMillis(hand.load(Ordering::SeqCst))));
        let process = process_on(&store, &world);
        let notice = || -> Notice<'_> { Box::pin(process.deliver(&reference, message(&reference), contact)) };
        let mut context = Context::from_waker(Waker::noop());
        let mut notices: Vec<Notice<'_>> = (0..3).map(|_| notice()).collect();
        let pass = |tenths: u8| {
            let tenth = i64::try_from(LIMITS.lease.as_millis() / 10).expect("small");
            clock.fetch_add(i64::from(tenths) * tenth, Ordering::SeqCst);
        };
        for turn in turns {
            match turn {
                Turn::Step(task) => {
                    let task = usize::from(task) % notices.len();
                    if notices[task].as_mut().poll(&mut context).is_ready() {
                        notices[task] = notice();
                    }
                }
                Turn::Kill(task) => {
                    let task = usize::from(task) % notices.len();
                    notices[task] = notice();
                }
                Turn::Pass(tenths) => pass(tenths),
                // What is not acknowledged now is written when the notice comes again.
                Turn::Start => drop(finish(process.recover(world.ledger()))),
            }
            prop_assert!(world.delivered() <= 1, "{:?}", world.entries());
        }
        drop(notices);
        pass(11);
        heal(&process, &world, &reference);
        check_end(&world)?;
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
    let process = Dispatch::new(Arc::default(), Log(Arc::clone(&world)), Arc::new(Silent), LIMITS);
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

/// A store whose answers get lost for a while, although it does what it is asked.
struct Away {
    inner: Memory,
    failures: AtomicUsize,
}

impl Away {
    fn answer<T>(&self, answer: T) -> Result<T, StoreError> {
        let left = self.failures.load(Ordering::SeqCst);
        if left == 0 {
            return Ok(answer);
        }
        self.failures.store(left - 1, Ordering::SeqCst);
        Err(StoreError("connection reset".into()))
    }
}

impl Store for Away {
    async fn claim(&self, reference: &Reference, terms: Terms) -> Result<Claim, StoreError> {
        self.answer(self.inner.claim(reference, terms).await?)
    }

    async fn release(&self, reference: &Reference, attempt: u32) -> Result<(), StoreError> {
        self.answer(self.inner.release(reference, attempt).await?)
    }

    async fn record(
        &self,
        reference: &Reference,
        attempt: u32,
        outcome: Outcome,
    ) -> Result<Option<Ended>, StoreError> {
        self.answer(self.inner.record(reference, attempt, outcome).await?)
    }

    async fn announced(&self, reference: &Reference, outcome: &Outcome) -> Result<(), StoreError> {
        self.inner.announced(reference, outcome).await
    }

    async fn told(&self, reference: &Reference, told: Told) -> Result<Option<Ended>, StoreError> {
        self.inner.told(reference, told).await
    }

    async fn progress(&self, topic: &str) -> Result<Progress, StoreError> {
        self.inner.progress(topic).await
    }

    async fn advance(&self, topic: &str, known: &Progress, next: &Progress) -> Result<bool, StoreError> {
        self.inner.advance(topic, known, next).await
    }

    async fn forget(&self, age: Duration, max: u32) -> Result<u64, StoreError> {
        self.inner.forget(age, max).await
    }
}

fn away(failures: usize, world: &Arc<World>, gateway: impl Gateway) -> Dispatch<Away, Log> {
    let store = Away { inner: Memory::default(), failures: AtomicUsize::new(failures) };
    Dispatch::new(store, Log(Arc::clone(world)), Arc::new(gateway), LIMITS)
}

/// A gateway in front of which the store goes away.
struct Cuts {
    phones: Phones,
    cut: Arc<dyn Fn() + Send + Sync>,
}

impl Gateway for Cuts {
    fn send<'a>(&'a self, sms: &'a OutgoingSms) -> BoxFuture<'a, GatewayOutcome> {
        (self.cut)();
        self.phones.send(sms)
    }

    fn idempotent(&self) -> bool {
        self.phones.idempotent()
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_is_lost_is_asked_for_again_and_sent() {
    let world = world(&[], &[]);
    let reference = reference();
    let process = away(3, &world, Phones(Arc::clone(&world)));
    process.deliver(&reference, message(&reference), contact).await.expect("done");
    assert_eq!(world.entries(), [Entry::Claimed, sent()]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_is_given_up_and_the_gateway_is_not_called() {
    let world = world(&[], &[]);
    let reference = reference();
    let process = away(usize::MAX, &world, Phones(Arc::clone(&world)));
    let start = Instant::now();
    let error = process.deliver(&reference, message(&reference), contact).await.expect_err("not now");
    assert_eq!(error.code(), Code::INTERNAL);
    assert!(start.elapsed() < ASK_FOR * 2);
    assert_eq!(world.entries(), []);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_waits_for_the_store_to_come_back() {
    let world = world(&[], &[]);
    let reference = reference();
    let store = Arc::new(Away { inner: Memory::default(), failures: AtomicUsize::new(0) });
    let cut = Arc::clone(&store);
    let gateway = Cuts {
        phones: Phones(Arc::clone(&world)),
        cut: Arc::new(move || cut.failures.store(3, Ordering::SeqCst)),
    };
    let process = Dispatch::new(store, Log(Arc::clone(&world)), Arc::new(gateway), LIMITS);
    let start = Instant::now();
    process.deliver(&reference, message(&reference), contact).await.expect("done");
    assert!(start.elapsed() >= RECORD_AGAIN_AFTER * 3);
    assert_eq!(world.entries(), [Entry::Claimed, sent()]);
}

/// A topic that takes its time.
struct Slow {
    log: Log,
    takes: Duration,
}

impl SmsLog for Slow {
    async fn append(&self, reference: &Reference, attempt: u32, entry: &Entry) -> Result<(), ProduceError> {
        tokio::time::sleep(self.takes).await;
        self.log.append(reference, attempt, entry).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_acknowledged_too_late_for_its_lease_sends_nothing_and_is_made_again() {
    let world = world(&[], &[]);
    let (reference, store) = (reference(), Arc::new(Memory::default()));
    let within = LIMITS.lease - LIMITS.gateway_timeout - RECORD_WITHIN;
    let process = |takes| {
        let log = Slow { log: Log(Arc::clone(&world)), takes };
        Dispatch::new(Arc::clone(&store), log, Arc::new(Phones(Arc::clone(&world))), LIMITS)
    };
    let late = process(within + Duration::from_millis(1));
    let error = late.deliver(&reference, message(&reference), contact).await.expect_err("late");
    assert!(matches!(error, NotNow::Late), "{error}");
    assert_eq!(world.delivered(), 0);
    process(within).deliver(&reference, message(&reference), contact).await.expect("done");
    assert_eq!(world.entries(), [Entry::Claimed, Entry::Claimed, sent()]);
}

/// The row outlives the process, and knows that the claim in the topic was given back.
#[tokio::test(start_paused = true)]
async fn a_claim_that_was_not_acknowledged_before_a_stop_is_sent_by_the_next_instance() {
    for ack in [Ack::Lost, Ack::PersistedWithoutAnswer] {
        let world = world(&[], &[ack]);
        let (reference, store) = (reference(), Arc::default());
        deliver(&process_on(&store, &world), &reference).await.expect_err("not now");
        let next = process_on(&store, &world);
        let found = next.recover(world.ledger()).await.expect("recovered");
        assert_eq!(found, Found::default());
        deliver(&next, &reference).await.expect("done");
        assert_eq!(world.delivered(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_leaves_a_claim_alone_that_another_instance_holds() {
    let world = world(&[], &[]);
    let (reference, store) = (reference(), Arc::default());
    let holder = process_on(&store, &world);
    let mut sending = Box::pin(holder.deliver(&reference, message(&reference), contact));
    let mut context = Context::from_waker(Waker::noop());
    while world.entries().is_empty() {
        assert!(sending.as_mut().poll(&mut context).is_pending());
    }
    let other = process_on(&store, &world);
    assert_eq!(other.recover(world.ledger()).await.expect("recovered"), Found::default());
    let error = deliver(&other, &reference).await.expect_err("in progress");
    assert!(matches!(error, NotNow::InProgress), "{error}");
    finish(sending).expect("done");
    deliver(&other, &reference).await.expect("done");
    assert_eq!(world.entries(), [Entry::Claimed, sent()]);
}

#[tokio::test(start_paused = true)]
async fn a_zombie_tells_what_it_sent_after_its_claim_was_given_up_and_sends_nothing_again() {
    let world = world(&[], &[]);
    let (reference, store) = (reference(), Arc::default());
    let zombie = process_on(&store, &world);
    let mut sending = Box::pin(zombie.deliver(&reference, message(&reference), contact));
    let mut context = Context::from_waker(Waker::noop());
    while world.delivered() == 0 {
        assert!(sending.as_mut().poll(&mut context).is_pending());
    }
    tokio::time::advance(LIMITS.lease).await;
    let other = process_on(&store, &world);
    deliver(&other, &reference).await.expect("given up");
    assert_eq!(world.entries(), [Entry::Claimed, UNKNOWN]);
    sending.await.expect("done");
    assert_eq!(world.entries(), [Entry::Claimed, UNKNOWN, sent()]);
    deliver(&zombie, &reference).await.expect("done");
    deliver(&other, &reference).await.expect("done");
    assert_eq!(world.delivered(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_topic_says_at_start_is_neither_sent_nor_written_again() {
    let references: BTreeMap<&str, Reference> =
        ["sent", "failed", "unknown", "claimed"].into_iter().map(|name| (name, reference())).collect();
    let world = world(&[], &[]);
    {
        let mut topic = world.topic.lock().expect("not poisoned");
        for (name, reference) in &references {
            topic.push((reference.clone(), 1, Entry::Claimed));
            match *name {
                "sent" => topic.push((reference.clone(), 1, sent())),
                "failed" => topic.push((reference.clone(), 1, FAILED)),
                "unknown" => topic.push((reference.clone(), 1, UNKNOWN)),
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
    assert_eq!(topic[before..], [(references["claimed"].clone(), 1, UNKNOWN)]);
    assert_eq!(world.delivered(), 0);
}
