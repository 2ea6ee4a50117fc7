//! Who takes part, and whose key counts when.
//!
//! Entries come from `cardquery.registry.v1`, signed by two offline root keys that every reader pins. A registry only
//! grows: versions, keys and revocations never go back.

mod party;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use prost::Message;
use serde::{Deserialize, Serialize};

pub use self::party::{Key, Party};
use self::party::{Rotation, keep, rotation};
use crate::codes::Code;
use crate::ids::{BankId, Digest, KeyId, UpstreamId, is_party_id};
use crate::keys::{SigningKey, VerifyingKey};
use crate::sign::{self, Tag};
use crate::time::UnixMillis;
use crate::wire::{self, PartyKind};

/// Root signatures that an entry needs.
pub const ROOT_SIGNATURES: usize = 2;
/// Party id of the one hub.
pub const HUB: &str = "hub";
/// Party id of the one notifier.
pub const NOTIFIER: &str = "notifier";
/// Key ids of the root keys of the sample registry. Their private halves stand in the source, so whoever can write to the
/// topic could sign for a service that pins them.
pub const SAMPLE_ROOTS: [&str; 3] = [
    "2db6275e8cf04f7e6f4028556c688600",
    "1481ae68511630995858ed6ea56f905a",
    "9a5bcb572ca0bd203dc7f73c24dee6e4",
];

/// Whether everybody knows the private half of this root key.
pub fn is_sample_root(root: &VerifyingKey) -> bool {
    SAMPLE_ROOTS.contains(&root.id().to_string().as_str())
}

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

    /// What kind of party it is, and its id.
    pub fn parts(&self) -> (PartyKind, &str) {
        let (kind, id) = self.0.split_once('/').unwrap_or_default();
        (kind_of(kind), id)
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

fn kind_of(text: &str) -> PartyKind {
    match text {
        "bank" => PartyKind::Bank,
        "upstream" => PartyKind::Upstream,
        "notifier" => PartyKind::Notifier,
        "hub" => PartyKind::Hub,
        _ => PartyKind::Unspecified,
    }
}

impl FromStr for PartyName {
    type Err = Code;

    fn from_str(text: &str) -> Result<Self, Code> {
        let (kind, id) = text.split_once('/').ok_or(Code::MESSAGE_MALFORMED)?;
        let kind = kind_of(kind).into();
        Self::of(&wire::RegistryEntry { kind, id: id.to_owned(), ..Default::default() })
    }
}

impl fmt::Display for PartyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The highest version seen per party: the small file that a producer, connector or device keeps, so that nobody who
/// replays the topic can bring an old entry back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeenVersions(BTreeMap<PartyName, u64>);

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
    gaps: BTreeMap<PartyName, Gap>,
    generation: u64,
}

/// A rotation that was refused, and yet may be good: its signer came with a version that compaction removed before this
/// reader came to it.
#[derive(Clone, Debug)]
struct Gap {
    version: u64,
    chain: Chain,
}

/// What the topic, read again from its beginning, still has of the versions that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    /// It was not read again yet.
    Unread,
    /// Nothing so far. A reader that starts now would see the refused version first, and take it.
    Gone,
    /// The version that is known, or one before it: nothing was removed, so the signer never was the party's.
    Kept,
}

impl Registry {
    /// An empty registry that trusts `roots` and accepts nothing older than `seen`.
    pub fn new(roots: Vec<VerifyingKey>, seen: SeenVersions) -> Self {
        Self { roots, parties: BTreeMap::new(), seen, gaps: BTreeMap::new(), generation: 0 }
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
        self.note_chain(&name, entry.version);
        if self.seen.0.get(&name).is_some_and(|seen| entry.version < *seen) {
            return Err(Code::REGISTRY_VERSION_OLD);
        }
        let mut keys =
            entry.keys.iter().map(|key| Key::from_wire(key, appended_at)).collect::<Result<Vec<_>, _>>()?;
        if (1..keys.len()).any(|n| keys[..n].iter().any(|key| key.id() == keys[n].id())) {
            return Err(Code::MESSAGE_MALFORMED);
        }
        let state = entry.state();
        let mut state_since = appended_at;
        if let Some(known) = self.parties.get(&name) {
            if entry.version == known.version {
                return if record.body == known.record.body {
                    Ok(Applied::Known)
                } else {
                    Err(Code::REGISTRY_VERSION_REUSED)
                };
            }
            keep(known, &mut keys)?;
            let rotation = rotation(known, &keys, &record, appended_at);
            if known.state == state {
                state_since = known.state_since;
            }
            let skipped = entry.version > known.version + 1;
            self.check_rotation(&name, entry.version, rotation, skipped)?;
        }
        let party = Party {
            state,
            state_since,
            regions: entry.regions,
            texts: entry.bank_texts,
            version: entry.version,
            keys,
            record,
        };
        self.gaps.remove(&name);
        self.seen.0.insert(name.clone(), party.version);
        self.parties.insert(name, party);
        self.generation += 1;
        Ok(Applied::Changed)
    }

    /// Whether the topic has to be read again from its beginning, up to the record that was refused just now and beyond:
    /// only that shows whether versions are missing. Asked after every refusal; says so once for each.
    pub fn begins_again(&mut self) -> bool {
        let mut unread = false;
        for gap in self.gaps.values_mut().filter(|gap| gap.chain == Chain::Unread) {
            gap.chain = Chain::Gone;
            unread = true;
        }
        unread
    }

    /// Notes that the topic still has a version from before a gap.
    fn note_chain(&mut self, name: &PartyName, version: u64) {
        let known = self.parties.get(name).map_or(0, Party::version);
        if let Some(gap) = self.gaps.get_mut(name)
            && gap.chain == Chain::Gone
            && version <= known
        {
            gap.chain = Chain::Kept;
        }
    }

    fn check_rotation(
        &mut self,
        name: &PartyName,
        version: u64,
        rotation: Rotation,
        skipped: bool,
    ) -> Result<(), Code> {
        match rotation {
            Rotation::Good => return Ok(()),
            Rotation::UnknownSigner if skipped => {}
            Rotation::UnknownSigner | Rotation::Unsigned => return Err(Code::REGISTRY_ROTATION_UNSIGNED),
        }
        match self.gaps.get(name) {
            Some(gap) if gap.version == version && gap.chain == Chain::Gone => Ok(()),
            Some(gap) if gap.version == version => Err(Code::REGISTRY_ROTATION_UNSIGNED),
            Some(_) | None => {
                self.gaps.insert(name.clone(), Gap { version, chain: Chain::Unread });
                Err(Code::REGISTRY_ROTATION_UNSIGNED)
            }
        }
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

    /// A party, if the registry has it.
    pub fn party(&self, name: &PartyName) -> Option<&Party> {
        self.parties.get(name)
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

    /// Every party with its name, in ascending order.
    pub fn parties(&self) -> impl Iterator<Item = (&PartyName, &Party)> {
        self.parties.iter()
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
