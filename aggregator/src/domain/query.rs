//! One query as the hub knows it: ids, times, and what each bank said so far. Never content.

use std::collections::BTreeMap;

use plumbing::kafka::Position;
use schemas::codes::Code;
use schemas::ids::{BankId, Digest, KeyId, Reference};
use schemas::reply::Expected;
use schemas::report::Coverage;
use schemas::time::UnixMillis;
use schemas::wire::{BankOutcome, QueryState};

use super::hold::Held;
use super::window::Times;

/// A registered query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Which one.
    pub reference: Reference,
    /// Pseudonym of the person within the upstream.
    pub subject: String,
    /// Tells the same query sent again from another one under its id.
    pub content_digest: Digest,
    /// Key id of the report key.
    pub report_key: KeyId,
    /// Where its record lies: asking again reads it there.
    pub record: Position,
    /// Its times.
    pub times: Times,
    /// Where it stands.
    pub state: State,
}

/// Where a query stands. Each state carries what it needs and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// No bank is asked until it is released.
    Held(Held),
    /// Banks may still answer.
    Collecting(Collecting),
    /// The report is final and never changes.
    Final(Final),
    /// The consent was withdrawn.
    Withdrawn {
        /// When.
        at: UnixMillis,
        /// Banks asked.
        banks: u32,
    },
    /// A gate was closed.
    Rejected(Code),
    /// It was held, and not released in time.
    Cancelled {
        /// When.
        at: UnixMillis,
        /// Chosen banks. None was asked.
        banks: u32,
    },
    /// Its day is over, and its content is gone.
    Erased {
        /// When it was said.
        at: UnixMillis,
        /// Banks asked.
        banks: u32,
        /// Banks that had answered.
        answered: u32,
    },
}

/// The open pairs of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collecting {
    /// Every asked bank.
    pub pairs: BTreeMap<BankId, Pair>,
}

/// One bank in one open query.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// SHA-256 of the body of the bank's statement; its reply must name it.
    pub statement_sha256: Digest,
    /// How often the bank was asked.
    pub attempts: u32,
    /// When it is asked again, if it is.
    pub ask_again_at: Option<UnixMillis>,
    /// The first valid ANSWERED or REFUSED.
    pub closed: Option<Closed>,
    /// The bank's last word was RETRY_LATER.
    pub unavailable: bool,
    /// A record in the bank's own topic was parsed to this request and failed.
    pub invalid: bool,
    /// A later valid reply had another outcome.
    pub conflict: bool,
    /// Per partition of the bank's reply topic, the next offset whose record may still have an effect here.
    pub read_to: BTreeMap<i32, i64>,
}

impl Pair {
    /// What a reply must match.
    pub fn expected(&self, report_key: &KeyId, times: &Times) -> Expected {
        Expected {
            statement_sha256: self.statement_sha256,
            report_key: *report_key,
            accepted_at: times.accepted_at,
        }
    }

    /// A pair that was not asked yet.
    pub fn new(statement_sha256: Digest, ask_at: Option<UnixMillis>) -> Self {
        Self {
            statement_sha256,
            attempts: 0,
            ask_again_at: ask_at,
            closed: None,
            unavailable: false,
            invalid: false,
            conflict: false,
            read_to: BTreeMap::new(),
        }
    }
}

/// A bank's chosen reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// What the bank said.
    pub outcome: Closing,
    /// SHA-256 of the encoded segment.
    pub segment_sha256: Digest,
    /// Append time of the reply.
    pub appended_at: UnixMillis,
    /// Where the reply lies in the bank's reply topic: partition and offset.
    pub at: (i32, i64),
}

/// The two words that close a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// There is an answer; what it says is sealed.
    Answered,
    /// A protocol reason.
    Refused,
}

/// A final report's facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Final {
    /// All, some or none.
    pub kind: FinalKind,
    /// When.
    pub finalised_at: UnixMillis,
    /// Every asked bank.
    pub outcomes: BTreeMap<BankId, Outcome>,
}

/// One bank in a final report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Exactly one.
    pub outcome: BankOutcome,
    /// The chosen reply, if the bank closed its pair.
    pub reply: Option<Closed>,
    /// A later valid reply had another outcome.
    pub conflict: bool,
}

/// How many banks answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalKind {
    /// Every bank ANSWERED.
    AllAnswered,
    /// Some did.
    Partial,
    /// None did.
    Empty,
}

impl State {
    /// What is open, of a query whose banks may still answer.
    pub fn collecting(&self) -> Option<&Collecting> {
        match self {
            Self::Collecting(open) => Some(open),
            Self::Held(_)
            | Self::Final(_)
            | Self::Withdrawn { .. }
            | Self::Rejected(_)
            | Self::Cancelled { .. }
            | Self::Erased { .. } => None,
        }
    }

    /// What a held query waits for.
    pub fn held(&self) -> Option<&Held> {
        match self {
            Self::Held(held) => Some(held),
            Self::Collecting(_)
            | Self::Final(_)
            | Self::Withdrawn { .. }
            | Self::Rejected(_)
            | Self::Cancelled { .. }
            | Self::Erased { .. } => None,
        }
    }

    /// The facts of a final report that is there.
    pub fn report(&self) -> Option<&Final> {
        match self {
            Self::Final(report) => Some(report),
            Self::Held(_)
            | Self::Collecting(_)
            | Self::Withdrawn { .. }
            | Self::Rejected(_)
            | Self::Cancelled { .. }
            | Self::Erased { .. } => None,
        }
    }
}

impl Query {
    /// The state as it is told.
    pub fn wire_state(&self) -> QueryState {
        match &self.state {
            State::Held(_) => QueryState::Held,
            State::Collecting(_) => QueryState::Collecting,
            State::Final(report) => report.wire_state(),
            State::Withdrawn { .. } => QueryState::Withdrawn,
            State::Rejected(_) => QueryState::Rejected,
            State::Cancelled { .. } => QueryState::Cancelled,
            State::Erased { .. } => QueryState::Erased,
        }
    }

    /// Whether it is under way: a person has one such query.
    pub fn is_open(&self) -> bool {
        match &self.state {
            State::Held(_) | State::Collecting(_) => true,
            State::Final(_)
            | State::Withdrawn { .. }
            | State::Rejected(_)
            | State::Cancelled { .. }
            | State::Erased { .. } => false,
        }
    }

    /// Banks asked (of a query that was only held: chosen), and banks that have answered so far.
    pub fn counts(&self) -> (u32, u32) {
        match &self.state {
            State::Collecting(open) => {
                let answered = |pair: &&Pair| {
                    pair.closed.as_ref().is_some_and(|closed| closed.outcome == Closing::Answered)
                };
                (count(open.pairs.len()), count(open.pairs.values().filter(answered).count()))
            }
            State::Final(report) => (count(report.outcomes.len()), report.answered()),
            State::Held(Held { banks, .. })
            | State::Withdrawn { banks, .. }
            | State::Cancelled { banks, .. } => (*banks, 0),
            State::Rejected(_) => (0, 0),
            State::Erased { banks, answered, .. } => (*banks, *answered),
        }
    }
}

impl Final {
    /// What the hub says of it, to be signed.
    pub fn coverage(&self, reference: &Reference, times: &Times) -> Coverage {
        let digest = |bank: &Outcome| bank.reply.as_ref().map(|reply| reply.segment_sha256);
        Coverage {
            reference: reference.clone(),
            state: self.wire_state(),
            accepted_at: times.accepted_at,
            deadline_at: times.deadline_at,
            finalised_at: self.finalised_at,
            erase_on: times.erase_on.to_string(),
            banks: self
                .outcomes
                .iter()
                .map(|(bank, outcome)| (bank.clone(), (outcome.outcome, digest(outcome))))
                .collect(),
        }
    }

    /// The state as it is told.
    pub fn wire_state(&self) -> QueryState {
        match self.kind {
            FinalKind::AllAnswered => QueryState::FinalAllAnswered,
            FinalKind::Partial => QueryState::FinalPartial,
            FinalKind::Empty => QueryState::FinalEmpty,
        }
    }

    /// The replies that count.
    pub fn replies(&self) -> impl Iterator<Item = (&BankId, &Closed)> {
        self.outcomes.iter().filter_map(|(bank, outcome)| Some((bank, outcome.reply.as_ref()?)))
    }

    /// Banks that answered.
    pub fn answered(&self) -> u32 {
        count(self.outcomes.values().filter(|bank| bank.outcome == BankOutcome::Answered).count())
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("a query names at most 500 banks")
}
