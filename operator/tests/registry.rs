//! The command `cardquery registry`, from new keys to what readers have, on the in-process broker.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use plumbing::kafka::{KafkaConfig, OutRecord, Producer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use serde_json::Value;

/// An operator's desk: a broker, settings, and a folder for files.
struct Desk {
    cluster: MockCluster<'static, DefaultProducerContext>,
    folder: tempfile::TempDir,
}

struct Told {
    exit: Option<i32>,
    out: String,
    error: String,
}

impl Desk {
    /// A registry topic, and two new root keys that the settings pin.
    fn new() -> Self {
        let cluster = MockCluster::new(1).expect("a broker");
        cluster.create_topic("cardquery.registry.v1", 1, 1).expect("created");
        let desk = Self { cluster, folder: tempfile::tempdir().expect("a folder") };
        let roots = ["root1", "root2"].map(|name| desk.key("root", name).0);
        desk.settings(&desk.cluster.bootstrap_servers(), &roots);
        desk
    }

    fn settings(&self, brokers: &str, roots: &[String]) {
        let settings = format!(
            "[kafka]\nbrokers = \"{brokers}\"\nappend_time = \"in_process\"\n[registry]\nroots = {roots:?}\n"
        );
        fs::write(self.path("operator.toml"), settings).expect("written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the command in the folder.
    fn run(&self, line: &str) -> Told {
        let output = Command::new(env!("CARGO_BIN_EXE_cardquery"))
            .arg("registry")
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            .output()
            .expect("runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Told { exit: output.status.code(), out: text(output.stdout), error: text(output.stderr) }
    }

    /// Runs what must work.
    fn done(&self, line: &str) -> String {
        let told = self.run(line);
        assert_eq!(told.exit, Some(0), "{line}: {}", told.error);
        told.out
    }

    /// Runs what must fail with this exit code, and returns the reason.
    fn refused(&self, line: &str, exit: i32) -> String {
        let told = self.run(line);
        assert_eq!(told.exit, Some(exit), "{line}: {}{}", told.out, told.error);
        told.error
    }

    /// Public half and id of a new key.
    fn key(&self, kind: &str, name: &str) -> (String, String) {
        let told = self.done(&format!("key new --kind {kind} --out {name}"));
        let word = |label: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(label)).expect("said");
            line.trim().to_owned()
        };
        (word("public"), word("key id"))
    }

    /// Signs a draft with both roots, and with a key of the party when keys are new.
    fn sign(&self, name: &str, party_key: Option<&str>) {
        let own = party_key.map_or(String::new(), |key| format!("--party-key {key}"));
        self.done(&format!("sign {name}.toml --root-key root1 {own} --out {name}.1.json"));
        self.done(&format!("sign {name}.1.json --root-key root2 --out {name}.json"));
    }

    fn base(&self, party: &str) {
        let draft = self.done(&format!("show -c operator.toml --party {party} --draft"));
        fs::write(self.path("base.toml"), draft).expect("written");
    }

    fn publish(&self, name: &str) -> String {
        self.done(&format!("publish {name}.json -c operator.toml --execute"))
    }

    fn shown(&self) -> Value {
        serde_json::from_str(&self.done("show -c operator.toml --json")).expect("JSON")
    }

    fn party(&self) -> Value {
        self.shown()["parties"][0].clone()
    }
}

fn ids(party: &Value, counts: bool) -> Vec<&str> {
    let keys = party["keys"].as_array().expect("keys").iter();
    keys.filter(|key| key["counts"] == counts).map(|key| key["id"].as_str().expect("an id")).collect()
}

#[test]
fn a_bank_joins_rotates_and_revokes_keys_is_suspended_resumes_and_leaves() {
    let desk = Desk::new();
    let (signs, signs_id) = desk.key("signing", "signs");
    let (seals, seals_id) = desk.key("opening", "seals");
    fs::write(
        desk.path("texts.toml"),
        "phone = \"00101\"\nname = { zh-CN = \"安和银行\", en = \"Anhe\" }\n\
         closing = { zh-CN = \"到网点办理。\", en = \"At a branch.\" }\n",
    )
    .expect("written");
    let join = "draft join bank/anhe --region 310000 --texts texts.toml";
    desk.done(&format!("{join} --sign {signs} --seal {seals} --out v1.toml"));
    desk.sign("v1", None);

    // Topics first.
    let missing = desk.refused("publish v1.json -c operator.toml --execute", 69);
    assert!(missing.contains("cardquery topics apply"), "{missing}");
    assert!(missing.contains("cardquery.request.anhe.v1") && missing.contains("cardquery.reply.anhe.v1"));
    for topic in ["cardquery.request.anhe.v1", "cardquery.reply.anhe.v1"] {
        desk.cluster.create_topic(topic, 3, 1).expect("created");
    }
    let plan = desk.done("publish v1.json -c operator.toml");
    assert!(plan.contains("+ bank/anhe  version 1  ACTIVE  310000"), "{plan}");
    assert!(plan.contains("nothing was changed"), "{plan}");
    assert_eq!(desk.shown()["parties"], serde_json::json!([]));
    assert!(desk.publish("v1").contains("published: cardquery.registry.v1:0:0"));
    assert!(desk.publish("v1").contains("nothing to do"));

    let (fresh, fresh_id) = desk.key("signing", "fresh");
    desk.base("bank/anhe");
    desk.done(&format!("draft rotate-key base.toml --sign {fresh} --out v2.toml"));
    desk.sign("v2", Some("signs"));
    desk.publish("v2");
    assert_eq!(ids(&desk.party(), true), [&signs_id, &seals_id, &fresh_id]);

    desk.base("bank/anhe");
    desk.done(&format!("draft revoke-key base.toml --key {signs_id} --out v3.toml"));
    desk.sign("v3", None);
    desk.publish("v3");
    let revoked_at = desk.party()["keys"][0]["revoked_at"].clone();
    assert!(revoked_at.is_string());
    assert_eq!(ids(&desk.party(), false), [&signs_id]);

    for (version, verb, state) in [(4, "suspend", "SUSPENDED"), (5, "resume", "ACTIVE"), (6, "leave", "LEFT")]
    {
        let name = format!("v{version}");
        desk.base("bank/anhe");
        desk.done(&format!("draft {verb} base.toml --out {name}.toml"));
        desk.sign(&name, None);
        desk.publish(&name);
        let party = desk.party();
        assert_eq!((&party["version"], &party["state"]), (&version.into(), &state.into()));
        assert_eq!(party["keys"][0]["revoked_at"], revoked_at, "a later entry does not move it");
    }
    let text = desk.done("show -c operator.toml --party bank/anhe");
    assert!(text.starts_with("bank/anhe  version 6  LEFT since "), "{text}");
    assert_eq!(desk.shown()["refused"], serde_json::json!([]));
}

#[test]
fn what_is_not_signed_by_both_roots_or_by_the_party_is_not_published() {
    let desk = Desk::new();
    let (signs, signs_id) = desk.key("signing", "signs");
    for topic in ["cardquery.query.wallet.v1", "cardquery.event.wallet.v1"] {
        desk.cluster.create_topic(topic, 3, 1).expect("created");
    }
    desk.done(&format!("draft join upstream/wallet --region 310000 --sign {signs} --out v1.toml"));
    desk.sign("v1", None);
    let one = desk.refused("publish v1.1.json -c operator.toml --execute", 65);
    assert!(one.contains("REGISTRY_ROOTS_TOO_FEW"), "{one}");
    desk.refused("sign v1.1.json --root-key root1 --out again.json", 65);
    desk.key("root", "stranger");
    desk.done("sign v1.1.json --root-key stranger --out strange.json");
    desk.refused("publish strange.json -c operator.toml --execute", 65);
    desk.publish("v1");

    let (fresh, _) = desk.key("signing", "fresh");
    desk.base("upstream/wallet");
    desk.done(&format!("draft rotate-key base.toml --sign {fresh} --out v2.toml"));
    desk.sign("v2", None);
    let unsigned = desk.refused("publish v2.json -c operator.toml --execute", 65);
    assert!(unsigned.contains("REGISTRY_ROTATION_UNSIGNED"), "{unsigned}");
    let alone = desk.refused(&format!("draft revoke-key base.toml --key {signs_id} --out v2b.toml"), 65);
    assert!(alone.contains("brings its replacement"), "{alone}");
    assert!(!desk.path("v2b.toml").exists());
    let party = desk.party();
    assert_eq!(party["version"], 1);
    assert_eq!(ids(&party, true), [&signs_id]);
    desk.refused("show -c operator.toml --party bank/anhe", 65);
    desk.refused("sign v2.json --out v3.json", 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_readers_refuse_is_shown_with_its_code() {
    let desk = Desk::new();
    let kafka = KafkaConfig::in_process(desk.cluster.bootstrap_servers(), "test");
    let record = OutRecord {
        topic: "cardquery.registry.v1".into(),
        key: Some(b"bank/anhe".to_vec()),
        value: b"anything".to_vec(),
        headers: Vec::new(),
    };
    Producer::new(&kafka).expect("a producer").send(record).await.expect("acknowledged");
    let shown = desk.shown();
    let refused = &shown["refused"][0];
    assert_eq!(refused["position"], "cardquery.registry.v1:0:0");
    assert_eq!((&refused["key"], &refused["code"]), (&"bank/anhe".into(), &"MESSAGE_MALFORMED".into()));
}

#[test]
fn settings_that_cannot_be_used_and_brokers_that_are_away_have_their_exit_codes() {
    let desk = Desk::new();
    let roots = ["other1", "other2"].map(|name| desk.key("root", name).0);
    desk.settings("127.0.0.1:1", &roots);
    desk.refused("show -c operator.toml", 69);
    desk.settings("127.0.0.1:1", &roots[..1]);
    desk.refused("show -c operator.toml", 78);
    let sample = cardquery::sample::keys::roots();
    let sample: Vec<String> = sample.iter().map(|root| hex::encode(root.to_wire().raw)).collect();
    desk.settings("127.0.0.1:1", &sample);
    let public = desk.refused("show -c operator.toml", 78);
    assert!(public.contains("allow_sample_roots"), "{public}");
    desk.refused("show -c nothing.toml", 66);
    desk.refused("show --draft", 64);
}
