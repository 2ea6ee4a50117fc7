//! The documents of operations. Pure: what the store knows, without the person.

use plumbing::kafka::Position;
use schemas::http::{outcome_name, state_name};
use schemas::ids::BankId;
use schemas::topics::Topics;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::query::{Closed, Closing, Outcome, Pair, Query, State};

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

/// What the hub knows of a query: times, places and codes. Times are RFC 3339, UTC, three decimals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueryFacts {
    /// Party id of the upstream.
    pub upstream: String,
    /// The query's id.
    pub query_id: String,
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
    /// Each asked bank, while the query is collecting or final.
    pub banks: Vec<BankFacts>,
}

/// One bank in a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BankFacts {
    /// Party id.
    pub bank: String,
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

/// What is known of a query, without its person.
pub(super) fn query(query: &Query, topics: &Topics) -> QueryFacts {
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
    let banks = match &query.state {
        State::Collecting(open) => {
            open.pairs.iter().map(|(bank, pair)| open_bank(bank, pair, topics)).collect()
        }
        State::Final(report) => {
            report.outcomes.iter().map(|(bank, outcome)| final_bank(bank, outcome, topics)).collect()
        }
        State::Held(_)
        | State::Withdrawn { .. }
        | State::Rejected(_)
        | State::Cancelled { .. }
        | State::Erased { .. } => Vec::new(),
    };
    QueryFacts {
        upstream: query.reference.upstream.to_string(),
        query_id: query.reference.query.to_string(),
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
        banks,
    }
}

fn open_bank(bank: &BankId, pair: &Pair, topics: &Topics) -> BankFacts {
    BankFacts {
        bank: bank.to_string(),
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
    use schemas::wire::BankOutcome::{InvalidReply, Unavailable};
    BankFacts {
        bank: bank.to_string(),
        attempts: None,
        ask_again_at: None,
        outcome: Some(outcome_name(outcome.outcome).to_owned()),
        reply: outcome.reply.as_ref().map(|closed| reply(bank, closed, topics)),
        invalid: outcome.outcome == InvalidReply,
        unavailable: outcome.outcome == Unavailable,
        conflict: outcome.conflict,
    }
}

fn reply(bank: &BankId, closed: &Closed, topics: &Topics) -> ReplyFacts {
    let (partition, offset) = closed.at;
    let outcome = match closed.outcome {
        Closing::Answered => "ANSWERED",
        Closing::Refused => "REFUSED",
    };
    ReplyFacts {
        outcome: outcome.to_owned(),
        at: Place { topic: topics.reply(bank), partition, offset },
        appended_at: closed.appended_at.to_string(),
    }
}
