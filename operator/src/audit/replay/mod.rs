//! `cardquery audit replay`: every report once more, by the hub's own rule, from the topics; digests compared with the log and
//! the store.
//!
//! ```text
//!  registry ─▶ history ─┐
//!  audit ─────▶ log ────┼─▶ plan ─▶ rounds: query records, replies ─▶ rule ─▶ compare ─▶ text, JSON, evidence
//!  hub (digests) ───────┘                                                      │
//!                                                     end offsets before ══════╧══════ end offsets after
//! ```
//!
//! | file | role |
//! |---|---|
//! | `selection.rs` | pure: which queries |
//! | `history.rs` | pure: the registry as it was |
//! | `log.rs` | pure: what the audit topic says |
//! | `hearing.rs`, `record.rs` | pure: what a record says |
//! | `rebuild.rs` | pure: the report once more, and what differs |
//! | `stored.rs` | pure: what the store holds, compared |
//! | `finding.rs`, `document.rs` | what is printed |
//! | `source.rs` | reads the broker; nothing here can write |
//! | `round.rs` | what fits into memory, from reading to comparing |
//! | `evidence.rs` | the folder for others to check |
//! | `progress.rs`, `options.rs` | the terminal |
//!
//! What must never happen here: a producer, a group that is joined, an offset that is committed; a second version of the rule.

mod document;
pub mod evidence;
pub mod finding;
pub mod hearing;
pub mod history;
pub mod log;
pub mod options;
mod progress;
pub mod rebuild;
pub mod record;
mod round;
pub mod selection;
pub mod source;
pub mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

use aggregator::edge::audit::{Digests, DigestsOf, MAX_QUERIES, QueryDigests, QueryName};
use plumbing::exit::{Exit, Failure};
use plumbing::kafka::KafkaError;
use reqwest::Method;
use schemas::ids::{BankId, Reference, UpstreamId};
use schemas::registry::Registry;
use schemas::time::UnixMillis;
use schemas::topics::{Role, Topics};

use self::document::{Counts, Document, Plan, both};
use self::evidence::{Evidence, Manifest};
use self::finding::Finding;
use self::history::History;
use self::log::{Ended, Log, Told};
use self::options::{CheckOptions, Options};
use self::progress::Progress;
use self::round::{DigestLine, Reading, Subject, compare_stored, span};
use self::selection::Selection;
use self::source::{Ends, Source};
use crate::audit::codes::Code;
use crate::config::Config;
use crate::hub::Hub;

/// Pairs of a query and a bank that are in memory at a time: a few hundred bytes each.
const PAIRS_AT_A_TIME: usize = 400_000;
/// Pairs in an answer of the hub: some hundred bytes each.
const PAIRS_PER_ANSWER: usize = 20_000;
/// How long the log may take to tell of what the store knows already.
const LOG_WITHIN: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(250);

/// Replays and prints.
///
/// # Errors
/// With the exit code of what stands in the way.
pub async fn run(options: &Options) -> Result<ExitCode, Failure> {
    let (config, estate) = Config::load_with_estate(options.config.config.as_deref())?;
    let roots = config.registry.roots().map_err(|error| Exit::Config.because(error))?;
    let hub = if options.without_store { None } else { Some(Hub::new(&config)?) };
    let evidence = |out| Evidence::create(out, options.with_records, options.sign_key.as_deref());
    let source = Source::new(&config.kafka, &estate.topics).map_err(unreadable)?;
    let mut replay = Replay {
        evidence: options.out.as_deref().filter(|_| !options.plan).map(evidence).transpose()?,
        source,
        topics: estate.topics,
        hub,
        progress: Progress::new(),
        counts: Counts::default(),
        findings: Vec::new(),
    };
    replay.run(options, roots).await
}

struct Replay {
    source: Source,
    topics: Topics,
    hub: Option<Hub>,
    evidence: Option<Evidence>,
    progress: Progress,
    counts: Counts,
    findings: Vec<Finding>,
}

/// The chosen queries, by what can be done with them.
struct Sorted {
    subjects: Vec<(UnixMillis, Reference, Told)>,
    /// Ended without a report: nothing to make once more, and nothing that may be kept.
    ended: Vec<(Reference, Ended)>,
    in_progress: u64,
    unknown: Vec<String>,
}

impl Replay {
    async fn run(
        &mut self,
        options: &Options,
        roots: Vec<schemas::keys::VerifyingKey>,
    ) -> Result<ExitCode, Failure> {
        let selection = options.selection();
        let history = History::new(roots, &self.registry().await?);
        let topics = readable(&self.topics, history.newest());
        let before = self.source.ends(&topics).await.map_err(unreadable)?;
        let mut log = self.log(history.newest(), &selection, &before).await?;
        self.findings.extend(log.findings());
        let sorted = self.sort(&mut log, &selection);
        let plan = self.plan(&sorted, &before).await?;
        if options.plan {
            let text = if options.json { pretty(&plan)? } else { plan.text() };
            return say(&text, Exit::Ok);
        }
        self.progress.step(&plan.text());
        self.progress.expect(plan.total());
        self.counts.in_progress = sorted.in_progress;
        self.counts.ended = sorted.ended.len() as u64;
        self.ended(&sorted.ended).await?;
        let now = UnixMillis(jiff::Timestamp::now().as_millisecond());
        for chunk in chunks(&sorted.subjects) {
            self.round(chunk, &history, &before, now).await?;
        }
        self.progress.done();
        let after = self.source.ends(&topics).await.map_err(unreadable)?;
        self.finish(options, &log, sorted.unknown, &before, &after)
    }

    async fn registry(&mut self) -> Result<Vec<plumbing::kafka::Record>, Failure> {
        let topic = self.topics.registry();
        let ends = self.source.ends(std::slice::from_ref(&topic)).await.map_err(unreadable)?;
        let ranges = whole(&ends, &topic);
        let mut records = Vec::new();
        self.source.read(&topic, ranges, |record| records.push(record.clone())).await.map_err(unreadable)?;
        self.progress.read(records.len() as u64);
        Ok(records)
    }

    async fn log(&mut self, registry: &Registry, selection: &Selection, ends: &Ends) -> Result<Log, Failure> {
        let topic = self.topics.audit();
        let hub = registry.hub().map_err(|code| {
            Exit::Unavailable
                .because(format!("{code}: the registry has no hub, so no checkpoint can be verified"))
        })?;
        let mut log = Log::new(topic.clone(), hub.keys().to_vec(), selection.clone());
        let ranges = match selection.begins() {
            Some(from) => self.source.appended(&topic, from, None, ends).await.map_err(unreadable)?,
            None => whole(ends, &topic),
        };
        let mut read = 0;
        let each = |record: &plumbing::kafka::Record| {
            read += 1;
            log.take(&record.value);
        };
        self.source.read(&topic, ranges, each).await.map_err(unreadable)?;
        self.progress.read(read);
        self.progress.step(&format!("log: {} leaves, {} queries", log.size(), log.told().len()));
        Ok(log)
    }

    fn sort(&mut self, log: &mut Log, selection: &Selection) -> Sorted {
        let told = log.take_told();
        let unknown = match selection {
            Selection::Queries(wanted) => {
                wanted.iter().filter(|query| !told.contains_key(*query)).map(ToString::to_string).collect()
            }
            Selection::All | Selection::Accepted { .. } => Vec::new(),
        };
        let mut sorted = Sorted { subjects: Vec::new(), ended: Vec::new(), in_progress: 0, unknown };
        for (reference, told) in told {
            match (told.accepted().map(|accepted| accepted.accepted_at), &told.report, told.ended) {
                (Some(accepted_at), Some(_), _) => sorted.subjects.push((accepted_at, reference, told)),
                (Some(_), None, Some(ended)) => sorted.ended.push((reference, ended)),
                (Some(_), None, None) => sorted.in_progress += 1,
                // Of a query that is not one of the chosen, or whose acceptance the topic does not have any more.
                (None, Some(report), _) if log.is_whole() && selection.begins().is_none() => {
                    let detail = format!("leaf {}", report.index);
                    self.findings.push(Finding::of_query(Code::REPLAY_NOT_ACCEPTED, &reference, detail));
                }
                (None, _, _) => {}
            }
        }
        sorted.subjects.sort_by_key(|(accepted_at, ..)| *accepted_at);
        sorted
    }

    async fn plan(&self, sorted: &Sorted, ends: &Ends) -> Result<Plan, Failure> {
        let mut plan = Plan {
            queries: sorted.subjects.len() as u64,
            in_progress: sorted.in_progress,
            ended: sorted.ended.len() as u64,
            unknown: sorted.unknown.clone(),
            records: BTreeMap::new(),
            seconds: 0,
        };
        let mut spans: BTreeMap<String, (UnixMillis, UnixMillis)> = BTreeMap::new();
        let mut places: BTreeMap<(String, i32), (i64, i64)> = BTreeMap::new();
        for (_, _, told) in &sorted.subjects {
            let Some(accepted) = told.accepted() else { continue };
            let offset = accepted.record.offset;
            let place = places.entry((accepted.record.topic.clone(), accepted.record.partition));
            let place = place.or_insert((offset, offset));
            *place = (place.0.min(offset), place.1.max(offset));
            let (from, to) = (accepted.accepted_at, UnixMillis(accepted.deadline_at.0.saturating_add(1)));
            for bank in accepted.statements.keys() {
                let span = spans.entry(self.topics.reply(bank)).or_insert((from, to));
                *span = (span.0.min(from), span.1.max(to));
            }
        }
        for ((topic, _), (first, last)) in places {
            *plan.records.entry(topic).or_default() += u64::try_from(last - first + 1).unwrap_or(0);
        }
        for (topic, (from, to)) in spans {
            let ranges = match self.source.appended(&topic, from, Some(to), ends).await {
                Ok(ranges) => ranges,
                Err(KafkaError::UnknownTopic(_)) => continue,
                Err(error) => return Err(unreadable(error)),
            };
            let records =
                ranges.values().map(|range| u64::try_from(range.end - range.start).unwrap_or(0)).sum();
            plan.records.insert(topic, records);
        }
        plan.estimate();
        Ok(plan)
    }

    /// Queries that ended without a report: the store must keep nothing of them.
    async fn ended(&mut self, ended: &[(Reference, Ended)]) -> Result<(), Failure> {
        let stored = self.stored(1, ended.iter().map(|(reference, _)| reference)).await?;
        let Some(stored) = stored else { return Ok(()) };
        for (reference, ended) in ended {
            self.findings.extend(stored::compare(reference, None, Some(*ended), stored.get(reference)));
        }
        Ok(())
    }

    async fn round(
        &mut self,
        chunk: &[(UnixMillis, Reference, Told)],
        history: &History,
        ends: &Ends,
        now: UnixMillis,
    ) -> Result<(), Failure> {
        let subjects = chunk.iter().filter_map(|(_, reference, told)| Subject::new(reference, told));
        let mut subjects: Vec<Subject> = subjects.collect();
        let reading = Reading { source: &self.source, topics: &self.topics, history, ends, now };
        reading.queries(&mut subjects, &mut self.evidence, &mut self.progress).await?;
        reading.replies(&mut subjects, &mut self.evidence, &mut self.progress).await?;
        let judged: Vec<_> = subjects.iter().map(|subject| reading.judge(subject)).collect();
        let mut stored =
            self.stored(widest(&subjects), subjects.iter().map(|subject| &subject.reference)).await?;
        let since = self.later_ends(&subjects, stored.as_mut(), ends).await?;
        for (subject, judged) in subjects.iter().zip(judged) {
            let kept = stored.as_ref().map(|stored| stored.get(&subject.reference));
            let mut findings = judged.findings.clone();
            if let Some(kept) = kept {
                self.counts.stored += 1;
                findings.extend(compare_stored(subject, since.get(&subject.reference).copied(), kept));
            }
            if let Some(evidence) = &mut self.evidence {
                evidence.digests(&DigestLine::new(subject, &judged, kept.flatten(), &findings))?;
            }
            self.counts.compared += 1;
            self.counts.gone += u64::from(judged.gone > 0);
            let slot = if findings.iter().any(Finding::is_fault) {
                &mut self.counts.different
            } else {
                &mut self.counts.equal
            };
            *slot += 1;
            self.findings.extend(findings);
        }
        let (from, to) = span(&subjects).unwrap_or_default();
        self.progress.step(&format!("{} queries accepted {from} to {to} compared", subjects.len()));
        Ok(())
    }

    /// What the store holds of these queries, of at most `banks` banks each; nothing when it is not asked.
    async fn stored(
        &self,
        banks: usize,
        references: impl Iterator<Item = &Reference>,
    ) -> Result<Option<BTreeMap<Reference, QueryDigests>>, Failure> {
        let Some(hub) = &self.hub else { return Ok(None) };
        let names: Vec<QueryName> = references.map(QueryName::from).collect();
        let mut stored = BTreeMap::new();
        for names in names.chunks((PAIRS_PER_ANSWER / banks.max(1)).clamp(1, MAX_QUERIES)) {
            let question = DigestsOf { queries: names.to_vec() };
            let answer: Digests = hub.send(Method::POST, &["audit", "digests"], &question).await?;
            let known = answer.queries.into_iter();
            stored.extend(known.filter_map(|digests| Some((digests.query.reference()?, digests))));
        }
        Ok(Some(stored))
    }

    /// Queries that ended while the replay was under way. The store knows that at once, the log a moment later, so the log is
    /// read on until it tells of them too; `stored` is asked once more. What it does not tell of stays a difference.
    async fn later_ends(
        &self,
        subjects: &[Subject],
        stored: Option<&mut BTreeMap<Reference, QueryDigests>>,
        ends: &Ends,
    ) -> Result<BTreeMap<Reference, Ended>, Failure> {
        let Some(stored) = stored else { return Ok(BTreeMap::new()) };
        let suspects: BTreeSet<Reference> = subjects
            .iter()
            .filter(|subject| subject.ended != Some(Ended::Erased))
            .filter(|subject| stored::may_have_ended(stored.get(&subject.reference)))
            .filter(|subject| !compare_stored(subject, None, stored.get(&subject.reference)).is_empty())
            .map(|subject| subject.reference.clone())
            .collect();
        if suspects.is_empty() {
            return Ok(BTreeMap::new());
        }
        let topic = self.topics.audit();
        let mut next: BTreeMap<i32, i64> =
            whole(ends, &topic).into_iter().map(|(id, range)| (id, range.end)).collect();
        let mut log = Log::new(topic.clone(), Vec::new(), Selection::Queries(suspects.clone()));
        let until = std::time::Instant::now() + LOG_WITHIN;
        loop {
            let now = self.source.ends(std::slice::from_ref(&topic)).await.map_err(unreadable)?;
            let mut ranges = whole(&now, &topic);
            for (partition, range) in &mut ranges {
                let from = next.insert(*partition, range.end);
                range.start = from.unwrap_or(range.start);
            }
            self.source.read(&topic, ranges, |record| log.take(&record.value)).await.map_err(unreadable)?;
            let told = log.told().values().filter(|told| told.ended.is_some()).count();
            if told == suspects.len() || std::time::Instant::now() > until {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let ended: BTreeMap<Reference, Ended> = log
            .take_told()
            .into_iter()
            .filter_map(|(reference, told)| Some((reference, told.ended?)))
            .collect();
        for reference in &suspects {
            stored.remove(reference);
        }
        stored.extend(self.stored(widest(subjects), suspects.iter()).await?.unwrap_or_default());
        Ok(ended)
    }

    fn finish(
        &mut self,
        options: &Options,
        log: &Log,
        unknown: Vec<String>,
        before: &Ends,
        after: &Ends,
    ) -> Result<ExitCode, Failure> {
        let ends = both(before, after);
        let document = Document {
            counts: Counts {
                records: self.progress.records(),
                leaves: log.size(),
                vouched: log.vouched(),
                unreadable: log.unreadable(),
                seconds: self.progress.took().as_secs_f64(),
                ..std::mem::take(&mut self.counts)
            },
            unknown,
            ends_same: ends.values().all(|(before, after)| Some(*before) == *after),
            ends: ends.clone(),
            findings: std::mem::take(&mut self.findings),
        };
        if let Some(evidence) = self.evidence.take() {
            let manifest = Manifest {
                version: env!("CARGO_PKG_VERSION"),
                made_at: jiff::Timestamp::now().to_string(),
                asked: asked(&options.selection()),
                result: &document.counts,
                ends,
                checkpoint: log.checkpoint(),
                vouched: log.vouched(),
                files: BTreeMap::new(),
            };
            evidence.finish(&document.findings, manifest)?;
        }
        let exit = if document.is_different() {
            Exit::BadData
        } else if document.counts.compared + document.counts.ended == 0 || !document.unknown.is_empty() {
            Exit::NoInput
        } else {
            Exit::Ok
        };
        say(&if options.json { pretty(&document)? } else { document.text() }, exit)
    }
}

/// Looks at a folder of evidence and prints.
///
/// # Errors
/// With the exit code of what stands in the way.
pub fn check(options: &CheckOptions) -> Result<ExitCode, Failure> {
    let key = options.key.as_deref().map(evidence::public_key).transpose()?;
    let wrong = evidence::check(&options.folder, key.as_ref())?;
    let text = if options.json {
        pretty(&serde_json::json!({ "signed": key.is_some() && wrong.is_empty(), "wrong": wrong }))?
    } else if !wrong.is_empty() {
        wrong.join("\n")
    } else if key.is_some() {
        "as it was made, and signed with this key".to_owned()
    } else {
        "as its manifest says; the signature was not looked at: --key".to_owned()
    };
    say(&text, if wrong.is_empty() { Exit::Ok } else { Exit::BadData })
}

/// Every topic that an auditor may read.
fn readable(topics: &Topics, registry: &Registry) -> Vec<String> {
    let upstreams: Vec<UpstreamId> = registry.upstreams().map(|(id, _)| id).collect();
    let banks: Vec<BankId> = registry.banks().map(|(id, _)| id).collect();
    let may_read = |role: &Role| matches!(role, Role::Auditor | Role::Everyone);
    let all = topics.all(&upstreams, &banks).into_iter();
    all.filter(|(_, spec)| spec.readers.iter().any(may_read)).map(|(topic, _)| topic).collect()
}

fn widest(subjects: &[Subject]) -> usize {
    subjects.iter().map(|subject| subject.report.outcomes.len()).max().unwrap_or(1)
}

/// Parts of the queries, in the order of their acceptance, that fit into memory.
fn chunks(subjects: &[(UnixMillis, Reference, Told)]) -> Vec<&[(UnixMillis, Reference, Told)]> {
    let pairs = |told: &Told| told.accepted().map_or(0, |accepted| accepted.statements.len());
    let (mut chunks, mut rest, mut held) = (Vec::new(), subjects, 0);
    for (index, (_, _, told)) in subjects.iter().enumerate() {
        held += pairs(told).max(1);
        if held >= PAIRS_AT_A_TIME {
            let begun = subjects.len() - rest.len();
            let (chunk, more) = rest.split_at(index + 1 - begun);
            chunks.push(chunk);
            (rest, held) = (more, 0);
        }
    }
    chunks.extend((!rest.is_empty()).then_some(rest));
    chunks
}

fn whole(ends: &Ends, topic: &str) -> BTreeMap<i32, Range<i64>> {
    let of_topic = (topic.to_owned(), i32::MIN)..=(topic.to_owned(), i32::MAX);
    ends.range(of_topic).map(|((_, partition), (low, end))| (*partition, *low..*end)).collect()
}

fn asked(selection: &Selection) -> serde_json::Value {
    match selection {
        Selection::All => serde_json::json!("everything"),
        Selection::Accepted { from, to } => {
            serde_json::json!({ "accepted_from": from.to_string(), "accepted_until": to.to_string() })
        }
        Selection::Queries(references) => references.iter().map(ToString::to_string).collect(),
    }
}

fn unreadable(error: KafkaError) -> Failure {
    error.exit().because(error)
}

fn pretty(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Exit::Software.because(error))
}

fn say(text: &str, exit: Exit) -> Result<ExitCode, Failure> {
    writeln!(std::io::stdout(), "{text}")
        .map(|()| exit.into())
        .map_err(|error| Exit::CannotCreate.because(error))
}
