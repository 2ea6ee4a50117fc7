//! Pure: when the dead letters of one topic are a flood, and when it is tried again. Time is an argument.
//!
//! ```text
//!            too many in a row, or too large a share of the window
//!   closed ──────────────────────────────────────────────────────▶ open: no dead letter is written
//!     ▲                                                              │ pause
//!     └── a window without another trip ──── on trial ◀──────────────┘
//!                                               └── as from closed ──▶ open
//! ```
//!
//! On trial the counts begin at nothing, so a flood that goes on writes at most `max_consecutive` dead letters per pause.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// Parts of the window that are forgotten at a time.
const PARTS: u32 = 20;

/// The `[dead_letters]` section of a service: when dead letters are a flood.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerConfig {
    /// Seconds over which the share is taken; also how long a topic is on trial.
    pub window_seconds: u64,
    /// Records in the window below which the share says nothing.
    pub min_records: u32,
    /// Largest share of dead letters among the window's records; 1.0: any.
    pub max_ratio: f64,
    /// Dead letters in a row that are one too many; 0: any number.
    pub max_consecutive: u32,
    /// Seconds until it is tried again.
    pub pause_seconds: u64,
}

impl Default for BreakerConfig {
    /// What the services' settings begin with.
    fn default() -> Self {
        Self { window_seconds: 60, min_records: 100, max_ratio: 0.5, max_consecutive: 100, pause_seconds: 60 }
    }
}

impl BreakerConfig {
    /// Everything that has no meaning, with dotted keys.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (key, wrong) in [
            ("window_seconds", self.window_seconds == 0),
            ("min_records", self.min_records == 0),
            ("pause_seconds", self.pause_seconds == 0),
        ] {
            if wrong {
                faults.push(format!("dead_letters.{key}: must be at least 1"));
            }
        }
        if !(self.max_ratio > 0.0 && self.max_ratio <= 1.0) {
            faults.push("dead_letters.max_ratio: must be above 0 and at most 1".to_owned());
        }
        faults
    }

    fn window(&self) -> Duration {
        Duration::from_secs(self.window_seconds)
    }

    fn pause(&self) -> Duration {
        Duration::from_secs(self.pause_seconds)
    }
}

/// Why a breaker opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trip {
    /// So many in a row.
    InARow(u32),
    /// So many of so many within the window.
    Share { dead: u32, of: u32 },
}

impl fmt::Display for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InARow(count) => write!(f, "{count} dead letters in a row"),
            Self::Share { dead, of } => write!(f, "{dead} of the last {of} records are dead letters"),
        }
    }
}

/// What a dead letter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dead {
    /// It may be written.
    Admitted,
    /// It may be written, and it is the last one.
    Tripped(Trip),
    /// It may not be written before then.
    Barred(Instant),
}

/// The breaker of one topic.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    seen: Seen,
    tripped: Option<Tripped>,
}

#[derive(Clone, Copy, Debug)]
struct Tripped {
    why: Trip,
    until: Instant,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Closed,
    Open { why: Trip, until: Instant },
    OnTrial { why: Trip },
}

impl Breaker {
    /// Where it stands at `now`.
    pub(super) fn standing(&self, limits: &BreakerConfig, now: Instant) -> Standing {
        match self.tripped {
            Some(Tripped { why, until }) if now < until => Standing::Open { why, until },
            Some(Tripped { why, until }) if now < until + limits.window() => Standing::OnTrial { why },
            Some(_) | None => Standing::Closed,
        }
    }

    /// A record of the topic was finished.
    pub(super) fn finished(&mut self, limits: &BreakerConfig, now: Instant) {
        self.seen.add(limits, now, false);
    }

    /// A record of the topic is a dead letter.
    pub(super) fn dead(&mut self, limits: &BreakerConfig, now: Instant) -> Dead {
        if let Standing::Open { until, .. } = self.standing(limits, now) {
            return Dead::Barred(until);
        }
        self.seen.add(limits, now, true);
        let Some(why) = self.seen.flood(limits) else { return Dead::Admitted };
        self.seen = Seen::default();
        self.tripped = Some(Tripped { why, until: now + limits.pause() });
        Dead::Tripped(why)
    }
}

/// What became of the records of the window.
#[derive(Debug, Default)]
struct Seen {
    parts: VecDeque<Part>,
    in_a_row: u32,
}

#[derive(Debug)]
struct Part {
    began: Instant,
    dead: u32,
    all: u32,
}

impl Seen {
    fn add(&mut self, limits: &BreakerConfig, now: Instant, dead: bool) {
        let window = limits.window();
        while self.parts.front().is_some_and(|part| now.duration_since(part.began) >= window) {
            self.parts.pop_front();
        }
        if self.parts.back().is_none_or(|part| now.duration_since(part.began) >= window / PARTS) {
            self.parts.push_back(Part { began: now, dead: 0, all: 0 });
        }
        if let Some(part) = self.parts.back_mut() {
            part.all = part.all.saturating_add(1);
            part.dead = part.dead.saturating_add(u32::from(dead));
        }
        self.in_a_row = if dead { self.in_a_row.saturating_add(1) } else { 0 };
    }

    fn flood(&self, limits: &BreakerConfig) -> Option<Trip> {
        if limits.max_consecutive > 0 && self.in_a_row >= limits.max_consecutive {
            return Some(Trip::InARow(self.in_a_row));
        }
        let sum = |count: fn(&Part) -> u32| self.parts.iter().map(count).fold(0, u32::saturating_add);
        let (dead, of) = (sum(|part| part.dead), sum(|part| part.all));
        let too_many = f64::from(dead) > limits.max_ratio * f64::from(of);
        (of >= limits.min_records && too_many).then_some(Trip::Share { dead, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BreakerConfig = BreakerConfig {
        window_seconds: 60,
        min_records: 10,
        max_ratio: 0.5,
        max_consecutive: 8,
        pause_seconds: 30,
    };

    /// Plays a script, a letter per record: `.` finished, `x` dead; a digit passes so many seconds.
    struct Play {
        breaker: Breaker,
        start: Instant,
        now: Instant,
    }

    impl Play {
        fn new() -> Self {
            let now = Instant::now();
            Self { breaker: Breaker::default(), start: now, now }
        }

        /// What each dead letter of the script did: `c` copied, `t` copied and tripped, `b` barred.
        fn run(&mut self, script: &str) -> String {
            let mut told = String::new();
            for letter in script.chars() {
                match letter {
                    '.' => self.breaker.finished(&LIMITS, self.now),
                    'x' => told.push(match self.breaker.dead(&LIMITS, self.now) {
                        Dead::Admitted => 'c',
                        Dead::Tripped(_) => 't',
                        Dead::Barred(_) => 'b',
                    }),
                    _ => self.pass(letter.to_digit(10).expect("a digit").into()),
                }
            }
            told
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        fn standing(&self) -> Standing {
            self.breaker.standing(&LIMITS, self.now)
        }
    }

    #[test]
    fn so_many_in_a_row_trip_it_and_one_that_is_finished_begins_the_row_anew() {
        let mut play = Play::new();
        assert_eq!(play.run("xxxxxxx"), "ccccccc");
        assert_eq!(play.run(".x"), "c");
        let mut play = Play::new();
        assert_eq!(play.run("xxxxxxxxxx"), "ccccccctbb");
        let until = play.start + Duration::from_secs(30);
        assert_eq!(play.standing(), Standing::Open { why: Trip::InARow(8), until });
    }

    #[test]
    fn a_share_of_the_window_trips_it_when_there_are_enough_records() {
        let mut play = Play::new();
        assert_eq!(play.run("x.x.x.x.x"), "ccccc", "nine records say nothing");
        assert_eq!(play.run("x"), "t", "six of ten are more than half");
        assert!(matches!(play.standing(), Standing::Open { why: Trip::Share { dead: 6, of: 10 }, .. }));
        assert_eq!(
            Play::new().run("x.x.x.x.x..x.x.x.x."),
            "ccccccccc",
            "half of them are not more than half"
        );
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let mut play = Play::new();
        assert_eq!(play.run("xx.xx.x"), "ccccc");
        play.pass(60);
        assert_eq!(play.run(".xx.xx"), "cccc", "with the old ones these would be nine of thirteen");
        let mut play = Play::new();
        assert_eq!(play.run("xx.xx.x"), "ccccc");
        play.pass(54);
        assert_eq!(play.run(".xx.xx"), "ctbb", "within the window they do count");
    }

    #[test]
    fn an_open_one_bars_until_its_pause_is_over_and_is_then_on_trial_for_a_window() {
        let mut play = Play::new();
        play.run("xxxxxxxx");
        play.pass(29);
        assert_eq!(play.run("x"), "b");
        play.pass(1);
        let why = Trip::InARow(8);
        assert_eq!(play.standing(), Standing::OnTrial { why });
        assert_eq!(play.run("x"), "c");
        play.pass(59);
        assert_eq!(play.standing(), Standing::OnTrial { why });
        play.pass(1);
        assert_eq!(play.standing(), Standing::Closed);
    }

    #[test]
    fn on_trial_a_flood_that_goes_on_writes_no_more_than_a_row_per_pause() {
        let mut play = Play::new();
        assert_eq!(play.run("xxxxxxxxx"), "ccccccctb");
        for _ in 0..3 {
            play.pass(30);
            assert_eq!(play.run("xxxxxxxxxxxx"), "ccccccctbbbb");
        }
    }

    #[test]
    fn what_is_finished_while_it_is_open_does_not_close_it() {
        let mut play = Play::new();
        assert_eq!(play.run("xxxxxxxx....................x"), "ccccccctb");
    }

    #[test]
    fn without_limits_nothing_trips_it() {
        let none = BreakerConfig { max_ratio: 1.0, max_consecutive: 0, ..LIMITS };
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        assert!((0..10_000).all(|_| breaker.dead(&none, now) == Dead::Admitted));
    }

    #[test]
    fn the_window_is_kept_in_few_parts_however_many_records_come() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        for ms in 0..600_000_u64 {
            seen.add(&LIMITS, start + Duration::from_millis(ms), false);
        }
        assert!(seen.parts.len() <= PARTS as usize + 1, "{}", seen.parts.len());
    }

    #[test]
    fn limits_without_meaning_are_named_by_their_keys() {
        let wrong = BreakerConfig {
            window_seconds: 0,
            min_records: 0,
            max_ratio: 0.0,
            max_consecutive: 0,
            pause_seconds: 0,
        };
        let faults = wrong.faults();
        let keys: Vec<&str> =
            faults.iter().filter_map(|fault| fault.split_once(':')).map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "dead_letters.window_seconds",
                "dead_letters.min_records",
                "dead_letters.pause_seconds",
                "dead_letters.max_ratio"
            ]
        );
        assert!(BreakerConfig { max_ratio: f64::NAN, ..LIMITS }.faults().len() == 1);
        assert!(BreakerConfig::default().faults().is_empty());
    }
}
