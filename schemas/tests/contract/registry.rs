//! What the services' tests publish is refused for the reason that they think.

use prost::Message;
use schemas::keys::SigningKey;
use schemas::registry::{Applied, Registry, SeenVersions, sign_entry};
use schemas::time::UnixMillis;
use schemas::wire::{KeyUse, PartyKey, PartyKind, PartyState, RegistryEntry};

use crate::refused_entries::refused_entries;

#[test]
fn every_entry_that_services_are_tested_with_is_refused_for_its_own_reason_and_changes_nothing() {
    let roots = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]));
    let key = SigningKey::from_seed(&[3; 32]).public().to_wire();
    let current = RegistryEntry {
        kind: PartyKind::Upstream.into(),
        id: "wallet".into(),
        version: 2,
        state: PartyState::Active.into(),
        keys: vec![PartyKey { r#use: KeyUse::Sign.into(), key: Some(key), ..PartyKey::default() }],
        ..RegistryEntry::default()
    };
    let pinned = roots.iter().map(SigningKey::public).collect();
    let mut registry = Registry::new(pinned, SeenVersions::default());
    let mut apply = |record: &[u8]| registry.apply(b"upstream/wallet", record, UnixMillis(1));
    assert_eq!(apply(&sign_entry(&current, &roots, None).encode_to_vec()), Ok(Applied::Changed));
    let suspend = |entry: &mut RegistryEntry| entry.state = PartyState::Suspended.into();
    for (code, record) in refused_entries(&current, suspend, &roots) {
        assert_eq!(apply(&record), Err(code));
    }
    let mut next = RegistryEntry { version: 3, ..current };
    suspend(&mut next);
    assert_eq!(apply(&sign_entry(&next, &roots, None).encode_to_vec()), Ok(Applied::Changed));
}
