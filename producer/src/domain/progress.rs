//! What a listener is told while a query goes on.

use std::fmt;

use schemas::codes::Code;
use schemas::http::{Problem, QueryStatus, state_name};
use schemas::wire::QueryState;

/// What to send next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The query moved on.
    Moved(QueryStatus),
    /// The query is at its end: the last thing that is sent.
    Ended(QueryStatus),
    /// There is no such query: the last thing that is sent.
    Refused(Problem),
}

/// Names what a listener was told: a state, and how many banks had answered in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    state: String,
    answered: u32,
}

impl Mark {
    /// The mark of a status.
    pub(crate) fn of(status: &QueryStatus) -> Self {
        Self { state: status.state.clone(), answered: status.answered }
    }

    /// Reads what [`fmt::Display`] writes.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (state, answered) = text.split_once('.')?;
        Some(Self { state: state.to_owned(), answered: answered.parse().ok()? })
    }

    /// Whether nothing more is to be waited for after it.
    pub(crate) fn is_final(&self) -> bool {
        is_final(&self.state)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.state, self.answered)
    }
}

/// What a listener has been told.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    told: Option<Mark>,
}

impl Progress {
    /// Of a listener that has been told `told` before.
    pub(crate) fn after(told: Option<Mark>) -> Self {
        Self { told }
    }

    /// Takes the hub's present answer. A refusal ends the stream unless `patient`: between the acknowledgement of a
    /// query's record and its registration the hub does not know it yet.
    pub(crate) fn observe(&mut self, answer: Result<QueryStatus, Problem>, patient: bool) -> Option<Step> {
        match answer {
            Ok(status) if self.told == Some(Mark::of(&status)) => None,
            Ok(status) => {
                self.told = Some(Mark::of(&status));
                Some(if is_final(&status.state) { Step::Ended(status) } else { Step::Moved(status) })
            }
            // A hub that does not answer now may answer soon.
            Err(problem) if problem.status >= 500 || problem.code == Code::RATE_LIMITED.as_str() => None,
            Err(_) if patient && self.told.is_none() => None,
            Err(problem) => Some(Step::Refused(problem)),
        }
    }
}

/// Whether nothing more is to be waited for. What becomes of a final report (erased, withdrawn) is told to whoever asks.
fn is_final(state: &str) -> bool {
    const FINAL: [QueryState; 7] = [
        QueryState::FinalAllAnswered,
        QueryState::FinalPartial,
        QueryState::FinalEmpty,
        QueryState::Erased,
        QueryState::Rejected,
        QueryState::Cancelled,
        QueryState::Withdrawn,
    ];
    FINAL.into_iter().any(|known| state_name(known) == state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: &str, answered: u32) -> QueryStatus {
        QueryStatus {
            query_id: String::new(),
            state: state.to_owned(),
            code: None,
            hold: None,
            accepted_at: String::new(),
            deadline_at: String::new(),
            finalised_at: None,
            erase_on: String::new(),
            banks: 2,
            answered,
            content_digest: String::new(),
        }
    }

    #[test]
    fn each_change_is_told_once_and_the_final_one_ends_the_stream() {
        let mut progress = Progress::default();
        assert_eq!(
            progress.observe(Ok(status("COLLECTING", 0)), false),
            Some(Step::Moved(status("COLLECTING", 0)))
        );
        assert_eq!(progress.observe(Ok(status("COLLECTING", 0)), false), None);
        assert_eq!(
            progress.observe(Ok(status("COLLECTING", 1)), false),
            Some(Step::Moved(status("COLLECTING", 1)))
        );
        assert_eq!(
            progress.observe(Ok(status("FINAL_PARTIAL", 1)), false),
            Some(Step::Ended(status("FINAL_PARTIAL", 1)))
        );
    }

    #[test]
    fn who_comes_again_is_told_only_what_is_new_to_it() {
        let mark = Mark::of(&status("COLLECTING", 3));
        assert_eq!(mark.to_string(), "COLLECTING.3");
        assert_eq!(Mark::read("COLLECTING.3"), Some(mark.clone()));
        for odd in ["", "COLLECTING", "COLLECTING.", "COLLECTING.x", "COLLECTING.-1"] {
            assert_eq!(Mark::read(odd), None, "{odd}");
        }
        let mut progress = Progress::after(Some(mark));
        assert_eq!(progress.observe(Ok(status("COLLECTING", 3)), true), None);
        let next = status("COLLECTING", 4);
        assert_eq!(progress.observe(Ok(next.clone()), true), Some(Step::Moved(next)));
        assert!(Mark::read("ERASED.3").is_some_and(|mark| mark.is_final()));
        assert!(Mark::read("HELD.0").is_some_and(|mark| !mark.is_final()));
    }

    #[test]
    fn a_held_query_is_told_and_so_is_what_becomes_of_it() {
        for end in ["CANCELLED", "WITHDRAWN", "ERASED"] {
            let mut progress = Progress::default();
            let held = status("HELD", 0);
            assert_eq!(progress.observe(Ok(held.clone()), true), Some(Step::Moved(held)));
            let ended = status(end, 0);
            assert_eq!(progress.observe(Ok(ended.clone()), true), Some(Step::Ended(ended)));
        }
    }

    #[test]
    fn every_state_but_held_and_collecting_is_an_end() {
        for state in (0..).map_while(|n| QueryState::try_from(n).ok()) {
            let open = matches!(state, QueryState::Unspecified | QueryState::Held | QueryState::Collecting);
            assert_eq!(is_final(state_name(state)), !open, "{state:?}");
        }
        assert!(!is_final("A_STATE_OF_A_LATER_VERSION"));
    }

    #[test]
    fn a_query_that_is_not_registered_yet_is_waited_for_and_an_unknown_one_is_not() {
        let unknown = || Err(Problem::of(Code::QUERY_NOT_FOUND));
        let mut progress = Progress::default();
        assert_eq!(progress.observe(unknown(), true), None);
        assert_eq!(
            progress.observe(unknown(), false),
            Some(Step::Refused(Problem::of(Code::QUERY_NOT_FOUND)))
        );
    }

    #[test]
    fn a_hub_that_does_not_answer_now_ends_nothing() {
        let mut progress = Progress::default();
        for code in [Code::HUB_UNAVAILABLE, Code::RATE_LIMITED] {
            assert_eq!(progress.observe(Err(Problem::of(code)), false), None);
        }
    }
}
