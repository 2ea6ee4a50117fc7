//! `cardquery demo`: one query through the whole system, in one process.
//!
//! | file | role |
//! |---|---|
//! | `options.rs` | what can be asked |
//! | `broker.rs`, `world.rs`, `sources.rs` | the system, and who misbehaves in it |
//! | `wallet.rs`, `follow.rs` | the wallet's back end, and the device |
//! | `document.rs`, `table.rs`, `progress.rs` | what is printed |

pub mod broker;
pub mod document;
pub(crate) mod follow;
pub mod options;
pub(crate) mod progress;
pub mod sources;
pub(crate) mod table;
pub mod wallet;
pub mod world;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use aggregator::store::{Clock as _, SystemClock};
use plumbing::exit::{Exit, Failure};
use schemas::ids::BankId;

use self::document::Document;
use self::follow::{failure, follow};
use self::options::{Misbehaviour, Options};
use self::progress::Progress;
use self::wallet::Wallet;
use self::world::{Plan, World};
use crate::sample;

/// The bank whose core system is down, the one that is silent, and the one that is slow.
const DOWN: &str = "yunhe";
const SILENT: &str = "taihe";
const SLOW: &str = "kunlun";
/// After the deadline a report is final within this time, and its SMS sent.
pub(crate) const SLACK: Duration = Duration::from_secs(20);

/// Runs the demo and prints.
///
/// # Errors
/// With the exit code of what stands in the way; 65 for a query that is refused, whose code the text begins with.
pub async fn run(options: &Options) -> Result<(), Failure> {
    let mut progress = Progress::new();
    let document = document(options, &mut progress).await?;
    progress.done();
    let text = if options.json {
        serde_json::to_string_pretty(&document).map_err(|error| Exit::Software.because(error))?
    } else {
        table::render(&document)
    };
    writeln!(std::io::stdout(), "{text}").map_err(|error| Exit::CannotCreate.because(error))?;
    if !options.json {
        let next = "Next: cardquery demo --person li · cardquery demo --json · cardquery demo --help · docs/ARCHITECTURE.md";
        progress.step("", next);
    }
    Ok(())
}

async fn document(options: &Options, progress: &mut Progress) -> Result<Document, Failure> {
    let person = sample::core::people().into_iter().find(|person| person.key == options.person);
    let person =
        person.ok_or_else(|| Exit::BadData.because(format!("no sample person `{}`", options.person)))?;
    let mut timings = BTreeMap::new();
    let started = Instant::now();
    let plan = plan(options)?;
    let kind = if plan.brokers.is_some() { "real" } else { "in-process, not durable" };
    progress.title(&format!(
        "cardquery {} demo · broker {kind}, store in memory, sample banks, SMS to this terminal",
        env!("CARGO_PKG_VERSION")
    ));
    let mut world = World::start(&plan).await?;
    timings.insert("start_ms", started.elapsed());
    progress.step("broker", &format!("{} ({kind})", world.broker_address()));
    let outcome = ask(options, &person, &mut world, progress, &mut timings, started).await;
    world.stop().await;
    outcome
}

fn plan(options: &Options) -> Result<Plan, Failure> {
    let bank = |id: &str| id.parse::<BankId>().map_err(|code| Exit::Software.because(code));
    let mut plan =
        Plan { brokers: options.brokers.clone(), window: options.window, seed: options.seed, ..Plan::new() };
    plan.slow.insert(bank(SLOW)?);
    if options.with(Misbehaviour::Down) {
        plan.down.insert(bank(DOWN)?);
    }
    if options.with(Misbehaviour::Silent) {
        plan.silent.insert(bank(SILENT)?);
    }
    Ok(plan)
}

async fn ask(
    options: &Options,
    person: &sample::core::Person,
    world: &mut World,
    progress: &mut Progress,
    timings: &mut BTreeMap<&'static str, Duration>,
    started: Instant,
) -> Result<Document, Failure> {
    let wallet = Wallet::new(world.upstream.clone(), world.producer);
    let region = &options.region;
    let all =
        world.sample.banks.iter().filter(|bank| bank.regions.contains(region)).map(|bank| bank.id.clone());
    let banks = options.chosen(all);
    let query = wallet
        .submit(&person.into(), person.real_name, region, &banks, SystemClock.now())
        .await
        .map_err(failure)?;
    timings.insert("submitted_ms", started.elapsed());
    let text =
        format!("{}  region {region}, {} banks, consent read and signed", query.reference.query, banks.len());
    progress.step("query", &text);

    let status = follow(&wallet, &query, options.window + SLACK, progress).await?;
    timings.insert("final_ms", started.elapsed());
    progress.step("report", &format!("{}, {} of {}", status.state, status.answered, status.banks));
    let sms = tokio::time::timeout(SLACK, world.inbox.recv()).await.ok().flatten();
    let sms = sms.ok_or_else(|| Exit::Software.because("the SMS did not arrive"))?;
    timings.insert("sms_ms", started.elapsed());
    progress.step("SMS", &format!("→ {}  {}", sms.to, sms.text));

    let report = wallet.fetch(&query, SystemClock.now()).await.map_err(failure)?;
    let report = wallet.open(&query, report).map_err(failure)?;
    timings.insert("opened_ms", started.elapsed());
    let mut received = vec![sms];
    while let Ok(another) = world.inbox.try_recv() {
        received.push(another);
    }
    Ok(Document::new(&report, received, std::mem::take(timings)))
}
