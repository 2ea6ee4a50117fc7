//! When the views of a person are locked.
//!
//! A grant that its upstream signed and that is refused is noted, once, for its person and hour. Five different ones
//! within an hour of the clock lock all views of that person until the hour is over.

use std::time::Duration;

use schemas::codes::Code;
use schemas::time::UnixMillis;

use super::subject::SubjectMac;

/// Refused grants of one person in one hour after which views are locked.
pub const MAX_REFUSED: u32 = 5;

const HOUR_MS: i64 = 3_600_000;

/// An hour of the clock, counted from the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i64);

impl Hour {
    /// The hour that `at` lies in.
    pub fn of(at: UnixMillis) -> Self {
        Self(at.0.div_euclid(HOUR_MS))
    }

    /// The hour before.
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// What is left of this hour at `at`.
    pub fn left(self, at: UnixMillis) -> Duration {
        UnixMillis(self.0.saturating_add(1).saturating_mul(HOUR_MS)).since(at)
    }
}

/// What refused grants are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectHour {
    /// The person.
    pub subject: SubjectMac,
    /// The hour.
    pub hour: Hour,
}

/// Whether `code` refuses the grant itself. The other codes say where the query stands, and a good grant meets them too.
pub fn refuses_grant(code: Code) -> bool {
    matches!(
        code,
        Code::GRANT_INVALID
            | Code::GRANT_EXPIRED
            | Code::GRANT_USED
            | Code::DEVICE_MISMATCH
            | Code::QUERY_NOT_FOUND
    )
}

/// Denials of one person and hour that the store gave and that were remembered elsewhere. Whatever is missing here is
/// unknown, and the store is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denials {
    /// The person's views are locked.
    pub locked: bool,
    /// The query has nothing to show any more, and why.
    pub query: Option<Code>,
    /// This very grant was refused and counted, and why.
    pub grant: Option<Code>,
}

impl Denials {
    /// What `code`, given by the store for one grant, denies for the rest of the hour. Empty for a code that may be
    /// another one next time.
    pub fn by(code: Code) -> Self {
        let nothing = Self::default();
        if code == Code::VIEW_LOCKED {
            Self { locked: true, ..nothing }
        } else if matches!(code, Code::QUERY_WITHDRAWN | Code::REPORT_ERASED) {
            Self { query: Some(code), ..nothing }
        } else if matches!(code, Code::GRANT_INVALID | Code::GRANT_EXPIRED | Code::GRANT_USED) {
            Self { grant: Some(code), ..nothing }
        } else {
            nothing
        }
    }

    /// The code with which the store would refuse this grant now, if that is certain. `own` is what the grant says of
    /// itself: the order of reasons is the store's order.
    pub fn denial(&self, own: Result<(), Code>) -> Option<Code> {
        if self.locked {
            return Some(Code::VIEW_LOCKED);
        }
        match own {
            // Only a refusal that was counted before may be repeated without the store.
            Err(code) => (self.grant == Some(code)).then_some(code),
            Ok(()) => self.query.or_else(|| self.grant.filter(|code| *code == Code::GRANT_USED)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_ends_with_the_clock() {
        let at = UnixMillis::parse("2026-11-23T08:59:59.250Z").expect("a time");
        assert_eq!(Hour::of(at).left(at), Duration::from_millis(750));
        let next = at + Duration::from_millis(750);
        assert_eq!(Hour::of(next).previous(), Hour::of(at));
        assert_eq!(Hour::of(next).left(next), Duration::from_secs(3600));
        assert_eq!(Hour::of(at).left(next), Duration::ZERO);
    }

    #[test]
    fn every_remembered_denial_denies_again_and_in_the_order_of_the_store() {
        let all = Denials { locked: true, query: Some(Code::QUERY_WITHDRAWN), grant: Some(Code::GRANT_USED) };
        let unlocked = Denials { locked: false, ..all };
        let expired = Denials { grant: Some(Code::GRANT_EXPIRED), ..unlocked };
        assert_eq!(all.denial(Err(Code::GRANT_EXPIRED)), Some(Code::VIEW_LOCKED));
        assert_eq!(unlocked.denial(Ok(())), Some(Code::QUERY_WITHDRAWN));
        assert_eq!(Denials { query: None, ..unlocked }.denial(Ok(())), Some(Code::GRANT_USED));
        assert_eq!(expired.denial(Err(Code::GRANT_EXPIRED)), Some(Code::GRANT_EXPIRED));
        assert_eq!(unlocked.denial(Err(Code::GRANT_EXPIRED)), None, "not counted yet");
        // A grant of the future may count later.
        let early = Denials { grant: Some(Code::GRANT_INVALID), ..Denials::default() };
        assert_eq!(early.denial(Ok(())), None);
        assert_eq!(Denials::default().denial(Ok(())), None);
    }

    #[test]
    fn nothing_is_remembered_of_a_code_that_may_be_another_one_next_time() {
        for code in [
            Code::REPORT_NOT_READY,
            Code::QUERY_NOT_FOUND,
            Code::QUERY_REJECTED,
            Code::DEVICE_MISMATCH,
            Code::INTERNAL,
            Code::HUB_UNAVAILABLE,
        ] {
            assert_eq!(Denials::by(code), Denials::default(), "{code}");
        }
        for code in [Code::VIEW_LOCKED, Code::QUERY_WITHDRAWN, Code::REPORT_ERASED, Code::GRANT_USED] {
            assert_eq!(Denials::by(code).denial(Ok(())), Some(code));
        }
    }
}
