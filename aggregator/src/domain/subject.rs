//! How the hub counts people without naming them.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use schemas::ids::UpstreamId;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Tells this use of a key from any other.
const PURPOSE: &[u8] = b"subject/v1";

/// Stands for one person within one upstream wherever people must be counted. Says nothing without the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectMac(pub [u8; 32]);

impl fmt::Display for SubjectMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The key of [`SubjectMac`], used for nothing else.
#[derive(Clone)]
pub struct SubjectKey(Zeroizing<[u8; 32]>);

impl SubjectKey {
    /// A key from its 32 bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// A key that ends with this process, and with it all counts.
    pub fn ephemeral() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(bytes.as_mut());
        Self(bytes)
    }

    /// The MAC of a person.
    pub fn mac(&self, upstream: &UpstreamId, subject: &str) -> SubjectMac {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_ref()).expect("HMAC takes keys of any length");
        mac.update(PURPOSE);
        // An upstream's id holds neither zeros nor anything else that could move this border.
        for part in [upstream.as_str(), subject] {
            mac.update(&[0]);
            mac.update(part.as_bytes());
        }
        SubjectMac(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(id: &str) -> UpstreamId {
        id.parse().expect("an id")
    }

    #[test]
    fn a_person_has_one_mac_per_upstream_and_key() {
        let (one, other) = (SubjectKey::new(Zeroizing::new([1; 32])), SubjectKey::ephemeral());
        let mac = one.mac(&upstream("wallet"), "subject");
        assert_eq!(mac, one.clone().mac(&upstream("wallet"), "subject"));
        for different in [
            one.mac(&upstream("wallet"), "subject2"),
            one.mac(&upstream("shop"), "subject"),
            one.mac(&upstream("walletsubject"), ""),
            other.mac(&upstream("wallet"), "subject"),
        ] {
            assert_ne!(mac, different);
        }
    }

    #[test]
    fn the_mac_is_hmac_sha256_of_purpose_upstream_and_subject() {
        // python3: hmac.new(bytes([1])*32, b"subject/v1\0wallet\0subject", "sha256").hexdigest()
        let mac = SubjectKey::new(Zeroizing::new([1; 32])).mac(&upstream("wallet"), "subject");
        assert_eq!(mac.to_string(), "4e6d29b87bc7f68d118442eb78eeb607cd3354c5b005eb324fbb980173474752");
    }

    #[test]
    fn the_key_does_not_print() {
        assert_eq!(format!("{:?}", SubjectKey::new(Zeroizing::new([7; 32]))), "SubjectKey(redacted)");
    }
}
