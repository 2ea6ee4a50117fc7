//! A query's state as two columns: its name, and what an ended query ended with.

use std::collections::BTreeMap;

use schemas::codes::Code;
use schemas::ids::{BankId, Digest};
use schemas::time::UnixMillis;
use schemas::wire::BankOutcome;
use serde::{Deserialize, Serialize};

use super::error::Unreadable;
use crate::domain::hold::Held;
use crate::domain::query::{Closed, Closing, Collecting, Final, FinalKind, Outcome, Pair, State};

/// The column `state` of an open query.
pub(super) const COLLECTING: &str = "COLLECTING";
const HELD: &str = "HELD";
const FINAL: &str = "FINAL";
const WITHDRAWN: &str = "WITHDRAWN";
const REJECTED: &str = "REJECTED";
const CANCELLED: &str = "CANCELLED";
const ERASED: &str = "ERASED";

const ANSWERED: &str = "ANSWERED";
const REFUSED: &str = "REFUSED";

#[derive(Serialize, Deserialize)]
struct FinalData {
    kind: Kind,
    finalised_at: i64,
    banks: BTreeMap<BankId, OutcomeData>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Kind {
    AllAnswered,
    Partial,
    Empty,
}

#[derive(Serialize, Deserialize)]
struct OutcomeData {
    outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<ReplyData>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    conflict: bool,
}

#[derive(Serialize, Deserialize)]
struct ReplyData {
    outcome: String,
    segment_sha256: String,
    appended_at: i64,
    partition: i32,
    offset: i64,
}

#[derive(Serialize, Deserialize)]
struct HeldData {
    code: String,
    release_from: i64,
    /// An index and the sweep look at it.
    release_until: i64,
    banks: u32,
    read_to: BTreeMap<i32, i64>,
}

/// Of a withdrawn and of a cancelled query.
#[derive(Serialize, Deserialize)]
struct EndedData {
    at: i64,
    banks: u32,
}

#[derive(Serialize, Deserialize)]
struct ErasedData {
    at: i64,
    banks: u32,
    answered: u32,
}

#[derive(Serialize, Deserialize)]
struct RejectedData {
    code: String,
}

/// The two columns. An open query's pairs are rows of their own.
pub(super) fn encode(state: &State) -> (&'static str, Option<String>) {
    match state {
        State::Held(held) => (HELD, Some(json(&held_data(held)))),
        State::Collecting(_) => (COLLECTING, None),
        State::Final(report) => (FINAL, Some(json(&final_data(report)))),
        State::Withdrawn { at, banks } => (WITHDRAWN, Some(json(&EndedData { at: at.0, banks: *banks }))),
        State::Rejected(code) => (REJECTED, Some(json(&RejectedData { code: code.to_string() }))),
        State::Cancelled { at, banks } => (CANCELLED, Some(json(&EndedData { at: at.0, banks: *banks }))),
        State::Erased { at, banks, answered } => {
            (ERASED, Some(json(&ErasedData { at: at.0, banks: *banks, answered: *answered })))
        }
    }
}

/// The state of the two columns; `pairs` are those of an open query.
pub(super) fn decode(
    name: &str,
    data: Option<&str>,
    pairs: BTreeMap<BankId, Pair>,
) -> Result<State, Unreadable> {
    match (name, data) {
        (COLLECTING, None) => Ok(State::Collecting(Collecting { pairs })),
        (FINAL, Some(data)) => Ok(State::Final(report(parse(data)?)?)),
        (WITHDRAWN, Some(data)) => {
            let EndedData { at, banks } = parse(data)?;
            Ok(State::Withdrawn { at: UnixMillis(at), banks })
        }
        (ERASED, Some(data)) => {
            let ErasedData { at, banks, answered } = parse(data)?;
            Ok(State::Erased { at: UnixMillis(at), banks, answered })
        }
        (REJECTED, Some(data)) => {
            let RejectedData { code: name } = parse(data)?;
            Ok(State::Rejected(code(&name)?))
        }
        (HELD, Some(data)) => Ok(State::Held(held(parse(data)?)?)),
        (CANCELLED, Some(data)) => {
            let EndedData { at, banks } = parse(data)?;
            Ok(State::Cancelled { at: UnixMillis(at), banks })
        }
        _ => Err(Unreadable("state")),
    }
}

/// The column `closed_outcome`.
pub(super) fn closing_name(closing: Closing) -> &'static str {
    match closing {
        Closing::Answered => ANSWERED,
        Closing::Refused => REFUSED,
    }
}

/// The word in the column `closed_outcome`.
pub(super) fn closing(name: &str) -> Result<Closing, Unreadable> {
    match name {
        ANSWERED => Ok(Closing::Answered),
        REFUSED => Ok(Closing::Refused),
        _ => Err(Unreadable("closed_outcome")),
    }
}

fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("numbers and texts under text keys are JSON")
}

fn parse<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, Unreadable> {
    serde_json::from_str(data).map_err(|_| Unreadable("state_data"))
}

fn code(name: &str) -> Result<Code, Unreadable> {
    Code::ALL.iter().find(|known| known.as_str() == name).copied().ok_or(Unreadable("state_data: code"))
}

fn held_data(held: &Held) -> HeldData {
    HeldData {
        code: held.code.to_string(),
        release_from: held.release_from.0,
        release_until: held.release_until.0,
        banks: held.banks,
        read_to: held.read_to.clone(),
    }
}

fn held(data: HeldData) -> Result<Held, Unreadable> {
    Ok(Held {
        code: code(&data.code)?,
        release_from: UnixMillis(data.release_from),
        release_until: UnixMillis(data.release_until),
        banks: data.banks,
        read_to: data.read_to,
    })
}

fn final_data(report: &Final) -> FinalData {
    let outcome = |outcome: &Outcome| OutcomeData {
        outcome: outcome.outcome.as_str_name().to_owned(),
        reply: outcome.reply.as_ref().map(|reply| ReplyData {
            outcome: closing_name(reply.outcome).to_owned(),
            segment_sha256: reply.segment_sha256.to_string(),
            appended_at: reply.appended_at.0,
            partition: reply.at.0,
            offset: reply.at.1,
        }),
        conflict: outcome.conflict,
    };
    FinalData {
        kind: match report.kind {
            FinalKind::AllAnswered => Kind::AllAnswered,
            FinalKind::Partial => Kind::Partial,
            FinalKind::Empty => Kind::Empty,
        },
        finalised_at: report.finalised_at.0,
        banks: report.outcomes.iter().map(|(bank, of_bank)| (bank.clone(), outcome(of_bank))).collect(),
    }
}

fn report(data: FinalData) -> Result<Final, Unreadable> {
    let outcomes = data.banks.into_iter().map(|(bank, of_bank)| Ok((bank, outcome(of_bank)?)));
    Ok(Final {
        kind: match data.kind {
            Kind::AllAnswered => FinalKind::AllAnswered,
            Kind::Partial => FinalKind::Partial,
            Kind::Empty => FinalKind::Empty,
        },
        finalised_at: UnixMillis(data.finalised_at),
        outcomes: outcomes.collect::<Result<_, Unreadable>>()?,
    })
}

fn outcome(data: OutcomeData) -> Result<Outcome, Unreadable> {
    let outcome = BankOutcome::from_str_name(&data.outcome).ok_or(Unreadable("state_data: outcome"))?;
    let reply = data.reply.map(|reply| {
        Ok(Closed {
            outcome: closing(&reply.outcome)?,
            segment_sha256: digest(&reply.segment_sha256)?,
            appended_at: UnixMillis(reply.appended_at),
            at: (reply.partition, reply.offset),
        })
    });
    Ok(Outcome { outcome, reply: reply.transpose()?, conflict: data.conflict })
}

fn digest(text: &str) -> Result<Digest, Unreadable> {
    let raw = hex::decode(text).map_err(|_| Unreadable("state_data: digest"))?;
    Digest::from_bytes(&raw).map_err(|_| Unreadable("state_data: digest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_comes_back_as_it_was() {
        let reply = Closed {
            outcome: Closing::Refused,
            segment_sha256: Digest([7; 32]),
            appended_at: UnixMillis(1_795_420_800_123),
            at: (2, 1 << 40),
        };
        let bank = |id: &str| id.parse().expect("an id");
        let outcomes = BTreeMap::from([
            (bank("alpha"), Outcome { outcome: BankOutcome::Refused, reply: Some(reply), conflict: true }),
            (bank("beta"), Outcome { outcome: BankOutcome::NoReply, reply: None, conflict: false }),
        ]);
        let kinds = [FinalKind::AllAnswered, FinalKind::Partial, FinalKind::Empty];
        let finals = kinds.map(|kind| {
            State::Final(Final { kind, finalised_at: UnixMillis(9), outcomes: outcomes.clone() })
        });
        let pairs = BTreeMap::from([(bank("alpha"), Pair::new(Digest([1; 32]), None))]);
        let others = [
            State::Collecting(Collecting { pairs: pairs.clone() }),
            State::Withdrawn { at: UnixMillis(-5), banks: 14 },
            State::Rejected(Code::REGION_NOT_OPEN),
            State::Cancelled { at: UnixMillis(5), banks: 14 },
            State::Held(Held {
                code: Code::HELD_FOR_RISK,
                release_from: UnixMillis(5),
                release_until: UnixMillis(6),
                banks: 14,
                read_to: BTreeMap::from([(0, 7), (11, 1 << 40)]),
            }),
            State::Erased { at: UnixMillis(7), banks: 14, answered: 12 },
        ];
        for state in finals.into_iter().chain(others) {
            let (name, data) = encode(&state);
            let decoded = decode(name, data.as_deref(), pairs.clone()).expect("it is readable");
            assert_eq!(decoded, state);
        }
    }

    #[test]
    fn a_state_without_what_belongs_to_it_is_unreadable() {
        for (name, data) in [
            (COLLECTING, Some("{}")),
            (FINAL, None),
            (FINAL, Some("{}")),
            (WITHDRAWN, Some(r#"{"at": 1}"#)),
            (REJECTED, Some(r#"{"code": "NO_SUCH_CODE"}"#)),
            (HELD, None),
            (HELD, Some(r#"{"code": "HELD_FOR_RISK", "release_from": 1, "banks": 1, "read_to": {}}"#)),
            (CANCELLED, Some("{}")),
            ("NO_SUCH_STATE", None),
            (ERASED, Some(r#"{"at": 1, "banks": 2}"#)),
        ] {
            assert!(decode(name, data, BTreeMap::new()).is_err(), "{name} {data:?}");
        }
    }
}
