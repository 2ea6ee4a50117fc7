//! Topics and users as resources of Strimzi, a Kubernetes operator for Kafka.

use std::collections::BTreeMap;

use schemas::acls::{self, Binding, Resource, User};
use serde_json::{Value, json};

use crate::config::Estate;
use crate::topics::wanted::{Wanted, WantedTopic};

const API: &str = "kafka.strimzi.io/v1";

/// A stream of YAML documents. Each is JSON, which YAML contains.
pub(super) fn documents(estate: &Estate, cluster: &str) -> String {
    let wanted = Wanted::new(estate);
    let topics = wanted.topics.iter().map(|(name, topic)| kafka_topic(name, topic, cluster));
    let mut of_user: BTreeMap<User, Vec<Binding>> = BTreeMap::new();
    for binding in acls::bindings(&estate.topics, &estate.upstreams, &estate.banks) {
        of_user.entry(binding.user.clone()).or_default().push(binding);
    }
    let users = of_user.iter().map(|(user, bindings)| kafka_user(user, bindings, cluster));
    topics.chain(users).map(|resource| format!("---\n{resource:#}\n")).collect()
}

fn kafka_topic(name: &str, topic: &WantedTopic, cluster: &str) -> Value {
    let WantedTopic { partitions, replicas, settings, sealed_until: _ } = topic;
    json!({
        "apiVersion": API,
        "kind": "KafkaTopic",
        "metadata": metadata(name, cluster),
        "spec": { "topicName": name, "partitions": partitions, "replicas": replicas, "config": settings },
    })
}

fn kafka_user(user: &User, bindings: &[Binding], cluster: &str) -> Value {
    let acls: Vec<Value> = bindings.iter().map(acl).collect();
    json!({
        "apiVersion": API,
        "kind": "KafkaUser",
        "metadata": metadata(&user.to_string(), cluster),
        "spec": {
            "authentication": { "type": "scram-sha-512" },
            "authorization": { "type": "simple", "acls": acls },
        },
    })
}

fn metadata(name: &str, cluster: &str) -> Value {
    json!({ "name": name, "labels": { "strimzi.io/cluster": cluster } })
}

fn acl(binding: &Binding) -> Value {
    let kind = match binding.resource {
        Resource::Topic => "topic",
        Resource::Group => "group",
    };
    json!({
        "resource": { "type": kind, "name": binding.name, "patternType": "literal" },
        "operations": [binding.operation.to_string()],
        "host": "*",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample_estate;

    #[test]
    fn every_topic_user_and_access_list_is_there_and_can_be_parsed() {
        let estate = sample_estate();
        let printed = documents(&estate, "hub");

        let parsed: Vec<Value> = printed
            .split("---\n")
            .skip(1)
            .map(|document| serde_json::from_str(document).expect("one document"))
            .collect();
        let of_kind = |kind: &str| parsed.iter().filter(|found| found["kind"] == kind).collect::<Vec<_>>();
        assert_eq!(of_kind("KafkaTopic").len(), 13);
        let users = of_kind("KafkaUser");
        assert_eq!(users.len(), 8);
        let acls: usize = users
            .iter()
            .filter_map(|user| user["spec"]["authorization"]["acls"].as_array())
            .map(Vec::len)
            .sum();
        assert_eq!(acls, acls::bindings(&estate.topics, &estate.upstreams, &estate.banks).len());
        assert!(parsed.iter().all(|found| found["metadata"]["labels"]["strimzi.io/cluster"] == "hub"));

        let registry = of_kind("KafkaTopic")
            .into_iter()
            .find(|found| found["metadata"]["name"] == "cardquery.registry.v1");
        let config = &registry.expect("the registry")["spec"];
        assert_eq!((&config["partitions"], &config["replicas"]), (&json!(1), &json!(3)));
        assert_eq!(config["config"]["cleanup.policy"], "compact");
        assert_eq!(config["config"]["min.insync.replicas"], "2");
        let alpha = users.iter().find(|found| found["metadata"]["name"] == "bank-alpha").expect("a bank");
        let write = json!({
            "resource": { "type": "topic", "name": "cardquery.reply.alpha.v1", "patternType": "literal" },
            "operations": ["Write"],
            "host": "*",
        });
        let acls = alpha["spec"]["authorization"]["acls"].as_array().expect("a list");
        assert!(acls.len() == 4 && acls.contains(&write), "{acls:?}");
    }
}
