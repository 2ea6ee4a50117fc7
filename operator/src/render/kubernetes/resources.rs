//! Pods, and what stands around them. Everything fits the Pod Security Standard "restricted", which the namespace enforces.

use schemas::ids::Digest;
use serde_json::{Value, json};

use super::Site;
use super::settings::{self, SECRETS, STATE};
use super::workload::Workload;
use crate::config::{Config, Estate};
use crate::local::plan::Part;

/// The user of the images.
const USER: u32 = 10001;
/// Seconds that a service takes to finish what is in flight.
const GRACE: u32 = 60;
const CONFIG: &str = "/etc/cardquery";

pub(super) fn namespace(site: &Site) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": site.namespace,
            "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
        },
    })
}

pub(super) fn of(workload: &Workload, config: &Config, estate: &Estate, site: &Site) -> Vec<Value> {
    let named = Named { workload, site, name: workload.name() };
    let text = settings::of(workload, config, estate);
    let mut resources = vec![named.account(), named.config_map(&text), named.pods(&text)];
    // The governing service of a stateful set exists, also when nobody calls it.
    if workload.port().is_some() || workload.keeps_a_file() {
        resources.push(named.service());
    }
    if let Part::Aggregator = workload.part {
        resources.push(named.day_keys());
    }
    if site.replicas > 1 {
        resources.push(named.disruption_budget());
    }
    resources.push(named.network_policy(&config.kafka.brokers));
    resources
}

struct Named<'a> {
    workload: &'a Workload,
    site: &'a Site,
    name: String,
}

impl Named<'_> {
    fn resource(&self, api: &str, kind: &str, rest: Value) -> Value {
        let mut resource = json!({
            "apiVersion": api,
            "kind": kind,
            "metadata": { "name": self.name, "namespace": self.site.namespace, "labels": self.labels() },
        });
        if let (Value::Object(resource), Value::Object(rest)) = (&mut resource, rest) {
            resource.extend(rest);
        }
        resource
    }

    fn labels(&self) -> Value {
        json!({
            "app.kubernetes.io/name": self.workload.part.binary(),
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/part-of": "cardquery",
        })
    }

    fn account(&self) -> Value {
        self.resource("v1", "ServiceAccount", json!({ "automountServiceAccountToken": false }))
    }

    fn config_map(&self, text: &str) -> Value {
        let file = format!("{}.toml", self.workload.part.binary());
        self.resource("v1", "ConfigMap", json!({ "data": { file: text } }))
    }

    fn pods(&self, text: &str) -> Value {
        let template = json!({
            "metadata": {
                "labels": self.labels(),
                // Other settings are other pods.
                "annotations": { "cardquery/settings": Digest::of(text.as_bytes()).to_string() },
            },
            "spec": self.pod(),
        });
        let selector = json!({ "matchLabels": { "app.kubernetes.io/instance": self.name } });
        let mut spec = json!({ "replicas": self.site.replicas, "selector": selector, "template": template });
        if !self.workload.keeps_a_file() {
            return self.resource("apps/v1", "Deployment", json!({ "spec": spec }));
        }
        spec["serviceName"] = json!(self.name);
        spec["podManagementPolicy"] = json!("Parallel");
        spec["volumeClaimTemplates"] = json!([{
            "metadata": { "name": "state" },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": "16Mi" } },
            },
        }]);
        self.resource("apps/v1", "StatefulSet", json!({ "spec": spec }))
    }

    fn pod(&self) -> Value {
        json!({
            "serviceAccountName": self.name,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": GRACE + 15,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "topologySpreadConstraints": [{
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": { "matchLabels": { "app.kubernetes.io/instance": self.name } },
            }],
            "containers": [self.container()],
            "volumes": self.volumes(),
        })
    }

    fn container(&self) -> Value {
        let Site { images, tag, .. } = self.site;
        let binary = self.workload.part.binary();
        let mut ports = vec![json!({ "name": "admin", "containerPort": self.workload.admin_port() })];
        ports.extend(self.workload.port().map(|port| json!({ "name": "https", "containerPort": port })));
        let mut mounts = vec![
            json!({ "name": "settings", "mountPath": CONFIG, "readOnly": true }),
            json!({ "name": "own-settings", "mountPath": format!("{CONFIG}/conf.d"), "readOnly": true }),
            json!({ "name": "secrets", "mountPath": SECRETS, "readOnly": true }),
        ];
        match self.workload.part {
            Part::Aggregator => {
                mounts.push(json!({ "name": "day-keys", "mountPath": format!("{STATE}/day-keys") }));
            }
            Part::Producer(_) | Part::Connector(_) => {
                mounts.push(json!({ "name": "state", "mountPath": STATE }));
            }
            Part::Notifier => {}
        }
        json!({
            "name": binary,
            "image": format!("{images}{binary}:{tag}"),
            "args": ["--config", CONFIG, "--grace", GRACE.to_string()],
            "ports": ports,
            // Ten minutes: a service that starts waits for brokers and databases.
            "startupProbe": probe("startup", 5, 120),
            "livenessProbe": probe("live", 10, 6),
            "readinessProbe": probe("ready", 5, 2),
            "resources": {
                "requests": { "cpu": "100m", "memory": "128Mi" },
                "limits": { "memory": "1Gi" },
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
            "volumeMounts": mounts,
        })
    }

    fn volumes(&self) -> Value {
        let user = self.workload.part.user().to_string();
        let own = format!("{}-own", self.name);
        let ca = format!("{}-cluster-ca-cert", self.site.cluster);
        let item = |key: &str, path: &str| json!([{ "key": key, "path": path }]);
        let secrets = json!([
            { "secret": { "name": self.name } },
            { "secret": { "name": user, "items": item("password", "kafka.password") } },
            { "secret": { "name": ca, "items": item("ca.crt", "kafka-ca.pem") } },
        ]);
        let mut volumes = vec![
            json!({ "name": "settings", "configMap": { "name": self.name } }),
            json!({ "name": "own-settings", "configMap": { "name": own, "optional": true } }),
            json!({ "name": "secrets", "projected": { "defaultMode": 0o440, "sources": secrets } }),
        ];
        if let Part::Aggregator = self.workload.part {
            volumes.push(json!({ "name": "day-keys", "persistentVolumeClaim": { "claimName": self.name } }));
        }
        json!(volumes)
    }

    fn service(&self) -> Value {
        let mut ports =
            vec![json!({ "name": "admin", "port": self.workload.admin_port(), "targetPort": "admin" })];
        ports.extend(
            self.workload.port().map(|port| json!({ "name": "https", "port": port, "targetPort": "https" })),
        );
        let selector = json!({ "app.kubernetes.io/instance": self.name });
        self.resource("v1", "Service", json!({ "spec": { "selector": selector, "ports": ports } }))
    }

    /// One volume for all instances, which no backup may hold.
    fn day_keys(&self) -> Value {
        let spec = json!({
            "accessModes": ["ReadWriteMany"],
            "resources": { "requests": { "storage": "16Mi" } },
        });
        let mut claim = self.resource("v1", "PersistentVolumeClaim", json!({ "spec": spec }));
        claim["metadata"]["labels"]["velero.io/exclude-from-backup"] = json!("true");
        claim
    }

    fn disruption_budget(&self) -> Value {
        let selector = json!({ "matchLabels": { "app.kubernetes.io/instance": self.name } });
        let spec = json!({ "maxUnavailable": 1, "selector": selector });
        self.resource("policy/v1", "PodDisruptionBudget", json!({ "spec": spec }))
    }

    /// Who reaches the pods, and which ports they reach. Addresses are nobody's to know here.
    fn network_policy(&self, brokers: &str) -> Value {
        let monitoring = json!({ "kubernetes.io/metadata.name": self.site.monitoring });
        let mut ingress = vec![json!({
            "from": [{ "namespaceSelector": { "matchLabels": monitoring } }],
            "ports": [tcp(self.workload.admin_port())],
        })];
        if let (Some(port), Some(callers)) = (self.workload.port(), self.workload.callers()) {
            let callers = json!({ "matchLabels": { "app.kubernetes.io/name": callers } });
            ingress.push(json!({ "from": [{ "podSelector": callers }], "ports": [tcp(port)] }));
        }
        let mut reached: Vec<u16> = brokers.split(',').filter_map(port_of).collect();
        reached.extend(self.workload.reaches());
        reached.sort_unstable();
        reached.dedup();
        let dns = [json!({ "protocol": "UDP", "port": 53 }), tcp(53)];
        let egress: Vec<Value> = dns.into_iter().chain(reached.into_iter().map(tcp)).collect();
        let spec = json!({
            "podSelector": { "matchLabels": { "app.kubernetes.io/instance": self.name } },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": [{ "ports": egress }],
        });
        self.resource("networking.k8s.io/v1", "NetworkPolicy", json!({ "spec": spec }))
    }
}

fn probe(question: &str, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": { "path": format!("/health/{question}"), "port": "admin" },
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    })
}

fn tcp(port: u16) -> Value {
    json!({ "protocol": "TCP", "port": port })
}

fn port_of(broker: &str) -> Option<u16> {
    broker.trim().rsplit_once(':')?.1.parse().ok()
}
