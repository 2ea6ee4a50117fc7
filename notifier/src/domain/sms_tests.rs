use super::*;

const CODE: Code = Code::GATEWAY_OUTCOME_UNKNOWN;
const NOW: UnixMillis = UnixMillis(1_000);
const LEASE: Duration = Duration::from_millis(50);
const OLD: Claimant = Claimant(Uuid::nil());
const NEW: Claimant = Claimant(Uuid::max());

fn sent() -> Outcome {
    Outcome::Sent { gateway_id: Some("g-1".into()) }
}

/// The whole table: rows are what is known, columns the events named above them. Every row is at attempt 2, and so is
/// the event, unless its name says otherwise; a state with an apostrophe is at attempt 3.
#[test]
fn the_table_of_states_and_events_is_the_published_one() {
    let text = "
        state    claim    again    release  sent    failed  unknown  open     open-3    early-sent  early-failed  release-1
        pending  claimed' claimed' pending  sent    failed  unknown  pending  unknown'  sent        pending       pending
        claimed  claimed  claimed  pending  sent    failed  unknown  claimed  unknown'  sent        claimed       claimed
        lapsed   unknown  claimed' pending  sent    failed  unknown  unknown  unknown'  sent        lapsed        lapsed
        sent     sent     sent     sent     sent    sent    sent     sent     sent'     sent        sent          sent
        failed   failed   failed   failed   sent    failed  failed   failed   failed'   sent        failed        failed
        unknown  unknown  claimed' unknown  sent    failed  unknown  unknown  unknown'  sent        unknown       unknown
    ";
    let mut rows = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let columns: Vec<&str> = rows.next().expect("a head").split_whitespace().skip(1).collect();
    let mut seen = 0;
    for row in rows {
        let mut cells = row.split_whitespace();
        let state = cells.next().expect("a state");
        for (column, expected) in columns.iter().zip(cells) {
            let next = apply(known(state), event(column), NOW);
            assert_eq!(name(&next), expected, "{state}, {column}: {next:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 66);
}

fn known(name: &str) -> Sms {
    let claimed = |until| State::Claimed { claimant: OLD, until };
    let state = match name {
        "pending" => State::Pending,
        "claimed" => claimed(UnixMillis(NOW.0 + 1)),
        "lapsed" => claimed(NOW),
        outcome => State::Ended(outcome_of(outcome)),
    };
    Sms { attempt: 2, state }
}

fn name(sms: &Sms) -> String {
    let name = match &sms.state {
        State::Pending => "pending",
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
        "failed" => Outcome::Failed { code: CODE },
        "unknown" => Outcome::Unknown { code: CODE },
        other => panic!("{other} is no outcome"),
    }
}

fn event(name: &str) -> Event {
    let claim = |idempotent| Event::Claim(Terms { claimant: NEW, idempotent, lease: LEASE });
    match name {
        "claim" => claim(false),
        "again" => claim(true),
        "release" => Event::Release { attempt: 2 },
        "release-1" => Event::Release { attempt: 1 },
        "open" => Event::Told(Told { attempt: 2, outcome: None }),
        "open-3" => Event::Told(Told { attempt: 3, outcome: None }),
        "early-sent" => Event::End { attempt: 1, outcome: sent() },
        "early-failed" => Event::End { attempt: 1, outcome: outcome_of("failed") },
        outcome => Event::End { attempt: 2, outcome: outcome_of(outcome) },
    }
}

#[test]
fn what_the_topic_says_of_an_outcome_counts_as_the_outcome_itself() {
    for state in ["pending", "claimed", "lapsed", "sent", "failed", "unknown"] {
        for outcome in ["sent", "failed", "unknown"].map(outcome_of) {
            for attempt in 1..4 {
                let told = Event::Told(Told { attempt, outcome: Some(outcome.clone()) });
                let ended = Event::End { attempt, outcome: outcome.clone() };
                assert_eq!(apply(known(state), told, NOW), apply(known(state), ended, NOW));
            }
        }
    }
}

#[test]
fn a_claim_that_no_row_knows_is_unknown() {
    let told = Event::Told(Told { attempt: 1, outcome: None });
    assert_eq!(apply(Sms::default(), told, NOW), Sms { attempt: 1, state: State::Ended(UNFINISHED) });
}

#[test]
fn a_delivery_receipt_does_not_hide_the_gateways_id() {
    let known = Sms { attempt: 1, state: State::Ended(sent()) };
    let receipt = Event::End { attempt: 1, outcome: Outcome::Sent { gateway_id: None } };
    assert_eq!(apply(known.clone(), receipt, NOW), known);
}

#[test]
fn the_out_id_is_the_same_for_every_attempt_and_another_for_every_query() {
    let query = schemas::ids::QueryId::generate();
    let reference = |upstream: &str| Reference { upstream: upstream.parse().expect("an id"), query };
    assert_eq!(out_id(&reference("wallet")), out_id(&reference("wallet")));
    assert_ne!(out_id(&reference("wallet")), out_id(&reference("other")));
}
