//! A part of the selection that fits into memory: read, judged, made once more, compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use aggregator::domain::assembly::Said;
use aggregator::domain::query::Closing;
use aggregator::edge::audit::QueryDigests;
use plumbing::exit::Failure;
use plumbing::kafka::{KafkaError, Record};
use schemas::audit::leaf::{Accepted, Final};
use schemas::batch::VerifiedRoots;
use schemas::ids::{BankId, Digest, QueryId, Reference};
use schemas::time::UnixMillis;
use schemas::topics::{Cleanup, Family, Topics};
use serde::Serialize;

use super::evidence::{Evidence, RecordLine};
use super::finding::Finding;
use super::hearing::{self, Hearing, Sent};
use super::history::{History, Standing};
use super::log::{Ended, Told};
use super::progress::Progress;
use super::rebuild::{Case, Rebuilt, expected, rebuild};
use super::record::{self, Submitted};
use super::source::{Ends, Source};
use super::stored;
use crate::audit::codes::Code;

/// A query whose report is final.
pub(super) struct Subject {
    pub(super) reference: Reference,
    pub(super) accepted: Accepted,
    pub(super) report: Final,
    pub(super) ended: Option<Ended>,
    /// Indexes of the two leaves.
    leaves: (u64, u64),
    hearings: BTreeMap<BankId, Hearing>,
    /// Where its record was found: what differs, if something does.
    record: Option<Option<String>>,
    record_gone: bool,
}

/// What became of a query.
pub(super) struct Judged {
    pub(super) findings: Vec<Finding>,
    /// Banks, and the query's own record, that retention removed.
    pub(super) gone: usize,
    pub(super) rebuilt: Rebuilt,
}

impl Subject {
    /// What the log says, if that is a report of an accepted query.
    pub(super) fn new(reference: &Reference, told: &Told) -> Option<Self> {
        Some(Self {
            reference: reference.clone(),
            accepted: told.accepted()?,
            report: told.report()?,
            ended: told.ended,
            leaves: (told.accepted.as_ref()?.index, told.report.as_ref()?.index),
            hearings: BTreeMap::new(),
            record: None,
            record_gone: false,
        })
    }
}

/// What every part reads with.
pub(super) struct Reading<'a> {
    pub(super) source: &'a Source,
    pub(super) topics: &'a Topics,
    pub(super) history: &'a History,
    /// End offsets before anything was read: nothing behind them is.
    pub(super) ends: &'a Ends,
    pub(super) now: UnixMillis,
}

/// From when and until when replies to these queries were appended, and the banks that they asked.
pub(super) fn span(subjects: &[Subject]) -> Option<(UnixMillis, UnixMillis)> {
    let from = subjects.iter().map(|subject| subject.accepted.accepted_at).min()?;
    let to = subjects.iter().map(|subject| subject.accepted.deadline_at).max()?;
    Some((from, UnixMillis(to.0.saturating_add(1))))
}

impl Reading<'_> {
    /// Reads the queries' own records, and holds them against the log.
    pub(super) async fn queries(
        &self,
        subjects: &mut [Subject],
        evidence: &mut Option<Evidence>,
        progress: &mut Progress,
    ) -> Result<(), ReadError> {
        let mut places: BTreeMap<String, HashMap<(i32, i64), usize>> = BTreeMap::new();
        for (index, subject) in subjects.iter_mut().enumerate() {
            let place = &subject.accepted.record;
            let low = self.ends.get(&(place.topic.clone(), place.partition)).map(|(low, _)| *low);
            subject.record_gone = low.is_none_or(|low| place.offset < low);
            let of_topic = places.entry(place.topic.clone()).or_default();
            of_topic.insert((place.partition, place.offset), index);
        }
        for (topic, places) in places {
            let mut ranges = BTreeMap::new();
            for (partition, offset) in places.keys() {
                let range = ranges.entry(*partition).or_insert(*offset..*offset + 1);
                *range = range.start.min(*offset)..range.end.max(*offset + 1);
            }
            let mut failed = None;
            let each = |record: &Record| {
                progress.read(1);
                let at = (record.position.partition, record.position.offset);
                let Some(subject) = places.get(&at).map(|index| &mut subjects[*index]) else { return };
                let appended_at = UnixMillis(record.append_time_ms);
                let key = record.key.as_deref().unwrap_or_default();
                let submitted = Submitted { key, value: &record.value, appended_at };
                let (reference, accepted) = (&subject.reference, &subject.accepted);
                let parties = self.history.of_upstream(&reference.upstream);
                subject.record = Some(record::differs(&submitted, reference, accepted, parties));
                note(evidence, record, "QUERY", &mut failed);
            };
            self.source.read(&topic, ranges, each).await?;
            failed.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Reads what the banks said, and judges it.
    pub(super) async fn replies(
        &self,
        subjects: &mut [Subject],
        evidence: &mut Option<Evidence>,
        progress: &mut Progress,
    ) -> Result<(), ReadError> {
        let Some((from, to)) = span(subjects) else { return Ok(()) };
        let mut named: HashMap<QueryId, Vec<usize>> = HashMap::new();
        let mut banks: BTreeMap<BankId, Vec<usize>> = BTreeMap::new();
        for (index, subject) in subjects.iter().enumerate() {
            named.entry(subject.reference.query).or_default().push(index);
            for bank in subject.accepted.statements.keys() {
                banks.entry(bank.clone()).or_default().push(index);
            }
        }
        let mut roots = VerifiedRoots::default();
        for (bank, asked) in banks {
            let topic = self.topics.reply(&bank);
            let ranges = match self.source.appended(&topic, from, Some(to), self.ends).await {
                Ok(ranges) => ranges,
                Err(KafkaError::UnknownTopic(_)) => BTreeMap::new(),
                Err(error) => return Err(error.into()),
            };
            let mut first_at: BTreeMap<i32, UnixMillis> = BTreeMap::new();
            let mut failed = None;
            let each = |record: &Record| {
                progress.read(1);
                let appended_at = UnixMillis(record.append_time_ms);
                let at = (record.position.partition, record.position.offset);
                first_at.entry(at.0).or_insert(appended_at);
                let key = record.key.as_deref().unwrap_or_default();
                let Ok(query) = QueryId::from_key(key) else { return };
                for index in named.get(&query).into_iter().flatten() {
                    let subject = &mut subjects[*index];
                    let Some(expected) = expected(&subject.accepted, &bank) else { continue };
                    let before = subject.report.registry_offset;
                    let parties = self.history.of_bank(&bank, appended_at, before);
                    let sent = Sent { bank: &bank, key, value: &record.value, at, appended_at };
                    let heard = hearing::judge(sent, &subject.reference, &expected, &parties, &mut roots);
                    let Some(heard) = heard else { continue };
                    note(evidence, record, outcome(heard.said), &mut failed);
                    subject.hearings.entry(bank.clone()).or_default().heard.push(heard);
                }
            };
            self.source.read(&topic, ranges.clone(), each).await?;
            failed.map_or(Ok(()), Err)?;
            for index in asked {
                let subject = &mut subjects[index];
                let accepted_at = subject.accepted.accepted_at;
                let removed = |partition: i32| {
                    let low = self.ends.get(&(topic.clone(), partition)).map_or(0, |(low, _)| *low);
                    let begins = ranges.get(&partition).is_none_or(|range| range.start == low);
                    // What was before the first record that is left may have been about this query.
                    low > 0 && begins && first_at.get(&partition).is_none_or(|first| *first > accepted_at)
                };
                let removed = partitions(subject, &bank, &ranges).into_iter().any(removed);
                if ranges.is_empty() || removed {
                    subject.hearings.entry(bank.clone()).or_default().gone = true;
                }
            }
        }
        Ok(())
    }

    /// Makes the report once more and compares it with the log.
    pub(super) fn judge(&self, subject: &Subject) -> Judged {
        let Subject { reference, accepted, report, hearings, .. } = subject;
        let standing: BTreeMap<BankId, Standing> = accepted
            .statements
            .keys()
            .map(|bank| (bank.clone(), self.history.standing(bank, report.registry_offset)))
            .collect();
        let case = Case { reference, accepted, report, hearings, standing: &standing, topics: self.topics };
        let mut rebuilt = rebuild(&case);
        let mut findings = std::mem::take(&mut rebuilt.findings);
        findings.extend(self.own_record(subject));
        findings.extend(self.removed(subject));
        Judged { findings, gone: rebuilt.gone + usize::from(subject.record_gone), rebuilt }
    }

    fn own_record(&self, subject: &Subject) -> Option<Finding> {
        let place = &subject.accepted.record;
        let (code, detail) = match &subject.record {
            Some(None) => return None,
            Some(Some(detail)) => (Code::REPLAY_QUERY_DIFFERS, detail.clone()),
            None if subject.record_gone => {
                let retention = retention(Family::Query);
                if self.now.since(subject.accepted.accepted_at) >= retention {
                    return None;
                }
                (Code::REPLAY_RECORD_REMOVED, format!("appended {}", subject.accepted.accepted_at))
            }
            None => (Code::REPLAY_QUERY_MISSING, "there is no such record".to_owned()),
        };
        let finding = Finding::of_query(code, &subject.reference, detail);
        Some(finding.at(&place.topic, (place.partition, place.offset)))
    }

    /// Replies that count and that the topic does not hold any more, although it should.
    fn removed(&self, subject: &Subject) -> Vec<Finding> {
        let retention = retention(Family::Reply);
        let counted = subject
            .report
            .outcomes
            .iter()
            .filter_map(|(bank, outcome)| Some((bank, outcome.reply.as_ref()?)));
        let removed = counted.filter(|(bank, reply)| {
            let low = self.ends.get(&(self.topics.reply(bank), reply.partition)).map(|(low, _)| *low);
            low.is_none_or(|low| reply.offset < low) && self.now.since(reply.appended_at) < retention
        });
        removed
            .map(|(bank, reply)| {
                let detail = format!("appended {}", reply.appended_at);
                Finding::of_bank(Code::REPLAY_RECORD_REMOVED, &subject.reference, bank, detail)
                    .at(&self.topics.reply(bank), (reply.partition, reply.offset))
            })
            .collect()
    }
}

/// Where a bank's word on a query lies. A bank sends by key, so it is one partition, and one that has nothing of the query says
/// nothing; only of a bank that was not heard may it be any.
fn partitions(subject: &Subject, bank: &BankId, ranges: &BTreeMap<i32, Range<i64>>) -> BTreeSet<i32> {
    let counted = subject.report.outcomes.get(bank).and_then(|outcome| outcome.reply.as_ref());
    let heard = subject.hearings.get(bank).into_iter().flat_map(|hearing| &hearing.heard);
    let known: BTreeSet<i32> =
        counted.map(|reply| reply.partition).into_iter().chain(heard.map(|heard| heard.at.0)).collect();
    if known.is_empty() { ranges.keys().copied().collect() } else { known }
}

fn retention(family: Family) -> std::time::Duration {
    match family.spec().cleanup {
        Cleanup::Delete(after) => after,
        Cleanup::Compact => std::time::Duration::MAX,
    }
}

fn outcome(said: Said) -> &'static str {
    match said {
        Said::Closing(Closing::Answered, _) => "ANSWERED",
        Said::Closing(Closing::Refused, _) => "REFUSED",
        Said::RetryLater => "RETRY_LATER",
        Said::Invalid(code) => code.as_str(),
    }
}

fn note(evidence: &mut Option<Evidence>, record: &Record, outcome: &str, failed: &mut Option<Failure>) {
    let Some(evidence) = evidence else { return };
    let line = RecordLine {
        topic: &record.position.topic,
        partition: record.position.partition,
        offset: record.position.offset,
        appended_at_ms: record.append_time_ms,
        sha256: Digest::of(&record.value).to_string(),
        size: record.value.len(),
        outcome,
        value: None,
    };
    if let Err(error) = evidence.record(line, &record.value) {
        failed.get_or_insert(error);
    }
}

/// A line of `digests.ndjson`.
#[derive(Serialize)]
pub(super) struct DigestLine<'a> {
    upstream: &'a str,
    query_id: String,
    leaf_accepted: u64,
    leaf_report: u64,
    coverage: Three,
    segments: BTreeMap<&'a str, Three>,
    findings: Vec<Code>,
}

/// A digest as three say it.
#[derive(Serialize)]
struct Three {
    log: Option<String>,
    topics: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<String>,
}

impl<'a> DigestLine<'a> {
    pub(super) fn new(
        subject: &'a Subject,
        judged: &Judged,
        stored: Option<&QueryDigests>,
        findings: &[Finding],
    ) -> Self {
        let segments = subject.report.outcomes.iter().map(|(bank, outcome)| {
            let log = outcome.reply.as_ref();
            let topics = log.and_then(|reply| {
                let heard = &subject.hearings.get(bank)?.heard;
                let heard = heard.iter().find(|heard| heard.at == (reply.partition, reply.offset))?;
                match heard.said {
                    Said::Closing(_, segment) => Some(segment.to_string()),
                    Said::RetryLater | Said::Invalid(_) => None,
                }
            });
            let store = stored.and_then(|stored| stored.segments.get(bank.as_str()).cloned());
            (bank.as_str(), Three { log: log.map(|reply| reply.segment.to_string()), topics, store })
        });
        Self {
            upstream: subject.reference.upstream.as_str(),
            query_id: subject.reference.query.to_string(),
            leaf_accepted: subject.leaves.0,
            leaf_report: subject.leaves.1,
            coverage: Three {
                log: Some(subject.report.coverage.to_string()),
                topics: Some(judged.rebuilt.coverage.to_string()),
                store: stored.and_then(|stored| stored.coverage.clone()),
            },
            segments: segments.collect(),
            findings: findings.iter().map(|finding| finding.code).collect(),
        }
    }
}

/// What the store holds of a query, compared.
pub(super) fn compare_stored(
    subject: &Subject,
    ended: Option<Ended>,
    kept: Option<&QueryDigests>,
) -> Vec<Finding> {
    stored::compare(&subject.reference, Some(&subject.report), ended.or(subject.ended), kept)
}

/// Records could not be read, or evidence of them not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Evidence(#[from] Failure),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Kafka(error) => error.exit().because(error),
            ReadError::Evidence(failure) => failure,
        }
    }
}
