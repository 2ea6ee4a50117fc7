//! Nothing that was planted appears outside a seal: not in logs, not in metrics, not in what goes to the hub.

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use bank_connector::domain::found::Found;
use bank_connector::domain::identity::Identity;
use bank_connector::source::sql::SqlSource;
use bank_connector::source::{CardSource, SourceError};
use futures::future::BoxFuture;
use plumbing::telemetry::{LogStyle, logs_to};
use schemas::wire::{AnswerKind, ReplyOutcome};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tracing_subscriber::EnvFilter;

use support::{Query, Stand};

const CANARIES: [&str; 7] = [
    "王小明",
    "11010519491231002",
    "13800000001",
    "629901000000000001",
    "999999999999",
    "AML-CANARY",
    "subject-1",
];

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The SQL source, with a file that can be taken away and tables that can be changed.
struct Core(SqlSource);

impl CardSource for Core {
    fn look_up<'a>(&'a self, identity: &'a Identity) -> BoxFuture<'a, Result<Found, SourceError>> {
        self.0.look_up(identity)
    }
}

const CONFIG: &str = r#"
    covers = ["DEBIT"]
    [sql]
    url = "unset"
    customer_statement = "SELECT * FROM k WHERE id = $1"
    cards_statement = "SELECT * FROM c WHERE id = $1"
    customer = { name = "nm", phone = "tel", withheld = "why" }
    cards = { pan = "nr", kind = "kind", status = "state" }
    values.kind = { "D" = "DEBIT" }
    values.status = { "0" = "NORMAL" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_person_or_a_card_appears_outside_the_seal() {
    let log = Log::default();
    let writer = log.clone();
    // Everything of ours; librdkafka would print every frame.
    let filter = EnvFilter::new("info,bank_connector=trace,plumbing=trace,sqlx=trace");
    let subscriber = logs_to(move || writer.clone(), LogStyle::Json, filter);
    tracing::subscriber::set_global_default(subscriber).expect("only here");

    let mut stand = Stand::new("yunhe", &[support::hub_entry(), support::wallet_entry()]).await;
    let path = stand.folder.path().join("core.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    // What the bank's core does is none of the connector's logs.
    let mut database = options.disable_statement_logging().connect().await.expect("created");
    sqlx::raw_sql(
        "CREATE TABLE k (id TEXT, nm TEXT, tel TEXT, why TEXT);
         CREATE TABLE c (id TEXT, nr TEXT, kind TEXT, state TEXT);
         INSERT INTO k VALUES ('11010519491231002X', '王小明', '13800000001', NULL);
         INSERT INTO c VALUES ('11010519491231002X', '6299010000000000018', 'D', '0');
         INSERT INTO c VALUES ('11010519491231002X', '6299999999999999', 'D', '0');",
    )
    .execute(&mut database)
    .await
    .expect("filled");
    let mut config: bank_connector::config::SourceConfig = toml::from_str(CONFIG).expect("reads");
    config.sql.url = format!("sqlite://{}", path.display());
    let source = SqlSource::new(config.sql, config.covers).expect("usable");
    let config = stand.config();
    stand.start(config, Arc::new(Core(source))).await;

    let mut records = Vec::new();
    let mut ask = async |stand: &mut Stand, forge: bool| {
        let query = Query::new(&stand.bank);
        if forge {
            let share = schemas::submission::BankShare {
                sealed_identity: query.reseal(&support::stranger()),
                ..query.share.clone()
            };
            stand.send(&query, query.forged(&share)).await;
        } else {
            stand.send(&query, query.request(1)).await;
        }
        let record = stand.next_record().await;
        let reply = stand.verify(&record);
        records.push(record);
        (reply.outcome == ReplyOutcome::Answered).then(|| query.open(&reply).kind())
    };
    assert_eq!(ask(&mut stand, false).await, Some(AnswerKind::Cards));
    assert_eq!(ask(&mut stand, true).await, None);
    sqlx::query("UPDATE k SET why = 'AML-CANARY'").execute(&mut database).await.expect("held");
    assert_eq!(ask(&mut stand, false).await, Some(AnswerKind::Withheld));
    sqlx::query("UPDATE k SET tel = '13800000002'").execute(&mut database).await.expect("changed");
    assert_eq!(ask(&mut stand, false).await, Some(AnswerKind::IdentityMismatch));
    sqlx::query("DROP TABLE c").execute(&mut database).await.expect("dropped");
    assert_eq!(ask(&mut stand, false).await, None);
    database.close().await.expect("closed");
    stand.settled().await;
    stand.stop().await;

    let logged = String::from_utf8(log.0.lock().expect("not poisoned").clone()).expect("UTF-8");
    let metrics = support::metrics();
    assert!(logged.contains("DIGEST_MISMATCH") && logged.contains("database code"), "{logged}");
    assert!(metrics.contains("code=\"CARD_NUMBER\""), "{metrics}");
    for canary in CANARIES {
        let leaks: Vec<_> =
            logged.lines().chain(metrics.lines()).filter(|line| line.contains(canary)).collect();
        assert!(leaks.is_empty(), "{leaks:#?}");
        for record in &records {
            let headers = record.headers.iter().map(|(_, value)| value);
            for bytes in headers.chain([&record.value]).chain(&record.key) {
                let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
                assert!(!found, "{canary}");
            }
        }
    }
    for word in ["Cards", "NO_CARDS", "WITHHELD", "Withheld", "MISMATCH\",\"kind", "IDENTITY_MISMATCH"] {
        assert!(!logged.contains(word) && !metrics.contains(word), "{word}");
    }
    // Every answer has the length of every other.
    let answered: Vec<_> = [0, 2, 3].map(|at: usize| records[at].value.len()).into();
    assert!(answered.iter().all(|length| *length == answered[0]), "{answered:?}");
}
