//! Measures whether the time that an answer takes tells a guessed id from one of somebody else's query.
//!
//! On a running stack, after `cargo build --workspace --bins`:
//! `cargo run -p cardquery-tests --example strangers [ids of each kind]`. A figure for people, and no verdict.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cardquery_tests::system::{Setup, Stranger, System};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

const EACH: usize = 2_000;
/// Calls before the first one that counts.
const WARM_UP: usize = 500;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it prints figures")]
async fn main() {
    let each = std::env::args().nth(1).map_or(EACH, |argument| argument.parse().expect("a number"));
    let system = System::start(Setup { banks: ["anhe"].into(), ..Setup::default() }).await;
    let query = system.ask("wang").await;
    system.ended(&query).await;
    let mut asked = system.strangers(query.reference.query, each).await;
    let seed: u64 = rand::rng().random();
    asked.shuffle(&mut StdRng::seed_from_u64(seed));
    let front = system.front();
    for (stranger, id) in asked.iter().take(WARM_UP) {
        stranger.asks(&front, *id).await;
    }
    let mut took: BTreeMap<Stranger, Vec<Duration>> = BTreeMap::new();
    for (stranger, id) in asked {
        let began = Instant::now();
        let answer = stranger.asks(&front, id).await;
        took.entry(stranger).or_default().push(began.elapsed());
        assert_eq!(answer.status, 404);
    }
    let medians: BTreeMap<Stranger, Duration> =
        took.iter_mut().map(|(stranger, took)| (*stranger, at(took, 50))).collect();
    println!("{each} ids of each kind, one after the other, seed {seed}");
    for (stranger, took) in &mut took {
        let against = medians[&stranger.guesser()];
        let percent = (medians[stranger].as_secs_f64() / against.as_secs_f64() - 1.0) * 100.0;
        let (p10, p90) = (at(took, 10), at(took, 90));
        println!(
            "{:<34} median {:>9.3?}  {percent:+6.2} %  p10 {p10:.3?}  p90 {p90:.3?}",
            format!("{stranger:?}"),
            medians[stranger]
        );
    }
    system.finish();
}

fn at(took: &mut [Duration], percent: usize) -> Duration {
    took.sort();
    took[(took.len() - 1) * percent / 100]
}
