use schemas::keys::SigningKey;

use super::super::document::Use;
use super::*;

fn key(seed: u8) -> (KeyId, Key) {
    let key = SigningKey::from_seed(&[seed; 32]);
    (key.id(), Key::new(Use::Sign, hex::encode(key.public().to_wire().raw), None))
}

fn wallet() -> Document {
    let name = "upstream/wallet".parse().expect("a name");
    join(&name, &BTreeSet::from(["310000".to_owned()]), None, vec![key(1).1])
}

#[test]
fn every_change_raises_the_version_by_one_and_keeps_all_keys() {
    let first = wallet();
    assert_eq!((first.version, first.state), (1, State::Active));
    let (old, new) = (key(1), key(2));
    let rotated = next(&first, Change::Rotate(vec![new.1.clone()])).expect("a change");
    assert_eq!(rotated, Document { version: 2, keys: vec![old.1.clone(), new.1], ..first.clone() });
    let revoked = next(&rotated, Change::Revoke(old.0, Vec::new())).expect("a change");
    assert_eq!((revoked.version, revoked.keys.len()), (3, 2));
    assert!(revoked.keys[0].revoked && !revoked.keys[1].revoked);
    assert_eq!(revoked.keys[0].revoked_at, None, "it counts from its own entry");
    let amended = next(&revoked, Change::Amend(Some(BTreeSet::from(["530000".into()])), None));
    let amended = amended.expect("a change");
    assert_eq!((amended.version, amended.regions), (4, vec!["530000".to_owned()]));
}

#[test]
fn a_state_is_left_for_another_one_only() {
    use State::{Active, Left, Suspended};
    let all = [Change::Suspend, Change::Resume, Change::Leave];
    for (from, to) in [
        (Active, [Some(Suspended), None, Some(Left)]),
        (Suspended, [None, Some(Active), Some(Left)]),
        (Left, [None, Some(Active), None]),
    ] {
        let document = Document { state: from, ..wallet() };
        let reached = all.clone().map(|change| next(&document, change).ok().map(|next| next.state));
        assert_eq!(reached, to, "{from:?}");
    }
}

#[test]
fn a_change_that_makes_no_sense_is_refused() {
    let first = wallet();
    let refused = |change| next(&first, change).expect_err("no sense");
    assert_eq!(refused(Change::Rotate(Vec::new())), DraftError::NoKey);
    let party = "upstream/wallet".to_owned();
    assert_eq!(refused(Change::Rotate(vec![key(1).1])), DraftError::KeyKnown(party.clone()));
    assert_eq!(
        refused(Change::Revoke(key(5).0, Vec::new())),
        DraftError::KeyUnknown { party, key: key(5).0 }
    );
    let revoked = next(&first, Change::Revoke(key(1).0, vec![key(2).1])).expect("a change");
    let again = next(&revoked, Change::Revoke(key(1).0, Vec::new()));
    assert_eq!(again, Err(DraftError::RevokedAlready(key(1).0)));
}

#[test]
fn the_only_signing_key_is_revoked_together_with_its_replacement_or_not_at_all() {
    let first = wallet();
    let alone = next(&first, Change::Revoke(key(1).0, Vec::new())).expect("a change");
    let faults = alone.to_entry().expect_err("nobody could sign the next rotation").to_string();
    assert!(faults.contains("brings its replacement"), "{faults}");
    let together = next(&first, Change::Revoke(key(1).0, vec![key(2).1])).expect("a change");
    assert!(together.to_entry().is_ok());
}
