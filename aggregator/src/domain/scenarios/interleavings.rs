//! Interleavings of everything that can happen to a query, against an oracle that knows no states: it looks at the
//! whole list of events at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::tz::TimeZone;
use plumbing::kafka::Position;
use proptest::prelude::*;
use schemas::codes::Code;
use schemas::ids::{BankId, Digest, KeyId, QueryId, Reference};
use schemas::time::{Calendar, UnixMillis};
use schemas::wire::BankOutcome;

use crate::domain::assembly::{Counted, Effect, Event, Said, apply};
use crate::domain::query::{Closed, Closing, Collecting, Final, FinalKind, Outcome, Pair, Query, State};
use crate::domain::window::Window;

const MINUTE: i64 = 60_000;
const ACCEPTED: i64 = 1_800_000_000_000;
const REPLY_BY: i64 = ACCEPTED + 1_410 * MINUTE;
const DEADLINE: i64 = ACCEPTED + 1_440 * MINUTE;
const GRACE: i64 = 5_000;

/// Minutes from each question to the next.
const INTERVALS: [i64; 4] = [30, 60, 120, 240];

/// An event and when it is processed.
type Happening = (Event, UnixMillis);

/// A history of one query.
#[derive(Clone, Debug)]
struct History {
    banks: Vec<BankId>,
    happenings: Vec<Happening>,
}

/// What came out of a history.
struct Played {
    query: Query,
    /// Per event.
    effects: Vec<Vec<Effect>>,
}

fn window() -> Window {
    Window {
        length: Duration::from_secs(24 * 3600),
        grace: Duration::from_millis(GRACE.unsigned_abs()),
        calendar: Calendar::Civil(TimeZone::UTC),
    }
}

fn fresh(banks: &[BankId]) -> Query {
    let window = window();
    let pair = || Pair::new(Digest([3; 32]), Some(UnixMillis(ACCEPTED)));
    Query {
        reference: Reference {
            upstream: "wallet".parse().expect("an id"),
            query: "01976d4a-7c00-7000-8000-000000000001".parse::<QueryId>().expect("an id"),
        },
        subject: "someone".to_owned(),
        content_digest: Digest([1; 32]),
        report_key: KeyId([1; 16]),
        record: Position { topic: "cardquery.query.wallet.v1".into(), partition: 0, offset: 0 },
        times: window.times(UnixMillis(ACCEPTED)),
        state: State::Collecting(Collecting {
            pairs: banks.iter().map(|bank| (bank.clone(), pair())).collect(),
        }),
    }
}

fn run(history: &History) -> Played {
    let window = window();
    let mut query = fresh(&history.banks);
    let mut effects = Vec::new();
    for (event, now) in &history.happenings {
        let (next, caused) = apply(query, event.clone(), *now, &window);
        query = next;
        effects.push(caused);
    }
    Played { query, effects }
}

/// One to four banks, and one number per event: its bits choose what happens, zero being the plainest.
fn histories(events: usize) -> impl Strategy<Value = History> {
    (1usize..=4, prop::collection::vec(any::<u64>(), 1..events))
        .prop_map(|(banks, numbers)| history(banks, &numbers))
}

fn history(banks: usize, numbers: &[u64]) -> History {
    let names = ["banka", "bankb", "bankc", "bankd"];
    let banks: Vec<BankId> = names[..banks].iter().map(|name| name.parse().expect("an id")).collect();
    let mut now = ACCEPTED;
    let mut ends = BTreeMap::<(usize, i32), i64>::new();
    let mut records: Vec<Event> = Vec::new();
    let mut happenings = Vec::new();
    for number in numbers {
        let mut bits = *number;
        let mut pick = |choices: u64| {
            let picked = bits % choices;
            bits /= choices;
            usize::try_from(picked).expect("a small number")
        };
        now += [0, 1, 7 * MINUTE, 31 * MINUTE, 150 * MINUTE, 400 * MINUTE][pick(6)];
        let which = pick(banks.len() as u64);
        let bank = banks[which].clone();
        let event = match pick(20) {
            0..=10 => {
                let partition = i32::try_from(pick(2)).expect("0 or 1");
                let end = ends.entry((which, partition)).or_default();
                // Other queries' records lie in between.
                *end += 1 + i64::try_from(pick(2)).expect("0 or 1");
                let punctual = now.min(DEADLINE);
                let appended =
                    [now, punctual, punctual, punctual - 1, DEADLINE - 1, DEADLINE, DEADLINE + 1][pick(7)];
                let segment = Digest([u8::try_from(records.len()).expect("few"); 32]);
                let said = match pick(8) {
                    0..=2 => Said::Closing(Closing::Answered, segment),
                    3 => Said::Closing(Closing::Refused, segment),
                    4..=5 => Said::RetryLater,
                    _ => Said::Invalid(Code::SIGNATURE_INVALID),
                };
                let at = (partition, *end);
                let record = Event::Reply { bank, at, appended_at: UnixMillis(appended), said };
                records.push(record.clone());
                record
            }
            11..=13 if !records.is_empty() => records[pick(records.len() as u64)].clone(),
            18 if pick(2) == 0 => {
                now = now.max(DEADLINE + GRACE);
                let suspended = banks.iter().filter(|_| pick(4) == 0).cloned().collect();
                Event::WindowClosed { suspended }
            }
            19 if pick(3) == 0 => Event::Withdrawn,
            _ => Event::AskDue { bank },
        };
        happenings.push((event, UnixMillis(now)));
    }
    History { banks, happenings }
}

/// A record that was read for the first time, in time.
#[derive(Clone, Debug)]
struct Fact {
    index: usize,
    bank: BankId,
    at: (i32, i64),
    appended_at: UnixMillis,
    said: Said,
}

impl Fact {
    fn closing(&self) -> Option<Closing> {
        match self.said {
            Said::Closing(closing, _) => Some(closing),
            Said::RetryLater | Said::Invalid(_) => None,
        }
    }
}

/// Everything the rule should have done, from the whole list.
struct Oracle<'a> {
    history: &'a History,
    facts: Vec<Fact>,
    /// The last event that the open query took, and what it was.
    end: Option<(usize, End)>,
    withdrawn: Option<usize>,
    /// The events at which a bank was asked.
    asked: Vec<(usize, BankId)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Whole,
    Window,
    Withdrawn,
}

impl<'a> Oracle<'a> {
    fn of(history: &'a History) -> Self {
        let mut seen = BTreeSet::new();
        let mut facts = Vec::new();
        let (mut window, mut withdrawn) = (None, None);
        for (index, (event, _)) in history.happenings.iter().enumerate() {
            match event {
                Event::Reply { bank, at, appended_at, said } => {
                    if appended_at.0 <= DEADLINE && seen.insert((bank.clone(), *at)) {
                        let (bank, at, appended_at, said) = (bank.clone(), *at, *appended_at, *said);
                        facts.push(Fact { index, bank, at, appended_at, said });
                    }
                }
                Event::WindowClosed { .. } => window = window.or(Some(index)),
                Event::Withdrawn => withdrawn = withdrawn.or(Some(index)),
                Event::AskDue { .. } | Event::Released(_) | Event::HoldOver | Event::Erased => {}
            }
        }
        let closes = history.banks.iter().map(|bank| first_closing(&facts, bank).map(|fact| fact.index));
        let whole = closes.collect::<Option<Vec<_>>>().and_then(|closes| closes.into_iter().max());
        let ends = [(whole, End::Whole), (window, End::Window), (withdrawn, End::Withdrawn)];
        let end = ends.into_iter().filter_map(|(at, end)| Some((at?, end))).min_by_key(|(at, _)| *at);
        let mut oracle = Self { history, facts, end, withdrawn, asked: Vec::new() };
        for (index, (event, now)) in history.happenings.iter().enumerate() {
            if let Event::AskDue { bank } = event
                && !oracle.is_over_at(index)
                && !oracle.closed_before(bank, index)
                && oracle.next_question(bank, index).is_some_and(|due| due <= *now)
                && now.0 <= REPLY_BY
            {
                oracle.asked.push((index, bank.clone()));
            }
        }
        oracle
    }

    /// What `bank` said before `index`.
    fn facts_of<'b>(&'b self, bank: &'b BankId, before: usize) -> impl Iterator<Item = &'b Fact> {
        self.facts.iter().filter(move |fact| fact.bank == *bank && fact.index < before)
    }

    fn closed_before(&self, bank: &BankId, index: usize) -> bool {
        self.facts_of(bank, index).any(|fact| fact.closing().is_some())
    }

    fn is_over_at(&self, index: usize) -> bool {
        self.end.is_some_and(|(end, _)| index > end)
    }

    /// The report, unless the query was withdrawn before there was one.
    fn report(&self) -> Option<Final> {
        let (index, end) = self.end.filter(|(_, end)| *end != End::Withdrawn)?;
        let suspended = match &self.history.happenings[index].0 {
            Event::WindowClosed { suspended } => suspended.clone(),
            Event::Reply { .. }
            | Event::AskDue { .. }
            | Event::Withdrawn
            | Event::Released(_)
            | Event::HoldOver
            | Event::Erased => BTreeSet::new(),
        };
        let judged: Vec<_> = self
            .history
            .banks
            .iter()
            .map(|bank| (bank.clone(), self.judge(bank, index, &suspended)))
            .collect();
        let finalised_at = match end {
            End::Whole => judged
                .iter()
                .filter_map(|(_, bank)| Some(bank.reply.as_ref()?.appended_at))
                .max()
                .expect("all closed"),
            End::Window | End::Withdrawn => self.history.happenings[index].1,
        };
        let silent = judged.iter().filter(|(_, bank)| bank.outcome != BankOutcome::Answered).count();
        let kind = if silent == judged.len() {
            FinalKind::Empty
        } else if silent == 0 {
            FinalKind::AllAnswered
        } else {
            FinalKind::Partial
        };
        Some(Final { kind, finalised_at, outcomes: judged.into_iter().collect() })
    }

    /// Sorts all that may be said about a bank by precedence and takes the first.
    fn judge(&self, bank: &BankId, end: usize, suspended: &BTreeSet<BankId>) -> Outcome {
        let facts: Vec<&Fact> = self.facts_of(bank, end + 1).collect();
        let mut words = vec![(6, 0, BankOutcome::NoReply)];
        if suspended.contains(bank) {
            words.push((3, 0, BankOutcome::Suspended));
        }
        words.extend(facts.iter().map(|fact| match fact.said {
            Said::Closing(Closing::Answered, _) => (1, fact.index, BankOutcome::Answered),
            Said::Closing(Closing::Refused, _) => (1, fact.index, BankOutcome::Refused),
            Said::Invalid(_) => (4, fact.index, BankOutcome::InvalidReply),
            Said::RetryLater => (5, fact.index, BankOutcome::Unavailable),
        }));
        words.sort_by_key(|(rank, index, _)| (*rank, *index));
        let closings: Vec<Closing> = facts.iter().filter_map(|fact| fact.closing()).collect();
        let reply = first_closing(&self.facts, bank).filter(|fact| fact.index <= end).map(closed);
        Outcome { outcome: words[0].2, reply, conflict: closings.windows(2).any(|two| two[0] != two[1]) }
    }

    /// The state that a query ends in.
    fn state_matches(&self, state: &State) -> bool {
        let withdrawal = self.withdrawn.map(|index| self.history.happenings[index].1);
        match (state, withdrawal, self.report()) {
            (State::Withdrawn { at, banks }, Some(when), _) => {
                *at == when && *banks as usize == self.history.banks.len()
            }
            (State::Final(found), None, Some(expected)) => *found == expected,
            (State::Collecting(open), None, None) => self.pairs_match(open),
            (
                State::Held(_)
                | State::Collecting(_)
                | State::Final(_)
                | State::Withdrawn { .. }
                | State::Rejected(_)
                | State::Cancelled { .. }
                | State::Erased { .. },
                _,
                _,
            ) => false,
        }
    }

    fn pairs_match(&self, open: &Collecting) -> bool {
        let everything = self.history.happenings.len();
        self.history.banks.iter().eq(open.pairs.keys())
            && open.pairs.iter().all(|(bank, pair)| {
                let reply = first_closing(&self.facts, bank).map(closed);
                let attempts = self.questions(bank, everything);
                let next = if reply.is_some() { None } else { self.next_question(bank, everything) };
                pair.closed == reply && pair.attempts as usize == attempts && pair.ask_again_at == next
            })
    }

    /// How often `bank` was asked before `index`.
    fn questions(&self, bank: &BankId, before: usize) -> usize {
        self.asked.iter().filter(|(index, asked)| asked == bank && *index < before).count()
    }

    /// When an open pair is asked next: one interval after the last question or RETRY_LATER, unless somebody found
    /// it due too late.
    fn next_question(&self, bank: &BankId, before: usize) -> Option<UnixMillis> {
        let questions = self.asked.iter().filter(|(_, asked)| asked == bank).map(|(index, _)| *index);
        let retries = self.facts_of(bank, before).filter(|fact| fact.said == Said::RetryLater);
        let last = questions.chain(retries.map(|fact| fact.index)).filter(|index| *index < before).max();
        let next = last.map_or(ACCEPTED, |last| {
            let asked = self.questions(bank, last + 1).clamp(1, INTERVALS.len());
            self.history.happenings[last].1.0 + INTERVALS[asked - 1] * MINUTE
        });
        let rest = &self.history.happenings[last.map_or(0, |last| last + 1)..before];
        let given_up = rest.iter().any(|(event, now)| {
            matches!(event, Event::AskDue { bank: asked } if asked == bank) && now.0 > REPLY_BY
        });
        Some(UnixMillis(next)).filter(|next| next.0 <= REPLY_BY && !given_up)
    }

    /// Every effect of the event at `index`, counters excepted.
    fn effects(&self, index: usize) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some((_, bank)) = self.asked.iter().find(|(asked, _)| *asked == index) {
            let attempt = u32::try_from(self.questions(bank, index + 1)).expect("few");
            effects.push(Effect::Ask { bank: bank.clone(), attempt });
        }
        let chosen = self.facts.iter().any(|fact| {
            fact.index == index && fact.closing().is_some() && !self.closed_before(&fact.bank, index)
        });
        if chosen && !self.is_over_at(index) {
            effects.push(Effect::KeepSegment);
        }
        match self.end {
            Some((end, End::Whole | End::Window)) if end == index => effects.push(Effect::Report),
            Some((end, End::Withdrawn)) if end == index => {
                effects.push(Effect::Withdraw);
                let asked = self.history.banks.iter().filter(|bank| self.questions(bank, index) > 0);
                effects.extend(asked.map(|bank| Effect::Cancel { bank: bank.clone() }));
            }
            _ if self.withdrawn == Some(index) => effects.push(Effect::Withdraw),
            _ => {}
        }
        effects
    }

    /// What a reply that had no other effect may be counted as.
    fn counted(&self, index: usize) -> Vec<Counted> {
        let Event::Reply { bank, appended_at, said, .. } = &self.history.happenings[index].0 else {
            return Vec::new();
        };
        if self.withdrawn.is_some_and(|withdrawn| withdrawn < index) {
            return vec![Counted::AfterEnd];
        }
        if appended_at.0 > DEADLINE {
            return vec![Counted::Late];
        }
        if self.is_over_at(index) {
            return vec![Counted::AfterEnd, Counted::Replayed];
        }
        if !self.facts.iter().any(|fact| fact.index == index) {
            return vec![Counted::Replayed];
        }
        let first =
            first_closing(&self.facts, bank).filter(|fact| fact.index < index).and_then(Fact::closing);
        match (said, first) {
            (Said::Closing(..), None) => Vec::new(),
            (Said::Closing(again, _), Some(first)) if *again == first => vec![Counted::Duplicate],
            (Said::Closing(..), Some(_)) => vec![Counted::Conflict],
            (Said::RetryLater, None) => vec![Counted::RetryLater],
            (Said::RetryLater, Some(_)) => vec![Counted::Stale],
            (Said::Invalid(_), _) => vec![Counted::Invalid],
        }
    }
}

fn first_closing<'a>(facts: &'a [Fact], bank: &BankId) -> Option<&'a Fact> {
    facts.iter().find(|fact| fact.bank == *bank && fact.closing().is_some())
}

fn closed(fact: &Fact) -> Closed {
    match fact.said {
        Said::Closing(outcome, segment_sha256) => {
            Closed { outcome, segment_sha256, appended_at: fact.appended_at, at: fact.at }
        }
        Said::RetryLater | Said::Invalid(_) => unreachable!("only closing replies are chosen"),
    }
}

fn uncounted(effects: &[Effect]) -> Vec<Effect> {
    effects.iter().filter(|effect| !matches!(effect, Effect::Count(_))).cloned().collect()
}

/// Merges the banks' own sequences in another order; `order` chooses whose turn it is.
fn shuffle(happenings: &[Happening], mut order: u64) -> Vec<Happening> {
    let mut lanes = BTreeMap::<String, std::collections::VecDeque<Event>>::new();
    for (event, _) in happenings {
        let lane = match event {
            Event::Reply { bank, .. } | Event::AskDue { bank } => bank.to_string(),
            Event::WindowClosed { .. }
            | Event::Withdrawn
            | Event::Released(_)
            | Event::HoldOver
            | Event::Erased => String::new(),
        };
        lanes.entry(lane).or_default().push_back(event.clone());
    }
    // The clock goes on as it did: events change places, instants do not.
    let clock = happenings.iter().map(|(_, now)| *now);
    let shuffled = clock.map(|now| {
        order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let waiting: Vec<&String> =
            lanes.iter().filter(|(_, lane)| !lane.is_empty()).map(|(name, _)| name).collect();
        let turn = usize::try_from(order >> 33).expect("31 bits") % waiting.len();
        let name = waiting[turn].clone();
        let event = lanes.get_mut(&name).and_then(std::collections::VecDeque::pop_front);
        (event.expect("somebody is waiting"), now)
    });
    shuffled.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_does_what_the_whole_list_of_events_says(history in histories(22)) {
        let oracle = Oracle::of(&history);
        let played = run(&history);
        for (index, caused) in played.effects.iter().enumerate() {
            prop_assert_eq!(uncounted(caused), oracle.effects(index), "effects of event {}", index);
            let counted: Vec<Counted> = caused.iter().filter_map(|effect| match effect {
                Effect::Count(label) => Some(*label),
                Effect::KeepSegment
                | Effect::Ask { .. }
                | Effect::Cancel { .. }
                | Effect::Report
                | Effect::Withdraw
                | Effect::Release
                | Effect::RefuseRelease { .. }
                | Effect::CancelHold | Effect::Erase => None,
            }).collect();
            let expected = oracle.counted(index);
            let fits = counted.len() == usize::from(!expected.is_empty())
                && counted.iter().all(|label| expected.contains(label));
            prop_assert!(fits, "event {} was counted as {:?}, expected {:?}", index, counted, expected);
        }
        prop_assert!(oracle.state_matches(&played.query.state), "ended as {:?}", played.query.state);
        let effects = || played.effects.iter().flatten();
        let reports = effects().filter(|effect| **effect == Effect::Report).count();
        prop_assert_eq!(reports, usize::from(oracle.report().is_some()));
        prop_assert!(effects().filter(|effect| **effect == Effect::Withdraw).count() <= 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_final_report_never_changes_but_by_withdrawal(history in histories(22)) {
        let mut final_since: Option<Final> = None;
        let mut withdrawn = false;
        let mut query = fresh(&history.banks);
        for (event, now) in &history.happenings {
            withdrawn |= *event == Event::Withdrawn;
            query = apply(query, event.clone(), *now, &window()).0;
            match (&query.state, &final_since) {
                (State::Final(report), Some(first)) => prop_assert_eq!(report, first),
                (State::Final(report), None) => final_since = Some(report.clone()),
                (State::Withdrawn { .. }, _) => {}
                (State::Collecting(_), first) => prop_assert!(first.is_none()),
                (State::Rejected(_), _) => prop_assert!(false, "nobody rejected it"),
                (State::Held(_) | State::Cancelled { .. } | State::Erased { .. }, _) => prop_assert!(false, "nobody held it"),
            }
            let ended = matches!(query.state, State::Withdrawn { .. });
            prop_assert_eq!(withdrawn, ended);
        }
    }

    #[test]
    fn banks_in_another_order_make_the_same_report(history in histories(22), order in any::<u64>()) {
        let Some((end, how)) = Oracle::of(&history).end else { return Ok(()) };
        let mut before = history.clone();
        before.happenings.truncate(end + 1);
        let mut permuted = before.clone();
        let last = permuted.happenings.pop();
        permuted.happenings = shuffle(&permuted.happenings, order);
        permuted.happenings.extend(last);
        let (first, second) = (run(&before), run(&permuted));
        prop_assert_eq!(&first.query, &second.query);

        // Across the end too, what is signed stays the same when the banks themselves complete the report.
        if how == End::Whole {
            let crossing = History { happenings: shuffle(&before.happenings, order), ..before };
            let (State::Final(first), State::Final(second)) = (first.query.state, run(&crossing).query.state) else {
                return Err(TestCaseError::fail("both are final"));
            };
            prop_assert_eq!((first.kind, first.finalised_at), (second.kind, second.finalised_at));
            let signed = |report: Final| -> Vec<_> {
                report.outcomes.into_iter().map(|(bank, said)| (bank, said.outcome, said.reply)).collect()
            };
            prop_assert_eq!(signed(first), signed(second));
        }
    }

    #[test]
    fn records_delivered_again_change_nothing_but_counters(
        history in histories(20),
        again in prop::collection::vec((any::<u8>(), any::<u8>()), 1..8),
    ) {
        let mut repeated: Vec<(Happening, bool)> =
            history.happenings.iter().map(|happening| (happening.clone(), false)).collect();
        for (from, to) in again {
            let from = usize::from(from) % repeated.len();
            let to = from + 1 + usize::from(to) % (repeated.len() - from);
            let record = repeated[from].0.0.clone();
            if matches!(record, Event::Reply { .. }) {
                let now = repeated[to - 1].0.1;
                repeated.insert(to, ((record, now), true));
            }
        }
        let (happenings, is_copy): (Vec<_>, Vec<_>) = repeated.into_iter().unzip();
        let (once, twice) = (run(&history), run(&History { happenings, ..history }));
        prop_assert_eq!(once.query, twice.query);
        let (copies, originals): (Vec<_>, Vec<_>) =
            twice.effects.into_iter().zip(is_copy).partition(|(_, is_copy)| *is_copy);
        prop_assert!(copies.iter().all(|(effects, _)| uncounted(effects).is_empty()));
        let originals: Vec<_> = originals.into_iter().map(|(effects, _)| effects).collect();
        prop_assert_eq!(once.effects, originals);
    }
}

#[test]
fn the_histories_reach_every_end_and_every_count() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut reached = BTreeMap::<String, usize>::new();
    for _ in 0..5_000 {
        let history = histories(22).new_tree(&mut runner).expect("a history").current();
        let oracle = Oracle::of(&history);
        *reached.entry(format!("{:?}", oracle.end.map(|(_, end)| end))).or_default() += 1;
        let kind = oracle.report().map(|report| report.kind);
        *reached.entry(format!("{kind:?}")).or_default() += 1;
        for label in run(&history).effects.iter().flatten() {
            if let Effect::Count(label) = label {
                *reached.entry(label.as_str().to_owned()).or_default() += 1;
            }
        }
        let report = oracle.report();
        for bank in report.iter().flat_map(|report| report.outcomes.values()) {
            *reached.entry(bank.outcome.as_str_name().to_owned()).or_default() += 1;
        }
    }
    for expected in [
        "None",
        "Some(Whole)",
        "Some(Window)",
        "Some(Withdrawn)",
        "Some(AllAnswered)",
        "Some(Partial)",
        "Some(Empty)",
        "duplicate",
        "conflict",
        "late",
        "after_end",
        "replayed",
        "stale",
        "invalid",
        "retry_later",
        "BANK_OUTCOME_ANSWERED",
        "BANK_OUTCOME_REFUSED",
        "BANK_OUTCOME_SUSPENDED",
        "BANK_OUTCOME_INVALID_REPLY",
        "BANK_OUTCOME_UNAVAILABLE",
        "BANK_OUTCOME_NO_REPLY",
    ] {
        let times = reached.get(expected).copied().unwrap_or(0);
        assert!(times >= 100, "{expected} was reached {times} times of 5,000: {reached:?}");
    }
}
