//! What a state change leaves behind for auditors: ids, instants, codes and digests, never content.
//!
//! A leaf's body is a list of [`Fields`] in fixed order, so the same change has the same bytes whoever writes it. Its id
//! is derived from the query and the kind of change: writing it again changes nothing.

use bytes::Bytes;
use jiff::civil::Date;
use plumbing::kafka::Position;
use schemas::codes::Code;
use schemas::fields::Fields;
use schemas::ids::{Digest, MessageId, Nonce, Reference};
use schemas::time::UnixMillis;
use schemas::wire;

use super::hold::Held;
use super::query::{Closing, Final, Query, State};
use super::risk::Decision;

/// The form of every body. Never change it: bodies are evidence for years.
const FORM: &str = "audit-leaf/v1";

/// One leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Names it: derived, so that a repeat is recognised.
    pub id: MessageId,
    /// The query.
    pub reference: Reference,
    /// What is hashed into the log.
    pub body: Bytes,
}

impl Leaf {
    fn new(reference: &Reference, kind: &str, id: &str, rest: impl FnOnce(Fields) -> Fields) -> Self {
        let head = Fields::new()
            .text(FORM)
            .text(kind)
            .text(reference.upstream.as_str())
            .bytes(reference.query.as_bytes());
        Self {
            id: reference.message_id(&format!("audit/{id}")),
            reference: reference.clone(),
            body: Bytes::copy_from_slice(rest(head).as_bytes()),
        }
    }
}

/// The query was accepted. Names what decides later: its record, its times, and what each bank's reply must match.
pub fn registered(query: &Query) -> Leaf {
    accepted("registered", query)
}

/// A held query was released: the same facts, of the release.
pub fn released(query: &Query) -> Leaf {
    accepted("released", query)
}

fn accepted(kind: &str, query: &Query) -> Leaf {
    Leaf::new(&query.reference, kind, kind, |fields| {
        let fields = fields
            .bytes(&query.content_digest.0)
            .bytes(&query.report_key.0)
            .text(&query.record.topic)
            .integer(query.record.partition.cast_unsigned().into())
            .integer(query.record.offset.cast_unsigned())
            .time(query.times.accepted_at)
            .time(query.times.reply_by)
            .time(query.times.deadline_at)
            .text(&query.times.erase_on.to_string());
        match &query.state {
            State::Collecting(open) => open.pairs.iter().fold(fields, |fields, (bank, pair)| {
                fields.text(bank.as_str()).bytes(&pair.statement_sha256.0)
            }),
            State::Held(_)
            | State::Final(_)
            | State::Withdrawn { .. }
            | State::Rejected(_)
            | State::Cancelled { .. }
            | State::Erased { .. } => fields,
        }
    })
}

/// The query waits for its release.
pub fn held(query: &Query, held: &Held) -> Leaf {
    Leaf::new(&query.reference, "held", "held", |fields| {
        record(fields.bytes(&query.content_digest.0).bytes(&query.report_key.0), &query.record)
            .time(query.times.accepted_at)
            .time(held.release_from)
            .time(held.release_until)
            .text(held.code.as_str())
    })
}

/// The held query was not released in time.
pub fn cancelled(reference: &Reference, at: UnixMillis) -> Leaf {
    Leaf::new(reference, "cancelled", "cancelled", |fields| fields.time(at))
}

/// A release in `at` was refused.
pub fn release_refused(reference: &Reference, at: &Position, code: Code) -> Leaf {
    let id = format!("release-refused/{}/{}", at.partition, at.offset);
    Leaf::new(reference, "release-refused", &id, |fields| record(fields, at).text(code.as_str()))
}

/// What the risk table decided of the submission or release in `at`.
pub fn risk(reference: &Reference, at: &Position, seen: &wire::RiskSignals, decision: Decision) -> Leaf {
    let id = format!("risk/{}/{}", at.partition, at.offset);
    Leaf::new(reference, "risk", &id, |fields| {
        record(fields, at)
            .text(decision.as_str())
            .integer(i64::from(seen.pretext).cast_unsigned())
            .integer(seen.screen_shared.into())
            .integer(seen.on_call.into())
            .integer(seen.remote_control.into())
            .integer(seen.new_device.into())
    })
}

fn record(fields: Fields, at: &Position) -> Fields {
    fields.text(&at.topic).integer(at.partition.cast_unsigned().into()).integer(at.offset.cast_unsigned())
}

/// A gate was closed.
pub fn rejected(query: &Query, code: Code) -> Leaf {
    Leaf::new(&query.reference, "rejected", "rejected", |fields| {
        fields
            .bytes(&query.content_digest.0)
            .text(&query.record.topic)
            .integer(query.record.partition.cast_unsigned().into())
            .integer(query.record.offset.cast_unsigned())
            .time(query.times.accepted_at)
            .text(code.as_str())
    })
}

/// The consent was withdrawn.
pub fn withdrawn(reference: &Reference, at: UnixMillis) -> Leaf {
    Leaf::new(reference, "withdrawn", "withdrawn", |fields| fields.time(at))
}

/// The content is gone; `erase_on` is the day whose receipt tells of it.
pub fn erased(reference: &Reference, erase_on: Date, at: UnixMillis) -> Leaf {
    Leaf::new(reference, "erased", "erased", |fields| fields.text(&erase_on.to_string()).time(at))
}

/// The report is final. Replies enter the log here: each with the digest of what the device gets, and its place in the
/// bank's topic. `registry_offset` is the next one of the registry that the report was judged with.
pub fn finalised(
    reference: &Reference,
    report: &Final,
    coverage: &wire::Signed,
    registry_offset: i64,
) -> Leaf {
    Leaf::new(reference, "final", "final", |fields| {
        let fields = fields
            .integer(i32::from(report.wire_state()).cast_unsigned().into())
            .time(report.finalised_at)
            .bytes(&Digest::of(&coverage.body).0)
            .integer(registry_offset.cast_unsigned());
        report.outcomes.iter().fold(fields, |fields, (bank, outcome)| {
            let fields = fields
                .text(bank.as_str())
                .integer(i32::from(outcome.outcome).cast_unsigned().into())
                .integer(outcome.conflict.into());
            match &outcome.reply {
                Some(reply) => fields
                    .text(match reply.outcome {
                        Closing::Answered => "answered",
                        Closing::Refused => "refused",
                    })
                    .bytes(&reply.segment_sha256.0)
                    .time(reply.appended_at)
                    .integer(reply.at.0.cast_unsigned().into())
                    .integer(reply.at.1.cast_unsigned()),
                None => fields.text("none"),
            }
        })
    })
}

/// The report was shown for a grant.
pub fn viewed(reference: &Reference, nonce: Nonce, grant: Digest, at: UnixMillis) -> Leaf {
    Leaf::new(reference, "viewed", &format!("viewed/{nonce}"), |fields| {
        fields.bytes(&nonce.0).bytes(&grant.0).time(at)
    })
}

/// A grant was refused and counted against its person; `reference` is what the grant names, there or not.
pub fn grant_refused(reference: &Reference, grant: Digest, code: Code, at: UnixMillis) -> Leaf {
    Leaf::new(reference, "grant-refused", &format!("grant-refused/{grant}"), |fields| {
        fields.bytes(&grant.0).text(code.as_str()).time(at)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use jiff::tz::TimeZone;
    use schemas::ids::KeyId;
    use schemas::time::Calendar;
    use schemas::wire::BankOutcome;

    use super::*;
    use crate::domain::hold::HoldTimes;
    use crate::domain::query::{Closed, Collecting, FinalKind, Outcome, Pair};
    use crate::domain::window::Window;

    fn reference() -> Reference {
        let id = "0192f0c1-2d3e-7000-8000-000000000001".parse().expect("a version 7 id");
        Reference { upstream: "wallet".parse().expect("an id"), query: id }
    }

    fn query() -> Query {
        let window = Window {
            length: Duration::from_secs(24 * 3600),
            grace: Duration::from_secs(5),
            calendar: Calendar::Civil(TimeZone::UTC),
        };
        let pairs = BTreeMap::from([("alpha".parse().expect("an id"), Pair::new(Digest([4; 32]), None))]);
        Query {
            reference: reference(),
            subject: "subject".into(),
            content_digest: Digest([5; 32]),
            report_key: KeyId([6; 16]),
            record: Position { topic: "cardquery.query.wallet.v1".into(), partition: 3, offset: 42 },
            times: window.times(UnixMillis(1_795_420_800_000)),
            state: State::Collecting(Collecting { pairs }),
        }
    }

    fn report(conflict: bool) -> Final {
        let reply = Closed {
            outcome: Closing::Answered,
            segment_sha256: Digest([3; 32]),
            appended_at: UnixMillis(7),
            at: (2, 9),
        };
        let outcome = Outcome { outcome: BankOutcome::Answered, reply: Some(reply), conflict };
        let silent = Outcome { outcome: BankOutcome::NoReply, reply: None, conflict: false };
        Final {
            kind: FinalKind::Partial,
            finalised_at: UnixMillis(8),
            outcomes: BTreeMap::from([
                ("alpha".parse().expect("an id"), outcome),
                ("beta".parse().expect("an id"), silent),
            ]),
        }
    }

    fn hold() -> Held {
        let times = HoldTimes { cooling_off: Duration::from_secs(1), longest: Duration::from_secs(2) };
        Held::new(UnixMillis(1_795_420_800_000), &times, 1)
    }

    fn seen() -> wire::RiskSignals {
        wire::RiskSignals { on_call: true, pretext: wire::Pretext::None.into(), ..Default::default() }
    }

    #[test]
    fn bodies_keep_their_bytes() {
        let coverage = wire::Signed { body: Bytes::from_static(b"coverage"), ..Default::default() };
        let leaves = [
            registered(&query()),
            rejected(&query(), Code::REGION_NOT_OPEN),
            withdrawn(&reference(), UnixMillis(5)),
            viewed(&reference(), Nonce([1; 16]), Digest([2; 32]), UnixMillis(6)),
            finalised(&reference(), &report(false), &coverage, 12),
            grant_refused(&reference(), Digest([2; 32]), Code::DEVICE_MISMATCH, UnixMillis(6)),
            held(&query(), &hold()),
            released(&query()),
            release_refused(&reference(), &query().record, Code::HOLD_NOT_OVER),
            cancelled(&reference(), UnixMillis(5)),
            risk(&reference(), &query().record, &seen(), Decision::Warn),
            erased(&reference(), query().times.erase_on, UnixMillis(9)),
        ];
        let digests = leaves.map(|leaf| format!("{} {}", leaf.id, &Digest::of(&leaf.body).to_string()[..16]));
        assert_eq!(
            digests,
            [
                "c9f335a8f73bf3f2509bc14faf346817 478e36db218d040f",
                "9326c82a3ba8267646e09fded8b35149 78afa630a4fbc852",
                "5ea1b20fff7bc542aa8360c47beb1f05 d782f9e96a6048a0",
                "b762de65d5c4ffe04f8d5ba2a361cc6e f87ff5f3bc2955fa",
                "585a3d92d58aea1bfedeb1781a41bad5 98d183b883370513",
                "0f8c38b1e88baabd92fbe58e3286ee33 d788521ebc078468",
                "e1cf73bc3ead326ec07fd257c4a5d018 c73413a3eb622e31",
                "e78eaef177aa2d4f0bde843d27a69f6a e90e82d7e5f8947f",
                "f6218c0609d6cf0ef584294473c9c88b 413d654b4f87ed16",
                "32091e15e1b705653b6da1224b8a4fda 8e72e4080a86358a",
                "63e703887ee56654ddce308b78578279 fd20ba7c1ba3bb66",
                "74ee856bfe2deac774efb06d87b4336f 71a916cdcdb344d6",
            ]
        );
    }

    #[test]
    fn every_decision_of_the_risk_table_has_a_leaf_of_its_own_that_says_what_was_seen() {
        let leaf = |offset, seen: &wire::RiskSignals, decision| {
            let at = Position { offset, ..query().record };
            risk(&reference(), &at, seen, decision)
        };
        let first = leaf(1, &seen(), Decision::Warn);
        assert_ne!(first.id, leaf(2, &seen(), Decision::Warn).id);
        let mut bodies =
            std::collections::BTreeSet::from([first.body, leaf(1, &seen(), Decision::Hold).body]);
        for bit in 0..4 {
            let mut flipped = seen();
            let flags = [
                &mut flipped.screen_shared,
                &mut flipped.on_call,
                &mut flipped.remote_control,
                &mut flipped.new_device,
            ];
            *flags[bit] ^= true;
            bodies.insert(leaf(1, &flipped, Decision::Warn).body);
        }
        for pretext in 0..12 {
            bodies.insert(leaf(1, &wire::RiskSignals { pretext, ..seen() }, Decision::Warn).body);
        }
        // The answer of `seen` is one of the twelve.
        assert_eq!(bodies.len(), 2 + 4 + 11);
    }

    #[test]
    fn a_conflict_and_another_grant_make_another_leaf() {
        let coverage = wire::Signed::default();
        let (with, without) = (
            finalised(&reference(), &report(true), &coverage, 1),
            finalised(&reference(), &report(false), &coverage, 1),
        );
        assert_ne!(with.body, without.body);
        assert_eq!(with.id, without.id, "a query has one final leaf");
        let viewed = |nonce| viewed(&reference(), Nonce([nonce; 16]), Digest([2; 32]), UnixMillis(6));
        assert_ne!(viewed(1).id, viewed(2).id);
    }
}
