//! The registry topic, read to its end by the same code as every service's.

use std::sync::mpsc;

use plumbing::kafka::{Position, Record, read_to_end};
use schemas::codes::Code;
use schemas::registry::{Party, PartyName, Registry, SeenVersions};
use schemas::time::UnixMillis;

use super::document::Document;
use super::{RegistryCommandError, Settings};

/// What readers that start now have.
pub(super) struct Topic {
    pub(super) registry: Registry,
    pub(super) refused: Vec<Refused>,
}

/// A record that readers refuse.
pub(super) struct Refused {
    pub(super) position: Position,
    pub(super) key: String,
    pub(super) code: Code,
}

impl Topic {
    pub(super) async fn read(settings: &Settings) -> Result<Self, RegistryCommandError> {
        let (sender, records) = mpsc::channel::<Record>();
        let each = move |record| {
            // The receiver lives until the reader has ended.
            let _ = sender.send(record);
        };
        read_to_end(&settings.kafka, &[settings.topics.registry()], each).await?;
        let registry = Registry::new(settings.roots.clone(), SeenVersions::default());
        let mut topic = Self { registry, refused: Vec::new() };
        for record in records {
            let key = record.key.unwrap_or_default();
            let applied = topic.registry.apply(&key, &record.value, UnixMillis(record.append_time_ms));
            if let Err(code) = applied {
                let key = String::from_utf8_lossy(&key).escape_debug().to_string();
                topic.refused.push(Refused { position: record.position, key, code });
            }
        }
        Ok(topic)
    }

    /// A party of the registry.
    pub(super) fn party(&self, name: &PartyName) -> Result<&Party, RegistryCommandError> {
        let unknown = || RegistryCommandError::PartyUnknown(name.clone());
        self.registry.party(name).ok_or_else(unknown)
    }

    /// Its entry, to go on from.
    pub(super) fn document(&self, name: &PartyName) -> Result<Document, RegistryCommandError> {
        Document::of_party(self.party(name)?)
    }
}
