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

fn http(config: &mut Config, url: &str) {
    config.gateway.file = None;
    config.gateway.http = Some(HttpGatewayConfig {
        url: url.to_owned(),
        secret_file: PathBuf::new(),
        tls: None,
        idempotent: false,
        inquiries: false,
        connections: connections(),
    });
}

#[test]
fn a_gateway_behind_http_is_on_this_machine_or_behind_tls() {
    for url in ["http://127.0.0.1:9/v1/sms", "http://[::1]:9/", "http://localhost/"] {
        assert_eq!(faults(|config| http(config, url)), [""; 0], "{url}");
    }
    for url in ["http://sms.example/", "https://sms.example/", "http://127.0.0.1.example/", "sms", ""] {
        let told = faults(|config| http(config, url));
        assert!(told[0].starts_with("gateway.http.url: must be http:// with a loopback address"), "{told:?}");
    }
    let told = faults(|config| {
        config.dev = false;
        config.callbacks = Some(CallbacksConfig { listen: ([0, 0, 0, 0], 8502).into(), tls: None });
        http(config, "http://localhost/");
    });
    assert_eq!(
        told,
        ["callbacks.listen: 0.0.0.0:8502 is not a loopback address, and there is no [callbacks.tls]"]
    );
    let told = faults(|config| {
        config.callbacks = Some(CallbacksConfig { listen: ([127, 0, 0, 1], 8502).into(), tls: None });
    });
    assert_eq!(told, ["callbacks: need gateway.http, whose secret signs them"]);
}

#[test]
fn hours_zones_and_limits_without_meaning_are_refused() {
    let hours = |from: &str, until: &str, zone: &str| {
        let quiet = QuietHoursConfig { from: from.into(), until: until.into(), zone: zone.into() };
        faults(|config| config.quiet_hours = Some(quiet))
    };
    assert_eq!(hours("22:00", "08:00", "Asia/Shanghai"), [""; 0]);
    assert_eq!(hours("25:00", "08:00", "Asia/Shanghai"), ["quiet_hours.from: `25:00` is no time of the day"]);
    assert_eq!(hours("22:00", "late", "Asia/Shanghai"), ["quiet_hours.until: `late` is no time of the day"]);
    assert_eq!(
        hours("22:00", "08:00", "Asia/Nowhere"),
        ["quiet_hours.zone: `Asia/Nowhere` is not a known time zone"]
    );
    assert_eq!(
        hours("08:00", "08:00", "UTC"),
        ["quiet_hours.until: must be another time than quiet_hours.from"]
    );
    let told = faults(|config| config.limits.zone = "Asia/Nowhere".into());
    assert_eq!(told, ["limits.zone: `Asia/Nowhere` is not a known time zone"]);
}

#[test]
fn what_waits_in_memory_needs_its_notices_again() {
    let told = faults(|config| config.store = StoreConfig::Memory);
    assert_eq!(told, ["notices.commit: must be \"never\" with store = \"memory\""]);
}

#[test]
fn phones_are_counted_with_a_key_and_only_if_there_is_a_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("phones.key");
    let mut config = complete();
    config.opening_keys = vec!["0b".repeat(32).into()];
    assert!(Secrets::load(&config).expect("loaded").phone_key.is_none());
    config.limits.sms_per_phone_and_day = 20;
    assert_eq!(config.phone_limit().expect("a zone").expect("a limit").max, 20);
    let error = Secrets::load(&config).expect_err("no key");
    assert!(matches!(error, SecretsError::File(KeyFileError::NotSet("limits.mac_key_file"))));
    std::fs::write(&path, "0a".repeat(32)).expect("written");
    config.limits.mac_key_file = path;
    assert!(Secrets::load(&config).expect("loaded").phone_key.is_some());
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
