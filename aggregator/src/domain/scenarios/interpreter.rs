//! Plays scenarios. The only code of theirs that touches the rule.
//!
//! A scenario begins with `== ` and its name; `#` begins a comment. Windows have 24 h and 5 s of grace, the clock
//! starts at 08:00, and each bank has a reply topic of two partitions. A bank is a letter. An *instant* is `accepted`,
//! `reply-by` or `deadline` of the query, or `release-from` or `release-until` of a held one, with a signed span before it
//! if need be: `-1ms deadline`.
//!
//! What happens:
//!
//! - `query Q1 banks A,B [accepted <span> ago]` · `rejected Q1 <CODE>` · `withdraw Q1`, also before the query · `erase Q1`
//! - `reply Q1 A [answered|refused|retry-later|invalid] [at <partition>:<offset>] [appended <instant>]`: the record
//!   goes to the bank's topic, and the hub reads it as soon as it can
//! - `reread Q1 A` · `reread everything`: the same records are delivered again
//! - `tick <span>` · `tick to Q1 <instant>`: whatever is due in between happens at its time
//! - `hub down` · `hub up` · `stop reading A` · `go on reading A` · `leader A:0 lost` · `leader A:0 back`
//! - `suspend A` · `reinstate A`
//! - `held Q1 banks A,B`: with 2 h of cooling-off and 3 days at most
//! - `release Q1 [risky|with other content|naming another|at a closed gate <CODE>]`: the record is appended and read;
//!   `release Q1 again`: the same record is read again
//! - `ask Q1 A` · `close Q1` · `end hold Q1`: the event itself, when nothing is due
//!
//! What is expected:
//!
//! - `open Q1` · `report Q1 all` · `report Q1 partial missing A,B` · `report Q1 empty` · `withdrawn Q1` · `state Q1 <STATE>`
//! - `outcome Q1 A <OUTCOME>` · `chosen Q1 A <partition>:<offset>` · `kept Q1 A <n>` · `finalised Q1 <instant>`
//! - `sms Q1 <n>` · `told withdrawn Q1 <n>` · `told erased Q1 <n>` · `cancelled Q1 A,B` · `conflict Q1 A,B` (or `nobody`)
//! - `asked Q1 A <n>` · `asked Q1 A after <span>,<span>` · `banks Q1 <n> answered <n>`
//! - `counted <label> <n>`: in the whole scenario so far
//! - `remember Q1` and later `unchanged Q1`: nothing at all in the stored query differs
//! - `waits Q1 <CODE>`: held, and why · `released Q1 <n>` · `refused Q1 <CODE>,<CODE>`: releases so far ·
//!   `told cancelled Q1 <n>`
//! - `view Q1 [by stranger|on another device] granted` · `view Q1 … <CODE>`

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use jiff::tz::{TimeZone, offset};
use plumbing::kafka::Position;
use schemas::codes::Code;
use schemas::ids::{BankId, Digest, KeyId, Nonce, QueryId, Reference};
use schemas::time::{Calendar, UnixMillis};
use schemas::view::Grant;
use schemas::wire::{BankOutcome, QueryState};

use crate::domain::assembly::{Counted, Effect, Event, Said, apply};
use crate::domain::hold::{Held, HoldTimes, Release};
use crate::domain::query::{Closing, Collecting, Final, FinalKind, Pair, Query, State};
use crate::domain::read_past::{ReadPast, TopicPartition};
use crate::domain::risk::Decision;
use crate::domain::view::may_view;
use crate::domain::window::Window;

const PARTITIONS: [i32; 2] = [0, 1];

/// How often an overdue query is looked at again.
const SWEEP: Duration = Duration::from_secs(30);

const HOLD: HoldTimes =
    HoldTimes { cooling_off: Duration::from_secs(2 * 3600), longest: Duration::from_secs(3 * 24 * 3600) };

const COUNTED: [Counted; 8] = [
    Counted::Duplicate,
    Counted::Conflict,
    Counted::Late,
    Counted::AfterEnd,
    Counted::Replayed,
    Counted::Stale,
    Counted::Invalid,
    Counted::RetryLater,
];

/// Plays every scenario in `text`, each to its first failing line. Returns the failures.
pub(super) fn play(text: &str) -> Vec<String> {
    let mut failures = Vec::new();
    let mut names = BTreeSet::new();
    let mut current: Option<Scenario<'_>> = None;
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    for (number, line) in numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("== ") {
            failures.extend(current.take().and_then(Scenario::end));
            if !names.insert(name) {
                failures.push(format!("line {number}: two scenarios are called {name:?}"));
            }
            current = Some(Scenario { name, world: World::new(), expectations: 0, failed: false });
            continue;
        }
        let Some(scenario) = &mut current else {
            failures.push(format!("line {number}: `{line}`: it stands before any scenario"));
            continue;
        };
        failures.extend(scenario.line(number, line));
    }
    failures.extend(current.and_then(Scenario::end));
    if names.is_empty() && failures.is_empty() {
        failures.push("there is no scenario".to_owned());
    }
    failures
}

struct Scenario<'a> {
    name: &'a str,
    world: World,
    expectations: usize,
    failed: bool,
}

impl Scenario<'_> {
    fn line(&mut self, number: usize, line: &str) -> Option<String> {
        if self.failed {
            return None;
        }
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let result = match self.world.happen(&words) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.expectations += 1;
                self.world.expect(&words)
            }
            Err(complaint) => Err(complaint),
        };
        let complaint = result.err()?;
        self.failed = true;
        Some(format!("line {number} in {:?}: `{line}`: {complaint}", self.name))
    }

    fn end(self) -> Option<String> {
        (self.expectations == 0 && !self.failed).then(|| format!("{:?} expects nothing", self.name))
    }
}

/// A complaint about a line.
type Outcome<T> = Result<T, String>;

/// The broker, the hub and the clock.
struct World {
    now: UnixMillis,
    window: Window,
    hub_up: bool,
    not_read: BTreeSet<BankId>,
    lost_leaders: BTreeSet<TopicPartition>,
    suspended: BTreeSet<BankId>,
    withdrawn_first: BTreeSet<String>,
    /// Records by offset.
    topics: BTreeMap<(BankId, i32), BTreeMap<i64, Reply>>,
    progress: BTreeMap<TopicPartition, i64>,
    read_past: ReadPast,
    queries: BTreeMap<String, Followed>,
    counted: BTreeMap<&'static str, usize>,
}

#[derive(Clone)]
struct Reply {
    query: String,
    appended_at: UnixMillis,
    said: Said,
}

/// A query and everything that was done about it.
struct Followed {
    query: Query,
    remembered: Option<Query>,
    asked: BTreeMap<BankId, Vec<UnixMillis>>,
    kept: BTreeMap<BankId, usize>,
    cancelled: Vec<BankId>,
    reports: usize,
    withdrawals: usize,
    /// The chosen banks of a held query.
    chosen: BTreeSet<BankId>,
    last_release: Option<Release>,
    releases: usize,
    refused: Vec<Code>,
    cancellations: usize,
    erasures: usize,
}

impl World {
    fn new() -> Self {
        Self {
            now: UnixMillis::parse("2026-11-23T08:00:00.000Z").expect("a time"),
            window: Window {
                length: Duration::from_secs(24 * 3600),
                grace: Duration::from_secs(5),
                calendar: Calendar::Civil(TimeZone::fixed(offset(8))),
            },
            hub_up: true,
            not_read: BTreeSet::new(),
            lost_leaders: BTreeSet::new(),
            suspended: BTreeSet::new(),
            withdrawn_first: BTreeSet::new(),
            topics: BTreeMap::new(),
            progress: BTreeMap::new(),
            read_past: ReadPast::default(),
            queries: BTreeMap::new(),
            counted: COUNTED.iter().map(|label| (label.as_str(), 0)).collect(),
        }
    }

    /// Lets something happen; `false` when the line is no event.
    fn happen(&mut self, words: &[&str]) -> Outcome<bool> {
        match words {
            ["query", name, "banks", asked] => self.register(name, Duration::ZERO, &banks(asked)?)?,
            ["query", name, "banks", asked, "accepted", ago, "ago"] => {
                self.register(name, forward(ago)?, &banks(asked)?)?;
            }
            ["rejected", name, reason] => {
                let state = State::Rejected(code(reason)?);
                self.follow(name, self.now, state)?;
            }
            ["held", name, "banks", chosen] => self.hold(name, banks(chosen)?)?,
            ["release", name, options @ ..] => self.release(name, options)?,
            ["withdraw", name] if self.queries.contains_key(*name) => self.step(name, Event::Withdrawn)?,
            ["withdraw", name] => {
                self.withdrawn_first.insert((*name).to_owned());
            }
            ["reply", name, letter, options @ ..] => self.reply(name, &bank(letter)?, options)?,
            ["reread", "everything"] => {
                for (bank, partition) in self.topics.keys().cloned().collect::<Vec<_>>() {
                    self.deliver(&bank, partition, |_| true)?;
                }
            }
            ["reread", name, letter] => {
                let (bank, name) = (bank(letter)?, *name);
                let mut delivered = 0;
                for partition in PARTITIONS {
                    delivered += self.deliver(&bank, partition, |reply| reply.query == name)?;
                }
                if delivered == 0 {
                    return Err(format!("{letter} has said nothing about {name}"));
                }
            }
            ["tick", "to", name, at @ ..] => {
                let to = instant(at, &self.followed(name)?.query)?;
                self.tick(to)?;
            }
            ["tick", span] => self.tick(self.now + forward(span)?)?,
            ["hub", "down"] => self.hub_up = false,
            ["hub", "up"] => self.hub_up = true,
            ["stop", "reading", letter] => {
                self.not_read.insert(bank(letter)?);
            }
            ["go", "on", "reading", letter] => {
                self.not_read.remove(&bank(letter)?);
            }
            ["leader", partition, "lost"] => {
                self.lost_leaders.insert(topic_partition(partition)?);
            }
            ["leader", partition, "back"] => {
                self.lost_leaders.remove(&topic_partition(partition)?);
            }
            ["suspend", letter] => {
                self.suspended.insert(bank(letter)?);
            }
            ["reinstate", letter] => {
                self.suspended.remove(&bank(letter)?);
            }
            ["erase", name] => self.step(name, Event::Erased)?,
            ["ask", name, letter] => self.step(name, Event::AskDue { bank: bank(letter)? })?,
            ["close", name] => {
                let suspended = self.suspended.clone();
                self.step(name, Event::WindowClosed { suspended })?;
            }
            ["end", "hold", name] => self.step(name, Event::HoldOver)?,
            _ => return Ok(false),
        }
        self.read_on()?;
        self.sweep()?;
        Ok(true)
    }

    fn register(&mut self, name: &str, ago: Duration, banks: &BTreeSet<BankId>) -> Outcome<()> {
        let pair = || Pair::new(Digest::of(b"statement"), Some(self.now));
        let open = Collecting { pairs: banks.iter().map(|bank| (bank.clone(), pair())).collect() };
        self.follow(name, self.now.before(ago), State::Collecting(open))?;
        if self.withdrawn_first.contains(name) {
            self.step(name, Event::Withdrawn)?;
        }
        Ok(())
    }

    fn hold(&mut self, name: &str, chosen: BTreeSet<BankId>) -> Outcome<()> {
        let count = u32::try_from(chosen.len()).map_err(|_| "there are too many banks")?;
        self.follow(name, self.now, State::Held(Held::new(self.now, &HOLD, count)))?;
        self.queries.get_mut(name).ok_or("it is gone")?.chosen = chosen;
        if self.withdrawn_first.contains(name) {
            self.step(name, Event::Withdrawn)?;
        }
        Ok(())
    }

    fn release(&mut self, name: &str, options: &[&str]) -> Outcome<()> {
        let followed = self.queries.get(name).ok_or_else(|| format!("there is no query {name}"))?;
        let (now, query) = (self.now, &followed.query);
        let offset = followed.last_release.as_ref().map_or(0, |last| last.record.offset) + 1;
        let pair = || Pair::new(Digest::of(b"statement of the release"), Some(now));
        let mut release = Release {
            record: Position { offset, ..query.record.clone() },
            times: self.window.times(now),
            releases: query.content_digest,
            content_digest: query.content_digest,
            pairs: Collecting { pairs: followed.chosen.iter().map(|bank| (bank.clone(), pair())).collect() },
            judged: Ok(Decision::Allow),
            cooling_off: HOLD.cooling_off,
        };
        match options {
            [] => {}
            ["risky"] => release.judged = Ok(Decision::Hold),
            ["with", "other", "content"] => release.content_digest = Digest::of(b"other"),
            ["naming", "another"] => release.releases = Digest::of(b"another"),
            ["at", "a", "closed", "gate", gate] => release.judged = Err(code(gate)?),
            ["again"] => release = followed.last_release.clone().ok_or("nothing was released")?,
            _ => return Err(format!("a release is not {}", options.join(" "))),
        }
        self.queries.get_mut(name).ok_or("it is gone")?.last_release = Some(release.clone());
        self.step(name, Event::Released(Box::new(release)))
    }

    fn follow(&mut self, name: &str, accepted_at: UnixMillis, state: State) -> Outcome<()> {
        if !self.hub_up {
            return Err("the hub is down".to_owned());
        }
        let query = Query {
            reference: Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() },
            subject: "someone".to_owned(),
            content_digest: Digest::of(name.as_bytes()),
            report_key: KeyId([1; 16]),
            record: Position { topic: "cardquery.query.wallet.v1".into(), partition: 0, offset: 0 },
            times: self.window.times(accepted_at),
            state,
        };
        let followed = Followed {
            query,
            remembered: None,
            asked: BTreeMap::new(),
            kept: BTreeMap::new(),
            cancelled: Vec::new(),
            reports: 0,
            withdrawals: 0,
            chosen: BTreeSet::new(),
            last_release: None,
            releases: 0,
            refused: Vec::new(),
            cancellations: 0,
            erasures: 0,
        };
        match self.queries.insert(name.to_owned(), followed) {
            Some(_) => Err(format!("there is a query {name} already")),
            None => Ok(()),
        }
    }

    fn reply(&mut self, name: &str, bank: &BankId, mut options: &[&str]) -> Outcome<()> {
        let query = self.followed(name)?.query.clone();
        let (mut word, mut at, mut appended_at) = ("answered", None, self.now);
        while let [first, rest @ ..] = options {
            options = match (*first, rest) {
                ("at", [place, rest @ ..]) => {
                    at = Some(position(place)?);
                    rest
                }
                ("appended", rest) => {
                    appended_at = instant(rest, &query)?;
                    &[]
                }
                (other, rest) => {
                    word = other;
                    rest
                }
            };
        }
        let next = |partition| {
            let records = self.topics.get(&(bank.clone(), partition));
            records.and_then(BTreeMap::last_key_value).map_or(0, |(offset, _)| offset + 1)
        };
        let (partition, offset) = at.unwrap_or_else(|| (0, next(0)));
        if offset < next(partition) {
            return Err("a record is appended at the end".to_owned());
        }
        let segment = Digest::of(format!("{bank} {partition} {offset}").as_bytes());
        let said = match word {
            "answered" => Said::Closing(Closing::Answered, segment),
            "refused" => Said::Closing(Closing::Refused, segment),
            "retry-later" => Said::RetryLater,
            "invalid" => Said::Invalid(Code::SIGNATURE_INVALID),
            other => return Err(format!("a reply is not {other}")),
        };
        let reply = Reply { query: name.to_owned(), appended_at, said };
        self.topics.entry((bank.clone(), partition)).or_default().insert(offset, reply);
        Ok(())
    }

    /// Delivers records of a partition from its beginning, as a consumer that lost its place does.
    fn deliver(&mut self, bank: &BankId, partition: i32, which: impl Fn(&Reply) -> bool) -> Outcome<usize> {
        let read_to = self.progress.get(&(topic(bank), partition)).copied().unwrap_or(0);
        let records = self.topics.get(&(bank.clone(), partition)).cloned().unwrap_or_default();
        let again: Vec<_> = records.range(..read_to).filter(|(_, reply)| which(reply)).collect();
        for (offset, reply) in &again {
            self.take(bank, (partition, **offset), reply)?;
        }
        Ok(again.len())
    }

    fn read_on(&mut self) -> Outcome<()> {
        if !self.hub_up {
            return Ok(());
        }
        for ((bank, partition), records) in self.topics.clone() {
            let place = (topic(&bank), partition);
            if self.not_read.contains(&bank) || self.lost_leaders.contains(&place) {
                continue;
            }
            let from = self.progress.get(&place).copied().unwrap_or(0);
            for (offset, reply) in records.range(from..) {
                self.take(&bank, (partition, *offset), reply)?;
                self.progress.insert(place.clone(), offset + 1);
            }
        }
        Ok(())
    }

    fn take(&mut self, bank: &BankId, at: (i32, i64), reply: &Reply) -> Outcome<()> {
        let (appended_at, said) = (reply.appended_at, reply.said);
        self.step(&reply.query, Event::Reply { bank: bank.clone(), at, appended_at, said })
    }

    /// Applies one event and does what comes out.
    fn step(&mut self, name: &str, event: Event) -> Outcome<()> {
        if !self.hub_up {
            return Err("the hub is down".to_owned());
        }
        let speaker = match &event {
            Event::Reply { bank, .. } => Some(bank.clone()),
            Event::AskDue { .. }
            | Event::WindowClosed { .. }
            | Event::Withdrawn
            | Event::Released(_)
            | Event::HoldOver
            | Event::Erased => None,
        };
        let (now, window) = (self.now, self.window.clone());
        let counted = &mut self.counted;
        let followed = self.queries.get_mut(name).ok_or_else(|| format!("there is no query {name}"))?;
        let (query, effects) = apply(followed.query.clone(), event, now, &window);
        followed.query = query;
        for effect in effects {
            match effect {
                Effect::KeepSegment => {
                    let bank = speaker.clone().ok_or("a segment was kept without a reply")?;
                    *followed.kept.entry(bank).or_default() += 1;
                }
                Effect::Ask { bank, attempt } => {
                    let asked = followed.asked.entry(bank).or_default();
                    asked.push(now);
                    if asked.len() != attempt as usize {
                        return Err(format!("attempt {attempt} was number {}", asked.len()));
                    }
                }
                Effect::Cancel { bank } => followed.cancelled.push(bank),
                Effect::Report => followed.reports += 1,
                Effect::Withdraw => followed.withdrawals += 1,
                Effect::Release => followed.releases += 1,
                Effect::RefuseRelease { code, .. } => followed.refused.push(code),
                Effect::CancelHold => followed.cancellations += 1,
                Effect::Erase => followed.erasures += 1,
                Effect::Count(label) => *counted.entry(label.as_str()).or_default() += 1,
            }
        }
        Ok(())
    }

    fn tick(&mut self, to: UnixMillis) -> Outcome<()> {
        if to < self.now {
            return Err("time does not go back".to_owned());
        }
        while let Some(due) = self.next_due().filter(|due| *due <= to && self.hub_up) {
            self.now = due;
            self.sweep()?;
        }
        self.now = to;
        Ok(())
    }

    fn next_due(&self) -> Option<UnixMillis> {
        let due = self.queries.values().flat_map(|followed| match &followed.query.state {
            State::Collecting(open) => {
                let closes_at = followed.query.times.deadline_at + self.window.grace;
                let asks = open.pairs.values().filter_map(|pair| pair.ask_again_at);
                let closes = if closes_at > self.now { closes_at } else { self.now + SWEEP };
                asks.chain([closes]).collect()
            }
            State::Held(held) => vec![held.release_until + self.window.grace],
            State::Final(_)
            | State::Withdrawn { .. }
            | State::Rejected(_)
            | State::Cancelled { .. }
            | State::Erased { .. } => Vec::new(),
        });
        due.filter(|due| *due > self.now).min()
    }

    fn sweep(&mut self) -> Outcome<()> {
        if !self.hub_up {
            return Ok(());
        }
        for name in self.queries.keys().cloned().collect::<Vec<_>>() {
            let query = &self.followed(&name)?.query;
            let open = match &query.state {
                State::Collecting(open) => open,
                State::Held(held) if self.now >= held.release_until + self.window.grace => {
                    self.step(&name, Event::HoldOver)?;
                    continue;
                }
                State::Held(_)
                | State::Final(_)
                | State::Withdrawn { .. }
                | State::Rejected(_)
                | State::Cancelled { .. }
                | State::Erased { .. } => continue,
            };
            let closes_at = query.times.deadline_at + self.window.grace;
            let topics: Vec<String> = open.pairs.keys().map(topic).collect();
            let due = |pair: &Pair| pair.ask_again_at.is_some_and(|at| at <= self.now);
            let to_ask: Vec<BankId> =
                open.pairs.iter().filter(|(_, pair)| due(pair)).map(|(bank, _)| bank.clone()).collect();
            for bank in to_ask {
                self.step(&name, Event::AskDue { bank })?;
            }
            if self.now >= closes_at && self.is_read_past(&topics, closes_at) {
                let suspended = self.suspended.clone();
                self.step(&name, Event::WindowClosed { suspended })?;
            }
        }
        Ok(())
    }

    fn is_read_past(&mut self, topics: &[String], instant: UnixMillis) -> bool {
        for topic in
            topics.iter().filter(|topic| self.read_past.needs_ends(topic, instant)).collect::<Vec<_>>()
        {
            for partition in PARTITIONS {
                let place = (topic.clone(), partition);
                let end = (!self.lost_leaders.contains(&place)).then(|| self.end_of(&place));
                self.read_past.asked(place, end, self.now);
            }
        }
        self.read_past.progressed(|place| self.progress.get(place).copied().unwrap_or(0));
        self.read_past.is_past(topics.iter().map(String::as_str), instant)
    }

    fn end_of(&self, (name, partition): &TopicPartition) -> i64 {
        let records = self.topics.iter().find(|((bank, p), _)| topic(bank) == *name && p == partition);
        records.and_then(|(_, records)| records.last_key_value()).map_or(0, |(offset, _)| offset + 1)
    }

    fn followed(&self, name: &str) -> Outcome<&Followed> {
        self.queries.get(name).ok_or_else(|| format!("there is no query {name}"))
    }

    fn report(&self, name: &str) -> Outcome<&Final> {
        match &self.followed(name)?.query.state {
            State::Final(report) => Ok(report),
            other @ (State::Held(_)
            | State::Collecting(_)
            | State::Withdrawn { .. }
            | State::Rejected(_)
            | State::Cancelled { .. }
            | State::Erased { .. }) => Err(format!("it is {}", kind(other))),
        }
    }

    /// Checks what a line expects. Every line that is no event ends here.
    fn expect(&mut self, words: &[&str]) -> Outcome<()> {
        match words {
            ["open", name] => is_in("open", &self.followed(name)?.query.state),
            ["withdrawn", name] => is_in("withdrawn", &self.followed(name)?.query.state),
            ["report", name, "all"] => self.expect_report(name, FinalKind::AllAnswered, &BTreeSet::new()),
            ["report", name, "partial", "missing", missing] => {
                self.expect_report(name, FinalKind::Partial, &banks(missing)?)
            }
            ["report", name, "empty"] => {
                let everyone = self.report(name)?.outcomes.keys().cloned().collect();
                self.expect_report(name, FinalKind::Empty, &everyone)
            }
            ["state", name, state] => {
                let expected = QueryState::from_str_name(&format!("QUERY_STATE_{state}"))
                    .ok_or_else(|| format!("there is no state {state}"))?;
                same(expected, self.followed(name)?.query.wire_state())
            }
            ["outcome", name, letter, outcome] => {
                let expected = BankOutcome::from_str_name(&format!("BANK_OUTCOME_{outcome}"))
                    .ok_or_else(|| format!("there is no outcome {outcome}"))?;
                let found = self.report(name)?.outcomes.get(&bank(letter)?);
                same(expected, found.ok_or_else(|| format!("{letter} is not in the report"))?.outcome)
            }
            ["chosen", name, letter, place] => {
                let found =
                    self.report(name)?.outcomes.get(&bank(letter)?).and_then(|bank| bank.reply.as_ref());
                same(Some(position(place)?), found.map(|reply| reply.at))
            }
            ["kept", name, letter, n] => {
                same(number(n)?, self.followed(name)?.kept.get(&bank(letter)?).copied().unwrap_or(0))
            }
            ["finalised", name, at @ ..] => {
                let query = &self.followed(name)?.query;
                same(instant(at, query)?.to_string(), self.report(name)?.finalised_at.to_string())
            }
            ["sms", name, n] => same(number(n)?, self.followed(name)?.reports),
            ["waits", name, reason] => match &self.followed(name)?.query.state {
                State::Held(held) => same(code(reason)?, held.code),
                other @ (State::Collecting(_)
                | State::Final(_)
                | State::Withdrawn { .. }
                | State::Rejected(_)
                | State::Cancelled { .. }
                | State::Erased { .. }) => Err(format!("it is {}", kind(other))),
            },
            ["released", name, n] => same(number(n)?, self.followed(name)?.releases),
            ["refused", name, codes] => {
                let expected = codes.split(',').map(code).collect::<Outcome<Vec<_>>>()?;
                same(&expected, &self.followed(name)?.refused)
            }
            ["told", "cancelled", name, n] => same(number(n)?, self.followed(name)?.cancellations),
            ["told", "withdrawn", name, n] => same(number(n)?, self.followed(name)?.withdrawals),
            ["told", "erased", name, n] => same(number(n)?, self.followed(name)?.erasures),
            ["cancelled", name, who] => {
                let expected: Vec<BankId> = banks(who)?.into_iter().collect();
                let mut found = self.followed(name)?.cancelled.clone();
                found.sort();
                same(expected, found)
            }
            ["conflict", name, who] => {
                let flagged = match &self.followed(name)?.query.state {
                    State::Collecting(open) => {
                        flagged(open.pairs.iter().map(|(bank, pair)| (bank, pair.conflict)))
                    }
                    State::Final(report) => {
                        flagged(report.outcomes.iter().map(|(bank, outcome)| (bank, outcome.conflict)))
                    }
                    other @ (State::Held(_)
                    | State::Withdrawn { .. }
                    | State::Rejected(_)
                    | State::Cancelled { .. }
                    | State::Erased { .. }) => {
                        return Err(format!("it is {}", kind(other)));
                    }
                };
                same(banks(who)?, flagged)
            }
            ["asked", name, letter, "after", spans] => {
                let followed = self.followed(name)?;
                let accepted_at = followed.query.times.accepted_at;
                let expected = spans.split(',').map(forward).collect::<Outcome<Vec<_>>>()?;
                let found: Vec<Duration> = followed
                    .asked
                    .get(&bank(letter)?)
                    .into_iter()
                    .flatten()
                    .map(|at| at.since(accepted_at))
                    .collect();
                same(expected, found)
            }
            ["asked", name, letter, n] => {
                same(number(n)?, self.followed(name)?.asked.get(&bank(letter)?).map_or(0, Vec::len))
            }
            ["banks", name, asked, "answered", answered] => {
                let (found_asked, found_answered) = self.followed(name)?.query.counts();
                same((number(asked)?, number(answered)?), (found_asked as usize, found_answered as usize))
            }
            ["counted", label, n] => {
                let found =
                    self.counted.get(label).ok_or_else(|| format!("nothing is counted as {label}"))?;
                same(number(n)?, *found)
            }
            ["remember", name] => {
                let query = self.followed(name)?.query.clone();
                let followed = self.queries.get_mut(*name).ok_or("it is gone")?;
                followed.remembered = Some(query);
                Ok(())
            }
            ["unchanged", name] => {
                let followed = self.followed(name)?;
                same(followed.remembered.as_ref().ok_or("nothing was remembered")?, &followed.query)
            }
            ["view", name, expected] => self.expect_view(name, "someone", 1, expected),
            ["view", name, "by", "stranger", expected] => self.expect_view(name, "stranger", 1, expected),
            ["view", name, "on", "another", "device", expected] => {
                self.expect_view(name, "someone", 2, expected)
            }
            _ => Err("no such command".to_owned()),
        }
    }

    fn expect_report(&self, name: &str, kind: FinalKind, missing: &BTreeSet<BankId>) -> Outcome<()> {
        let report = self.report(name)?;
        let found = report.outcomes.iter().filter(|(_, bank)| bank.outcome != BankOutcome::Answered);
        let found: BTreeSet<BankId> = found.map(|(bank, _)| bank.clone()).collect();
        same((kind, missing), (report.kind, &found))
    }

    fn expect_view(&self, name: &str, subject: &str, device: u8, expected: &str) -> Outcome<()> {
        let query = self.queries.get(name).map(|followed| &followed.query);
        let reference = match query {
            Some(query) => query.reference.clone(),
            None => Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() },
        };
        let grant = Grant {
            reference,
            subject: subject.to_owned(),
            report_key: KeyId([device; 16]),
            issued_at: self.now,
            expires_at: self.now,
            nonce: Nonce([7; 16]),
        };
        match (expected, may_view(query, &grant, &self.window, self.now)) {
            ("granted", Ok(report)) => same(self.report(name)?, report),
            ("granted", Err(code)) => Err(format!("it is refused with {}", code.as_str())),
            (refused, found) => same(Err(code(refused)?), found.map(|_| ())),
        }
    }
}

fn kind(state: &State) -> &'static str {
    match state {
        State::Held(_) => "held",
        State::Collecting(_) => "open",
        State::Final(_) => "final",
        State::Withdrawn { .. } => "withdrawn",
        State::Rejected(_) => "rejected",
        State::Cancelled { .. } => "cancelled",
        State::Erased { .. } => "erased",
    }
}

fn flagged<'a>(banks: impl Iterator<Item = (&'a BankId, bool)>) -> BTreeSet<BankId> {
    banks.filter(|(_, conflict)| *conflict).map(|(bank, _)| bank.clone()).collect()
}

fn same<T: PartialEq + std::fmt::Debug>(expected: T, found: T) -> Outcome<()> {
    if expected == found { Ok(()) } else { Err(format!("expected {expected:?}, found {found:?}")) }
}

fn is_in(expected: &str, state: &State) -> Outcome<()> {
    if kind(state) == expected { Ok(()) } else { Err(format!("it is {}", kind(state))) }
}

fn topic(bank: &BankId) -> String {
    format!("cardquery.reply.{bank}.v1")
}

fn topic_partition(text: &str) -> Outcome<TopicPartition> {
    let (letter, partition) = text.split_once(':').ok_or_else(|| format!("{text} is not a partition"))?;
    let partition = partition.parse().map_err(|_| format!("{text} is not a partition"))?;
    Ok((topic(&bank(letter)?), partition))
}

fn bank(letter: &str) -> Outcome<BankId> {
    let is_letter = letter.len() == 1 && letter.bytes().all(|byte| byte.is_ascii_uppercase());
    let id = format!("bank{}", letter.to_lowercase()).parse().ok().filter(|_| is_letter);
    id.ok_or_else(|| format!("{letter} is not a bank"))
}

fn banks(list: &str) -> Outcome<BTreeSet<BankId>> {
    if list == "nobody" { Ok(BTreeSet::new()) } else { list.split(',').map(bank).collect() }
}

fn position(text: &str) -> Outcome<(i32, i64)> {
    let parts = text.split_once(':');
    let place = parts.and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?)));
    place
        .filter(|(partition, _)| PARTITIONS.contains(partition))
        .ok_or_else(|| format!("{text} is not a position"))
}

fn number(text: &str) -> Outcome<usize> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

fn code(name: &str) -> Outcome<Code> {
    Code::ALL
        .iter()
        .copied()
        .find(|code| code.as_str() == name)
        .ok_or_else(|| format!("there is no code {name}"))
}

fn span(text: &str) -> Outcome<SignedDuration> {
    text.parse().map_err(|_| format!("{text} is not a span"))
}

fn forward(text: &str) -> Outcome<Duration> {
    Duration::try_from(span(text)?).map_err(|_| format!("{text} goes back"))
}

fn instant(words: &[&str], query: &Query) -> Outcome<UnixMillis> {
    let (shift, name) = match words {
        [name] => (SignedDuration::ZERO, *name),
        [shift, name] => (span(shift)?, *name),
        _ => return Err(format!("{} is not an instant", words.join(" "))),
    };
    let Query { times, state, .. } = query;
    let at = match (name, state) {
        ("accepted", _) => times.accepted_at,
        ("reply-by", _) => times.reply_by,
        ("deadline", _) => times.deadline_at,
        ("release-from", State::Held(held)) => held.release_from,
        ("release-until", State::Held(held)) => held.release_until,
        (other, _) => return Err(format!("{other} is not an instant")),
    };
    let shifted =
        if shift.is_negative() { at.before(shift.unsigned_abs()) } else { at + shift.unsigned_abs() };
    Ok(shifted)
}
