//! What a state change leaves behind for auditors: ids, instants, codes and digests, never content. The bytes are those of
//! [`schemas::audit::leaf`].

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::civil::Date;
use plumbing::kafka::Position;
use schemas::audit::leaf::{self, Accepted, Chosen, Outcome, Place, Word};
use schemas::audit::{Change, Leaf, Proof};
use schemas::codes::Code;
use schemas::ids::{BankId, Digest, Nonce, Reference};
use schemas::time::UnixMillis;
use schemas::wire;

use super::hold::Held;
use super::query::{Closing, Final, Query};
use super::risk::Decision;

/// The query was accepted. Names what decides later: its record, its times, and what each bank's reply must match.
pub fn registered(query: &Query) -> Leaf {
    of(&query.reference, Change::Registered(accepted(query)))
}

/// A held query was released: the same facts, of the release.
pub fn released(query: &Query) -> Leaf {
    of(&query.reference, Change::Released(accepted(query)))
}

fn accepted(query: &Query) -> Accepted {
    let pairs = query.state.collecting().map(|open| &open.pairs);
    Accepted {
        content_digest: query.content_digest,
        report_key: query.report_key,
        record: place(&query.record),
        accepted_at: query.times.accepted_at,
        reply_by: query.times.reply_by,
        deadline_at: query.times.deadline_at,
        erase_on: query.times.erase_on,
        statements: pairs
            .into_iter()
            .flatten()
            .map(|(bank, pair)| (bank.clone(), pair.statement_sha256))
            .collect(),
    }
}

/// The query waits for its release.
pub fn held(query: &Query, held: &Held) -> Leaf {
    let change = Change::Held {
        content_digest: query.content_digest,
        report_key: query.report_key,
        record: place(&query.record),
        accepted_at: query.times.accepted_at,
        release_from: held.release_from,
        release_until: held.release_until,
        code: held.code.as_str().to_owned(),
    };
    of(&query.reference, change)
}

/// The held query was not released in time.
pub fn cancelled(reference: &Reference, at: UnixMillis) -> Leaf {
    of(reference, Change::Cancelled { at })
}

/// A release in `at` was refused.
pub fn release_refused(reference: &Reference, at: &Position, code: Code) -> Leaf {
    of(reference, Change::ReleaseRefused { record: place(at), code: code.as_str().to_owned() })
}

/// What the risk table decided of the submission or release in `at`.
pub fn risk(reference: &Reference, at: &Position, seen: &wire::RiskSignals, decision: Decision) -> Leaf {
    let change = Change::Risk {
        record: place(at),
        decision: decision.as_str().to_owned(),
        pretext: seen.pretext,
        screen_shared: seen.screen_shared,
        on_call: seen.on_call,
        remote_control: seen.remote_control,
        new_device: seen.new_device,
    };
    of(reference, change)
}

/// A gate was closed.
pub fn rejected(query: &Query, code: Code) -> Leaf {
    let change = Change::Rejected {
        content_digest: query.content_digest,
        record: place(&query.record),
        accepted_at: query.times.accepted_at,
        code: code.as_str().to_owned(),
    };
    of(&query.reference, change)
}

/// The consent was withdrawn.
pub fn withdrawn(reference: &Reference, at: UnixMillis) -> Leaf {
    of(reference, Change::Withdrawn { at })
}

/// The content is gone; `erase_on` is the day whose receipt tells of it.
pub fn erased(reference: &Reference, erase_on: Date, at: UnixMillis) -> Leaf {
    of(reference, Change::Erased { erase_on, at })
}

/// The report is final. Replies enter the log here: each with the digest of what the device gets, and its place in the
/// bank's topic. `registry_offset` is the next one of the registry that the report was judged with.
pub fn finalised(
    reference: &Reference,
    report: &Final,
    coverage: &wire::Signed,
    registry_offset: i64,
) -> Leaf {
    let outcomes = report.outcomes.iter().map(|(bank, outcome)| {
        let reply = outcome.reply.as_ref().map(|reply| Chosen {
            word: match reply.outcome {
                Closing::Answered => Word::Answered,
                Closing::Refused => Word::Refused,
            },
            segment: reply.segment_sha256,
            appended_at: reply.appended_at,
            partition: reply.at.0,
            offset: reply.at.1,
        });
        (bank.clone(), Outcome { outcome: outcome.outcome.into(), conflict: outcome.conflict, reply })
    });
    let change = leaf::Final {
        state: report.wire_state().into(),
        finalised_at: report.finalised_at,
        coverage: Digest::of(&coverage.body),
        registry_offset,
        outcomes: outcomes.collect(),
    };
    of(reference, Change::Final(change))
}

/// What the banks of a final report signed, from the segments of the report, and banks of which the log can keep none of
/// that: their signed bytes hold more than the contract says, or are not there any more.
pub fn replies(
    reference: &Reference,
    report: &Final,
    segments: &BTreeMap<BankId, Bytes>,
) -> (Vec<Leaf>, Vec<BankId>) {
    let (mut proofs, mut without) = (BTreeMap::new(), Vec::new());
    for (bank, reply) in report.replies() {
        let segment = segments.get(bank).filter(|segment| Digest::of(segment) == reply.segment_sha256);
        match segment.and_then(|segment| Proof::of_segment(segment)) {
            Some(proof) => {
                proofs.insert(bank.clone(), proof);
            }
            None => without.push(bank.clone()),
        }
    }
    (Leaf::replies(reference, proofs), without)
}

/// The report was shown for a grant.
pub fn viewed(reference: &Reference, nonce: Nonce, grant: Digest, at: UnixMillis) -> Leaf {
    of(reference, Change::Viewed { nonce, grant, at })
}

/// A grant was refused and counted against its person; `reference` is what the grant names, there or not.
pub fn grant_refused(reference: &Reference, grant: Digest, code: Code, at: UnixMillis) -> Leaf {
    of(reference, Change::GrantRefused { grant, code: code.as_str().to_owned(), at })
}

fn of(reference: &Reference, change: Change) -> Leaf {
    Leaf::Query(reference.clone(), change)
}

fn place(at: &Position) -> Place {
    Place { topic: at.topic.to_string(), partition: at.partition, offset: at.offset }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::tz::TimeZone;
    use schemas::ids::KeyId;
    use schemas::time::Calendar;
    use schemas::wire::BankOutcome;

    use super::*;
    use crate::domain::hold::HoldTimes;
    use crate::domain::query::{Closed, Collecting, FinalKind, Outcome, Pair, State};
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
        for leaf in &leaves {
            assert_eq!(Leaf::decode(&leaf.encode()).as_ref(), Ok(leaf));
        }
        let digests =
            leaves.map(|leaf| format!("{} {}", leaf.id(), &Digest::of(&leaf.encode()).to_string()[..16]));
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
        assert_ne!(first.id(), leaf(2, &seen(), Decision::Warn).id());
        let mut bodies =
            std::collections::BTreeSet::from([first.encode(), leaf(1, &seen(), Decision::Hold).encode()]);
        for bit in 0..4 {
            let mut flipped = seen();
            let flags = [
                &mut flipped.screen_shared,
                &mut flipped.on_call,
                &mut flipped.remote_control,
                &mut flipped.new_device,
            ];
            *flags[bit] ^= true;
            bodies.insert(leaf(1, &flipped, Decision::Warn).encode());
        }
        for pretext in 0..12 {
            bodies.insert(leaf(1, &wire::RiskSignals { pretext, ..seen() }, Decision::Warn).encode());
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
        assert_ne!(with.encode(), without.encode());
        assert_eq!(with.id(), without.id(), "a query has one final leaf");
        let viewed = |nonce| viewed(&reference(), Nonce([nonce; 16]), Digest([2; 32]), UnixMillis(6));
        assert_ne!(viewed(1).id(), viewed(2).id());
    }
}
