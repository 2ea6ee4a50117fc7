//! How often one person may ask: a limit that protects them, from others and from being pressed again and again.

use std::time::Duration;

use schemas::codes::Code;
use schemas::ids::Reference;
use schemas::time::UnixMillis;

/// How often a person may ask. Configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskingLimits {
    /// Whether a person may have one open query only.
    pub one_open_query: bool,
    /// From a person's last report to their next query; zero for no such limit.
    pub requery_interval: Duration,
}

/// What is counted of one person, under the MAC of their pseudonym.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asking {
    /// Their open query: held or collecting.
    pub open: Option<Reference>,
    /// When their last report became final.
    pub reported_at: Option<UnixMillis>,
}

impl Asking {
    /// Whether this person may ask `query` at `at`, the append time of its record.
    ///
    /// # Errors
    /// `QUERY_OPEN`, `ASKED_RECENTLY`.
    pub fn check(&self, query: &Reference, at: UnixMillis, limits: &AskingLimits) -> Result<(), Code> {
        if limits.one_open_query && self.open.as_ref().is_some_and(|open| open != query) {
            return Err(Code::QUERY_OPEN);
        }
        let soonest = self.reported_at.map(|reported_at| reported_at + limits.requery_interval);
        if !limits.requery_interval.is_zero() && soonest.is_some_and(|soonest| at < soonest) {
            return Err(Code::ASKED_RECENTLY);
        }
        Ok(())
    }

    /// `query` has ended, with a report at `reported_at` or without one.
    pub fn end(&mut self, query: &Reference, reported_at: Option<UnixMillis>) {
        self.open.take_if(|open| open == query);
        self.reported_at = self.reported_at.max(reported_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::ids::QueryId;

    const LIMITS: AskingLimits =
        AskingLimits { one_open_query: true, requery_interval: Duration::from_millis(100) };

    fn query() -> Reference {
        Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() }
    }

    #[test]
    fn a_person_has_one_open_query_and_waits_from_its_report_to_the_next() {
        let (first, second) = (query(), query());
        let mut asking = Asking::default();
        assert_eq!(asking.check(&first, UnixMillis(0), &LIMITS), Ok(()));
        asking.open = Some(first.clone());
        assert_eq!(asking.check(&first, UnixMillis(0), &LIMITS), Ok(()), "the same record read again");
        assert_eq!(asking.check(&second, UnixMillis(0), &LIMITS), Err(Code::QUERY_OPEN));
        asking.end(&second, Some(UnixMillis(7)));
        assert_eq!(asking.open.as_ref(), Some(&first), "another query's end frees nothing");
        asking.end(&first, Some(UnixMillis(10)));
        for (at, expected) in
            [(10, Err(Code::ASKED_RECENTLY)), (109, Err(Code::ASKED_RECENTLY)), (110, Ok(()))]
        {
            assert_eq!(asking.check(&second, UnixMillis(at), &LIMITS), expected, "{at}");
        }
        asking.end(&second, None);
        assert_eq!(asking.reported_at, Some(UnixMillis(10)), "an end without a report forgets no report");
    }

    #[test]
    fn limits_that_are_off_refuse_nobody() {
        let asking = Asking { open: Some(query()), reported_at: Some(UnixMillis(10)) };
        let off = AskingLimits { one_open_query: false, requery_interval: Duration::ZERO };
        assert_eq!(asking.check(&query(), UnixMillis(5), &off), Ok(()));
    }
}
