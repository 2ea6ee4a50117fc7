use std::collections::{BTreeMap, BTreeSet};

use plumbing::config::{Effective, Settings, Sources};

use super::*;
use crate::render::sample_estate;
use crate::sample;

fn site() -> Site {
    Site {
        namespace: "cardquery".to_owned(),
        images: "registry.example/cardquery/".to_owned(),
        tag: "1.2.3".to_owned(),
        cluster: "hub".to_owned(),
        monitoring: "monitoring".to_owned(),
        replicas: 2,
    }
}

fn config() -> Config {
    let mut config = Config::load(None).expect("the defaults");
    config.kafka.brokers = "hub-kafka-bootstrap:9093".to_owned();
    config.registry.roots =
        sample::keys::roots().iter().map(|root| hex::encode(root.to_wire().raw)).collect();
    config.registry.allow_sample_roots = true;
    config
}

fn parsed(site: &Site) -> Vec<Value> {
    documents(&config(), &sample_estate(), site)
        .split("---\n")
        .skip(1)
        .map(|document| serde_json::from_str(document).expect("one document"))
        .collect()
}

fn of_kind<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|found| found["kind"] == kind).collect()
}

fn pods(all: &[Value]) -> Vec<&Value> {
    let workloads = [of_kind(all, "Deployment"), of_kind(all, "StatefulSet")].concat();
    workloads.into_iter().map(|workload| &workload["spec"]["template"]["spec"]).collect()
}

#[test]
fn what_is_rendered_changes_on_purpose_only() {
    let printed = documents(&config(), &sample_estate(), &site());
    let expected = include_str!("../../../golden/kubernetes.yaml");
    assert!(printed == expected, "operator/golden/kubernetes.yaml differs from:\n{printed}");
}

#[test]
fn the_hub_every_upstream_and_every_bank_have_pods_an_account_a_budget_and_a_network_policy() {
    let all = parsed(&site());
    let wanted = ["aggregator", "connector-alpha", "connector-beta", "notifier", "producer-wallet"];
    for kind in ["ServiceAccount", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy"] {
        let names: BTreeSet<_> = of_kind(&all, kind)
            .iter()
            .map(|found| found["metadata"]["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(names, wanted.into(), "{kind}");
    }
    assert_eq!((of_kind(&all, "Deployment").len(), of_kind(&all, "StatefulSet").len()), (2, 3));
    assert_eq!(pods(&all).len(), wanted.len());
    let keys: BTreeSet<_> =
        all.iter().map(|found| (found["kind"].to_string(), found["metadata"]["name"].to_string())).collect();
    assert_eq!(keys.len(), all.len(), "two resources of one kind and name");
    let alone = parsed(&Site { replicas: 1, ..site() });
    assert!(of_kind(&alone, "PodDisruptionBudget").is_empty(), "one pod could never be moved");
}

#[test]
fn every_pod_is_confined_as_the_restricted_standard_wants_it() {
    let all = parsed(&site());
    for pod in pods(&all) {
        let security = &pod["securityContext"];
        assert_eq!((&security["runAsNonRoot"], &security["runAsUser"]), (&true.into(), &10001.into()));
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["automountServiceAccountToken"], false);
        let container = &pod["containers"][0];
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
        assert!(container["resources"]["limits"]["memory"].is_string());
    }
    let labels = &of_kind(&all, "Namespace")[0]["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
}

/// What is mounted where, what a probe asks, and what a policy lets through are said in different places.
#[test]
fn ports_probes_mounts_and_selectors_fit_each_other() {
    let all = parsed(&site());
    for workload in [of_kind(&all, "Deployment"), of_kind(&all, "StatefulSet")].concat() {
        let name = &workload["metadata"]["name"];
        let template = &workload["spec"]["template"];
        let instance = &template["metadata"]["labels"]["app.kubernetes.io/instance"];
        assert_eq!(instance, name);
        let container = &template["spec"]["containers"][0];
        let ports: BTreeMap<_, _> = container["ports"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|port| (port["name"].as_str().expect("a name"), port["containerPort"].clone()))
            .collect();
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let asked = &container[probe]["httpGet"];
            assert!(ports.contains_key(asked["port"].as_str().expect("a name")), "{name} {probe}");
            let question =
                probe.trim_end_matches("Probe").replace("liveness", "live").replace("readiness", "ready");
            assert_eq!(asked["path"], format!("/health/{question}"));
        }
        let volumes: BTreeSet<_> = [&template["spec"]["volumes"], &workload["spec"]["volumeClaimTemplates"]]
            .iter()
            .filter_map(|list| list.as_array())
            .flatten()
            .map(|volume| volume.pointer("/metadata/name").unwrap_or(&volume["name"]).to_string())
            .collect();
        let mounts = container["volumeMounts"].as_array().expect("a list");
        assert_eq!(mounts.iter().map(|mount| mount["name"].to_string()).collect::<BTreeSet<_>>(), volumes);

        let policy =
            of_kind(&all, "NetworkPolicy").into_iter().find(|found| &found["metadata"]["name"] == name);
        let policy = &policy.expect("a policy")["spec"];
        assert_eq!(&policy["podSelector"]["matchLabels"]["app.kubernetes.io/instance"], name);
        let admitted: BTreeSet<_> = policy["ingress"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|rule| rule["ports"][0]["port"].to_string())
            .collect();
        assert_eq!(admitted, ports.values().map(Value::to_string).collect(), "{name}");
        let reached = policy["egress"][0]["ports"].to_string();
        assert!(reached.contains("9093") && reached.contains("53"), "{reached}");
    }
}

/// The service's own reader takes the rendered file; `own` is what only its operator knows.
fn checked<S: Settings>(workload: &str, own: &str) -> S {
    let all = parsed(&site());
    let map = of_kind(&all, "ConfigMap").into_iter().find(|found| found["metadata"]["name"] == workload);
    let data = map.expect("a map")["data"].as_object().expect("files");
    let folder = tempfile::tempdir().expect("a folder");
    for (file, text) in data {
        std::fs::write(folder.path().join(file), text.as_str().expect("a text")).expect("written");
    }
    std::fs::create_dir(folder.path().join("conf.d")).expect("made");
    std::fs::write(folder.path().join("conf.d/own.toml"), own).expect("written");
    let sources = Sources { config: Some(folder.path().to_owned()), ..Sources::default() };
    let effective = Effective::of::<S>(&sources).expect("readable");
    effective.checked(|_| ()).unwrap_or_else(|error| panic!("{workload}: {error}"))
}

#[test]
fn every_service_takes_the_settings_that_are_rendered_for_it() {
    let hub: aggregator::Config = checked("aggregator", "");
    assert!(hub.tls.is_some() && hub.erasure.key_dir.starts_with(settings::STATE));
    let gateway = "[gateway.http]\nurl = 'https://sms.example/'\nsecret_file = 'x'\n\
                   [gateway.http.tls]\ncertificate_file = 'x'\nkey_file = 'x'\nca_file = 'x'\n";
    let _: notifier::Config = checked("notifier", gateway);
    let intake: producer::Config = checked("producer-wallet", "");
    assert_eq!(intake.upstream.as_str(), "wallet");
    let source = toml::to_string(&serde_json::json!({ "source": [sample::core::source_settings()] }));
    let bank: bank_connector::Config = checked("connector-alpha", &source.expect("TOML"));
    assert_eq!(bank.bank.as_str(), "alpha");
    assert_eq!(bank.kafka.properties["sasl.username"], "bank-alpha");
}

#[test]
fn the_admin_ports_are_the_services_defaults() {
    for workload in Workload::all(&sample_estate()) {
        let defaults = match &workload.part {
            crate::local::plan::Part::Aggregator => aggregator::Config::DEFAULTS,
            crate::local::plan::Part::Notifier => notifier::Config::DEFAULTS,
            crate::local::plan::Part::Producer(_) => producer::Config::DEFAULTS,
            crate::local::plan::Part::Connector(_) => bank_connector::Config::DEFAULTS,
        };
        let defaults: toml::Value = toml::from_str(defaults).expect("TOML");
        let listen = defaults["admin"]["listen"].as_str().expect("an address").to_owned();
        assert!(listen.ends_with(&format!(":{}", workload.admin_port())), "{listen}");
    }
}
