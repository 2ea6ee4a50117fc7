//! Every way to spoil an export names its place.

use std::fs;

use cardquery::audit::codes::Code;
use cardquery::audit::finding::Report;
use cardquery::audit::layout::{self, Row, WIDTH};
use cardquery::audit::verify::Witnessed;
use proptest::prelude::*;
use schemas::audit::Checkpoint;
use schemas::ids::Digest;
use schemas::time::UnixMillis;

use crate::world::{Copy, START, export, files, good, hub, note, story};

fn first(report: &Report) -> (Code, Option<u64>) {
    assert!(!report.verified, "{report:?}");
    let fault = report.faults.iter().find(|fault| fault.entry.is_some()).or(report.faults.first());
    let fault = fault.expect("a fault");
    assert_eq!(report.first_bad_entry, fault.entry);
    (fault.code, fault.entry)
}

/// The file of the bundle that has this entry.
fn bundle(entry: u64) -> String {
    widest(Row::Entries, entry)
}

fn tile(entry: u64) -> String {
    widest(Row::Tile(0), entry)
}

fn widest(row: Row, entry: u64) -> String {
    let all = good().leaves.len() as u64;
    let n = entry / WIDTH;
    row.path(n, (all - n * WIDTH).min(WIDTH))
}

/// Changes the entries of a bundle.
fn rebundle(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut leaves: Vec<Vec<u8>> =
        layout::entries(bytes).leaves.iter().map(|(_, leaf)| leaf.to_vec()).collect();
    change(&mut leaves);
    *bytes = layout::bundle(leaves.iter().map(|leaf| &leaf[..]));
}

#[test]
fn a_good_log_is_verified() {
    let report = Copy::new().verify();
    assert_eq!(report.faults, []);
    assert_eq!(report.notes, []);
    assert_eq!((report.entries, report.signed), (2001, 2001));
    // Each in its file, and the last one twice.
    assert_eq!(report.checkpoints, 8);
    assert_eq!(report.origin, "cardquery.audit.v1");
}

#[test]
fn a_removed_entry_is_named_wherever_it_was() {
    for entry in [0u64, 1, 99, 100, 254, 300, 511, 1030, 1790, 1999, 2000] {
        let copy = Copy::new();
        copy.change(&bundle(entry), |bytes| {
            rebundle(bytes, |leaves| drop(leaves.remove((entry % WIDTH) as usize)));
        });
        let last = entry % WIDTH == 255 || entry == 2000;
        let code = if last { Code::BUNDLE_TRUNCATED } else { Code::LEAF_MISSING };
        assert_eq!(first(&copy.verify()), (code, Some(entry)));
    }
}

#[test]
fn a_removed_entry_is_named_when_all_that_follow_move_up() {
    for entry in [0usize, 99, 300, 1030, 1790] {
        let copy = Copy::new();
        let mut leaves = good().leaves.clone();
        leaves.remove(entry);
        for (n, chunk) in leaves.chunks(256).enumerate() {
            let path = bundle(n as u64 * WIDTH);
            fs::write(copy.file(&path), layout::bundle(chunk.iter().map(|leaf| &leaf[..]))).unwrap();
        }
        assert_eq!(first(&copy.verify()), (Code::LEAF_MISSING, Some(entry as u64)));
    }
}

#[test]
fn an_added_entry_is_named() {
    for entry in [0u64, 99, 254, 300, 1030, 1999] {
        let copy = Copy::new();
        copy.change(&bundle(entry), |bytes| {
            rebundle(bytes, |leaves| {
                let at = (entry % WIDTH) as usize;
                leaves.insert(at + 1, leaves[at].clone());
            });
        });
        assert_eq!(first(&copy.verify()), (Code::LEAF_ADDED, Some(entry + 1)));
    }
    let copy = Copy::new();
    copy.change(&bundle(2000), |bytes| rebundle(bytes, |leaves| leaves.push(leaves[0].clone())));
    assert_eq!(first(&copy.verify()), (Code::BUNDLE_TOO_LONG, Some(2001)));
    let copy = Copy::new();
    copy.change(&bundle(0), |bytes| bytes.push(0));
    assert_eq!(first(&copy.verify()), (Code::BUNDLE_TOO_LONG, Some(256)));
}

#[test]
fn swapped_entries_are_named_within_a_bundle_and_across() {
    for (one, other) in [(0u64, 1u64), (3, 250), (99, 100), (1025, 1026), (1990, 2000)] {
        let copy = Copy::new();
        copy.change(&bundle(one), |bytes| {
            rebundle(bytes, |leaves| leaves.swap((one % WIDTH) as usize, (other % WIDTH) as usize));
        });
        let report = copy.verify();
        assert_eq!(first(&report), (Code::LEAVES_SWAPPED, Some(one)));
        assert_eq!(report.faults[0].text, format!("with entry {other}"));
    }
    let (one, other) = (1030usize, 1290usize);
    let copy = Copy::new();
    for (entry, leaf) in [(one, &good().leaves[other]), (other, &good().leaves[one])] {
        copy.change(&bundle(entry as u64), |bytes| {
            rebundle(bytes, |leaves| leaves[entry % 256] = leaf.to_vec());
        });
    }
    assert_eq!(first(&copy.verify()), (Code::LEAVES_SWAPPED, Some(1030)));
}

/// Rewrites an export as if it had ended earlier, all but its checkpoints.
fn cut(copy: &Copy, size: usize) {
    let shorter = Copy::of(&good().leaves[..size], &[]);
    fs::remove_dir_all(copy.file("tile")).unwrap();
    fs::rename(shorter.file("tile"), copy.file("tile")).unwrap();
}

#[test]
fn a_log_that_was_cut_short_names_the_first_entry_that_is_missing() {
    for size in [1usize, 2, 99, 100, 101, 255, 256, 257, 511, 512, 1023, 1024, 1025, 1999, 2000] {
        let copy = Copy::new();
        cut(&copy, size);
        assert_eq!(first(&copy.verify()), (Code::LOG_CUT_SHORT, Some(size as u64)));
    }
    let copy = Copy::new();
    fs::remove_dir_all(copy.file("tile")).unwrap();
    assert_eq!(first(&copy.verify()), (Code::LOG_CUT_SHORT, Some(0)));
}

#[test]
fn a_bundle_that_is_cut_anywhere_names_its_first_missing_entry() {
    let path = bundle(512);
    let bytes = fs::read(good().folder.path().join(&path)).unwrap();
    let starts: Vec<usize> = layout::entries(&bytes).leaves.iter().map(|(at, _)| *at).collect();
    for end in (0..bytes.len()).step_by(1999).chain([1, 2, 3, starts[7], starts[7] + 1, bytes.len() - 1]) {
        let copy = Copy::new();
        copy.change(&path, |bytes| bytes.truncate(end));
        let whole = starts.iter().skip(1).filter(|start| **start <= end).count() as u64;
        let report = copy.verify();
        assert_eq!(first(&report), (Code::BUNDLE_TRUNCATED, Some(512 + whole)), "{end}");
    }
}

#[test]
fn missing_files_are_named() {
    let copy = Copy::new();
    fs::remove_file(copy.file(&bundle(300))).unwrap();
    assert_eq!(first(&copy.verify()), (Code::BUNDLE_MISSING, Some(256)));
    let copy = Copy::new();
    fs::remove_file(copy.file(&tile(300))).unwrap();
    assert_eq!(first(&copy.verify()), (Code::TILE_MISSING, Some(256)));
    let copy = Copy::new();
    fs::remove_dir_all(copy.file("tile/1")).unwrap();
    let report = copy.verify();
    assert_eq!(first(&report), (Code::TILE_MISSING, None));
    assert_eq!(report.faults.len(), 1);
    let copy = Copy::new();
    copy.change(&tile(300), |bytes| bytes.truncate(33));
    assert_eq!(first(&copy.verify()), (Code::TILE_TRUNCATED, Some(256)));
    let copy = Copy::new();
    fs::remove_dir_all(copy.file("registry")).unwrap();
    assert_eq!(first(&copy.verify()), (Code::REGISTRY_HUB_MISSING, None));
}

#[test]
fn a_tile_that_was_changed_is_told_from_an_entry_that_was() {
    for entry in [0u64, 99, 300, 1999] {
        let copy = Copy::new();
        copy.change(&tile(entry), |bytes| bytes[(entry % WIDTH) as usize * 32 + 5] ^= 1);
        let report = copy.verify();
        assert_eq!(first(&report), (Code::TILE_HASH_MISMATCH, Some(entry)));
        assert_eq!(report.faults[0].file, Some(tile(entry)));
    }
    let copy = Copy::new();
    copy.change("tile/1/000.p/7", |bytes| bytes[3 * 32 + 31] ^= 0x80);
    let report = copy.verify();
    assert_eq!(first(&report), (Code::TILE_HASH_MISMATCH, None));
    let fault = &report.faults[0];
    assert_eq!((fault.file.as_deref(), fault.at), (Some("tile/1/000.p/7"), Some(96)));
}

/// An attacker who makes all tiles anew, as far up as `levels`.
fn forge(entry: usize, levels: usize) -> Copy {
    let copy = Copy::new();
    let mut leaves = good().leaves.clone();
    leaves[entry] = crate::world::withdrawn(99_999).encode();
    let forged = tempfile::tempdir().unwrap();
    export(forged.path(), &leaves, &[]);
    for row in ["tile/entries", "tile/0", "tile/1"].iter().take(levels) {
        fs::remove_dir_all(copy.file(row)).unwrap();
        fs::rename(forged.path().join(row), copy.file(row)).unwrap();
    }
    copy
}

#[test]
fn whoever_makes_the_tiles_anew_is_caught_by_the_roots_and_by_the_tiles_that_are_left() {
    for (entry, range) in [(0, 0..1), (50, 1..100), (600, 256..700), (1999, 1500..2001)] {
        let report = forge(entry, 3).verify();
        assert_eq!(first(&report), (Code::ROOT_MISMATCH, Some(range.start)), "{entry}");
        assert_eq!(report.faults[0].until, Some(range.end), "{entry}");
    }
    // The tile above is as it was: it narrows the range down to one tile of level 0.
    for (entry, range) in [(600, 512..700), (1300, 1280..1500), (1100, 1024..1280)] {
        let report = forge(entry, 2).verify();
        assert_eq!(first(&report), (Code::ROOT_MISMATCH, Some(range.start)), "{entry}");
        assert_eq!(report.faults[0].until, Some(range.end), "{entry}");
    }
    assert_eq!(first(&forge(1100, 1).verify()), (Code::LEAF_HASH_MISMATCH, Some(1100)));
}

#[test]
fn a_checkpoint_less_is_no_harm_and_none_is() {
    let copy = Copy::new();
    fs::remove_file(copy.file("checkpoints/700")).unwrap();
    let report = copy.verify();
    assert_eq!((report.verified, report.checkpoints), (true, 7));
    fs::remove_dir_all(copy.file("checkpoints")).unwrap();
    assert_eq!(first(&copy.verify()), (Code::CHECKPOINT_MISSING, None));
    let copy = Copy::new();
    fs::copy(copy.file("checkpoints/700"), copy.file("checkpoint")).unwrap();
    let report = copy.verify();
    assert_eq!((report.verified, report.notes[0].code), (true, Code::CHECKPOINT_OLD));
}

fn signed(size: usize, root: Digest) -> String {
    let origin = "cardquery.audit.v1".to_owned();
    Checkpoint { origin, size: size as u64, root, signed_at: START }.sign(&hub())
}

#[test]
fn a_hub_that_shows_two_logs_is_caught_with_both_its_words() {
    let forked = signed(700, Digest([9; 32]));
    for (path, text) in [
        ("checkpoints/700", forked.clone()),
        ("checkpoints/700", format!("{}{forked}", note(&good().leaves[..700]))),
        ("checkpoints/800", signed(800, Digest([9; 32]))),
    ] {
        let copy = Copy::new();
        fs::write(copy.file(path), text).unwrap();
        let report = copy.verify();
        assert_eq!(first(&report), (Code::CHECKPOINT_FORK, None), "{path}");
        assert_eq!((report.faults.len(), report.faults[0].file.as_deref()), (1, Some(path)));
    }
    // Nothing larger vouches for what is here: either of both may be the forged one.
    let copy = Copy::new();
    fs::remove_file(copy.file("checkpoint")).unwrap();
    let last = fs::read_dir(copy.file("checkpoints/x002")).unwrap().next().unwrap().unwrap().path();
    fs::write(last, signed(2001, Digest([9; 32]))).unwrap();
    let report = copy.verify();
    assert_eq!(first(&report), (Code::ROOT_MISMATCH, Some(1500)));
    assert_eq!(report.faults[0].until, Some(2001));
}

#[test]
fn a_checkpoint_from_elsewhere_must_be_of_this_log() {
    let witnessed = |note: String| [Witnessed { name: "elsewhere".into(), note }];
    let copy = Copy::new();
    assert!(copy.verify_with(&witnessed(note(&good().leaves[..1234]))).verified);
    let report = copy.verify_with(&witnessed(signed(1234, Digest([9; 32]))));
    assert_eq!(first(&report), (Code::CHECKPOINT_FORK, None));
    assert_eq!(report.faults[0].file.as_deref(), Some("elsewhere"));
    let report = copy.verify_with(&witnessed(signed(5000, Digest([9; 32]))));
    assert_eq!(first(&report), (Code::LOG_CUT_SHORT, Some(2001)));
    let shorter = Copy::of(&good().leaves[..700], &[]);
    let report = shorter.verify_with(&witnessed(note(&good().leaves)));
    assert_eq!(first(&report), (Code::LOG_CUT_SHORT, Some(700)));
    let stranger = good_checkpoint().sign(&schemas::keys::SigningKey::from_seed(&[1; 32]));
    assert_eq!(first(&copy.verify_with(&witnessed(stranger))), (Code::CHECKPOINT_FORGED, None));
}

fn good_checkpoint() -> Checkpoint {
    crate::world::checkpoint(&good().leaves, UnixMillis(START.0 + 1))
}

#[test]
fn a_log_of_more_than_one_tile_of_level_one_is_verified_and_its_upper_tiles_count() {
    let leaves: Vec<_> = (0..66_000).map(|n| crate::world::withdrawn(n).encode()).collect();
    let copy = Copy::of(&leaves, &[65_536]);
    let report = copy.verify();
    assert_eq!((report.verified, report.entries), (true, 66_000));
    assert!(copy.file("tile/2/000.p/1").exists() && copy.file("tile/1/000").exists());
    copy.change("tile/2/000.p/1", |bytes| bytes[7] ^= 1);
    let report = copy.verify();
    assert_eq!(first(&report), (Code::TILE_HASH_MISMATCH, None));
    assert_eq!(report.faults[0].file.as_deref(), Some("tile/2/000.p/1"));
}

/// Bytes of a registry file that nobody signs: where a record stood, and when.
fn unsigned(text: &[u8], at: usize) -> bool {
    let start = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let key = text[start..].windows(7).position(|window| window == b",\"key\":").unwrap() + start;
    (start..key).contains(&at) && text[at].is_ascii_digit()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_changed_byte_anywhere_is_found_and_its_place_is_named(
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let files: Vec<_> =
            files(good().folder.path()).into_iter().filter(|(path, _)| path != layout::STATE).collect();
        let (path, bytes) = file.get(&files);
        let at = at.index(bytes.len());
        prop_assume!(path != layout::REGISTRY || !unsigned(bytes, at));
        let copy = Copy::new();
        copy.change(path, |bytes| bytes[at] ^= 1 << bit);
        let report = copy.verify();
        prop_assert!(!report.verified, "{path} {at} {bit}");
        let fault = &report.faults[0];
        prop_assert_eq!(fault.file.as_ref(), Some(path));
        if path.starts_with("tile/entries") {
            let n: u64 = path["tile/entries/".len()..][..3].parse().unwrap();
            let entries = layout::entries(bytes);
            let place = entries.leaves.iter().filter(|(start, _)| *start <= at).count() as u64 - 1;
            prop_assert_eq!(report.first_bad_entry, Some(n * WIDTH + place));
        } else if path.starts_with("tile/0") {
            let n: u64 = path["tile/0/".len()..][..3].parse().unwrap();
            prop_assert_eq!(report.first_bad_entry, Some(n * WIDTH + at as u64 / 32));
        } else if path.starts_with("tile/1") {
            prop_assert_eq!(fault.at, Some(at as u64 / 32 * 32));
        }
    }
}

#[test]
fn the_story_has_all_that_it_is_told_with() {
    assert_eq!(story(2).len(), 11);
}
