use super::*;

const CODE: Code = Code::GATEWAY_OUTCOME_UNKNOWN;
const NOW: UnixMillis = UnixMillis(1_000);
const LEASE: Duration = Duration::from_millis(50);
const OLD: Claimant = Claimant(Uuid::nil());
const NEW: Claimant = Claimant(Uuid::max());

const NONE: Means = Means {
    idempotent: false,
    inquiries: false,
    first: Duration::from_millis(5),
    longest: Duration::from_millis(20),
    give_up: Duration::from_millis(60),
};
const ASKED: Means = Means { inquiries: true, ..NONE };

fn sent() -> Outcome {
    Outcome::Sent { gateway_id: "g-1".into() }
}

/// The whole table: rows are what is known, columns the events named above them. Every row is at attempt 2, and so is
/// the event, unless its name says otherwise; a state with an apostrophe is at attempt 3. `waits` was not sent so far,
/// `doubt` may have been; both are due, and `later` is not. `ask` events are those of a gateway that can be asked.
#[test]
fn the_table_of_states_and_events_is_the_published_one() {
    let text = "
        state       claim       again       release     sent        failed      unknown     open        open-3    early-sent  early-failed release-1
        pending     claimed'    claimed'    pending     sent        failed      unknown     pending     unknown'  sent        pending      pending
        waits       claimed'    claimed'    waits       sent        failed      unknown     waits       unknown'  sent        waits        waits
        later       later       later       later       sent        failed      unknown     later       unknown'  sent        later        later
        doubt       doubt       claimed'    doubt       sent        failed      unknown     doubt       unknown'  sent        doubt        doubt
        claimed     claimed     claimed     pending     sent        failed      unknown     claimed     unknown'  sent        claimed      claimed
        lapsed      unknown     claimed'    pending     sent        failed      unknown     unknown     unknown'  sent        lapsed       lapsed
        sent        sent        sent        sent        sent        sent        sent        sent        sent'     sent        sent         sent
        delivered   delivered   delivered   delivered   delivered   delivered   delivered   delivered   delivered' delivered  delivered    delivered
        undelivered undelivered undelivered undelivered undelivered undelivered undelivered undelivered undelivered' undelivered undelivered undelivered
        failed      failed      failed      failed      sent        failed      failed      failed      failed'   sent        failed       failed
        unknown     unknown     claimed'    unknown     sent        failed      unknown     unknown     unknown'  sent        unknown      unknown
    ";
    check(text);
    let text = "
        state       defer       defer-late  defer-1     unsure      ask         lapse       ask-lapse   ask-open-3  give-up     arrived     lost        give-up-1
        pending     pending     pending     pending     unknown     later       pending     pending     doubt'      failed      delivered   undelivered pending
        waits       waits       waits       waits       unknown     later       waits       waits       doubt'      failed      delivered   undelivered waits
        doubt       doubt       doubt       doubt       unknown     later       doubt       doubt       doubt'      unknown     delivered   undelivered doubt
        claimed     later       failed      claimed     unknown     later       claimed     claimed     doubt'      failed      delivered   undelivered claimed
        lapsed      later       failed      lapsed      unknown     later       unknown     doubt       doubt'      failed      delivered   undelivered lapsed
        sent        sent        sent        sent        sent        sent        sent        sent        sent'       sent        delivered   undelivered sent
        delivered   delivered   delivered   delivered   delivered   delivered   delivered   delivered   delivered'  delivered   delivered   delivered   delivered
        undelivered undelivered undelivered undelivered undelivered undelivered undelivered undelivered undelivered' undelivered delivered   undelivered undelivered
        failed      failed      failed      failed      failed      failed      failed      failed      failed'     failed      delivered   undelivered failed
        unknown     unknown     unknown     unknown     unknown     unknown     unknown     unknown     unknown'    unknown     delivered   undelivered unknown
    ";
    check(text);
}

fn check(text: &str) {
    let mut rows = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let columns: Vec<&str> = rows.next().expect("a head").split_whitespace().skip(1).collect();
    for row in rows {
        let mut cells = row.split_whitespace();
        let state = cells.next().expect("a state");
        let expected: Vec<&str> = cells.collect();
        let names = columns.iter().map(|column| name(&apply(known(state), event(column), NOW)));
        let names: Vec<String> = names.collect();
        for ((column, expected), name) in columns.iter().zip(&expected).zip(&names) {
            assert_eq!(name, expected, "{state}, {column}");
        }
        assert_eq!(expected.len(), columns.len(), "{state}");
    }
}

fn doubt() -> Evidence {
    let mut evidence = Evidence::default();
    evidence.add(UnixMillis(NOW.0 - 1), Step::Send, Said::Timeout);
    evidence
}

fn known(name: &str) -> Sms {
    let claimed = |until| State::Claimed { claimant: OLD, until };
    let (state, evidence) = match name {
        "pending" => (State::Pending, Evidence::default()),
        "waits" => (State::Waiting { due: NOW }, Evidence::default()),
        "later" => (State::Waiting { due: UnixMillis(NOW.0 + 1) }, Evidence::default()),
        "doubt" => (State::Waiting { due: NOW }, doubt()),
        "claimed" => (claimed(UnixMillis(NOW.0 + 1)), Evidence::default()),
        "lapsed" => (claimed(NOW), Evidence::default()),
        outcome => (State::Ended(outcome_of(outcome)), Evidence::default()),
    };
    Sms { attempt: 2, state, evidence }
}

fn name(sms: &Sms) -> String {
    let name = match &sms.state {
        State::Pending => "pending",
        State::Waiting { due } if *due > NOW => "later",
        State::Waiting { .. } => {
            if sms.evidence.is_doubt() {
                "doubt"
            } else {
                "waits"
            }
        }
        State::Claimed { claimant, until } if *claimant == NEW => {
            assert_eq!(*until, NOW + LEASE);
            "claimed"
        }
        State::Claimed { until, .. } => {
            if *until > NOW {
                "claimed"
            } else {
                "lapsed"
            }
        }
        State::Ended(Outcome::Sent { .. }) => "sent",
        State::Ended(Outcome::Delivered) => "delivered",
        State::Ended(Outcome::Undelivered) => "undelivered",
        State::Ended(Outcome::Failed { .. }) => "failed",
        State::Ended(Outcome::Unknown { .. }) => "unknown",
    };
    let mark = match sms.attempt {
        2 => "",
        3 => "'",
        other => panic!("attempt {other}"),
    };
    format!("{name}{mark}")
}

fn outcome_of(name: &str) -> Outcome {
    match name {
        "sent" => sent(),
        "delivered" => Outcome::Delivered,
        "undelivered" => Outcome::Undelivered,
        "failed" => Outcome::Failed { code: CODE },
        "unknown" => Outcome::Unknown { code: CODE },
        other => panic!("{other} is no outcome"),
    }
}

fn terms(means: Means, quiet: Option<QuietHours>) -> Terms {
    Terms { claimant: NEW, means, lease: LEASE, quiet }
}

fn event(name: &str) -> Event {
    let defer = |attempt, expires| {
        let wait = Duration::from_millis(10);
        Event::Defer { attempt, wait, expires: UnixMillis(expires), means: NONE }
    };
    let unsure = |means| Event::Unsure { attempt: 2, step: Step::Inquiry, said: Said::Open, means };
    match name {
        "claim" => Event::Claim(terms(NONE, None)),
        "again" => Event::Claim(terms(Means { idempotent: true, ..NONE }, None)),
        "release" => Event::Release { attempt: 2 },
        "release-1" => Event::Release { attempt: 1 },
        "defer" => defer(2, NOW.0 + 10),
        "defer-late" => defer(2, NOW.0 + 9),
        "defer-1" => defer(1, i64::MAX),
        "unsure" => unsure(NONE),
        "ask" => unsure(ASKED),
        "lapse" => Event::Lapse(NONE),
        "ask-lapse" => Event::Lapse(ASKED),
        "ask-open-3" => Event::Told(Told { attempt: 3, outcome: None }, ASKED),
        "give-up" => Event::GiveUp { attempt: 2, code: CODE },
        "give-up-1" => Event::GiveUp { attempt: 1, code: CODE },
        "arrived" => Event::Receipt(Outcome::Delivered),
        "lost" => Event::Receipt(Outcome::Undelivered),
        "open" => Event::Told(Told { attempt: 2, outcome: None }, NONE),
        "open-3" => Event::Told(Told { attempt: 3, outcome: None }, NONE),
        "early-sent" => Event::End { attempt: 1, outcome: sent() },
        "early-failed" => Event::End { attempt: 1, outcome: outcome_of("failed") },
        outcome => Event::End { attempt: 2, outcome: outcome_of(outcome) },
    }
}

#[test]
fn what_the_topic_says_of_an_outcome_counts_as_the_outcome_itself() {
    let outcomes = ["sent", "delivered", "undelivered", "failed", "unknown"];
    for state in ["pending", "waits", "doubt", "claimed", "lapsed"].into_iter().chain(outcomes) {
        for outcome in outcomes.map(outcome_of) {
            for attempt in 1..4 {
                let told = Event::Told(Told { attempt, outcome: Some(outcome.clone()) }, NONE);
                let ended = Event::End { attempt, outcome: outcome.clone() };
                assert_eq!(apply(known(state), told, NOW), apply(known(state), ended, NOW));
            }
        }
    }
}

#[test]
fn in_quiet_hours_nothing_is_claimed_and_the_claim_waits_for_their_end() {
    let time = |text: &str| text.parse().expect("a time");
    let quiet = QuietHours::new(time("00:00"), time("06:00"), jiff::tz::TimeZone::UTC);
    let six = UnixMillis(6 * 3_600_000);
    for state in ["pending", "waits"] {
        let sms = apply(known(state), Event::Claim(terms(NONE, quiet.clone())), NOW);
        assert_eq!(sms, Sms { state: State::Waiting { due: six }, ..known(state) });
        let early = apply(sms.clone(), Event::Claim(terms(NONE, quiet.clone())), UnixMillis(six.0 - 1));
        assert_eq!(early, sms);
        let sms = apply(sms, Event::Claim(terms(NONE, quiet.clone())), six);
        assert!(matches!(sms, Sms { attempt: 3, state: State::Claimed { .. }, .. }), "{sms:?}");
    }
}

/// A first attempt that may have been sent is not forgotten when a later one was certainly not taken.
#[test]
fn doubt_outlives_every_later_attempt() {
    let again = Means { idempotent: true, ..NONE };
    let sms = apply(known("doubt"), Event::Claim(terms(again, None)), NOW);
    let expires = UnixMillis(NOW.0 + 5);
    let defer = Event::Defer { attempt: 3, wait: Duration::from_millis(10), expires, means: again };
    let sms = apply(sms, defer, NOW);
    assert_eq!((sms.state, sms.evidence), (State::Ended(UNFINISHED), doubt()));

    // Nor when there is no way to make a later one.
    let sms = apply(known("doubt"), Event::Claim(terms(again, None)), NOW);
    let sms = apply(sms, Event::GiveUp { attempt: 3, code: Code::CONTACT_UNREADABLE }, NOW);
    assert_eq!(sms.state, State::Ended(UNFINISHED));
}

#[test]
fn without_an_answer_it_is_given_up_when_the_time_for_questions_is_over() {
    let mut sms = known("claimed");
    let (mut now, mut asked) = (NOW, Vec::new());
    loop {
        let event = Event::Unsure { attempt: 2, step: Step::Inquiry, said: Said::Open, means: ASKED };
        sms = apply(sms, event, now);
        match sms.state {
            State::Waiting { due } => {
                asked.push(due.0 - NOW.0);
                now = due;
            }
            State::Ended(outcome) => break assert_eq!(outcome, UNFINISHED),
            State::Pending | State::Claimed { .. } => panic!("neither waits nor is over"),
        }
    }
    assert_eq!(asked, [5, 15, 35, 55, 60]);
    assert_eq!(sms.evidence.answers().len(), 6);
}

#[test]
fn a_claim_that_no_row_knows_is_unknown() {
    let told = Event::Told(Told { attempt: 1, outcome: None }, NONE);
    let sms = apply(Sms::default(), told, NOW);
    assert_eq!((sms.attempt, sms.state), (1, State::Ended(UNFINISHED)));
    assert!(sms.evidence.is_doubt());
}

#[test]
fn the_out_id_is_the_same_for_every_attempt_and_another_for_every_query() {
    let query = schemas::ids::QueryId::generate();
    let reference = |upstream: &str| Reference { upstream: upstream.parse().expect("an id"), query };
    assert_eq!(out_id(&reference("wallet")), out_id(&reference("wallet")));
    assert_ne!(out_id(&reference("wallet")), out_id(&reference("other")));
}
