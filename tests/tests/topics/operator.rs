//! The operator's command as a process, with settings of its own.

use std::fs;
use std::time::Duration;

use cardquery_tests::process::ChildProcess;
use tempfile::TempDir;

use cardquery_tests::stack::{Stack, fresh_prefix};

const WITHIN: Duration = Duration::from_secs(120);

/// Settings under a prefix that nobody else has.
pub(crate) struct Operator {
    prefix: String,
    folder: TempDir,
}

/// What the command said.
pub(crate) struct Said {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Operator {
    pub(crate) fn new(upstreams: &[&str], banks: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let prefix = fresh_prefix();
        let operator = Self { prefix, folder };
        operator.set_parties(upstreams, banks);
        operator
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn set_parties(&self, upstreams: &[&str], banks: &[&str]) {
        let stack = Stack::get();
        let (replicas, in_sync) = replication(stack);
        let text = format!(
            "prefix = {:?}\n\
             [kafka]\nbrokers = {:?}\n\
             [kafka.properties]\n\"security.protocol\" = \"sasl_ssl\"\n\"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\
             \"ssl.ca.location\" = {:?}\n\
             [cluster]\nreplication_factor = {replicas}\nmin_insync_replicas = {in_sync}\n\
             [parties]\nupstreams = {upstreams:?}\nbanks = {banks:?}\n\
             [users]\npasswords_dir = {:?}\n",
            self.prefix,
            stack.brokers(),
            stack.ca_file(),
            stack.passwords(),
        );
        fs::write(self.folder.path().join("operator.toml"), text).expect("the folder is writable");
    }

    /// Runs `cardquery` with these words and these settings, as the cluster's administrator.
    pub(crate) async fn run(&self, words: &[&str]) -> Said {
        self.run_with(words, &login("admin", &Stack::get().password("admin"))).await
    }

    pub(crate) async fn run_with(&self, words: &[&str], env: &[(String, String)]) -> Said {
        let folder = self.folder.path().to_str().expect("a temporary directory has a plain name");
        let words = [words, &["--config", folder]].concat();
        let env: Vec<(&str, &str)> = env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut process = ChildProcess::spawn("cardquery", &words, &env);
        let exit = process.wait(WITHIN).await;
        Said { exit, stdout: process.stdout(), stderr: process.stderr() }
    }

    /// Applies, and expects the cluster to match.
    pub(crate) async fn apply(&self) -> Said {
        let said = self.run(&["topics", "apply", "--execute"]).await;
        assert_eq!(said.exit, 0, "{}{}", said.stdout, said.stderr);
        said
    }
}

/// Variables that make the command log in.
pub(crate) fn login(user: &str, password: &str) -> Vec<(String, String)> {
    [("USERNAME", user), ("PASSWORD", password)]
        .map(|(key, value)| (format!("CARDQUERY__KAFKA__PROPERTIES__SASL_{key}"), value.to_owned()))
        .into()
}

/// Replicas, and how many of them must be in sync, as far as the stack has brokers.
pub(crate) fn replication(stack: &Stack) -> (usize, usize) {
    if stack.broker_count() >= 3 { (3, 2) } else { (1, 1) }
}
