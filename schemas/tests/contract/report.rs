//! What a device makes of a report when the hub lies.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use schemas::codes::Code;
use schemas::ids::{BankId, Digest};
use schemas::registry::SeenVersions;
use schemas::reply::Word;
use schemas::report::{Coverage, OpenedReport};
use schemas::time::UnixMillis;
use schemas::wire::{self, BankOutcome, QueryState};

use crate::world::{self, ACCEPTED, DEADLINE, Query};

struct Case {
    query: Query,
    segments: BTreeMap<BankId, Bytes>,
    coverage: Coverage,
    report: wire::Report,
}

impl Case {
    /// All three banks answered with one card each.
    fn new() -> Self {
        let query = world::query("wallet", 1, &world::BANKS);
        let segments = world::BANKS
            .map(|bank| {
                (world::bank_id(bank), segment(&query, bank, query.answered(bank, &world::answer(1))))
            })
            .into();
        let (coverage, report) = world::report_over(&query, &segments);
        let case = Self { query, segments, coverage, report };
        assert!(case.view(&case.report).complete);
        case
    }

    fn view(&self, report: &wire::Report) -> OpenedReport {
        world::view(&self.query, report).expect("a readable report")
    }

    fn signed(&self, change: impl FnOnce(&mut Coverage)) -> wire::Report {
        let mut coverage = self.coverage.clone();
        change(&mut coverage);
        world::wire_report(&coverage, self.segments.values().cloned().collect())
    }

    /// The report in which alpha's segment is this one, as the hub would sign it.
    fn with_segment(&self, segment: Bytes, outcome: BankOutcome) -> OpenedReport {
        let mut report = self.signed(|coverage| {
            coverage.banks.insert(world::bank_id("alpha"), (outcome, Some(Digest::of(&segment))));
        });
        report.segments.push(segment);
        self.view(&report)
    }
}

fn segment(query: &Query, bank: &str, word: Word) -> Bytes {
    let record = world::reply_to(query, bank, word).encode_to_vec();
    world::believe(query, bank, record.into(), &world::registry()).expect("believed").segment
}

fn answer_of(answer: &wire::Answer) -> OpenedReport {
    let case = Case::new();
    let segment = segment(&case.query, "alpha", case.query.answered("alpha", answer));
    case.with_segment(segment, BankOutcome::Answered)
}

#[test]
fn a_whole_report_shows_every_answer_with_the_banks_words() {
    let case = Case::new();
    let opened = case.view(&case.report);
    assert_eq!(opened.coverage, case.coverage);
    for bank in &opened.banks {
        assert_eq!(bank.verified, Some(Ok(())));
        assert_eq!(bank.answer, Some(world::answer(1)));
        assert_eq!(bank.texts, world::bank_entry(bank.bank.as_str()).bank_texts);
    }
}

#[test]
fn a_dropped_segment_is_seen() {
    let case = Case::new();
    let mut report = case.report.clone();
    report.segments.remove(0);
    let opened = case.view(&report);
    assert!(!opened.complete);
    assert_eq!(opened.banks[0].verified, Some(Err(Code::DIGEST_MISMATCH)));
    assert_eq!(opened.banks[1].verified, Some(Ok(())), "one bad segment does not hide the others");

    // With a coverage that names no segment although the bank answered.
    for outcome in [BankOutcome::Answered, BankOutcome::Refused] {
        let report = case.signed(|coverage| {
            coverage.banks.insert(world::bank_id("alpha"), (outcome, None));
        });
        let opened = case.view(&report);
        assert!(!opened.complete);
        assert_eq!(opened.banks[0].verified, Some(Err(Code::DIGEST_MISMATCH)), "{outcome:?}");
    }
}

#[test]
fn a_swapped_outcome_or_segment_is_seen() {
    let case = Case::new();
    let (alpha, beta) = (world::bank_id("alpha"), world::bank_id("beta"));
    for outcome in [
        BankOutcome::Refused,
        BankOutcome::NoReply,
        BankOutcome::Unavailable,
        BankOutcome::Suspended,
        BankOutcome::InvalidReply,
        BankOutcome::Unspecified,
    ] {
        let opened = case.with_segment(case.segments[&alpha].clone(), outcome);
        assert!(!opened.complete);
        assert_eq!(opened.banks[0].verified, Some(Err(Code::OUTCOME_INVALID)), "{outcome:?}");
    }
    let opened = case.with_segment(case.segments[&beta].clone(), BankOutcome::Answered);
    assert_eq!(opened.banks[0].verified, Some(Err(Code::KEY_UNKNOWN)), "the key is beta's");
    assert!(!opened.complete);

    // A bank whose answer the hub keeps back is a bank without an answer, by the hub's signed word.
    let report = case.signed(|coverage| {
        coverage.banks.insert(alpha.clone(), (BankOutcome::NoReply, None));
        coverage.state = QueryState::FinalPartial;
    });
    let opened = case.view(&report);
    assert!(!opened.complete && opened.banks[0].answer.is_none() && opened.banks[0].verified.is_none());

    // The answer to another query of the same person and bank, and a word that is no outcome.
    let other = world::query("wallet", 2, &world::BANKS);
    let stale = segment(&other, "alpha", other.answered("alpha", &world::answer(0)));
    let opened = case.with_segment(stale, BankOutcome::Answered);
    assert_eq!(opened.banks[0].verified, Some(Err(Code::STATEMENT_MISMATCH)));
    let later = segment(&case.query, "alpha", Word::RetryLater);
    let opened = case.with_segment(later, BankOutcome::Answered);
    assert_eq!(opened.banks[0].verified, Some(Err(Code::OUTCOME_INVALID)));
}

#[test]
fn a_refusal_is_shown_as_the_banks_own_word_and_leaves_the_report_incomplete() {
    let case = Case::new();
    let refused = segment(&case.query, "alpha", Word::Refused(wire::Refusal::AssuranceTooLow));
    let opened = case.with_segment(refused, BankOutcome::Refused);
    assert_eq!(opened.banks[0].verified, Some(Ok(())));
    assert!(opened.banks[0].answer.is_none() && !opened.complete);
}

#[test]
fn a_coverage_over_other_banks_or_another_query_is_refused() {
    let case = Case::new();
    let refused = |report: &wire::Report| world::view(&case.query, report).map(|_| ());
    let fewer = case.signed(|coverage| {
        coverage.banks.remove(&world::bank_id("gamma"));
    });
    assert_eq!(refused(&fewer), Err(Code::STATEMENT_MISMATCH));
    let mut more = case.coverage.clone();
    more.banks.insert("delta".parse().expect("an id"), (BankOutcome::NoReply, None));
    let mut report = case.report.clone();
    report.coverage = Some(schemas::report::sign_coverage(&more, &world::hub()));
    assert_eq!(refused(&report), Err(Code::STATEMENT_MISMATCH));
    let other = case.signed(|coverage| coverage.reference = world::reference("wallet", 2));
    assert_eq!(refused(&other), Err(Code::STATEMENT_MISMATCH));
    let other = case.signed(|coverage| coverage.reference = world::reference("purse", 1));
    assert_eq!(refused(&other), Err(Code::STATEMENT_MISMATCH));
    for state in [QueryState::Unspecified, QueryState::Held, QueryState::Collecting, QueryState::Withdrawn] {
        let open = case.signed(|coverage| coverage.state = state);
        assert_eq!(refused(&open), Err(Code::MESSAGE_MALFORMED), "{state:?}");
    }
}

#[test]
fn an_entry_that_two_roots_did_not_sign_or_an_old_one_is_refused() {
    let case = Case::new();
    let forged = wire::RegistryEntry { version: 9, ..world::bank_entry("alpha") };
    let record = schemas::registry::sign_entry(&forged, &[world::signing(1), world::signing(9)], None);
    let mut report = case.report.clone();
    report.registry.push(record);
    assert_eq!(world::view(&case.query, &report).map(|_| ()), Err(Code::REGISTRY_ROOTS_TOO_FEW));

    let newer = wire::RegistryEntry { version: 4, ..world::bank_entry("alpha") };
    let mut report = case.report.clone();
    for record in &mut report.registry {
        let entry = wire::RegistryEntry::decode(record.body.clone()).expect("an entry");
        if entry.id == "alpha" {
            *record = world::signed_entry(&newer);
        }
    }
    let seen: SeenVersions = case.view(&report).seen;
    let stale = world::view_having_seen(&case.query, case.report.encode_to_vec().into(), &seen);
    assert_eq!(stale.map(|_| ()), Err(Code::REGISTRY_VERSION_OLD));
    let current = world::view_having_seen(&case.query, report.encode_to_vec().into(), &seen);
    assert!(current.expect("a report").complete);

    // Entries that are not there: of a bank, and of the hub.
    for kept in 0..4 {
        let mut report = case.report.clone();
        report.registry.remove(kept);
        match world::view(&case.query, &report) {
            Ok(opened) => assert!(kept > 0 && !opened.complete, "without entry {kept}"),
            Err(code) => assert_eq!((kept, code), (0, Code::PARTY_UNKNOWN)),
        }
    }
}

#[test]
fn a_batch_signed_outside_the_time_of_the_query_is_not_shown() {
    let case = Case::new();
    let query = &case.query;
    for signed_at in [UnixMillis(ACCEPTED.0 - 3_600_000), UnixMillis(DEADLINE.0 + 3_600_000)] {
        let word = query.answered("alpha", &world::answer(1));
        let key = world::bank_signing("alpha");
        let record = world::batch_of("alpha", &key, signed_at, vec![(query.header("alpha"), word)]).remove(0);
        let Some(wire::reply_record::Message::Reply(reply)) = record.message else { unreachable!("a reply") };
        let segment =
            wire::Segment { header: reply.header, proof: reply.proof, sealed_answer: reply.sealed_answer };
        let opened = case.with_segment(segment.encode_to_vec().into(), BankOutcome::Answered);
        assert_eq!(opened.banks[0].verified, Some(Err(Code::BATCH_TIME_IMPOSSIBLE)));
        assert!(opened.banks[0].answer.is_none() && !opened.complete);
    }
}

#[test]
fn only_cards_or_no_cards_from_whole_sources_make_a_report_complete() {
    assert!(answer_of(&world::answer(0)).complete);
    assert!(answer_of(&world::answer(4)).complete);
    let with = |change: fn(&mut wire::Answer)| {
        let mut answer = world::answer(1);
        change(&mut answer);
        answer_of(&answer).complete
    };
    for kind in [0, 3, 4, 5, 6, 7, 99] {
        let mut answer = world::answer(0);
        answer.kind = kind;
        assert!(!answer_of(&answer).complete, "kind {kind}");
    }
    assert!(!with(|answer| answer.missing_sources.push(wire::MissingSource::Credit.into())));
    assert!(!with(|answer| answer.missing_sources.push(99)), "a source that this version does not know");
    assert!(!with(|answer| answer.kind = wire::AnswerKind::NoCards.into()), "NO_CARDS with a card");
    assert!(!with(|answer| answer.cards.clear()), "CARDS without a card");
}
