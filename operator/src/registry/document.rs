//! A registry entry as a person reads, reviews and edits it.

use std::collections::BTreeMap;

use plumbing::config::Faults;
use prost::Message;
use schemas::keys::{SealingKey, VerifyingKey};
use schemas::registry::{Party, PartyName};
use schemas::time::UnixMillis;
use schemas::wire::{self, KeyAlgorithm, KeyUse, PartyKind, PartyState};
use serde::{Deserialize, Serialize};

use super::RegistryCommandError;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Kind and id, for example `bank/anhe`.
    pub party: String,
    /// Grows by one with every change.
    pub version: u64,
    /// Whether it takes part.
    pub state: State,
    /// Administrative division codes in which it takes part.
    pub regions: Vec<String>,
    /// All keys that it ever had.
    #[serde(rename = "key", default)]
    pub keys: Vec<Key>,
    /// Words about a bank that reach a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<Texts>,
}

/// Whether a party takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum State {
    Active,
    Suspended,
    Left,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// What it is for.
    pub r#use: Use,
    /// The public half, 64 hex digits.
    pub public: String,
    /// From when on it counts; left out: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    /// Whether it counts no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
    /// When the entry was published that first revoked it; left out in that entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Use {
    Sign,
    Seal,
}

/// Words about a bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    /// Whom to call.
    pub phone: String,
    /// Its name.
    pub name: Text,
    /// How to close a card.
    pub closing: Text,
    /// Names of its products by product code.
    #[serde(default)]
    pub products: BTreeMap<String, Text>,
}

/// A text in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Chinese, simplified.
    #[serde(rename = "zh-CN")]
    pub zh_cn: String,
    /// English.
    pub en: String,
}

impl Document {
    /// The document in a file of its own.
    ///
    /// # Errors
    /// Never, as far as is known.
    pub fn to_toml(&self) -> Result<String, RegistryCommandError> {
        toml::to_string(self).map_err(|error| RegistryCommandError::Form(error.to_string()))
    }

    /// What the signed bytes of an entry say.
    ///
    /// # Errors
    /// When they are no entry, or say more than a document can.
    pub fn of_body(body: &[u8]) -> Result<Self, RegistryCommandError> {
        let entry = wire::RegistryEntry::decode(body).map_err(|_| RegistryCommandError::NotShowable)?;
        let document = Self::of(&entry).ok_or(RegistryCommandError::NotShowable)?;
        // Fields that this version does not know would be signed unseen.
        let same = document.to_entry().is_ok_and(|entry| entry.encode_to_vec() == body);
        if same { Ok(document) } else { Err(RegistryCommandError::NotShowable) }
    }

    /// What the newest entry of a party says, with the times of its revocations, which the next entry must carry on.
    ///
    /// # Errors
    /// See [`Document::of_body`].
    pub fn of_party(party: &Party) -> Result<Self, RegistryCommandError> {
        let mut document = Self::of_body(&party.record().body)?;
        for (key, known) in document.keys.iter_mut().zip(party.keys()) {
            key.revoked_at = known.revoked_at().map(|at| at.to_string());
        }
        Ok(document)
    }

    fn of(entry: &wire::RegistryEntry) -> Option<Self> {
        let text = |text: &Option<wire::Text>| {
            text.as_ref().map(|text| Text { zh_cn: text.zh_cn.clone(), en: text.en.clone() })
        };
        let texts = match &entry.bank_texts {
            None => None,
            Some(texts) => Some(Texts {
                phone: texts.phone.clone(),
                name: text(&texts.name)?,
                closing: text(&texts.closing)?,
                products: texts
                    .products
                    .iter()
                    .map(|product| Some((product.product_code.clone(), text(&product.name)?)))
                    .collect::<Option<_>>()?,
            }),
        };
        Some(Self {
            party: schemas::registry::record_key(entry).ok()?,
            version: entry.version,
            state: State::of(entry.state())?,
            regions: entry.regions.clone(),
            keys: entry.keys.iter().map(Key::of).collect::<Option<_>>()?,
            texts,
        })
    }

    /// The entry that this document says.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn to_entry(&self) -> Result<wire::RegistryEntry, Faults> {
        let mut faults = Vec::new();
        let name: Option<PartyName> = self.party.parse().ok();
        let (kind, id) = name.as_ref().map_or((PartyKind::Unspecified, ""), PartyName::parts);
        if name.is_none() {
            faults.push(format!(
                "party: `{}` is not bank/<id>, upstream/<id>, hub/hub or notifier/notifier",
                self.party
            ));
        }
        if self.version == 0 {
            faults.push("version: must be at least 1".to_owned());
        }
        let region = |region: &&String| region.len() != 6 || !region.bytes().all(|b| b.is_ascii_digit());
        for region in self.regions.iter().filter(region) {
            faults.push(format!("regions: `{region}` is not a code of six digits"));
        }
        if self.texts.is_some() && kind != PartyKind::Bank {
            faults.push("texts: only banks have some".to_owned());
        }
        let mut keys: Vec<wire::PartyKey> = Vec::new();
        for (index, key) in self.keys.iter().enumerate() {
            match key.to_wire() {
                Ok(key) if keys.iter().any(|other| other.key == key.key) => {
                    faults.push(format!("key[{index}]: stands twice"));
                }
                Ok(key) => keys.push(key),
                Err(fault) => faults.push(format!("key[{index}].{fault}")),
            }
        }
        if name.is_some() && self.state != State::Left {
            for needed in needs(kind) {
                if !self.keys.iter().any(|key| key.r#use == *needed && !key.revoked) {
                    faults.push(format!(
                        "key: {} needs a key with use = \"{}\" that is not revoked; a later entry could not bring it, \
                         so a revocation brings its replacement",
                        self.party,
                        needed.as_str()
                    ));
                }
            }
        }
        Faults::check(faults)?;
        Ok(wire::RegistryEntry {
            kind: kind.into(),
            id: id.to_owned(),
            version: self.version,
            state: self.state.to_wire().into(),
            keys,
            regions: self.regions.clone(),
            bank_texts: self.texts.as_ref().map(Texts::to_wire),
        })
    }
}

/// What a party cannot work without.
fn needs(kind: PartyKind) -> &'static [Use] {
    match kind {
        PartyKind::Bank => &[Use::Sign, Use::Seal],
        PartyKind::Upstream | PartyKind::Hub => &[Use::Sign],
        PartyKind::Notifier => &[Use::Seal],
        PartyKind::Unspecified => &[],
    }
}

impl State {
    /// As readers have it; nothing for a state that this version does not know.
    pub fn of(state: PartyState) -> Option<Self> {
        match state {
            PartyState::Active => Some(Self::Active),
            PartyState::Suspended => Some(Self::Suspended),
            PartyState::Left => Some(Self::Left),
            PartyState::Unspecified => None,
        }
    }

    fn to_wire(self) -> PartyState {
        match self {
            Self::Active => PartyState::Active,
            Self::Suspended => PartyState::Suspended,
            Self::Left => PartyState::Left,
        }
    }

    /// As it stands in a file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::Left => "LEFT",
        }
    }
}

impl Use {
    /// As it stands in a file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Seal => "seal",
        }
    }

    const fn algorithm(self) -> KeyAlgorithm {
        match self {
            Self::Sign => KeyAlgorithm::Ed25519,
            Self::Seal => KeyAlgorithm::X25519,
        }
    }
}

impl Key {
    /// A key that always counted.
    pub fn new(r#use: Use, public: String, valid_from: Option<UnixMillis>) -> Self {
        let valid_from = valid_from.map(|at| at.to_string());
        Self { r#use, public, valid_from, revoked: false, revoked_at: None }
    }

    /// Its id, if it is a key.
    pub fn id(&self) -> Option<schemas::ids::KeyId> {
        let public = self.public_key().ok()?;
        match self.r#use {
            Use::Sign => VerifyingKey::from_wire(&public).ok().map(|key| key.id()),
            Use::Seal => SealingKey::from_wire(&public).ok().map(|key| key.id()),
        }
    }

    fn of(key: &wire::PartyKey) -> Option<Self> {
        let time = |ms: i64| (ms != 0).then(|| UnixMillis(ms).to_string());
        Some(Self {
            r#use: match key.r#use() {
                KeyUse::Sign => Use::Sign,
                KeyUse::Seal => Use::Seal,
                KeyUse::Unspecified => return None,
            },
            public: hex::encode(&key.key.as_ref()?.raw),
            valid_from: time(key.valid_from_ms),
            revoked: key.revoked,
            revoked_at: time(key.revoked_at_ms),
        })
    }

    fn public_key(&self) -> Result<wire::PublicKey, String> {
        let wrong = || format!("public: `{}` is not a public key in 64 hex digits", self.public);
        let raw = hex::decode(&self.public).map_err(|_| wrong())?;
        Ok(wire::PublicKey { algorithm: self.r#use.algorithm().into(), raw: raw.into() })
    }

    fn to_wire(&self) -> Result<wire::PartyKey, String> {
        let time = |name: &str, text: &Option<String>| match text {
            None => Ok(0),
            Some(text) => UnixMillis::parse(text)
                .map(|at| at.0)
                .ok_or_else(|| format!("{name}: `{text}` is not a time such as 2026-11-23T08:00:00Z")),
        };
        if self.id().is_none() {
            return Err(format!("public: `{}` is not a public key in 64 hex digits", self.public));
        }
        if self.revoked_at.is_some() && !self.revoked {
            return Err("revoked_at: the key is not revoked".to_owned());
        }
        let r#use = match self.r#use {
            Use::Sign => KeyUse::Sign,
            Use::Seal => KeyUse::Seal,
        };
        Ok(wire::PartyKey {
            r#use: r#use.into(),
            key: Some(self.public_key()?),
            valid_from_ms: time("valid_from", &self.valid_from)?,
            revoked: self.revoked,
            revoked_at_ms: time("revoked_at", &self.revoked_at)?,
        })
    }
}

impl Texts {
    fn to_wire(&self) -> wire::BankTexts {
        let text = |text: &Text| Some(wire::Text { zh_cn: text.zh_cn.clone(), en: text.en.clone() });
        wire::BankTexts {
            name: text(&self.name),
            products: self
                .products
                .iter()
                .map(|(code, name)| wire::ProductText { product_code: code.clone(), name: text(name) })
                .collect(),
            phone: self.phone.clone(),
            closing: text(&self.closing),
        }
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
