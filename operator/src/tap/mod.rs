//! `cardquery tap`: records as they pass, without what they carry.
//!
//! ```text
//!  settings ─▶ topics ─▶ assigned partitions ─▶ sample ─▶ Line ─▶ filter ─▶ text or JSON lines
//!                                                          ▲
//!                                       fields, known: a list of what may be shown
//! ```
//!
//! | file | role |
//! |---|---|
//! | `options.rs` | the command line |
//! | `fields.rs` | pure: what is shown of each message |
//! | `known.rs` | pure: which ids, codes, times and counts may be shown |
//! | `line.rs` | pure: a record as it is shown, and whether it is asked for |
//!
//! What must never happen here: a phone number, a subject, an identity or a sealed byte is printed; an offset is committed.

pub mod fields;
pub mod known;
pub mod line;
pub mod options;

use std::io::Write;

use plumbing::exit::{Exit, Failure};
use plumbing::kafka::{Follower, KafkaError, Record, TapFrom};
use plumbing::lifecycle::Signals;
use schemas::topics::{Family, Topics};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::known::Known;
use self::line::{Line, Wanted};
use self::options::Options;
use crate::config::{Config, Estate};

/// Records that wait to be printed at most: a slow terminal slows the reader.
const QUEUE: usize = 1_000;

/// Reads and prints.
///
/// # Errors
/// With the exit code of what stands in the way: 64 for no such topic or family, 77 for a topic that may not be read.
pub async fn run(options: Options) -> Result<(), Failure> {
    let (config, estate) = Config::load_with_estate(options.config.config.as_deref())?;
    let topics = topics(&options, &estate)?;
    let mut signals = Signals::listen().map_err(|error| Exit::Software.because(error))?;
    let known = known(&estate);
    let wanted = Wanted {
        r#type: options.message.clone(),
        bank: options.bank.clone(),
        upstream: options.upstream.clone(),
        code: options.code.clone(),
        query: options.query,
        sample: options.sample.get(),
    };

    let (sender, mut lines) = mpsc::channel(QUEUE);
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let (names, filter) = (estate.topics.clone(), wanted);
    let each = move |record: Record| {
        if let Some(line) = line(&record, &names, &known, &filter) {
            // Nobody prints any more only when the tap is over.
            let _ = sender.blocking_send(line);
        }
    };
    let goes_on = options.follow || options.from == TapFrom::End;
    let reader =
        plumbing::kafka::tap(&config.kafka, topics, options.from, each, goes_on, stop).map_err(because)?;
    let over = async {
        match options.within {
            Some(within) => tokio::time::sleep(within).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // What was read is printed before the reader's end is looked at.
        biased;
        printed = print(&mut lines, options.max.get(), options.json) => printed?,
        _ = signals.next() => return Ok(()),
        () = over => return Ok(()),
    }
    finished(reader, lines.is_closed()).await
}

/// The channel ends with its reader: then the reader says whether it could read.
async fn finished(reader: Follower, ended: bool) -> Result<(), Failure> {
    if ended { reader.stopped().await.map_err(because) } else { Ok(()) }
}

/// Prints until there have been `max` or the reader has ended.
async fn print(lines: &mut mpsc::Receiver<Line>, max: u32, json: bool) -> Result<(), Failure> {
    for _ in 0..max {
        let Some(line) = lines.recv().await else { return Ok(()) };
        let text = if json {
            serde_json::to_string(&line).map_err(|error| Exit::Software.because(error))?
        } else {
            line.to_string()
        };
        writeln!(std::io::stdout(), "{text}").map_err(|error| Exit::CannotCreate.because(error))?;
    }
    Ok(())
}

fn line(record: &Record, topics: &Topics, known: &Known, wanted: &Wanted) -> Option<Line> {
    if !wanted.samples(record.position.offset) {
        return None;
    }
    let family = topics.family(&record.position.topic)?;
    Some(Line::of(record, family, topics, known)).filter(|line| wanted.matches(line))
}

/// The topics that are meant.
fn topics(options: &Options, estate: &Estate) -> Result<Vec<String>, Failure> {
    let what = options.what.as_str();
    if estate.topics.family(what).is_some() {
        return Ok(vec![what.to_owned()]);
    }
    let family = Family::ALL.into_iter().find(|family| family.name() == what).ok_or_else(|| {
        let families: Vec<String> = Family::ALL.into_iter().map(Family::name).collect();
        Exit::Usage.because(format!(
            "`{what}` is no topic with the prefix `{}`, and no family: {}",
            estate.topics.prefix(),
            families.join(", ")
        ))
    })?;
    let is = |wanted: &Option<String>, id: &str| wanted.as_ref().is_none_or(|wanted| wanted == id);
    let upstreams: Vec<_> =
        estate.upstreams.iter().filter(|id| is(&options.upstream, id.as_str())).cloned().collect();
    let banks: Vec<_> = estate.banks.iter().filter(|id| is(&options.bank, id.as_str())).cloned().collect();
    let topics: Vec<String> = estate
        .topics
        .all(&upstreams, &banks)
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| estate.topics.family(name) == Some(family))
        .collect();
    if topics.is_empty() {
        let text = format!("the settings name no party that has a topic of the family `{what}`");
        return Err(Exit::NoInput.because(text));
    }
    Ok(topics)
}

fn known(estate: &Estate) -> Known {
    let upstreams = estate.upstreams.iter().map(ToString::to_string);
    let banks = estate.banks.iter().map(ToString::to_string);
    Known { parties: upstreams.chain(banks).chain(["hub".to_owned(), "notifier".to_owned()]).collect() }
}

fn because(error: KafkaError) -> Failure {
    let exit = error.exit();
    if let KafkaError::Denied(text) = &error {
        return exit.because(format!("the Kafka user of the settings may not read this topic: {text}"));
    }
    exit.because(error)
}
