//! An SMS gateway that leaves everybody in doubt: it takes a message and says that something went wrong.

use cardquery_tests::system::System;
use toml::{Table, Value};

use crate::http::serve;

/// Restarts the notifier with this gateway, which cannot be asked what became of an SMS.
pub(crate) async fn doubtful(system: &mut System) {
    let address = serve(|_| 500).await;
    let folder = system.local.plan.folder.clone();
    let secret = folder.join("gateway.key");
    std::fs::write(&secret, "08".repeat(32)).expect("the system's folder is writable");
    let path = folder.join("notifier.toml");
    let settings = std::fs::read_to_string(&path).expect("settings");
    let mut settings: Table = settings.parse().expect("TOML");
    let gateway = settings["gateway"].as_table_mut().expect("a section");
    gateway.remove("file");
    let mut http = Table::new();
    http.insert("url".into(), format!("http://{address}/v1/sms").into());
    http.insert("secret_file".into(), secret.display().to_string().into());
    gateway.insert("http".into(), Value::Table(http));
    gateway.insert("ask_after_ms".into(), 200.into());
    gateway.insert("ask_for_ms".into(), 1_000.into());
    std::fs::write(&path, settings.to_string()).expect("the system's folder is writable");
    assert_eq!(system.terminate("notifier").await, 0);
    system.spawn("notifier");
    system.ready("notifier").await;
}
