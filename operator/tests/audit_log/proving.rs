//! Proofs hold on their own, and no changed one does.

use cardquery::audit::codes::Code;
use cardquery::audit::folder::Folder;
use cardquery::audit::proof::{Proof, prove};
use cardquery::audit::{compare, consistency};
use serde_json::{Value, json};

use crate::world::{Copy, SIZES, banks, good, note, reference, roots, withdrawn};

fn folder() -> Folder {
    Folder::new(good().folder.path())
}

fn of(bank: Option<usize>) -> Proof {
    let bank = bank.map(|bank| banks()[bank].clone());
    prove(&folder(), &reference(123), bank.as_ref()).unwrap().expect("in the log")
}

#[test]
fn every_entry_of_a_query_is_proved_with_root_keys_alone() {
    let shown = Proof::parse(&of(None).to_text()).unwrap().check(&roots()).unwrap();
    let kinds: Vec<_> = shown.leaves.iter().map(|(index, kind)| (*index, kind.as_str())).collect();
    assert_eq!(
        kinds,
        [(615, "registered"), (616, "final"), (617, "replies"), (618, "viewed"), (619, "erased")]
    );
    assert_eq!(shown.query, reference(123).to_string());
    assert_eq!(shown.size, 2001);
    assert_eq!(shown.banks.len(), 2);
    assert_eq!(prove(&folder(), &reference(7000), None).unwrap(), None);
}

#[test]
fn one_banks_word_is_proved_by_its_own_signature() {
    for (bank, word) in [(0, "answered"), (1, "refused")] {
        let shown = of(Some(bank)).check(&roots()).unwrap();
        assert_eq!(shown.leaves.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [615, 616, 617]);
        assert_eq!(shown.banks.len(), 1);
        let said = &shown.banks[0];
        assert_eq!(
            (said.bank.as_str(), said.word, said.to_the_request),
            (banks()[bank].as_str(), word, true)
        );
    }
    // It was silent: nothing of it can be proved, and the proof of that is none.
    assert_eq!(of(Some(2)).check(&roots()).unwrap_err().code, Code::PROOF_INVALID);
}

fn changed(change: impl FnOnce(&mut Value)) -> Result<(), Code> {
    let mut document: Value = serde_json::from_str(&of(Some(0)).to_text()).unwrap();
    change(&mut document);
    let proof = Proof::parse(&document.to_string()).map_err(|finding| finding.code)?;
    proof.check(&roots()).map(drop).map_err(|finding| finding.code)
}

/// Another hex digit in the middle of a text.
fn flip(text: &mut Value) {
    let mut digits = text.as_str().unwrap().to_owned();
    let at = digits.len() / 2;
    let other = if &digits[at..=at] == "0" { "1" } else { "0" };
    digits.replace_range(at..=at, other);
    *text = json!(digits);
}

#[test]
fn a_changed_proof_does_not_hold() {
    assert_eq!(changed(|_| {}), Ok(()));
    assert_eq!(changed(|it| flip(&mut it["leaves"][0]["leaf"])), Err(Code::PROOF_INVALID));
    assert_eq!(changed(|it| flip(&mut it["leaves"][1]["path"])), Err(Code::PROOF_INVALID));
    assert_eq!(changed(|it| it["leaves"][1]["index"] = json!(617)), Err(Code::PROOF_INVALID));
    assert_eq!(changed(|it| it["leaves"][1]["path"] = json!("00")), Err(Code::PROOF_MALFORMED));
    assert_eq!(changed(|it| it["leaves"] = json!([])), Err(Code::PROOF_MALFORMED));
    assert_eq!(changed(|it| it["form"] = json!("other/v1")), Err(Code::PROOF_MALFORMED));
    assert_eq!(changed(|it| it["more"] = json!(1)), Err(Code::PROOF_MALFORMED));
    assert_eq!(changed(|it| it["query"] = json!(reference(124).to_string())), Err(Code::PROOF_INVALID));
    assert_eq!(changed(|it| it["bank"] = json!(banks()[1])), Ok(()));
    assert_eq!(changed(|it| it["bank"] = json!(banks()[2])), Err(Code::PROOF_INVALID));
    assert_eq!(changed(|it| it["registry"] = json!([])), Err(Code::REGISTRY_HUB_MISSING));
    assert_eq!(changed(|it| flip(&mut it["registry"][0]["value"])), Err(Code::REGISTRY_REFUSED));
    assert_eq!(changed(|it| it["registry"].as_array_mut().unwrap().truncate(1)), Err(Code::REPLY_INVALID));
    let without_report = |it: &mut Value| drop(it["leaves"].as_array_mut().unwrap().remove(1));
    assert_eq!(changed(without_report), Err(Code::REPLY_INVALID));
    let earlier = json!(note(&good().leaves[..700]));
    assert_eq!(changed(|it| it["checkpoint"] = earlier), Err(Code::PROOF_INVALID));
    let text = of(None).checkpoint_text().replacen("\n2001\n", "\n2002\n", 1);
    assert_eq!(changed(|it| it["checkpoint"] = json!(text)), Err(Code::CHECKPOINT_FORGED));
    assert_eq!(of(None).check(&roots()[..1]).unwrap_err().code, Code::REGISTRY_REFUSED);
}

#[test]
fn any_two_checkpoints_are_proved_consistent() {
    let sizes: Vec<u64> = SIZES.iter().map(|size| *size as u64).chain([2001]).collect();
    for (n, from) in sizes.iter().enumerate() {
        for to in &sizes[n..] {
            let proved = consistency::prove(&folder(), &roots(), *from, *to).unwrap().expect("consistent");
            assert_eq!((proved.from, proved.to), (*from, *to));
            assert_eq!(proved.proof.is_empty(), from == to);
        }
    }
    let none = consistency::prove(&folder(), &roots(), 100, 101).unwrap().unwrap_err();
    assert_eq!(none.code, Code::CHECKPOINT_MISSING);
}

#[test]
fn copies_of_one_log_agree_and_a_fork_names_the_entry_where_it_begins() {
    let own = Copy::new();
    let shorter = Copy::of(&good().leaves[..900], &[]);
    let compared = |own: &Copy, other: &Copy| {
        let folder = Folder::new(own.path());
        compare::compare(own.verify(), &folder, &Folder::new(other.path()), &roots()).unwrap()
    };
    assert!(compared(&own, &shorter).verified);
    assert!(compared(&shorter, &own).verified);
    let mut leaves = good().leaves[..900].to_vec();
    leaves[777] = withdrawn(9999).encode();
    let fork = Copy::of(&leaves, &[]);
    assert!(fork.verify().verified, "the hub signed both");
    let report = compared(&own, &fork);
    assert_eq!((report.first_bad_entry, report.faults[0].code), (Some(777), Code::CHECKPOINT_FORK));
    fork.change("tile/entries/000", |bytes| bytes[3] ^= 1);
    assert_eq!(compared(&own, &fork).first_bad_entry, Some(0));
}
