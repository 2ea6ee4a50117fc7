use std::collections::BTreeMap;
use std::io::Write;

use serde::Deserialize;
use tempfile::NamedTempFile;

use super::*;
use crate::exit::Exit;
use crate::kafka::KafkaConfig;

const DEFAULTS: &str = r#"
# Where the thing listens.
[http]
port = 8080
name = "thing"

[kafka]
brokers = "localhost:9092"
client_id = "thing"
"#;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    http: Http,
    kafka: KafkaConfig,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    port: u16,
    name: String,
    extra: Option<BTreeMap<String, String>>,
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("temporary file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

fn sources(config: Option<&Path>, env: &[(&str, &str)]) -> Sources {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { config: config.map(Path::to_owned), env, set: Vec::new() }
}

fn load_text(text: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
    let file = file(text);
    Effective::layered(DEFAULTS, "thing", &["THING".to_owned()], &sources(Some(file.path()), env))
        .and_then(|effective| effective.settings())
        .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "FILE"))
}

#[test]
fn the_defaults_alone_are_a_configuration() {
    let settings: Settings = load(DEFAULTS, None, "THING_THAT_NOBODY_SETS").expect("valid");
    assert_eq!(settings.http.port, 8080);
    assert_eq!(settings.kafka.session_timeout_ms, 45_000);
}

#[test]
fn the_file_wins_over_the_defaults_and_the_environment_over_both() {
    let settings = load_text(
        "[http]\nport = 1\nname = \"file\"\n",
        &[("THING__HTTP__PORT", "2"), ("OTHER__HTTP__NAME", "no")],
    )
    .expect("valid");
    assert_eq!((settings.http.port, &*settings.http.name), (2, "file"));
    assert_eq!(settings.kafka.brokers, "localhost:9092");
}

#[test]
fn a_number_in_the_environment_can_be_text() {
    let settings = load_text("", &[("THING__HTTP__NAME", "42")]).expect("valid");
    assert_eq!(settings.http.name, "42");
}

#[test]
fn dotted_kafka_properties_keep_their_dots() {
    let settings = load_text(
        "[kafka.properties]\n\"security.protocol\" = \"ssl\"\n",
        &[("THING__KAFKA__PROPERTIES__SASL_USERNAME", "alpha")],
    )
    .expect("valid");
    let properties: Vec<_> = settings.kafka.properties.into_iter().collect();
    assert_eq!(
        properties,
        [
            ("sasl.username".to_owned(), "alpha".to_owned()),
            ("security.protocol".to_owned(), "ssl".to_owned()),
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_is_reported_by_line_and_column() {
    let error = load_text("[http]\nport = = 1\n", &[]).expect_err("syntax");
    assert!(error.starts_with("FILE:2:8: "), "{error}");
}

#[test]
fn an_unknown_key_is_reported_by_line_and_column() {
    let error = load_text("# words\n[http]\nport = 1\n  prot = 2\n", &[]).expect_err("unknown");
    assert!(error.starts_with("FILE:4:3: "), "{error}");
    assert!(error.contains(" http.prot: unknown key, did you mean `http.port`?"), "{error}");
}

#[test]
fn an_unknown_section_is_reported_by_line_and_column() {
    let error = load_text("\n[htpt]\nport = 1\n", &[]).expect_err("unknown");
    assert!(error.starts_with("FILE:2:2: "), "{error}");
    assert!(error.contains(" htpt: unknown key, did you mean `http`?"), "{error}");
}

#[test]
fn a_wrong_type_in_the_file_is_reported_by_line_and_column() {
    let error = load_text("[http]\nname = \"a\"\nport = \"many\"\n", &[]).expect_err("type");
    assert!(error.starts_with("FILE:3:1: http.port: "), "{error}");
}

#[test]
fn a_wrong_type_in_a_section_with_dots_in_its_keys_is_found() {
    let error = load_text("[kafka.properties]\n\"a.b\" = [1]\n", &[]).expect_err("type");
    assert!(error.starts_with("FILE:2:1: "), "{error}");
}

#[test]
fn a_wrong_value_in_the_environment_is_reported_by_its_variable() {
    let error = load_text("[http]\nport = 1\n", &[("THING__HTTP__PORT", "many")]).expect_err("type");
    assert!(error.starts_with("environment variable THING__HTTP__PORT: http.port: "), "{error}");
}

#[test]
fn an_unknown_key_in_the_environment_is_reported_by_its_variable() {
    let error = load_text("", &[("THING__HTTP__PROT", "1")]).expect_err("unknown");
    assert!(error.starts_with("environment variable THING__HTTP__PROT: "), "{error}");
}

#[test]
fn a_number_that_does_not_fit_is_reported_by_line_and_column() {
    let error = load_text("[http]\nport = 70000\n", &[]).expect_err("range");
    assert!(error.starts_with("FILE:2:1: "), "{error}");
    assert!(error.contains(" http.port: "), "{error}");
}

#[test]
fn a_missing_file_is_no_input() {
    let error =
        load::<Settings>(DEFAULTS, Some(Path::new("/no/such/file.toml")), "THING").expect_err("missing");
    assert_eq!(error.exit(), Exit::NoInput);
    assert!(error.to_string().starts_with("/no/such/file.toml: "));
}

#[test]
fn a_missing_key_is_named() {
    let error = load::<Settings>("[kafka]\nbrokers = \"b\"\nclient_id = \"c\"\n", None, "NO_ONE")
        .expect_err("missing");
    assert_eq!(error.exit(), Exit::Config);
    assert!(error.to_string().contains("http: is missing"), "{error}");
}

#[test]
fn the_extra_table_takes_any_key() {
    let settings = load_text("[http.extra]\nAnyKey = \"v\"\n", &[]).expect("valid");
    let extra = settings.http.extra.expect("given");
    assert_eq!(extra.get("AnyKey").map(String::as_str), Some("v"));
}
