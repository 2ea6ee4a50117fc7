//! The images and the composed system, as far as files tell: what one of them names, another has to have.
//!
//! Building and starting them takes a container engine; the README says how and when that was done.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const SERVICES: [&str; 4] = ["aggregator", "bank-connector", "notifier", "producer"];

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(deploy(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The lines of every stage, by its name.
fn stages() -> BTreeMap<String, Vec<String>> {
    let mut stages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut stage = String::new();
    for line in read("docker/Dockerfile").lines() {
        if let Some((_, name)) = line.strip_prefix("FROM ").and_then(|rest| rest.split_once(" AS ")) {
            stage = name.to_owned();
        }
        stages.entry(stage.clone()).or_default().push(line.to_owned());
    }
    stages
}

#[test]
fn every_program_has_an_image_that_runs_it_without_a_name_or_root() {
    let stages = stages();
    let runtime = &stages["runtime"];
    assert_eq!(
        runtime.iter().filter(|line| line.starts_with("USER ")).collect::<Vec<_>>(),
        ["USER 10001:10001"]
    );
    for program in SERVICES.into_iter().chain(["cardquery"]) {
        let stage = stages.get(program).unwrap_or_else(|| panic!("no target {program}"));
        assert_eq!(stage[0], format!("FROM runtime AS {program}"));
        assert!(stage.contains(&format!("COPY --from=programs /programs/{program} /usr/bin/")), "{stage:?}");
        assert!(stage.contains(&format!("ENTRYPOINT [\"{program}\"]")), "{stage:?}");
        assert!(!stage.iter().any(|line| line.starts_with("USER ")), "{stage:?}");
        let asks = format!("CMD [\"{program}\", \"health\", \"--config\", \"/etc/cardquery\"]");
        let health = stage.iter().find(|line| line.starts_with("HEALTHCHECK "));
        assert_eq!(
            health.is_some_and(|line| line.ends_with(&asks)),
            SERVICES.contains(&program),
            "{program}"
        );
        assert!(stages["compiled"].iter().any(|line| line.contains(program)), "{program} is not built");
    }
}

/// An image named by tag alone would be another one next month.
#[test]
fn every_base_image_has_a_version() {
    let dockerfile = read("docker/Dockerfile");
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once('='));
    let named = read("compose/compose.yaml");
    let served = named.lines().filter_map(|line| line.trim().strip_prefix("image: "));
    let mut images: Vec<_> = bases.map(|(_, image)| image).filter(|image| image.contains(':')).collect();
    assert_eq!(images.len(), 2, "{images:?}");
    images.extend(served);
    for image in images {
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        assert!(tag.starts_with(|first: char| first.is_ascii_digit()), "{image}");
    }
}

/// A service of the composed system: the lines below its name.
fn service<'a>(compose: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("  {name}:");
    let after = compose.lines().skip_while(|line| *line != start).skip(1);
    let lines: Vec<_> = after.take_while(|line| line.is_empty() || line.starts_with("    ")).collect();
    assert!(!lines.is_empty(), "no service {name}");
    lines
}

#[test]
fn the_composed_system_waits_for_health_and_asks_it_of_the_settings_that_each_service_has() {
    let compose = read("compose/compose.yaml");
    let shared: Vec<_> = compose.lines().skip_while(|line| !line.starts_with("x-service:")).collect();
    assert!(shared.contains(&"    prepare: { condition: service_completed_successfully }"));
    for server in ["kafka", "postgres", "redis"] {
        let wait = format!("      {server}: {{ condition: service_healthy }}");
        assert!(service(&compose, "prepare").contains(&wait.as_str()), "{server}");
        assert!(service(&compose, server).iter().any(|line| line.trim() == "healthcheck:"), "{server}");
    }
    assert!(service(&compose, "producer").contains(&"      aggregator: { condition: service_healthy }"));
    for (name, program) in [
        ("aggregator", "aggregator"),
        ("notifier", "notifier"),
        ("producer", "producer"),
        ("bank-anhe", "bank-connector"),
        ("bank-beichuan", "bank-connector"),
    ] {
        let lines = service(&compose, name);
        let settings = format!("\"--config\", \"/var/lib/cardquery/run/{name}.toml\"");
        let has = |start: &str, end: &str| {
            lines.iter().any(|line| line.trim().starts_with(start) && line.contains(end))
        };
        assert!(has("<<: *service", ""), "{name}");
        assert!(has("image: ", &format!("cardquery/{program}:{}", env!("CARGO_PKG_VERSION"))), "{name}");
        assert!(has("command: ", &settings), "{name}");
        assert!(has("test: ", &format!("\"{program}\", \"health\", {settings}")), "{name}");
    }
}

#[test]
fn every_secret_is_made_by_the_script_and_every_made_one_is_mounted() {
    let compose = read("compose/compose.yaml");
    let declared: BTreeSet<_> = compose
        .lines()
        .filter_map(|line| line.split_once("{ file: ./secrets.d/")?.1.strip_suffix(" }"))
        .collect();
    let script = read("compose/secrets");
    let written = script.lines().filter_map(|line| line.strip_prefix("put ")?.split(' ').next());
    let made: BTreeSet<_> = written.chain(["broker.pem", "ca.pem"]).collect();
    assert_eq!(declared, made);
    for secret in declared {
        let mounted = |line: &str| {
            let line = line.trim();
            line == format!("- {secret}") || line == format!("- source: {secret}")
        };
        assert!(compose.lines().any(mounted), "{secret}");
    }
}
