use std::collections::BTreeSet;

use schemas::registry::{Applied, Registry, SeenVersions};
use schemas::time::UnixMillis;

use super::*;

const IDS: [&str; 14] = [
    "anhe",
    "beichuan",
    "changning",
    "dongli",
    "fenghe",
    "guanghua",
    "haitang",
    "jinze",
    "kunlun",
    "lianhua",
    "mingyue",
    "nanshan",
    "taihe",
    "yunhe",
];
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn published() -> Registry {
    let mut registry = Registry::new(keys::roots(), SeenVersions::default());
    for (key, record) in records() {
        assert_eq!(registry.apply(key.as_bytes(), &record, NOW), Ok(Applied::Changed), "{key}");
    }
    registry
}

#[test]
fn a_reader_that_pins_the_sample_roots_accepts_every_record_and_any_other_none() {
    published();
    let strangers = (1..=3).map(|n| SigningKey::from_seed(&[n; 32]).public()).collect();
    let mut registry = Registry::new(strangers, SeenVersions::default());
    for (key, record) in records() {
        let refused = registry.apply(key.as_bytes(), &record, NOW);
        assert_eq!(refused, Err(Code::REGISTRY_ROOTS_TOO_FEW), "{key}");
    }
}

#[test]
fn the_banks_are_the_fourteen_and_keep_their_regions() {
    let registry = published();
    let banks: Vec<_> = registry.banks().collect();
    assert_eq!(banks.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), IDS);
    for (id, party) in banks {
        assert!(party.is_active(), "{id}");
        let yunnan = !matches!(id.as_str(), "kunlun" | "taihe");
        let expected: &[&str] = if yunnan { &["310000", "530000"] } else { &["310000"] };
        assert_eq!(party.regions, expected, "{id}");
    }
}

#[test]
fn every_bank_has_the_keys_that_its_connector_will_hold() {
    let registry = published();
    for (id, party) in registry.banks() {
        let name = PartyName::bank(&id);
        assert_eq!(party.sealing_key(NOW), Ok(keys::opening(&name).public()), "{id}");
        let signing = keys::signing(&name).public();
        assert_eq!(party.verifying_key(signing.id(), NOW), Ok(signing), "{id}");
    }
}

#[test]
fn upstream_hub_and_notifier_have_the_keys_that_they_need() {
    let registry = published();
    let wallet: UpstreamId = "wallet".parse().expect("an id");
    let signing = keys::signing(&PartyName::upstream(&wallet)).public();
    let party = registry.upstream(&wallet).expect("the wallet takes part");
    assert_eq!(party.regions, ["310000", "530000"]);
    assert_eq!(party.verifying_key(signing.id(), NOW), Ok(signing));
    let signing = keys::signing(&PartyName::hub()).public();
    assert_eq!(registry.hub().expect("a hub").verifying_key(signing.id(), NOW), Ok(signing));
    let notifier = registry.notifier().expect("a notifier");
    assert_eq!(notifier.sealing_key(NOW), Ok(keys::opening(&PartyName::notifier()).public()));
}

#[test]
fn every_text_about_a_bank_is_there_in_both_languages_and_marked_as_a_sample() {
    let mut phones = BTreeSet::new();
    for bank in sample().banks {
        assert!(bank.name.zh_cn.contains("样例") && bank.name.en.contains("Sample"), "{}", bank.id);
        assert_eq!(bank.products.keys().collect::<Vec<_>>(), ["CC01", "DC01", "PP01"], "{}", bank.id);
        for text in bank.products.values().chain([&bank.closing]) {
            assert!(!text.zh_cn.is_empty() && !text.zh_cn.is_ascii(), "{}", bank.id);
            assert!(!text.en.is_empty() && text.en.is_ascii(), "{}", bank.id);
        }
        assert!(bank.phone.len() == 5 && bank.phone.starts_with("00"), "{}", bank.id);
        assert!(phones.insert(bank.phone), "{}", bank.id);
    }
}

/// Scans for planted card numbers, identities and phones look for digit runs of nine or more.
#[test]
fn no_text_holds_a_digit_run_that_could_be_taken_for_a_number_of_a_person_or_card() {
    for line in TOML.lines() {
        let longest = line.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
        assert!(longest < Some(9), "{line}");
    }
}
