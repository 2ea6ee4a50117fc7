//! What the store holds, compared with what the log says.

use std::collections::BTreeMap;

use aggregator::edge::audit::{BankDigests, QueryDigests, ReplyDigests, UNREADABLE};
use schemas::audit::leaf::{Final, Outcome, Word};
use schemas::http::{outcome_name, state_name};
use schemas::ids::{BankId, Reference};
use schemas::wire::{BankOutcome, QueryState};

use super::finding::Finding;
use super::log::Ended;
use crate::audit::codes::Code;

const WITHDRAWN: &str = "WITHDRAWN";
const ERASED: &str = "ERASED";

/// Whether the store may know more than the log: the query ended a moment ago, or its content went with its day. Then the log
/// is read on before anything is called a difference.
pub fn may_have_ended(stored: Option<&QueryDigests>) -> bool {
    let Some(stored) = stored else { return true };
    let ended = stored.state.as_deref().is_some_and(|state| state == WITHDRAWN || state == ERASED);
    ended || (stored.coverage.is_none() && stored.segments.is_empty())
}

/// Compares; an empty list means that everything is as the log says.
pub fn compare(
    reference: &Reference,
    report: Option<&Final>,
    ended: Option<Ended>,
    stored: Option<&QueryDigests>,
) -> Vec<Finding> {
    match (ended, report, stored) {
        // What is erased is forgotten after a while.
        (Some(Ended::Erased), _, None) | (None, None, _) => Vec::new(),
        (Some(_), _, Some(stored)) => ended_query(reference, stored),
        (Some(Ended::Withdrawn), _, None) | (None, Some(_), None) => {
            vec![Finding::of_query(Code::STORE_QUERY_MISSING, reference, "no row")]
        }
        (None, Some(report), Some(stored)) => {
            let mut findings = facts(reference, report, stored);
            findings.extend(content(reference, report, stored));
            findings
        }
    }
}

fn ended_query(reference: &Reference, stored: &QueryDigests) -> Vec<Finding> {
    let mut findings = Vec::new();
    match stored.state.as_deref() {
        Some(WITHDRAWN | ERASED) => {}
        Some(state) => {
            let detail = format!("the log says that it ended, the row {state}");
            findings.push(Finding::of_query(Code::STORE_STATE_DIFFERS, reference, detail));
        }
        None => findings.push(Finding::of_query(Code::STORE_STATE_UNREADABLE, reference, "unreadable")),
    }
    if stored.coverage.is_some() || !stored.segments.is_empty() {
        let detail = format!("{} segments", stored.segments.len());
        findings.push(Finding::of_query(Code::STORE_CONTENT_KEPT, reference, detail));
    }
    findings
}

fn facts(reference: &Reference, report: &Final, stored: &QueryDigests) -> Vec<Finding> {
    let Some(state) = &stored.state else {
        return vec![Finding::of_query(Code::STORE_STATE_UNREADABLE, reference, "unreadable")];
    };
    let differs = |detail: String| Finding::of_query(Code::STORE_STATE_DIFFERS, reference, detail);
    let logged = QueryState::try_from(report.state).map_or("?", state_name);
    let mut findings = Vec::new();
    if state != logged {
        findings.push(differs(format!("logged {logged}, stored {state}")));
    }
    let Some(kept) = &stored.report else { return findings };
    if kept.finalised_at_ms != report.finalised_at.0 {
        findings
            .push(differs(format!("final at {}, stored {}", report.finalised_at.0, kept.finalised_at_ms)));
    }
    let banks: BTreeMap<String, (&BankId, BankDigests)> =
        report.outcomes.iter().map(|(bank, outcome)| (bank.to_string(), (bank, digests(outcome)))).collect();
    for (name, (bank, logged)) in &banks {
        let what = match kept.banks.get(name) {
            Some(kept) if kept == logged => continue,
            Some(kept) => difference(logged, kept),
            None => "not in the row".to_owned(),
        };
        findings.push(Finding::of_bank(Code::STORE_STATE_DIFFERS, reference, bank, what));
    }
    findings.extend(
        kept.banks
            .keys()
            .filter(|name| !banks.contains_key(*name))
            .map(|name| differs(format!("bank {name} was not asked"))),
    );
    findings
}

fn digests(outcome: &Outcome) -> BankDigests {
    BankDigests {
        outcome: BankOutcome::try_from(outcome.outcome).map_or("?", outcome_name).to_owned(),
        conflict: outcome.conflict,
        reply: outcome.reply.as_ref().map(|reply| ReplyDigests {
            word: match reply.word {
                Word::Answered => "ANSWERED",
                Word::Refused => "REFUSED",
            }
            .to_owned(),
            segment: reply.segment.to_string(),
            appended_at_ms: reply.appended_at.0,
            partition: reply.partition,
            offset: reply.offset,
        }),
    }
}

fn difference(logged: &BankDigests, kept: &BankDigests) -> String {
    let text = |digests: &BankDigests| {
        let reply = digests.reply.as_ref().map_or_else(String::new, |reply| {
            let ReplyDigests { word, segment, appended_at_ms, partition, offset } = reply;
            format!(" {word} {segment} at {partition}:{offset}, {appended_at_ms}")
        });
        let conflict = if digests.conflict { " with a conflict" } else { "" };
        format!("{}{conflict}{reply}", digests.outcome)
    };
    format!("logged {}, stored {}", text(logged), text(kept))
}

fn content(reference: &Reference, report: &Final, stored: &QueryDigests) -> Vec<Finding> {
    let mut findings = Vec::new();
    let coverage = report.coverage.to_string();
    match stored.coverage.as_deref() {
        Some(kept) if kept == coverage => {}
        Some(UNREADABLE) => {
            findings.push(Finding::of_query(Code::STORE_COVERAGE_UNREADABLE, reference, "does not open"));
        }
        Some(kept) => {
            let detail = format!("logged {coverage}, stored {kept}");
            findings.push(Finding::of_query(Code::STORE_COVERAGE_DIFFERS, reference, detail));
        }
        None => {
            let detail = format!("logged {coverage}");
            findings.push(Finding::of_query(Code::STORE_COVERAGE_MISSING, reference, detail));
        }
    }
    let mut left: BTreeMap<&str, &str> =
        stored.segments.iter().map(|(bank, content)| (bank.as_str(), content.as_str())).collect();
    for (bank, outcome) in &report.outcomes {
        let Some(reply) = &outcome.reply else { continue };
        let logged = reply.segment.to_string();
        let (code, detail) = match left.remove(bank.as_str()) {
            Some(kept) if kept == logged => continue,
            Some(UNREADABLE) => (Code::STORE_SEGMENT_UNREADABLE, "does not open".to_owned()),
            Some(kept) => (Code::STORE_SEGMENT_DIFFERS, format!("logged {logged}, stored {kept}")),
            None => (Code::STORE_SEGMENT_MISSING, format!("logged {logged}")),
        };
        findings.push(Finding::of_bank(code, reference, bank, detail));
    }
    findings.extend(left.into_iter().map(|(bank, kept)| {
        let finding = Finding::of_query(Code::STORE_SEGMENT_ADDED, reference, format!("stored {kept}"));
        Finding { bank: Some(bank.to_owned()), ..finding }
    }));
    findings
}

#[cfg(test)]
mod tests {
    use aggregator::edge::audit::{QueryName, ReportDigests};
    use schemas::audit::leaf::Chosen;
    use schemas::ids::Digest;
    use schemas::time::UnixMillis;

    use super::*;

    fn bank(id: &str) -> BankId {
        id.parse().expect("an id")
    }

    fn reference() -> Reference {
        let query = "0192f0c1-2d3e-7000-8000-000000000001".parse().expect("a version 7 id");
        Reference { upstream: "wallet".parse().expect("an id"), query }
    }

    fn report() -> Final {
        let chosen = Chosen {
            word: Word::Answered,
            segment: Digest([8; 32]),
            appended_at: UnixMillis(9),
            partition: 2,
            offset: 10,
        };
        let (answered, silent) = (BankOutcome::Answered.into(), BankOutcome::NoReply.into());
        Final {
            state: QueryState::FinalPartial.into(),
            finalised_at: UnixMillis(11),
            coverage: Digest([12; 32]),
            registry_offset: 13,
            outcomes: BTreeMap::from([
                (bank("alpha"), Outcome { outcome: answered, conflict: false, reply: Some(chosen) }),
                (bank("beta"), Outcome { outcome: silent, conflict: false, reply: None }),
            ]),
        }
    }

    fn kept() -> QueryDigests {
        let report = report();
        let banks = report.outcomes.iter().map(|(bank, outcome)| (bank.to_string(), digests(outcome)));
        QueryDigests {
            query: QueryName::from(&reference()),
            state: Some("FINAL_PARTIAL".to_owned()),
            report: Some(ReportDigests { finalised_at_ms: 11, banks: banks.collect() }),
            coverage: Some(Digest([12; 32]).to_string()),
            segments: BTreeMap::from([("alpha".to_owned(), Digest([8; 32]).to_string())]),
        }
    }

    fn codes(ended: Option<Ended>, stored: Option<&QueryDigests>) -> Vec<Code> {
        let findings = compare(&reference(), Some(&report()), ended, stored);
        findings.into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_report_that_is_kept_as_it_was_made_has_no_finding() {
        assert_eq!(codes(None, Some(&kept())), []);
        assert!(!may_have_ended(Some(&kept())));
    }

    #[test]
    fn whatever_is_altered_is_named() {
        type Change = fn(&mut QueryDigests);
        let other = || Some(Digest([1; 32]).to_string());
        let cases: [(Change, Code); 11] = [
            (|kept| kept.coverage = Some(Digest([1; 32]).to_string()), Code::STORE_COVERAGE_DIFFERS),
            (|kept| kept.coverage = None, Code::STORE_COVERAGE_MISSING),
            (|kept| kept.coverage = Some(UNREADABLE.to_owned()), Code::STORE_COVERAGE_UNREADABLE),
            (|kept| kept.segments.clear(), Code::STORE_SEGMENT_MISSING),
            (
                |kept| drop(kept.segments.insert("alpha".to_owned(), UNREADABLE.to_owned())),
                Code::STORE_SEGMENT_UNREADABLE,
            ),
            (
                |kept| drop(kept.segments.insert("alpha".to_owned(), Digest([1; 32]).to_string())),
                Code::STORE_SEGMENT_DIFFERS,
            ),
            (
                |kept| drop(kept.segments.insert("beta".to_owned(), Digest([1; 32]).to_string())),
                Code::STORE_SEGMENT_ADDED,
            ),
            (|kept| kept.state = None, Code::STORE_STATE_UNREADABLE),
            (|kept| kept.state = Some("COLLECTING".to_owned()), Code::STORE_STATE_DIFFERS),
            (|kept| kept.report.as_mut().expect("a report").finalised_at_ms += 1, Code::STORE_STATE_DIFFERS),
            (
                |kept| {
                    let banks = &mut kept.report.as_mut().expect("a report").banks;
                    banks.get_mut("beta").expect("asked").outcome = "REFUSED".to_owned();
                },
                Code::STORE_STATE_DIFFERS,
            ),
        ];
        for (change, code) in cases {
            let mut kept = kept();
            change(&mut kept);
            assert_eq!(codes(None, Some(&kept)), [code]);
        }
        assert_ne!(other(), kept().coverage);
        assert_eq!(codes(None, None), [Code::STORE_QUERY_MISSING]);
    }

    #[test]
    fn what_ended_has_no_content_and_may_be_forgotten_when_it_is_erased() {
        let gone = |state: &str| QueryDigests {
            state: Some(state.to_owned()),
            report: None,
            coverage: None,
            segments: BTreeMap::new(),
            ..kept()
        };
        for ended in [Ended::Withdrawn, Ended::Erased] {
            assert_eq!(codes(Some(ended), Some(&gone("WITHDRAWN"))), []);
            assert_eq!(codes(Some(ended), Some(&gone("ERASED"))), []);
            let kept = codes(Some(ended), Some(&kept()));
            assert_eq!(kept, [Code::STORE_STATE_DIFFERS, Code::STORE_CONTENT_KEPT]);
        }
        assert_eq!(codes(Some(Ended::Erased), None), []);
        assert_eq!(codes(Some(Ended::Withdrawn), None), [Code::STORE_QUERY_MISSING]);
        assert!(may_have_ended(Some(&gone("WITHDRAWN"))) && may_have_ended(None));
    }
}
