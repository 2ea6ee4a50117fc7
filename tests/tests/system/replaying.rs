//! A query comes again from its topic when the day of its erasure is over.

use aggregator::metric_names;
use cardquery::local::plan::Part;
use cardquery_tests::system::{Setup, System};
use secrecy::ExposeSecret;
use sqlx::{Connection, Executor, PgConnection};

/// What the erase day and the two weeks after it leave of a query: the watermark and the audit log. The clock stays where
/// it is.
const TIME_PASSES: &str = "
    UPDATE watermark SET erased_through = (SELECT max(erase_on) FROM query);
    TRUNCATE query, pair, consent, nonce, grant_use, segment, coverage, contact";

#[tokio::test(flavor = "multi_thread")]
async fn a_query_replayed_after_its_erase_day_is_refused_and_nobody_hears_of_it() {
    let mut system = System::start(Setup { banks: ["anhe", "beichuan"].into(), ..Setup::default() }).await;
    let query = system.ask("wang").await;
    assert_eq!(system.ended(&query).await.state, "FINAL_ALL_ANSWERED");
    system.settle().await;
    assert_eq!(system.terminate("aggregator").await, 0);
    let url = system.local.database_url(&Part::Aggregator).expect("it has a database");
    let mut session = PgConnection::connect(url.expose_secret()).await.expect("connected");
    session.execute(TIME_PASSES).await.expect("passed");
    let before = system.ends().await;
    let topics = system.local.topics();
    system.read_again(topics.group("aggregator.query"), &topics.query(&query.reference.upstream)).await;

    system.spawn("aggregator");
    system.ready("aggregator").await;
    system.settle().await;
    let refused = format!("{}{{code=\"REPORT_ERASED\"}} 1", metric_names::QUERIES);
    let metrics = system.metrics("aggregator").await;
    assert!(metrics.lines().any(|line| line == refused), "it was read, and refused: {metrics}");
    assert_eq!(system.ends().await, before, "no bank is asked, no event told, no notice, no SMS");
    let answer = system.front().status(query.reference.query).await;
    assert_eq!(answer.code(), "QUERY_NOT_FOUND");
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM query").fetch_one(&mut session).await.expect("read");
    assert_eq!(rows, 0, "no row");
    session.close().await.expect("closed");
    system.finish();
}
