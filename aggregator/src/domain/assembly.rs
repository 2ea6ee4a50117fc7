//! The rule at the centre: what one query does when something happens to it.
//!
//! | state \ event | Reply | AskDue | WindowClosed | Withdrawn | Released | HoldOver | Erased |
//! |---|---|---|---|---|---|---|---|
//! | Held | count | nothing | nothing | ends | collects, or refuses the release and stays | is cancelled, if it is over | ends |
//! | Collecting | close the pair, note RETRY_LATER or invalid; the last close makes the report final | ask, if the pair is still due and there is time | the report is final | ends | refuses | nothing | ends |
//! | Final | count | nothing | nothing | ends | refuses | nothing | ends |
//! | Withdrawn | count | nothing | nothing | nothing | refuses | nothing | ends |
//! | Cancelled | count | nothing | nothing | nothing | refuses | nothing | ends |
//! | Rejected | count | nothing | nothing | nothing | refuses | nothing | nothing |
//! | Erased | count | nothing | nothing | nothing | refuses | nothing | nothing |
//!
//! What must never happen here: a second report, an SMS after a withdrawal, a reply that is late or not the first
//! valid one deciding anything, a bank that is asked while the query is held. Re-reading a record that had its effect
//! has none.

use std::collections::{BTreeMap, BTreeSet};

use plumbing::kafka::Position;
use schemas::codes::Code;
use schemas::ids::{BankId, Digest};
use schemas::reply::{BadReply, Expected, Reply};
use schemas::time::UnixMillis;
use schemas::wire::{BankOutcome, ReplyOutcome};

use super::hold::{Held, Release};
use super::query::{Closed, Closing, Collecting, Final, FinalKind, Outcome, Pair, Query, State};
use super::window::Window;

/// Something happened to a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A record in an asked bank's own reply topic is about this query.
    Reply {
        /// The bank whose topic it is.
        bank: BankId,
        /// Partition and offset.
        at: (i32, i64),
        /// Append time of the record.
        appended_at: UnixMillis,
        /// What it says, after all checks.
        said: Said,
    },
    /// `ask_again_at` of a pair has come.
    AskDue {
        /// The pair's bank.
        bank: BankId,
    },
    /// The asked banks' reply topics have been read past the deadline.
    WindowClosed {
        /// Banks that the registry has as suspended, or as left, at this moment.
        suspended: BTreeSet<BankId>,
    },
    /// The consent was withdrawn.
    Withdrawn,
    /// A release of this query was read.
    Released(Box<Release>),
    /// The upstream's query topic was read past the time for a release.
    HoldOver,
    /// The content of the query's day is gone.
    Erased,
}

/// What a reply says, after all checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// ANSWERED or REFUSED, with the SHA-256 of the encoded segment.
    Closing(Closing, Digest),
    /// RETRY_LATER.
    RetryLater,
    /// It failed a check.
    Invalid(Code),
}

impl Said {
    /// What a record, opened or not, says to an open pair that expects `expected`.
    pub fn of(opened: &Result<Reply, BadReply>, expected: &Expected, appended_at: UnixMillis) -> Self {
        let checked = opened.as_ref().map_err(|bad| bad.code);
        match checked.and_then(|reply| reply.check(expected, appended_at).map(|()| reply)) {
            Ok(reply) => Self::word(reply),
            Err(code) => Self::Invalid(code),
        }
    }

    /// The word of a reply that was opened, whatever is expected.
    pub fn word(reply: &Reply) -> Self {
        let segment = || Digest::of(&reply.segment);
        match reply.outcome {
            ReplyOutcome::Answered => Self::Closing(Closing::Answered, segment()),
            ReplyOutcome::Refused => Self::Closing(Closing::Refused, segment()),
            ReplyOutcome::RetryLater => Self::RetryLater,
            ReplyOutcome::Unspecified => Self::Invalid(Code::OUTCOME_INVALID),
        }
    }
}

/// What is to be done about it, in the same transaction as the new state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Keep the segment of the reply at hand.
    KeepSegment,
    /// Ask this bank.
    Ask {
        /// Which bank.
        bank: BankId,
        /// 1 for the first time.
        attempt: u32,
    },
    /// Tell this bank that its request is void.
    Cancel {
        /// Which bank.
        bank: BankId,
    },
    /// The report is final: sign its coverage, tell the upstream, send the one notice.
    Report,
    /// The query ended by withdrawal: delete its content, tell the upstream.
    Withdraw,
    /// The held query goes on with its release: keep its consent and contact, tell the upstream.
    Release,
    /// A release was refused: audit it, and tell the upstream if the query is still held.
    RefuseRelease {
        /// Where the release lies.
        at: Position,
        /// Why.
        code: Code,
    },
    /// The held query ended without a release: tell the upstream.
    CancelHold,
    /// The query's content is gone: tell the upstream.
    Erase,
    /// Nothing changed but a counter.
    Count(Counted),
}

/// Why a reply changed nothing that a person sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The same outcome again.
    Duplicate,
    /// Another outcome after the first; also flagged in the pair.
    Conflict,
    /// Appended after the deadline.
    Late,
    /// The query had ended.
    AfterEnd,
    /// The record had its effect before.
    Replayed,
    /// RETRY_LATER after the pair was closed.
    Stale,
    /// Noted as an invalid reply.
    Invalid,
    /// Noted as RETRY_LATER.
    RetryLater,
}

impl Counted {
    /// Label of the counter.
    pub fn as_str(self) -> &'static str {
        match self {
            Counted::Duplicate => "duplicate",
            Counted::Conflict => "conflict",
            Counted::Late => "late",
            Counted::AfterEnd => "after_end",
            Counted::Replayed => "replayed",
            Counted::Stale => "stale",
            Counted::Invalid => "invalid",
            Counted::RetryLater => "retry_later",
        }
    }
}

/// Applies one event at `now`.
pub fn apply(query: Query, event: Event, now: UnixMillis, window: &Window) -> (Query, Vec<Effect>) {
    let times = query.times;
    let (banks, answered) = query.counts();
    let (state, effects) = match (query.state, event) {
        (State::Held(mut held), Event::Released(release)) => {
            if !held.is_news(&release.record) {
                (State::Held(held), Vec::new())
            } else if let Err(code) = held.judge(query.content_digest, &release) {
                let refused = Effect::RefuseRelease { at: release.record.clone(), code };
                (State::Held(held.refused(&release, code)), vec![refused])
            } else {
                // What is the query's own stays: id, subject, content and device.
                let Release { record, times, pairs, .. } = *release;
                return (
                    Query { record, times, state: State::Collecting(pairs), ..query },
                    vec![Effect::Release],
                );
            }
        }
        (State::Held(held), Event::HoldOver) if now > held.release_until => {
            (State::Cancelled { at: now, banks: held.banks }, vec![Effect::CancelHold])
        }
        (State::Held(Held { banks, .. }), Event::Withdrawn) => {
            (State::Withdrawn { at: now, banks }, vec![Effect::Withdraw])
        }
        (State::Collecting(open), Event::Reply { bank, at, appended_at, said }) => {
            if appended_at > times.deadline_at {
                (State::Collecting(open), vec![Effect::Count(Counted::Late)])
            } else {
                let again_at =
                    |attempts| Some(now + window.interval(attempts)).filter(|at| *at <= times.reply_by);
                replied(open, &bank, at, appended_at, said, again_at)
            }
        }
        (State::Collecting(open), Event::AskDue { bank }) => {
            let next = |attempts| Some(now + window.interval(attempts)).filter(|at| *at <= times.reply_by);
            ask(open, bank, now, times.reply_by, next)
        }
        (State::Collecting(open), Event::WindowClosed { suspended }) => {
            (State::Final(finalise(open, &suspended, now)), vec![Effect::Report])
        }
        (State::Collecting(open), Event::Withdrawn) => {
            let banks = u32::try_from(open.pairs.len()).unwrap_or(u32::MAX);
            let asked = open.pairs.into_iter().filter(|(_, pair)| pair.attempts > 0);
            let cancellations = asked.map(|(bank, _)| Effect::Cancel { bank });
            let effects = std::iter::once(Effect::Withdraw).chain(cancellations).collect();
            (State::Withdrawn { at: now, banks }, effects)
        }
        (State::Final(report), Event::Withdrawn) => {
            let banks = u32::try_from(report.outcomes.len()).unwrap_or(u32::MAX);
            (State::Withdrawn { at: now, banks }, vec![Effect::Withdraw])
        }
        (State::Final(report), Event::Reply { bank, at, appended_at, .. }) => {
            let chosen = report.outcomes.get(&bank).and_then(|outcome| outcome.reply.as_ref());
            let counted = if appended_at > times.deadline_at {
                Counted::Late
            } else if chosen.is_some_and(|chosen| chosen.at.0 == at.0 && at.1 <= chosen.at.1) {
                Counted::Replayed
            } else {
                Counted::AfterEnd
            };
            (State::Final(report), vec![Effect::Count(counted)])
        }
        (
            state @ (State::Held(_)
            | State::Withdrawn { .. }
            | State::Rejected(_)
            | State::Cancelled { .. }
            | State::Erased { .. }),
            Event::Reply { .. },
        ) => (state, vec![Effect::Count(Counted::AfterEnd)]),
        (
            state @ (State::Collecting(_)
            | State::Final(_)
            | State::Withdrawn { .. }
            | State::Rejected(_)
            | State::Cancelled { .. }
            | State::Erased { .. }),
            Event::Released(release),
        ) => {
            // The release itself, read again.
            let again = release.record == query.record;
            let refuse = || Effect::RefuseRelease { at: release.record.clone(), code: Code::NOT_HELD };
            (state, if again { Vec::new() } else { vec![refuse()] })
        }
        (
            State::Held(_)
            | State::Collecting(_)
            | State::Final(_)
            | State::Withdrawn { .. }
            | State::Cancelled { .. },
            Event::Erased,
        ) => (State::Erased { at: now, banks, answered }, vec![Effect::Erase]),
        (state @ (State::Rejected(_) | State::Erased { .. }), Event::Erased) => (state, Vec::new()),
        (
            state @ (State::Held(_)
            | State::Final(_)
            | State::Withdrawn { .. }
            | State::Rejected(_)
            | State::Cancelled { .. }
            | State::Erased { .. }),
            Event::AskDue { .. } | Event::WindowClosed { .. } | Event::HoldOver,
        )
        | (state @ State::Collecting(_), Event::HoldOver)
        | (
            state @ (State::Withdrawn { .. }
            | State::Rejected(_)
            | State::Cancelled { .. }
            | State::Erased { .. }),
            Event::Withdrawn,
        ) => (state, Vec::new()),
    };
    (Query { state, ..query }, effects)
}

fn replied(
    mut open: Collecting,
    bank: &BankId,
    at: (i32, i64),
    appended_at: UnixMillis,
    said: Said,
    again_at: impl Fn(u32) -> Option<UnixMillis>,
) -> (State, Vec<Effect>) {
    let Some(pair) = open.pairs.get_mut(bank) else {
        // The handler refuses a bank that was not asked before it comes here.
        return (State::Collecting(open), vec![Effect::Count(Counted::AfterEnd)]);
    };
    let (partition, offset) = at;
    let read_to = pair.read_to.entry(partition).or_default();
    if offset < *read_to {
        return (State::Collecting(open), vec![Effect::Count(Counted::Replayed)]);
    }
    *read_to = offset + 1;
    let effects = match (said, &pair.closed) {
        (Said::Closing(outcome, segment_sha256), None) => {
            pair.closed = Some(Closed { outcome, segment_sha256, appended_at, at });
            pair.ask_again_at = None;
            vec![Effect::KeepSegment]
        }
        (Said::Closing(outcome, _), Some(first)) => {
            let same = first.outcome == outcome;
            pair.conflict |= !same;
            vec![Effect::Count(if same { Counted::Duplicate } else { Counted::Conflict })]
        }
        (Said::RetryLater, None) => {
            pair.unavailable = true;
            pair.ask_again_at = again_at(pair.attempts);
            vec![Effect::Count(Counted::RetryLater)]
        }
        (Said::Invalid(_), None) => {
            pair.invalid = true;
            vec![Effect::Count(Counted::Invalid)]
        }
        (Said::RetryLater, Some(_)) => vec![Effect::Count(Counted::Stale)],
        (Said::Invalid(_), Some(_)) => vec![Effect::Count(Counted::Invalid)],
    };
    close_if_whole(open, effects)
}

/// The last close makes the report final at the append time of the latest chosen reply: the same replies make the
/// same report, whoever reads them and when.
fn close_if_whole(open: Collecting, mut effects: Vec<Effect>) -> (State, Vec<Effect>) {
    let closes: Option<Vec<UnixMillis>> =
        open.pairs.values().map(|pair| pair.closed.as_ref().map(|closed| closed.appended_at)).collect();
    match closes.and_then(|closes| closes.into_iter().max()) {
        Some(last) => {
            effects.push(Effect::Report);
            (State::Final(finalise(open, &BTreeSet::new(), last)), effects)
        }
        None => (State::Collecting(open), effects),
    }
}

fn ask(
    mut open: Collecting,
    bank: BankId,
    now: UnixMillis,
    reply_by: UnixMillis,
    next: impl Fn(u32) -> Option<UnixMillis>,
) -> (State, Vec<Effect>) {
    // Whoever found the pair due did not hold its lock: another sweep may have asked meanwhile.
    let due = |pair: &Pair| pair.ask_again_at.is_some_and(|at| at <= now);
    let effects = match open.pairs.get_mut(&bank) {
        Some(pair) if due(pair) && now <= reply_by => {
            pair.attempts += 1;
            pair.ask_again_at = next(pair.attempts);
            vec![Effect::Ask { bank, attempt: pair.attempts }]
        }
        Some(pair) if due(pair) => {
            pair.ask_again_at = None;
            Vec::new()
        }
        Some(_) | None => Vec::new(),
    };
    (State::Collecting(open), effects)
}

fn finalise(open: Collecting, suspended: &BTreeSet<BankId>, finalised_at: UnixMillis) -> Final {
    let outcomes: BTreeMap<BankId, Outcome> = open
        .pairs
        .into_iter()
        .map(|(bank, pair)| {
            let outcome = outcome(&pair, suspended.contains(&bank));
            (bank, Outcome { outcome, reply: pair.closed, conflict: pair.conflict })
        })
        .collect();
    let answered = outcomes.values().filter(|bank| bank.outcome == BankOutcome::Answered).count();
    let kind = match answered {
        0 => FinalKind::Empty,
        all if all == outcomes.len() => FinalKind::AllAnswered,
        _ => FinalKind::Partial,
    };
    Final { kind, finalised_at, outcomes }
}

/// Exactly one outcome, by precedence: what the bank said, then what is known of it.
fn outcome(pair: &Pair, suspended: bool) -> BankOutcome {
    match &pair.closed {
        Some(Closed { outcome: Closing::Answered, .. }) => BankOutcome::Answered,
        Some(Closed { outcome: Closing::Refused, .. }) => BankOutcome::Refused,
        None if suspended => BankOutcome::Suspended,
        None if pair.invalid => BankOutcome::InvalidReply,
        None if pair.unavailable => BankOutcome::Unavailable,
        None => BankOutcome::NoReply,
    }
}

#[cfg(test)]
#[path = "assembly_tests.rs"]
mod tests;
