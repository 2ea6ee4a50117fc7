//! The SQL source against SQLite files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bank_connector::config::{Config, DormancyConfig, SourceConfig, SqlConfig};
use bank_connector::domain::answer::{Looked, answer};
use bank_connector::domain::dormancy::Feature;
use bank_connector::domain::found::{Defect, Found};
use bank_connector::domain::identity::Identity;
use bank_connector::domain::pan::check_digit;
use bank_connector::source::several::{Part, Several};
use bank_connector::source::sql::SqlSource;
use bank_connector::source::{CardSource, SourceError};
use prost::Message;
use schemas::time::UnixMillis;
use schemas::wire::{self, AnswerKind, CardKind, CardStatus, DocumentType, MissingSource};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

const NUMBER: &str = "11010519491231002X";

/// A bank whose tables have whole numbers where others have text, and other words for everything.
const SCHEMA: &str = "
    CREATE TABLE k (id TEXT, nm TEXT, tel INTEGER, bis TEXT, frei INTEGER, sperre TEXT);
    CREATE TABLE c (id TEXT, nr TEXT, art INTEGER, zustand TEXT, produkt TEXT, seit INTEGER);
";
const CONFIG: &str = r#"
    covers = ["CREDIT"]
    [sql]
    url = "unset"
    customer_statement = "SELECT * FROM k WHERE id = $1"
    cards_statement = "SELECT * FROM c WHERE id = $1"
    customer = { name = "nm", phone = "tel", id_valid_until = "bis", cardless_payment = "frei", withheld = "sperre" }
    cards = { pan = "nr", kind = "art", status = "zustand", product = "produkt", opened = "seit" }
    max_rows = 3
    values.kind = { "1" = "DEBIT", "2" = "CREDIT" }
    values.status = { "ok" = "NORMAL", "zu" = "LOCKED" }
    values.cardless_enabled = ["1"]
    values.not_withheld = ["nein"]
    values.id_never_expires = ["nie"]
"#;

fn pan(n: u32) -> String {
    let partial = format!("629901{n:012}");
    format!("{partial}{}", check_digit(&partial))
}

fn card(n: u32) -> String {
    format!("INSERT INTO c VALUES ('{NUMBER}', '{}', 1, 'ok', 'DC01', 202407);", pan(n))
}

fn customer() -> String {
    format!("INSERT INTO k VALUES ('{NUMBER}', '王小明', 13800000001, 'nie', 1, 'nein');")
}

struct Bank {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Bank {
    async fn with(rows: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("core.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = options.connect().await.expect("created");
        let script = format!("{SCHEMA}{}", rows.concat());
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await.expect("filled");
        connection.close().await.expect("closed");
        Self { _folder: folder, path }
    }

    fn source(&self, change: impl FnOnce(&mut SqlConfig)) -> SqlSource {
        source_at(&self.path, change)
    }
}

fn source_at(path: &Path, change: impl FnOnce(&mut SqlConfig)) -> SqlSource {
    let mut config: SourceConfig = toml::from_str(CONFIG).expect("reads");
    config.sql.url = format!("sqlite://{}", path.display());
    change(&mut config.sql);
    SqlSource::new(config.sql, config.covers).expect("usable")
}

fn identity_of(document_type: DocumentType, number: &str, name: &str) -> Identity {
    Identity::from_wire(wire::Identity {
        name: name.into(),
        document_type: document_type.into(),
        document_number: number.into(),
        phone: "+8613800000001".into(),
    })
    .expect("usable")
}

fn identity() -> Identity {
    identity_of(DocumentType::ResidentId, NUMBER, "王小明")
}

fn said(found: &Found) -> wire::Answer {
    let today = "2026-11-24".parse().expect("a day");
    answer(&identity(), found, Looked { at: UnixMillis(1_790_000_000_000), today })
}

#[tokio::test]
async fn columns_of_any_type_are_read_by_the_mapping() {
    let bank = Bank::with(&[customer(), card(1)]).await;
    let found = bank.source(|_| {}).look_up(&identity()).await.expect("answers");
    assert_eq!(found.defects, BTreeSet::new());
    let said = said(&found);
    assert_eq!(said.kind(), AnswerKind::Cards);
    let card = &said.cards[0];
    assert_eq!(
        (card.kind(), card.status(), card.opened_month),
        (CardKind::Debit, CardStatus::Normal, 202_407)
    );
    assert_eq!(
        (card.first4.as_str(), &card.last4, card.product_code.as_str()),
        ("6299", &pan(1)[15..].to_owned(), "DC01")
    );
}

#[tokio::test]
async fn what_a_column_says_about_the_customer_decides() {
    for (row, kind) in [
        ("'王小明', NULL, 'nie', 1, 'nein'", AnswerKind::IneligibleNoPhone),
        ("'王小明', '  ', 'nie', 1, 'nein'", AnswerKind::IneligibleNoPhone),
        ("'王小明', 13800000001, '2026-11-23', 1, 'nein'", AnswerKind::IneligibleIdExpired),
        ("'王小明', 13800000001, '20261124', 1, 'nein'", AnswerKind::Cards),
        ("'王小明', 13800000001, 'nie', 0, 'nein'", AnswerKind::IneligibleNoCardlessPayment),
        ("'王小明', 13800000001, 'nie', NULL, 'nein'", AnswerKind::IneligibleNoCardlessPayment),
        ("'王小明', 13800000001, 'nie', 1, 'AML-7'", AnswerKind::Withheld),
        ("'王小明', 13800000001, NULL, 1, NULL", AnswerKind::Cards),
        ("'王小朋', 13800000001, 'nie', 1, 'AML-7'", AnswerKind::IdentityMismatch),
        ("'王小明', 13800000009, 'nie', 0, 'nein'", AnswerKind::IdentityMismatch),
        ("NULL, 13800000001, 'nie', 1, 'nein'", AnswerKind::IdentityMismatch),
    ] {
        let bank = Bank::with(&[format!("INSERT INTO k VALUES ('{NUMBER}', {row});"), card(1)]).await;
        let found = bank.source(|_| {}).look_up(&identity()).await.expect("answers");
        assert_eq!(said(&found).kind(), kind, "{row}");
    }
}

/// A reason would warn whoever is being looked into: every code that withholds makes the same bytes before the seal.
#[tokio::test]
async fn a_reply_that_is_withheld_has_the_same_bytes_whatever_the_banks_reason_is() {
    let mut replies = BTreeSet::new();
    for (reason, cards) in [("AML-7", 1), ("court order 12/3", 1), ("divorce", 2), ("1", 0), ("AML-7", 3)] {
        let row = format!("INSERT INTO k VALUES ('{NUMBER}', '王小明', 13800000001, 'nie', 1, '{reason}');");
        let rows: Vec<_> = [row].into_iter().chain((1..=cards).map(card)).collect();
        let bank = Bank::with(&rows).await;
        let said = said(&bank.source(|_| {}).look_up(&identity()).await.expect("answers"));
        assert_eq!(said.kind(), AnswerKind::Withheld, "{reason}");
        replies.insert(said.encode_to_vec());
    }
    assert_eq!(replies.len(), 1);
}

#[tokio::test]
async fn a_card_that_is_withheld_has_the_same_bytes_whatever_the_banks_reason_is() {
    let mut replies = BTreeSet::new();
    for (reason, last_active, balance) in [("AML", 201_901, 0), ("court", 202_611, 99), ("AML", 202_611, -7)]
    {
        let row = format!("INSERT INTO c VALUES ('{NUMBER}', '{}', 2, '{reason}', 'DC01', 202407);", pan(1));
        let bank = Bank::with(&[customer(), row]).await;
        let source = bank.source(|sql| {
            let used = format!(
                "SELECT *, {last_active} AS used, {balance} AS fen, '' AS extra FROM c WHERE id = $1"
            );
            sql.cards_statement = used;
            sql.cards.last_active = Some("used".into());
            sql.cards.balance_fen = Some("fen".into());
            sql.cards.features = Some("extra".into());
            for reason in ["AML", "court"] {
                sql.values.status.insert(reason.into(), CardStatus::Withheld);
            }
        });
        let said = said(&source.look_up(&identity()).await.expect("answers"));
        assert_eq!(said.cards.iter().map(|card| card.status()).collect::<Vec<_>>(), [CardStatus::Withheld]);
        replies.insert(said.encode_to_vec());
    }
    assert_eq!(replies.len(), 1);
}

#[tokio::test]
async fn a_published_rule_is_judged_by_what_the_columns_say() {
    for (used, fen, extra, status) in [
        ("'2025-11-24'", "1000", "NULL", CardStatus::Dormant),
        ("'2025-11-25'", "1000", "NULL", CardStatus::Normal),
        ("202510", "'1000'", "'x, y'", CardStatus::Dormant),
        ("202511", "1000", "NULL", CardStatus::Normal),
        ("'2025-11-24'", "1001", "NULL", CardStatus::Normal),
        ("'2025-11-24'", "NULL", "NULL", CardStatus::Normal),
        ("'2025-11-24'", "0", "'x,SB'", CardStatus::Normal),
    ] {
        let bank = Bank::with(&[customer(), card(1)]).await;
        let source = bank.source(|sql| {
            sql.cards_statement =
                format!("SELECT *, {used} AS used, {fen} AS fen, {extra} AS extra FROM c WHERE id = $1");
            sql.cards.last_active = Some("used".into());
            sql.cards.balance_fen = Some("fen".into());
            sql.cards.features = Some("extra".into());
            sql.values.features.insert("SB".into(), Feature::SocialSecurity);
            sql.dormancy = Some(DormancyConfig { rule_id: "CIB-2025-10".into(), inactive_months: None });
        });
        let said = said(&source.look_up(&identity()).await.expect("answers"));
        let named = said.cards[0].dormancy.as_ref().map(|evidence| evidence.rule_id.as_str());
        assert_eq!(said.cards[0].status(), status, "{used} {fen} {extra}");
        assert_eq!(named, (status == CardStatus::Dormant).then_some("CIB-2025-10"));
    }
}

#[tokio::test]
async fn unknown_values_are_shown_as_unknown_and_fail_nothing() {
    let odd = format!("INSERT INTO c VALUES ('{NUMBER}', '{}', 9, 'neu', 'Gold Card!', 'soon');", pan(2));
    let empty = format!("INSERT INTO c VALUES ('{NUMBER}', '{}', NULL, NULL, NULL, NULL);", pan(3));
    let bank = Bank::with(&[customer(), card(1), odd, empty]).await;
    let found = bank.source(|_| {}).look_up(&identity()).await.expect("answers");
    assert_eq!(found.defects, [Defect::Code, Defect::Date].into());
    let said = said(&found);
    assert_eq!((said.cards.len(), said.missing_sources.len()), (3, 0));
    let unknown: Vec<_> = said.cards.iter().filter(|card| card.kind() == CardKind::Unknown).collect();
    assert_eq!(unknown.len(), 2);
    for card in unknown {
        assert_eq!(
            (card.status(), card.product_code.as_str(), card.opened_month),
            (CardStatus::Unknown, "", 0)
        );
    }
}

#[tokio::test]
async fn an_unreadable_card_number_marks_the_source_missing_and_the_rest_is_shown() {
    for number in ["''", "NULL", "'6299010000000001'", "'not a number'"] {
        let odd = format!("INSERT INTO c VALUES ('{NUMBER}', {number}, 1, 'ok', 'DC01', 202407);");
        let bank = Bank::with(&[customer(), card(1), odd]).await;
        let found = bank.source(|_| {}).look_up(&identity()).await.expect("answers");
        assert_eq!(found.defects, [Defect::CardNumber].into(), "{number}");
        let said = said(&found);
        assert_eq!(
            (said.cards.len(), said.missing_sources),
            (1, vec![MissingSource::Credit as i32]),
            "{number}"
        );
    }
}

#[tokio::test]
async fn rows_beyond_the_limit_are_left_out_and_said_to_be_missing() {
    let rows: Vec<_> = [customer()].into_iter().chain((0..4).map(card)).collect();
    let bank = Bank::with(&rows).await;
    let found = bank.source(|_| {}).look_up(&identity()).await.expect("answers");
    assert_eq!((found.cards.len(), found.defects), (3, [Defect::RowLimit].into()));
    assert_eq!(found.missing, [MissingSource::Credit].into());
    let whole = bank.source(|config| config.max_rows = 4).look_up(&identity()).await.expect("answers");
    assert_eq!((whole.cards.len(), whole.missing.len()), (4, 0));
}

#[tokio::test]
async fn cards_of_nobody_on_file_are_not_taken() {
    let bank =
        Bank::with(&[card(1), format!("INSERT INTO c VALUES ('{NUMBER}', 'x', 1, 'ok', '', 1);")]).await;
    let found = bank.source(|_| {}).look_up(&identity()).await.expect("answers");
    assert_eq!((found.customers.len(), found.cards.len(), found.missing.len()), (0, 0, 0));
    assert_eq!(said(&found).kind(), AnswerKind::NoCards);
}

#[tokio::test]
async fn what_comes_from_a_request_is_only_ever_a_parameter() {
    let bank = Bank::with(&[customer(), card(1)]).await;
    let source = bank.source(|_| {});
    let name = "'); DROP TABLE k; --";
    let person = identity_of(DocumentType::ResidentId, NUMBER, name);
    let found = source.look_up(&person).await.expect("answers");
    assert_eq!(answer_kind(&person, &found), AnswerKind::IdentityMismatch);
    for number in ["1)OR(1)--", "(1)OR(1)", "X-OR-1-1--"] {
        let person = identity_of(DocumentType::Passport, number, "王小明");
        let found = source.look_up(&person).await.expect("answers");
        assert_eq!((found.customers.len(), found.cards.len()), (0, 0), "{number}");
    }
    let found = source.look_up(&identity()).await.expect("still there");
    assert_eq!(said(&found).kind(), AnswerKind::Cards);
}

fn answer_kind(identity: &Identity, found: &Found) -> AnswerKind {
    let today = "2026-11-24".parse().expect("a day");
    answer(identity, found, Looked { at: UnixMillis(0), today }).kind()
}

#[tokio::test]
async fn the_database_is_opened_read_only() {
    let bank = Bank::with(&[customer(), card(1)]).await;
    let writing = bank.source(|config| {
        config.customer_statement = "DELETE FROM k WHERE id = $1 RETURNING *".into();
    });
    let refused = writing.look_up(&identity()).await.expect_err("refused");
    assert!(matches!(refused, SourceError::Unavailable(_)), "{refused}");
    let found = bank.source(|_| {}).look_up(&identity()).await.expect("answers");
    assert_eq!(found.customers.len(), 1);

    let mut config: SourceConfig = toml::from_str(CONFIG).expect("reads");
    config.sql.url = format!("sqlite://{}?mode=rwc", bank.path.display());
    assert!(SqlSource::new(config.sql, config.covers).is_err());
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_given_up() {
    let bank = Bank::with(&[customer()]).await;
    let slow = bank.source(|config| {
        config.statement_timeout_ms = 50;
        config.cards_statement =
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 10000000) \
                                  SELECT max(x) AS nr FROM n WHERE $1 <> ''"
                .into();
    });
    assert_eq!(slow.look_up(&identity()).await.err(), Some(SourceError::TimedOut));
}

#[tokio::test]
async fn a_statement_that_does_not_fit_says_which_column_and_never_what_was_asked() {
    let bank = Bank::with(&[customer(), card(1)]).await;
    let missing = bank.source(|config| config.cards.status = "state".into());
    let error = missing.look_up(&identity()).await.expect_err("misfit").to_string();
    assert!(error.contains("`state`"), "{error}");

    let repeating =
        bank.source(|config| config.customer_statement = "SELECT json_extract('{}', $1) AS nm".into());
    let error = repeating.look_up(&identity()).await.expect_err("no JSON path");
    assert!(!format!("{error} {error:?}").contains("1949"), "{error:?}");

    let many = vec![customer(); 5];
    let error = Bank::with(&many).await.source(|_| {}).look_up(&identity()).await.expect_err("too many");
    assert!(matches!(error, SourceError::Misfit(_)), "{error}");
}

#[tokio::test]
async fn one_of_several_sources_may_fail_and_all_may_not() {
    let bank = Bank::with(&[customer(), card(1)]).await;
    let up = || Part { covers: [MissingSource::Debit].into(), source: Arc::new(bank.source(|_| {})) };
    let down = |covers: MissingSource| Part {
        covers: [covers].into(),
        source: Arc::new(source_at(Path::new("/nonexistent/core.db"), |_| {})),
    };
    let found =
        Several::new(vec![up(), down(MissingSource::Prepaid)]).look_up(&identity()).await.expect("answers");
    let said = said(&found);
    assert_eq!((said.kind(), said.cards.len()), (AnswerKind::Cards, 1));
    assert_eq!(said.missing_sources, [MissingSource::Prepaid as i32]);

    let both = Several::new(vec![up(), up()]).look_up(&identity()).await.expect("answers");
    assert_eq!((both.cards.len(), both.missing.len()), (2, 0));

    let none = Several::new(vec![down(MissingSource::Debit), down(MissingSource::Credit)]);
    let error = none.look_up(&identity()).await.expect_err("nobody answers");
    assert!(matches!(error, SourceError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn the_sample_configuration_is_one_that_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/sample/core/connector.toml");
    let config = Config::load(Some(&path)).expect("loads");
    assert!(config.source().is_ok());
    assert_eq!(config.source[0].covers.len(), 3);
}
