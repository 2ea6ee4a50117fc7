//! `cardquery submit`: one query to a running system.
//!
//! | file | role |
//! |---|---|
//! | `options.rs` | what can be asked |
//! | `sms.rs` | what became of the SMS |
//!
//! The wallet, the device and what is printed are the demo's.

pub mod options;
pub mod sms;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

use aggregator::store::{Clock as _, SystemClock};
use plumbing::exit::{Exit, Failure};
use schemas::topics::Topics;
use serde::Serialize;

use self::options::Options;
use self::sms::SmsRecord;
use crate::demo::SLACK;
use crate::demo::document::Document;
use crate::demo::follow::{failure, follow};
use crate::demo::options::chosen;
use crate::demo::progress::Progress;
use crate::demo::table;
use crate::demo::wallet::Wallet;
use crate::local::stack::Stack;
use crate::local::{Told, operator};
use crate::sample;

/// What is printed with `--json`: the demo's document, and the SMS records.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    document: &'a Document,
    sms_records: &'a [SmsRecord],
}

/// Submits, follows and prints.
///
/// # Errors
/// With the exit code of what stands in the way; 65 for a query that is refused, whose code the text begins with.
pub async fn run(options: &Options) -> Result<(), Failure> {
    let mut progress = Progress::new();
    let (document, records) = ask(options, &mut progress).await?;
    progress.done();
    let text = if options.json {
        let printed = Printed { document: &document, sms_records: &records };
        serde_json::to_string_pretty(&printed).map_err(|error| Exit::Software.because(error))?
    } else {
        table::render(&document)
    };
    writeln!(std::io::stdout(), "{text}").map_err(|error| Exit::CannotCreate.because(error))
}

/// Submits and follows to the end.
pub(crate) async fn ask(
    options: &Options,
    progress: &mut Progress,
) -> Result<(Document, Vec<SmsRecord>), Failure> {
    let person = sample::core::people().into_iter().find(|person| person.key == options.person);
    let person =
        person.ok_or_else(|| Exit::BadData.because(format!("no sample person `{}`", options.person)))?;
    let stack = Stack::read(&options.stack.folder).map_err(|error| Exit::Unavailable.because(error))?;
    let told = Told::read(&stack.system())?;
    let topics = Topics::new(&told.prefix);
    let kafka = operator(&stack, &topics).map_err(|error| Exit::NoInput.because(error))?;
    let sample = sample::registry::sample();
    let upstream = sample.upstreams[0].id.clone();
    let wallet = Wallet::at(upstream, options.producer.clone().unwrap_or(told.producer.clone()));

    let (started, mut timings) = (Instant::now(), BTreeMap::new());
    let region = &options.region;
    let all = sample.banks.iter().filter(|bank| bank.regions.contains(region)).map(|bank| bank.id.clone());
    let banks = chosen(options.banks.as_deref(), all);
    let query = wallet
        .submit(&(&person).into(), person.real_name, region, &banks, SystemClock.now())
        .await
        .map_err(failure)?;
    timings.insert("submitted_ms", started.elapsed());
    let text =
        format!("{}  region {region}, {} banks, consent read and signed", query.reference.query, banks.len());
    progress.step("query", &text);

    let status = follow(&wallet, &query, told.window() + SLACK, progress).await?;
    timings.insert("final_ms", started.elapsed());
    progress.step("report", &format!("{}, {} of {}", status.state, status.answered, status.banks));
    let report = wallet.fetch(&query, SystemClock.now()).await.map_err(failure)?;
    let report = wallet.open(&query, report).map_err(failure)?;
    timings.insert("opened_ms", started.elapsed());

    let records = sms::outcome(&kafka, topics.sms(), &query.reference, SLACK).await?;
    timings.insert("sms_ms", started.elapsed());
    for SmsRecord { event, detail, partition, offset, .. } in &records {
        progress.step("SMS", &format!("{event} {detail} at {}:{partition}:{offset}", topics.sms()));
    }
    let received = sms::texts(&told.sms_file, &records);
    for sms in &received {
        progress.step("SMS", &format!("→ {}  {}", sms.to, sms.text));
    }
    Ok((Document::new(&report, received, timings), records))
}
