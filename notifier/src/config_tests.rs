use super::*;

fn config() -> Config {
    Config::load(None).expect("the defaults are valid")
}

/// The defaults with what only the operator knows.
fn complete() -> Config {
    let mut config = config();
    config.postgres.url = Some("postgres://notifier@localhost/cardquery".into());
    (config.dev, config.gateway.file) = (true, Some("sms.jsonl".into()));
    config.registry.roots = [1, 2]
        .map(|seed| hex::encode(schemas::keys::SigningKey::from_seed(&[seed; 32]).public().to_wire().raw))
        .into();
    config
}

fn faults(change: impl FnOnce(&mut Config)) -> Vec<String> {
    let mut config = complete();
    change(&mut config);
    let told = config.validate().err().map(|faults| faults.to_string()).unwrap_or_default();
    told.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn the_defaults_allow_nothing_that_is_for_development() {
    let config = config();
    assert!(!config.dev);
    assert_eq!(config.gateway.file, None);
    assert_eq!(config.store, StoreConfig::Postgres);
    assert_eq!(config.notices.commit, CommitConfig::Broker);
}

#[test]
fn the_defaults_lack_only_the_database_the_gateway_and_the_roots() {
    assert_eq!(faults(|_| ()), [""; 0]);
    let missing = config().validate().expect_err("incomplete").to_string();
    let keys: Vec<_> = missing.lines().filter_map(|fault| fault.split(':').next()).collect();
    assert_eq!(keys, ["postgres.url", "registry.roots", "gateway"]);
}

#[test]
fn a_store_in_memory_needs_no_database() {
    let faults = faults(|config| {
        config.store = StoreConfig::Memory;
        config.notices.commit = CommitConfig::Never;
        config.postgres.url = None;
    });
    assert_eq!(faults, [""; 0]);
}

#[test]
fn times_that_contradict_each_other_are_refused() {
    let told = |change: fn(&mut Config)| {
        let faults = faults(change);
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults[0].clone()
    };
    assert_eq!(
        told(|config| config.notices.drain_ms = config.gateway.timeout_ms),
        "notices.drain_ms: must be longer than gateway.timeout_ms"
    );
    assert_eq!(
        told(|config| config.notices.drain_ms = config.kafka.session_timeout_ms.into()),
        "notices.drain_ms: must be shorter than kafka.session_timeout_ms"
    );
    assert_eq!(
        told(|config| config.notices.lease_ms = config.gateway.timeout_ms + 4_999),
        "notices.lease_ms: must be at least 5000 longer than gateway.timeout_ms"
    );
    let fine = faults(|config| {
        config.notices.drain_ms = config.gateway.timeout_ms + 1;
        config.notices.lease_ms = config.gateway.timeout_ms + 5_000;
    });
    assert_eq!(fine, [""; 0]);
}

#[test]
fn a_service_that_could_do_nothing_is_refused() {
    let faults = faults(|config| {
        config.notices.concurrent = 0;
        config.gateway.timeout_ms = 0;
    });
    assert_eq!(faults.len(), 2, "{faults:?}");
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
