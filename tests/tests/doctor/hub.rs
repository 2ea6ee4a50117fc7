//! `cardquery doctor`.

use std::path::Path;
use std::time::{Duration, Instant};

use cardquery::local::plan::Part;
use cardquery_tests::system::System;
use kafka_native::{Acl, AclOperation, Pattern, Permission, ResourceKind};
use rdkafka::admin::AdminOptions;
use schemas::topics::Topics;
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::examined::{Examined, Expected};
use crate::{secrets, set, settings, system};

const WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// A fault in the operator's own settings.
struct Fault {
    name: &'static str,
    plant: fn(&System, &mut toml::Table),
    check: &'static str,
    what: &'static str,
    fix: &'static str,
    exit: i32,
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "an unknown key",
        plant: |_, settings| set(settings, &["aaaa"], 3),
        check: "config",
        what: "planted.toml:1:1: aaaa: unknown key",
        fix: "correct it there",
        exit: 78,
    },
    Fault {
        name: "a rule that is broken",
        plant: |_, settings| set(settings, &["cluster", "min_insync_replicas"], 7),
        check: "config",
        what: "cluster.min_insync_replicas: 7 must be at least 1",
        fix: "correct this setting",
        exit: 78,
    },
    Fault {
        name: "the sample's roots without permission",
        plant: |_, settings| set(settings, &["registry", "allow_sample_roots"], false),
        check: "config",
        what: "registry.roots[0]: a root key of the sample registry",
        fix: "correct this setting",
        exit: 78,
    },
    Fault {
        name: "roots that signed nothing",
        plant: |_, settings| {
            let other =
                |n| hex::encode(schemas::keys::SigningKey::from_seed(&[n; 32]).public().to_wire().raw);
            set(settings, &["registry", "roots"], toml::Value::from(vec![other(81), other(82)]));
        },
        check: "registry",
        what: "hub/hub: no entry that these roots signed",
        fix: "cardquery registry publish",
        exit: 65,
    },
    Fault {
        name: "a port that nobody listens on",
        plant: |_, settings| set(settings, &["kafka", "brokers"], "localhost:1"),
        check: "dns/tcp",
        what: "localhost:1: Connection refused",
        fix: "correct the port",
        exit: 69,
    },
    Fault {
        name: "a name that leads nowhere",
        plant: |_, settings| set(settings, &["kafka", "brokers"], "no-such-broker.invalid:9093"),
        check: "dns/tcp",
        what: "no-such-broker.invalid:9093: no such name",
        fix: "DNS entry",
        exit: 69,
    },
    Fault {
        name: "another authority",
        plant: |system, settings| {
            let other = system.local.plan.folder.join("keys/http-ca.pem");
            set(settings, &["kafka", "properties", "ssl.ca.location"], text(&other));
        },
        check: "tls",
        what: "of an authority that is not believed",
        fix: "ssl.ca.location",
        exit: 78,
    },
    Fault {
        name: "a port that speaks no TLS",
        plant: |system, settings| set(settings, &["kafka", "brokers"], system.local.producer().to_string()),
        check: "tls",
        what: "does not speak TLS",
        fix: "the brokers' TLS listener",
        exit: 69,
    },
    Fault {
        name: "a wrong password",
        plant: |system, settings| {
            let stack = &system.local.stack;
            let other = stack.password_file("bank-anhe");
            set(settings, &["kafka", "property_files", "sasl.password"], text(&other));
        },
        check: "sasl",
        what: "invalid credentials",
        fix: "kafka.property_files",
        exit: 77,
    },
    Fault {
        name: "a user who may not describe the cluster",
        plant: |system, settings| {
            let stack = &system.local.stack;
            set(settings, &["kafka", "properties", "sasl.username"], "operator");
            let own = stack.password_file("operator");
            set(settings, &["kafka", "property_files", "sasl.password"], text(&own));
        },
        check: "topics",
        what: "AuthorizationFailed",
        fix: "use a user who may describe the cluster",
        exit: 77,
    },
    Fault {
        name: "a bank that was never applied",
        plant: |_, settings| {
            set(settings, &["parties", "banks"], toml::Value::from(vec!["anhe", "taihe", "newbank"]));
        },
        check: "topics",
        what: ".request.newbank.v1",
        fix: "cardquery topics apply",
        // Its access lists are missing as well, and weigh more.
        exit: 77,
    },
    Fault {
        name: "a process that is not there",
        plant: |_, settings| {
            set(settings, &["services", "notifier"], toml::Value::from(vec!["http://127.0.0.1:1"]));
        },
        check: "services",
        what: "notifier http://127.0.0.1:1: nobody listens there",
        fix: "services.notifier",
        exit: 69,
    },
    Fault {
        name: "the address of another process",
        plant: |_, settings| {
            let producer = settings["services"]["producer"].clone();
            set(settings, &["services", "aggregator"], producer);
        },
        check: "services",
        what: "is a producer",
        fix: "correct services.aggregator",
        exit: 78,
    },
];

fn text(path: &Path) -> String {
    path.to_str().expect("temporary directories have names in UTF-8").to_owned()
}

async fn examine(system: &System) -> Examined {
    Examined::by("cardquery", &["--config", &text(&system.local.plan.folder)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_hub_is_well_and_nothing_is_sent_or_written_to_find_out() {
    let system = system().await;
    let ends = system.ends().await;
    let examined = examine(&system).await;
    examined.is_well_but_for(&["the sample's are allowed"]);
    examined.tells_none_of(&secrets(&system));
    assert_eq!(system.ends().await, ends, "a record was written");
    system.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_in_the_operators_settings_is_named_with_its_fix_and_exit_code() {
    let system = system().await;
    let told = secrets(&system);
    for fault in FAULTS {
        let mut settings = settings(&system, "operator");
        (fault.plant)(&system, &mut settings);
        let path = system.write("planted.toml", &settings.to_string());
        let examined = Examined::by("cardquery", &["--config", &text(&path)]).await;
        examined.tells_none_of(&told);
        let Fault { name, check, what, fix, exit, .. } = *fault;
        assert!(!examined.printed().is_empty(), "{name}");
        examined.names(&Expected { check, what, fix, exit });
    }
    system.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_to_a_cluster_is_named_and_the_command_that_is_told_mends_it() {
    let system = system().await;
    let topics = system.local.topics();
    let folder = text(&system.local.plan.folder);
    let apply = format!("cardquery topics apply -c {folder} --execute");
    let bank = "anhe".parse().expect("an id");

    let dead = topics.dead_letter(&topics.reply(&bank)).expect("replies have dead letters");
    let options = AdminOptions::new().operation_timeout(Some(WITHIN));
    let admin = system.admin().admin().expect("a client");
    admin.delete_topics(&[&dead], &options).await.expect("deleted");
    settled(&system, |plan| plan.contains("+ create topic")).await;
    let missing = format!("create topic {dead}");
    examine(&system).await.names(&Expected { check: "topics", what: &missing, fix: &apply, exit: 65 });
    mend(&system, &folder).await;

    let query = topics.query(system.local.plan.upstream());
    let forever = [("retention.ms".to_owned(), Some("-1".to_owned()))];
    kafka_native::alter_topic_settings(admin.inner(), [(query.as_str(), forever.as_slice())], WITHIN)
        .expect("changed");
    settled(&system, |plan| plan.contains("retention.ms")).await;
    let wrong = format!("{query} (retention.ms -1 -> 5d)");
    examine(&system).await.names(&Expected { check: "topics", what: &wrong, fix: &apply, exit: 65 });
    mend(&system, &folder).await;

    let lost = acl(&topics);
    kafka_native::delete_acls(admin.inner(), std::slice::from_ref(&lost), WITHIN).expect("taken away");
    settled(&system, |plan| plan.contains("+ acl")).await;
    examine(&system).await.names(&Expected { check: "acl", what: &lost.to_string(), fix: &apply, exit: 77 });
    mend(&system, &folder).await;
    system.finish();
}

/// What the notifier writes by; nothing is sent here, so nobody misses it.
fn acl(topics: &Topics) -> Acl {
    Acl {
        resource: ResourceKind::Topic,
        name: topics.sms(),
        pattern: Pattern::Literal,
        principal: "User:notifier".to_owned(),
        host: "*".to_owned(),
        operation: AclOperation::Write,
        permission: Permission::Allow,
    }
}

/// Waits until the brokers show a change that the controller has made.
async fn settled(system: &System, shows: impl Fn(&str) -> bool) {
    let folder = text(&system.local.plan.folder);
    let deadline = Instant::now() + WITHIN;
    loop {
        let plan = system.operator(&["topics", "plan", "--config", &folder]).await;
        if shows(&plan) {
            return;
        }
        assert!(Instant::now() < deadline, "the brokers do not show the change: {plan}");
        tokio::time::sleep(POLL).await;
    }
}

/// Does what the line says, and looks again.
async fn mend(system: &System, folder: &str) {
    system.operator(&["topics", "apply", "-c", folder, "--execute"]).await;
    examine(system).await.is_well_but_for(&["the sample's are allowed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_down_or_has_no_database_is_named_with_what_it_lacks() {
    let mut system = system().await;

    let url = system.local.database_url(&Part::Notifier).expect("it has a database");
    let role =
        url.expose_secret().split("://").nth(1).and_then(|rest| rest.split(':').next()).expect("a role");
    let mut session =
        PgConnection::connect(system.local.stack.postgres.expose_secret()).await.expect("PostgreSQL");
    shut_out(&mut session, role).await;
    not_ready(&system, "notifier").await;
    examine(&system).await.names(&Expected {
        check: "services",
        what: "not ready: postgresql",
        fix: "start PostgreSQL, or correct [postgres] in the settings of the notifier",
        exit: 69,
    });
    run(&mut session, format!("ALTER ROLE {role} LOGIN")).await;
    system.ready("notifier").await;

    assert_eq!(system.terminate("notifier").await, 0);
    examine(&system).await.names(&Expected {
        check: "services",
        what: "nobody listens there",
        fix: "services.notifier",
        exit: 69,
    });
    system.spawn("notifier");
    system.ready("notifier").await;
    examine(&system).await.is_well_but_for(&["the sample's are allowed"]);
    system.finish();
}

/// Keeps a role from logging in, and ends its sessions.
async fn shut_out(session: &mut PgConnection, role: &str) {
    run(session, format!("ALTER ROLE {role} NOLOGIN")).await;
    run(session, format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"))
        .await;
}

async fn run(session: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(session).await.expect("PostgreSQL does it");
}

async fn not_ready(system: &System, name: &str) {
    let service = system.local.services.iter().find(|service| service.name == name).expect("it runs");
    let client = plumbing::http::client(None).expect("no file can be wrong");
    let deadline = Instant::now() + WITHIN;
    while client.get(service.ready()).send().await.is_ok_and(|answer| answer.status().is_success()) {
        assert!(Instant::now() < deadline, "{name} does not notice that its database is away");
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_persons_query_ends_the_look_at_a_local_system_and_is_sent_nowhere_else() {
    let system = system().await;
    let folder = text(&system.local.plan.folder);
    let stack = text(&stack_of(&system));
    let args = ["--config", &folder, "--stack", &stack, "--person", "wang"];
    let asked = Examined::by("cardquery", &args).await;
    asked.is_well_but_for(&["the sample's are allowed"]);
    assert!(asked.printed().contains("wang: FINAL_ALL_ANSWERED, 2 of 2 banks"), "{}", asked.printed());

    let ends = system.ends().await;
    let mut real = settings(&system, "operator");
    let own = |n| hex::encode(schemas::keys::SigningKey::from_seed(&[n; 32]).public().to_wire().raw);
    set(&mut real, &["registry", "allow_sample_roots"], false);
    set(&mut real, &["registry", "roots"], toml::Value::from(vec![own(81), own(82)]));
    let path = text(&system.write("real.toml", &real.to_string()));
    let args = ["--config", &path, "--stack", &stack, "--person", "wang"];
    Examined::by("cardquery", &args).await.names(&Expected {
        check: "rehearsal",
        what: "no query is sent to a hub of real people",
        fix: "leave --person out",
        exit: 78,
    });
    assert_eq!(system.ends().await, ends, "a query was sent");
    system.finish();
}

/// A folder that says where the servers are and where this system is, as that of `deploy/stack` does.
fn stack_of(system: &System) -> std::path::PathBuf {
    let stack = &system.local.stack;
    let text = std::fs::read_to_string(stack.folder.join("env")).expect("the stack's lines");
    let own = system.fresh("stack");
    std::fs::create_dir(&own).expect("the system's folder is writable");
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.split_once("CARDQUERY_STACK=") {
            Some((before, _)) => format!("{before}CARDQUERY_STACK={}", own.display()),
            None => line.to_owned(),
        })
        .collect();
    std::fs::write(own.join("env"), lines.join("\n")).expect("written");
    std::os::unix::fs::symlink(&system.local.plan.folder, own.join("run")).expect("linked");
    own
}
