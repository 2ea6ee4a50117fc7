use schemas::keys::{OpeningKey, SigningKey};
use schemas::registry::SeenVersions;

use super::super::document::Use;
use super::super::draft::{self, Change};
use super::super::entry_file::EntryFile;
use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn signs(seed: u8) -> Key {
    Key::new(Use::Sign, hex::encode(key(seed).public().to_wire().raw), None)
}

fn bank() -> Document {
    let seals = hex::encode(OpeningKey::derive(&[9; 32]).public().to_wire().raw);
    let keys = vec![signs(3), Key::new(Use::Seal, seals, None)];
    draft::join(&"bank/alpha".parse().expect("a name"), &["310000".to_owned()].into(), None, keys)
}

fn signed(document: &Document, roots: &[u8], party: Option<u8>) -> EntryFile {
    let mut entry = EntryFile::of(document.clone()).expect("an entry");
    for root in roots {
        entry.sign_as_root(&key(*root)).expect("signed");
    }
    if let Some(seed) = party {
        entry.sign_as_party(&key(seed)).expect("signed");
    }
    entry
}

fn registry(documents: &[(&Document, Option<u8>, UnixMillis)]) -> Registry {
    let roots = [1, 2].map(|seed| key(seed).public()).to_vec();
    let mut registry = Registry::new(roots, SeenVersions::default());
    for (document, party, at) in documents {
        let record = signed(document, &[1, 2], *party).record().encode_to_vec();
        registry.apply(document.party.as_bytes(), &record, *at).expect("accepted");
    }
    registry
}

fn planned(registry: &Registry, entry: &EntryFile) -> Result<Option<Plan>, String> {
    Plan::new(registry, entry.record(), entry.document(), NOW).map_err(|error| error.to_string())
}

#[test]
fn what_readers_would_refuse_is_not_published_and_the_code_is_said() {
    let (empty, first) = (registry(&[]), bank());
    for roots in [&[][..], &[1], &[1, 7]] {
        let refused = planned(&empty, &signed(&first, roots, None)).expect_err("too few roots");
        assert!(refused.contains("REGISTRY_ROOTS_TOO_FEW"), "{refused}");
    }
    let known = registry(&[(&first, None, UnixMillis(1))]);
    let rotated = draft::next(&first, Change::Rotate(vec![signs(4)])).expect("a change");
    for party in [None, Some(4)] {
        let refused = planned(&known, &signed(&rotated, &[1, 2], party)).expect_err("nobody agreed");
        assert!(refused.contains("REGISTRY_ROTATION_UNSIGNED"), "{refused}");
    }
    assert!(planned(&known, &signed(&rotated, &[1, 2], Some(3))).expect("good").is_some());
    assert_eq!(planned(&known, &signed(&first, &[1, 2], None)), Ok(None), "it is there already");
    let other = Document { regions: Vec::new(), ..first };
    let refused = planned(&known, &signed(&other, &[1, 2], None)).expect_err("another entry");
    assert!(refused.contains("REGISTRY_VERSION_REUSED"), "{refused}");
}

#[test]
fn versions_follow_each_other_without_a_gap() {
    let first = bank();
    let third = Document { version: 3, ..first.clone() };
    let known = registry(&[(&first, None, UnixMillis(1))]);
    let refused = planned(&known, &signed(&third, &[1, 2], None)).expect_err("a gap");
    assert_eq!(refused, "version 3 does not follow: the registry has 1, so the next one is 2");
    let refused = planned(&registry(&[]), &signed(&third, &[1, 2], None)).expect_err("a gap");
    assert!(refused.ends_with("so the next one is 1"), "{refused}");
}

#[test]
fn a_revocation_keeps_its_time_through_every_later_entry() {
    let first = bank();
    let revoked_at = UnixMillis(1_790_000_000_000);
    let revoked = draft::next(&first, Change::Revoke(key(3).id(), vec![signs(4)])).expect("a change");
    let known = registry(&[(&first, None, UnixMillis(1)), (&revoked, Some(3), revoked_at)]);
    let forgotten = draft::next(&revoked, Change::Suspend).expect("a change");
    let refused = planned(&known, &signed(&forgotten, &[1, 2], None)).expect_err("a time is missing");
    assert!(refused.contains(&revoked_at.to_string()), "{refused}");

    let party = known.party(&"bank/alpha".parse().expect("a name")).expect("registered");
    let base = Document::of_party(party).expect("showable");
    let carried = draft::next(&base, Change::Suspend).expect("a change");
    assert!(planned(&known, &signed(&carried, &[1, 2], None)).expect("good").is_some());

    // The same again carries the time as well, for devices.
    let again = draft::next(&base, Change::Amend(None, None)).expect("a change");
    assert_eq!(again.keys[0].revoked_at, Some(revoked_at.to_string()));
    assert!(planned(&known, &signed(&again, &[1, 2], None)).expect("good").is_some());

    // Nobody revokes into the past: what was accepted until then stays accepted.
    let mut dated = draft::next(&base, Change::Revoke(key(4).id(), vec![signs(5)])).expect("a change");
    dated.keys[2].revoked_at = Some("2020-01-01T00:00:00.000Z".into());
    let refused = planned(&known, &signed(&dated, &[1, 2], Some(4))).expect_err("dated back");
    assert!(refused.contains("must be left out"), "{refused}");
}

#[test]
fn a_party_that_begins_needs_its_topics_and_one_that_goes_on_is_not_asked() {
    let topics = Topics::default();
    let needed = |registry: &Registry, document: &Document| {
        let plan = planned(registry, &signed(document, &[1, 2], None)).expect("good").expect("a change");
        plan.topics_to_begin(&topics)
    };
    let first = bank();
    let both = ["cardquery.request.alpha.v1", "cardquery.reply.alpha.v1"];
    assert_eq!(needed(&registry(&[]), &first), both);
    let suspended = draft::next(&first, Change::Suspend).expect("a change");
    let left = draft::next(&suspended, Change::Leave).expect("a change");
    let back = draft::next(&left, Change::Resume).expect("a change");
    let at = UnixMillis;
    let history = [(&first, None, at(1)), (&suspended, None, at(2)), (&left, None, at(3))];
    assert!(needed(&registry(&history[..1]), &suspended).is_empty());
    assert!(needed(&registry(&history[..2]), &left).is_empty());
    assert_eq!(needed(&registry(&history), &back), both);
    let keys = vec![signs(3)];
    let wallet = draft::join(&"upstream/wallet".parse().expect("a name"), &[].into(), None, keys);
    let both = ["cardquery.query.wallet.v1", "cardquery.event.wallet.v1"];
    assert_eq!(needed(&registry(&[]), &wallet), both);
}

#[test]
fn a_person_sees_what_changes_and_nothing_else() {
    let first = bank();
    let revoked = draft::next(&first, Change::Revoke(key(3).id(), vec![signs(4)])).expect("a change");
    let revoked = Document { state: State::Suspended, ..revoked };
    let known = registry(&[(&first, None, UnixMillis(1))]);
    let plan = planned(&known, &signed(&revoked, &[1, 2], Some(3))).expect("good").expect("a change");
    let expected = format!(
        "~ bank/alpha  version 1 → 2\n  ~ state ACTIVE → SUSPENDED\n  - key sign {}, revoked\n  + key sign {}\n",
        key(3).id(),
        key(4).id()
    );
    assert_eq!(plan.to_string(), expected);
}
