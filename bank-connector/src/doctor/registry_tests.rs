use prost::Message;
use schemas::keys::{OpeningKey, SigningKey};
use schemas::registry::{SeenVersions, record_key, sign_entry};
use schemas::wire::{PartyKey, PartyKind, PublicKey, RegistryEntry};

use super::*;

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

fn key(r#use: KeyUse, key: PublicKey, valid_from_ms: i64, revoked: bool) -> PartyKey {
    PartyKey { r#use: r#use.into(), key: Some(key), valid_from_ms, revoked, ..Default::default() }
}

fn signing_key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn bank(state: PartyState, keys: Vec<PartyKey>) -> Registry {
    let roots = [signing_key(1), signing_key(2)];
    let entry = RegistryEntry {
        kind: PartyKind::Bank.into(),
        id: "alpha".into(),
        version: 3,
        state: state.into(),
        keys,
        ..Default::default()
    };
    let record = sign_entry(&entry, &roots, None).encode_to_vec();
    let mut registry = Registry::new(roots.iter().map(SigningKey::public).collect(), SeenVersions::default());
    let name = record_key(&entry).expect("a name");
    registry
        .apply(name.as_bytes(), &record, NOW.before(std::time::Duration::from_secs(60)))
        .expect("accepted");
    registry
}

fn name() -> PartyName {
    "bank/alpha".parse().expect("a name")
}

fn exit(state: &State) -> u8 {
    match state {
        State::Failed { exit, .. } => exit.code(),
        State::Ok | State::Warning { .. } | State::Skipped { .. } => 0,
    }
}

#[test]
fn an_entry_that_is_missing_old_refused_or_suspended_is_told_apart() {
    let none = Registry::default();
    let refused = |code| vec![("bank/beta".to_owned(), Code::KEY_INVALID), ("bank/alpha".to_owned(), code)];
    for (registry, refused, words, code) in [
        (&none, vec![], "no entry", 65),
        (&none, refused(Code::REGISTRY_VERSION_OLD), "older than what was seen", 65),
        (&none, refused(Code::REGISTRY_ROOTS_TOO_FEW), "is refused", 65),
        (&bank(PartyState::Suspended, vec![]), vec![], "SUSPENDED", 77),
        (&bank(PartyState::Active, vec![]), vec![], "version 3, ACTIVE", 0),
    ] {
        let (what, state) = entry(registry, &name(), &refused);
        assert!(what.contains(words), "{what}");
        assert_eq!(exit(&state), code, "{what}");
    }
}

#[test]
fn a_key_that_is_unknown_revoked_or_early_is_told_apart() {
    let public = |n| signing_key(n).public().to_wire();
    let seal = OpeningKey::derive(&[5; 32]);
    let registry = bank(
        PartyState::Active,
        vec![
            key(KeyUse::Sign, public(10), 0, false),
            key(KeyUse::Sign, public(11), 0, true),
            key(KeyUse::Sign, public(12), NOW.0 + 1, false),
            key(KeyUse::Seal, seal.public().to_wire(), 0, false),
        ],
    );
    let party = registry.party(&name()).expect("registered");
    for (n, words, code) in [
        (10, "is in force", 0),
        (11, "is revoked", 78),
        (12, "is not in force yet", 78),
        (13, "is not this bank's", 78),
    ] {
        let (what, state) = signing(party, signing_key(n).id(), NOW);
        assert!(what.contains(words), "{what}");
        assert_eq!(exit(&state), code, "{what}");
    }
    let other = OpeningKey::derive(&[6; 32]).id();
    assert_eq!(exit(&opening(party, &[other, seal.id()], NOW).1), 0);
    assert_eq!(exit(&opening(party, &[other], NOW).1), 78);
    let without = bank(PartyState::Active, vec![key(KeyUse::Sign, public(10), 0, false)]);
    let without = without.party(&name()).expect("registered");
    assert_eq!(exit(&opening(without, &[seal.id()], NOW).1), 65);
}
