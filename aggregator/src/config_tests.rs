use super::*;

fn valid() -> Config {
    let mut config = Config::load(None).expect("the defaults are a configuration");
    config.postgres = PostgresConfig::new("postgres://cardquery@127.0.0.1/cardquery");
    config.registry.roots = [[1; 32], [2; 32]]
        .map(|seed| hex::encode(SigningKey::from_seed(&seed).public().to_wire().raw))
        .to_vec();
    config
}

#[test]
fn the_defaults_need_two_roots_and_a_database_and_nothing_else() {
    assert_eq!(valid().validate(), Ok(()));
    let defaults = Config::load(None).expect("the defaults are a configuration");
    let faults = defaults.validate().expect_err("no roots").to_string();
    assert_eq!(
        faults,
        "postgres.url: is not set, nor is postgres.url_file\nregistry.roots: at least 2 are needed"
    );
    assert_eq!(defaults.kafka.client_id, "cardquery.aggregator");
}

#[test]
fn all_faults_are_told_at_once() {
    let mut config = valid();
    config.listen = "0.0.0.0:8490".parse().expect("an address");
    config.sweep_interval_ms = 0;
    config.policy.consent_texts.push("hash".to_owned());
    config.window.zone = "Asia/Atlantis".to_owned();
    config.registry.roots.truncate(1);
    config.kafka.properties.insert("acks".to_owned(), "0".to_owned());
    let faults = config.validate().expect_err("faults").to_string();
    let keys: Vec<_> = faults.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(
        keys,
        [
            "kafka.properties.acks",
            "listen",
            "sweep_interval_ms",
            "policy.consent_texts",
            "window.zone",
            "registry.roots",
        ]
    );
}

#[test]
fn days_of_86400_seconds_are_dates_and_others_are_counted() {
    let mut window = valid().window;
    let calendar = |window: &WindowConfig| window.window().map(|window| window.calendar);
    let now = UnixMillis::parse("2026-01-01T00:10:00.000Z").expect("an instant");
    let dates = calendar(&window).expect("the defaults are a window");
    assert_eq!(dates.erase_on(now).to_string(), "2026-01-09");
    window.day_seconds = 60.0;
    let counted = calendar(&window).expect("a window");
    assert_eq!(counted.day(now).to_string(), "2000-01-11");
    window.day_seconds = 0.5;
    assert_eq!(calendar(&window).expect_err("too short").key, "window.day_seconds");
    window.day_seconds = 60.0;
    window.days_from = "yesterday".to_owned();
    assert_eq!(calendar(&window).expect_err("no instant").key, "window.days_from");
}

#[test]
fn every_missing_key_file_is_told_with_its_setting() {
    let mut config = valid();
    assert_eq!(
        config.secret_faults(),
        [
            "signing_key_file: signing_key_file is not set",
            "limits.mac_key_file: limits.mac_key_file is not set",
            "erasure.key_dir: is not set",
        ]
    );
    // Counts in memory end with the process, and so may their key.
    config.store = StoreKind::Memory;
    config.redis.url_file = "/nowhere/redis-url".into();
    let faults = config.secret_faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[1].starts_with("redis.url_file: "), "{faults:?}");
}
