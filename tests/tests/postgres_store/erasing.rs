//! The end of a day: content goes, its key goes, and whoever is killed in between is followed by one who goes on.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aggregator::domain::assembly::{Event, apply};
use aggregator::domain::query::{Final, FinalKind, Query, State};
use aggregator::store::{
    Clock, DayKeys, NewQuery, PostgresStore, Registered, SealedContact, Store as _, StoreResult, Tx as _,
};
use bytes::Bytes;
use cardquery_tests::backup;
use jiff::civil::Date;
use plumbing::postgres::PostgresConfig;
use schemas::wire;

use crate::stand::{Stand, bank, calendar, nonce, query, until, window};

const DAY: Duration = Duration::from_secs(24 * 3600);
const SEGMENT: &[u8] = b"a sealed segment of alpha";

fn contact() -> SealedContact {
    let statement = wire::Signed { body: Bytes::from_static(b"a statement"), ..Default::default() };
    SealedContact { statement, sealed: Bytes::from_static(b"a sealed contact") }
}

fn coverage() -> wire::Signed {
    wire::Signed { body: Bytes::from_static(b"a signed coverage"), ..Default::default() }
}

impl Stand {
    /// A query with a final report, and everything that is kept of one.
    async fn reported(&self) -> Query {
        let query = query(self.clock.now(), &["alpha"]);
        let report = Final {
            kind: FinalKind::AllAnswered,
            finalised_at: self.clock.now(),
            outcomes: Default::default(),
        };
        let reported = Query { state: State::Final(report), ..query };
        let mut tx = self.store.begin().await.expect("begun");
        let new = NewQuery { query: reported.clone(), nonce: Some(nonce()), contact: Some(contact()) };
        assert_eq!(tx.register(&new).await.expect("registered"), Registered::New);
        tx.keep_segment(&reported.reference, &bank("alpha"), &Bytes::from_static(SEGMENT))
            .await
            .expect("kept");
        tx.keep_coverage(&reported.reference, &coverage()).await.expect("kept");
        tx.commit().await.expect("committed");
        reported
    }

    /// As another instance sees it: nothing is remembered.
    fn instance(&self) -> PostgresStore {
        let keys = DayKeys::open(self.keys.path()).expect("a directory");
        PostgresStore::on_clock(self.pool.clone(), keys, Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    fn today(&self) -> Date {
        calendar().day(self.clock.now())
    }

    fn key_file(&self, day: Date) -> PathBuf {
        self.keys.path().join(format!("{day}.key"))
    }

    /// Tables of a day, attached or not.
    async fn tables(&self, day: Date) -> Vec<String> {
        const TABLES: &str = "SELECT relname::text FROM pg_class
            WHERE relkind = 'r' AND relname ~ '^(segment|coverage|contact)_' AND relname LIKE '%' || $1 ORDER BY 1";
        let digits = day.strftime("%Y%m%d").to_string();
        sqlx::query_scalar(TABLES).bind(digits).fetch_all(&self.pool).await.expect("tables")
    }

    async fn assert_erased(&self, query: &Query) {
        let day = query.times.erase_on;
        assert_eq!(self.tables(day).await, [""; 0]);
        assert!(!self.key_file(day).exists(), "its key is destroyed");
        assert_eq!(self.store.report(&query.reference).await.expect("read"), None);
        assert_eq!(self.store.contact(&query.reference).await.expect("read"), None);
        let erased = self.store.erased_days().await.expect("read");
        let erased = erased.into_iter().find(|erased| erased.day == day).expect("it is erased");
        assert_eq!(erased.queries, 1);
        assert_eq!(erased.tables, ["segment", "coverage", "contact"]);
        let state = self.store.query(&query.reference).await.expect("read").expect("is there").state;
        assert!(matches!(state, State::Erased { .. }), "{state:?}");
    }
}

/// One round of an instance, without the hub around it.
async fn round(store: &PostgresStore, today: Date) -> StoreResult<()> {
    store.erase_through(today).await?;
    store.erase_content().await?;
    let due = store.to_erase(9).await?;
    let mut tx = store.begin().await?;
    for query in tx.lock(&due).await?.into_values() {
        let now = store.now().await?;
        tx.save(&apply(query, Event::Erased, now, &window()).0).await?;
    }
    tx.commit().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_whose_eraser_was_killed_at_any_step_is_erased_by_the_next_one() {
    const STEPS: usize = 5;
    let stand = Stand::new().await;
    for killed_after in 0..STEPS {
        stand.store.make_days(&calendar()).await.expect("days");
        let query = stand.reported().await;
        let day = query.times.erase_on;
        let newer = {
            stand.clock.advance(DAY);
            stand.reported().await
        };
        stand.clock.advance(7 * DAY);
        assert_eq!(stand.today(), day);
        let killed = stand.instance();
        // K-E1, K-E2, K-E3, and before the key's destruction is noted.
        if killed_after > 0 {
            killed.erase_through(day).await.expect("the watermark moved");
            assert_eq!(stand.tables(day).await.len(), 3);
        }
        if killed_after > 1 {
            killed.detach_days().await.expect("detached");
            assert_eq!(stand.tables(day).await.len(), 3, "detached, and there");
        }
        if killed_after > 2 {
            killed.drop_days().await.expect("dropped");
            assert_eq!(stand.tables(day).await, [""; 0]);
            assert!(stand.key_file(day).exists());
        }
        if killed_after > 3 {
            fs::remove_file(stand.key_file(day)).expect("removed");
        }
        let next = stand.instance();
        if killed_after < 3 {
            assert_eq!(next.report(&query.reference).await.expect("read").is_some(), killed_after < 2);
        }
        round(&next, day).await.expect("erased");
        stand.assert_erased(&query).await;
        let report = stand.store.report(&newer.reference).await.expect("read").expect("its day is not over");
        assert_eq!(report.segments[&bank("alpha")], SEGMENT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_erase_at_once_while_others_write_erase_once_and_lose_nothing() {
    const INSTANCES: usize = 4;
    let stand = Stand::new().await;
    let query = stand.reported().await;
    stand.clock.advance(8 * DAY);
    stand.store.make_days(&calendar()).await.expect("days");
    let today = stand.today();
    let erasing = (0..INSTANCES).map(|_| {
        let (instance, day) = (stand.instance(), query.times.erase_on);
        async move {
            // Who finds another one at it, or waits for it for too long, comes again, as the sweep does.
            until("the day's erasure", async || {
                let _tried_again: StoreResult<()> = round(&instance, today).await;
                let erased = instance.erased_days().await.expect("read");
                erased.iter().any(|erased| erased.day == day)
            })
            .await;
        }
    });
    let writing = (0..20).map(|_| stand.reported());
    let (_erased, written) =
        futures::join!(futures::future::join_all(erasing), futures::future::join_all(writing));
    stand.assert_erased(&query).await;
    for query in written {
        let report = stand.store.report(&query.reference).await.expect("read");
        assert_eq!(report.expect("is there").segments[&bank("alpha")], SEGMENT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_end_delays_one_table_and_keeps_back_nobody() {
    let stand = Stand::new().await;
    let query = stand.reported().await;
    let day = query.times.erase_on;
    let mut reading = stand.pool.begin().await.expect("begun");
    sqlx::query("SELECT FROM segment").execute(&mut *reading).await.expect("read");
    stand.clock.advance(8 * DAY);
    stand.store.make_days(&calendar()).await.expect("days");

    let (erasing, written) = futures::join!(round(&stand.store, day), stand.reported());
    erasing.expect_err("the reader is not waited for");
    assert_eq!(
        stand.tables(day).await,
        [format!("segment_{}", day.strftime("%Y%m%d"))],
        "the table that is read"
    );
    assert!(stand.key_file(day).exists(), "a key outlives its tables");
    assert!(stand.store.report(&written.reference).await.expect("read").is_some());
    let pending: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_inherits WHERE inhdetachpending")
        .fetch_one(&stand.pool)
        .await
        .expect("a count");
    assert_eq!(pending, 1, "it is half detached");
    stand.store.make_days(&calendar()).await.expect("days can be made meanwhile");
    let other = stand.reported().await;
    assert!(stand.store.report(&other.reference).await.expect("read").is_some());

    reading.rollback().await.expect("ended");
    round(&stand.instance(), day).await.expect("erased");
    stand.assert_erased(&query).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_for_an_erased_day_is_not_kept_and_stops_nobody() {
    let stand = Stand::new().await;
    let query = stand.reported().await;
    let (day, segment) = (query.times.erase_on, Bytes::from_static(SEGMENT));
    // Began before the day was over, and was slow.
    stand.clock.advance(8 * DAY);
    stand.store.make_days(&calendar()).await.expect("days");
    round(&stand.store, day).await.expect("erased");
    for instance in [stand.store.clone(), stand.instance()] {
        let mut tx = instance.begin().await.expect("begun");
        tx.lock(&BTreeSet::from([query.reference.clone()])).await.expect("locked");
        tx.keep_segment(&query.reference, &bank("alpha"), &segment).await.expect("taken");
        tx.keep_coverage(&query.reference, &coverage()).await.expect("taken");
        tx.commit().await.expect("everything else is written");
    }
    stand.assert_erased(&query).await;
    assert!(!stand.key_file(day).exists(), "nobody made its key again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_query_of_an_erased_day_leaves_no_row() {
    const ROWS: &str = "SELECT (SELECT count(*) FROM query) + (SELECT count(*) FROM consent) + \
        (SELECT count(*) FROM nonce) + (SELECT count(*) FROM contact)";
    let stand = Stand::new().await;
    let mut late = query(stand.clock.now(), &["alpha"]);
    late.times.erase_on = stand.today();
    round(&stand.store, stand.today()).await.expect("erased");
    let mut tx = stand.store.begin().await.expect("begun");
    let (nonce, consents) = (nonce(), BTreeSet::from([late.reference.clone()]));
    let plan = aggregator::store::Plan { consents, nonces: BTreeSet::from([nonce]), ..Default::default() };
    tx.prepare(&plan).await.expect("prepared");
    let new = NewQuery { query: late, nonce: Some(nonce), contact: Some(contact()) };
    assert_eq!(tx.register(&new).await.expect("answered"), Registered::Erased);
    tx.commit().await.expect("committed");
    let rows: i64 = sqlx::query_scalar(ROWS).fetch_one(&stand.pool).await.expect("a count");
    assert_eq!(rows, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_missing_or_another_stops_the_start_and_is_not_made_again() {
    let stand = Stand::new().await;
    let query = stand.reported().await;
    let (day, file) = (query.times.erase_on, stand.key_file(query.times.erase_on));
    let key = fs::read(&file).expect("a key");
    fs::remove_file(&file).expect("removed");
    let missing = stand.instance().make_days(&calendar()).await.expect_err("it is missing");
    assert!(missing.to_string().contains(&day.to_string()), "{missing}");
    assert!(!file.exists(), "not made again");
    let unreadable = stand.instance().report(&query.reference).await.expect_err("nothing opens it");
    assert!(unreadable.to_string().contains(&day.to_string()), "{unreadable}");

    fs::write(&file, "ab".repeat(32)).expect("written");
    let other = stand.instance().make_days(&calendar()).await.expect_err("it is another");
    assert!(other.to_string().contains("is not the key of"), "{other}");
    stand.instance().report(&query.reference).await.expect_err("it does not open");

    fs::write(&file, key).expect("written");
    let mended = stand.instance();
    assert_eq!(mended.make_days(&calendar()).await.expect("all is there"), 0);
    assert!(mended.report(&query.reference).await.expect("opens").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_opens_with_the_keys_of_its_days_and_after_their_erasure_with_none_that_is_left() {
    let stand = Stand::new().await;
    let query = stand.reported().await;
    let day = query.times.erase_on;
    let backup = backup::dump(&stand.database.url());
    let text = String::from_utf8_lossy(&backup);
    for plain in [SEGMENT, b"a signed coverage", b"a statement", b"a sealed contact"] {
        assert!(!text.contains(&hex::encode(plain)), "content stands in the backup as it is");
    }

    let database = backup::restored(&backup).await;
    let pool = PostgresConfig::new(database.url()).pool("aggregator.test", 4).expect("a pool");
    let open = |keys: DayKeys| {
        PostgresStore::on_clock(pool.clone(), keys, Arc::clone(&stand.clock) as Arc<dyn Clock>)
    };
    let with_keys = open(DayKeys::open(stand.keys.path()).expect("a directory"));
    let report = with_keys.report(&query.reference).await.expect("opens").expect("is there");
    assert_eq!((&*report.segments[&bank("alpha")], report.coverage), (SEGMENT, coverage()));
    assert_eq!(with_keys.contact(&query.reference).await.expect("opens"), Some(contact()));

    stand.clock.advance(8 * DAY);
    stand.store.make_days(&calendar()).await.expect("days");
    round(&stand.store, day).await.expect("erased");
    stand.assert_erased(&query).await;
    let without = open(DayKeys::open(stand.keys.path()).expect("a directory"));
    without.report(&query.reference).await.expect_err("its key is gone");
    without.contact(&query.reference).await.expect_err("its key is gone");
    let left: Vec<PathBuf> =
        fs::read_dir(stand.keys.path()).expect("readable").map(|key| key.expect("an entry").path()).collect();
    assert!(left.len() >= 14, "{left:?}");
    for key in left {
        let folder = tempfile::tempdir().expect("a folder");
        fs::copy(&key, folder.path().join(format!("{day}.key"))).expect("copied");
        let tried = open(DayKeys::open(folder.path()).expect("a directory"));
        tried.report(&query.reference).await.expect_err("no key that is left opens it");
        tried.contact(&query.reference).await.expect_err("no key that is left opens it");
    }
    // The restored database itself erases what its days have become, without a key to do it with.
    round(&without, day).await.expect("erased");
    assert_eq!(without.report(&query.reference).await.expect("read"), None);
    pool.close().await;
}
