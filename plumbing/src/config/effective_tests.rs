use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use tempfile::TempDir;

use super::*;
use crate::config::Faults;
use crate::kafka::KafkaConfig;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thing {
    prefix: String,
    /// Without a default.
    owner: String,
    limit: u16,
    ratio: f64,
    names: Vec<String>,
    #[serde(default)]
    token: Option<String>,
    kafka: KafkaConfig,
}

impl Settings for Thing {
    const SERVICE: &'static str = "thing-maker";
    const DEFAULTS: &'static str = r#"
prefix = "things"
limit = 8
ratio = 0.5
names = []
[kafka]
brokers = "localhost:9092"
"#;
    const CLIENT_ID: &'static str = "{prefix}.maker.{owner}";
    const SECRETS: &'static [&'static str] = &["token"];

    fn validate(&self) -> Result<(), Faults> {
        let mut faults = self.kafka.faults();
        if self.limit > 100 {
            faults.push("limit: must be at most 100".to_owned());
        }
        if self.names.is_empty() {
            faults.push("names: at least one is needed".to_owned());
        }
        if self.token.as_deref() == Some("") {
            faults.push("token: is empty".to_owned());
        }
        Faults::check(faults)
    }

    fn secret_faults(&self) -> Vec<String> {
        self.kafka.secret_faults()
    }
}

struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("conf.d")).expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("written");
        }
        Self(folder)
    }

    fn sources(&self, env: &[(&str, &str)], set: &[(&str, &str)]) -> Sources {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Sources {
            config: Some(self.0.path().to_owned()),
            env: env.iter().map(owned).collect(),
            set: set.iter().map(owned).collect(),
        }
    }

    fn effective(&self, env: &[(&str, &str)], set: &[(&str, &str)]) -> Effective {
        Effective::of::<Thing>(&self.sources(env, set)).expect("readable")
    }

    fn faults(&self, env: &[(&str, &str)], set: &[(&str, &str)]) -> Vec<String> {
        let error = self.effective(env, set).checked_with_secrets::<Thing>(|_| {}).expect_err("faults");
        let root = format!("{}/", self.0.path().display());
        error.to_string().replace(&root, "").lines().map(str::to_owned).collect()
    }
}

const MAIN: &str = "thing-maker.toml";

#[test]
fn each_layer_wins_over_the_one_below() {
    let folder = Folder::new(&[
        (MAIN, "owner = 'file'\nlimit = 1\nnames = ['file']\n[kafka]\nbrokers = 'file:1'\n"),
        ("conf.d/20.toml", "limit = 3\n"),
        ("conf.d/10.toml", "limit = 2\nratio = 2\n[kafka]\nstall_timeout_ms = 7\n"),
        ("conf.d/readme", "not = read = at all"),
    ]);
    let env = [
        ("CARDQUERY__PREFIX", "shared"),
        ("CARDQUERY__NAMES", "shared"),
        ("CARDQUERY_THING_MAKER__NAMES", "a, b"),
        ("CARDQUERY_OTHER__LIMIT", "9"),
        ("CARDQUERY_X_SASL__MECHANISM", "PLAIN"),
        ("CARDQUERY_THING_MAKER_X_SASL__USERNAME", "0123"),
    ];
    let set = [("owner", "flag"), ("kafka.properties.linger.ms", "1")];
    let thing: Thing = folder.effective(&env, &set).checked(|_| {}).expect("valid");
    assert_eq!((thing.limit, thing.ratio, thing.owner.as_str()), (3, 2.0, "flag"));
    assert_eq!((thing.prefix.as_str(), thing.names), ("shared", vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!((thing.kafka.brokers.as_str(), thing.kafka.stall_timeout_ms), ("file:1", 7));
    // A text that looks like a number stays what it is.
    let properties: Vec<_> =
        thing.kafka.properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(properties, [("linger.ms", "1"), ("sasl.mechanism", "PLAIN"), ("sasl.username", "0123")]);
}

#[test]
fn the_client_id_is_derived_from_other_settings_unless_it_is_set() {
    let client_id = |text: &str| {
        let folder = Folder::new(&[(MAIN, text)]);
        folder.effective(&[], &[]).settings::<Thing>().expect("valid").kafka.client_id
    };
    assert_eq!(client_id("prefix = 'p'\nowner = 'o'\n"), "p.maker.o");
    assert_eq!(client_id("owner = 'o'\n[kafka]\nclient_id = 'mine'\n"), "mine");
}

#[test]
fn a_file_is_read_strictly() {
    let folder =
        Folder::new(&[(MAIN, "prefix = 5\nowner = 'o'\nlimit = '80'\nratio = true\nnames = ['a', 1]\n")]);
    assert_eq!(
        folder.faults(&[], &[]),
        [
            "thing-maker.toml:1:1: prefix: invalid type: integer `5`, expected a string",
            "thing-maker.toml:3:1: limit: invalid type: string \"80\", expected u16",
            "thing-maker.toml:4:1: ratio: invalid type: boolean `true`, expected f64",
            "thing-maker.toml:5:15: names[1]: invalid type: integer `1`, expected a string",
        ]
    );
}

#[test]
fn all_mistakes_of_all_layers_are_told_at_once() {
    let folder = Folder::new(&[
        (MAIN, "limmit = 1\nlimit = 101\n[kafka]\nbroker = 'x'\nsession_timeout_ms = -1\n[zzz]\na = 1\n"),
        (
            "conf.d/a.toml",
            "[kafka.properties]\n\"no.such\" = 'x'\n[kafka.property_files]\n\"sasl.password\" = '/no/file'\n",
        ),
    ]);
    let env = [("CARDQUERY__RATIO", "half"), ("CARDQUERY__HTTP__LISTEN", "x")];
    assert_eq!(
        folder.faults(&env, &[("names", ""), ("kafka.properties.sasl.password", "hunter2")]),
        [
            "conf.d/a.toml:2:1: kafka.properties.no.such: No such configuration property: \"no.such\"",
            "conf.d/a.toml:4:1: kafka.property_files.sasl.password: /no/file: No such file or directory (os error 2)",
            "thing-maker.toml:1:1: limmit: unknown key, did you mean `limit`?",
            "thing-maker.toml:2:1: limit: must be at most 100",
            "thing-maker.toml:4:1: kafka.broker: unknown key, did you mean `kafka.brokers`?",
            "thing-maker.toml:5:1: kafka.session_timeout_ms: invalid value: integer `-1`, expected u32",
            "thing-maker.toml:6:2: zzz: unknown key",
            "environment variable CARDQUERY__HTTP__LISTEN: http: unknown key; a setting that not every service has goes by the service's own prefix",
            "environment variable CARDQUERY__RATIO: ratio: invalid type: string \"half\", expected f64",
            "flag --set names: names: at least one is needed",
            "flag -X sasl.password: kafka.properties.sasl.password: a secret does not belong on the command line, where others see it",
            "defaults: owner: is missing",
        ]
    );
}

#[test]
fn mistakes_of_syntax_hide_no_mistake_in_another_file_and_make_no_others_up() {
    let folder =
        Folder::new(&[(MAIN, "owner = = 'o'\nnames = ['a'\n"), ("conf.d/a.toml", "limit = 101\nnope = 1\n")]);
    let faults = folder.faults(&[], &[]);
    assert!(faults[0].starts_with("conf.d/a.toml:2:1: nope: unknown key"), "{faults:?}");
    assert!(faults[1..].iter().all(|fault| fault.starts_with("thing-maker.toml:")), "{faults:?}");
    assert!(faults.len() > 1, "{faults:?}");
}

#[test]
fn a_table_in_the_place_of_a_value_and_the_other_way_round_are_one_mistake_each() {
    let folder = Folder::new(&[(MAIN, "owner = 'o'\nnames = ['a']\nkafka = 5\n[limit]\na = 1\n")]);
    assert_eq!(
        folder.faults(&[], &[]),
        [
            "thing-maker.toml:3:1: kafka: invalid type: integer `5`, expected struct KafkaConfig",
            "thing-maker.toml:4:2: limit: invalid type: map, expected u16",
        ]
    );
}

#[test]
fn a_folder_without_the_services_file_is_told_by_the_files_name() {
    let folder = Folder::new(&[]);
    let Err(ConfigError::Unreadable { path, .. }) = Effective::of::<Thing>(&folder.sources(&[], &[])) else {
        panic!("unreadable");
    };
    assert_eq!(path, folder.0.path().join(MAIN));
}

#[test]
fn a_secret_is_neither_shown_nor_explained_nor_told_by_an_error() {
    let folder = Folder::new(&[(
        MAIN,
        "owner = 'o'\ntoken = 'hunter2'\nnames = ['a']\n[kafka.properties]\n'sasl.password' = 'hunter2'\n",
    )]);
    let effective = folder.effective(&[("CARDQUERY__LIMIT", "9")], &[]);
    let shown = effective.show();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("limit = 9\n") && shown.contains("client_id = \"things.maker.o\""), "{shown}");
    let shown: toml::Table = shown.parse().expect("TOML");
    assert_eq!(shown["token"].as_str(), Some(REDACTED));
    let explained = effective.explain("kafka.properties").expect("set");
    assert!(
        explained.starts_with("kafka.properties.sasl.password = \"(redacted)\"\n  set by "),
        "{explained}"
    );

    let faults = folder.faults(&[], &[]);
    assert!(
        faults[0].starts_with("thing-maker.toml:2:1: token: a secret does not belong in a file"),
        "{faults:?}"
    );

    let wrong = Folder::new(&[(MAIN, "owner = 'o'\ntoken = 74837483\nnames = ['a']\n")]);
    let faults = wrong.faults(&[], &[]).join("\n");
    assert!(faults.contains("token") && !faults.contains("7483"), "{faults}");
}

#[test]
fn a_setting_is_explained_with_every_layer_that_set_it() {
    let folder = Folder::new(&[(MAIN, "owner = 'o'\nlimit = 3\n")]);
    let effective = folder.effective(&[("CARDQUERY_THING_MAKER__LIMIT", "4")], &[]);
    let path: PathBuf = folder.0.path().join(MAIN);
    assert_eq!(
        effective.explain("limit").expect("set"),
        format!(
            "limit = 4\n  set by environment variable CARDQUERY_THING_MAKER__LIMIT\n  instead of 3 by {}:2:1\n  instead of 8 by defaults\n",
            path.display()
        )
    );
    assert_eq!(
        effective.explain("kafka.client_id").expect("set"),
        "kafka.client_id = \"things.maker.o\"\n  set by derived\n"
    );
    assert_eq!(effective.explain("nobody.knows"), None);
}
