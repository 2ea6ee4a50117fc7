//! Whoever asks for what is not theirs learns nothing, and whoever shows one grant often has one view.

use std::collections::BTreeMap;

use aggregator::store::{Clock as _, SystemClock};
use cardquery::sample;
use cardquery_tests::system::{Answer, Setup, Stranger, System};
use futures::StreamExt as _;
use prost::Message as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use schemas::wire::{self, event_record};

/// Fewer than the aggregator has connections for its callers, so that none waits for one on a busy machine.
const AT_A_TIME: usize = 6;

/// How long each takes is measured by the example `strangers` of this package.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_guessed_and_foreign_ids_are_told_the_same_to_the_byte() {
    const EACH: usize = 1_700;
    let system = System::start(Setup { banks: ["anhe"].into(), ..Setup::default() }).await;
    let query = system.ask("wang").await;
    assert_eq!(system.ended(&query).await.state, "FINAL_ALL_ANSWERED");
    let mut asked = system.strangers(query.reference.query, EACH).await;
    assert!(asked.len() >= 10_000);
    asked.shuffle(&mut StdRng::seed_from_u64(1));
    let front = system.front();
    let told = futures::stream::iter(asked).map(async |(stranger, id)| {
        let mut answer = stranger.asks(&front, id).await;
        // What a busy machine does not do in time says nothing of the id; what is always an error is told apart.
        for _ in 0..3 {
            if answer.status < 500 {
                break;
            }
            answer = stranger.asks(&front, id).await;
        }
        (stranger, answer)
    });
    let mut answers: BTreeMap<Answer, BTreeMap<Stranger, usize>> = BTreeMap::new();
    for (stranger, answer) in told.buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await {
        *answers.entry(answer).or_default().entry(stranger).or_default() += 1;
    }
    let all = Stranger::ALL.map(|stranger| (stranger, EACH)).into();
    assert_eq!(answers.values().collect::<Vec<_>>(), [&all], "{answers:?}");
    let answer = answers.into_keys().next().expect("one");
    assert_eq!((answer.status, answer.code().as_str()), (404, "QUERY_NOT_FOUND"));
    // The person's own query is still there to be seen.
    assert!(system.open(&query).await.complete);
    system.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_uses_of_one_grant_by_http_are_one_view_and_the_same_bytes() {
    // As many as a busy machine serves within the two minutes of a grant.
    const USES: usize = 200;
    let mut system = System::start(Setup { banks: ["anhe"].into(), ..Setup::default() }).await;
    let front = system.front();
    let person = &sample::core::people()[0];
    let query = front.plan(&person.into(), &["anhe"], SystemClock.now());
    front.send(&query).await;
    let reference = query.reference.clone();
    cardquery_tests::attacker::eventually("a report", async || {
        let status = front.status(reference.query).await;
        (status.status == 200 && status.query_status().state == "FINAL_ALL_ANSWERED").then_some(())
    })
    .await;
    let (request, key) = (&query.prepared.request, query.prepared.report_key.id());
    let grant = front.grant(reference.query, &request.subject, key, SystemClock.now());
    let uses = futures::stream::iter(0..USES).map(|_| front.view(reference.query, grant.clone()));
    let shown: Vec<Answer> = uses.buffer_unordered(AT_A_TIME).collect().await;
    let refused = shown.iter().filter(|answer| answer.status != 200).map(Answer::code);
    assert_eq!(refused.collect::<Vec<_>>(), [""; 0]);
    assert!(shown.iter().all(|answer| *answer == shown[0]), "not the same bytes for all");
    system.settle().await;
    let events = system.records(&system.local.topics().event(&reference.upstream)).await;
    let viewed = events.into_iter().filter(|record| {
        let event = wire::EventRecord::decode(record.value.clone()).expect("an event");
        matches!(event.message, Some(event_record::Message::Viewed(_)))
    });
    assert_eq!(viewed.count(), 1, "one view");
    system.finish();
}
