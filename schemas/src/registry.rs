//! Who takes part, and whose key counts when.
//!
//! Entries come from `cardquery.registry.v1`, signed by two offline root keys that every reader pins. A registry only
//! grows: versions, keys and revocations never go back.

use std::collections::BTreeMap;

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::codes::Code;
use crate::ids::{BankId, Digest, KeyId, UpstreamId, is_party_id};
use crate::keys::{SealingKey, SigningKey, VerifyingKey};
use crate::sign::{self, Tag};
use crate::time::UnixMillis;
use crate::wire::{self, KeyUse, PartyKind, PartyState};

/// Root signatures that an entry needs.
pub const ROOT_SIGNATURES: usize = 2;
/// Party id of the one hub.
pub const HUB: &str = "hub";
/// Party id of the one notifier.
pub const NOTIFIER: &str = "notifier";

/// Names a party; as text `<kind>/<id>`, the record key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartyName(String);

impl PartyName {
    /// A bank's name.
    pub fn bank(id: &BankId) -> Self {
        Self::new("bank", id.as_str())
    }

    /// An upstream's name.
    pub fn upstream(id: &UpstreamId) -> Self {
        Self::new("upstream", id.as_str())
    }

    /// The notifier.
    pub fn notifier() -> Self {
        Self::new("notifier", NOTIFIER)
    }

    /// The hub.
    pub fn hub() -> Self {
        Self::new("hub", HUB)
    }

    /// The record key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn new(kind: &str, id: &str) -> Self {
        Self(format!("{kind}/{id}"))
    }

    fn of(entry: &wire::RegistryEntry) -> Result<Self, Code> {
        if !is_party_id(&entry.id) {
            return Err(Code::MESSAGE_MALFORMED);
        }
        let kind = match entry.kind() {
            PartyKind::Bank => "bank",
            PartyKind::Upstream => "upstream",
            PartyKind::Notifier if entry.id == NOTIFIER => "notifier",
            PartyKind::Hub if entry.id == HUB => "hub",
            PartyKind::Notifier | PartyKind::Hub | PartyKind::Unspecified => {
                return Err(Code::MESSAGE_MALFORMED);
            }
        };
        Ok(Self::new(kind, &entry.id))
    }
}

/// The highest version seen per party: the small file that a producer, connector or device keeps, so that nobody who
/// replays the topic can bring an old entry back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeenVersions(BTreeMap<PartyName, u64>);

/// One party as its newest accepted entry says.
#[derive(Clone, Debug)]
pub struct Party {
    /// State of the party.
    pub state: PartyState,
    /// Region codes in which it takes part.
    pub regions: Vec<String>,
    /// Words about a bank that reach a person.
    pub texts: Option<wire::BankTexts>,
    version: u64,
    keys: Vec<Key>,
    record: wire::RegistryRecord,
}

impl Party {
    /// Whether it takes part now.
    pub fn is_active(&self) -> bool {
        self.state == PartyState::Active
    }

    /// Version of the entry.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The entry as it was published, for a report.
    pub fn record(&self) -> &wire::RegistryRecord {
        &self.record
    }

    /// The signing key `id`, if it counts for a message appended at `at`.
    ///
    /// # Errors
    /// `KEY_UNKNOWN`, `KEY_NOT_YET_VALID`, `KEY_REVOKED`.
    pub fn verifying_key(&self, id: KeyId, at: UnixMillis) -> Result<VerifyingKey, Code> {
        let key = self.keys.iter().find(|key| key.id == id).ok_or(Code::KEY_UNKNOWN)?;
        match &key.public {
            Public::Sign(public) => key.counts_at(at).map(|()| public.clone()),
            Public::Seal(_) => Err(Code::KEY_UNKNOWN),
        }
    }

    /// The newest sealing key that counts at `at`.
    ///
    /// # Errors
    /// `KEY_UNKNOWN` when the party has none.
    pub fn sealing_key(&self, at: UnixMillis) -> Result<&SealingKey, Code> {
        self.keys
            .iter()
            .filter(|key| key.counts_at(at).is_ok())
            .filter_map(|key| match &key.public {
                Public::Seal(public) => Some((key.valid_from, public)),
                Public::Sign(_) => None,
            })
            .max_by_key(|(valid_from, _)| *valid_from)
            .map(|(_, public)| public)
            .ok_or(Code::KEY_UNKNOWN)
    }

    /// Whether `id` is a sealing key of this party that counts at `at`.
    pub fn seals_to(&self, id: KeyId, at: UnixMillis) -> bool {
        let sealing = |key: &&Key| key.id == id && matches!(key.public, Public::Seal(_));
        self.keys.iter().find(sealing).is_some_and(|key| key.counts_at(at).is_ok())
    }
}

#[derive(Clone, Debug)]
struct Key {
    id: KeyId,
    public: Public,
    valid_from: UnixMillis,
    revoked_at: Option<UnixMillis>,
}

#[derive(Clone, Debug)]
enum Public {
    Sign(VerifyingKey),
    Seal(SealingKey),
}

impl Key {
    /// A revocation counts from its entry's append time on.
    fn counts_at(&self, at: UnixMillis) -> Result<(), Code> {
        if at < self.valid_from {
            return Err(Code::KEY_NOT_YET_VALID);
        }
        match self.revoked_at {
            Some(revoked_at) if at >= revoked_at => Err(Code::KEY_REVOKED),
            Some(_) | None => Ok(()),
        }
    }

    fn from_wire(key: &wire::PartyKey, appended_at: UnixMillis) -> Result<Self, Code> {
        let public = key.key.as_ref().ok_or(Code::MESSAGE_MALFORMED)?;
        let (id, public) = match key.r#use() {
            KeyUse::Sign => {
                let public = VerifyingKey::from_wire(public)?;
                (public.id(), Public::Sign(public))
            }
            KeyUse::Seal => {
                let public = SealingKey::from_wire(public)?;
                (public.id(), Public::Seal(public))
            }
            KeyUse::Unspecified => return Err(Code::MESSAGE_MALFORMED),
        };
        let revoked_at = key.revoked.then_some(match key.revoked_at_ms {
            0 => appended_at,
            carried_on => UnixMillis(carried_on),
        });
        Ok(Self { id, public, valid_from: UnixMillis(key.valid_from_ms), revoked_at })
    }
}

/// What became of a record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The registry changed.
    Changed,
    /// The entry was known.
    Known,
}

/// All parties.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    roots: Vec<VerifyingKey>,
    parties: BTreeMap<PartyName, Party>,
    seen: SeenVersions,
    generation: u64,
}

impl Registry {
    /// An empty registry that trusts `roots` and accepts nothing older than `seen`.
    pub fn new(roots: Vec<VerifyingKey>, seen: SeenVersions) -> Self {
        Self { roots, parties: BTreeMap::new(), seen, generation: 0 }
    }

    /// Takes one record of the registry topic, appended at `appended_at`. A refused record changes nothing.
    ///
    /// # Errors
    /// `MESSAGE_MALFORMED`, `WRONG_RECORD_KEY`, `KEY_INVALID`, or a `REGISTRY_…` code.
    pub fn apply(&mut self, key: &[u8], value: &[u8], appended_at: UnixMillis) -> Result<Applied, Code> {
        let record = wire::RegistryRecord::decode(value).map_err(|_| Code::MESSAGE_MALFORMED)?;
        self.check_roots(&record)?;
        let entry = wire::RegistryEntry::decode(record.body.clone()).map_err(|_| Code::MESSAGE_MALFORMED)?;
        let name = PartyName::of(&entry)?;
        if key != name.as_str().as_bytes() {
            return Err(Code::WRONG_RECORD_KEY);
        }
        if self.seen.0.get(&name).is_some_and(|seen| entry.version < *seen) {
            return Err(Code::REGISTRY_VERSION_OLD);
        }
        let mut keys =
            entry.keys.iter().map(|key| Key::from_wire(key, appended_at)).collect::<Result<Vec<_>, _>>()?;
        if (1..keys.len()).any(|n| keys[..n].iter().any(|key| key.id == keys[n].id)) {
            return Err(Code::MESSAGE_MALFORMED);
        }
        if let Some(known) = self.parties.get(&name) {
            if entry.version == known.version {
                return if record.body == known.record.body {
                    Ok(Applied::Known)
                } else {
                    Err(Code::REGISTRY_VERSION_REUSED)
                };
            }
            follow(known, &mut keys, &record, appended_at)?;
        }
        let party = Party {
            state: entry.state(),
            regions: entry.regions,
            texts: entry.bank_texts,
            version: entry.version,
            keys,
            record,
        };
        self.seen.0.insert(name.clone(), party.version);
        self.parties.insert(name, party);
        self.generation += 1;
        Ok(Applied::Changed)
    }

    fn check_roots(&self, record: &wire::RegistryRecord) -> Result<(), Code> {
        let mut signers: Vec<KeyId> = Vec::new();
        for signature in &record.root_signatures {
            let id = KeyId::from_bytes(&signature.key_id)?;
            let Some(root) = self.roots.iter().find(|root| root.id() == id) else { continue };
            if !signers.contains(&id)
                && sign::verify_bytes(Tag::RegistryEntry, &record.body, &signature.signature, root).is_ok()
            {
                signers.push(id);
            }
        }
        (signers.len() >= ROOT_SIGNATURES).then_some(()).ok_or(Code::REGISTRY_ROOTS_TOO_FEW)
    }

    /// A bank, if the registry has it.
    pub fn bank(&self, id: &BankId) -> Option<&Party> {
        self.parties.get(&PartyName::bank(id))
    }

    /// An upstream, if the registry has it.
    pub fn upstream(&self, id: &UpstreamId) -> Option<&Party> {
        self.parties.get(&PartyName::upstream(id))
    }

    /// The hub.
    ///
    /// # Errors
    /// `PARTY_UNKNOWN`.
    pub fn hub(&self) -> Result<&Party, Code> {
        self.parties.get(&PartyName::hub()).ok_or(Code::PARTY_UNKNOWN)
    }

    /// The notifier.
    ///
    /// # Errors
    /// `PARTY_UNKNOWN`.
    pub fn notifier(&self) -> Result<&Party, Code> {
        self.parties.get(&PartyName::notifier()).ok_or(Code::PARTY_UNKNOWN)
    }

    /// Every bank with its id, in ascending order, whatever its state.
    pub fn banks(&self) -> impl Iterator<Item = (BankId, &Party)> {
        self.of_kind("bank/")
    }

    /// Every upstream with its id, in ascending order, whatever its state.
    pub fn upstreams(&self) -> impl Iterator<Item = (UpstreamId, &Party)> {
        self.of_kind("upstream/")
    }

    fn of_kind<Id: std::str::FromStr>(&self, prefix: &'static str) -> impl Iterator<Item = (Id, &Party)> {
        self.parties
            .iter()
            .filter_map(move |(name, party)| Some((name.0.strip_prefix(prefix)?.parse().ok()?, party)))
    }

    /// Grows with every change: what was verified under one generation is verified again under the next.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The highest version seen per party, to be kept.
    pub fn seen(&self) -> &SeenVersions {
        &self.seen
    }
}

/// Checks that a new version goes on from the known one: no key dropped, no revocation taken back or moved, and new
/// keys signed with a key that counts now, where the party ever had one that signs.
fn follow(
    known: &Party,
    keys: &mut [Key],
    record: &wire::RegistryRecord,
    appended_at: UnixMillis,
) -> Result<(), Code> {
    for old in &known.keys {
        let new = keys.iter_mut().find(|new| new.id == old.id).ok_or(Code::REGISTRY_KEY_DROPPED)?;
        if old.valid_from != new.valid_from || (old.revoked_at.is_some() && new.revoked_at.is_none()) {
            return Err(Code::REGISTRY_KEY_DROPPED);
        }
        new.revoked_at = old.revoked_at.or(new.revoked_at);
    }
    let rotated = keys.iter().any(|new| known.keys.iter().all(|old| old.id != new.id));
    // The notifier only opens: it never had a key that could sign.
    let signs = known.keys.iter().any(|key| matches!(key.public, Public::Sign(_)));
    if rotated && signs {
        let signature = record.rotation_signature.as_ref().ok_or(Code::REGISTRY_ROTATION_UNSIGNED)?;
        let key = known
            .verifying_key(KeyId::from_bytes(&signature.key_id)?, appended_at)
            .map_err(|_| Code::REGISTRY_ROTATION_UNSIGNED)?;
        sign::verify_bytes(Tag::RegistryRotation, &record.body, &signature.signature, &key)
            .map_err(|_| Code::REGISTRY_ROTATION_UNSIGNED)?;
    }
    Ok(())
}

/// Signs an entry: with the offline root keys, and for a rotation with a key of the version before.
pub fn sign_entry(
    entry: &wire::RegistryEntry,
    roots: &[SigningKey],
    rotation: Option<&SigningKey>,
) -> wire::RegistryRecord {
    let body = entry.encode_to_vec();
    let signature = |tag, key: &SigningKey| wire::EntrySignature {
        key_id: key.id().to_wire(),
        signature: sign::sign_bytes(tag, &body, key),
    };
    let root_signatures = roots.iter().map(|key| signature(Tag::RegistryEntry, key)).collect();
    let rotation_signature = rotation.map(|key| signature(Tag::RegistryRotation, key));
    wire::RegistryRecord { root_signatures, rotation_signature, body: body.into() }
}

/// The record key of an entry.
///
/// # Errors
/// `MESSAGE_MALFORMED` for a kind or id that no party has.
pub fn record_key(entry: &wire::RegistryEntry) -> Result<String, Code> {
    PartyName::of(entry).map(|name| name.0)
}

/// A digest over the accepted entries, for logs and support tickets: two readers with the same digest agree.
pub fn fingerprint(registry: &Registry) -> Digest {
    let fields = registry
        .parties
        .values()
        .fold(crate::fields::Fields::new(), |fields, party| fields.bytes(&Digest::of(&party.record.body).0));
    Digest::of(fields.as_bytes())
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
