use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{BoxFuture, join_all};
use schemas::wire::{self, DocumentType};

use super::*;
use crate::config::Config;

/// Answers each call as the next of its script says, the last one for ever.
struct Script {
    acts: Vec<Act>,
    calls: AtomicUsize,
    at_once: AtomicUsize,
    most: AtomicUsize,
}

#[derive(Clone, Copy)]
enum Act {
    Answers,
    Fails,
    Hangs,
    Takes(u64),
}

impl Script {
    fn new(acts: &[Act]) -> Arc<Self> {
        let counter = AtomicUsize::default;
        Arc::new(Self { acts: acts.to_vec(), calls: counter(), at_once: counter(), most: counter() })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl CardSource for Script {
    fn look_up<'a>(&'a self, _: &'a Identity) -> BoxFuture<'a, Result<Found, SourceError>> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let act = self.acts[call.min(self.acts.len() - 1)];
        Box::pin(async move {
            let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(at_once, Ordering::SeqCst);
            let answer = match act {
                Act::Answers => Ok(Found::default()),
                Act::Fails => Err(SourceError::TimedOut),
                Act::Hangs => std::future::pending().await,
                Act::Takes(seconds) => {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    Ok(Found::default())
                }
            };
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            answer
        })
    }
}

const DAY_MS: i64 = 24 * 3_600_000;

fn lookups(source: &Arc<Script>, change: impl FnOnce(&mut Limits)) -> Lookups {
    let bank: BankId = "anhe".parse().expect("an id");
    let mut limits = Config::defaults(&bank).limits;
    change(&mut limits);
    let clock: Clock = Arc::new(|| UnixMillis(0));
    let source = Arc::clone(source) as Arc<dyn CardSource>;
    Lookups::new(bank, source, &limits, clock, CancellationToken::new())
}

fn identity() -> Identity {
    Identity::from_wire(wire::Identity {
        name: "王小明".into(),
        document_type: DocumentType::ResidentId.into(),
        document_number: "11010519491231002X".into(),
        phone: "+8613800000001".into(),
    })
    .expect("usable")
}

#[tokio::test(start_paused = true)]
async fn a_source_that_comes_back_soon_is_waited_for() {
    let source = Script::new(&[Act::Fails, Act::Fails, Act::Answers]);
    let lookups = lookups(&source, |_| {});
    let outcome = lookups.look_up(&identity(), UnixMillis(DAY_MS)).await;
    assert!(matches!(outcome, Outcome::Found(_)), "{outcome:?}");
    assert_eq!(source.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_costs_a_minute_and_at_most_a_quarter_of_the_time_left() {
    for (left_ms, seconds) in [(DAY_MS, 60), (40_000, 10), (0, 0)] {
        let source = Script::new(&[Act::Hangs]);
        let lookups = lookups(&source, |_| {});
        let begun = Instant::now();
        let outcome = lookups.look_up(&identity(), UnixMillis(left_ms)).await;
        assert!(matches!(outcome, Outcome::NotNow), "{outcome:?}");
        assert_eq!(begun.elapsed().as_secs(), seconds, "{left_ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_keeps_failing_is_known_to_be_down_and_nobody_queues_for_it() {
    let source = Script::new(&[Act::Fails]);
    let lookups = lookups(&source, |limits| limits.failures_until_down = 3);
    let begun = Instant::now();
    assert!(matches!(lookups.look_up(&identity(), UnixMillis(DAY_MS)).await, Outcome::NotNow));
    assert_eq!((source.calls(), begun.elapsed().as_millis()), (3, 750));
    for _ in 0..100 {
        assert!(matches!(lookups.look_up(&identity(), UnixMillis(DAY_MS)).await, Outcome::NotNow));
    }
    assert_eq!((source.calls(), begun.elapsed().as_millis()), (3, 750));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let person = identity();
    join_all((0..10).map(|_| lookups.look_up(&person, UnixMillis(DAY_MS)))).await;
    assert_eq!(source.calls(), 4, "one probe");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_succeeds_opens_the_way_for_all() {
    let source = Script::new(&[Act::Fails, Act::Answers]);
    let lookups = lookups(&source, |limits| limits.failures_until_down = 1);
    assert!(matches!(lookups.look_up(&identity(), UnixMillis(DAY_MS)).await, Outcome::NotNow));
    tokio::time::sleep(Duration::from_secs(5)).await;
    for _ in 0..3 {
        assert!(matches!(lookups.look_up(&identity(), UnixMillis(DAY_MS)).await, Outcome::Found(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_does_not_try_a_source_that_went_down_meanwhile() {
    let source = Script::new(&[Act::Hangs]);
    let lookups = lookups(&source, |limits| {
        limits.lookups = 2;
        limits.failures_until_down = 2;
        limits.patience_ms = 10_000;
    });
    let person = identity();
    let outcomes = join_all((0..20).map(|n| {
        let reply_by = if n < 2 { 4_000 } else { DAY_MS };
        lookups.look_up(&person, UnixMillis(reply_by))
    }))
    .await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::NotNow)));
    assert_eq!(source.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_core_never_sees_more_lookups_at_once_than_configured() {
    let source = Script::new(&[Act::Takes(1)]);
    let lookups = lookups(&source, |limits| limits.lookups = 3);
    let person = identity();
    let outcomes = join_all((0..12).map(|_| lookups.look_up(&person, UnixMillis(DAY_MS)))).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Found(_))));
    assert_eq!((source.calls(), source.most.load(Ordering::SeqCst)), (12, 3));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_wait() {
    let source = Script::new(&[Act::Hangs]);
    let lookups = lookups(&source, |_| {});
    let person = identity();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        lookups.shutdown.cancel();
    };
    let (outcome, ()) = tokio::join!(lookups.look_up(&person, UnixMillis(DAY_MS)), stop);
    assert!(matches!(outcome, Outcome::Stopping), "{outcome:?}");
}
