use std::path::Path;

use plumbing::config::Settings as _;
use schemas::topics::Topics;

use super::super::ports;
use super::*;

fn stack() -> Stack {
    Stack {
        folder: "/stack".into(),
        brokers: "localhost:1,localhost:2,localhost:3".to_owned(),
        ca: "/stack/tls/ca.pem".into(),
        passwords: "/stack/passwords".into(),
        postgres: "postgres://admin:hunter2@127.0.0.1:3/postgres".to_owned().into(),
        redis: "redis://:hunter2@127.0.0.1:4/".to_owned().into(),
        jars: "/jars".into(),
    }
}

/// The settings of every process, by name.
fn rendered(folder: &Path) -> Vec<(Part, PathBuf)> {
    let (plan, stack) = (Plan::new("/stack/run".into()), stack());
    let parts = plan.parts();
    let mut free = ports::free(parts.len() + 2).expect("ports");
    let (producer, hub) = (free.remove(0), free.remove(0));
    let admin = parts.iter().map(Part::name).zip(free).collect();
    let addresses = Addresses { producer, hub, admin };
    let site = Site { plan: &plan, stack: &stack, addresses: &addresses };
    let write = |part: Part| {
        let path = folder.join(format!("{}.toml", part.name()));
        let text = site.of(&part);
        assert!(!text.contains("hunter2"), "{}: a secret stands in the settings", part.name());
        std::fs::write(&path, text).expect("written");
        (part, path)
    };
    parts.into_iter().map(write).collect()
}

#[test]
fn every_process_takes_its_settings_and_is_the_user_whose_group_it_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let topics = Topics::default();
    let mut parts = 0;
    for (part, path) in rendered(folder.path()) {
        let kafka = match &part {
            Part::Aggregator => {
                let config = aggregator::Config::load(Some(&path)).expect("settings");
                config.validate().expect("usable");
                config.kafka
            }
            Part::Notifier => {
                let config = notifier::Config::load(Some(&path)).expect("settings");
                config.validate().expect("usable");
                config.kafka
            }
            Part::Producer(_) => {
                let config = producer::Config::load(Some(&path)).expect("settings");
                let config = producer::Config { dev: true, ..config };
                config.validate().expect("usable");
                config.kafka
            }
            Part::Connector(bank) => {
                let config = bank_connector::Config::load(Some(&path)).expect("settings");
                config.validate().expect("usable");
                assert_eq!(config.bank, *bank);
                let url = config.source[0].sql.url_file.clone().expect("a file with the address");
                assert_eq!(url, Path::new(&format!("/stack/run/keys/bank-{bank}.postgres")));
                config.kafka
            }
        };
        assert!(part.user().groups(&topics).contains(&kafka.client_id), "{part:?} {}", kafka.client_id);
        assert_eq!(kafka.properties["sasl.username"], part.user().to_string());
        assert_eq!(kafka.properties["security.protocol"], "sasl_ssl");
        parts += 1;
    }
    assert_eq!(parts, 17, "aggregator, notifier, producer and fourteen connectors");
}

#[test]
fn the_operators_settings_ask_for_as_many_replicas_as_there_are_brokers_and_for_two_of_three() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("operator.toml");
    let (plan, mut stack) = (Plan::new("/stack/run".into()), stack());
    for (brokers, expected) in [("localhost:1,localhost:2,localhost:3", (3, 2)), ("localhost:1", (1, 1))] {
        stack.brokers = brokers.to_owned();
        std::fs::write(&path, operator(&plan, &stack, ([127, 0, 0, 1], 8).into())).expect("written");
        let (config, estate) = crate::config::Config::load_with_estate(Some(&path)).expect("settings");
        assert_eq!((config.cluster.replication_factor, config.cluster.min_insync_replicas), expected);
        assert_eq!((estate.banks.len(), estate.upstreams.len()), (14, 1));
    }
}

#[test]
fn operator_and_auditor_are_each_who_they_are_to_the_brokers_and_to_the_hub() {
    let folder = tempfile::tempdir().expect("a folder");
    let (plan, stack) = (Plan::new("/stack/run".into()), stack());
    let hub = ([127, 0, 0, 1], 8).into();
    for (text, name, user) in [
        (operator(&plan, &stack, hub), "operator", "admin"),
        (auditor(&plan, &stack, hub), "auditor", "auditor"),
    ] {
        let path = folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, text).expect("written");
        let (config, _) = crate::config::Config::load_with_estate(Some(&path)).expect("settings");
        assert_eq!(config.kafka.properties["sasl.username"], user);
        assert_eq!(config.kafka.client_id, format!("cardquery.{name}"));
        let hub = config.hub.expect("a way to the hub");
        assert_eq!(hub.url, "https://127.0.0.1:8");
        let certificate = hub.tls.expect("certificates").certificate_file;
        assert_eq!(certificate, Path::new(&format!("/stack/run/keys/{name}.http.pem")));
    }
}
