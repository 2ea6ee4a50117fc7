//! A report once more, by the hub's own rule ([`assembly::apply`]), from what the banks' topics say.
//!
//! ```text
//!  acceptance (log) ─▶ query, collecting ─▶ replies in the order of their partitions ─▶ all closed? final at the last one
//!                                                                                       otherwise: window closed, at the
//!                                                                                       time that the log says
//! ```
//!
//! What the topics alone do not decide, the log's word decides, and it is checked that the word is possible:
//!
//! | what | why it is open | what is done |
//! |---|---|---|
//! | which partition of a bank was read first | topics have no order between partitions | that of the reply that counts goes first |
//! | whether a contradicting reply was read before the last bank closed | the same | both are possible in a report that no window closed; in another one it was read |
//! | when a window was closed | the clock of the store | any time after the deadline |
//! | a registry entry between reply and report | when the hub read it | both judgements are possible, and counted as undetermined |
//! | what retention removed | it is gone | that bank's outcome is the log's, and counted as gone |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aggregator::domain::assembly::{self, Event, Said};
use aggregator::domain::query::{self, Closed, Closing, Collecting, Pair, Query, State};
use aggregator::domain::window::{Times, Window};
use jiff::tz::TimeZone;
use plumbing::kafka::Position;
use schemas::audit::leaf::{Accepted, Chosen, Final, Outcome, Word};
use schemas::codes::Code as Refused;
use schemas::http::outcome_name;
use schemas::ids::{BankId, Digest, Reference};
use schemas::report::Coverage;
use schemas::time::{Calendar, UnixMillis};
use schemas::topics::Topics;
use schemas::wire::{BankOutcome, QueryState};

use super::finding::Finding;
use super::hearing::{Heard, Hearing};
use super::history::Standing;
use crate::audit::codes::Code;

/// What is known of a query whose report is final.
#[derive(Debug)]
pub struct Case<'a> {
    /// Which one.
    pub reference: &'a Reference,
    /// Its acceptance, as the log says.
    pub accepted: &'a Accepted,
    /// Its report, as the log says.
    pub report: &'a Final,
    /// What the banks said; a bank that is not here said nothing.
    pub hearings: &'a BTreeMap<BankId, Hearing>,
    /// Who took part when the report became final.
    pub standing: &'a BTreeMap<BankId, Standing>,
    /// Names of topics.
    pub topics: &'a Topics,
}

/// A report once more.
#[derive(Clone, Debug, PartialEq)]
pub struct Rebuilt {
    /// Digest of the body of its coverage.
    pub coverage: Digest,
    /// What is not as the log says.
    pub findings: Vec<Finding>,
    /// Banks whose records retention removed.
    pub gone: usize,
}

/// What is fed to the rule for one bank.
struct Script {
    /// Before anything can become final without it.
    first: Vec<Event>,
    /// Read after that, or never.
    rest: Vec<Event>,
    suspended: bool,
    gone: bool,
    undetermined: bool,
}

/// Makes the report once more and compares it with the log's.
pub fn rebuild(case: &Case<'_>) -> Rebuilt {
    let Case { reference, accepted, report, .. } = case;
    let scripts: BTreeMap<&BankId, Script> =
        accepted.statements.keys().map(|bank| (bank, script(case, bank))).collect();
    let again = play(case, &scripts);
    let mut findings = compare(case, &scripts, &again);
    let coverage = again.coverage(reference, &times(accepted)).digest();
    if coverage != report.coverage {
        let detail = format!("signed {}, from the topics {coverage}", report.coverage);
        findings.push(Finding::of_query(Code::REPLAY_COVERAGE_DIFFERS, reference, detail));
    }
    if let Some(own) = own_coverage(case).filter(|own| *own != report.coverage) {
        let detail = format!("signed {}, from the leaf {own}", report.coverage);
        findings.push(Finding::of_query(Code::REPLAY_LOG_CONTRADICTS, reference, detail));
    }
    Rebuilt { coverage, findings, gone: scripts.values().filter(|script| script.gone).count() }
}

/// The query as the log says that it was accepted, with nothing heard.
fn collecting(case: &Case<'_>) -> Query {
    let Case { reference, accepted, .. } = case;
    let pairs =
        accepted.statements.iter().map(|(bank, statement)| (bank.clone(), Pair::new(*statement, None)));
    Query {
        reference: (*reference).clone(),
        // The rule does not look at whose query it is.
        subject: String::new(),
        content_digest: accepted.content_digest,
        report_key: accepted.report_key,
        record: Position {
            topic: accepted.record.topic.as_str().into(),
            partition: accepted.record.partition,
            offset: accepted.record.offset,
        },
        times: times(accepted),
        state: State::Collecting(Collecting { pairs: pairs.collect() }),
    }
}

fn times(accepted: &Accepted) -> Times {
    Times {
        accepted_at: accepted.accepted_at,
        reply_by: accepted.reply_by,
        deadline_at: accepted.deadline_at,
        erase_on: accepted.erase_on,
    }
}

/// What the bank's record must match.
pub fn expected(accepted: &Accepted, bank: &BankId) -> Option<schemas::reply::Expected> {
    let statement = accepted.statements.get(bank)?;
    Some(Pair::new(*statement, None).expected(&accepted.report_key, &times(accepted)))
}

fn play(case: &Case<'_>, scripts: &BTreeMap<&BankId, Script>) -> query::Final {
    let Case { accepted, report, .. } = case;
    // Only when a bank is asked again does the rule look at the length of the window, and nobody is asked here.
    let window = Window {
        length: accepted.deadline_at.since(accepted.accepted_at),
        grace: Duration::ZERO,
        calendar: Calendar::Civil(TimeZone::UTC),
    };
    let contradicted = |bank: &BankId| report.outcomes.get(bank).is_some_and(|outcome| outcome.conflict);
    // A contradiction that counts was heard before the last bank closed.
    let (early, late): (Vec<_>, Vec<_>) = scripts.iter().partition(|(bank, _)| contradicted(bank));
    let first = early.iter().chain(&late).flat_map(|(_, script)| &script.first);
    let rest = scripts.values().flat_map(|script| &script.rest);
    let suspended: BTreeSet<BankId> =
        scripts.iter().filter(|(_, script)| script.suspended).map(|(bank, _)| (*bank).clone()).collect();
    let closed = Event::WindowClosed { suspended };
    let mut query = collecting(case);
    for event in first.chain(rest).chain([&closed]) {
        (query, _) = assembly::apply(query, event.clone(), report.finalised_at, &window);
    }
    match query.state {
        State::Final(again) => again,
        State::Held(_)
        | State::Collecting(_)
        | State::Withdrawn { .. }
        | State::Rejected(_)
        | State::Cancelled { .. }
        | State::Erased { .. } => unreachable!("a closed window makes a collecting query final"),
    }
}

fn script(case: &Case<'_>, bank: &BankId) -> Script {
    let logged = case.report.outcomes.get(bank);
    let quiet = Hearing::default();
    let hearing = case.hearings.get(bank).unwrap_or(&quiet);
    if hearing.gone {
        return from_log(bank, logged);
    }
    let chosen = logged.and_then(|outcome| outcome.reply.as_ref());
    let place = chosen.map(|chosen| (chosen.partition, chosen.offset));
    let mut heard: Vec<&Heard> = hearing.heard.iter().collect();
    heard.sort_by_key(|heard| (place.is_none_or(|(partition, _)| partition != heard.at.0), heard.at));
    let contradicted = logged.is_some_and(|outcome| outcome.conflict);
    let counts = |heard: &Heard| {
        place == Some(heard.at) || (contradicted && place.is_some_and(|place| place < heard.at))
    };
    let said: Vec<(&Heard, Said)> =
        heard.iter().map(|heard| (*heard, resolved(heard, counts(heard)))).collect();
    let closes = |(heard, said): &(&Heard, Said)| {
        matches!(said, Said::Closing(..)) && heard.appended_at <= case.accepted.deadline_at
    };
    let end =
        if contradicted { said.len() } else { said.iter().position(closes).map_or(said.len(), |at| at + 1) };
    let mut events: Vec<Event> =
        said.iter().map(|(heard, said)| event(bank, heard.at, heard.appended_at, *said)).collect();
    let rest = events.split_off(end);
    let standing = case.standing.get(bank).copied().unwrap_or(Standing::Active);
    let (suspended, unknown) = match standing {
        Standing::Active => (false, false),
        Standing::Suspended => (true, false),
        // Whether it was matters only to a bank that closed nothing.
        Standing::Unknown => (is(logged, BankOutcome::Suspended), !said.iter().any(closes)),
    };
    let undetermined = unknown || heard.iter().any(|heard| heard.otherwise.is_some());
    Script { first: events, rest, suspended, gone: false, undetermined }
}

/// One of two possible judgements: that the log took, if it is one of them.
fn resolved(heard: &Heard, counts: bool) -> Said {
    let both = [Some(heard.said), heard.otherwise];
    let fits = |said: &Said| matches!(said, Said::Closing(..)) == counts;
    both.into_iter().flatten().find(fits).unwrap_or(heard.said)
}

fn event(bank: &BankId, at: (i32, i64), appended_at: UnixMillis, said: Said) -> Event {
    Event::Reply { bank: bank.clone(), at, appended_at, said }
}

fn is(logged: Option<&Outcome>, outcome: BankOutcome) -> bool {
    logged.is_some_and(|logged| logged.outcome == i32::from(outcome))
}

/// What would make the rule say what the log says.
fn from_log(bank: &BankId, logged: Option<&Outcome>) -> Script {
    let mut first = Vec::new();
    if let Some(Chosen { word, segment, appended_at, partition, offset }) =
        logged.and_then(|outcome| outcome.reply.as_ref())
    {
        first.push(event(bank, (*partition, *offset), *appended_at, Said::Closing(closing(*word), *segment)));
        if logged.is_some_and(|outcome| outcome.conflict) {
            let other = match word {
                Word::Answered => Closing::Refused,
                Word::Refused => Closing::Answered,
            };
            let later = (*partition, offset.saturating_add(1));
            first.push(event(bank, later, *appended_at, Said::Closing(other, *segment)));
        }
    } else {
        let heard = |said| event(bank, (0, 0), UnixMillis(0), said);
        if is(logged, BankOutcome::Unavailable) {
            first.push(heard(Said::RetryLater));
        } else if is(logged, BankOutcome::InvalidReply) {
            first.push(heard(Said::Invalid(Refused::MESSAGE_MALFORMED)));
        }
    }
    let suspended = is(logged, BankOutcome::Suspended);
    Script { first, rest: Vec::new(), suspended, gone: true, undetermined: false }
}

fn closing(word: Word) -> Closing {
    match word {
        Word::Answered => Closing::Answered,
        Word::Refused => Closing::Refused,
    }
}

fn compare(case: &Case<'_>, scripts: &BTreeMap<&BankId, Script>, again: &query::Final) -> Vec<Finding> {
    let Case { reference, accepted, report, .. } = case;
    let mut findings = Vec::new();
    if !accepted.statements.keys().eq(report.outcomes.keys()) {
        let detail = format!("{} asked, {} in the report", accepted.statements.len(), report.outcomes.len());
        findings.push(Finding::of_query(Code::REPLAY_BANKS_DIFFER, reference, detail));
    }
    for (bank, logged) in &report.outcomes {
        if let Some(again) = again.outcomes.get(bank) {
            findings.extend(compare_bank(case, bank, logged, again));
        }
        if scripts.get(bank).is_some_and(|script| script.undetermined) {
            let detail = "judged with one registry entry or another";
            findings.push(Finding::of_bank(Code::REPLAY_UNDETERMINED, reference, bank, detail));
        }
    }
    // What follows from a bank is not said once more.
    if findings.iter().any(Finding::is_fault) {
        return findings;
    }
    let closed = again.outcomes.values().all(|outcome| outcome.reply.is_some());
    if again.finalised_at != report.finalised_at || (!closed && report.finalised_at <= accepted.deadline_at) {
        let rule =
            if closed { again.finalised_at.to_string() } else { format!("after {}", accepted.deadline_at) };
        let detail = format!("logged {}, by the rule {rule}", report.finalised_at);
        findings.push(Finding::of_query(Code::REPLAY_FINAL_AT_DIFFERS, reference, detail));
    }
    if i32::from(again.wire_state()) != report.state {
        let detail = format!("logged {}, by the rule {}", report.state, i32::from(again.wire_state()));
        findings.push(Finding::of_query(Code::REPLAY_STATE_DIFFERS, reference, detail));
    }
    findings
}

fn compare_bank(case: &Case<'_>, bank: &BankId, logged: &Outcome, again: &query::Outcome) -> Vec<Finding> {
    let topic = case.topics.reply(bank);
    let finding = |code, detail: String| Finding::of_bank(code, case.reference, bank, detail);
    let mut findings = Vec::new();
    match (&logged.reply, &again.reply) {
        (None, None) if logged.outcome != i32::from(again.outcome) => {
            let name = BankOutcome::try_from(logged.outcome).map_or("?", outcome_name);
            let detail = format!("logged {name}, by the rule {}", outcome_name(again.outcome));
            findings.push(finding(Code::REPLAY_OUTCOME_DIFFERS, detail));
        }
        (None, None) => {}
        (None, Some(reply)) => {
            let detail = format!("segment {}", reply.segment_sha256);
            findings.push(finding(Code::REPLAY_REPLY_DROPPED, detail).at(&topic, reply.at));
        }
        (Some(chosen), again) => {
            let at = (chosen.partition, chosen.offset);
            findings.extend(
                counted(case, bank, chosen).map(|(code, detail)| finding(code, detail).at(&topic, at)),
            );
            if let Some(earlier) = again.as_ref().filter(|reply| reply.at.0 == at.0 && reply.at.1 < at.1) {
                let detail = format!("before offset {}: segment {}", at.1, earlier.segment_sha256);
                findings.push(finding(Code::REPLAY_REPLY_EARLIER, detail).at(&topic, earlier.at));
            }
            if findings.is_empty() && again.as_ref().is_none_or(|again| !is_same(chosen, again)) {
                findings.push(
                    finding(Code::REPLAY_REPLY_DIFFERS, "another reply counts".to_owned()).at(&topic, at),
                );
            }
            findings.extend(elsewhere(case, bank, chosen).map(|heard| {
                let detail =
                    format!("appended {}, that which counts {}", heard.appended_at, chosen.appended_at);
                finding(Code::REPLAY_REPLY_EARLIER_ELSEWHERE, detail).at(&topic, heard.at)
            }));
        }
    }
    if logged.conflict != again.conflict && !findings.iter().any(Finding::is_fault) {
        let detail = format!("logged {}, by the rule {}", logged.conflict, again.conflict);
        findings.push(finding(Code::REPLAY_CONFLICT_DIFFERS, detail));
    }
    findings
}

fn is_same(chosen: &Chosen, again: &Closed) -> bool {
    let Closed { outcome, segment_sha256, appended_at, at } = again;
    *at == (chosen.partition, chosen.offset)
        && *outcome == closing(chosen.word)
        && *segment_sha256 == chosen.segment
        && *appended_at == chosen.appended_at
}

/// What is wrong with the reply that counts.
fn counted(case: &Case<'_>, bank: &BankId, chosen: &Chosen) -> Option<(Code, String)> {
    let hearing = case.hearings.get(bank);
    if hearing.is_some_and(|hearing| hearing.gone) {
        return None;
    }
    let at = (chosen.partition, chosen.offset);
    let heard = hearing.and_then(|hearing| hearing.heard.iter().find(|heard| heard.at == at));
    let Some(heard) = heard else {
        return Some((Code::REPLAY_REPLY_ADDED, format!("segment {}", chosen.segment)));
    };
    match resolved(heard, true) {
        Said::Invalid(code) => Some((Code::REPLAY_REPLY_INVALID, code.to_string())),
        Said::RetryLater => Some((Code::REPLAY_REPLY_INVALID, "it says RETRY_LATER".to_owned())),
        Said::Closing(..) if heard.appended_at > case.accepted.deadline_at => {
            Some((Code::REPLAY_REPLY_LATE, format!("appended {}", heard.appended_at)))
        }
        Said::Closing(_, segment) if segment != chosen.segment => {
            Some((Code::REPLAY_REPLY_DIFFERS, format!("logged {}, in the topic {segment}", chosen.segment)))
        }
        Said::Closing(outcome, _) if outcome != closing(chosen.word) => {
            Some((Code::REPLAY_REPLY_DIFFERS, "another word".to_owned()))
        }
        Said::Closing(..) if heard.appended_at != chosen.appended_at => Some((
            Code::REPLAY_REPLY_DIFFERS,
            format!("logged as appended {}, appended {}", chosen.appended_at, heard.appended_at),
        )),
        Said::Closing(..) => None,
    }
}

/// A valid reply in another partition that was appended before the one that counts.
fn elsewhere<'a>(case: &'a Case<'_>, bank: &BankId, chosen: &'a Chosen) -> Option<&'a Heard> {
    let heard = case.hearings.get(bank).filter(|hearing| !hearing.gone)?.heard.iter();
    heard
        .filter(|heard| heard.at.0 != chosen.partition && heard.appended_at < chosen.appended_at)
        .find(|heard| matches!(heard.said, Said::Closing(..)) && heard.otherwise.is_none())
}

/// The digest of the coverage that the leaf's own facts make; `None` when they hold a number that nobody knows.
fn own_coverage(case: &Case<'_>) -> Option<Digest> {
    let Case { reference, accepted, report, .. } = case;
    let banks = report.outcomes.iter().map(|(bank, outcome)| {
        let segment = outcome.reply.as_ref().map(|reply| reply.segment);
        Some((bank.clone(), (BankOutcome::try_from(outcome.outcome).ok()?, segment)))
    });
    let coverage = Coverage {
        reference: (*reference).clone(),
        state: QueryState::try_from(report.state).ok()?,
        accepted_at: accepted.accepted_at,
        deadline_at: accepted.deadline_at,
        finalised_at: report.finalised_at,
        erase_on: accepted.erase_on.to_string(),
        banks: banks.collect::<Option<_>>()?,
    };
    Some(coverage.digest())
}

#[cfg(test)]
#[path = "rebuild_tests.rs"]
mod tests;
