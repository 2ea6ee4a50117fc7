//! Asks a process whether it is ready.

use std::time::Duration;

use plumbing::http::{self, TlsError};
use serde::Deserialize;

use super::service::Service;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What a process says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does its work.
    Ready,
    /// It does not yet; what it waits for, or that it does not answer.
    Waiting(String),
}

/// Asks processes; one client for all of them.
#[derive(Clone, Debug)]
pub struct Ask(reqwest::Client);

impl Ask {
    /// A client.
    ///
    /// # Errors
    /// None without files for TLS.
    pub fn new() -> Result<Self, TlsError> {
        http::client(None).map(Self)
    }

    /// Whether `service` is ready.
    pub async fn service(&self, service: &Service) -> Readiness {
        let Ok(response) = self.0.get(service.ready()).timeout(ANSWER_WITHIN).send().await else {
            return Readiness::Waiting("starts".to_owned());
        };
        if response.status().is_success() {
            return Readiness::Ready;
        }
        Readiness::Waiting(waits_for(&response.text().await.unwrap_or_default()))
    }
}

/// The checks that fail, of the JSON list that a process answers with.
fn waits_for(body: &str) -> String {
    #[derive(Deserialize)]
    struct Check {
        name: String,
        ok: bool,
        #[serde(default)]
        detail: String,
    }
    let Ok(checks) = serde_json::from_str::<Vec<Check>>(body) else {
        return "does not say what for".to_owned();
    };
    let failing = checks.into_iter().filter(|check| !check.ok);
    let texts: Vec<String> = failing.map(|Check { name, detail, .. }| format!("{name}: {detail}")).collect();
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checks_that_fail_are_named_with_their_reasons() {
        let body =
            r#"[{"name":"started","ok":true,"detail":""},{"name":"assigned","ok":false,"detail":"joining"}]"#;
        assert_eq!(waits_for(body), "assigned: joining");
        assert_eq!(waits_for("<html>"), "does not say what for");
    }
}
