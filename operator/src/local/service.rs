//! A process of a local system, ready to be started.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::plan::Part;

/// What starts a process, and where it says that it is ready.
#[derive(Clone, Debug)]
pub struct Service {
    /// Which one.
    pub part: Part,
    /// What it is called: by commands, in logs, and as a file.
    pub name: String,
    /// Its settings.
    pub settings: PathBuf,
    /// What else is on its command line.
    pub flags: Vec<&'static str>,
    /// What it finds in its environment, besides what everybody finds there.
    pub env: BTreeMap<String, String>,
    /// Where it answers for its health.
    pub admin: SocketAddr,
    /// Where what it prints goes when `cardquery run` starts it.
    pub log: PathBuf,
}

impl Service {
    /// Its command line.
    pub fn args(&self) -> Vec<String> {
        let settings = ["--config".to_owned(), self.settings.display().to_string()];
        settings.into_iter().chain(self.flags.iter().map(|flag| (*flag).to_owned())).collect()
    }

    /// Where it says whether it is ready.
    pub fn ready(&self) -> String {
        format!("http://{}/health/ready", self.admin)
    }
}
