//! What the operator of a system does with its registry, by the operator's own commands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cardquery::sample;

use super::System;
use crate::process::ChildProcess;

const WITHIN: Duration = Duration::from_secs(60);

impl System {
    /// Runs `cardquery` with these arguments and returns what it printed.
    ///
    /// # Panics
    /// If it does not succeed.
    pub async fn operator(&self, args: &[&str]) -> String {
        let mut command = ChildProcess::spawn("cardquery", args, &[]);
        let code = command.wait(WITHIN).await;
        assert_eq!(code, 0, "cardquery {args:?}: {}{}", command.stdout(), command.stderr());
        command.stdout()
    }

    /// Has two roots sign a draft, and the party itself when it rotates its keys, and publishes the entry; returns when
    /// the topic has it.
    ///
    /// # Panics
    /// If a command does not succeed.
    pub async fn publish(&self, draft: &Path, party_seed: Option<&[u8; 32]>) {
        let mut entry = draft.to_owned();
        for (index, seed) in sample::keys::root_seeds().iter().take(2).enumerate() {
            let key = self.write(&format!("root-{index}.key"), &hex::encode(seed));
            entry = self.signed(&entry, "--root-key", &key, index).await;
        }
        if let Some(seed) = party_seed {
            let key = self.write("party.key", &hex::encode(seed));
            entry = self.signed(&entry, "--party-key", &key, 2).await;
        }
        let settings = self.local.plan.folder.display().to_string();
        self.operator(&["registry", "publish", text(&entry), "--config", &settings, "--execute"]).await;
    }

    /// Writes the entry of `party` that is in force as a draft.
    ///
    /// # Panics
    /// If the command does not succeed.
    pub async fn draft(&self, party: &str) -> PathBuf {
        let settings = self.local.plan.folder.display().to_string();
        let shown =
            self.operator(&["registry", "show", "--config", &settings, "--party", party, "--draft"]).await;
        self.write("in-force.toml", &shown)
    }

    /// A new file of this system; an older one of that name is replaced.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.fresh(name);
        std::fs::write(&path, text).expect("the system's folder is writable");
        path
    }

    /// A path at which no file is.
    ///
    /// # Panics
    /// If an older file cannot be removed.
    pub fn fresh(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        if path.exists() {
            std::fs::remove_file(&path).expect("the system's folder is writable");
        }
        path
    }

    async fn signed(&self, entry: &Path, flag: &str, key: &Path, number: usize) -> PathBuf {
        let out = self.fresh(&format!("entry-{number}"));
        self.operator(&["registry", "sign", text(entry), flag, text(key), "--out", text(&out)]).await;
        out
    }
}

/// A path as an argument.
pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have names in UTF-8")
}
