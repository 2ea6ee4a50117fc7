use schemas::keys::SigningKey;
use schemas::wire::{CardKind, CardStatus};

use super::*;

fn bank() -> BankId {
    "anhe".parse().expect("an id")
}

fn root(n: u8) -> String {
    hex::encode(SigningKey::from_seed(&[n; 32]).public().to_wire().raw)
}

const SOURCE: &str = r#"
    covers = ["CREDIT"]
    [sql]
    url = "sqlite:///var/lib/core.db"
    customer_statement = "SELECT 1"
    cards_statement = "SELECT 1"
    customer = { name = "a", phone = "b" }
    cards = { pan = "c", kind = "d", status = "e", last_active = "f" }
    dormancy = { rule_id = "R18M", inactive_months = 18 }
    values.kind = { D = "DEBIT", d = "CREDIT", "0.1" = "PREPAID" }
    values.status = { "0" = "NORMAL", "2" = "DORMANT" }
"#;

#[test]
fn the_defaults_are_complete_but_for_the_bank_the_roots_and_the_source() {
    let config = Config::defaults(&bank());
    assert_eq!(config.limits.patience(), Duration::from_secs(60));
    let faults = config.check().expect_err("no roots").to_string();
    assert_eq!(faults, "registry.roots: at least 2 are needed");
    assert!(config.source().expect_err("no source").to_string().contains("at least one"));
    assert!(Config::load(None).expect_err("no bank").to_string().contains("bank"));
}

#[test]
fn codes_of_a_bank_keep_their_case_through_every_layer() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("connector.toml");
    let sections = SOURCE.replace("[sql]", "[source.sql]");
    std::fs::write(&path, format!("bank = \"anhe\"\n[[source]]\n{sections}")).expect("written");
    let config = Config::load(Some(&path)).expect("loads");
    let source = &config.source[0];
    assert_eq!(source.covers, [MissingSource::Credit].into());
    let kinds = &source.sql.values.kind;
    assert_eq!(
        (kinds["D"], kinds["d"], kinds["0.1"]),
        (CardKind::Debit, CardKind::Credit, CardKind::Prepaid)
    );
    assert_eq!(source.sql.values.status["2"], CardStatus::Dormant);
    assert_eq!(source.sql.faults(), Vec::<String>::new());
}

#[test]
fn every_fault_is_told_at_once() {
    let mut config = Config::defaults(&bank());
    config.max_factor_age = 0;
    config.limits.lookups = 0;
    config.limits.patience_ms = 60_001;
    config.utc_offset_hours = 15;
    config.registry.roots = vec![root(1), root(1), "xyz".into()];
    let faults = config.check().expect_err("wrong").to_string();
    let expected = [
        "max_factor_age: must be between 1",
        "limits.lookups: must be between 1",
        "limits.patience_ms: must be at most 60000",
        "utc_offset_hours",
        "registry.roots[1]: named twice",
    ];
    assert_eq!(faults.lines().count(), expected.len(), "{faults}");
    for (fault, expected) in faults.lines().zip(expected) {
        assert!(fault.starts_with(expected), "{fault}");
    }
}

#[test]
fn a_source_that_cannot_be_read_safely_is_refused() {
    let source: SourceConfig = toml::from_str(SOURCE).expect("reads");
    let faults = |change: fn(&mut SqlConfig)| {
        let mut sql = source.sql.clone();
        change(&mut sql);
        sql.faults().join("\n")
    };
    assert_eq!(faults(|_| {}), "");
    assert!(faults(|sql| sql.url = "mysql://x".into()).contains("only sqlite: and postgres:"));
    assert_eq!(faults(|sql| sql.url = "postgres://h/d".into()), "");
    assert!(faults(|sql| sql.url.clear()).contains("one of url, url_file and url_env"));
    assert!(faults(|sql| sql.url_env = Some("CORE".into())).contains("only one"));
    assert!(faults(|sql| sql.max_rows = 0).contains("max_rows"));
    assert!(faults(|sql| sql.max_rows = 1_000).contains("max_rows"));
    assert!(faults(|sql| sql.statement_timeout_ms = 0).contains("statement_timeout_ms"));
    assert!(faults(|sql| sql.dormancy = None).contains("DORMANT"));
    let long = |sql: &mut SqlConfig| {
        sql.dormancy = Some(DormancyConfig { rule_id: "R".repeat(17), inactive_months: None });
    };
    assert!(faults(long).contains("rule_id"));
    assert!(faults(|sql| sql.cards.last_active = None).contains("R18M needs the column `cards.last_active`"));
    let published = |sql: &mut SqlConfig| {
        sql.dormancy = Some(DormancyConfig { rule_id: "CIB-2025-10".into(), inactive_months: None });
    };
    assert_eq!(
        faults(published),
        "dormancy.rule_id: CIB-2025-10 needs the column `cards.balance_fen`\n\
         dormancy.rule_id: CIB-2025-10 needs the column `cards.features`"
    );
    let with_own_limit = |sql: &mut SqlConfig| {
        sql.dormancy = Some(DormancyConfig { rule_id: "CIB-2025-10".into(), inactive_months: Some(18) });
    };
    assert!(faults(with_own_limit).contains("has its own limits"));
    for wrong in ["\"ATM\"", "\"UNSPECIFIED\""] {
        assert!(
            toml::from_str::<SourceConfig>(&SOURCE.replace("\"CREDIT\"]", &format!("{wrong}]"))).is_err()
        );
    }
    assert!(toml::from_str::<SourceConfig>(&SOURCE.replace("\"DORMANT\"", "\"SLEEPING\"")).is_err());
}

#[test]
fn a_password_in_an_address_does_not_print() {
    let mut source: SourceConfig = toml::from_str(SOURCE).expect("reads");
    source.sql.url = "sqlite://core:hunter2@host/db".into();
    let mut config = Config::defaults(&bank());
    config.source = vec![source];
    let printed = format!("{config:?}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn an_address_in_a_file_is_looked_at_when_secrets_are_and_not_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("core.url");
    let mut source: SourceConfig = toml::from_str(SOURCE).expect("reads");
    source.sql.url.clear();
    source.sql.url_file = Some(path.clone());
    assert_eq!(source.sql.faults(), Vec::<String>::new());
    assert!(source.sql.address_fault().expect("no file").starts_with("url_file: "));
    std::fs::write(&path, "mysql://core:hunter2@host/db").expect("written");
    let fault = source.sql.address_fault().expect("another database");
    assert_eq!(fault, "url: only sqlite: and postgres: are supported");
    std::fs::write(&path, "postgres://core:hunter2@host/db").expect("written");
    assert_eq!(source.sql.address_fault(), None);
}
