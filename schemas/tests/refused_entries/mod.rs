//! Entries that every reader refuses. Each service's tests publish them: one signature too few is as good as none.

use prost::Message;
use schemas::codes::Code;
use schemas::keys::SigningKey;
use schemas::registry::sign_entry;
use schemas::wire::{RegistryEntry, RegistryRecord};

/// Encoded records that would bring `change` to the party whose entry in force is `current`, each with the code that it
/// is refused with.
pub(crate) fn refused_entries(
    current: &RegistryEntry,
    change: impl Fn(&mut RegistryEntry),
    roots: &[SigningKey; 2],
) -> Vec<(Code, Vec<u8>)> {
    let changed = |version| {
        let mut entry = RegistryEntry { version, ..current.clone() };
        change(&mut entry);
        entry
    };
    let next = changed(current.version + 1);
    let [one, two] = roots;
    let stranger = SigningKey::from_seed(&[0x5a; 32]);
    let signed = |entry: &RegistryEntry, keys: &[&SigningKey]| {
        let keys: Vec<SigningKey> = keys.iter().map(|key| (*key).clone()).collect();
        sign_entry(entry, &keys, None)
    };
    let other_bytes = RegistryRecord {
        root_signatures: signed(current, &[one, two]).root_signatures,
        ..signed(&next, &[])
    };
    let few = Code::REGISTRY_ROOTS_TOO_FEW;
    let records = [
        (few, signed(&next, &[])),
        (few, signed(&next, &[one])),
        (few, signed(&next, &[two, two])),
        (few, signed(&next, &[one, &stranger])),
        (few, other_bytes),
        (Code::REGISTRY_VERSION_REUSED, signed(&changed(current.version), &[one, two])),
        (Code::REGISTRY_VERSION_OLD, signed(&changed(current.version - 1), &[one, two])),
    ];
    records.map(|(code, record)| (code, record.encode_to_vec())).into()
}
