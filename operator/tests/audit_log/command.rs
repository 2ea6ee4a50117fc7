//! The commands as they are typed: texts, JSON and exit codes.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::world::{Copy, banks, good, note, reference, roots_hex};

struct Told {
    exit: Option<i32>,
    out: String,
    error: String,
}

fn run(args: &[&str]) -> Told {
    let output = Command::new(env!("CARGO_BIN_EXE_cardquery")).arg("audit").args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Told { exit: output.status.code(), out: text(output.stdout), error: text(output.stderr) }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn verify_says_what_is_right_and_what_is_the_first_bad_entry() {
    let copy = Copy::new();
    let roots = roots_hex();
    let line = ["verify", "--log", text(copy.path()), "--roots", &roots];
    let told = run(&line);
    assert_eq!((told.exit, told.error.as_str()), (Some(0), ""));
    assert!(
        told.out.starts_with("verified: cardquery.audit.v1, 2001 entries, 8 checkpoints"),
        "{}",
        told.out
    );
    copy.change("tile/entries/004", |bytes| bytes[567] ^= 1);
    let told = run(&line);
    assert_eq!(told.exit, Some(65), "{}", told.error);
    let entry: u64 = told.out["first bad entry ".len()..].split(' ').next().unwrap().parse().unwrap();
    assert!((1024..1280).contains(&entry));
    assert!(told.out.contains("(tile/entries/004, byte "), "{}", told.out);
    assert!(told.out.contains(": LEAF_HASH_MISMATCH its hash is "), "{}", told.out);
    let json = run(&[&line[..], &["--json"]].concat());
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["first_bad_entry"], entry);
    assert_eq!(json["verified"], false);
    assert_eq!(json["faults"][0]["code"], "LEAF_HASH_MISMATCH");
}

#[test]
fn exit_codes_tell_bad_data_from_no_data_and_from_a_wrong_line() {
    let good = text(good().folder.path());
    let (roots, folder) = (roots_hex(), tempfile::tempdir().unwrap());
    let file = folder.path().join("roots");
    fs::write(&file, format!("# the roots\n{}\n", roots.replace(',', " # one\n"))).unwrap();
    let short = folder.path().join("short");
    fs::write(&short, "00").unwrap();
    let cases: [(&[&str], i32); 9] = [
        (&["verify", "--log", good, "--roots", text(&file)], 0),
        (&["verify", "--log", good, "--roots", text(&short)], 78),
        (&["verify", "--log", good, "--roots", "00,11"], 64),
        (&["verify", "--log", good, "--roots", "/no/such/file"], 66),
        (&["verify", "--log", "/no/such/folder", "--roots", &roots], 66),
        (&["verify", "--log", good], 64),
        (&["consistency", "--log", good, "--roots", &roots, "--from", "700", "--to", "100"], 64),
        (&["prove", "--log", good, "--query", "wallet/1", "--out", "/dev/null"], 64),
        (&["check", "--proof", "/no/such/file", "--roots", &roots], 66),
    ];
    for (line, exit) in cases {
        let told = run(line);
        assert_eq!(told.exit, Some(exit), "{line:?}: {}{}", told.out, told.error);
    }
}

#[test]
fn a_proof_is_made_and_checked() {
    let good = text(good().folder.path());
    let (roots, folder) = (roots_hex(), tempfile::tempdir().unwrap());
    let proof = folder.path().join("proof.json");
    let (query, bank) = (reference(123).to_string(), banks()[0].to_string());
    let line = ["prove", "--log", good, "--query", &query, "--bank", &bank, "--out", text(&proof)];
    assert_eq!(run(&line).exit, Some(0));
    assert_eq!(run(&line).exit, Some(73), "no file is overwritten");
    let check = ["check", "--proof", text(&proof), "--roots", &roots];
    let told = run(&check);
    assert_eq!(told.exit, Some(0), "{}", told.error);
    assert!(told.out.contains("entry 617: replies\n"), "{}", told.out);
    assert!(told.out.contains(&format!("{bank} signed: answered, ")), "{}", told.out);
    let json: Value = serde_json::from_str(&run(&[&check[..], &["--json"]].concat()).out).unwrap();
    assert_eq!(json["shown"]["banks"][0]["to_the_request"], true);
    let spoiled = fs::read_to_string(&proof).unwrap().replacen("\"index\": 616", "\"index\": 615", 1);
    fs::write(&proof, spoiled).unwrap();
    let told = run(&check);
    assert_eq!(told.exit, Some(65));
    assert!(told.out.starts_with("NOT VERIFIED: entry 615: PROOF_INVALID"), "{}", told.out);
}

#[test]
fn consistency_and_checkpoints_from_elsewhere_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (roots, path) = (roots_hex(), text(good().folder.path()));
    let line = ["consistency", "--log", path, "--roots", &roots, "--from", "700", "--to", "2001"];
    let told = run(&line);
    assert_eq!(told.exit, Some(0), "{}", told.error);
    assert!(told.out.contains("\nverified: cardquery.audit.v1 of 2001 entries"), "{}", told.out);
    let other = folder.path().join("note");
    fs::write(&other, note(&good().leaves[1..700])).unwrap();
    let line = ["verify", "--log", path, "--roots", &roots, "--checkpoint", text(&other)];
    let told = run(&line);
    assert_eq!(told.exit, Some(65));
    assert!(told.out.contains("CHECKPOINT_FORK"), "{}", told.out);
}

#[test]
fn the_codes_are_printed_with_their_help() {
    let told = run(&["codes"]);
    assert!(told.out.contains("LEAVES_SWAPPED"), "{}", told.out);
    let json: Value = serde_json::from_str(&run(&["codes", "--json"]).out).unwrap();
    assert!(json.as_array().unwrap().len() > 30);
}
