//! Configuration in layers: compiled-in defaults < file < `conf.d/*.toml` beside it < environment < command line.
//!
//! The defaults are a commented TOML file, so that the documentation *is* the defaults. Unknown keys are errors (the
//! target types use `deny_unknown_fields`). Nothing is interpolated into values. All mistakes are told at once, each
//! with the layer that made it: file, line and column, the variable of the environment, or the flag.
//!
//! | variable | sets |
//! |---|---|
//! | `CARDQUERY__KAFKA__BROKERS` | `kafka.brokers` of every service |
//! | `CARDQUERY_AGGREGATOR__LISTEN` | `listen` of the aggregator; wins over the one above |
//! | `CARDQUERY_X_SASL__USERNAME`, `CARDQUERY_AGGREGATOR_X_SASL__USERNAME` | librdkafka's `sasl.username` |
//!
//! | file | role |
//! |---|---|
//! | `place.rs`, `fault.rs` | where a setting comes from, what is wrong with it |
//! | `layers.rs` | files, environment and flags become trees |
//! | `tree.rs` | the tree: merging, finding |
//! | `read.rs` | serde's way into the tree |
//! | `decode.rs` | finds every mistake of keys and types |
//! | `secret.rs` | which settings are never printed |
//! | `effective.rs` | the layers of a service: checked, shown, explained |

mod decode;
mod effective;
mod fault;
mod layers;
mod place;
mod read;
mod secret;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use self::effective::Effective;
pub use self::fault::{ConfigError, Fault, Faults};
pub use self::place::Place;
pub use self::secret::{is_secret, redacted};

/// First part of the variables that every service reads.
pub const SHARED_PREFIX: &str = "CARDQUERY";

/// The settings of a service.
pub trait Settings: DeserializeOwned {
    /// The service: `aggregator` reads `aggregator.toml` of a folder and variables that begin with
    /// `CARDQUERY_AGGREGATOR`.
    const SERVICE: &'static str;
    /// The commented defaults.
    const DEFAULTS: &'static str;
    /// What `kafka.client_id` is when nobody sets it; a key in braces stands for its value. It is also the group that
    /// access lists allow the service's readers without a group.
    const CLIENT_ID: &'static str;
    /// Keys that hold a secret themselves. They are taken from the environment; beside each stands `<key>_file` or
    /// `<key>_files`.
    const SECRETS: &'static [&'static str];

    /// Checks what types cannot, all of it at once, without reading a file or asking a server.
    ///
    /// # Errors
    /// Every rule that is broken.
    fn validate(&self) -> Result<(), Faults>;

    /// What is wrong with the files of secrets that the settings name, without a word of their content.
    fn secret_faults(&self) -> Vec<String>;
}

/// Where settings are looked for, besides the defaults. Does not print: the environment holds secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// A file, or a folder that holds `<service>.toml`.
    pub config: Option<PathBuf>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Dotted keys with their values, from the command line.
    pub set: Vec<(String, String)>,
}

impl Sources {
    /// `config` and the environment of the process.
    pub fn new(config: Option<&Path>) -> Self {
        // A name that is not text cannot be one of ours; its value is nobody's business here.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            config: config.map(Path::to_owned),
            env: std::env::vars_os().filter_map(text).collect(),
            set: Vec::new(),
        }
    }
}

/// Loads the settings of a service, with the environment of the process.
///
/// # Errors
/// Every mistake of syntax, keys and types. What [`Settings::validate`] finds is not among them.
pub fn load_service<S: Settings>(config: Option<&Path>) -> Result<S, ConfigError> {
    Effective::of::<S>(&Sources::new(config))?.settings()
}

/// Loads settings that belong to no service: `defaults`, over them `config`, over both the variables that begin with
/// `env_prefix`.
///
/// # Errors
/// Every mistake of syntax, keys and types.
pub fn load<T: DeserializeOwned>(
    defaults: &'static str,
    config: Option<&Path>,
    env_prefix: &str,
) -> Result<T, ConfigError> {
    let name = env_prefix.to_lowercase();
    Effective::layered(defaults, &name, &[env_prefix.to_owned()], &Sources::new(config))?.settings()
}

#[cfg(test)]
mod tests;
