//! Follows the registry topic: the one thing that every service reads the same way.
//!
//! The rules are `schemas::registry`; here are the topic, the pinned roots and the small file that outlives the
//! process.

mod seen_file;

use std::path::PathBuf;
use std::sync::Arc;

use schemas::codes::Code;
use schemas::keys::VerifyingKey;
use schemas::registry::{ROOT_SIGNATURES, Registry, SeenVersions, is_sample_root};
use schemas::time::UnixMillis;
use schemas::wire::{KeyAlgorithm, PublicKey};
use serde::Deserialize;

pub use self::seen_file::SeenFileError;
use crate::exit::Exit;
use crate::kafka::{Changes, Fold, KafkaConfig, KafkaError, Next, Record, read_to_end};
use crate::lifecycle::Lifecycle;

/// Whom to trust: the `[registry]` section of every service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryConfig {
    /// Public root keys, Ed25519, 64 hex digits each.
    pub roots: Vec<String>,
    /// Whether a root of the sample registry may be one of them. Its private half is public: only for a demonstration.
    #[serde(default)]
    pub allow_sample_roots: bool,
    /// File of the highest registry version seen per party, written here. A service that can be shown a topic from
    /// long ago needs it; the hub's own services read the hub's own topic and do without.
    #[serde(default)]
    pub seen_file: Option<PathBuf>,
}

/// The pinned roots cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// Not an Ed25519 public key.
    #[error("registry.roots[{0}]: not an Ed25519 public key in 64 hex digits")]
    NotAKey(usize),
    /// The same key again.
    #[error("registry.roots[{0}]: named twice")]
    Twice(usize),
    /// Everybody has its private half.
    #[error(
        "registry.roots[{0}]: a root key of the sample registry, whose private half is public; \
         registry.allow_sample_roots = true allows it for a demonstration"
    )]
    Sample(usize),
    /// No entry could be accepted.
    #[error("registry.roots: at least {ROOT_SIGNATURES} are needed")]
    TooFew,
}

impl RegistryConfig {
    /// The pinned roots.
    ///
    /// # Errors
    /// The first mistake.
    pub fn roots(&self) -> Result<Vec<VerifyingKey>, RootsError> {
        let mut roots: Vec<VerifyingKey> = Vec::with_capacity(self.roots.len());
        for (index, text) in self.roots.iter().enumerate() {
            let root = verifying_key(text).ok_or(RootsError::NotAKey(index))?;
            if roots.contains(&root) {
                return Err(RootsError::Twice(index));
            }
            if is_sample_root(&root) && !self.allow_sample_roots {
                return Err(RootsError::Sample(index));
            }
            roots.push(root);
        }
        if roots.len() < ROOT_SIGNATURES {
            return Err(RootsError::TooFew);
        }
        Ok(roots)
    }
}

fn verifying_key(text: &str) -> Option<VerifyingKey> {
    let raw = hex::decode(text).ok()?;
    VerifyingKey::from_wire(&PublicKey { algorithm: KeyAlgorithm::Ed25519.into(), raw: raw.into() }).ok()
}

/// Why the registry cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The pinned roots cannot be used.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// Its topic cannot be read.
    #[error("the registry cannot be read")]
    Kafka(#[from] KafkaError),
    /// The file of seen versions cannot be used.
    #[error(transparent)]
    SeenFile(#[from] SeenFileError),
}

impl RegistryError {
    /// The exit code of a process that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Roots(_) => Exit::Config,
            Self::Kafka(error) => error.exit(),
            Self::SeenFile(error) => error.exit(),
        }
    }
}

/// What the registry's topic holds now, as a reader that starts now takes it.
#[derive(Debug)]
pub struct Read {
    /// The parties.
    pub registry: Registry,
    /// Versions that were seen before, by the file.
    pub seen: SeenVersions,
    /// Records that are refused: the party that they name, and why.
    pub refused: Vec<(String, Code)>,
}

/// Reads the registry to its end once. Keeps nothing: the file of seen versions is read and not written.
///
/// # Errors
/// [`RegistryError`].
pub async fn read(
    kafka: &KafkaConfig,
    topic: String,
    config: &RegistryConfig,
) -> Result<Read, RegistryError> {
    let roots = config.roots()?;
    let seen = match &config.seen_file {
        Some(path) => seen_file::load(path).await?,
        None => SeenVersions::default(),
    };
    let (sender, records) = std::sync::mpsc::channel::<Record>();
    let each = move |record| {
        // The receiver lives until the reader has ended.
        let _ = sender.send(record);
    };
    read_to_end(kafka, &[topic], each).await?;
    let records: Vec<Record> = records.into_iter().collect();
    let mut registry = Registry::new(roots, seen.clone());
    let mut refused = Vec::new();
    let mut next = 0;
    while let Some(record) = records.get(next) {
        next += 1;
        let key = record.key.as_deref().unwrap_or_default();
        let Err(code) = registry.apply(key, &record.value, UnixMillis(record.append_time_ms)) else {
            continue;
        };
        if registry.begins_again() {
            refused.clear();
            next = 0;
        } else {
            refused.push((String::from_utf8_lossy(key).escape_debug().to_string(), code));
        }
    }
    Ok(Read { registry, seen, refused })
}

/// Reads the registry to its end and follows it from there as a part of `lifecycle`, which also keeps the file of
/// seen versions.
///
/// # Errors
/// [`RegistryError`].
pub async fn follow(
    kafka: &KafkaConfig,
    topic: String,
    config: &RegistryConfig,
    lifecycle: &mut Lifecycle,
) -> Result<Fold<Registry>, RegistryError> {
    let roots = config.roots()?;
    let seen = match &config.seen_file {
        Some(path) => seen_file::load(path).await?,
        None => SeenVersions::default(),
    };
    let registry = Fold::start(kafka, topic, Registry::new(roots, seen), take, lifecycle.token()).await?;
    registry.report_to(&lifecycle.health(), "registry");
    let watched = registry.clone();
    // Who goes on with a registry that is not kept up trusts keys that were revoked.
    lifecycle.spawn("registry reader", async move { watched.failed().await });
    if let Some(path) = config.seen_file.clone() {
        // One snapshot for file and comparison: an entry that comes while it is written counts as a change.
        let (first, changes, token) = (registry.get(), registry.changes(), lifecycle.token());
        seen_file::save(&path, first.seen()).await?;
        lifecycle.spawn("registry versions", async move {
            // A change that is under way at shutdown is written at the next start.
            let kept = token.run_until_cancelled(keep_seen(path, first, changes)).await;
            kept.unwrap_or(Ok(()))
        });
    }
    Ok(registry)
}

fn take(registry: &mut Registry, record: Record) -> Next {
    let key = record.key.as_deref().unwrap_or_default();
    let Err(code) = registry.apply(key, &record.value, UnixMillis(record.append_time_ms)) else {
        return Next::On;
    };
    tracing::warn!(%code, position = %record.position, "registry entry refused");
    if registry.begins_again() {
        tracing::info!("registry read again: versions before the refused one may have been compacted away");
        return Next::FromBeginning;
    }
    Next::On
}

async fn keep_seen(
    path: PathBuf,
    mut kept: Arc<Registry>,
    mut changes: Changes<Registry>,
) -> Result<(), RegistryError> {
    while let Some(registry) = changes.next().await {
        if registry.seen() != kept.seen() {
            seen_file::save(&path, registry.seen()).await?;
            kept = registry;
        }
    }
    // Why the reader ended is told by the part that waits for it.
    Ok(())
}

#[cfg(test)]
mod tests;
