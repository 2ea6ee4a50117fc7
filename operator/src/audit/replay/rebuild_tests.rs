use jiff::civil::date;
use proptest::prelude::*;
use schemas::audit::leaf::Place;
use schemas::ids::KeyId;

use super::*;

const ACCEPTED: i64 = 1_000_000;
const DEADLINE: i64 = 2_000_000;

fn bank(n: usize) -> BankId {
    format!("bank{n}").parse().expect("an id")
}

fn reference() -> Reference {
    let query = "0192f0c1-2d3e-7000-8000-000000000001".parse().expect("a version 7 id");
    Reference { upstream: "wallet".parse().expect("an id"), query }
}

fn accepted(banks: usize) -> Accepted {
    Accepted {
        content_digest: Digest([1; 32]),
        report_key: KeyId([2; 16]),
        record: Place { topic: "cardquery.query.wallet.v1".into(), partition: 3, offset: 42 },
        accepted_at: UnixMillis(ACCEPTED),
        reply_by: UnixMillis(DEADLINE - 1),
        deadline_at: UnixMillis(DEADLINE),
        erase_on: date(2026, 12, 2),
        statements: (0..banks).map(|n| (bank(n), Digest([6; 32]))).collect(),
    }
}

fn logged(report: &query::Final, accepted: &Accepted) -> Final {
    let outcome = |outcome: &query::Outcome| Outcome {
        outcome: outcome.outcome.into(),
        conflict: outcome.conflict,
        reply: outcome.reply.as_ref().map(|reply| Chosen {
            word: match reply.outcome {
                Closing::Answered => Word::Answered,
                Closing::Refused => Word::Refused,
            },
            segment: reply.segment_sha256,
            appended_at: reply.appended_at,
            partition: reply.at.0,
            offset: reply.at.1,
        }),
    };
    Final {
        state: report.wire_state().into(),
        finalised_at: report.finalised_at,
        coverage: report.coverage(&reference(), &times(accepted)).digest(),
        registry_offset: 7,
        outcomes: report.outcomes.iter().map(|(bank, of_bank)| (bank.clone(), outcome(of_bank))).collect(),
    }
}

/// What a hub that read the records in some order said in the end.
#[derive(Clone, Debug)]
struct World {
    accepted: Accepted,
    hearings: BTreeMap<BankId, Hearing>,
    standing: BTreeMap<BankId, Standing>,
    report: Final,
}

impl World {
    fn new(banks: usize, records: &[(usize, Heard)], suspended: &BTreeSet<BankId>) -> Self {
        let accepted = accepted(banks);
        let mut hearings: BTreeMap<BankId, Hearing> = BTreeMap::new();
        for (n, heard) in records {
            hearings.entry(bank(*n)).or_default().heard.push(heard.clone());
        }
        let standing =
            |bank: &BankId| if suspended.contains(bank) { Standing::Suspended } else { Standing::Active };
        let standing = accepted.statements.keys().map(|bank| (bank.clone(), standing(bank))).collect();
        let nothing = Final {
            state: 0,
            finalised_at: UnixMillis(0),
            coverage: Digest([0; 32]),
            registry_offset: 0,
            outcomes: BTreeMap::new(),
        };
        let mut world = Self { accepted, hearings, standing, report: nothing };
        let window = Window {
            length: Duration::from_secs(1_000),
            grace: Duration::from_secs(5),
            calendar: Calendar::Civil(TimeZone::UTC),
        };
        let read = records.iter().map(|(n, heard)| event(&bank(*n), heard.at, heard.appended_at, heard.said));
        let closed = Event::WindowClosed { suspended: suspended.clone() };
        let mut query = collecting(&world.case(&reference(), &Topics::default()));
        for event in read.chain([closed]) {
            (query, _) = assembly::apply(query, event, UnixMillis(DEADLINE + 6_000), &window);
        }
        world.report = logged(query.state.report().expect("a report"), &world.accepted);
        world
    }

    fn case<'a>(&'a self, reference: &'a Reference, topics: &'a Topics) -> Case<'a> {
        let Self { accepted, hearings, standing, report } = self;
        Case { reference, accepted, report, hearings, standing, topics }
    }

    fn codes(&self) -> Vec<(Code, Option<String>)> {
        let rebuilt = rebuild(&self.case(&reference(), &Topics::default()));
        assert_eq!(rebuilt.coverage == self.report.coverage, !rebuilt.findings.iter().any(of_coverage));
        rebuilt.findings.into_iter().map(|finding| (finding.code, finding.bank)).collect()
    }

    fn heard(&mut self, n: usize) -> &mut Vec<Heard> {
        &mut self.hearings.entry(bank(n)).or_default().heard
    }

    fn outcome(&mut self, n: usize) -> &mut Outcome {
        self.report.outcomes.get_mut(&bank(n)).expect("asked")
    }
}

fn of_coverage(finding: &Finding) -> bool {
    finding.code == Code::REPLAY_COVERAGE_DIFFERS
}

fn heard(partition: i32, offset: i64, appended_at: i64, said: Said) -> Heard {
    Heard { at: (partition, offset), appended_at: UnixMillis(appended_at), said, otherwise: None }
}

fn answered(segment: u8) -> Said {
    Said::Closing(Closing::Answered, Digest([segment; 32]))
}

fn refused(segment: u8) -> Said {
    Said::Closing(Closing::Refused, Digest([segment; 32]))
}

fn of(n: usize, code: Code) -> (Code, Option<String>) {
    (code, Some(bank(n).to_string()))
}

const COVERAGE: (Code, Option<String>) = (Code::REPLAY_COVERAGE_DIFFERS, None);

/// Two banks that answered, and one that did not.
fn world() -> World {
    let records = [
        (0, heard(0, 4, ACCEPTED + 5, Said::RetryLater)),
        (0, heard(0, 9, ACCEPTED + 9, answered(1))),
        (1, heard(2, 3, ACCEPTED + 7, refused(2))),
    ];
    World::new(3, &records, &BTreeSet::new())
}

#[test]
fn a_report_as_the_rule_makes_it_has_no_finding() {
    assert_eq!(world().codes(), []);
}

#[test]
fn a_reply_that_the_log_leaves_out_is_named() {
    let mut world = world();
    world.heard(2).push(heard(1, 8, DEADLINE, answered(3)));
    assert_eq!(world.codes(), [of(2, Code::REPLAY_REPLY_DROPPED), COVERAGE]);
    world.heard(2)[0].appended_at = UnixMillis(DEADLINE + 1);
    assert_eq!(world.codes(), [], "it was late");
}

#[test]
fn a_reply_that_no_record_has_is_named() {
    let mut world = world();
    world.heard(1).clear();
    assert_eq!(world.codes(), [of(1, Code::REPLAY_REPLY_ADDED), COVERAGE]);
}

#[test]
fn an_earlier_valid_reply_is_named_with_its_place() {
    let mut world = world();
    world.heard(0).insert(0, heard(0, 3, ACCEPTED + 4, refused(9)));
    let rebuilt = rebuild(&world.case(&reference(), &Topics::default()));
    assert_eq!(rebuilt.findings[0].code, Code::REPLAY_REPLY_EARLIER);
    assert_eq!(rebuilt.findings[0].at.as_deref(), Some("cardquery.reply.bank0.v1:0:3"));
    world.heard(0)[0].said = Said::Invalid(Refused::SIGNATURE_INVALID);
    assert_eq!(world.codes(), [], "a forged one decides nothing");
    world.heard(0)[0] = heard(1, 3, ACCEPTED + 4, answered(9));
    assert_eq!(
        world.codes(),
        [of(0, Code::REPLAY_REPLY_EARLIER_ELSEWHERE)],
        "who read it first is not known"
    );
}

#[test]
fn a_reply_that_should_not_count_is_named_with_its_reason() {
    for (change, code) in [
        (heard(2, 3, ACCEPTED + 7, Said::Invalid(Refused::KEY_REVOKED)), Code::REPLAY_REPLY_INVALID),
        (heard(2, 3, ACCEPTED + 7, Said::RetryLater), Code::REPLAY_REPLY_INVALID),
        (heard(2, 3, DEADLINE + 1, refused(2)), Code::REPLAY_REPLY_LATE),
        (heard(2, 3, ACCEPTED + 7, refused(3)), Code::REPLAY_REPLY_DIFFERS),
    ] {
        let mut world = world();
        *world.heard(1) = vec![change];
        assert_eq!(world.codes()[0], of(1, code));
    }
    for (change, changes_the_coverage) in
        [(heard(2, 3, ACCEPTED + 7, answered(2)), true), (heard(2, 3, ACCEPTED + 8, refused(2)), false)]
    {
        let mut world = world();
        *world.heard(1) = vec![change];
        assert_eq!(world.codes()[0], of(1, Code::REPLAY_REPLY_DIFFERS));
        assert_eq!(world.codes().contains(&COVERAGE), changes_the_coverage);
    }
}

#[test]
fn the_logs_own_words_are_held_against_the_rule() {
    let mut changed = world();
    changed.outcome(2).outcome = BankOutcome::Unavailable.into();
    assert_eq!(changed.codes(), [of(2, Code::REPLAY_OUTCOME_DIFFERS), (Code::REPLAY_LOG_CONTRADICTS, None)]);
    let mut changed = world();
    changed.outcome(0).conflict = true;
    assert_eq!(changed.codes(), [of(0, Code::REPLAY_CONFLICT_DIFFERS)]);
    let mut changed = world();
    changed.report.finalised_at = UnixMillis(DEADLINE);
    let contradicts = (Code::REPLAY_LOG_CONTRADICTS, None);
    assert_eq!(changed.codes(), [(Code::REPLAY_FINAL_AT_DIFFERS, None), COVERAGE, contradicts.clone()]);
    let mut changed = world();
    changed.report.state = QueryState::FinalEmpty.into();
    assert_eq!(changed.codes(), [(Code::REPLAY_STATE_DIFFERS, None), contradicts]);
    let mut changed = world();
    changed.report.coverage = Digest([9; 32]);
    assert_eq!(changed.codes(), [COVERAGE, (Code::REPLAY_LOG_CONTRADICTS, None)]);
    let mut changed = world();
    changed.report.outcomes.remove(&bank(2));
    assert_eq!(changed.codes()[0], (Code::REPLAY_BANKS_DIFFER, None));
}

#[test]
fn a_suspended_bank_is_one_and_what_compaction_removed_is_the_logs_word() {
    let suspended = BTreeSet::from([bank(2)]);
    let mut world = World::new(3, &[(0, heard(0, 9, ACCEPTED + 9, answered(1)))], &suspended);
    assert_eq!(world.codes(), []);
    world.standing.insert(bank(2), Standing::Active);
    assert_eq!(world.codes(), [of(2, Code::REPLAY_OUTCOME_DIFFERS), COVERAGE]);
    world.standing.insert(bank(2), Standing::Unknown);
    assert_eq!(world.codes(), [of(2, Code::REPLAY_UNDETERMINED)]);
    world.standing.insert(bank(0), Standing::Unknown);
    assert_eq!(world.codes(), [of(2, Code::REPLAY_UNDETERMINED)], "whoever answered was not suspended");
}

#[test]
fn of_two_judgements_both_are_possible() {
    for (said, otherwise) in [
        (answered(1), Said::Invalid(Refused::KEY_UNKNOWN)),
        (Said::Invalid(Refused::KEY_UNKNOWN), answered(1)),
    ] {
        for counts in [true, false] {
            let read = if counts { answered(1) } else { Said::Invalid(Refused::KEY_UNKNOWN) };
            let mut world = World::new(2, &[(0, heard(0, 9, ACCEPTED + 9, read))], &BTreeSet::new());
            world.heard(0)[0] = Heard { otherwise: Some(otherwise), ..heard(0, 9, ACCEPTED + 9, said) };
            assert_eq!(world.codes(), [of(0, Code::REPLAY_UNDETERMINED)], "{said:?} {counts}");
        }
    }
}

/// What a record says; the one digit is its segment.
fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        3 => (1u8..4).prop_map(answered),
        2 => (1u8..4).prop_map(refused),
        2 => Just(Said::RetryLater),
        2 => Just(Said::Invalid(Refused::SIGNATURE_INVALID)),
    ]
}

prop_compose! {
    /// Records of banks in the order in which a hub happened to read them: in order within each partition, and with append
    /// times that grow there.
    fn history()(
        banks in 1usize..4,
        records in prop::collection::vec((0usize..4, 0i32..2, 1i64..9, 0i64..400_000, said()), 0..12),
        suspended in prop::collection::btree_set(0usize..4, 0..2),
    ) -> (usize, Vec<(usize, Heard)>, BTreeSet<BankId>) {
        let mut ends: BTreeMap<(usize, i32), (i64, i64)> = BTreeMap::new();
        let records = records.into_iter().map(|(n, partition, gap, wait, said)| {
            let n = n % banks;
            let end = ends.entry((n, partition)).or_insert((0, ACCEPTED));
            *end = (end.0 + gap, end.1 + wait);
            (n, heard(partition, end.0, end.1, said))
        });
        let records = records.collect();
        (banks, records, suspended.into_iter().map(bank).collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_a_hub_read_in_whatever_order_its_report_is_the_one_of_the_replay(
        (banks, records, suspended) in history(),
    ) {
        let world = World::new(banks, &records, &suspended);
        let topics = Topics::default();
        let reference = reference();
        let rebuilt = rebuild(&world.case(&reference, &topics));
        let faults: Vec<_> = rebuilt.findings.iter().filter(|finding| finding.is_fault()).collect();
        prop_assert!(faults.is_empty(), "{:?}", faults);
        prop_assert_eq!(rebuilt.coverage, world.report.coverage);
    }

    #[test]
    fn what_retention_removed_is_never_a_fault(
        (banks, records, suspended) in history(),
        gone in prop::collection::btree_set(0usize..4, 1..4),
    ) {
        let mut world = World::new(banks, &records, &suspended);
        for n in gone {
            world.hearings.insert(bank(n), Hearing { heard: Vec::new(), gone: true });
        }
        let topics = Topics::default();
        let reference = reference();
        let rebuilt = rebuild(&world.case(&reference, &topics));
        prop_assert!(!rebuilt.findings.iter().any(Finding::is_fault), "{:?}", rebuilt.findings);
    }

    #[test]
    fn a_counted_reply_that_is_taken_away_is_always_found(
        (banks, records, suspended) in history(),
        which in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new(banks, &records, &suspended);
        let counted: Vec<(BankId, (i32, i64))> = world.report.outcomes.iter()
            .filter_map(|(bank, outcome)| {
                let reply = outcome.reply.as_ref()?;
                Some((bank.clone(), (reply.partition, reply.offset)))
            })
            .collect();
        prop_assume!(!counted.is_empty());
        let (bank, at) = which.get(&counted);
        world.hearings.get_mut(bank).expect("heard").heard.retain(|heard| heard.at != *at);
        prop_assert!(world.codes().contains(&(Code::REPLAY_REPLY_ADDED, Some(bank.to_string()))));
    }
}
