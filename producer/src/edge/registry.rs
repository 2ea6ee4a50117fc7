//! The registry, kept up with its topic, and the file of seen versions behind it.

use std::path::{Path, PathBuf};

use plumbing::kafka::{Fold, KafkaConfig, KafkaError, Record};
use schemas::keys::VerifyingKey;
use schemas::registry::Registry;
use schemas::time::UnixMillis;
use tokio_util::sync::CancellationToken;

use super::seen_file::{self, SeenFileError};

/// Why the registry cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Its topic cannot be read.
    #[error("the registry cannot be read")]
    Kafka(#[from] KafkaError),
    /// The file of seen versions cannot be used.
    #[error(transparent)]
    SeenFile(#[from] SeenFileError),
}

/// Reads the registry to its end.
pub(crate) async fn open(
    kafka: &KafkaConfig,
    topic: String,
    roots: Vec<VerifyingKey>,
    seen_file: &Path,
    shutdown: CancellationToken,
) -> Result<Fold<Registry>, RegistryError> {
    let registry = Registry::new(roots, seen_file::load(seen_file).await?);
    let fold = Fold::start(kafka, topic, registry, apply, shutdown).await?;
    seen_file::save(seen_file, fold.get().seen()).await?;
    Ok(fold)
}

fn apply(registry: &mut Registry, record: Record) {
    let appended_at = UnixMillis(record.append_time_ms);
    if let Err(code) = registry.apply(record.key.as_deref().unwrap_or_default(), &record.value, appended_at) {
        tracing::warn!(%code, position = %record.position, "registry entry refused");
    }
}

/// Writes the file of seen versions after every change, until `shutdown`.
pub(crate) async fn keep_seen(
    fold: Fold<Registry>,
    seen_file: PathBuf,
    shutdown: CancellationToken,
) -> Result<(), RegistryError> {
    let mut changes = fold.changes();
    let mut kept = fold.get().seen().clone();
    seen_file::save(&seen_file, &kept).await?;
    loop {
        let registry = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = changes.next() => match changed {
                Some(registry) => registry,
                None if shutdown.is_cancelled() => return Ok(()),
                None => return Err(KafkaError::Stopped.into()),
            },
        };
        if *registry.seen() != kept {
            kept = registry.seen().clone();
            seen_file::save(&seen_file, &kept).await?;
        }
    }
}
