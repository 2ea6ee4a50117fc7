use schemas::registry::{Applied, PartyName, Registry, SeenVersions};
use schemas::time::UnixMillis;

use super::super::draft;
use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn entry() -> EntryFile {
    let party: PartyName = "upstream/wallet".parse().expect("a name");
    let signs = Key::new(Use::Sign, hex::encode(key(3).public().to_wire().raw), None);
    EntryFile::of(draft::join(&party, &["310000".to_owned()].into(), None, vec![signs])).expect("an entry")
}

#[test]
fn the_signed_bytes_go_from_file_to_file_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let mut first = entry();
    first.sign_as_root(&key(1)).expect("signed");
    first.write(&path("one.json")).expect("written");
    let mut second = EntryFile::read(&path("one.json")).expect("an entry");
    second.sign_as_root(&key(2)).expect("signed");
    second.sign_as_party(&key(3)).expect("signed");
    second.write(&path("two.json")).expect("written");
    let last = EntryFile::read(&path("two.json")).expect("an entry");
    assert_eq!(last.record().body, entry().record().body);
    assert_eq!(last.record().root_signatures.len(), 2);
    assert!(last.record().rotation_signature.is_some());

    let roots = [1, 2].map(|seed| key(seed).public());
    let mut registry = Registry::new(roots.to_vec(), SeenVersions::default());
    let applied = registry.apply(b"upstream/wallet", &last.record().encode_to_vec(), UnixMillis(1));
    assert_eq!(applied, Ok(Applied::Changed));
    let overwritten = last.write(&path("one.json")).expect_err("never");
    assert_eq!(overwritten.exit(), plumbing::exit::Exit::CannotCreate);
}

#[test]
fn nobody_signs_twice_and_no_stranger_signs_for_the_party() {
    let mut entry = entry();
    entry.sign_as_root(&key(1)).expect("signed");
    let twice = entry.sign_as_root(&key(1)).expect_err("signed already");
    assert!(matches!(twice, RegistryCommandError::SignedAlready(id) if id == key(1).id()));
    let stranger = entry.sign_as_party(&key(9)).expect_err("not the party's");
    assert!(matches!(stranger, RegistryCommandError::ForeignKey(id) if id == key(9).id()));
    entry.sign_as_party(&key(3)).expect("signed");
    assert!(entry.sign_as_party(&key(3)).is_err());
    assert_eq!(entry.record().root_signatures.len(), 1);
}

#[test]
fn a_file_that_is_neither_draft_nor_entry_is_refused_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("entry");
    for wrong in ["", "party = 3", "{}", r#"{"body": "zz", "root_signatures": []}"#] {
        std::fs::write(&path, wrong).expect("written");
        let error = EntryFile::read(&path).expect_err("wrong");
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
        assert_eq!(error.exit(), plumbing::exit::Exit::BadData, "{wrong}");
    }
    let missing = EntryFile::read(&folder.path().join("none")).expect_err("missing");
    assert_eq!(missing.exit(), plumbing::exit::Exit::NoInput);
}
