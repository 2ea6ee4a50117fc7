//! One party, its keys, and what its next entry must keep.

use crate::codes::Code;
use crate::ids::KeyId;
use crate::keys::{SealingKey, VerifyingKey};
use crate::sign::{self, Tag};
use crate::time::UnixMillis;
use crate::wire::{self, KeyUse, PartyState};

/// One party as its newest accepted entry says.
#[derive(Clone, Debug)]
pub struct Party {
    /// State of the party.
    pub state: PartyState,
    /// Append time of the entry that brought this state. A reader that finds only a later entry with the same state
    /// takes that one's.
    pub state_since: UnixMillis,
    /// Region codes in which it takes part.
    pub regions: Vec<String>,
    /// Words about a bank that reach a person.
    pub texts: Option<wire::BankTexts>,
    pub(super) version: u64,
    pub(super) keys: Vec<Key>,
    pub(super) record: wire::RegistryRecord,
}

impl Party {
    /// Whether it takes part now.
    pub fn is_active(&self) -> bool {
        self.state == PartyState::Active
    }

    /// Whether nothing says that it did not take part at `at`: only the newest state has a time.
    pub fn may_have_been_active(&self, at: UnixMillis) -> bool {
        self.is_active() || at < self.state_since
    }

    /// Version of the entry.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The entry as it was published, for a report.
    pub fn record(&self) -> &wire::RegistryRecord {
        &self.record
    }

    /// All keys that it ever had, in the order of its entry.
    pub fn keys(&self) -> &[Key] {
        &self.keys
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

/// A key of a party.
#[derive(Clone, Debug)]
pub struct Key {
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
    /// Its id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What it is for.
    pub fn key_use(&self) -> KeyUse {
        match self.public {
            Public::Sign(_) => KeyUse::Sign,
            Public::Seal(_) => KeyUse::Seal,
        }
    }

    /// The public half.
    pub fn public(&self) -> wire::PublicKey {
        match &self.public {
            Public::Sign(key) => key.to_wire(),
            Public::Seal(key) => key.to_wire(),
        }
    }

    /// From when on it counts.
    pub fn valid_from(&self) -> UnixMillis {
        self.valid_from
    }

    /// From when on it does not count any more: the append time of the entry that first revoked it.
    pub fn revoked_at(&self) -> Option<UnixMillis> {
        self.revoked_at
    }

    /// Whether it counts for a message appended at `at`.
    ///
    /// # Errors
    /// `KEY_NOT_YET_VALID`, `KEY_REVOKED`.
    pub fn counts_at(&self, at: UnixMillis) -> Result<(), Code> {
        if at < self.valid_from {
            return Err(Code::KEY_NOT_YET_VALID);
        }
        match self.revoked_at {
            Some(revoked_at) if at >= revoked_at => Err(Code::KEY_REVOKED),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn from_wire(key: &wire::PartyKey, appended_at: UnixMillis) -> Result<Self, Code> {
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

/// Whether the party itself agrees to the keys of its new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotation {
    /// No key is new, or a key that counts signed for the new ones.
    Good,
    /// It is signed with a key that the known version does not have.
    UnknownSigner,
    /// Nobody signed who could.
    Unsigned,
}

/// Checks that a new version goes on from the known one: no key dropped, no revocation taken back or moved. Revocations
/// keep the time that was known.
pub(super) fn keep(known: &Party, keys: &mut [Key]) -> Result<(), Code> {
    for old in &known.keys {
        let new = keys.iter_mut().find(|new| new.id == old.id).ok_or(Code::REGISTRY_KEY_DROPPED)?;
        if old.valid_from != new.valid_from || (old.revoked_at.is_some() && new.revoked_at.is_none()) {
            return Err(Code::REGISTRY_KEY_DROPPED);
        }
        new.revoked_at = old.revoked_at.or(new.revoked_at);
    }
    Ok(())
}

/// New keys are signed with a key that counts at `appended_at`, where the party ever had one that signs.
pub(super) fn rotation(
    known: &Party,
    keys: &[Key],
    record: &wire::RegistryRecord,
    appended_at: UnixMillis,
) -> Rotation {
    let rotated = keys.iter().any(|new| known.keys.iter().all(|old| old.id != new.id));
    // The notifier only opens: it never had a key that could sign.
    let signs = known.keys.iter().any(|key| key.key_use() == KeyUse::Sign);
    if !rotated || !signs {
        return Rotation::Good;
    }
    let Some(signature) = &record.rotation_signature else { return Rotation::Unsigned };
    let Ok(id) = KeyId::from_bytes(&signature.key_id) else { return Rotation::Unsigned };
    match known.verifying_key(id, appended_at) {
        Ok(key)
            if sign::verify_bytes(Tag::RegistryRotation, &record.body, &signature.signature, &key)
                .is_ok() =>
        {
            Rotation::Good
        }
        Err(Code::KEY_UNKNOWN) => Rotation::UnknownSigner,
        Ok(_) | Err(_) => Rotation::Unsigned,
    }
}
