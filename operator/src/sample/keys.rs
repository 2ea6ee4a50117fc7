//! Keys of the sample parties, derived from their names. Whoever reads this file has them all.

use schemas::fields::Fields;
use schemas::ids::Digest;
use schemas::keys::{OpeningKey, SigningKey, VerifyingKey};
use schemas::registry::PartyName;

const LABEL: &str = "cardquery sample key, never for production";
/// Roots that exist; two of them sign every entry.
const ROOTS: [&str; 3] = ["root/1", "root/2", "root/3"];

/// The key that `party` signs with.
pub fn signing(party: &PartyName) -> SigningKey {
    SigningKey::from_seed(&signing_seed(party))
}

/// What a key file of `party` holds.
pub fn signing_seed(party: &PartyName) -> [u8; 32] {
    seed(party.as_str(), "sign")
}

/// The key that opens what others seal to `party`.
pub fn opening(party: &PartyName) -> OpeningKey {
    OpeningKey::derive(&seed(party.as_str(), "seal"))
}

/// The public halves of the root keys, as readers of the sample registry pin them.
pub fn roots() -> Vec<VerifyingKey> {
    root_keys().iter().map(SigningKey::public).collect()
}

/// What the key file of a root holds; there are three.
pub fn root_seeds() -> [[u8; 32]; 3] {
    ROOTS.map(|root| seed(root, "sign"))
}

pub(super) fn root_keys() -> [SigningKey; 3] {
    root_seeds().map(|seed| SigningKey::from_seed(&seed))
}

fn seed(party: &str, key_use: &str) -> [u8; 32] {
    Digest::of(Fields::new().text(LABEL).text(party).text(key_use).as_bytes()).0
}

#[cfg(test)]
mod tests {
    use schemas::registry::{SAMPLE_ROOTS, is_sample_root};

    use super::*;

    #[test]
    fn every_party_and_use_has_a_key_of_its_own_and_always_the_same() {
        let alpha = PartyName::bank(&"alpha".parse().expect("an id"));
        let beta = PartyName::bank(&"beta".parse().expect("an id"));
        assert_eq!(signing(&alpha).id(), signing(&alpha).id());
        assert_ne!(signing(&alpha).id(), signing(&beta).id());
        assert_ne!(opening(&alpha).id(), opening(&beta).id());
        assert_ne!(seed("bank/alpha", "sign"), seed("bank/alpha", "seal"));
    }

    /// Services know them by these ids and refuse them; and local stacks pin the roots: other ones would lock them out of
    /// the registry that they published.
    #[test]
    fn the_roots_stay_those_that_services_refuse() {
        let ids: Vec<String> = roots().iter().map(|root| root.id().to_string()).collect();
        assert_eq!(ids, SAMPLE_ROOTS);
        assert!(roots().iter().all(is_sample_root));
        assert!(!is_sample_root(&signing(&PartyName::hub()).public()));
    }
}
