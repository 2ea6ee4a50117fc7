use schemas::keys::SigningKey;
use schemas::registry::{self, Party};
use schemas::wire::{self, KeyUse, PartyKind, PartyState};

use super::*;
use crate::sample;

fn bank() -> BankId {
    "alpha".parse().expect("an id")
}

fn signing(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

/// A version of a bank with these keys, signed by the sample's roots and by its first key.
pub(in crate::audit::replay) fn record(version: u64, state: PartyState, keys: &[u8], offset: i64) -> Record {
    let key = |n: &u8| wire::PartyKey {
        r#use: KeyUse::Sign.into(),
        key: Some(signing(*n).public().to_wire()),
        ..Default::default()
    };
    let entry = wire::RegistryEntry {
        kind: PartyKind::Bank.into(),
        id: bank().as_str().to_owned(),
        version,
        state: state.into(),
        keys: keys.iter().map(key).collect(),
        regions: vec!["310000".to_owned()],
        bank_texts: None,
    };
    let roots = sample::keys::root_seeds().map(|seed| SigningKey::from_seed(&seed));
    let signed = registry::sign_entry(&entry, &roots, Some(&signing(keys[0])));
    Record {
        position: plumbing::kafka::Position { topic: "cardquery.registry.v1".into(), partition: 0, offset },
        append_time_ms: offset * 100,
        key: Some(PartyName::bank(&bank()).as_str().to_owned().into()),
        value: prost::Message::encode_to_vec(&signed).into(),
        headers: Vec::new(),
    }
}

fn history(records: &[Record]) -> History {
    History::new(sample::keys::roots(), records)
}

fn versions(parties: Vec<&Party>) -> Vec<u64> {
    parties.into_iter().map(Party::version).collect()
}

#[test]
fn a_record_is_judged_with_what_was_in_force_between_its_append_and_the_report() {
    use PartyState::Active;
    let history = history(&[
        record(1, Active, &[1], 1),
        record(2, Active, &[1, 2], 4),
        record(3, Active, &[1, 2, 3], 8),
    ]);
    for (appended_at, before, expected) in [
        (100, 2, vec![1]),
        (100, 5, vec![1, 2]),
        (399, 9, vec![1, 2, 3]),
        (400, 9, vec![2, 3]),
        (900, 9, vec![3]),
        // The hub had not read yet what was appended before.
        (900, 5, vec![2]),
        // Only a later entry is left.
        (50, 1, vec![1]),
    ] {
        let found = versions(history.of_bank(&bank(), UnixMillis(appended_at), before));
        assert_eq!(found, expected, "appended {appended_at}, before {before}");
    }
    assert!(history.of_bank(&"beta".parse().expect("an id"), UnixMillis(1), 9).is_empty());
}

#[test]
fn a_bank_was_suspended_from_its_entry_to_the_next_one() {
    use PartyState::{Active, Suspended};
    let entries = [(1, Active, 1), (2, Suspended, 4), (3, Active, 8)];
    let records = entries.map(|(version, state, offset)| record(version, state, &[1], offset));
    let all = history(&records);
    for (before, expected) in [
        (1, Standing::Active),
        (2, Standing::Active),
        (4, Standing::Active),
        (5, Standing::Suspended),
        (8, Standing::Suspended),
        (9, Standing::Active),
    ] {
        assert_eq!(all.standing(&bank(), before), expected, "before {before}");
    }
    let compacted = history(&records[2..]);
    assert_eq!(compacted.standing(&bank(), 5), Standing::Unknown);
    assert_eq!(compacted.standing(&bank(), 9), Standing::Active);
}

#[test]
fn a_version_whose_signer_compaction_removed_is_taken_as_a_reader_that_starts_now_takes_it() {
    use PartyState::Active;
    // The third is signed by a key that came with the second, which is gone.
    let rotated = |version, keys: &[u8], offset| record(version, Active, keys, offset);
    let gap = history(&[rotated(1, &[1], 1), rotated(3, &[2, 1], 8)]);
    assert!(gap.of_bank(&bank(), UnixMillis(900), 9).iter().all(|party| party.version() == 1), "it forks");
    let alone = history(&[rotated(3, &[2, 1], 8)]);
    assert_eq!(versions(alone.of_bank(&bank(), UnixMillis(100), 9)), [3]);
}

#[test]
fn what_readers_refuse_is_no_version() {
    let mut forged = record(2, PartyState::Suspended, &[1], 4);
    let mut value = forged.value.to_vec();
    let region = value.windows(6).position(|window| window == b"310000").expect("it takes part in a region");
    value[region] = b'4';
    forged.value = value.into();
    let history = history(&[record(1, PartyState::Active, &[1], 1), forged]);
    assert_eq!(history.standing(&bank(), 9), Standing::Active);
    assert_eq!(versions(history.of_bank(&bank(), UnixMillis(900), 9)), [1]);
}
