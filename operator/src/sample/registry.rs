//! The sample registry: `deploy/sample/registry.toml`, signed and ready to publish.

use std::collections::BTreeMap;

use prost::Message;
use schemas::codes::Code;
use schemas::ids::{BankId, UpstreamId};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::registry::{PartyName, ROOT_SIGNATURES, record_key, sign_entry};
use schemas::wire::{self, KeyUse, PartyKind, PartyState};
use serde::Deserialize;

use super::keys;

const TOML: &str = include_str!("../../../deploy/sample/registry.toml");

/// The sample parties. Hub and notifier take part without being listed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Version of every entry.
    pub version: u64,
    /// The upstreams.
    #[serde(rename = "upstream")]
    pub upstreams: Vec<Upstream>,
    /// The banks, in ascending order of their ids.
    #[serde(rename = "bank")]
    pub banks: Vec<Bank>,
}

/// A sample upstream.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its id.
    pub id: UpstreamId,
    /// Administrative division codes.
    pub regions: Vec<String>,
}

/// A sample bank.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bank {
    /// Its id.
    pub id: BankId,
    /// Its name.
    pub name: Text,
    /// Administrative division codes.
    pub regions: Vec<String>,
    /// Whom to call.
    pub phone: String,
    /// How to close a card.
    pub closing: Text,
    /// Names of its products by product code.
    pub products: BTreeMap<String, Text>,
}

/// A text in both languages.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Chinese, simplified.
    #[serde(rename = "zh-CN")]
    pub zh_cn: String,
    /// English.
    pub en: String,
}

/// The sample that is compiled in.
///
/// # Panics
/// Never: a test parses the same text.
pub fn sample() -> Sample {
    toml::from_str(TOML).expect("a test parses the same text")
}

/// Record key and encoded `RegistryRecord` of every sample party, signed by as many of the sample's roots as readers
/// ask for.
///
/// # Panics
/// Never: a test builds the same records.
pub fn records() -> Vec<(String, Vec<u8>)> {
    sample().records().expect("a test builds the same records")
}

impl Sample {
    /// Record key and encoded `RegistryRecord` of every party.
    ///
    /// # Errors
    /// `MESSAGE_MALFORMED` for an id that no party of its kind can have.
    pub fn records(&self) -> Result<Vec<(String, Vec<u8>)>, Code> {
        let roots = &keys::root_keys()[..ROOT_SIGNATURES];
        self.entries()
            .map(|entry| Ok((record_key(&entry)?, sign_entry(&entry, roots, None).encode_to_vec())))
            .collect()
    }

    /// The next version of a party's entry after `change`, as a record key and an encoded `RegistryRecord`. Where
    /// `change` adds keys, `rotation` is one that the party had before.
    ///
    /// # Errors
    /// `PARTY_UNKNOWN` when the sample has no such party, `MESSAGE_MALFORMED`.
    pub fn next_version(
        &self,
        party: &PartyName,
        rotation: Option<&SigningKey>,
        change: impl FnOnce(&mut wire::RegistryEntry),
    ) -> Result<(String, Vec<u8>), Code> {
        let mut named =
            self.entries().filter(|entry| record_key(entry).is_ok_and(|key| key == party.as_str()));
        let mut entry = named.next().ok_or(Code::PARTY_UNKNOWN)?;
        entry.version += 1;
        change(&mut entry);
        let roots = &keys::root_keys()[..ROOT_SIGNATURES];
        Ok((record_key(&entry)?, sign_entry(&entry, roots, rotation).encode_to_vec()))
    }

    fn entries(&self) -> impl Iterator<Item = wire::RegistryEntry> {
        let signs = |party: &PartyName| vec![sign_key(&keys::signing(party))];
        let hub = self.entry(PartyKind::Hub, schemas::registry::HUB, signs(&PartyName::hub()));
        let notifier = self.entry(
            PartyKind::Notifier,
            schemas::registry::NOTIFIER,
            vec![seal_key(&keys::opening(&PartyName::notifier()))],
        );
        let upstreams = self.upstreams.iter().map(move |upstream| wire::RegistryEntry {
            regions: upstream.regions.clone(),
            ..self.entry(PartyKind::Upstream, upstream.id.as_str(), signs(&PartyName::upstream(&upstream.id)))
        });
        let banks = self.banks.iter().map(|bank| {
            let party = PartyName::bank(&bank.id);
            let keys = vec![sign_key(&keys::signing(&party)), seal_key(&keys::opening(&party))];
            wire::RegistryEntry {
                regions: bank.regions.clone(),
                bank_texts: Some(bank.texts()),
                ..self.entry(PartyKind::Bank, bank.id.as_str(), keys)
            }
        });
        [hub, notifier].into_iter().chain(upstreams).chain(banks)
    }

    fn entry(&self, kind: PartyKind, id: &str, keys: Vec<wire::PartyKey>) -> wire::RegistryEntry {
        wire::RegistryEntry {
            kind: kind.into(),
            id: id.to_owned(),
            version: self.version,
            state: PartyState::Active.into(),
            keys,
            regions: Vec::new(),
            bank_texts: None,
        }
    }
}

impl Bank {
    /// The words about the bank that reach a person.
    pub fn texts(&self) -> wire::BankTexts {
        let products = self
            .products
            .iter()
            .map(|(code, name)| wire::ProductText { product_code: code.clone(), name: Some(name.into()) })
            .collect();
        wire::BankTexts {
            name: Some((&self.name).into()),
            products,
            phone: self.phone.clone(),
            closing: Some((&self.closing).into()),
        }
    }
}

impl From<&Text> for wire::Text {
    fn from(text: &Text) -> Self {
        Self { zh_cn: text.zh_cn.clone(), en: text.en.clone() }
    }
}

fn sign_key(key: &SigningKey) -> wire::PartyKey {
    party_key(KeyUse::Sign, key.public().to_wire())
}

fn seal_key(key: &OpeningKey) -> wire::PartyKey {
    party_key(KeyUse::Seal, key.public().to_wire())
}

/// Valid from the beginning of time: a sample has no past in which its keys did not count.
fn party_key(key_use: KeyUse, key: wire::PublicKey) -> wire::PartyKey {
    wire::PartyKey { r#use: key_use.into(), key: Some(key), ..Default::default() }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
