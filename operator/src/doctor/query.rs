//! The last line: one query. Made up, within this process; or a sample person's, through a local system.

use std::time::{Duration, Instant};

use bank_connector::Secrets;
use bank_connector::doctor::rehearsal;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use plumbing::cli::causes;
use plumbing::doctor::{Report, State};
use plumbing::exit::Exit;
use schemas::ids::BankId;
use schemas::keys::{OpeningKey, SigningKey};
use schemas::time::UnixMillis;

use super::options::Options;
use crate::config::Config;
use crate::demo::document::Document;
use crate::demo::progress::Progress;
use crate::{sample, submit};

const CHECK: &str = "rehearsal";
const FACTOR_AGE: Duration = Duration::from_secs(300);
const REGION: &str = "310000";

/// Asks.
pub(super) async fn look(config: &Config, options: &Options, report: &mut Report) {
    match &options.person {
        None => rehearse(report),
        Some(_) if !config.registry.allow_sample_roots => {
            let what = "--person: no query is sent to a hub of real people";
            let fix =
                "leave --person out: the rehearsal needs nobody; a real wallet's first query is its own test";
            report.add(CHECK, what, State::failed(Exit::Config, fix));
        }
        Some(_) if broken(report) => report.skip(CHECK, "a sample person's query", "everything above"),
        Some(person) => submit(person, banks(config), options, report).await,
    }
}

fn broken(report: &Report) -> bool {
    report.summary().failed > 0
}

fn rehearse(report: &mut Report) {
    let begun = Instant::now();
    let now = Timestamp::now();
    let secrets = Secrets {
        signing_key: SigningKey::from_seed(&rand::random()),
        opening_keys: vec![OpeningKey::generate()],
    };
    let today = now.to_zoned(TimeZone::UTC).date();
    let bank = "rehearsal".parse::<BankId>().map_err(|_| "the name of the made-up bank is none".to_owned());
    let rehearsed = bank.and_then(|bank| {
        let now = UnixMillis(now.as_millisecond());
        rehearsal::rehearse(&bank, &secrets, FACTOR_AGE, today, now).map_err(|broken| broken.to_string())
    });
    let what = "a query of nobody: submitted, asked, answered, reported, opened; keys made up, nothing sent";
    let (what, state) = match rehearsed {
        Ok(()) => (what.to_owned(), State::Ok),
        Err(why) => {
            let fix = "keep this report and ask who built this binary: the rehearsal uses nothing else";
            (why, State::failed(Exit::Software, fix))
        }
    };
    report.timed(CHECK, what, state, begun.elapsed());
}

/// The banks of the settings that a sample person of this region may ask.
fn banks(config: &Config) -> Vec<String> {
    let sample = sample::registry::sample()
        .banks
        .into_iter()
        .filter(|bank| bank.regions.iter().any(|of| of == REGION));
    let ids = sample.map(|bank| bank.id.to_string());
    ids.filter(|id| config.parties.banks.contains(id)).collect()
}

async fn submit(person: &str, banks: Vec<String>, options: &Options, report: &mut Report) {
    let asked = submit::options::Options {
        stack: options.stack.clone(),
        person: person.to_owned(),
        region: REGION.to_owned(),
        banks: Some(banks),
        producer: None,
        json: options.json,
    };
    let begun = Instant::now();
    let mut progress = Progress::new();
    let answered = submit::ask(&asked, &mut progress).await;
    progress.done();
    let (what, state) = match answered {
        Ok((document, _)) => judged(person, &document),
        Err(failure) => {
            let fix = format!("cardquery submit --person {person} shows how far it comes");
            (format!("{person}: {}", causes(&failure)), State::failed(failure.exit(), fix))
        }
    };
    report.timed(CHECK, what, state, begun.elapsed());
}

fn judged(person: &str, document: &Document) -> (String, State) {
    let banks = &document.report.banks;
    let invalid: Vec<&str> =
        banks.iter().filter(|bank| !bank.signature_valid).map(|bank| bank.bank_id.as_str()).collect();
    let (asked, answered) = (document.coverage.len(), banks.len());
    let what = format!("{person}: {}, {answered} of {asked} banks, opened", document.state);
    if !invalid.is_empty() {
        let fix = "compare the keys of these banks with their entries: bank-connector doctor";
        return (format!("{what}; not believed: {}", invalid.join(", ")), State::failed(Exit::BadData, fix));
    }
    if answered < asked {
        let fix = "bank-connector doctor at the banks that did not answer";
        return (what, State::failed(Exit::Unavailable, fix));
    }
    (what, State::Ok)
}
