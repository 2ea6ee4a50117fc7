//! Who may do what at a real broker: every cell of users, topics and groups is tried, and the allowed ones are those of
//! the design.

mod expected;
mod probe;

#[path = "../topics/operator.rs"]
mod operator;

use std::collections::BTreeSet;
use std::thread;

use expected::{Cell, World};
use operator::Operator;
use probe::Probe;
use tokio::runtime::Handle;

const UPSTREAMS: [&str; 2] = ["mtxpurse", "mtxwallet"];
const BANKS: [&str; 14] = [
    "mtx01", "mtx02", "mtx03", "mtx04", "mtx05", "mtx06", "mtx07", "mtx08", "mtx09", "mtx10", "mtx11",
    "mtx12", "mtx13", "mtx14",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_user_may_do_exactly_what_the_design_says() {
    let operator = Operator::new(&UPSTREAMS, &BANKS);
    operator.apply().await;
    let world = World::new(operator.prefix(), &UPSTREAMS, &BANKS);
    assert_eq!((world.users.len(), world.topics.len(), world.groups.len()), (21, 39, 23));
    probe::seed(&world).await;

    let runtime = Handle::current();
    let measured: BTreeSet<Cell> = tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            let probe = |user| Probe::new(&world, user, runtime.clone());
            // A thread for each: it waits for a broker nearly all the time.
            let probes: Vec<_> = world
                .users
                .iter()
                .map(|user| {
                    let probe = probe(user);
                    scope.spawn(move || probe.allowed())
                })
                .collect();
            probes.into_iter().flat_map(|probe| probe.join().expect("a probe says why it fails")).collect()
        })
    });

    let expected: BTreeSet<Cell> = world.allowed().collect();
    let surplus: Vec<&Cell> = measured.difference(&expected).collect();
    let missing: Vec<&Cell> = expected.difference(&measured).collect();
    assert!(
        surplus.is_empty() && missing.is_empty(),
        "allowed, but should not be: {surplus:#?}\nnot allowed, but should be: {missing:#?}"
    );
}
