//! A bank's own system in PostgreSQL: it is read as one in SQLite is, and cannot be written to.

use std::time::{Duration, Instant};

use bank_connector::config::SqlConfig;
use bank_connector::domain::answer::{Looked, answer};
use bank_connector::domain::found::Found;
use bank_connector::domain::identity::Identity;
use bank_connector::source::sql::SqlSource;
use bank_connector::source::{CardSource, SourceError};
use cardquery::local::databases::{Database, Server};
use cardquery::sample::core;
use schemas::ids::BankId;
use schemas::time::UnixMillis;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

const SEED: u64 = 11;

/// The PostgreSQL of the stack with a sample bank's database, which goes with it.
struct Core {
    server: Server,
    admin: SecretString,
    database: Database,
    bank: BankId,
}

impl Core {
    async fn of(bank: &str) -> Self {
        let admin: SecretString = std::env::var("CARDQUERY_STACK_POSTGRES")
            .expect("a stack: run `make test`, or eval \"$(deploy/stack up && deploy/stack env)\"")
            .into();
        let bank: BankId = bank.parse().expect("an id");
        let server = Server::new(&admin).expect("an address");
        let name = format!("t{:08x}_bank_{bank}", rand::random::<u32>());
        let database = Database::named(&name).and_then(Database::with_reader).expect("a name");
        server.ensure(std::slice::from_ref(&database)).await.expect("made");
        let core = Self { server, admin, database, bank };
        core::fill_database(core.owner().expose_secret(), &core.bank, SEED).await.expect("filled");
        core
    }

    fn owner(&self) -> SecretString {
        self.database.owner_url(&self.server)
    }

    fn reader(&self) -> SecretString {
        self.database.reader_url(&self.server)
    }

    async fn as_owner(&self, sql: &str) {
        let mut session = PgConnection::connect(self.owner().expose_secret()).await.expect("connected");
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut session).await.expect("done");
        session.close().await.expect("closed");
    }

    async fn remove(self) {
        self.server.remove(std::slice::from_ref(&self.database)).await.expect("removed");
    }
}

fn source(url: &str, change: impl FnOnce(&mut SqlConfig)) -> SqlSource {
    let mut config = core::source_config(url);
    change(&mut config);
    SqlSource::new(config, Default::default()).expect("usable")
}

fn wang() -> Identity {
    let people = core::people();
    let wang = people.iter().find(|person| person.key == "wang").expect("wang");
    Identity::from_wire(wang.identity()).expect("a possible person")
}

/// Everything that was found, as far as it can be told without a full number: the check digit and the drawn last four
/// stand for it.
fn told(found: &Found, identity: &Identity) -> impl PartialEq + std::fmt::Debug {
    let customers: Vec<_> = found
        .customers
        .iter()
        .map(|customer| {
            let phone = customer.phone.as_ref().map(|phone| phone.to_string());
            let flags = (customer.cardless_payment, customer.withheld);
            (customer.name.to_string(), phone, customer.id_valid_until, flags)
        })
        .collect();
    let today = "2026-11-24".parse().expect("a day");
    let mut cards: Vec<_> = found.cards.iter().map(|card| format!("{:?}", card.masked(today))).collect();
    cards.sort();
    let answer = answer(identity, found, Looked { at: UnixMillis(0), today });
    (customers, cards, answer, found.missing.clone(), found.defects.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_in_postgresql_says_what_the_same_bank_in_sqlite_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cards = 0;
    // Several cards, a dormant one, one with an unknown code, and a person without a phone.
    for bank in ["dongli", "beichuan", "guanghua", "mingyue"] {
        let core = Core::of(bank).await;
        let file = core::fill(folder.path(), &core.bank, SEED).await.expect("filled");
        let (file, server) = (source(&file, |_| {}), source(core.reader().expose_secret(), |_| {}));
        for person in core::people() {
            let identity = Identity::from_wire(person.identity()).expect("a possible person");
            let in_file = file.look_up(&identity).await.expect("answers");
            let in_server = server.look_up(&identity).await.expect("answers");
            assert_eq!(told(&in_file, &identity), told(&in_server, &identity), "{bank} {person:?}");
            cards += in_server.cards.len();
        }
        core.remove().await;
    }
    assert!(cards > 8, "{cards} cards are too few to compare");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_could_write_is_refused_before_it_is_asked_for_anybody() {
    let core = Core::of("anhe").await;
    let refusal = async |url: SecretString| {
        let source = source(url.expose_secret(), |_| {});
        let probed = source.probe().await;
        assert_eq!(probed, source.look_up(&wang()).await.map(|_| ()), "probe and lookup agree");
        probed.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refusal(core.reader()).await, "");
    assert!(refusal(core.owner()).await.contains("may write"));
    let reader = core.reader();
    let reader_name = reader.expose_secret().split([':', '/']).nth(3).expect("a user").to_owned();
    core.as_owner(&format!("GRANT UPDATE (mobile) ON customer TO {reader_name}")).await;
    assert!(refusal(core.reader()).await.contains("may write"));
    core.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_writes_by_a_way_around_the_rights_is_stopped_by_the_session() {
    let core = Core::of("anhe").await;
    core.as_owner(
        "CREATE FUNCTION wipe(text) RETURNS TABLE (cust_name text, mobile text, cert_expiry text, cardless_flag text, \
         hold_code text) LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM card; SELECT $1, $1, $1, $1, $1'",
    )
    .await;
    let reader = core.reader();
    let wiping =
        |url: &str| source(url, |config| config.customer_statement = "SELECT * FROM wipe($1)".into());
    let off = "options=-c%20default_transaction_read_only%3Doff";
    for url in [reader.expose_secret().to_owned(), format!("{}&{off}", reader.expose_secret())] {
        let error = wiping(&url).look_up(&wang()).await.expect_err("stopped");
        assert_eq!(error, SourceError::Unavailable("database code 25006".into()));
    }
    let found = source(reader.expose_secret(), |_| {}).look_up(&wang()).await.expect("answers");
    assert_eq!(found.cards.len(), 1);
    core.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_statement_is_ended_in_the_server_too() {
    let core = Core::of("anhe").await;
    let slow = source(core.reader().expose_secret(), |config| {
        config.statement_timeout_ms = 200;
        config.cards_statement = "SELECT pg_sleep(30)::text AS card_no WHERE $1 <> ''".into();
    });
    assert_eq!(slow.look_up(&wang()).await.err(), Some(SourceError::TimedOut));
    let mut session = PgConnection::connect(core.admin.expose_secret()).await.expect("connected");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let sleeping: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'PgSleep' AND usename = $1",
        )
        .bind(core.reader().expose_secret().split([':', '/']).nth(3))
        .fetch_one(&mut session)
        .await
        .expect("asked");
        if sleeping == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "the statement still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    session.close().await.expect("closed");
    core.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_is_neither_text_nor_number_is_to_be_cast() {
    let core = Core::of("anhe").await;
    let url = core.reader();
    let expiring = |expiry: &str| {
        let statement = format!(
            "SELECT cust_name, mobile, {expiry} AS cert_expiry, cardless_flag, hold_code FROM customer \
             WHERE cert_no = $1"
        );
        source(url.expose_secret(), |config| config.customer_statement = statement)
    };
    let error = expiring("DATE '2030-01-31'").look_up(&wang()).await.expect_err("a date").to_string();
    assert!(error.contains("cast it to text"), "{error}");
    let found = expiring("(DATE '2030-01-31')::text").look_up(&wang()).await.expect("text");
    assert_eq!(found.customers[0].id_valid_until, Some("2030-01-31".parse().expect("a day")));
    core.remove().await;
}
