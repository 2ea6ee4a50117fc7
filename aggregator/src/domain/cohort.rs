//! Who may ask in a region that opens step by step.

use std::collections::BTreeMap;

use schemas::codes::Code;

use super::subject::SubjectMac;

/// All of a region's people, in thousandths.
pub const EVERYBODY: u16 = 1_000;

/// The share of each region's people that may ask. Configuration.
///
/// A person's place is fixed by the MAC that they are counted under, so a share that grows only lets in more, and nobody who
/// was let in is turned away again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cohorts(pub BTreeMap<String, u16>);

impl Cohorts {
    /// Whether this person of `region` may ask. A region that is not named is open to all of its people.
    ///
    /// # Errors
    /// `COHORT_NOT_OPEN`.
    pub fn check(&self, region: &str, subject: SubjectMac) -> Result<(), Code> {
        let open = self.0.get(region).is_none_or(|share| place(subject) < *share);
        open.then_some(()).ok_or(Code::COHORT_NOT_OPEN)
    }
}

/// 0 to 999.
fn place(SubjectMac(mac): SubjectMac) -> u16 {
    let [a, b, c, d, ..] = mac;
    let place = u32::from_be_bytes([a, b, c, d]) % u32::from(EVERYBODY);
    u16::try_from(place).expect("less than a thousand")
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::domain::subject::SubjectKey;

    const REGION: &str = "310000";

    fn admitted(share: u16) -> Vec<bool> {
        let (cohorts, key) =
            (Cohorts(BTreeMap::from([(REGION.into(), share)])), SubjectKey::new(Zeroizing::new([7; 32])));
        let upstream = "wallet".parse().expect("an id");
        let people = (0..10_000).map(|person| key.mac(&upstream, &format!("person-{person}")));
        people.map(|person| cohorts.check(REGION, person).is_ok()).collect()
    }

    #[test]
    fn a_share_that_grows_turns_nobody_away_who_was_let_in() {
        let mut before = admitted(0);
        assert!(before.iter().all(|admitted| !admitted));
        for share in [1, 50, 300, 999] {
            let now = admitted(share);
            assert!(before.iter().zip(&now).all(|(before, now)| *now || !before), "{share}");
            let count = now.iter().filter(|admitted| **admitted).count();
            assert!(count.abs_diff(usize::from(share) * 10) <= 150, "{count} of 10,000 for {share}");
            before = now;
        }
        assert!(admitted(EVERYBODY).iter().all(|admitted| *admitted));
    }

    #[test]
    fn a_region_that_is_not_named_is_open_to_everybody() {
        let cohorts = Cohorts(BTreeMap::from([(REGION.into(), 0)]));
        assert_eq!(cohorts.check("530000", SubjectMac([255; 32])), Ok(()));
        assert_eq!(cohorts.check(REGION, SubjectMac([0; 32])), Err(Code::COHORT_NOT_OPEN));
    }
}
