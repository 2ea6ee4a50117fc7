use super::*;
use crate::keys::OpeningKey;
use crate::wire::{KeyUse, PartyState};

struct World {
    roots: Vec<SigningKey>,
    registry: Registry,
}

fn world() -> World {
    let roots: Vec<_> = (1..=3).map(|n| SigningKey::from_seed(&[n; 32])).collect();
    let pinned = roots[..2].iter().map(SigningKey::public).collect();
    World { roots, registry: Registry::new(pinned, SeenVersions::default()) }
}

fn party_key(key: &SigningKey) -> wire::PartyKey {
    wire::PartyKey { r#use: KeyUse::Sign.into(), key: Some(key.public().to_wire()), ..Default::default() }
}

fn entry(version: u64, keys: &[&SigningKey]) -> wire::RegistryEntry {
    wire::RegistryEntry {
        kind: PartyKind::Bank.into(),
        id: "alpha".into(),
        version,
        state: PartyState::Active.into(),
        keys: keys.iter().map(|key| party_key(key)).collect(),
        regions: vec!["310000".into()],
        bank_texts: None,
    }
}

impl World {
    fn apply(
        &mut self,
        entry: &wire::RegistryEntry,
        rotation: Option<&SigningKey>,
        at: i64,
    ) -> Result<Applied, Code> {
        let record = sign_entry(entry, &self.roots[..2], rotation);
        self.registry.apply(b"bank/alpha", &record.encode_to_vec(), UnixMillis(at))
    }

    fn key_at(&self, key: &SigningKey, at: i64) -> Result<(), Code> {
        let alpha = "alpha".parse().expect("an id");
        self.registry.bank(&alpha).expect("registered").verifying_key(key.id(), UnixMillis(at)).map(|_| ())
    }
}

#[test]
fn an_entry_needs_two_signatures_of_different_pinned_roots() {
    let mut world = world();
    let key = SigningKey::from_seed(&[9; 32]);
    let entry = entry(1, &[&key]);
    let [one, two, unknown] = [0, 1, 2].map(|n| world.roots[n].clone());
    for wrong in [vec![], vec![one.clone()], vec![one.clone(), one.clone()], vec![one.clone(), unknown]] {
        let record = sign_entry(&entry, &wrong, None).encode_to_vec();
        let refused = world.registry.apply(b"bank/alpha", &record, UnixMillis(1));
        assert_eq!(refused, Err(Code::REGISTRY_ROOTS_TOO_FEW), "{} signatures", wrong.len());
    }
    let record = sign_entry(&entry, &[one, two], None).encode_to_vec();
    assert_eq!(world.registry.apply(b"bank/beta", &record, UnixMillis(1)), Err(Code::WRONG_RECORD_KEY));
    assert_eq!(world.registry.apply(b"bank/alpha", &record, UnixMillis(1)), Ok(Applied::Changed));
    assert_eq!(world.registry.apply(b"bank/alpha", &record, UnixMillis(2)), Ok(Applied::Known));
}

#[test]
fn no_older_version_comes_back_not_even_to_a_new_reader_who_remembers() {
    let mut world = world();
    let key = SigningKey::from_seed(&[9; 32]);
    world.apply(&entry(5, &[&key]), None, 1).expect("accepted");
    assert_eq!(world.apply(&entry(4, &[&key]), None, 2), Err(Code::REGISTRY_VERSION_OLD));
    let mut other = entry(5, &[&key]);
    other.regions.clear();
    assert_eq!(world.apply(&other, None, 2), Err(Code::REGISTRY_VERSION_REUSED));
    world.registry = Registry::new(
        world.roots[..2].iter().map(SigningKey::public).collect(),
        world.registry.seen().clone(),
    );
    assert_eq!(world.apply(&entry(4, &[&key]), None, 3), Err(Code::REGISTRY_VERSION_OLD));
    assert_eq!(world.apply(&entry(5, &[&key]), None, 3), Ok(Applied::Changed));
}

#[test]
fn new_keys_need_the_word_of_an_old_key_and_no_key_is_dropped() {
    let mut world = world();
    let (old, new) = (SigningKey::from_seed(&[9; 32]), SigningKey::from_seed(&[10; 32]));
    world.apply(&entry(1, &[&old]), None, 1).expect("accepted");
    assert_eq!(world.apply(&entry(2, &[&new]), Some(&old), 2), Err(Code::REGISTRY_KEY_DROPPED));
    let both = entry(2, &[&old, &new]);
    assert_eq!(world.apply(&both, None, 2), Err(Code::REGISTRY_ROTATION_UNSIGNED));
    assert_eq!(world.apply(&both, Some(&new), 2), Err(Code::REGISTRY_ROTATION_UNSIGNED));
    assert_eq!(world.apply(&both, Some(&old), 2), Ok(Applied::Changed));
    assert_eq!(world.key_at(&old, 3).and(world.key_at(&new, 3)), Ok(()));
}

#[test]
fn a_revocation_counts_from_the_append_time_of_its_first_entry() {
    let mut world = world();
    let key = SigningKey::from_seed(&[9; 32]);
    world.apply(&entry(1, &[&key]), None, 1).expect("accepted");
    let mut revoked = entry(2, &[&key]);
    revoked.keys[0].revoked = true;
    world.apply(&revoked, None, 100).expect("accepted");
    assert_eq!(world.key_at(&key, 99), Ok(()));
    assert_eq!(world.key_at(&key, 100), Err(Code::KEY_REVOKED));
    assert_eq!(world.apply(&entry(3, &[&key]), None, 200), Err(Code::REGISTRY_KEY_DROPPED));

    let mut later = revoked.clone();
    later.version = 3;
    world.apply(&later, None, 300).expect("accepted");
    assert_eq!(world.key_at(&key, 200), Err(Code::KEY_REVOKED), "a later entry does not move it");

    // After compaction only the newest entry is left; it carries the time on.
    let mut compacted = self::world();
    later.keys[0].revoked_at_ms = 100;
    compacted.apply(&later, None, 300).expect("accepted");
    assert_eq!(compacted.key_at(&key, 99), Ok(()));
    assert_eq!(compacted.key_at(&key, 100), Err(Code::KEY_REVOKED));
}

#[test]
fn a_key_counts_for_its_own_use_and_not_before_its_time() {
    let mut world = world();
    let key = SigningKey::from_seed(&[9; 32]);
    let sealing = OpeningKey::derive(&[11; 32]);
    let mut entry = entry(1, &[&key]);
    entry.keys[0].valid_from_ms = 50;
    entry.keys.push(wire::PartyKey {
        r#use: KeyUse::Seal.into(),
        key: Some(sealing.public().to_wire()),
        ..Default::default()
    });
    world.apply(&entry, None, 1).expect("accepted");
    assert_eq!(world.key_at(&key, 49), Err(Code::KEY_NOT_YET_VALID));
    assert_eq!(world.key_at(&key, 50), Ok(()));
    let alpha = world.registry.bank(&"alpha".parse().expect("an id")).expect("registered");
    assert_eq!(alpha.verifying_key(sealing.id(), UnixMillis(60)), Err(Code::KEY_UNKNOWN));
    assert_eq!(alpha.sealing_key(UnixMillis(60)), Ok(sealing.public()));
    assert!(alpha.seals_to(sealing.id(), UnixMillis(60)));
    assert!(!alpha.seals_to(key.id(), UnixMillis(60)), "it signs");
    entry.version = 2;
    entry.keys[1].revoked = true;
    world.apply(&entry, None, 70).expect("accepted");
    let alpha = world.registry.bank(&"alpha".parse().expect("an id")).expect("registered");
    assert!(alpha.seals_to(sealing.id(), UnixMillis(69)));
    assert!(!alpha.seals_to(sealing.id(), UnixMillis(70)), "it is revoked");
}

#[test]
fn only_the_one_hub_and_the_one_notifier_have_their_names() {
    let mut fake = entry(1, &[]);
    fake.kind = PartyKind::Hub.into();
    assert_eq!(record_key(&fake), Err(Code::MESSAGE_MALFORMED));
    fake.id = HUB.into();
    assert_eq!(record_key(&fake).as_deref(), Ok("hub/hub"));
}

/// Three versions, each with a key more, each signed with the newest key before it.
fn rotated_twice() -> ([SigningKey; 3], [wire::RegistryEntry; 3]) {
    let keys = [10, 11, 12].map(|n| SigningKey::from_seed(&[n; 32]));
    let [one, two, three] = &keys;
    let entries = [entry(1, &[one]), entry(2, &[one, two]), entry(3, &[one, two, three])];
    (keys, entries)
}

#[test]
fn a_rotation_signed_with_a_key_that_compaction_took_away_is_accepted_once_the_topic_shows_that() {
    let mut world = world();
    let ([_, two, three], [first, _, third]) = rotated_twice();
    world.apply(&first, None, 1).expect("accepted");
    assert_eq!(world.apply(&third, Some(&two), 3), Err(Code::REGISTRY_ROTATION_UNSIGNED));
    assert!(world.registry.begins_again());
    // From the beginning the topic has nothing of this party before the same record.
    assert_eq!(world.apply(&third, Some(&two), 3), Ok(Applied::Changed));
    assert_eq!(world.key_at(&three, 4), Ok(()));
    assert!(!world.registry.begins_again());
    assert_eq!(world.apply(&first, None, 1), Err(Code::REGISTRY_VERSION_OLD));
}

#[test]
fn a_rotation_signed_with_a_foreign_key_stays_refused_while_the_topic_has_the_version_before() {
    let mut world = world();
    let ([_, two, three], [first, second, third]) = rotated_twice();
    let stranger = SigningKey::from_seed(&[66; 32]);
    world.apply(&first, None, 1).expect("accepted");
    for _ in 0..2 {
        assert_eq!(world.apply(&third, Some(&stranger), 3), Err(Code::REGISTRY_ROTATION_UNSIGNED));
        // Said once: a topic that is read again and again would stop every reader.
        let again = world.registry.begins_again();
        assert_eq!(world.apply(&first, None, 1), Ok(Applied::Known));
        assert!(again || !world.registry.begins_again());
    }
    assert_eq!(world.key_at(&three, 4), Err(Code::KEY_UNKNOWN));
    // Without a gap in the versions nothing can have been removed.
    assert_eq!(world.apply(&second, Some(&stranger), 4), Err(Code::REGISTRY_ROTATION_UNSIGNED));
    assert!(!world.registry.begins_again());
    // What the party itself agrees to goes on.
    world.apply(&second, Some(&SigningKey::from_seed(&[10; 32])), 5).expect("accepted");
    world.apply(&third, Some(&two), 6).expect("accepted");
}

#[test]
fn what_a_reader_knew_before_a_gap_is_not_given_up_for_it() {
    let mut world = world();
    let ([one, two, three], [first, _, _]) = rotated_twice();
    world.apply(&first, None, 1).expect("accepted");
    let dropped = entry(3, &[&two, &three]);
    for _ in 0..2 {
        assert_eq!(world.apply(&dropped, Some(&two), 3), Err(Code::REGISTRY_KEY_DROPPED));
        assert!(!world.registry.begins_again());
    }
    assert_eq!(world.key_at(&one, 4), Ok(()));
}

#[test]
fn a_state_counts_from_the_entry_that_brought_it() {
    let mut world = world();
    let key = SigningKey::from_seed(&[9; 32]);
    let alpha = "alpha".parse().expect("an id");
    let mut next = entry(1, &[&key]);
    let mut apply = |version, state: PartyState, at| {
        next.version = version;
        next.state = state.into();
        world.apply(&next, None, at).expect("accepted");
        let party = world.registry.bank(&alpha).expect("registered").clone();
        [99, 100].map(|at| party.may_have_been_active(UnixMillis(at)))
    };
    assert_eq!(apply(1, PartyState::Active, 10), [true, true]);
    assert_eq!(apply(2, PartyState::Suspended, 100), [true, false]);
    assert_eq!(apply(3, PartyState::Suspended, 200), [true, false], "a later entry does not move it");
    assert_eq!(apply(4, PartyState::Active, 300), [true, true]);
    assert_eq!(apply(5, PartyState::Left, 400), [true, true]);
}

#[test]
fn the_public_sample_roots_are_known_by_their_ids_and_no_other_key_is() {
    assert!(SAMPLE_ROOTS.iter().all(|id| hex::decode(id).is_ok_and(|raw| KeyId::from_bytes(&raw).is_ok())));
    assert!(!is_sample_root(&SigningKey::from_seed(&[1; 32]).public()));
}

#[test]
fn a_partys_name_is_read_as_it_is_written_and_nothing_else_is_a_name() {
    for (text, parts) in [
        ("bank/alpha", (PartyKind::Bank, "alpha")),
        ("upstream/wallet", (PartyKind::Upstream, "wallet")),
        ("notifier/notifier", (PartyKind::Notifier, NOTIFIER)),
        ("hub/hub", (PartyKind::Hub, HUB)),
    ] {
        let name: PartyName = text.parse().expect("a name");
        assert_eq!((name.parts(), name.to_string().as_str()), (parts, text));
    }
    for wrong in ["", "bank", "bank/", "bank/A", "bank/al/pha", "hub/other", "shop/alpha", "/alpha"] {
        assert_eq!(wrong.parse::<PartyName>(), Err(Code::MESSAGE_MALFORMED), "{wrong}");
    }
}
