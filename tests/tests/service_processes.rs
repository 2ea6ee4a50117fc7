//! Every service as a process, on the in-process broker: settings, health, signals.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cardquery::sample;
use cardquery_tests::process::ChildProcess;
use plumbing::kafka::{KafkaConfig, OutRecord, Producer};
use producer::wallet::{self, Choice};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use reqwest::{Client, Method, StatusCode};
use schemas::registry::PartyName;
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use serde_json::{Value, json};
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(60);
const SERVICES: [&str; 4] = ["aggregator", "producer", "bank-connector", "notifier"];
const BANK: &str = "anhe";

/// A folder of settings that nothing is wrong with.
struct Settings(TempDir);

impl Settings {
    fn new(service: &str, brokers: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let hub = PartyName::hub();
        fs::write(path("signing"), hex::encode(sample::keys::signing_seed(&hub))).expect("written");
        fs::write(path("opening"), hex::encode(*sample::keys::opening(&hub).to_raw())).expect("written");
        fs::write(path("password"), "hunter2\n").expect("written");
        let roots: Vec<_> =
            sample::keys::roots().iter().map(|root| hex::encode(root.to_wire().raw)).collect();
        let mut settings = json!({
            "kafka": {
                "brokers": brokers,
                "append_time": "in_process",
                "session_timeout_ms": 6_000,
                "properties": { "fetch.wait.max.ms": 50 },
                "property_files": { "sasl.password": path("password") },
            },
            "admin": { "listen": "127.0.0.1:0" },
            "registry": { "roots": roots, "allow_sample_roots": true },
        });
        let own = match service {
            "aggregator" => json!({
                "listen": "127.0.0.1:0",
                "signing_key_file": path("signing"),
                "store": "memory",
            }),
            "producer" => json!({ "http": { "listen": "127.0.0.1:0" }, "signing_key_file": path("signing") }),
            "bank-connector" => json!({
                "bank": BANK,
                "signing_key_file": path("signing"),
                "opening_key_files": [path("opening")],
                "source": [sample_source(&path("core.db"))],
            }),
            "notifier" => json!({
                "dev": true,
                "store": "memory",
                "opening_key_files": [path("opening")],
                "notices": { "commit": "never", "drain_ms": 5_000 },
                "gateway": { "file": path("sms.jsonl"), "timeout_ms": 2_000 },
            }),
            other => panic!("{other} is no service"),
        };
        for (key, value) in own.as_object().expect("a table") {
            settings[key] = value.clone();
        }
        if matches!(service, "producer" | "bank-connector") {
            settings["registry"]["seen_file"] = json!(path("seen.json"));
        }
        let text = toml::to_string(&settings).expect("settings are tables");
        fs::write(path(&format!("{service}.toml")), text).expect("written");
        fs::create_dir(path("conf.d")).expect("a folder");
        Self(folder)
    }

    fn add(&self, name: &str, text: &str) {
        fs::write(self.0.path().join("conf.d").join(name), text).expect("written");
    }

    fn path(&self) -> &str {
        self.0.path().to_str().expect("temporary directories have names in UTF-8")
    }

    /// Runs `<service> <arguments>` to its end: exit code, standard output, standard error.
    async fn run(&self, service: &str, arguments: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
        let mut process = ChildProcess::spawn(service, &self.arguments(service, arguments), env);
        let code = process.wait(WITHIN).await;
        (code, process.stdout(), process.stderr())
    }

    fn arguments<'a>(&'a self, service: &str, arguments: &[&'a str]) -> Vec<&'a str> {
        let dev = (service == "producer").then_some("--dev");
        arguments.iter().copied().chain(["-c", self.path()]).chain(dev).collect()
    }
}

fn sample_source(database: &Path) -> Value {
    let sample: toml::Table =
        include_str!("../../deploy/sample/core/connector.toml").parse().expect("the sample is TOML");
    let mut source = serde_json::to_value(&sample["source"][0]).expect("a table");
    source["sql"]["url"] = json!(format!("sqlite://{}", database.display()));
    source
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_nothing_is_wrong_with_are_checked_shown_and_explained_without_a_secret() {
    for service in SERVICES {
        let settings = Settings::new(service, "127.0.0.1:1");
        let key = ("CARDQUERY_X_SASL__OAUTHBEARER__CONFIG", "hunter2");
        let (code, stdout, stderr) = settings.run(service, &["config", "check"], &[key]).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{service}");
        assert!(stdout.starts_with(&format!("{service}: ")), "{stdout}");

        let (code, stdout, _) = settings.run(service, &["config", "show"], &[key]).await;
        assert_eq!(code, 0, "{service}");
        assert!(!stdout.contains("hunter2") && stdout.parse::<toml::Table>().is_ok(), "{stdout}");

        let explain = ["config", "explain", "kafka.session_timeout_ms"];
        let env = [("CARDQUERY__KAFKA__SESSION_TIMEOUT_MS", "7000")];
        let (code, stdout, _) = settings.run(service, &explain, &env).await;
        assert_eq!(code, 0, "{service}");
        assert!(stdout.contains("7000\n  set by environment variable CARDQUERY__KAFKA__"), "{stdout}");
        let (code, _, _) = settings.run(service, &["config", "explain", "no.such.key"], &[]).await;
        assert_eq!(code, 65, "{service}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_of_every_layer_is_told_at_once_with_its_place() {
    for service in SERVICES {
        let settings = Settings::new(service, "127.0.0.1:1");
        settings.add(
            "10-keys.toml",
            "[kafka]\nbrocers = 'x'\nstall_timeout_ms = 'long'\n[kafka.properties]\nacks = 1\n'no.such' = 1\n",
        );
        settings.add(
            "20-rules.toml",
            "[registry]\nroots = ['00']\n[kafka.property_files]\n'ssl.key.password' = '/no/file'\n",
        );
        let env = [("CARDQUERY__ADMIN__LISTEN", "everywhere")];
        let arguments = ["config", "check", "-X", "linger.ms=soon"];
        let (code, stdout, stderr) = settings.run(service, &arguments, &env).await;
        assert_eq!((code, stdout.as_str()), (78, ""), "{service}: {stderr}");
        let told = stderr.replace(&format!("{}/conf.d/", settings.path()), "");
        let expected = [
            "10-keys.toml:2:1: kafka.brocers: unknown key, did you mean `kafka.brokers`?",
            "10-keys.toml:3:1: kafka.stall_timeout_ms: invalid type: string \"long\", expected u64",
            "10-keys.toml:5:1: kafka.properties.acks: reserved: ",
            "10-keys.toml:6:1: kafka.properties.no.such: No such configuration property",
            "20-rules.toml:2:10: registry.roots[0]: not an Ed25519 public key",
            "20-rules.toml:4:1: kafka.property_files.ssl.key.password: /no/file: ",
            "environment variable CARDQUERY__ADMIN__LISTEN: admin.listen: ",
            "flag -X linger.ms: kafka.properties.linger.ms: ",
        ];
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{service}: {told}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(expected), "{service}: {line}");
        }
        // Whoever starts it is told the same.
        let (code, _, started) = settings.run(service, &[], &env).await;
        assert_eq!(code, 78, "{service}: {started}");
        assert!(started.contains("kafka.brocers") && started.contains("registry.roots[0]"), "{started}");

        settings.add("30-broken.toml", "[kafka]\nbrokers = = 'x'\n");
        let (code, _, stderr) = settings.run(service, &["config", "check"], &[]).await;
        assert_eq!(code, 78, "{service}");
        assert!(stderr.contains("30-broken.toml:2:11: ") && stderr.contains("kafka.brocers"), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_is_missing_ends_every_service_with_the_same_exit_code() {
    for service in SERVICES {
        let settings = Settings::new(service, "127.0.0.1:1");
        for key in ["signing", "opening"] {
            fs::remove_file(settings.0.path().join(key)).expect("removed");
        }
        let (code, _, stderr) = settings.run(service, &[], &[]).await;
        assert_eq!(code, 66, "{service}: {stderr}");
        let (code, _, stderr) = settings.run(service, &["config", "check"], &[]).await;
        assert!(code == 78 && stderr.contains("_key_file"), "{service}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_that_would_write_sms_to_a_file_does_not_start_unless_that_is_said() {
    let settings = Settings::new("notifier", "127.0.0.1:1");
    for arguments in [&["--set", "dev=false"][..], &["config", "check", "--set", "dev=false"]] {
        let (code, _, stderr) = settings.run("notifier", arguments, &[]).await;
        assert_eq!(code, 78, "{stderr}");
        assert!(stderr.contains("gateway.file: is for development only and needs dev = true"), "{stderr}");
    }
    assert!(!settings.0.path().join("sms.jsonl").exists());
    settings.add("10-http.toml", "[gateway.http]\nurl = 'http://sms.example/'\nsecret_file = '/no/file'\n");
    let (code, _, stderr) = settings.run("notifier", &["config", "check"], &[]).await;
    assert_eq!(code, 78, "{stderr}");
    for fault in [
        "gateway.file: there is gateway.http already",
        "gateway.http.url: must be http:// with a loopback address",
        "gateway.http.secret_file: /no/file: ",
    ] {
        assert!(stderr.contains(fault), "{stderr}");
    }
}

/// A broker with the sample's registry.
async fn broker() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).expect("mock cluster");
    let sample = sample::registry::sample();
    let upstreams: Vec<_> = sample.upstreams.iter().map(|upstream| upstream.id.clone()).collect();
    let banks: Vec<_> = sample.banks.iter().map(|bank| bank.id.clone()).collect();
    let topics = Topics::new("cardquery");
    for (name, spec) in topics.all(&upstreams, &banks) {
        cluster.create_topic(&name, spec.partitions, 1).expect("topic created");
    }
    let producer = Producer::new(&KafkaConfig::in_process(cluster.bootstrap_servers(), "test"));
    let producer = producer.expect("producer");
    for (key, value) in sample::registry::records() {
        let record =
            OutRecord { topic: topics.registry(), key: Some(key.into_bytes()), value, headers: Vec::new() };
        producer.send(record).await.expect("acknowledged");
    }
    cluster
}

struct Started {
    process: ChildProcess,
    admin: String,
    client: Client,
    settings: Settings,
}

impl Started {
    async fn new(service: &str, brokers: &str) -> Self {
        let settings = Settings::new(service, brokers);
        let mut process = ChildProcess::spawn(service, &settings.arguments(service, &[]), &[]);
        let line = process.wait_for_line(r#""msg":"admin listener""#, WITHIN).await;
        let line: Value = serde_json::from_str(&line).expect("logs off a terminal are JSON");
        let admin = format!("http://{}", line["listen"].as_str().expect("an address"));
        Self { process, admin, client: plumbing::http::client(None).expect("no file can be wrong"), settings }
    }

    /// The exit code of `<service> health <question>`.
    async fn health(&self, service: &str, question: &str) -> i32 {
        let listen = format!("admin.listen={}", self.admin.trim_start_matches("http://"));
        self.settings.run(service, &["health", question, "--set", &listen], &[]).await.0
    }

    fn hang_up(&self) {
        let hup = std::process::Command::new("kill").args(["-HUP", &self.process.id().to_string()]).status();
        assert!(hup.expect("kill runs").success());
    }

    async fn ask(&self, method: Method, path: &str) -> (StatusCode, String) {
        let asked = self.client.request(method, format!("{}{path}", self.admin)).send().await;
        let answer = asked.expect("the admin listener answers");
        (answer.status(), answer.text().await.expect("text"))
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        self.ask(Method::GET, path).await
    }

    async fn failing(&self) -> Vec<String> {
        let checks: Vec<Value> = serde_json::from_str(&self.get("/health/ready").await.1).expect("a list");
        let failing = checks.iter().filter(|check| check["ok"] == false);
        failing.map(|check| check["name"].as_str().expect("a name").to_owned()).collect()
    }

    async fn until_failing(&self, what: &str, enough: impl Fn(&[String]) -> bool) {
        let waiting = async {
            while !enough(&self.failing().await) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(WITHIN, waiting).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_tells_how_it_is_and_ends_in_order_at_sigterm() {
    let cluster = broker().await;
    for service in SERVICES {
        let mut started = Started::new(service, &cluster.bootstrap_servers()).await;
        assert_eq!(started.get("/health/live").await.0, 200, "{service} is live before it is ready");
        started.process.wait_for_line(r#""msg":"started""#, WITHIN).await;
        assert_eq!(started.get("/health/startup").await.0, 200, "{service}");
        started.until_failing("ready", <[String]>::is_empty).await;
        assert_eq!(started.get("/health/ready").await.0, 200, "{service}");
        assert_eq!(started.health(service, "ready").await, 0, "{service}");
        let (status, metrics) = started.get("/metrics").await;
        assert_eq!(status, 200);
        assert!(metrics.contains(&format!("cardquery_build_info{{role=\"{service}\",version=")), "{metrics}");
        let version: Value = serde_json::from_str(&started.get("/version").await.1).expect("JSON");
        assert_eq!(version["service"], service);

        assert_eq!(started.ask(Method::PUT, "/admin/log?level=debug").await.0, 204);
        assert_eq!(started.ask(Method::PUT, "/admin/log?level=a=b=c").await.0, 400);
        let page = started.client.post(format!("{}/admin/drain", started.admin));
        let refused = page.header("origin", "http://evil.example").send().await.expect("an answer");
        assert_eq!(refused.status(), 403);

        started.hang_up();
        let reloads = matches!(service, "aggregator" | "producer");
        let said = if reloads { "[policy] reloaded" } else { "nothing to reload" };
        started.process.wait_for_line(said, WITHIN).await;
        assert_eq!(started.process.terminate_and_wait(WITHIN).await, 0, "{service}");
    }
}

/// The code with which a producer at `addr` refuses a query of the sample's person from Shanghai.
async fn submit(client: &Client, addr: &str) -> Value {
    let sample = sample::core::people().into_iter().find(|person| person.real_name).expect("a person");
    let person = (&sample).into();
    let choice = Choice {
        region: "310000".to_owned(),
        banks: [BANK.parse().expect("an id")].into(),
        text: producer::consent_texts()[0],
        risk: wallet::no_risk(),
    };
    let now = UnixMillis(jiff::Timestamp::now().as_millisecond());
    let prepared = wallet::prepare(&person, &choice, now).expect("a person");
    let body = wallet::body(&prepared.request, &person);
    let answer =
        client.post(format!("http://{addr}/v1/queries")).json(&body).send().await.expect("an answer");
    let document: Value = answer.json().await.expect("JSON");
    document["code"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_breaks_no_rule_is_taken_over_at_sighup_and_any_other_is_refused_whole() {
    let cluster = broker().await;
    let mut hub = Started::new("aggregator", &cluster.bootstrap_servers()).await;
    hub.process.wait_for_line(r#""msg":"started""#, WITHIN).await;
    hub.settings.add("50-policy.toml", "[policy]\nconsent_texts = [\"hash\"]\nhold_seconds = 259201\n");
    hub.hang_up();
    for fault in ["`hash` is not a hex SHA-256", "policy.hold_seconds: must be at most 259200"] {
        hub.process.wait_for_line(fault, WITHIN).await;
    }
    assert!(!hub.process.stderr().contains("[policy] reloaded"), "{}", hub.process.stderr());
    hub.settings.add("50-policy.toml", "[policy.risk.signals]\non_call = \"HOLD\"\n");
    hub.hang_up();
    hub.process.wait_for_line("[policy] reloaded", WITHIN).await;
    assert_eq!(hub.process.terminate_and_wait(WITHIN).await, 0);

    let mut intake = Started::new("producer", &cluster.bootstrap_servers()).await;
    let line = intake.process.wait_for_line(r#""msg":"listening""#, WITHIN).await;
    let line: Value = serde_json::from_str(&line).expect("logs off a terminal are JSON");
    let addr = line["addr"].as_str().expect("an address").to_owned();
    intake.process.wait_for_line(r#""msg":"started""#, WITHIN).await;
    // It signs with the hub's key here: that is the last gate.
    assert_eq!(submit(&intake.client, &addr).await, "KEY_UNKNOWN");
    intake.settings.add("50-policy.toml", "[policy]\nopen_regions = [\"530000\"]\n");
    intake.hang_up();
    intake.process.wait_for_line("[policy] reloaded", WITHIN).await;
    assert_eq!(submit(&intake.client, &addr).await, "REGION_NOT_OPEN");
    let broken = "[policy]\nopen_regions = [\"310000\", \"Yunnan\"]\nmax_factor_age = 0\n";
    intake.settings.add("50-policy.toml", broken);
    intake.hang_up();
    for fault in ["`Yunnan` is not a code of six digits", "policy.max_factor_age: must be between"] {
        intake.process.wait_for_line(fault, WITHIN).await;
    }
    assert_eq!(submit(&intake.client, &addr).await, "REGION_NOT_OPEN", "nothing of it was taken");
    assert_eq!(intake.process.terminate_and_wait(WITHIN).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_told_to_drain_ends_as_at_sigterm() {
    let cluster = broker().await;
    let mut started = Started::new("producer", &cluster.bootstrap_servers()).await;
    started.process.wait_for_line(r#""msg":"started""#, WITHIN).await;
    assert_eq!(started.ask(Method::POST, "/admin/drain").await.0, 202);
    assert_eq!(started.process.wait(WITHIN).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_fails_readiness_and_not_liveness() {
    let cluster = broker().await;
    let brokers = cluster.bootstrap_servers();
    for service in ["producer", "bank-connector"] {
        let mut started = Started::new(service, &brokers).await;
        started.process.wait_for_line(r#""msg":"started""#, WITHIN).await;
        started.until_failing("ready", <[String]>::is_empty).await;
        cluster.broker_down(1).expect("taken down");
        started
            .until_failing("the broker is missed", |failing| failing.contains(&"registry".to_owned()))
            .await;
        assert_eq!(started.get("/health/ready").await.0, 503, "{service}");
        assert_eq!(started.get("/health/live").await.0, 200, "{service}");
        assert_eq!(started.health(service, "ready").await, 69, "{service}");
        assert_eq!(started.health(service, "live").await, 0, "{service}");
        cluster.broker_up(1).expect("brought up");
        started.until_failing("the broker is back", <[String]>::is_empty).await;
        assert_eq!(started.process.terminate_and_wait(WITHIN).await, 0, "{service}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_still_waits_for_its_broker_ends_at_sigterm() {
    for service in SERVICES {
        let mut started = Started::new(service, "127.0.0.1:1").await;
        assert_eq!(started.get("/health/startup").await.0, 503, "{service}");
        assert_eq!(started.process.terminate_and_wait(WITHIN).await, 0, "{service}");
    }
}
