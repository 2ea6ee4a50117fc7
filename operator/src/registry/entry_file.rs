//! An entry with its signatures, as a file that goes from one offline machine to the next.
//!
//! The bytes that are signed are made once, from a draft, by whoever signs first. From then on they are kept as they are.

use std::path::Path;

use prost::Message;
use schemas::ids::KeyId;
use schemas::keys::SigningKey;
use schemas::sign::{Tag, sign_bytes};
use schemas::wire;
use serde::{Deserialize, Serialize};

use super::document::{Document, Key, Use};
use super::{RegistryCommandError, files};

/// An entry on its way to the registry.
#[derive(Clone, Debug)]
pub struct EntryFile {
    record: wire::RegistryRecord,
    document: Document,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    body: String,
    root_signatures: Vec<Signature>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotation_signature: Option<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    key_id: String,
    signature: String,
}

impl EntryFile {
    /// Reads an entry, or makes one of a draft.
    ///
    /// # Errors
    /// When the file is neither.
    pub fn read(path: &Path) -> Result<Self, RegistryCommandError> {
        let text = files::read(path)?;
        if text.trim_start().starts_with('{') {
            return Self::parse(path, &text);
        }
        let document: Document =
            toml::from_str(&text).map_err(|error| files::wrong(path, error.to_string().trim_end()))?;
        Self::of(document)
    }

    /// An entry that nobody has signed.
    ///
    /// # Errors
    /// When the document breaks rules.
    pub fn of(document: Document) -> Result<Self, RegistryCommandError> {
        let body = document.to_entry()?.encode_to_vec().into();
        Ok(Self { record: wire::RegistryRecord { body, ..Default::default() }, document })
    }

    fn parse(path: &Path, text: &str) -> Result<Self, RegistryCommandError> {
        let form: Form =
            serde_json::from_str(text).map_err(|error| files::wrong(path, format!("no entry: {error}")))?;
        let bytes = |text: &str| hex::decode(text).map_err(|_| files::wrong(path, "no entry: not hex"));
        let signature = |signature: &Signature| {
            Ok::<_, RegistryCommandError>(wire::EntrySignature {
                key_id: bytes(&signature.key_id)?.into(),
                signature: bytes(&signature.signature)?.into(),
            })
        };
        let record = wire::RegistryRecord {
            body: bytes(&form.body)?.into(),
            root_signatures: form.root_signatures.iter().map(signature).collect::<Result<_, _>>()?,
            rotation_signature: form.rotation_signature.as_ref().map(signature).transpose()?,
        };
        Ok(Self { document: Document::of_body(&record.body)?, record })
    }

    /// Writes a new file.
    ///
    /// # Errors
    /// When it cannot be written, or is there already.
    pub fn write(&self, path: &Path) -> Result<(), RegistryCommandError> {
        let signature = |signature: &wire::EntrySignature| Signature {
            key_id: hex::encode(&signature.key_id),
            signature: hex::encode(&signature.signature),
        };
        let form = Form {
            body: hex::encode(&self.record.body),
            root_signatures: self.record.root_signatures.iter().map(signature).collect(),
            rotation_signature: self.record.rotation_signature.as_ref().map(signature),
        };
        let text = serde_json::to_string_pretty(&form);
        let text = text.map_err(|error| RegistryCommandError::Form(error.to_string()))?;
        files::write(path, &format!("{text}\n"))
    }

    /// The record as it will be published.
    pub fn record(&self) -> &wire::RegistryRecord {
        &self.record
    }

    /// What is signed, for a person.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Adds the signature of a root key.
    ///
    /// # Errors
    /// When it signed already.
    pub fn sign_as_root(&mut self, key: &SigningKey) -> Result<(), RegistryCommandError> {
        let signature = self.signature(Tag::RegistryEntry, key);
        if self.record.root_signatures.iter().any(|other| other.key_id == signature.key_id) {
            return Err(RegistryCommandError::SignedAlready(key.id()));
        }
        self.record.root_signatures.push(signature);
        Ok(())
    }

    /// Adds the party's own signature, with a key that it had before.
    ///
    /// # Errors
    /// When the entry has no such key, or is signed for the party already.
    pub fn sign_as_party(&mut self, key: &SigningKey) -> Result<(), RegistryCommandError> {
        let own = |other: &Key| other.r#use == Use::Sign && other.id() == Some(key.id());
        if !self.document.keys.iter().any(own) {
            return Err(RegistryCommandError::ForeignKey(key.id()));
        }
        if let Some(signature) = &self.record.rotation_signature {
            let by = KeyId::from_bytes(&signature.key_id).unwrap_or_else(|_| key.id());
            return Err(RegistryCommandError::SignedAlready(by));
        }
        self.record.rotation_signature = Some(self.signature(Tag::RegistryRotation, key));
        Ok(())
    }

    fn signature(&self, tag: Tag, key: &SigningKey) -> wire::EntrySignature {
        wire::EntrySignature {
            key_id: key.id().to_wire(),
            signature: sign_bytes(tag, &self.record.body, key),
        }
    }
}

#[cfg(test)]
#[path = "entry_file_tests.rs"]
mod tests;
