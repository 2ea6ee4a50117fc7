//! `bank-connector doctor`.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use cardquery::local::plan::Part;
use cardquery::topics::wanted::Wanted;
use cardquery_tests::system::System;
use kafka_native::{Acl, AclOperation, Pattern, Permission, ResourceKind};
use rdkafka::client::Client;
use schemas::keys::SigningKey;
use secrecy::ExposeSecret;

use crate::examined::{Examined, Expected};
use crate::{BANK, secrets, set, settings, system};

const NAME: &str = "bank-anhe";
const WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

/// A fault in the bank's own settings and files.
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
        plant: |_, settings| set(settings, &["aaaa"], 8),
        check: "config",
        what: "planted.toml:1:1: aaaa: unknown key",
        fix: "correct it there",
        exit: 78,
    },
    Fault {
        name: "a signing key that everybody may read",
        plant: |system, settings| {
            let key = std::fs::read_to_string(key(system, "signing")).expect("a key");
            let open = system.write("open.key", &key);
            std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).expect("ours");
            set(settings, &["signing_key_file"], text(&open));
        },
        check: "files",
        what: "is open to everybody (mode 644)",
        fix: "chmod o-rwx",
        exit: 77,
    },
    Fault {
        name: "a file that holds no key",
        plant: |system, settings| {
            let wrong = private(system, "no.key", "hunter2");
            set(settings, &["signing_key_file"], wrong);
        },
        check: "keys",
        what: "does not hold 64 hex digits",
        fix: "docs/bank.md",
        exit: 65,
    },
    Fault {
        name: "a signing key of nobody",
        plant: |system, settings| {
            let other = private(system, "other.key", &"0b".repeat(32));
            set(settings, &["signing_key_file"], other);
        },
        check: "registry",
        what: "is not this bank's",
        fix: "signing_key_file",
        exit: 78,
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
        name: "another authority",
        plant: |system, settings| {
            let other = std::fs::read_to_string(system.local.plan.folder.join("keys/http-ca.pem"));
            let other = private(system, "other-ca.pem", &other.expect("another authority"));
            set(settings, &["kafka", "properties", "ssl.ca.location"], other);
        },
        check: "tls",
        what: "of an authority that is not believed",
        fix: "ssl.ca.location",
        exit: 78,
    },
    Fault {
        name: "a wrong password",
        plant: |system, settings| {
            let wrong = private(system, "wrong.password", "wrong");
            set(settings, &["kafka", "property_files", "sasl.password"], wrong);
        },
        check: "sasl",
        what: "invalid credentials",
        fix: "kafka.property_files",
        exit: 77,
    },
    Fault {
        name: "a database that is not there",
        plant: |system, settings| {
            let nowhere =
                private(system, "nowhere.postgres", "postgres://reader:hunter2hunter2@127.0.0.1:1/core");
            set(settings, &["source", "sql", "url_file"], nowhere);
            set(settings, &["source", "sql", "connect_timeout_ms"], 500);
        },
        check: "core",
        what: "source[0]: the source is unavailable",
        fix: "host and port",
        exit: 69,
    },
    Fault {
        name: "a database password that is wrong",
        plant: |system, settings| {
            let path = system.local.plan.folder.join("keys/bank-anhe.postgres");
            let url = std::fs::read_to_string(path).expect("an address");
            let (before, after) = url.split_once('@').expect("a user");
            let (user, _) = before.rsplit_once(':').expect("a password");
            let wrong = private(system, "wrong.postgres", &format!("{user}:hunter2hunter2@{after}"));
            set(settings, &["source", "sql", "url_file"], wrong);
        },
        check: "core",
        what: "database code 28P01",
        fix: "correct user and password",
        exit: 77,
    },
    Fault {
        name: "an account that may write",
        plant: |system, settings| {
            let bank = Part::Connector(BANK.parse().expect("an id"));
            let owner = system.local.database_url(&bank).expect("it has a database");
            let owner = private(system, "owner.postgres", owner.expose_secret());
            set(settings, &["source", "sql", "url_file"], owner);
        },
        check: "core",
        what: "the database account may write",
        fix: "correct the setting",
        exit: 78,
    },
    Fault {
        name: "a statement without a mapped column",
        plant: |_, settings| {
            let statement = "SELECT cust_name FROM customer WHERE cert_no = $1";
            set(settings, &["source", "sql", "customer_statement"], statement);
        },
        check: "core",
        what: "customer_statement selects no column `mobile`, which customer.phone names",
        fix: "correct the setting",
        exit: 78,
    },
    Fault {
        name: "the name of another bank",
        plant: |_, settings| set(settings, &["bank"], "taihe"),
        check: "sasl",
        what: "bank-anhe is not the user of bank taihe",
        fix: "sasl.username is bank-taihe",
        // The line itself only warns: what fails is what this user may not do.
        exit: 0,
    },
];

fn text(path: &std::path::Path) -> String {
    path.to_str().expect("temporary directories have names in UTF-8").to_owned()
}

/// A file that only its owner may read.
fn private(system: &System, name: &str, content: &str) -> String {
    let path = system.write(name, content);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("ours");
    text(&path)
}

fn key(system: &System, kind: &str) -> PathBuf {
    system.local.plan.folder.join(format!("keys/{NAME}.{kind}.key"))
}

async fn examine(system: &System) -> Examined {
    let config = system.local.plan.folder.join(format!("{NAME}.toml"));
    Examined::by("bank-connector", &["--config", &text(&config)]).await
}

async fn examine_with(system: &System, settings: &toml::Table) -> Examined {
    let path = system.write("planted.toml", &settings.to_string());
    Examined::by("bank-connector", &["--config", &text(&path)]).await
}

/// Asks the brokers as their administrator, on a thread that may wait.
async fn administer<T: Send + 'static>(
    system: &System,
    ask: impl FnOnce(&Client<plumbing::kafka::PlainContext>) -> T + Send + 'static,
) -> T {
    let admin = system.admin().admin().expect("a client");
    tokio::task::spawn_blocking(move || ask(admin.inner())).await.expect("not abandoned")
}

fn acl(name: String, operation: AclOperation) -> Acl {
    Acl {
        resource: ResourceKind::Topic,
        name,
        pattern: Pattern::Literal,
        principal: format!("User:{NAME}"),
        host: "*".to_owned(),
        operation,
        permission: Permission::Allow,
    }
}

/// Waits until every broker shows what the controller decided about access lists.
async fn shown(system: &System, acl: &Acl, there: bool) {
    let acl = acl.clone();
    administer(system, move |client| {
        let deadline = std::time::Instant::now() + WITHIN;
        loop {
            let metadata = client.fetch_metadata(None, WITHIN).expect("the brokers answer");
            let all = metadata.brokers().iter().all(|broker| {
                let shown = kafka_native::describe_acls(client, broker.id(), WITHIN).expect("access lists");
                shown.contains(&acl) == there
            });
            if all {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "the brokers do not show {acl}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_bank_is_well_and_its_connector_does_not_notice_that_it_is_looked_at() {
    let system = system().await;
    let (ends, before) = (system.ends().await, rebalances(&system).await);

    let examined = examine(&system).await;
    examined.is_well_but_for(&["the sample's are allowed"]);
    examined.tells_none_of(&secrets(&system));

    assert_eq!(system.ends().await, ends, "a record was written");
    assert_eq!(rebalances(&system).await, before, "a group was joined");
    // What is in flight would be seen as a lag that does not end.
    system.finish();
}

async fn rebalances(system: &System) -> Vec<String> {
    let metrics = system.metrics(NAME).await;
    metrics.lines().filter(|line| line.starts_with("cardquery_rebalances_total")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_in_a_banks_settings_is_named_with_its_fix_and_exit_code() {
    let system = system().await;
    let told = secrets(&system);
    for fault in FAULTS {
        let mut settings = settings(&system, NAME);
        (fault.plant)(&system, &mut settings);
        let examined = examine_with(&system, &settings).await;
        examined.tells_none_of(&told);
        assert!(!examined.printed().contains("hunter2"), "{}: {}", fault.name, examined.printed());
        let Fault { check, what, fix, exit, .. } = *fault;
        if exit == 0 {
            examined.warns(check, what, fix);
        } else {
            examined.names(&Expected { check, what, fix, exit });
        }
    }
    system.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_has_done_to_a_bank_is_named_with_its_fix_and_exit_code() {
    let system = system().await;
    let topics = system.local.topics();
    let bank = BANK.parse().expect("an id");

    let write = acl(topics.reply(&bank), AclOperation::Write);
    let taken = write.clone();
    administer(&system, move |client| kafka_native::delete_acls(client, &[taken], WITHIN))
        .await
        .expect("taken away");
    shown(&system, &write, false).await;
    let reply = topics.reply(&bank);
    examine(&system).await.names(&Expected {
        check: "acl",
        what: &format!("WRITE {reply}  DENIED"),
        fix: &format!("kafka-acls --add --allow-principal User:{NAME} --operation Write --topic {reply}"),
        exit: 77,
    });
    let given = write.clone();
    administer(&system, move |client| kafka_native::create_acls(client, &[given], WITHIN))
        .await
        .expect("given");
    shown(&system, &write, true).await;

    let surplus = acl(topics.request(&bank), AclOperation::Delete);
    let given = surplus.clone();
    administer(&system, move |client| kafka_native::create_acls(client, &[given], WITHIN))
        .await
        .expect("given");
    shown(&system, &surplus, true).await;
    examine(&system).await.names(&Expected {
        check: "acl",
        what: &format!("may also Delete {}", topics.request(&bank)),
        fix: "it needs no Delete there",
        exit: 0,
    });
    let taken = surplus.clone();
    administer(&system, move |client| kafka_native::delete_acls(client, &[taken], WITHIN))
        .await
        .expect("taken away");
    shown(&system, &surplus, false).await;

    publish(&system, |entry| set(entry, &["state"], "SUSPENDED")).await;
    examine(&system).await.names(&Expected {
        check: "registry",
        what: "bank/anhe: version 2, SUSPENDED",
        fix: "ask the operator why",
        exit: 77,
    });

    publish(&system, |entry| {
        set(entry, &["state"], "ACTIVE");
        replace_signing_key(entry);
    })
    .await;
    examine(&system).await.names(&Expected {
        check: "registry",
        what: "is revoked; in force: ",
        fix: "signing_key_file",
        exit: 78,
    });
    let estate =
        cardquery::config::Config::load_with_estate(Some(&system.local.plan.folder)).expect("settings").1;
    assert!(Wanted::new(&estate).acls.contains(&write), "what was given back is what the table has");
    system.finish();
}

/// Publishes the bank's next entry.
async fn publish(system: &System, change: impl FnOnce(&mut toml::Table)) {
    let draft = std::fs::read_to_string(system.draft("bank/anhe").await).expect("a draft");
    let mut entry: toml::Table = draft.parse().expect("TOML");
    let version = entry["version"].as_integer().expect("a number");
    set(&mut entry, &["version"], version + 1);
    change(&mut entry);
    let seed = cardquery::sample::keys::signing_seed(&"bank/anhe".parse().expect("a name"));
    system.publish(&system.write("next.toml", &entry.to_string()), Some(&seed)).await;
}

/// Revokes the signing key, and brings another, as an entry must.
fn replace_signing_key(entry: &mut toml::Table) {
    let keys = entry.get_mut("key").and_then(toml::Value::as_array_mut).expect("keys");
    for key in keys.iter_mut() {
        let key = key.as_table_mut().expect("a key");
        if key["use"].as_str() == Some("sign") {
            key.insert("revoked".to_owned(), true.into());
        }
    }
    let next = SigningKey::from_seed(&[83; 32]).public().to_wire().raw;
    let mut key = toml::Table::new();
    set(&mut key, &["use"], "sign");
    set(&mut key, &["public"], hex::encode(next));
    keys.push(key.into());
}
