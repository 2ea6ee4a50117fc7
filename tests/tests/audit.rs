//! The audit log of a whole system, copied by the auditor and verified when the system is gone.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cardquery::sample;
use cardquery_tests::process::ChildProcess;
use cardquery_tests::system::{Setup, System};
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(60);

/// The auditor's command; its exit code, what it printed, and what it told beside that.
async fn audit(args: &[&str]) -> (i32, String, String) {
    let args = [&["audit"], args].concat();
    let mut command = ChildProcess::spawn("cardquery", &args, &[]);
    let code = command.wait(WITHIN).await;
    (code, command.stdout(), command.stderr())
}

async fn done(args: &[&str]) -> Value {
    let (code, told, error) = audit(args).await;
    assert_eq!(code, 0, "cardquery audit {args:?}: {told}{error}");
    serde_json::from_str(&told).unwrap_or(Value::String(told))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The settings of somebody who has the auditor's user and the roots, and nothing else.
fn auditor(system: &System, folder: &Path) -> std::path::PathBuf {
    let local = &system.local;
    let settings = serde_json::json!({
        "prefix": local.plan.prefix,
        "kafka": {
            "brokers": local.stack.brokers,
            "client_id": local.topics().group("audit"),
            "properties": local.stack.client("auditor").expect("it has a password"),
        },
        "registry": { "roots": roots(), "allow_sample_roots": true },
    });
    let path = folder.join("auditor.toml");
    fs::write(&path, toml::to_string(&settings).expect("TOML")).expect("written");
    path
}

fn roots() -> Vec<String> {
    sample::keys::roots().iter().map(|root| hex::encode(root.to_wire().raw)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_verifies_the_log_and_proves_a_banks_reply_when_the_system_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let mut system = System::start(Setup { banks: ["anhe", "beichuan"].into(), ..Setup::default() }).await;
    let auditor = auditor(&system, folder.path());
    let export = ["export", "--out", text(&log), "--config", text(&auditor), "--json"];

    let first = system.ask("wang").await;
    system.ended(&first).await;
    let seen = |kinds: &[String], kind: &str| kinds.iter().any(|seen| seen == kind);
    let kinds = |log: &cardquery_tests::audit_log::AuditLog, query| {
        log.changes(query).iter().map(|change| change.kind().to_owned()).collect::<Vec<_>>()
    };
    system.until_logged("the report", |log| seen(&kinds(log, &first.reference), "replies")).await;
    let exported = done(&export).await;
    assert!(exported["signed"].as_u64() >= Some(3), "{exported}");

    let second = system.ask("li").await;
    system.ended(&second).await;
    system.open(&second).await;
    system.until_logged("the view", |log| seen(&kinds(log, &second.reference), "viewed")).await;
    let again = done(&export).await;
    assert!(again["signed"].as_u64() > exported["signed"].as_u64(), "{again}");
    assert_eq!(
        again["new"].as_u64(),
        again["signed"].as_u64().zip(exported["signed"].as_u64()).map(|(a, b)| a - b)
    );
    assert_eq!(again["registry"], 0);
    system.settle().await;
    system.finish();

    let roots = roots().join(",");
    let verify = ["verify", "--log", text(&log), "--roots", &roots, "--json"];
    let report = done(&verify).await;
    assert_eq!((&report["verified"], &report["entries"]), (&Value::Bool(true), &again["signed"]));
    assert_eq!(report["notes"], Value::Array(Vec::new()));
    let proof = folder.path().join("proof.json");
    let query = first.reference.to_string();
    done(&["prove", "--log", text(&log), "--query", &query, "--bank", "anhe", "--out", text(&proof)]).await;
    let check = ["check", "--proof", text(&proof), "--roots", &roots, "--json"];
    let shown = done(&check).await;
    let said = &shown["shown"]["banks"][0];
    assert_eq!(
        (&said["bank"], &said["word"], &said["to_the_request"]),
        (&"anhe".into(), &"answered".into(), &true.into())
    );
    let from = exported["signed"].to_string();
    let to = again["signed"].to_string();
    done(&["consistency", "--log", text(&log), "--roots", &roots, "--from", &from, "--to", &to]).await;

    // The first byte of the third entry.
    let bundle = log.join(format!("tile/entries/000.p/{to}"));
    let mut bytes = fs::read(&bundle).expect("one bundle");
    let third = cardquery::audit::layout::entries(&bytes).leaves[2].0 + 2;
    bytes[third] ^= 1;
    fs::write(&bundle, bytes).expect("written");
    let (code, told, _) = audit(&verify).await;
    assert_eq!(code, 65, "{told}");
    let report: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(report["first_bad_entry"], 2, "{told}");
}
