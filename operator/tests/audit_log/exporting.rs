//! Exports grow, and never say anything else of what they said.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use cardquery::audit::codes::Code;
use cardquery::audit::export::{ExportError, Writer};
use cardquery::audit::folder::Folder;
use cardquery::audit::layout;
use cardquery::audit::verify::verify;
use proptest::prelude::*;
use schemas::ids::Digest;
use schemas::time::UnixMillis;

use crate::world::{
    Copy, ORIGIN, START, checkpoint, export, files, good, hub, hub_keys, lines, note, roots, withdrawn,
    write_registry,
};

fn writer(out: &Path) -> Writer {
    Writer::open(out, ORIGIN, hub_keys()).unwrap()
}

fn code(result: Result<(), ExportError>) -> Option<(Code, Option<u64>)> {
    match result {
        Ok(()) => None,
        Err(ExportError::Found(finding)) => Some((finding.code, finding.entry)),
        Err(other) => panic!("{other}"),
    }
}

/// The files of an export but its checkpoints, which are those that were seen.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    files(folder).into_iter().filter(|(path, _)| path.starts_with("tile/") || path == "checkpoint").collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_export_in_pieces_is_the_export_at_once_and_every_piece_is_verified(
        sizes in prop::collection::btree_set(0usize..2001, 0..4),
        repeat in 0usize..600,
        ahead in 0usize..600,
    ) {
        let leaves = &good().leaves;
        let pieces = tempfile::tempdir().unwrap();
        write_registry(pieces.path(), &lines());
        for size in sizes.into_iter().chain([2001]) {
            let mut writer = writer(pieces.path());
            // Records repeat, and leaves may come before the checkpoint that vouches for them.
            let first = (size.saturating_sub(repeat + 300)).min(size);
            let known = verify(&Folder::new(pieces.path()), &roots(), &[]).unwrap().signed as usize;
            let first = first.min(known);
            let end = (size + ahead).min(2001);
            writer.leaves(first as u64, &leaves[first..end], 5).unwrap();
            writer.checkpoint(&note(&leaves[..size]), 6).unwrap();
            prop_assert_eq!(writer.next_offset(), if end == size { 7 } else { 0 });
            writer.finish().unwrap();
            let report = verify(&Folder::new(pieces.path()), &roots(), &[]).unwrap();
            prop_assert_eq!(&report.faults, &[]);
            prop_assert_eq!(report.signed, size as u64);
        }
        let at_once = tempfile::tempdir().unwrap();
        export(at_once.path(), leaves, &[]);
        prop_assert_eq!(tree(pieces.path()), tree(at_once.path()));
    }
}

#[test]
fn a_history_that_changes_is_refused_and_what_was_signed_stays() {
    let leaves = &good().leaves;
    let copy = Copy::of(&leaves[..700], &[]);
    let mut other = leaves.clone();
    for entry in [0usize, 300, 699] {
        other[entry] = withdrawn(9999).encode();
        let repeated = writer(copy.path()).leaves(entry as u64, &other[entry..900], 1);
        assert_eq!(code(repeated), Some((Code::HISTORY_CHANGED, Some(entry as u64))));
        // Records from before the last export are not read again: the root shows it.
        let mut goes_on = writer(copy.path());
        goes_on.leaves(700, &other[700..900], 1).unwrap();
        assert_eq!(code(goes_on.checkpoint(&note(&other[..900]), 2)), Some((Code::CHECKPOINT_FORK, None)));
        other[entry] = leaves[entry].clone();
    }
    let early = checkpoint(&other[..100], START);
    let forged = schemas::audit::Checkpoint { root: Digest([1; 32]), ..early }.sign(&hub());
    assert_eq!(code(writer(copy.path()).checkpoint(&forged, 2)), Some((Code::CHECKPOINT_FORK, None)));
    // What no checkpoint vouches for can be taken back; what one does, stays.
    other[753] = withdrawn(9999).encode();
    writer(copy.path()).leaves(700, &other[700..900], 1).unwrap();
    assert!(copy.verify().verified);
    let mut goes_on = writer(copy.path());
    goes_on.leaves(700, &leaves[700..], 1).unwrap();
    goes_on.checkpoint(&note(leaves), 2).unwrap();
    goes_on.finish().unwrap();
    assert_eq!(copy.verify().signed, 2001);
    assert_eq!(tree(copy.path()), tree(good().folder.path()));
}

#[test]
fn a_log_with_a_gap_is_refused() {
    let leaves = &good().leaves;
    let copy = Copy::of(&leaves[..700], &[]);
    let gap = writer(copy.path()).leaves(701, &leaves[701..900], 1);
    assert_eq!(code(gap), Some((Code::LOG_GAP, Some(700))));
    let ahead = writer(copy.path()).checkpoint(&note(&leaves[..701]), 1);
    assert_eq!(code(ahead), Some((Code::LOG_GAP, Some(700))));
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(code(writer(empty.path()).leaves(1, &leaves[1..2], 1)), Some((Code::LOG_GAP, Some(0))));
}

#[test]
fn a_checkpoint_that_the_hub_did_not_sign_is_left_out_and_told() {
    let stranger = schemas::keys::SigningKey::from_seed(&[1; 32]);
    let folder = tempfile::tempdir().unwrap();
    write_registry(folder.path(), &lines());
    let mut writer = writer(folder.path());
    let leaves = &good().leaves[..3];
    writer.leaves(0, leaves, 0).unwrap();
    writer.checkpoint(&checkpoint(leaves, START).sign(&stranger), 1).unwrap();
    writer.checkpoint("words", 2).unwrap();
    writer.checkpoint(&note(leaves), 3).unwrap();
    let exported = writer.finish().unwrap();
    assert_eq!((exported.checkpoints, exported.strange), (1, vec![1, 2]));
    assert!(verify(&Folder::new(folder.path()), &roots(), &[]).unwrap().verified);
}

#[test]
fn a_damaged_folder_is_not_gone_on_with() {
    for path in ["checkpoint", "tile/entries/002.p/188", "tile/1/000.p/2", "tile/0/001"] {
        let copy = Copy::of(&good().leaves[..700], &[]);
        copy.change(path, |bytes| bytes[40] ^= 1);
        let opened = Writer::open(copy.path(), ORIGIN, hub_keys());
        // A full tile is only read where the root needs more than the one above says.
        let told = matches!(opened, Err(ExportError::Damaged(_)));
        assert_eq!(told, path != "tile/0/001", "{path}");
    }
}

#[test]
fn of_checkpoints_with_one_root_the_first_and_the_last_stay() {
    let leaves: Vec<Bytes> = good().leaves[..3].to_vec();
    let folder = tempfile::tempdir().unwrap();
    write_registry(folder.path(), &lines());
    let note = |at: i64| checkpoint(&leaves, UnixMillis(START.0 + at)).sign(&hub());
    let mut writer = writer(folder.path());
    writer.leaves(0, &leaves, 0).unwrap();
    for at in [1, 2, 5, 3, 4] {
        writer.checkpoint(&note(at), at).unwrap();
    }
    writer.finish().unwrap();
    let kept = fs::read_to_string(folder.path().join(layout::checkpoints(3))).unwrap();
    assert_eq!(kept, format!("{}{}", note(1), note(5)));
    assert!(verify(&Folder::new(folder.path()), &roots(), &[]).unwrap().verified);
}

#[test]
fn an_empty_log_is_one() {
    let folder = tempfile::tempdir().unwrap();
    export(folder.path(), &[], &[]);
    let report = verify(&Folder::new(folder.path()), &roots(), &[]).unwrap();
    assert_eq!((report.verified, report.entries, report.checkpoints), (true, 0, 2));
}
