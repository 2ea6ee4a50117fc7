use schemas::keys::{OpeningKey, SigningKey};

use super::*;
use crate::sample;

fn public(seed: u8) -> String {
    hex::encode(SigningKey::from_seed(&[seed; 32]).public().to_wire().raw)
}

fn bank() -> Document {
    let seals = hex::encode(OpeningKey::derive(&[9; 32]).public().to_wire().raw);
    Document {
        party: "bank/alpha".into(),
        version: 1,
        state: State::Active,
        regions: vec!["310000".into()],
        keys: vec![Key::new(Use::Sign, public(1), None), Key::new(Use::Seal, seals, None)],
        texts: None,
    }
}

#[test]
fn what_is_signed_is_what_the_file_says_and_the_file_is_what_was_signed() {
    for (party, record) in sample::registry::records() {
        let record = wire::RegistryRecord::decode(record.as_slice()).expect("a record");
        let document = Document::of_body(&record.body).expect("showable");
        assert_eq!(document.party, party);
        let text = document.to_toml().expect("TOML");
        let read: Document = toml::from_str(&text).expect("its own text");
        assert_eq!(read, document, "{text}");
        assert_eq!(read.to_entry().expect("an entry").encode_to_vec(), record.body, "{text}");
    }
}

#[test]
fn signed_bytes_with_a_field_that_cannot_be_shown_are_not_shown_as_if_it_were_not_there() {
    let mut body = bank().to_entry().expect("an entry").encode_to_vec();
    assert!(Document::of_body(&body).is_ok());
    // Field 15, a number.
    body.extend([15 << 3, 1]);
    assert!(matches!(Document::of_body(&body), Err(RegistryCommandError::NotShowable)));
    assert!(matches!(Document::of_body(b"\xff"), Err(RegistryCommandError::NotShowable)));
}

#[test]
fn every_mistake_is_named_at_once() {
    let mut document = bank();
    document.party = "bank/Alpha".into();
    document.version = 0;
    document.regions.push("31".into());
    document.keys.push(Key::new(Use::Seal, "00".repeat(32), None));
    document.keys[1].valid_from = Some("soon".into());
    document.keys[0].revoked_at = Some("2026-11-23T08:00:00.000Z".into());
    let faults = document.to_entry().expect_err("mistakes").to_string();
    let keys: Vec<&str> =
        faults.lines().filter_map(|line| line.split_once(": ")).map(|(key, _)| key).collect();
    let expected = ["party", "version", "regions", "key[0].revoked_at", "key[1].valid_from", "key[2].public"];
    assert_eq!(keys, expected, "{faults}");
}

#[test]
fn a_party_that_takes_part_has_the_keys_that_it_needs_and_one_that_left_needs_none() {
    for (index, needed) in [(0, "sign"), (1, "seal")] {
        let mut document = bank();
        document.keys[index].revoked = true;
        let fault = document.to_entry().expect_err("a key is missing").to_string();
        assert!(fault.contains(&format!("use = \"{needed}\"")), "{fault}");
        document.state = State::Left;
        assert!(document.to_entry().is_ok());
    }
}

#[test]
fn no_key_stands_twice() {
    let mut document = bank();
    document.keys.push(document.keys[0].clone());
    assert_eq!(document.to_entry().expect_err("a mistake").to_string(), "key[2]: stands twice");
}
