use std::path::Path;

use plumbing::config::Settings as _;
use schemas::topics::Topics;

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

fn plan() -> Plan {
    Plan::new("/stack/run".into())
}

/// The settings of every process on this machine.
fn rendered(folder: &Path) -> Vec<(Part, PathBuf)> {
    rendered_at(&Addresses::here(&plan()).expect("ports"), folder)
}

fn rendered_at(addresses: &Addresses, folder: &Path) -> Vec<(Part, PathBuf)> {
    let (plan, stack) = (plan(), stack());
    let site = Site { plan: &plan, stack: &stack, addresses };
    let write = |part: Part| {
        let path = folder.join(format!("{}.toml", part.name()));
        let text = site.of(&part);
        assert!(!text.contains("hunter2"), "{}: a secret stands in the settings", part.name());
        std::fs::write(&path, text).expect("written");
        (part, path)
    };
    plan.parts().into_iter().map(write).collect()
}

#[test]
fn a_process_in_a_container_is_reached_from_outside_but_for_the_wallets_interface_without_callers() {
    let folder = tempfile::tempdir().expect("a folder");
    for (part, path) in rendered_at(&Addresses::in_containers(&plan()), folder.path()) {
        let admin = match part {
            Part::Aggregator => {
                let config = aggregator::Config::load(Some(&path)).expect("settings");
                config.validate().expect("usable");
                assert!(config.listen.ip().is_unspecified() && config.tls.is_some());
                config.admin
            }
            Part::Notifier => notifier::Config::load(Some(&path)).expect("settings").admin,
            Part::Producer(_) => {
                let config = producer::Config::load(Some(&path)).expect("settings");
                let config = producer::Config { dev: true, ..config };
                config.validate().expect("usable");
                assert!(config.http.listen.ip().is_loopback());
                assert_eq!(config.hub.url, "https://aggregator:8490");
                config.admin
            }
            Part::Connector(_) => bank_connector::Config::load(Some(&path)).expect("settings").admin,
        };
        assert!(admin.listen.ip().is_unspecified());
    }
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
    let addresses = Addresses::here(&plan).expect("ports");
    for (brokers, expected) in [("localhost:1,localhost:2,localhost:3", (3, 2)), ("localhost:1", (1, 1))] {
        stack.brokers = brokers.to_owned();
        std::fs::write(&path, operator(&plan, &stack, &addresses)).expect("written");
        let (config, estate) = crate::config::Config::load_with_estate(Some(&path)).expect("settings");
        assert_eq!((config.cluster.replication_factor, config.cluster.min_insync_replicas), expected);
        assert_eq!((estate.banks.len(), estate.upstreams.len()), (14, 1));
        let services = config.services;
        assert_eq!((services.aggregator.len(), services.notifier.len(), services.producer.len()), (1, 1, 1));
    }
}

#[test]
fn operator_and_auditor_are_each_who_they_are_to_the_brokers_and_to_the_hub() {
    let folder = tempfile::tempdir().expect("a folder");
    let (plan, stack) = (plan(), stack());
    let addresses = Addresses::here(&plan).expect("ports");
    for (text, name, user) in [
        (operator(&plan, &stack, &addresses), "operator", "admin"),
        (auditor(&plan, &stack, &addresses), "auditor", "auditor"),
    ] {
        let path = folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, text).expect("written");
        let (config, _) = crate::config::Config::load_with_estate(Some(&path)).expect("settings");
        assert_eq!(config.kafka.properties["sasl.username"], user);
        assert_eq!(config.kafka.client_id, format!("cardquery.{name}"));
        let hub = config.hub.expect("a way to the hub");
        assert_eq!(hub.url, format!("https://{}", addresses.hub));
        let certificate = hub.tls.expect("certificates").certificate_file;
        assert_eq!(certificate, Path::new(&format!("/stack/run/keys/{name}.http.pem")));
    }
}
