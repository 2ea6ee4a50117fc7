use super::*;

fn valid() -> Config {
    let mut config = Config::load(None).expect("the defaults are a configuration");
    config.dev = true;
    config.registry.roots = [[1; 32], [2; 32]]
        .map(|seed| hex::encode(SigningKey::from_seed(&seed).public().to_wire().raw))
        .to_vec();
    config
}

fn faults(change: impl FnOnce(&mut Config)) -> String {
    let mut config = valid();
    change(&mut config);
    config.policy().expect_err("a fault").to_string()
}

#[test]
fn the_defaults_need_two_roots_and_dev_and_nothing_else() {
    assert!(valid().policy().is_ok());
    assert!(valid().kafka.validate().is_ok());
}

#[test]
fn without_tls_and_without_dev_the_service_says_that_it_cannot_authenticate_callers() {
    let text = faults(|config| config.dev = false);
    assert!(text.starts_with("http.tls") && text.contains("--dev"), "{text}");
}

#[test]
fn with_tls_it_may_listen_anywhere_and_reach_a_hub_elsewhere_by_https_only() {
    let tls = || Some(MutualTls { certificate_file: "a".into(), key_file: "b".into(), ca_file: "c".into() });
    let mut config = valid();
    config.dev = false;
    config.http.tls = tls();
    config.http.listen = "0.0.0.0:8480".parse().expect("an address");
    config.hub.tls = tls();
    config.hub.url = "https://hub.example:8490".into();
    assert_eq!(config.validate(), Ok(()));
    config.hub.url = "http://127.0.0.1:8490".into();
    assert!(config.validate().is_err_and(|fault| fault.to_string().starts_with("hub.url")));
}

#[test]
fn no_file_can_set_dev() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut file, b"dev = true\n").expect("written");
    let error = Config::load(Some(file.path())).expect_err("unknown").to_string();
    assert!(error.contains("dev"), "{error}");
}

#[test]
fn each_rule_is_told_with_its_key() {
    type Change = fn(&mut Config);
    let cases: [(&str, Change); 9] = [
        ("http.listen", |config| config.http.listen = "0.0.0.0:8480".parse().expect("an address")),
        ("hub.url", |config| config.hub.url = "https://127.0.0.1:8490".into()),
        ("hub.url", |config| config.hub.url = "http://hub.example:8490".into()),
        ("hub.url", |config| config.hub.url = "hub".into()),
        ("http.max_in_flight", |config| config.http.max_in_flight = 0),
        ("policy.open_regions", |config| config.policy.open_regions.extend(["Shanghai".to_owned()])),
        ("registry.roots[1]", |config| config.registry.roots[1] = "00".into()),
        ("registry.roots[1]", |config| config.registry.roots[1] = config.registry.roots[0].clone()),
        ("registry.roots", |config| config.registry.roots.truncate(1)),
    ];
    for (key, change) in cases {
        let text = faults(change);
        assert!(text.starts_with(key), "{key}: {text}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let text = faults(|config| {
        config.dev = false;
        config.hub.url = String::new();
        config.registry.roots.clear();
    });
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn a_key_file_holds_64_hex_digits_and_its_content_is_never_told() {
    let mut config = valid();
    let file = tempfile::NamedTempFile::new().expect("a file");
    config.signing_key_file = file.path().to_owned();
    std::fs::write(file.path(), format!("{}\n", "07".repeat(32))).expect("written");
    let secrets = Secrets::load(&config).expect("a key");
    assert_eq!(secrets.signing_key.id(), SigningKey::from_seed(&[7; 32]).id());
    assert!(!format!("{secrets:?}").contains("0707"));
    std::fs::write(file.path(), "0707-not-hex").expect("written");
    let error = Secrets::load(&config).expect_err("not a key").to_string();
    assert!(!error.contains("0707"), "{error}");
}
