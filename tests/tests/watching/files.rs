//! Every panel and every alert speaks of metrics and labels that exist; every alert has a runbook, and every runbook an
//! alert.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use cardquery_tests::prometheus::{deploy, shortened};
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use crate::expressions::spoken;

/// Labels that Prometheus adds, or histograms have.
const PROMETHEUS_LABELS: [&str; 3] = ["instance", "job", "le"];
/// A metric that Prometheus writes itself.
const PROMETHEUS_METRICS: [&str; 1] = ["up"];
/// All that metrics of services are labelled with.
const LABELS: [&str; 6] = ["role", "bank", "outcome", "code", "decision", "version"];

/// An alert rule.
struct Rule {
    alert: String,
    expression: String,
    runbook: String,
}

fn read(path: &str) -> String {
    let path = deploy().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(yaml: &Yaml) -> String {
    yaml.as_str().expect("a text").to_owned()
}

fn rules() -> Vec<Rule> {
    let documents = YamlLoader::load_from_str(&read("prometheus/alerts.yml")).expect("YAML");
    let groups = documents[0]["groups"].as_vec().expect("groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_vec().expect("rules"));
    rules
        .map(|rule| Rule {
            alert: text(&rule["alert"]),
            expression: text(&rule["expr"]),
            runbook: text(&rule["annotations"]["runbook_url"]),
        })
        .collect()
}

/// Title and expression of every panel, and of every variable.
fn panels() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read("grafana/cardquery.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut expressions = Vec::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().expect("every panel has a title");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{title} shows nothing");
        for target in targets {
            let expression = target["expr"].as_str().expect("an expression").to_owned();
            expressions.push((title.to_owned(), expression));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let query = variable["query"].as_str().expect("a query");
        if let Some(values) = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')) {
            let (metric, label) = values.split_once(", ").expect("a metric and a label");
            expressions
                .push((format!("variable {}", variable["name"]), format!("sum by ({label}) ({metric})")));
        }
    }
    expressions
}

/// Names of series, as Prometheus has them: a histogram is three.
fn series() -> BTreeSet<String> {
    let all = [
        aggregator::metric_names::ALL,
        bank_connector::metric_names::ALL,
        notifier::metric_names::ALL,
        plumbing::metric_names::ALL,
        producer::metric_names::ALL,
    ];
    let histograms = [
        aggregator::metric_names::BANK_REPLY,
        bank_connector::metric_names::LOOKUP_SECONDS,
        producer::metric_names::INTAKE_SECONDS,
    ];
    let of = |name: &&str| {
        let suffixes: &[&str] =
            if histograms.contains(name) { &["_bucket", "_sum", "_count"] } else { &[""] };
        suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect::<Vec<_>>()
    };
    all.into_iter().flatten().flat_map(of).collect()
}

fn check(place: &str, expression: &str) {
    let said = spoken(expression);
    let series = series();
    for metric in &said.metrics {
        let exists = series.contains(metric) || PROMETHEUS_METRICS.contains(&metric.as_str());
        assert!(exists, "{place}: no service writes {metric}");
    }
    for label in &said.labels {
        let label = label.as_str();
        assert!(LABELS.contains(&label) || PROMETHEUS_LABELS.contains(&label), "{place}: no label {label}");
    }
}

#[test]
fn every_panel_speaks_of_metrics_that_exist() {
    let panels = panels();
    assert!(panels.len() > 30, "{} expressions", panels.len());
    for (title, expression) in &panels {
        check(title, expression);
    }
}

#[test]
fn every_alert_speaks_of_metrics_that_exist() {
    for rule in rules() {
        check(&rule.alert, &rule.expression);
    }
}

/// What is watched nowhere was written for nobody.
#[test]
fn every_metric_is_on_the_dashboard() {
    let shown: BTreeSet<String> =
        panels().iter().flat_map(|(_, expression)| spoken(expression).metrics).collect();
    let names = [
        aggregator::metric_names::ALL,
        bank_connector::metric_names::ALL,
        notifier::metric_names::ALL,
        plumbing::metric_names::ALL,
        producer::metric_names::ALL,
    ];
    let missing: Vec<&str> = names
        .into_iter()
        .flatten()
        .copied()
        .filter(|name| !shown.contains(*name) && !shown.contains(&format!("{name}_bucket")))
        .collect();
    assert!(missing.is_empty(), "on no panel: {missing:?}");
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let docs = deploy().join("../docs/runbooks");
    let files: BTreeSet<String> = fs::read_dir(&docs)
        .expect("runbooks")
        .map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"))
        .collect();
    let alerts: BTreeMap<String, String> =
        rules().into_iter().map(|rule| (format!("{}.md", rule.alert), rule.runbook)).collect();
    assert_eq!(files, alerts.keys().cloned().collect(), "files and alerts");
    for (file, named) in &alerts {
        assert_eq!(*named, format!("docs/runbooks/{file}"));
        let text = fs::read_to_string(docs.join(file)).expect("a runbook");
        for part in ["## What it means for people", "## Find the cause", "## Do", "## Do not"] {
            assert!(text.contains(part), "{file} has no part {part:?}");
        }
    }
}

/// `promtool` knows what Prometheus takes, and what becomes of the rules in hours.
#[test]
fn promtool_takes_the_rules_and_their_tests() {
    let folder = deploy().join("prometheus");
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
        ["check", "config", "prometheus.yml"],
    ] {
        promtool(&folder, &arguments);
    }
    let shorter = tempfile::tempdir().expect("a folder");
    fs::write(shorter.path().join("alerts.yml"), shortened(&read("prometheus/alerts.yml"))).expect("written");
    promtool(shorter.path(), &["check", "rules", "alerts.yml"]);
}

fn promtool(folder: &Path, arguments: &[&str]) {
    let ran = Command::new("promtool").args(arguments).current_dir(folder).output();
    let ran = ran.expect("promtool is there: deploy/stack up --with-prometheus installs it");
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
}
