//! A second verifier, in another language and written from `docs/audit-log.md`, comes to the same verdicts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::world::{
    Copy, banks, erased, finalised, good, hub, note, receipt, reference, registered, replies,
};
use crate::world::{DAY, roots_hex};

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/other-verifier/verify.mjs")
}

/// Runs it with Node, which the base tools have.
fn ask(what: &str, place: &Path) -> Value {
    let output =
        Command::new("node").arg(script()).arg(what).arg(place).arg(roots_hex()).output().expect("node runs");
    let text = String::from_utf8(output.stdout).unwrap();
    let verdict: Value = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text} {}", String::from_utf8_lossy(&output.stderr)));
    let exit = if verdict["verified"] == true { 0 } else { 65 };
    assert_eq!(output.status.code(), Some(exit));
    verdict
}

fn agree(copy: &Copy, what: &str) {
    let (ours, theirs) = (copy.verify(), ask("log", copy.path()));
    assert_eq!(theirs["verified"], ours.verified, "{what}: {theirs} {:?}", ours.faults);
    assert_eq!(
        theirs["first_bad_entry"].as_u64(),
        ours.first_bad_entry,
        "{what}: {theirs} {:?}",
        ours.faults
    );
}

#[test]
fn both_verify_a_good_log_of_every_kind_of_leaf() {
    let theirs = ask("log", good().folder.path());
    assert_eq!(theirs["verified"], true, "{theirs}");
    assert_eq!(theirs["entries"], 2001);
    let leaves = crate::world::one_of_each_kind();
    let kinds: std::collections::BTreeSet<_> = leaves.iter().map(|leaf| leaf.kind()).collect();
    assert_eq!(kinds.len(), schemas::audit::Leaf::KINDS.len());
    let leaves: Vec<_> = leaves.iter().map(|leaf| leaf.encode()).collect();
    let copy = Copy::of(&leaves, &[1]);
    assert!(copy.verify().verified, "{:?}", copy.verify().faults);
    agree(&copy, "every kind");
}

#[test]
fn both_name_the_same_entry_of_a_spoiled_log() {
    type Spoil = fn(&Copy);
    let spoils: [(&str, Spoil); 10] = [
        ("an entry changed", |copy| copy.change("tile/entries/004", |bytes| bytes[567] ^= 1)),
        ("a length changed", |copy| copy.change("tile/entries/002", |bytes| bytes[1] ^= 1)),
        ("a tile changed", |copy| copy.change("tile/0/001", |bytes| bytes[567] ^= 1)),
        ("a bundle cut", |copy| copy.change("tile/entries/003", |bytes| bytes.truncate(5000))),
        ("a bundle removed", |copy| fs::remove_file(copy.file("tile/entries/003")).unwrap()),
        ("a leaf removed", |copy| {
            copy.change("tile/entries/005", |bytes| {
                let length = 2 + usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
                drop(bytes.drain(..length));
            });
        }),
        ("cut short", |copy| {
            let shorter = Copy::of(&good().leaves[..1234], &[]);
            fs::remove_dir_all(copy.file("tile")).unwrap();
            fs::rename(shorter.file("tile"), copy.file("tile")).unwrap();
        }),
        ("a checkpoint forged", |copy| copy.change("checkpoints/700", |bytes| bytes[30] ^= 1)),
        ("a checkpoint of another log", |copy| {
            fs::write(copy.file("checkpoints/700"), note(&good().leaves[1..701])).unwrap();
        }),
        ("a registry entry changed", |copy| copy.change("registry/entries.jsonl", |bytes| bytes[300] ^= 1)),
    ];
    for (what, spoil) in spoils {
        let copy = Copy::new();
        spoil(&copy);
        assert!(!copy.verify().verified, "{what}");
        // A fork of checkpoints is of no entry; this small verifier names where it began to look.
        if what == "a checkpoint of another log" {
            assert_eq!(ask("log", copy.path())["verified"], false);
        } else {
            agree(&copy, what);
        }
    }
}

#[test]
fn both_refuse_the_same_stories() {
    let stranger = schemas::keys::SigningKey::from_seed(&[1; 32]);
    let stories = [
        vec![registered(1), finalised(1), replies(1)],
        vec![registered(1), registered(1)],
        vec![finalised(1), registered(1)],
        vec![registered(1), finalised(1), replies(1), replies(1)],
        vec![registered(1), finalised(2)],
        vec![registered(1), replies(1)],
        vec![erased(1), receipt(DAY, &hub())],
        vec![erased(1), receipt(DAY, &stranger)],
        vec![receipt(DAY.tomorrow().unwrap(), &hub())],
    ];
    for (n, story) in stories.iter().enumerate() {
        let leaves: Vec<_> = story.iter().map(|leaf| leaf.encode()).collect();
        agree(&Copy::of(&leaves, &[]), &format!("story {n}"));
    }
}

#[test]
fn both_check_a_proof_and_refuse_a_changed_one() {
    use cardquery::audit::folder::Folder;
    use cardquery::audit::proof::prove;
    let bank = &banks()[0];
    let proof = prove(&Folder::new(good().folder.path()), &reference(123), Some(bank)).unwrap().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), proof.to_text()).unwrap();
    let shown = ask("proof", file.path());
    assert_eq!(shown["verified"], true, "{shown}");
    assert_eq!(shown["banks"][0]["word"], "answered");
    for (from, to) in
        [("\"index\": 616", "\"index\": 615"), ("\\n2001\\n", "\\n2002\\n"), ("/v1\",\n", "/v2\",\n")]
    {
        let changed = proof.to_text().replacen(from, to, 1);
        assert_ne!(changed, proof.to_text(), "{from}");
        fs::write(file.path(), changed).unwrap();
        assert_eq!(ask("proof", file.path())["verified"], false, "{from}");
    }
}
