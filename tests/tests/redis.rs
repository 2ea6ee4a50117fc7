//! Redis makes the hub faster and refuses sooner, never righter: whatever becomes of it, calls end the same.

#[path = "redis/script.rs"]
mod script;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregator::config::{Secrets, StoreKind};
use aggregator::domain::refusals::MAX_REFUSED;
use aggregator::domain::subject::SubjectKey;
use aggregator::store::contract::ManualClock;
use aggregator::store::{DayKeys, PostgresStore, Store};
use cardquery::sample;
use cardquery_tests::hub_stage::{Patience, Stage, TestHub};
use cardquery_tests::redis_server::RedisServer;
use cardquery_tests::stack::{Stack, TestDatabase};
use jiff::tz::TimeZone;
use plumbing::exit::Exit;
use plumbing::lifecycle::Lifecycle;
use plumbing::postgres::PostgresConfig;
use schemas::codes::Code;
use schemas::http::QueryStatus;
use schemas::ids::Reference;
use schemas::registry::PartyName;
use schemas::time::Calendar;
use tempfile::TempDir;
use tokio::net::TcpListener;

use self::script::{BURST, Numbers, QUERIES, Step, furnish, play, script, shown};

const SEEDS: [u64; 3] = [1, 2, 3];
const CONNECTIONS: u32 = 16;

/// What is done to Redis before each call of a script.
enum Trouble {
    Nothing,
    Command(&'static [&'static str]),
    /// Before the call with this number.
    KilledAt(usize),
    KilledAndRestartedAt([usize; 2]),
    FrozenAt(usize),
    /// One of its keys, if there are any.
    OneKeyLostEachTime,
}

async fn run(stage: &Stage, seed: u64, redis: &mut RedisServer, trouble: &Trouble) -> Vec<String> {
    let patience = if matches!(trouble, Trouble::FrozenAt(_)) { Patience::Short } else { Patience::Long };
    let hub = stage.hub(Some((&redis.url(), patience)), BURST);
    furnish(stage, &hub).await;
    let mut outcomes = Vec::new();
    for (number, step) in script(seed).iter().enumerate() {
        match trouble {
            Trouble::Nothing => {}
            Trouble::Command(command) => redis.ask(command).await,
            Trouble::KilledAt(when) => {
                if number == *when {
                    redis.kill();
                }
            }
            Trouble::KilledAndRestartedAt(when) => {
                if when.contains(&number) {
                    redis.kill();
                    outcomes.push(play(stage, &hub, &script(seed)[number]).await);
                    redis.restart().await;
                    continue;
                }
            }
            Trouble::FrozenAt(when) => {
                if number == *when {
                    redis.freeze();
                }
            }
            Trouble::OneKeyLostEachTime => {
                if let Some(key) = redis.ask::<Option<String>>(&["RANDOMKEY"]).await {
                    redis.ask::<()>(&["DEL", &key]).await;
                }
            }
        }
        outcomes.push(play(stage, &hub, step).await);
    }
    outcomes
}

async fn without_redis(stage: &Stage, seed: u64) -> Vec<String> {
    let hub = stage.hub(None, BURST);
    furnish(stage, &hub).await;
    let mut outcomes = Vec::new();
    for step in &script(seed) {
        outcomes.push(play(stage, &hub, step).await);
    }
    outcomes
}

#[track_caller]
fn same(what: &str, seed: u64, outcomes: &[String], expected: &[String]) {
    let steps = script(seed);
    assert_eq!(outcomes.len(), steps.len());
    for (number, step) in steps.iter().enumerate() {
        assert_eq!(outcomes[number], expected[number], "{what}, seed {seed}, call {number}: {step:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_end_the_same_whatever_becomes_of_redis() {
    let stage = Stage::start().await;
    let mut redis = RedisServer::start().await;
    let mut met = String::new();
    for seed in SEEDS {
        let expected = without_redis(&stage, seed).await;
        met.push_str(&expected.concat());
        let troubles = [
            ("present", Trouble::Nothing),
            ("flushed", Trouble::Command(&["FLUSHALL"])),
            ("without its scripts", Trouble::Command(&["SCRIPT", "FLUSH"])),
            ("one key lost", Trouble::OneKeyLostEachTime),
            ("killed and restarted", Trouble::KilledAndRestartedAt([60, 150])),
            ("frozen", Trouble::FrozenAt(100)),
            ("killed", Trouble::KilledAt(100)),
        ];
        for (what, trouble) in troubles {
            let outcomes = run(&stage, seed, &mut redis, &trouble).await;
            same(what, seed, &outcomes, &expected);
            redis.restart().await;
        }
    }
    for end in script::ends() {
        assert!(met.contains(end), "no call ended with {end}: the scripts show less than they should");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_end_the_same_when_redis_has_no_memory_left() {
    let stage = Stage::start().await;
    let mut redis = RedisServer::start().await;
    for seed in SEEDS {
        let expected = without_redis(&stage, seed).await;
        for policy in ["noeviction", "allkeys-random", "volatile-ttl"] {
            redis.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", policy]).await;
            // Less than an empty server needs: each write evicts, or is refused.
            redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
            let starved = run(&stage, seed, &mut redis, &Trouble::Nothing).await;
            same(policy, seed, &starved, &expected);
            // A little more than it needs now: some keys go, others stay.
            let info: String = redis.ask(&["INFO", "memory"]).await;
            let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("a figure");
            let some = used.trim().parse::<u64>().expect("a number") + 4_096;
            redis.ask::<()>(&["CONFIG", "SET", "maxmemory", &some.to_string()]).await;
            let short = run(&stage, seed, &mut redis, &Trouble::Nothing).await;
            same(policy, seed, &short, &expected);
            redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
            redis.ask::<()>(&["FLUSHALL"]).await;
        }
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "a figure is for whoever reads the output, and no verdict")]
async fn a_redis_that_never_answers_changes_nothing_and_costs_little() {
    let stage = Stage::start().await;
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("redis://{}/", silent.local_addr().expect("bound"));
    let listener = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = silent.accept().await {
            held.push(connection);
        }
    });
    let seed = SEEDS[0];
    let expected = without_redis(&stage, seed).await;
    let hub = stage.hub(Some((&url, Patience::Default)), BURST);
    furnish(&stage, &hub).await;
    let (mut outcomes, mut took) = (Vec::new(), Vec::new());
    for step in &script(seed) {
        let began = Instant::now();
        outcomes.push(play(&stage, &hub, step).await);
        if !matches!(step, Step::Pass(_)) {
            took.push(began.elapsed());
        }
    }
    same("black-holed", seed, &outcomes, &expected);
    for _ in 0..2_000 {
        let began = Instant::now();
        play(&stage, &hub, &Step::Status(0)).await;
        took.push(began.elapsed());
    }
    took.sort();
    let at = |part: usize| took[(took.len() - 1) * part / 1_000];
    eprintln!(
        "redis black-holed, {} calls: p50 {:?}, p99 {:?}, max {:?}",
        took.len(),
        at(500),
        at(990),
        at(1_000)
    );
    listener.abort();
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_is_used_again() {
    let stage = Stage::start().await;
    let mut redis = RedisServer::start().await;
    let hub = stage.hub(Some((&redis.url(), Patience::Short)), BURST);
    furnish(&stage, &hub).await;
    let remembered = async |redis: &RedisServer| {
        for _ in 0..500 {
            play(&stage, &hub, &Step::Status(0)).await;
            if redis.ask::<u64>(&["DBSIZE"]).await > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nothing is remembered any more");
    };
    remembered(&redis).await;
    redis.kill();
    for _ in 0..10 {
        play(&stage, &hub, &Step::Status(0)).await;
    }
    redis.restart().await;
    remembered(&redis).await;
    redis.freeze();
    for _ in 0..10 {
        play(&stage, &hub, &Step::Status(0)).await;
    }
    redis.thaw();
    redis.ask::<()>(&["FLUSHALL"]).await;
    remembered(&redis).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_content_of_redis_opens_anything() {
    let stage = Stage::start().await;
    let redis = RedisServer::start().await;
    for seed in SEEDS {
        let hub = stage.hub(Some((&redis.url(), Patience::Long)), BURST);
        let alone = stage.twin(&hub);
        furnish(&stage, &hub).await;
        let mut numbers = Numbers::of(seed);
        let mut shown_reports = 0;
        for (number, step) in script(seed).iter().enumerate() {
            plant(&redis, &mut numbers).await;
            let told = play(&stage, &hub, step).await;
            match step {
                // What the store shows it shows again for the same grant.
                Step::View(_) if told.starts_with("report ") => {
                    shown_reports += 1;
                    let stored = play(&stage, &alone, step).await;
                    assert_eq!(told, stored, "seed {seed}, call {number}: {step:?}");
                }
                Step::View(_) | Step::Admit | Step::Withdraw(_) | Step::Pass(_) => {}
                Step::Status(_) => {
                    let stored = play(&stage, &alone, step).await;
                    assert_eq!(told, stored, "seed {seed}, call {number}: {step:?}");
                }
            }
        }
        assert!(shown_reports > 3, "the garbage refused everything");
        redis.ask::<()>(&["FLUSHALL"]).await;
    }
    stage.stop().await;
}

/// Puts something wrong under every key that is there, of any type, and into the fields of hashes.
async fn plant(redis: &RedisServer, numbers: &mut Numbers) {
    let other = serde_json::to_string(&QueryStatus {
        query_id: uuid::Uuid::now_v7().to_string(),
        state: "FINAL_ALL_ANSWERED".into(),
        code: None,
        hold: None,
        accepted_at: String::new(),
        deadline_at: String::new(),
        finalised_at: None,
        erase_on: String::new(),
        banks: 2,
        answered: 2,
        content_digest: String::new(),
    });
    let other = other.expect("json");
    let values = ["", "nonsense", "OK", "nan", "inf", "-1", "99999999999999999999", "null", "\u{0}", &other];
    for key in redis.ask::<Vec<String>>(&["KEYS", "test:*"]).await {
        let value = values[usize::from(numbers.below(10))];
        let is_hash = redis.ask::<String>(&["TYPE", &key]).await == "hash";
        if key.contains(":denied:") && is_hash && numbers.below(3) > 0 {
            for field in redis.ask::<Vec<String>>(&["HKEYS", &key]).await {
                // The words of another field too, and words that refuse nothing.
                let word =
                    ["OK", "GRANTED", "", "REPORT_NOT_READY", "VIEW_LOCKED"][usize::from(numbers.below(5))];
                let word = if field == "locked" && word == "VIEW_LOCKED" { "GRANT_USED" } else { word };
                redis.ask::<()>(&["HSET", &key, &field, word]).await;
            }
            continue;
        }
        redis.ask::<()>(&["DEL", &key]).await;
        match numbers.below(4) {
            0 => redis.ask::<()>(&["RPUSH", &key, value]).await,
            1 => redis.ask::<()>(&["HSET", &key, "locked", value]).await,
            _ => redis.ask::<()>(&["SET", &key, value]).await,
        }
    }
}

/// A hub on a database of its own.
async fn on_postgres(
    stage: &Stage,
    redis: &RedisServer,
) -> (TestHub<PostgresStore>, (TestDatabase, TempDir)) {
    let database = Stack::get().database().await;
    let pool = PostgresConfig::new(database.url()).pool("aggregator.test", CONNECTIONS).expect("a pool");
    PostgresStore::migrate(&pool).await.expect("tables");
    // All of them are there before the first call, or calls would queue for the first one.
    let connections = (0..CONNECTIONS).map(|_| pool.acquire());
    drop(futures::future::try_join_all(connections).await.expect("connections"));
    let clock = Arc::new(ManualClock::new());
    let folder = tempfile::tempdir().expect("a folder");
    let keys = DayKeys::open(folder.path()).expect("a directory");
    let store = PostgresStore::on_clock(pool, keys, Arc::clone(&clock) as _);
    store.make_days(&Calendar::Civil(TimeZone::UTC)).await.expect("days");
    let hub = stage.hub_on(store, clock, Some((&redis.url(), Patience::Long)), BURST);
    furnish(stage, &hub).await;
    (hub, (database, folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_end_the_same_on_postgres_and_redis_as_on_the_store_in_memory_alone() {
    let stage = Stage::start().await;
    let redis = RedisServer::start().await;
    for seed in SEEDS {
        let (hub, _database) = on_postgres(&stage, &redis).await;
        let mut outcomes = Vec::new();
        for step in &script(seed) {
            outcomes.push(play(&stage, &hub, step).await);
        }
        same("postgres", seed, &outcomes, &without_redis(&stage, seed).await);
        redis.ask::<()>(&["FLUSHALL"]).await;
    }
    stage.stop().await;
}

/// Each connection of the pool has its own transaction, so that they meet.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_grants_refused_at_once_five_learn_why_although_redis_is_flushed() {
    let stage = Stage::start().await;
    let redis = RedisServer::start().await;
    let (hub, _database) = on_postgres(&stage, &redis).await;
    let mut codes: BTreeMap<String, u32> = BTreeMap::new();
    for round in 0..4 {
        // Of as many queries, none of them there: no lock of a query puts them in a row.
        let views = (0..50).map(|number| present(&stage, &hub, 33 + 3 * number, round * 50 + number));
        for code in futures::future::join_all(views).await {
            let code = code.split(' ').next().expect("a word").to_owned();
            *codes.entry(code).or_default() += 1;
        }
        redis.ask::<()>(&["FLUSHALL"]).await;
    }
    let expected = [(Code::QUERY_NOT_FOUND, MAX_REFUSED), (Code::VIEW_LOCKED, 200 - MAX_REFUSED)];
    assert_eq!(codes, expected.map(|(code, count)| (code.to_string(), count)).into());
    stage.stop().await;
}

async fn present<S: Store>(stage: &Stage, hub: &TestHub<S>, query: u8, number: u8) -> String {
    let (path, grant) = script::other_device(query, number).grant(stage, hub).await;
    shown(hub.hub.view(&stage.reference(path), grant).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_grant_used_by_many_at_once_is_one_view() {
    let stage = Stage::start().await;
    let redis = RedisServer::start().await;
    let hub = stage.hub(Some((&redis.url(), Patience::Long)), BURST);
    furnish(&stage, &hub).await;
    let (path, grant) = script::good(0, 1).grant(&stage, &hub).await;
    let reference = stage.reference(path);
    let views = (0..1_000).map(|_| hub.hub.view(&reference, grant.clone()));
    let shown: Vec<_> = futures::future::join_all(views).await;
    assert!(shown.iter().all(|outcome| outcome.is_ok() && *outcome == shown[0]));
    let (waiting, _) = hub.hub.store.outbox_depth().await.expect("a store");
    assert_eq!(waiting, 1, "one event");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_the_limit_of_an_upstream_while_redis_is_there() {
    let stage = Stage::start().await;
    let mut redis = RedisServer::start().await;
    let hubs = [(); 2].map(|()| stage.hub(Some((&redis.url(), Patience::Long)), 10));
    let mut admitted = [0; 2];
    for _ in 0..8 {
        for (hub, admitted) in hubs.iter().zip(&mut admitted) {
            *admitted += u32::from(play(&stage, hub, &Step::Admit).await == "admitted");
        }
    }
    assert_eq!(admitted.iter().sum::<u32>(), 10);
    redis.kill();
    for (hub, admitted) in hubs.iter().zip(&mut admitted) {
        for _ in 0..20 {
            *admitted += u32::from(play(&stage, hub, &Step::Admit).await == "admitted");
        }
    }
    // What Redis refused had passed the process, and counts there: eight of ten each.
    assert_eq!(admitted.iter().sum::<u32>(), 10 + 2 * 2);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_outlives_its_use_and_none_names_a_person() {
    let stage = Stage::start().await;
    let redis = RedisServer::start().await;
    let hub = stage.hub(Some((&redis.url(), Patience::Long)), BURST);
    furnish(&stage, &hub).await;
    let mut kinds = BTreeMap::new();
    for step in &script(SEEDS[0]) {
        play(&stage, &hub, step).await;
        for key in redis.ask::<Vec<String>>(&["KEYS", "*"]).await {
            let left: i64 = redis.ask(&["PTTL", &key]).await;
            // Gone since it was named, or bounded: an hour is the longest.
            assert!(left == -2 || (0..=3_600_000).contains(&left), "{key}: {left} ms");
            let kind = key.split(':').nth(1).expect("a kind").to_owned();
            let dump: String = match kind.as_str() {
                "denied" => redis.ask::<Vec<String>>(&["HGETALL", &key]).await.concat(),
                _ => redis.ask::<Option<String>>(&["GET", &key]).await.unwrap_or_default(),
            };
            for query in 0..QUERIES {
                let person = script::subject(query);
                assert!(!key.contains(&person) && !dump.contains(&person), "{key}: {dump}");
            }
            kinds.insert(kind, key);
        }
    }
    assert_eq!(kinds.keys().collect::<Vec<_>>(), ["denied", "rate", "status"]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_asks_redis_where_its_url_file_says_and_refuses_a_file_without_a_url() {
    let stage = Stage::start().await;
    let redis = RedisServer::start().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut config = stage.aggregator_config();
    config.store = StoreKind::Memory;
    config.redis.url_file = file.path().to_owned();
    config.redis.timeout_ms = 1_000;
    let start = async |url: &str, lifecycle: &mut Lifecycle| {
        std::fs::write(file.path(), url).expect("written");
        let secrets = Secrets {
            signing_key: sample::keys::signing(&PartyName::hub()),
            subject_key: SubjectKey::ephemeral(),
            redis: config.redis.url().expect("readable"),
        };
        aggregator::start(config.clone(), secrets, lifecycle).await
    };
    let mut lifecycle = Lifecycle::new();
    let failed = start("127.0.0.1 with hunter2", &mut lifecycle).await.expect_err("no URL");
    assert_eq!(failed.exit(), Exit::Config);
    assert!(
        failed.to_string().contains("redis.url_file") && !failed.to_string().contains("hunter2"),
        "{failed}"
    );

    let running = start(&redis.url(), &mut lifecycle).await.expect("started");
    let Reference { upstream, query } = stage.reference(0);
    let url = format!("http://{}/v1/upstreams/{upstream}/queries/{query}", running.addr);
    let client = plumbing::http::client(None).expect("no file can be wrong");
    // A call that finds the connection still being made goes on without Redis.
    let seen = async {
        loop {
            assert_eq!(client.get(&url).send().await.expect("an answer").status(), 404);
            let keys: Vec<String> = redis.ask(&["KEYS", "*"]).await;
            if !keys.is_empty() {
                return keys;
            }
        }
    };
    let keys = tokio::time::timeout(Duration::from_secs(20), seen).await.expect("Redis is asked");
    assert_eq!(keys, [format!("cardquery:rate:{upstream}")]);
    lifecycle.stop(Duration::from_secs(20)).await;
    stage.stop().await;
}
