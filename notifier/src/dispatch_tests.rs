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
use crate::domain::phone_limit::PhoneMac;
use crate::gateway::Inquiries;
use crate::store::memory::Memory;
use crate::store::{Due, Progress};
use crate::sweep::Step;

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
    NotTaken,
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
    can_be_asked: bool,
    /// Whether it answers when it is asked.
    words: Mutex<Vec<bool>>,
    /// The store's, in milliseconds.
    clock: Arc<AtomicI64>,
}

impl World {
    fn entries(&self) -> Vec<Entry> {
        self.topic.lock().expect("not poisoned").iter().map(|(_, _, entry)| entry.clone()).collect()
    }

    fn store(&self) -> Arc<Memory> {
        let hand = Arc::clone(&self.clock);
        Arc::new(Memory::with_clock(move || UnixMillis(hand.load(Ordering::SeqCst))))
    }

    fn pass(&self, time: Duration) {
        self.clock.fetch_add(i64::try_from(time.as_millis()).expect("short"), Ordering::SeqCst);
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
                Call::NotTaken => GatewayOutcome::NotTaken { retry_after: None },
                Call::TimeoutButSent | Call::TimeoutNotSent => {
                    GatewayOutcome::Unknown { said: Said::Timeout }
                }
            }
        }
        .boxed()
    }

    fn idempotent(&self) -> bool {
        self.0.idempotent
    }

    fn inquiries(&self) -> Option<&dyn Inquiries> {
        self.0.can_be_asked.then_some(self)
    }
}

/// It knows what it sent, or says now and then that it does not.
impl Inquiries for Phones {
    fn inquire(&self, _: MessageId) -> BoxFuture<'_, Inquired> {
        async {
            step().await;
            let word = self.0.words.lock().expect("not poisoned").pop().unwrap_or(true);
            match (word, self.0.delivered()) {
                (false, _) => Inquired::Open(Said::Timeout),
                (true, 0) => Inquired::Open(Said::Status(404)),
                (true, _) => Inquired::Known(Outcome::Delivered),
            }
        }
        .boxed()
    }
}

type Real = Dispatch<Arc<Memory>, Log>;

const LIMITS: Limits = Limits {
    gateway_timeout: Duration::from_secs(10),
    lease: Duration::from_secs(60),
    ask_after: Duration::from_secs(5),
    ask_for: Duration::from_secs(600),
};

fn process(world: &Arc<World>) -> Real {
    process_on(&world.store(), world)
}

fn process_on(store: &Arc<Memory>, world: &Arc<World>) -> Real {
    let gateway = Arc::new(Phones(Arc::clone(world)));
    Dispatch::new(Arc::clone(store), Log(Arc::clone(world)), gateway, LIMITS, Manners::default())
}

fn reference() -> Reference {
    Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() }
}

fn errand(reference: &Reference) -> Errand {
    let (owner, state) = (reference.clone(), QueryState::FinalPartial);
    let header = Header { reference: owner, state, banks: 14, answered: 12, accepted_at: UnixMillis(0) };
    Errand {
        reference: reference.clone(),
        message: Message::of(&header).expect("final"),
        notice: NoticeAt { partition: 0, offset: 0 },
        appended_at: UnixMillis(0),
    }
}

fn contact() -> Result<Contact, Code> {
    let to = Phone::parse("+8613800000001".into()).ok_or(Code::CONTACT_UNREADABLE)?;
    Ok(Contact { to, language: Language::ZhCn })
}

fn sent() -> Entry {
    Entry::Ended(Outcome::Sent { gateway_id: "g-1".into() })
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
    let notice = || -> Notice<'_> { Box::pin(deliver(process, reference)) };
    let mut notices: Vec<Notice<'_>> = (0..duplicates).map(|_| notice()).collect();
    for turn in turns {
        let index = usize::from(*turn) % notices.len();
        if notices[index].as_mut().poll(&mut context).is_ready() {
            // Done or not now: either way the topic may hand it over again.
            notices[index] = notice();
        }
    }
}

/// Looks after everything that is due, by the rule of the sweep. What is not acknowledged now is done again.
fn sweep(process: &Real) {
    let due = finish(process.store.due(u32::MAX, LIMITS.lease)).expect("available");
    for due in due {
        let reference = &due.reference;
        let means = process.means();
        let _ = match crate::sweep::step(&due, means) {
            Step::Send(_) => finish(process.deliver(&errand(reference), contact)),
            Step::Inquire => finish(process.inquire(reference, due.sms.attempt)),
            Step::Lapse | Step::Announce => finish(process.note(reference, Event::Lapse(means))),
            Step::GiveUp => {
                let (attempt, code) = (due.sms.attempt, Code::GATEWAY_UNAVAILABLE);
                finish(process.note(reference, Event::GiveUp { attempt, code }))
            }
            Step::Leave => Ok(()),
        };
    }
}

/// Nothing fails any more: the process starts once more, the notice comes until it is done, and time passes.
fn heal(process: &Real, world: &Arc<World>, reference: &Reference) {
    world.acks.lock().expect("not poisoned").clear();
    world.calls.lock().expect("not poisoned").clear();
    finish(process.recover(world.ledger())).expect("recovers");
    for _ in 0..2 {
        finish(process.deliver(&errand(reference), contact)).expect("done");
    }
    for _ in 0..20 {
        world.pass(TAKEN_AGAIN_AT_LAST);
        sweep(process);
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
        Just(Call::NotTaken),
    ];
    let scripts = (
        prop::collection::vec(ack, 0..12),
        prop::collection::vec(call, 0..4),
        prop::collection::vec(any::<bool>(), 0..4),
        any::<(bool, bool)>(),
    );
    scripts.prop_map(|(acks, calls, words, (idempotent, can_be_asked))| World {
        acks: acks.into(),
        calls: calls.into(),
        words: words.into(),
        idempotent,
        can_be_asked,
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
        Some(Outcome::Sent { .. } | Outcome::Delivered) => prop_assert_eq!(world.delivered(), 1),
        Some(Outcome::Undelivered) => prop_assert!(false, "no receipt said so: {:?}", entries),
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
    /// An instance looks after what is due.
    Sweep,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        12 => any::<u8>().prop_map(Turn::Step),
        1 => any::<u8>().prop_map(Turn::Kill),
        1 => (0..12_u8).prop_map(Turn::Pass),
        1 => Just(Turn::Start),
        2 => Just(Turn::Sweep),
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
        let process = process(&world);
        let notice = || -> Notice<'_> { Box::pin(deliver(&process, &reference)) };
        let mut context = Context::from_waker(Waker::noop());
        let mut notices: Vec<Notice<'_>> = (0..3).map(|_| notice()).collect();
        let pass = |tenths: u8| world.pass(LIMITS.lease / 10 * u32::from(tenths));
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
                Turn::Sweep => sweep(&process),
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
    process.deliver(&errand(reference), contact).await
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
    finish(process.deliver(&errand(&reference), || Err(Code::CONTACT_UNREADABLE))).expect("done");
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

    fn inquiries(&self) -> Option<&dyn Inquiries> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_answer_in_time_leaves_the_outcome_unknown() {
    let world = world(&[], &[]);
    let reference = reference();
    let process =
        Dispatch::new(Arc::default(), Log(Arc::clone(&world)), Arc::new(Silent), LIMITS, Manners::default());
    deliver(&process, &reference).await.expect("done");
    assert_eq!(world.entries(), [Entry::Claimed, UNKNOWN]);
}

#[tokio::test(start_paused = true)]
async fn two_notices_at_once_are_one_sms_and_the_second_comes_again() {
    let world = world(&[], &[]);
    let (process, reference) = (process(&world), reference());
    let mut first = Box::pin(deliver(&process, &reference));
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    let second = finish(process.deliver(&errand(&reference), contact));
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
    async fn happened(
        &self,
        reference: &Reference,
        event: Event,
        notice: Option<NoticeAt>,
    ) -> Result<Standing, StoreError> {
        self.answer(self.inner.happened(reference, event, notice).await?)
    }

    async fn due(&self, max: u32, hold: Duration) -> Result<Vec<Due>, StoreError> {
        self.inner.due(max, hold).await
    }

    async fn find(&self, out_id: MessageId) -> Result<Option<Reference>, StoreError> {
        self.inner.find(out_id).await
    }

    async fn admit(
        &self,
        reference: &Reference,
        phone: PhoneMac,
        limit: &PhoneLimit,
    ) -> Result<bool, StoreError> {
        self.answer(self.inner.admit(reference, phone, limit).await?)
    }

    async fn announced(&self, reference: &Reference, outcome: &Outcome) -> Result<(), StoreError> {
        self.inner.announced(reference, outcome).await
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
    Dispatch::new(store, Log(Arc::clone(world)), Arc::new(gateway), LIMITS, Manners::default())
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

    fn inquiries(&self) -> Option<&dyn Inquiries> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_is_lost_is_asked_for_again_and_sent() {
    let world = world(&[], &[]);
    let reference = reference();
    let process = away(3, &world, Phones(Arc::clone(&world)));
    process.deliver(&errand(&reference), contact).await.expect("done");
    assert_eq!(world.entries(), [Entry::Claimed, sent()]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_is_given_up_and_the_gateway_is_not_called() {
    let world = world(&[], &[]);
    let reference = reference();
    let process = away(usize::MAX, &world, Phones(Arc::clone(&world)));
    let start = Instant::now();
    let error = process.deliver(&errand(&reference), contact).await.expect_err("not now");
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
    let process =
        Dispatch::new(store, Log(Arc::clone(&world)), Arc::new(gateway), LIMITS, Manners::default());
    let start = Instant::now();
    process.deliver(&errand(&reference), contact).await.expect("done");
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
        Dispatch::new(
            Arc::clone(&store),
            log,
            Arc::new(Phones(Arc::clone(&world))),
            LIMITS,
            Manners::default(),
        )
    };
    let late = process(within + Duration::from_millis(1));
    let error = late.deliver(&errand(&reference), contact).await.expect_err("late");
    assert!(matches!(error, NotNow::Late), "{error}");
    assert_eq!(world.delivered(), 0);
    process(within).deliver(&errand(&reference), contact).await.expect("done");
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
    let mut sending = Box::pin(deliver(&holder, &reference));
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
    let mut sending = Box::pin(deliver(&zombie, &reference));
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

fn contact_of(phone: &str) -> Result<Contact, Code> {
    let to = Phone::parse(phone.to_owned()).ok_or(Code::CONTACT_UNREADABLE)?;
    Ok(Contact { to, language: Language::ZhCn })
}

fn at(text: &str) -> Duration {
    UnixMillis::parse(text).expect("a time").since(UnixMillis(0))
}

#[test]
fn what_comes_in_quiet_hours_is_a_row_until_they_are_over_and_goes_once() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let world = world(&[], &[]);
    let time = |text: &str| text.parse().expect("a time");
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").expect("a zone");
    let manners =
        Manners { quiet: QuietHours::new(time("22:00"), time("08:00"), zone), ..Manners::default() };
    let (log, gateway) = (Log(Arc::clone(&world)), Arc::new(Phones(Arc::clone(&world))));
    let process = Dispatch::new(world.store(), log, gateway, LIMITS, manners);
    world.pass(at("2026-11-24T14:00:00Z"));
    let notice = Errand {
        appended_at: UnixMillis::parse("2026-11-24T14:00:00Z").expect("a time"),
        ..errand(&reference())
    };
    for _ in 0..3 {
        finish(process.deliver(&notice, contact)).expect("it waits");
    }
    world.pass(at("2026-11-24T23:59:59.999Z") - at("2026-11-24T14:00:00Z"));
    sweep(&process);
    assert_eq!(world.entries(), [], "at 07:59:59.999 in Shanghai");
    world.pass(Duration::from_millis(1));
    for _ in 0..3 {
        sweep(&process);
    }
    assert_eq!(world.entries(), [Entry::Claimed, sent()]);
    finish(process.deliver(&notice, contact)).expect("over");
    assert_eq!(world.delivered(), 1);
}

#[test]
fn a_phone_over_its_limit_gets_no_more_on_that_day_and_others_do() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let world = world(&[], &[]);
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").expect("a zone");
    let key = PhoneKey::new(zeroize::Zeroizing::new([1; 32]));
    let manners = Manners { per_phone: Some((PhoneLimit { max: 2, zone }, key)), ..Manners::default() };
    let (log, gateway) = (Log(Arc::clone(&world)), Arc::new(Phones(Arc::clone(&world))));
    let process = Dispatch::new(world.store(), log, gateway, LIMITS, manners);
    world.pass(at("2026-11-24T15:59:59Z"));
    let deliver = |phone: &'static str| {
        let before = world.entries().len();
        let notice = errand(&reference());
        for _ in 0..2 {
            finish(process.deliver(&notice, || contact_of(phone))).expect("done");
        }
        world.entries()[before..].to_vec()
    };
    let over = Entry::Ended(Outcome::Failed { code: Code::PHONE_LIMIT_REACHED });
    assert_eq!(deliver("+8613800000001"), [Entry::Claimed, sent()]);
    assert_eq!(deliver("+8613800000001"), [Entry::Claimed, sent()]);
    assert_eq!(deliver("+8613800000001"), [Entry::Claimed, over]);
    assert_eq!(deliver("+8613800000002"), [Entry::Claimed, sent()]);
    world.pass(Duration::from_secs(1));
    assert_eq!(deliver("+8613800000001"), [Entry::Claimed, sent()], "a day later");
    assert_eq!(world.delivered(), 4);
}

/// F-S1: the gateway is away for 30 minutes.
#[test]
fn half_an_hour_without_a_gateway_is_made_up_for_within_ten_minutes_and_in_few_attempts() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let world = world(&[Call::NotTaken; 100], &[]);
    let (process, reference) = (process(&world), reference());
    finish(process.deliver(&errand(&reference), contact)).expect("it waits");
    let mut attempts = 1;
    for second in 1..=2_400 {
        world.pass(Duration::from_secs(1));
        if second == 1_800 {
            attempts = world.entries().len();
            assert_eq!(world.delivered(), 0);
            world.calls.lock().expect("not poisoned").clear();
        }
        sweep(&process);
    }
    assert!((2..15).contains(&attempts), "{attempts}");
    assert_eq!(world.delivered(), 1);
    assert_eq!(world.entries().last(), Some(&sent()));
    assert_eq!(world.entries().len(), attempts + 2);
}

#[test]
fn an_sms_that_is_never_taken_fails_before_its_notice_is_gone() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let world = world(&[Call::NotTaken; 1_000], &[]);
    let (process, reference) = (process(&world), reference());
    finish(process.deliver(&errand(&reference), contact)).expect("it waits");
    for _ in 0..48 * 60 {
        world.pass(Duration::from_secs(60));
        sweep(&process);
    }
    let failed = Entry::Ended(Outcome::Failed { code: Code::GATEWAY_UNAVAILABLE });
    assert_eq!(world.entries().last(), Some(&failed));
    assert_eq!(world.delivered(), 0);
}

#[test]
fn an_idempotent_gateway_gets_an_sms_in_doubt_again_and_another_one_is_only_asked() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for (idempotent, can_be_asked, call, entries) in [
        (true, false, Call::TimeoutNotSent, vec![Entry::Claimed, Entry::Claimed, sent()]),
        (true, false, Call::TimeoutButSent, vec![Entry::Claimed, Entry::Claimed, sent()]),
        (false, true, Call::TimeoutButSent, vec![Entry::Claimed, Entry::Ended(Outcome::Delivered)]),
        (false, true, Call::TimeoutNotSent, vec![Entry::Claimed, UNKNOWN]),
        (false, false, Call::TimeoutButSent, vec![Entry::Claimed, UNKNOWN]),
    ] {
        let calls = Mutex::new(vec![call]);
        let world = Arc::new(World { idempotent, can_be_asked, calls, ..World::default() });
        let (process, reference) = (process(&world), reference());
        finish(process.deliver(&errand(&reference), contact)).expect("done or in doubt");
        for _ in 0..700 {
            world.pass(Duration::from_secs(1));
            sweep(&process);
        }
        assert_eq!(world.entries(), entries, "{idempotent} {can_be_asked} {call:?}");
        assert!(world.delivered() <= 1);
    }
}

/// Its notice is read no more, so nobody but the sweep can make the claim again.
#[test]
fn a_claim_that_the_sweep_made_and_gave_back_is_made_again() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let world = world(&[Call::NotTaken], &[Ack::Acknowledged, Ack::Lost]);
    let (process, reference) = (process(&world), reference());
    finish(process.deliver(&errand(&reference), contact)).expect("it waits");
    for _ in 0..100 {
        world.pass(Duration::from_secs(1));
        sweep(&process);
    }
    assert_eq!(world.entries(), [Entry::Claimed, Entry::Claimed, sent()]);
}
