//! What became of a query. Pure: from its row and its audit leaves, without the person.

use std::collections::BTreeMap;

use plumbing::kafka::Position;
use schemas::audit::{self, Change, leaf};
use schemas::http::{outcome_name, state_name};
use schemas::ids::{BankId, Reference};
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use schemas::wire::{BankOutcome, QueryState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::query::{Closed, Closing, Outcome, Pair, Query, State};
use crate::store::Pause;

/// Where a record lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.topic, self.partition, self.offset)
    }
}

impl From<&Position> for Place {
    fn from(at: &Position) -> Self {
        Self { topic: at.topic.to_string(), partition: at.partition, offset: at.offset }
    }
}

/// What became of a query: times, places and codes. Times are RFC 3339, UTC, three decimals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Timeline {
    /// Party id of the upstream.
    pub upstream: String,
    /// The query's id.
    pub query_id: String,
    /// Its row; not there when it was forgotten, two weeks after its erasure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryFacts>,
    /// Each asked bank: from the row while it says so, else from the leaf of the report.
    pub banks: Vec<BankFacts>,
    /// What happened to it, from its audit leaves, in order of time; at the end what has none.
    pub events: Vec<EventFacts>,
}

/// A query's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueryFacts {
    /// Wire name of the state without prefix, for example `COLLECTING`.
    pub state: String,
    /// The code of a rejection or of a hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where its record lies; that of a released query is the release.
    pub record: Place,
    /// Append time of that record.
    pub accepted_at: String,
    /// After this no bank is asked.
    pub reply_by: String,
    /// When the window closes.
    pub deadline_at: String,
    /// When a held query may be released, from and until.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_from: Option<String>,
    /// See `release_from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_until: Option<String>,
    /// When it ended: final, withdrawn, cancelled or erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// The day whose 00:00 is the erase instant.
    pub erase_on: String,
    /// Banks asked; of a query that was only held: chosen.
    pub asked: u32,
    /// Banks that have answered.
    pub answered: u32,
}

/// Something that happened to a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventFacts {
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// `registered`, `held`, `released`, `final`, `viewed`, …: the kind of the leaf.
    pub kind: String,
    /// The record that it came by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Place>,
    /// Why, or what was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// One bank in a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BankFacts {
    /// Party id.
    pub bank: String,
    /// It is paused now.
    pub paused: bool,
    /// How often it was asked, while the query is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// When it is asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_again_at: Option<String>,
    /// Its outcome in the report, once that is final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The reply that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyFacts>,
    /// A record in its topic was meant for this query and failed.
    pub invalid: bool,
    /// Its last word was that it cannot answer now.
    pub unavailable: bool,
    /// A later valid reply had another outcome.
    pub conflict: bool,
}

/// The reply that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplyFacts {
    /// `ANSWERED` or `REFUSED`.
    pub outcome: String,
    /// Where it lies.
    pub at: Place,
    /// Append time.
    pub appended_at: String,
}

/// What is known of a query; `None` when nothing is.
pub(super) fn timeline(
    reference: &Reference,
    query: Option<&Query>,
    leaves: &[audit::Leaf],
    topics: &Topics,
    paused: &BTreeMap<BankId, Pause>,
) -> Option<Timeline> {
    let changes: Vec<Change> = leaves.iter().filter_map(change).collect();
    if query.is_none() && changes.is_empty() {
        return None;
    }
    let open = query.and_then(|query| query.state.collecting());
    let report = query.and_then(|query| query.state.report());
    let mut banks: Vec<BankFacts> = match (open, report) {
        (Some(open), _) => open.pairs.iter().map(|(bank, pair)| open_bank(bank, pair, topics)).collect(),
        (None, Some(report)) => {
            report.outcomes.iter().map(|(bank, outcome)| final_bank(bank, outcome, topics)).collect()
        }
        (None, None) => {
            let of_leaf = changes.iter().find_map(|change| {
                if let Change::Final(report) = change { Some(&report.outcomes) } else { None }
            });
            let outcomes = of_leaf.into_iter().flatten();
            outcomes.map(|(bank, outcome)| bank_of_leaf(bank, outcome, topics)).collect()
        }
    };
    for bank in &mut banks {
        bank.paused = paused.keys().any(|paused| paused.as_str() == bank.bank);
    }
    Some(Timeline {
        upstream: reference.upstream.to_string(),
        query_id: reference.query.to_string(),
        query: query.map(row),
        banks,
        events: events(&changes),
    })
}

fn change(leaf: &audit::Leaf) -> Option<Change> {
    match leaf {
        audit::Leaf::Query(_, change) => Some(change.clone()),
        audit::Leaf::Receipt(..) => None,
    }
}

fn events(changes: &[Change]) -> Vec<EventFacts> {
    // What was decided of a record happened when the record was accepted, and says only where it lies.
    let accepted: Vec<(&leaf::Place, UnixMillis)> = changes.iter().filter_map(accepted).collect();
    let mut events: Vec<(Option<UnixMillis>, EventFacts)> = changes
        .iter()
        // What the banks signed stands beside the report, and is no event of its own.
        .filter(|change| !matches!(change, Change::Replies(_)))
        .map(|change| {
            let (at, record, code) = moment(change);
            let at =
                at.or_else(|| accepted.iter().find(|(place, _)| Some(*place) == record).map(|(_, at)| *at));
            let record = record.map(|leaf::Place { topic, partition, offset }| Place {
                topic: topic.clone(),
                partition: *partition,
                offset: *offset,
            });
            let facts =
                EventFacts { at: at.map(|at| at.to_string()), kind: change.kind().to_owned(), record, code };
            (at, facts)
        })
        .collect();
    events.sort_by_key(|(at, facts)| (at.is_none(), *at, facts.kind != "risk", facts.kind.clone()));
    events.into_iter().map(|(_, facts)| facts).collect()
}

fn accepted(change: &Change) -> Option<(&leaf::Place, UnixMillis)> {
    match change {
        Change::Registered(accepted) | Change::Released(accepted) => {
            Some((&accepted.record, accepted.accepted_at))
        }
        Change::Held { record, accepted_at, .. } | Change::Rejected { record, accepted_at, .. } => {
            Some((record, *accepted_at))
        }
        Change::Cancelled { .. }
        | Change::ReleaseRefused { .. }
        | Change::Risk { .. }
        | Change::Final(_)
        | Change::Replies(_)
        | Change::Viewed { .. }
        | Change::GrantRefused { .. }
        | Change::Withdrawn { .. }
        | Change::Erased { .. } => None,
    }
}

/// When, by which record, and why. What was around the person is not for the operator: only what was decided.
fn moment(change: &Change) -> (Option<UnixMillis>, Option<&leaf::Place>, Option<String>) {
    match change {
        Change::Registered(accepted) | Change::Released(accepted) => {
            (Some(accepted.accepted_at), Some(&accepted.record), None)
        }
        Change::Held { record, accepted_at, code, .. }
        | Change::Rejected { record, accepted_at, code, .. } => {
            (Some(*accepted_at), Some(record), Some(code.clone()))
        }
        Change::ReleaseRefused { record, code } => (None, Some(record), Some(code.clone())),
        Change::Risk { record, decision, .. } => (None, Some(record), Some(decision.clone())),
        Change::Final(report) => {
            let state = QueryState::try_from(report.state).map(|state| state_name(state).to_owned());
            (Some(report.finalised_at), None, state.ok())
        }
        Change::Replies(_) => (None, None, None),
        Change::GrantRefused { code, at, .. } => (Some(*at), None, Some(code.clone())),
        Change::Viewed { at, .. }
        | Change::Cancelled { at }
        | Change::Withdrawn { at }
        | Change::Erased { at, .. } => (Some(*at), None, None),
    }
}

fn row(query: &Query) -> QueryFacts {
    let (asked, answered) = query.counts();
    let held = query.state.held();
    let code = match &query.state {
        State::Held(held) => Some(held.code),
        State::Rejected(code) => Some(*code),
        State::Collecting(_)
        | State::Final(_)
        | State::Withdrawn { .. }
        | State::Cancelled { .. }
        | State::Erased { .. } => None,
    };
    let ended_at = match &query.state {
        State::Final(report) => Some(report.finalised_at),
        State::Withdrawn { at, .. } | State::Cancelled { at, .. } | State::Erased { at, .. } => Some(*at),
        State::Held(_) | State::Collecting(_) | State::Rejected(_) => None,
    };
    QueryFacts {
        state: state_name(query.wire_state()).to_owned(),
        code: code.map(|code| code.to_string()),
        record: (&query.record).into(),
        accepted_at: query.times.accepted_at.to_string(),
        reply_by: query.times.reply_by.to_string(),
        deadline_at: query.times.deadline_at.to_string(),
        release_from: held.map(|held| held.release_from.to_string()),
        release_until: held.map(|held| held.release_until.to_string()),
        ended_at: ended_at.map(|at| at.to_string()),
        erase_on: query.times.erase_on.to_string(),
        asked,
        answered,
    }
}

fn open_bank(bank: &BankId, pair: &Pair, topics: &Topics) -> BankFacts {
    BankFacts {
        bank: bank.to_string(),
        paused: false,
        attempts: Some(pair.attempts),
        ask_again_at: pair.ask_again_at.map(|at| at.to_string()),
        outcome: None,
        reply: pair.closed.as_ref().map(|closed| reply(bank, closed, topics)),
        invalid: pair.invalid,
        unavailable: pair.unavailable,
        conflict: pair.conflict,
    }
}

fn final_bank(bank: &BankId, outcome: &Outcome, topics: &Topics) -> BankFacts {
    let reply = outcome.reply.as_ref().map(|closed| reply(bank, closed, topics));
    finished(bank, Some(outcome.outcome), outcome.conflict, reply)
}

fn bank_of_leaf(bank: &BankId, outcome: &leaf::Outcome, topics: &Topics) -> BankFacts {
    let reply = outcome.reply.as_ref().map(|chosen| ReplyFacts {
        outcome: match chosen.word {
            leaf::Word::Answered => ANSWERED.to_owned(),
            leaf::Word::Refused => REFUSED.to_owned(),
        },
        at: Place { topic: topics.reply(bank), partition: chosen.partition, offset: chosen.offset },
        appended_at: chosen.appended_at.to_string(),
    });
    finished(bank, BankOutcome::try_from(outcome.outcome).ok(), outcome.conflict, reply)
}

fn finished(
    bank: &BankId,
    outcome: Option<BankOutcome>,
    conflict: bool,
    reply: Option<ReplyFacts>,
) -> BankFacts {
    BankFacts {
        bank: bank.to_string(),
        paused: false,
        attempts: None,
        ask_again_at: None,
        outcome: outcome.map(|outcome| outcome_name(outcome).to_owned()),
        reply,
        invalid: outcome == Some(BankOutcome::InvalidReply),
        unavailable: outcome == Some(BankOutcome::Unavailable),
        conflict,
    }
}

const ANSWERED: &str = "ANSWERED";
const REFUSED: &str = "REFUSED";

fn reply(bank: &BankId, closed: &Closed, topics: &Topics) -> ReplyFacts {
    let (partition, offset) = closed.at;
    let outcome = match closed.outcome {
        Closing::Answered => ANSWERED,
        Closing::Refused => REFUSED,
    };
    ReplyFacts {
        outcome: outcome.to_owned(),
        at: Place { topic: topics.reply(bank), partition, offset },
        appended_at: closed.appended_at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::tz::TimeZone;
    use schemas::ids::{Digest, KeyId, Nonce, QueryId};
    use schemas::time::Calendar;
    use schemas::wire;

    use super::*;
    use crate::domain::audit as leaves;
    use crate::domain::query::{Collecting, Final, FinalKind};
    use crate::domain::risk::Decision;
    use crate::domain::window::Window;

    const SUBJECT: &str = "subject-of-the-person";
    const DIGEST: [u8; 32] = [0xd1; 32];

    fn bank(id: &str) -> BankId {
        id.parse().expect("an id")
    }

    fn query() -> Query {
        let window = Window {
            length: Duration::from_secs(24 * 3600),
            grace: Duration::from_secs(5),
            calendar: Calendar::Civil(TimeZone::UTC),
        };
        let times = window.times(UnixMillis(1_795_420_800_000));
        let pair = Pair { attempts: 1, ..Pair::new(Digest(DIGEST), Some(times.reply_by)) };
        let pairs = BTreeMap::from([(bank("alpha"), pair.clone()), (bank("beta"), pair)]);
        Query {
            reference: Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() },
            subject: SUBJECT.to_owned(),
            content_digest: Digest(DIGEST),
            report_key: KeyId([0xd1; 16]),
            record: Position { topic: "cardquery.query.wallet.v1".into(), partition: 3, offset: 42 },
            times,
            state: State::Collecting(Collecting { pairs }),
        }
    }

    fn report(query: &Query) -> Final {
        let reply = Closed {
            outcome: Closing::Answered,
            segment_sha256: Digest(DIGEST),
            appended_at: query.times.accepted_at + Duration::from_secs(2),
            at: (1, 7),
        };
        let outcome = |outcome, reply| Outcome { outcome, reply, conflict: false };
        Final {
            kind: FinalKind::Partial,
            finalised_at: query.times.deadline_at,
            outcomes: [
                (bank("alpha"), outcome(BankOutcome::Answered, Some(reply))),
                (bank("beta"), outcome(BankOutcome::NoReply, None)),
            ]
            .into(),
        }
    }

    fn of(query: Option<&Query>, reference: &Reference, leaves: &[audit::Leaf]) -> Option<Timeline> {
        let pause = Pause { since: UnixMillis(1), reason: "a reason".to_owned(), by: "operator".to_owned() };
        let paused = BTreeMap::from([(bank("beta"), pause)]);
        let timeline = timeline(reference, query, leaves, &Topics::default(), &paused);
        let text = serde_json::to_string(&timeline).expect("JSON");
        assert!(!text.contains(SUBJECT) && !text.contains(&hex::encode(&DIGEST[..4])), "{text}");
        timeline
    }

    fn all_leaves(query: &Query) -> Vec<audit::Leaf> {
        let seen = wire::RiskSignals { screen_shared: true, ..Default::default() };
        let viewed = query.times.deadline_at + Duration::from_secs(60);
        vec![
            leaves::viewed(&query.reference, Nonce([1; 16]), Digest(DIGEST), viewed),
            leaves::finalised(&query.reference, &report(query), &wire::Signed::default(), 9),
            leaves::registered(query),
            leaves::risk(&query.reference, &query.record, &seen, Decision::Warn),
        ]
    }

    #[test]
    fn an_open_query_tells_of_its_banks_and_a_final_one_of_their_replies() {
        let open = query();
        let reference = open.reference.clone();
        let timeline = of(Some(&open), &reference, &[]).expect("a timeline");
        let banks: Vec<_> =
            timeline.banks.iter().map(|of| (of.bank.as_str(), of.paused, of.attempts)).collect();
        assert_eq!(banks, [("alpha", false, Some(1)), ("beta", true, Some(1))]);
        let ended = Query { state: State::Final(report(&open)), ..open };
        let timeline = of(Some(&ended), &reference, &all_leaves(&query())).expect("a timeline");
        let alpha = &timeline.banks[0];
        let reply = alpha.reply.as_ref().expect("a reply");
        assert_eq!(reply.at.to_string(), "cardquery.reply.alpha.v1:1:7");
        assert_eq!(timeline.banks[1].outcome.as_deref(), Some("NO_REPLY"));
    }

    #[test]
    fn events_are_in_order_of_time_and_say_what_was_decided_and_not_why() {
        let query = query();
        let timeline = of(Some(&query), &query.reference, &all_leaves(&query)).expect("a timeline");
        let events: Vec<(&str, Option<&str>)> =
            timeline.events.iter().map(|event| (event.kind.as_str(), event.code.as_deref())).collect();
        let expected = [
            ("risk", Some("WARN")),
            ("registered", None),
            ("final", Some("FINAL_PARTIAL")),
            ("viewed", None),
        ];
        assert_eq!(events, expected);
        assert_eq!(timeline.events[0].at, timeline.events[1].at, "by the record that it was decided of");
    }

    #[test]
    fn when_the_row_is_gone_or_erased_the_leaf_of_the_report_tells_of_the_banks() {
        let query = query();
        let gone = of(None, &query.reference, &all_leaves(&query)).expect("leaves are left");
        assert_eq!(gone.query, None);
        let erased =
            Query { state: State::Erased { at: UnixMillis(9), banks: 2, answered: 1 }, ..query.clone() };
        let erased = of(Some(&erased), &query.reference, &all_leaves(&query)).expect("a timeline");
        for timeline in [gone, erased] {
            let outcomes: Vec<_> = timeline.banks.iter().map(|of| of.outcome.as_deref()).collect();
            assert_eq!(outcomes, [Some("ANSWERED"), Some("NO_REPLY")]);
            assert!(timeline.banks[0].reply.is_some());
        }
        assert_eq!(of(None, &query.reference, &[]), None, "nothing is known of it");
    }
}
