use super::*;

fn config() -> Config {
    Config::load(None).expect("the defaults are valid")
}

#[test]
fn the_defaults_allow_nothing_that_is_for_development() {
    let config = config();
    assert!(!config.dev);
    assert_eq!(config.gateway.file, None);
    assert_eq!(config.notices.commit, CommitConfig::Never);
    assert!(config.gateway_timeout() < config.drain());
    assert!(config.drain() < Duration::from_millis(config.kafka.session_timeout_ms.into()));
}

#[test]
fn an_unknown_setting_is_refused_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("notifier.toml");
    std::fs::write(&file, "[gateway]\nphone_book = \"x\"\n").expect("written");
    let error = Config::load(Some(&file)).expect_err("unknown").to_string();
    assert!(error.contains("notifier.toml:2:1") && error.contains("phone_book"), "{error}");
}

#[test]
fn every_key_file_is_read_and_at_least_one_is_needed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notifier.key");
    let mut config = config();
    let error = Secrets::load(&config).expect_err("no file");
    assert!(matches!(error, SecretsError::File(KeyFileError::NotSet("opening_key_files"))));
    config.opening_key_files = vec![path.clone()];
    let error = Secrets::load(&config).expect_err("not there");
    assert!(matches!(error, SecretsError::File(KeyFileError::Unreadable(..))));

    let key = OpeningKey::derive(&[7; 32]);
    let text = hex::encode(*key.to_raw());
    std::fs::write(&path, format!("{text}\n")).expect("written");
    let secrets = Secrets::load(&config).expect("a key");
    assert_eq!(secrets.opening_keys[0].id(), key.id());
    assert!(!format!("{secrets:?}").contains(&text));
}
